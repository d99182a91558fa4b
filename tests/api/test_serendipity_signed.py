"""Who is listened to: whoever signs as an application does, once for each nonce. Nobody else changes anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from chalicelib.core.applications import digest_of, signature_of
from tests.support.serendipity import TASK, Application, application, sent
from tests.support.service import Service

OTHER = b'{"taskNo": "other", "content": {}, "timeout": 1000, "name": "n"}'


def asked(task_no: str) -> bytes:
    return json.dumps({"taskNo": task_no, **TASK}).encode()


def signed(app: Application, body: bytes, **given: str) -> dict[str, str]:
    """Headers that are signed over what is ``given`` instead."""
    found = {**app.headers(body), **given}
    over = signature_of(app.secret, found["timestamps"], found["nonce"], found["payload"])
    return {**found, "signature": over}


def seconds(app: Application, offset_s: int) -> str:
    return str(app.api.clock.ms // 1_000 + offset_s)


def at_wall(app: Application) -> str:
    return f"{datetime.fromtimestamp(app.api.clock.ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}"


FORGED = {
    "no headers": lambda *_: {},
    "another's secret": lambda app, body: Application(app.api, app.key, "x" * 32, app.name).headers(body),
    "an unknown key": lambda app, body: app.headers(body, app_key="A" * 16),
    "a key that can be none": lambda app, body: app.headers(body, app_key="'; drop"),
    "no signature": lambda app, body: app.headers(body, signature=""),
    "a truncated signature": lambda app, body: app.headers(body, signature=app.headers(body)["signature"][:-1]),
    "the hex signature": lambda app, body: app.headers(body, signature="ab" * 32),
    "another nonce": lambda app, body: app.headers(body, nonce="another"),
    "another time": lambda app, body: app.headers(body, timestamps=seconds(app, 1)),
    "another's payload": lambda app, body: app.headers(body, payload=digest_of(OTHER)),
    "headers beyond ASCII": lambda app, body: dict.fromkeys(app.headers(body), "�é"),
    "an empty nonce": lambda app, body: signed(app, body, nonce=""),
    "a nonce that is too long": lambda app, body: signed(app, body, nonce="n" * 129),
    "the digest of another body": lambda app, body: signed(app, body, payload=digest_of(OTHER)),
    "the digest in capitals": lambda app, body: signed(app, body, payload=digest_of(body).upper()),
    "the digest of the name": lambda app, body: signed(app, body, payload=digest_of(app.name)),
    "a time 301 s ago": lambda app, body: signed(app, body, timestamps=seconds(app, -301)),
    "a time 301 s ahead": lambda app, body: signed(app, body, timestamps=seconds(app, 301)),
    "no time": lambda app, body: signed(app, body, timestamps="yesterday"),
    **{
        f"a time that is followed by {rest!r}": lambda app, body, rest=rest: signed(
            app, body, timestamps=at_wall(app) + rest
        )
        for rest in (".0", "Z", "+00:00", " ")
    },
    "a time with a T": lambda app, body: signed(app, body, timestamps=at_wall(app).replace(" ", "T")),
    "a time without its seconds": lambda app, body: signed(app, body, timestamps=at_wall(app)[:16]),
    "eleven digits": lambda app, body: signed(app, body, timestamps="0" + seconds(app, 0)),
    "a nonce with a blank": lambda app, body: signed(app, body, nonce="a b"),
    "a nonce with a colon": lambda app, body: signed(app, body, nonce=":30"),
    "milliseconds": lambda app, body: signed(app, body, timestamps=str(app.api.clock.ms)),
}


@pytest.mark.parametrize("how", FORGED)
def test_what_is_forged_or_stale_changes_nothing(api: Service, how: str) -> None:
    app = application(api)
    body = asked(how)
    reply = sent(api, "POST", "/task/create", body, FORGED[how](app, body))
    assert (reply.status, reply.json["code"], reply.json["data"]) == (401, 401, [])
    assert reply.headers["www-authenticate"] == 'Signature realm="taskyard"'
    assert api.yard.directory.aliased(f"application\n{app.key}", how) is None
    assert app.create(how) > 0


@pytest.mark.parametrize("path", ["/task/create", "/task/cancel", "/nsq/publish"])
def test_the_signature_is_looked_at_before_anything_else(api: Service, path: str) -> None:
    assert sent(api, "POST", path, b"no json", {}).status == 401


def test_a_request_is_taken_once(api: Service) -> None:
    app, body = application(api), asked("once")
    headers = app.headers(body)
    replies = [sent(api, "POST", "/task/create", body, headers) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 401]
    assert replies[1].json["msg"] == "it was taken before; sign each request anew"


@pytest.mark.parametrize("written", [at_wall, lambda app: seconds(app, 0)], ids=["text", "seconds"])
def test_what_was_taken_is_not_taken_again_under_another_split(api: Service, written: Callable[..., str]) -> None:
    """Nothing stands between the time, the nonce and the payload, so one signature is right for every split of them."""
    app, body = application(api), asked("once")
    headers = signed(app, body, timestamps=written(app), nonce="0" * 8)
    assert sent(api, "POST", "/task/create", body, headers).status == 200
    text = headers["timestamps"] + headers["nonce"]
    splits = [{**headers, "timestamps": text[:end], "nonce": text[end:]} for end in range(1, len(text))]
    assert {sent(api, "POST", "/task/create", body, split).status for split in splits} == {401}


def test_what_was_taken_is_not_taken_again(api: Service) -> None:
    """At once: tests/e2e."""
    app, body = application(api), asked("together")
    headers = app.headers(body)
    assert [sent(api, "POST", "/task/create", body, headers).status for _ in range(3)] == [200, 401, 401]


def test_a_nonce_is_used_up_only_by_what_is_right(api: Service) -> None:
    app, body = application(api), asked("right")
    headers = app.headers(body)
    for wrong in (OTHER, b""):
        assert sent(api, "POST", "/task/create", wrong, headers).status == 401
    assert sent(api, "POST", "/task/create", body, headers).status == 200


def test_a_nonce_is_an_applications_own(api: Service) -> None:
    for app in (application(api), application(api)):
        body = asked("n")
        assert sent(api, "POST", "/task/create", body, signed(app, body, nonce="mine")).json["code"] == 0


def test_a_nonce_is_remembered_for_as_long_as_its_time_is_fresh(api: Service) -> None:
    app, body = application(api), asked("ahead")
    headers = signed(app, body, timestamps=seconds(app, 300))
    statuses = []
    for _ in range(2):
        statuses.append(sent(api, "POST", "/task/create", body, headers).status)
        api.clock.move(600_000)
    assert statuses == [200, 401]


@pytest.mark.parametrize("offset_s", [-300, 0, 300])
def test_a_time_within_five_minutes(api: Service, offset_s: int) -> None:
    app, body = application(api), asked("t")
    assert sent(api, "POST", "/task/create", body, signed(app, body, timestamps=seconds(app, offset_s))).status == 200


@pytest.mark.parametrize(("zone", "ahead_h"), [("UTC", 0), ("Asia/Shanghai", 8)])
def test_a_time_on_the_applications_clocks(api: Service, zone: str, ahead_h: int) -> None:
    app, body = application(api, timezone=zone), asked("t")
    there = datetime.fromtimestamp(api.clock.ms / 1_000, UTC) + timedelta(hours=ahead_h)
    for hours, status in ((1, 401), (0, 200)):
        written = f"{there + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}"
        assert sent(api, "POST", "/task/create", body, signed(app, body, timestamps=written)).status == status


def test_the_key_under_a_name_that_proxies_let_through(api: Service) -> None:
    app, body = application(api), asked("t")
    headers = app.headers(body)
    headers["app-key"] = headers.pop("app_key")
    assert sent(api, "POST", "/task/create", body, headers).json["code"] == 0


class TestQuery:
    @pytest.mark.parametrize("covered", [b"", b"coroutine_id=6&id={id}&service_id="])
    def test_it_is_covered_if_the_client_likes(self, api: Service, covered: bytes) -> None:
        app = application(api)
        query = {"id": str(app.create("q")), "service_id": "", "coroutine_id": "6"}
        headers = app.headers(covered.replace(b"{id}", query["id"].encode()))
        assert sent(api, "GET", f"/task/detail?{urlencode(query)}", b"", headers).json["code"] == 0

    def test_covered_it_is_not_changed(self, api: Service) -> None:
        app = application(api)
        first, second = app.create("1"), app.create("2")
        headers = app.headers(f"id={first}".encode())
        assert sent(api, "GET", f"/task/detail?id={second}", b"", headers).status == 401


def test_without_protection_the_documents_headers_serve_for_any_body(api: Service) -> None:
    app = application(api, replayProtection=False, appName="static")
    headers: Any = signed(app, b"", payload=digest_of("static"))
    assert [sent(api, "POST", "/task/create", asked(str(n)), headers).json["code"] for n in range(2)] == [0, 0]
    api.clock.move(301_000)
    assert sent(api, "POST", "/task/create", asked("late"), headers).status == 401

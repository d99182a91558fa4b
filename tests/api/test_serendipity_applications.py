"""Serendipity-Job's applications: made, listed, disabled, given another secret; by its document and beyond."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from unittest.mock import patch

import pytest

from chalicelib.core.applications import signature_of
from chalicelib.store.applications import Applications
from tests.support.serendipity import TASK, Application, application, sent
from tests.support.service import Service, service

CREATE = {"appName": "帅的批爆1", "step": 10, "retryTotal": 0, "linkUrl": "http://127.0.0.1", "remark": "呵呵"}
UNKNOWN = {"code": 1, "msg": "Unknown Application Key#", "data": []}
NO_KEY = "A" * 16


def shown(api: Service, key: str) -> dict[str, Any]:
    reply = api.get("/application/list")
    assert (reply.json["code"], reply.json["msg"]) == (0, "Ok!")
    return next(dict(each) for each in reply.json["data"] if each["appKey"] == key)


class TestCreate:
    def test_the_documented_request(self, api: Service) -> None:
        reply = api.post("/application/create", CREATE)
        assert (reply.status, reply.json["code"], reply.json["msg"]) == (200, 0, "Ok!")
        made = reply.json["data"]
        assert set(made) == {"nonce", "timestamps", "signature", "appKey", "payload", "secretKey"}
        assert [len(made[name]) for name in ("nonce", "appKey", "secretKey", "signature")] == [16, 16, 32, 88]
        assert made["timestamps"] == str(api.clock.ms // 1_000)
        assert made["payload"] == hashlib.md5(CREATE["appName"].encode(), usedforsecurity=False).hexdigest()
        assert made["signature"] == signature_of(made["secretKey"], made["timestamps"], made["nonce"], made["payload"])
        assert shown(api, made["appKey"]) == {
            "appKey": made["appKey"],
            **{name: CREATE[name] for name in ("appName", "linkUrl", "step", "retryTotal", "remark")},
            "status": 1,
            "replayProtection": True,
            "concurrency": 1,
            "timezone": "UTC",
            "rotatingUntil": None,
            "restingUntil": None,
            "createdAt": api.now(),
        }

    def test_what_is_left_out(self, api: Service) -> None:
        found = shown(api, application(api).key)
        assert [found[name] for name in ("step", "retryTotal", "remark")] == [5, 5, "2025-06-15 15:06:40"]

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"step": 3_601}, "step"),
            ({"step": True}, "step"),
            ({"retryTotal": 11}, "retryTotal"),
            ({"retryTotal": -1}, "retryTotal"),
            ({"concurrency": 0}, "concurrency"),
            ({"appName": ""}, "appName"),
            ({"linkUrl": None}, "linkUrl"),
            ({"linkUrl": "ftp://127.0.0.1"}, "linkUrl"),
            ({"timezone": "Mars/Olympus"}, "timezone"),
        ],
    )
    def test_what_can_be_none(self, api: Service, wrong: dict[str, Any], field: str) -> None:
        reply = api.post("/application/create", {**CREATE, **wrong})
        assert (reply.status, reply.json["code"], reply.json["data"]) == (422, 422, [])
        assert field in reply.json["msg"]
        assert "webhook" not in reply.json["msg"]

    def test_no_json(self, api: Service) -> None:
        reply = api.post("/application/create", b"{")
        assert (reply.status, reply.json["code"]) == (400, 400)


class TestRefreshSignature:
    def test_headers_of_the_applications_name(self, api: Service) -> None:
        app = application(api, replayProtection=False)
        reply = api.post("/application/refresh-signature", {"app_key": app.key, "secret_key": app.secret})
        made = reply.json["data"]
        assert (reply.json["code"], made["appKey"], made["secretKey"]) == (0, app.key, app.secret)
        headers = {**{name: made[name] for name in ("nonce", "timestamps", "payload", "signature")}, "app_key": app.key}
        for number in range(2):  # with any body, as often as it comes
            body = b'{"taskNo": "%d", "content": {}, "timeout": 1000, "name": "n"}' % number
            assert sent(api, "POST", "/task/create", body, headers).json["code"] == 0

    def test_headers_of_a_payload_serve_where_replays_are_refused(self, api: Service) -> None:
        app, body = application(api), b'{"taskNo": "1", "content": {}, "timeout": 1000, "name": "n"}'
        payload = hashlib.md5(body, usedforsecurity=False).hexdigest()
        asked = {"app_key": app.key, "secret_key": app.secret}
        static = api.post("/application/refresh-signature", asked).json["data"]
        fitting = api.post("/application/refresh-signature", {**asked, "payload": payload}).json["data"]
        replies = [sent(api, "POST", "/task/create", body, {**each, "app_key": app.key}) for each in (static, fitting)]
        assert [(reply.status, reply.json["code"]) for reply in replies] == [(401, 401), (200, 0)]

    @pytest.mark.parametrize("wrong", [{"app_key": NO_KEY}, {"secret_key": "s" * 32}, {"app_key": "?"}])
    def test_who_has_no_secret(self, api: Service, wrong: dict[str, str]) -> None:
        app = application(api)
        reply = api.post("/application/refresh-signature", {"app_key": app.key, "secret_key": app.secret, **wrong})
        assert (reply.status, reply.json) == (200, UNKNOWN)


class TestDisable:
    def test_it_is_listened_to_no_longer_until_it_is_enabled(self, api: Service) -> None:
        app = application(api)
        reply = api.post("/application/disable", {"app_key": app.key})
        assert (reply.json["code"], reply.json["data"]["status"]) == (0, 0)
        refused = app.post("/task/create", {"taskNo": "1", **TASK})
        assert (refused.status, refused.json["msg"].split(";")[0]) == (401, "the application is disabled")
        assert (
            api.post("/application/refresh-signature", {"app_key": app.key, "secret_key": app.secret}).json == UNKNOWN
        )
        assert api.post("/application/enable", {"app_key": app.key}).json["data"]["status"] == 1
        assert app.create("1") > 0

    @pytest.mark.parametrize("what", ["disable", "enable", "rotate"])
    def test_one_that_there_is_not(self, api: Service, what: str) -> None:
        reply = api.post(f"/application/{what}", {"app_key": NO_KEY})
        assert (reply.status, reply.json) == (200, UNKNOWN)


class TestRotate:
    def rotated(self, app: Application, **body: Any) -> Application:
        made = app.api.post("/application/rotate", {"app_key": app.key, **body}).json["data"]
        return Application(app.api, app.key, made["secretKey"], app.name)

    def test_both_secrets_are_in_force_until_the_time_is_over(self, api: Service) -> None:
        old = application(api)
        new = self.rotated(old, grace=60)
        assert new.secret != old.secret
        assert re.fullmatch("[A-Za-z0-9]{32}", new.secret)
        assert shown(api, old.key)["rotatingUntil"] == api.now(60_000)
        assert [app.create(str(number)) > 0 for number, app in enumerate((old, new))] == [True, True]
        api.clock.move(60_000)
        assert [app.get("/task/detail", {"id": 1}).status for app in (old, new)] == [401, 200]
        assert shown(api, old.key)["rotatingUntil"] is None

    def test_it_is_finished_by_request(self, api: Service) -> None:
        old = application(api)
        new = self.rotated(old)
        finished = api.post("/application/rotate", {"app_key": old.key, "finish": True}).json["data"]
        assert (finished["secretKey"], finished["rotatingUntil"]) == (None, None)
        assert [app.get("/task/detail", {"id": 1}).status for app in (old, new)] == [401, 200]

    def test_without_a_grace_the_old_secret_is_void_at_once(self, api: Service) -> None:
        old = application(api)
        new = self.rotated(old, grace=0)
        assert [app.get("/task/detail", {"id": 1}).status for app in (old, new)] == [401, 200]

    def test_there_is_one_at_a_time(self, api: Service) -> None:
        """A second one would void a secret whose owner was promised its grace."""
        old = application(api)
        new = self.rotated(old, grace=60)
        for grace in (0, 60):
            assert api.post("/application/rotate", {"app_key": old.key, "grace": grace}).json == {
                "code": 1,
                "msg": f"a rotation goes on until {api.now(60_000)}; finish it first",
                "data": [],
            }
        assert [app.get("/task/detail", {"id": 1}).status for app in (old, new)] == [200, 200]
        api.post("/application/rotate", {"app_key": old.key, "finish": True})
        newest = self.rotated(old, grace=60)
        assert [app.get("/task/detail", {"id": 1}).status for app in (old, new, newest)] == [401, 200, 200]
        api.clock.move(60_000)
        assert self.rotated(old).secret != newest.secret

    @pytest.mark.parametrize("grace", [0, 60])
    def test_of_two_at_once_one_wins_and_alone_shows_a_secret(self, api: Service, grace: int) -> None:
        old, won = application(api), []
        really_find = Applications.find

        def find(store: Applications, app_key: str) -> Any:
            """What there is; before the caller acts on it, another one has rotated."""
            found = really_find(store, app_key)
            with patch.object(Applications, "find", really_find):
                won.append(self.rotated(old, grace=grace))
            return found

        with patch.object(Applications, "find", find):
            lost = api.post("/application/rotate", {"app_key": old.key, "grace": grace}).json
        assert lost == {
            "code": 1,
            "msg": "its secret was changed at the same moment; ask who has done it",
            "data": [],
        }
        assert [app.create("1") > 0 for app in won] == [True]
        assert old.get("/task/detail", {"id": 1}).status == (401 if grace == 0 else 200)


def test_only_who_has_the_scope_manages_applications() -> None:
    with service(stage="prod", bucket="objects-of-prod") as api:
        for method, path in (("POST", "create"), ("GET", "list"), ("POST", "disable"), ("POST", "rotate")):
            reply = api.request(method, f"/application/{path}", b"{}", {})
            assert (reply.status, reply.json["code"]) == (401, 401)
            assert reply.headers["www-authenticate"] == 'Bearer realm="taskyard"'
        reply = api.post("/application/refresh-signature", {"app_key": NO_KEY, "secret_key": "s" * 32})
        assert (reply.status, reply.json) == (200, UNKNOWN)


def test_no_secret_is_listed_logged_or_said(api: Service, caplog: pytest.LogCaptureFixture) -> None:
    app = application(api)
    rotated = api.post("/application/rotate", {"app_key": app.key}).json["data"]["secretKey"]
    wrong = Application(api, app.key, "w" * 32, app.name)
    texts = [
        api.get("/application/list").text,
        api.post("/application/disable", {"app_key": app.key}).text,
        wrong.post("/task/create", TASK).text,
        api.post("/application/refresh-signature", {"app_key": app.key, "secret_key": ["w" * 32]}).text,
        caplog.text,
    ]
    assert [secret for secret in (app.secret, rotated, "w" * 32) for text in texts if secret in text] == []

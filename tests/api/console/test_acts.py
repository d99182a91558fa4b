"""Who did what, and when: what routes have recorded, told a page at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.store.acts import Act, Acts
from tests.support.mq import publish
from tests.support.service import Service

Key = Callable[..., dict[str, str]]


def test_what_is_done_by_hand_is_recorded(prod: Service, key: Key) -> None:
    ann = key("console", "console:manage", "schedule", "message", "dlq:manage")
    target = {"type": "bounded", "key": "c-7"}
    for path in ("pause", "resume"):
        assert prod.post(f"/api/flow/{path}", target, **ann).status == 200
    name = {"name": "nightly"}
    work = {**name, "cron": "@daily", "task": {"type": "by.hand", "runnerType": "manual"}}
    assert prod.post("/api/schedule/create", work, **ann).status == 200
    made = prod.post("/api/schedule/run", name, **ann).json["id"]
    assert prod.post("/api/schedule/delete", name, **ann).status == 200
    assert prod.post("/api/queues/pause", {"queue": "default"}, **ann).status == 200
    assert prod.post("/api/queues/resume", {"queue": "default"}, **ann).status == 200
    acts = prod.get("/api/acts", **ann).json
    assert acts["nextCursor"] is None
    assert {(each["by"], each["at"]) for each in acts["items"]} == {("ann", prod.now())}
    expected = [
        ("pause", target, {}),
        ("resume", target, {"sent": 0}),
        ("create", {"schedule": "nightly"}, {}),
        ("run", {"schedule": "nightly", "kind": "task", "type": "by.hand", "id": made}, {}),
        ("delete", {"schedule": "nightly"}, {}),
        ("pause", {"queue": "default"}, {}),
        ("resume", {"queue": "default"}, {"sent": 0}),
    ]
    told = [(each["act"], each["on"], each["detail"]) for each in acts["items"]]
    assert sorted(told, key=str) == sorted(expected, key=str)


def test_a_replay_is_recorded(prod: Service, key: Key) -> None:
    ann = key("message", "dlq:manage", "console")
    prod.default_headers = ann
    try:
        dead = publish(prod, "given.up", maxRetries=1)["id"]
        prod.get("/mq/message/poll", {"topic": "given.up"})
        assert prod.post("/mq/message/fail", {"id": dead, "error": "no"}).status == 200
        prod.clock.move(1)
        made = prod.post(f"/mq/dlq/replay/{dead}", {}).json["id"]
        assert prod.post("/mq/dlq/replay", {"ids": [dead, "1"]}).status == 200
        prod.clock.move(1)
        assert prod.post("/mq/dlq/replay", {"topic": "given.up"}).json["replayed"] == 0
        newest, *others = [
            (each["act"], each["on"], each["detail"]) for each in prod.get("/api/acts").json["items"][:3]
        ]
    finally:
        prod.default_headers = {}
    assert newest == ("replay", {"kind": "message", "topic": "given.up"}, {"replayed": 0})
    one = {"kind": "message", "topic": "given.up", "id": dead}
    assert sorted(others, key=lambda each: len(each[1])) == [
        ("replay", {"kind": "message"}, {"ids": []}),
        ("replay", one, {"replayedAs": made}),
    ]


def test_the_record_goes_on_behind_a_page(prod: Service, key: Key) -> None:
    ann = key("console")
    for number in range(60):
        prod.yard.acts.record(
            Act(f"{prod.clock.ms + 10 + number:013d}-{number:016x}", "bob", "count", {}, {"n": number})
        )
    first = prod.get("/api/acts", **ann).json
    assert [each["detail"]["n"] for each in first["items"]] == list(range(59, 9, -1))
    second = prod.get("/api/acts", {"cursor": first["nextCursor"]}, **ann).json
    assert [each["detail"]["n"] for each in second["items"] if each["by"] == "bob"] == list(range(9, -1, -1))
    assert prod.get("/api/acts", {"cursor": "nonsense"}, **ann).status == 422


def test_what_cannot_be_recorded_is_done_all_the_same(
    prod: Service, key: Key, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://aws.test")

    monkeypatch.setattr(Acts, "record", refuse)
    assert prod.post("/api/queues/pause", {"type": "t"}, **key("console:manage")).status == 200
    (told,) = [each for each in caplog.records if each.message == "an act is not in the record"]
    assert (told.levelname, vars(told)["act"], vars(told)["by"]) == ("ERROR", "pause", "ann")
    prod.yard.pauses.end("type#t")

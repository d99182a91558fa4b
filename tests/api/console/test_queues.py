"""The queues over HTTP: what travels where, and pausing it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lambda_shapes import Time, stream_event
from tests.support.mq import publish
from tests.support.service import Service, service
from tests.support.tasks import create


@pytest.fixture
def api() -> Iterator[Service]:
    with service() as made:
        yield made


def queues(api: Service) -> dict[str, Any]:
    answer = api.get("/api/queues").json
    assert answer["leftOut"] == 0
    return {each["name"]: each for each in answer["items"]}


def project(api: Service) -> None:
    from moto.backends import get_backend

    tables = get_backend("dynamodb")["123456789012"]["us-east-1"].tables
    name = api.yard.settings.jobs_table
    records = [record.to_json() for record in tables[name].stream_shard.items]
    api.module.projector(stream_event(name, "shard-1", records), Time())


def test_they_are_shown_with_what_is_on_them(api: Service) -> None:
    for _ in range(2):
        publish(api, "polled.topic", priority=10)
    create(api, "text.statistics", runnerType="system", input={"text": "a"})
    api.receive("default")
    project(api)
    api.clock.move(5_000)
    found = queues(api)
    lanes = [{"name": "high", "depth": {"visible": 2, "inFlight": 0, "delayed": 0}}]
    assert found["polled.topic"] == {
        "name": "polled.topic",
        "kind": "topic",
        "types": ["polled.topic"],
        "lanes": lanes,
        "consumers": [],
        "pending": 2,
        "running": 0,
        "oldestReadyMs": 5_000,
        "paused": None,
        "pauses": [],
        "slots": [],
    }
    default = found["default"]
    assert (default["kind"], default["pending"], default["paused"]) == ("pool", 1, None)
    assert [(lane["name"], lane["depth"]["inFlight"]) for lane in default["lanes"]] == [
        ("high", 0),
        ("normal", 1),
        ("low", 0),
    ]
    assert "text.statistics" in default["types"]
    assert "chalicelib.tasks.text_statistics.text_statistics" in default["consumers"]
    assert list(found)[:2] == ["polled.topic", "default"]
    assert api.get("/api/queues").json["deadLetterQueue"] == {"visible": 0, "inFlight": 0, "delayed": 0}


def test_limited_types_show_their_slots(api: Service) -> None:
    found = queues(api)["bounded"]
    assert found["slots"] == [{"type": "bounded.alike", "limit": 3, "running": 0, "waiting": 0}]


def test_pausing_and_resuming(api: Service) -> None:
    kind = "text.statistics"
    since = api.now()
    assert api.post("/api/queues/pause", {"type": kind}).json == {"type": kind, "topic": None, "queue": None}
    api.clock.move(1)
    assert api.post("/api/queues/pause", {"queue": "default"}).status == 200
    shown = queues(api)["default"]
    whole = {"type": None, "since": api.now(), "by": "local", "resuming": False, "unhandled": False}
    assert shown["paused"] == whole
    assert shown["pauses"] == [{**whole, "type": kind, "since": since}, whole]
    task = create(api, kind, runnerType="system", input={"text": "a"})["id"]
    api.clock.move(5_001)
    api.work("default")
    assert api.job(task).state == "pending"
    assert api.post("/api/queues/resume", {"queue": "default"}).json == {"sent": 0}
    assert api.post("/api/queues/resume", {"type": kind}).json == {"sent": 1}
    assert queues(api)["default"]["paused"] is None
    api.clock.move(5_001)
    api.work("default")
    assert api.job(task).state == "success"
    assert api.post("/api/queues/resume", {"type": kind}).status == 404


@pytest.mark.parametrize("body", [{}, {"type": "a", "queue": "b"}, {"type": ""}, {"pool": "a"}])
def test_one_thing_is_paused(api: Service, body: dict[str, Any]) -> None:
    assert api.post("/api/queues/pause", body).status == 422

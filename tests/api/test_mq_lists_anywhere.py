"""Lists, cleanup and depth on either emulator, and lists of large payloads."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.api import paging
from chalicelib.core.states import State
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.local.emulator import Emulator
from tests.support.ledger import job_of, parts_of, place
from tests.support.service import Service, service

LAMBDA_ANSWER_MAX_BYTES = 6 * 1024 * 1024  # AWS Lambda Developer Guide, "Lambda quotas"


@pytest.fixture(scope="module", params=["moto", "ministack"])
def anywhere(request: pytest.FixtureRequest) -> Iterator[Service]:
    """An installation on either emulator."""
    if request.param == "moto":
        with service() as made:
            yield made
    else:
        with Emulator.start() as emulator, service(emulator.endpoint_url) as made:
            yield made


def fill(api: Service, topic: str, number: int) -> list[str]:
    """Messages in turn completed, failed and pending, each with two events; their ids, newest first."""
    states = itertools.cycle((State.SUCCESS, State.FAILED, State.PENDING))
    ids = []
    for n in range(number):
        at_ms = api.clock.ms - 1_000 + n // 2
        lines = tuple(TraceEvent(word, at_ms).to_line() for word in (Event.PUBLISHED, Event.STARTED))
        job = job_of(api.yard, type=topic, state=next(states), created_at_ms=at_ms, updated_at_ms=at_ms, trace=lines)
        ids.append(str(place(api.yard, job).id))
    return ids[::-1]


def walk(api: Service, path: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
    cursor: dict[str, str] = {}
    while True:
        reply = api.get(path, {**query, **cursor})
        assert reply.status == 200, reply.text
        yield reply.json["pageData"]
        if reply.json["nextCursor"] is None:
            return
        cursor = {"cursor": reply.json["nextCursor"]}


def test_lists_cleanup_and_depth(anywhere: Service) -> None:
    ids = fill(anywhere, "everywhere", 20)
    pages = list(walk(anywhere, "/mq/message/list", topic="everywhere", perPage=6))
    assert [[message["id"] for message in page] for page in pages] == [ids[:6], ids[6:12], ids[12:18], ids[18:]]
    events = [
        entry["messageId"] for page in walk(anywhere, "/mq/trace/list", topic="everywhere", perPage=7) for entry in page
    ]
    assert events == [message_id for message_id in ids for _ in range(2)]
    dead = [message["id"] for page in walk(anywhere, "/mq/dlq/list", topic="everywhere", perPage=2) for message in page]
    assert dead == [message["id"] for page in pages for message in page if message["status"] == "FAILED"]
    assert len(dead) == 7
    assert anywhere.get("/mq/queue/depth", {"topic": "everywhere"}).json["depth"] == 6
    for number, body in ((7, {}), (0, {"status": "FAILED"}), (7, {"status": "FAILED", "includeUnreplayed": True})):
        reply = anywhere.post("/mq/queue/cleanup", {"topic": "everywhere", **body})
        kept = 0 if number else 7
        assert reply.json == {"deleted": number, "kept": kept, "hasMore": False, "nextCursor": None}
    left = anywhere.get("/mq/message/list", {"topic": "everywhere"}).json
    assert ({message["status"] for message in left["pageData"]}, left["totalCount"]) == ({"PENDING"}, 6)
    assert parts_of(anywhere.yard, int(dead[0])).keys() == {"state"}


def test_a_page_of_large_payloads_is_an_answer_that_lambda_can_give(anywhere: Service) -> None:
    jobs = []
    for n in range(30):
        job = job_of(anywhere.yard, type="large", body_at="item", created_at_ms=anywhere.clock.ms + n)
        anywhere.yard.jobs.record(job, json.dumps({"input": {"n": n, "text": '"' * 100_000}}))
        jobs.append(job)
    reply = anywhere.get("/mq/message/list", {"topic": "large", "perPage": 100})
    assert reply.status == 200
    assert len(json.dumps(reply.text)) < LAMBDA_ANSWER_MAX_BYTES
    shown = [message["payload"]["n"] for message in reply.json["pageData"] if message["payload"] is not None]
    assert len(reply.json["pageData"]) == 30
    assert shown == list(range(29, 29 - len(shown), -1))
    assert paging.BODIES_MAX_BYTES / 400_100 - 1 < len(shown) < 30
    pages = list(walk(anywhere, "/mq/message/list", topic="large", perPage=10))
    assert [message["payload"]["n"] for page in pages for message in page] == list(range(29, -1, -1))

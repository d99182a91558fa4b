"""How the installation is doing, in one answer: every field, over every window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID

from tests.support.requests import requests
from tests.support.service import Service, service

MINUTE_MS, DAY_MS = 60_000, 86_400_000


@pytest.fixture(scope="module")
def api() -> Iterator[Service]:
    """An installation after a morning of work: of four tasks two succeed, one fails, one waits; a message waits."""
    with service() as made:
        made.yard.deployments.note(made.clock.ms - 30 * MINUTE_MS)
        for script in ({"fail": "once", "until": 1}, {"reject": "no"}, "fine"):
            create(made, script)
        made.work("default")
        made.clock.move(2 * MINUTE_MS)
        made.work("default")
        made.post("/mq/message/publish", {"topic": "mail", "payload": {}})
        create(made, "waits", delay=DAY_MS / 1_000)
        made.tick()
        made.clock.move(4_000)
        project(made)
        yield made


def project(api: Service) -> None:
    """The change stream, to the projector."""
    table = get_backend("dynamodb")[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[api.yard.settings.jobs_table]
    api.module.projector({"Records": [record.to_json() for record in table.stream_shard.items]}, None)


def create(api: Service, script: Any, **more: Any) -> str:
    task = {"type": "scripted", "runnerType": "system", "targetId": "1", "targetType": "t", "input": script, **more}
    return str(api.post("/api/task/create", task).json["id"])


def overview(api: Service, window: str = "1h") -> dict[str, Any]:
    reply = api.get("/api/overview", {"window": window})
    assert reply.status == 200, reply.text
    return dict(reply.json)


def test_every_field(api: Service) -> None:
    shown = overview(api)
    series = shown.pop("series")
    assert shown == {
        "now": api.now(),
        "window": "1h",
        "stepMs": MINUTE_MS,
        "totals": {"pending": 2, "running": 0, "waiting": 0, "success": 2, "failed": 1, "canceled": 0},
        "inWindow": {
            "accepted": 5,
            "succeeded": 2,
            "failed": 1,
            "retried": 1,
            "successRatio": 0.666667,
            "waitMs": shown["inWindow"]["waitMs"],
            "runMs": shown["inWindow"]["runMs"],
        },
        "queues": [
            {
                "kind": "task",
                "type": "scripted",
                "pending": 1,
                "running": 0,
                "failedInWindow": 1,
                "succeededInWindow": 2,
                "perSecond": round(3 / ((api.clock.ms - series["at"][0]) / 1_000), 6),
                "oldestReadyMs": None,
                "p95RunMs": shown["queues"][0]["p95RunMs"],
                "paused": None,
            },
            {
                "kind": "message",
                "type": "mail",
                "pending": 1,
                "running": 0,
                "failedInWindow": 0,
                "succeededInWindow": 0,
                "perSecond": 0,
                "oldestReadyMs": 4_000,
                "p95RunMs": None,
                "paused": None,
            },
        ],
        "queuesLeftOut": 0,
        "oldest": {"id": "4", "kind": "message", "type": "mail", "readyForMs": 4_000},
        "deadLetters": {"total": 1, "new": 1},
        "health": {
            "clock": {"lastTickAt": api.now(-4_000), "lateMs": 4_000, "status": "ok"},
            "projector": {"lagMs": shown["health"]["projector"]["lagMs"], "status": "ok"},
            "leases": {"expired": 0},
            "audit": shown["health"]["audit"],
        },
        "changed": {
            "since": api.now(-32 * MINUTE_MS - 4_000),
            "newFailureGroups": 1,
            "failureRatioBefore": None,
            "failureRatioAfter": 0.333333,
        },
        "newestFailures": [
            {
                "id": "2",
                "kind": "task",
                "type": "scripted",
                "error": "Reject: no",
                "cause": "rejected",
                "at": api.now(-2 * MINUTE_MS - 4_000),
            }
        ],
    }
    assert {name: len(values) for name, values in series.items()} == dict.fromkeys(series, 60)
    assert series["accepted"][-3:] == [3, 0, 2]
    assert series["succeeded"][-3:] == [1, 0, 1]
    assert (sum(series["failed"]), sum(series["retried"])) == (1, 1)
    assert series["pending"][-3:] == [1, 1, 2]


@pytest.mark.parametrize(
    ("window", "step_ms", "points"),
    [("15m", MINUTE_MS, 15), ("6h", 3 * MINUTE_MS, 120), ("24h", 12 * MINUTE_MS, 120), ("7d", DAY_MS, 7),
     ("30d", DAY_MS, 30)],
)  # fmt: skip
def test_each_window_has_as_many_points_as_a_page_can_draw(
    api: Service, window: str, step_ms: int, points: int
) -> None:
    shown = overview(api, window)
    assert (shown["stepMs"], len(shown["series"]["at"])) == (step_ms, points)
    assert shown["inWindow"]["accepted"] == sum(shown["series"]["accepted"]) == 5
    assert shown["inWindow"]["succeeded"] == sum(shown["series"]["succeeded"]) == 2
    assert (shown["inWindow"]["failed"], shown["inWindow"]["retried"]) == (1, 1)
    assert shown["series"]["pending"][-1] == (None if window.endswith("d") else 2)


def test_what_ends_in_the_minute_of_the_deployment_ended_since() -> None:
    with service() as made:
        made.clock.move(DAY_MS - made.clock.ms % MINUTE_MS + 1_000)  # when no other test of this process has looked
        made.yard.deployments.note(made.clock.ms)
        create(made, {"reject": "no"})
        made.work("default")
        project(made)
        changed = overview(made)["changed"]
        assert (changed["failureRatioBefore"], changed["failureRatioAfter"]) == (None, 1.0)


def test_a_window_that_is_none(api: Service) -> None:
    assert api.get("/api/overview", {"window": "2h"}).status == 422


def test_what_is_paused_and_what_lost_its_worker(api: Service) -> None:
    api.yard.pauses.begin("type#mail", api.clock.ms, by="ann")
    (message,) = api.get("/mq/message/poll", {"topic": "mail", "limit": 1, "lockTimeout": 1_000}).json
    project(api)
    api.clock.move(1_001)
    shown = overview(api)
    mail = next(queue for queue in shown["queues"] if queue["type"] == "mail")
    assert mail["paused"] == {"since": api.now(-1_001), "by": "ann", "queue": None}
    assert shown["health"]["leases"] == {"expired": 1}
    assert message["id"] == "4"


def test_a_type_whose_queue_is_paused(api: Service) -> None:
    queue = next(each for each in overview(api)["queues"] if each["kind"] == "task")
    assert api.post("/api/queues/pause", {"queue": "default"}).status == 200
    api.clock.move(1_001)
    shown = next(each for each in overview(api)["queues"] if each["type"] == queue["type"])
    assert shown["paused"] == {"since": api.now(-1_001), "by": "local", "queue": "default"}


def test_what_it_costs(api: Service) -> None:
    api.yard.shared_long.fresh_ms, api.yard.shared_slowly.fresh_ms = 3_600_000, 5_000
    try:
        for window in ("1h", "24h"):
            overview(api, window)
            api.clock.move(1)
            with requests(api.yard) as seen:
                overview(api, window)
            assert seen == ["Query"] * len(seen)
            assert len(seen) <= 3  # the counters, and the minutes that are not over; of two days at midnight
    finally:
        api.yard.shared_long.fresh_ms = api.yard.shared_slowly.fresh_ms = 0

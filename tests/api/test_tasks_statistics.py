"""How tasks went: ``/api/task/statistics``, told from the change stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID

from chalicelib.core.errors import InvalidInput
from chalicelib.core.states import Kind, State
from chalicelib.services import installation, queues
from chalicelib.services.task_statistics import statistics
from tests.support.service import Service
from tests.support.tasks import POOL, create, problem, system

STATES = ("success", "failed", "canceled", "pending", "running", "waiting")
THREE_HOURS_MS = 3 * 3_600_000


def project(api: Service) -> None:
    """The change stream, to the projector."""
    shard = get_backend("dynamodb")[DEFAULT_ACCOUNT_ID]["us-east-1"].tables[api.yard.settings.jobs_table].stream_shard
    api.module.projector({"Records": [record.to_json() for record in shard.items]}, None)


def statistics_of(api: Service, **query: Any) -> dict[str, Any]:
    reply = api.get("/api/task/statistics", query)
    assert reply.status == 200, reply.text
    return dict(reply.json)


def counts(**states: int) -> dict[str, int]:
    return {"total": sum(states.values()), **dict.fromkeys(STATES, 0), **states}


def occupied(series: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [point for point in series if point["total"]]


@pytest.fixture(scope="module")
def worked(api: Service) -> Iterator[Service]:
    """On 2025-06-15 at 15:06 UTC two tasks ran and two did not; three hours later another was created."""
    system(api, {"ok": 1})
    system(api, {"reject": "no"})
    create(api, "by.hand")
    canceled = create(api, "by.hand")
    api.clock.move(2_000)
    with patch("chalicelib.engine.worker.heartbeat.TICK_S", 3_600.0):
        api.work(POOL)
    assert api.post("/api/task/cancel", {"id": canceled["id"]}).status == 200
    api.clock.move(THREE_HOURS_MS + 600_000)
    create(api, "by.hand")
    project(api)
    with installation.using(api.yard):
        yield api


def test_everything_by_default(worked: Service) -> None:
    """Seven days of UTC, today the last of them."""
    found = statistics_of(worked)
    daily, hourly = found.pop("daily"), found.pop("hourly")
    by_hand, scripted = counts(pending=2, canceled=1), counts(success=1, failed=1)
    assert found == {
        "range": "7d",
        "timezone": "UTC",
        "since": "2025-06-09T00:00:00.000Z",
        "total": 5,
        "byStatus": {"success": 1, "failed": 1, "canceled": 1, "pending": 2, "running": 0, "waiting": 0},
        "byType": [{"type": "by.hand", **by_hand}, {"type": "scripted", **scripted}],
        "byRunnerType": [{"runnerType": "manual", **by_hand}, {"runnerType": "system", **scripted}],
        "averageWaitingMs": 2_000.0,
        "averageExecutionMs": 0.0,
        "averageTotalMs": 2_000.0,
    }
    days = [f"2025-06-{day:02d}" for day in range(9, 15)]
    last = {"date": "2025-06-15", **counts(success=1, failed=1, canceled=1, pending=2)}
    assert daily == [*({"date": day, **counts()} for day in days), last]
    assert [hour["hour"] for hour in hourly] == list(range(24))
    assert occupied(hourly) == [
        {"hour": 15, **counts(success=1, failed=1, canceled=1, pending=1)},
        {"hour": 18, **counts(pending=1)},
    ]


def test_by_another_clock(worked: Service) -> None:
    """In Kathmandu, 5:45 ahead, the last task was created on the next day, two minutes past midnight."""
    found = statistics_of(worked, range="1m", timezone="Asia/Kathmandu")
    assert (found["since"], len(found["daily"])) == ("2025-05-16T18:15:00.000Z", 31)
    assert occupied(found["daily"]) == [
        {"date": "2025-06-15", **counts(success=1, failed=1, canceled=1, pending=1)},
        {"date": "2025-06-16", **counts(pending=1)},
    ]
    assert [hour["hour"] for hour in occupied(found["hourly"])] == [0, 20]


def test_of_one_type_or_runner(worked: Service) -> None:
    assert statistics_of(worked, type="scripted")["byStatus"] == {**dict.fromkeys(STATES, 0), "success": 1, "failed": 1}
    found = statistics_of(worked, runnerType="manual", range="1y")
    assert (found["total"], [entry["type"] for entry in found["byType"]], len(found["daily"])) == (3, ["by.hand"], 365)
    assert found["averageTotalMs"] is None
    nothing = statistics_of(worked, type="never", range="3m")
    assert (nothing["total"], nothing["byType"], len(nothing["daily"])) == (0, [], 92)


def test_what_is_wrong_is_told(worked: Service) -> None:
    for query, field in (
        ({"range": "2d"}, "range"),
        ({"runnerType": "robot"}, "runnerType"),
    ):
        assert problem(worked.get("/api/task/statistics", query))[:2] == (422, field)
    for zone, near in (
        ("../../etc/passwd", "UTC or Europe/Berlin"),
        ("a" * 5_000, "UTC or Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin or Europe/Dublin or Europe/Helsinki"),
    ):
        status, field, expected, _ = problem(worked.get("/api/task/statistics", {"timezone": zone}))
        assert (status, field) == (422, "timezone")
        assert expected == f"a name of the IANA database, such as {near}"


@pytest.mark.usefixtures("worked")
def test_the_same_in_python() -> None:
    found = statistics("1m", "Asia/Kathmandu", type="by.hand", runner_type="manual")
    assert (found.total.total, found.total[State.CANCELED], len(found.daily)) == (3, 1, 31)
    for wrong in ({"range": "2d"}, {"timezone": "Mars"}, {"type": ""}, {"runner_type": "robot"}):
        with pytest.raises(InvalidInput):
            statistics(**wrong)


@pytest.mark.usefixtures("worked")
def test_jobs_are_counted_by_kind_state_and_type() -> None:
    nothing = dict.fromkeys(State, 0)
    of_all = {**nothing, State.SUCCESS: 1, State.FAILED: 1, State.CANCELED: 1, State.PENDING: 2}
    assert queues.counts() == of_all
    assert queues.counts(type="by.hand") == {**nothing, State.CANCELED: 1, State.PENDING: 2}
    assert queues.counts(Kind.MESSAGE) == queues.counts("message", "by.hand") == nothing
    for wrong in ({"kind": "letter"}, {"type": ""}, {"kind": "message", "type": ""}):
        with pytest.raises(InvalidInput):
            queues.counts(**wrong)

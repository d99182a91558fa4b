"""The statistics of tasks: what the projector counted agrees with the ledger, however rows lie and streams behave."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest

from chalicelib.core.job import MANUAL, SYSTEM, Job
from chalicelib.core.projection import Effects, TaskAmountKey, effects_of
from chalicelib.core.states import Kind, State
from chalicelib.core.statistics import DAY_MS, Span, Statistics, amounts_of
from chalicelib.engine.projections import statistics as engine
from chalicelib.engine.projections.project import Change, project
from chalicelib.engine.projections.rebuild import rebuild_counters
from chalicelib.testing import cloud
from tests.support.steps import before, counting
from tests.support.worlds import World
from tests.support.yards import START_MS

MINUTE_MS = 60_000
ZONE = ZoneInfo("Asia/Kathmandu")
TYPES = ("mail", "report", "resize")
SHARDS = ("shard-1", "shard-2", "shard-3")  # in slots of their own
STORY = {  # what may become of a task, one state after the other
    "open": (State.PENDING,),
    "busy": (State.PENDING, State.RUNNING),
    "parked": (State.PENDING, State.RUNNING, State.WAITING),
    "done": (State.PENDING, State.RUNNING, State.SUCCESS),
    "dead": (State.PENDING, State.RUNNING, State.PENDING, State.RUNNING, State.FAILED),
    "stopped": (State.PENDING, State.CANCELED),
    "again": (State.PENDING, State.RUNNING, State.FAILED, State.PENDING),
    "by hand": (State.PENDING, State.SUCCESS),
}


def a_life(random: Random, number: int, moments_ms: list[int]) -> list[Job]:
    """A task as it stood after each change of its life."""
    created_ms = random.choice(moments_ms)
    story = random.choice(tuple(STORY))
    job = Job(
        id=number,
        uid="b",
        kind=Kind.TASK if number % 10 else Kind.MESSAGE,
        type=random.choice(TYPES),
        queue="default",
        created_at_ms=created_ms,
        trace_id="trace",
        runner=MANUAL if story == "by hand" else SYSTEM,
    )
    stood: list[Job] = []
    at_ms = created_ms
    for state in STORY[story]:
        job = replace(job, state=state, updated_at_ms=at_ms, completed_at_ms=at_ms if state.terminal else None)
        if state is State.RUNNING:
            job = replace(job, first_started_at_ms=job.first_started_at_ms or at_ms, started_at_ms=at_ms)
        stood.append(job)
        at_ms += 10 * MINUTE_MS
    return stood


def changes_of(stood: list[Job], *, deleted: bool) -> list[tuple[Job | None, Job | None]]:
    changes: list[tuple[Job | None, Job | None]] = list(zip([None, *stood], stood, strict=False))
    return [*changes, (stood[-1], None)] if deleted else changes


def counted(w: World, lives: list[list[Job]], random: Random) -> None:
    """Let the projector count the lives, batches of them delivered twice and by several shards."""
    sequence = 0
    for shard in SHARDS:
        mine = [life for life in lives if life[0].id % len(SHARDS) == SHARDS.index(shard)]
        steps = [
            change
            for life in mine
            for change in changes_of(life, deleted=life[-1].state.terminal and life[0].id % 4 == 0)
        ]
        batch = [Change(str(number), *step) for number, step in enumerate(steps, start=sequence + 1)]
        cut = random.randrange(len(batch))
        with patch("chalicelib.engine.projections.project.effects_of", statistics_alone):
            for delivered in (batch[:cut], batch):
                project(w.yard, shard, delivered)


def statistics_alone(changes: Iterable[tuple[Job | None, Job | None]]) -> Effects:
    """Effects without counters and minutes, all of which moto copies with every transaction."""
    return Counter({key: amount for key, amount in effects_of(changes).items() if isinstance(key, TaskAmountKey)})


def expected(lives: list[list[Job]], now_ms: int, span: Span = Span.WEEK) -> dict[str, Counter[Any]]:
    """What a count of all tasks that there ever were tells, with nothing but Python's own calendar."""
    today = datetime.fromtimestamp(now_ms / 1_000, ZONE).date()
    found: dict[str, Counter[Any]] = {name: Counter() for name in ("total", "type", "runner", "daily", "hourly")}
    for job in (life[-1] for life in lives if life[0].kind is Kind.TASK):
        moment = datetime.fromtimestamp(job.created_at_ms / 1_000, ZONE)
        if span.first_day(today) <= moment.date() <= today:
            found["total"].update(amounts_of(job))
            found["type"][job.type, job.state] += 1
            found["runner"][job.runner, job.state] += 1
            found["daily"][moment.date(), job.state] += 1
            found["hourly"][moment.hour, job.state] += 1
    return found


def statistics_of(found: Statistics) -> dict[str, Counter[Any]]:
    """Statistics in the same form, without noughts."""
    groups = {
        "type": found.by_type.items(),
        "runner": found.by_runner.items(),
        "daily": found.daily.items(),
        "hourly": enumerate(found.hourly),
    }
    by_state = {
        name: +Counter({(key, state): tally[state] for key, tally in tallies for state in State})
        for name, tallies in groups.items()
    }
    return {"total": +found.total.amounts, **by_state}


def look(w: World, span: Span = Span.MONTH, **only: str) -> Statistics:
    return engine.statistics(w.yard, span, ZONE, **only)


def rows(w: World) -> list[dict[str, Any]]:
    return [item for item in w.items("insights") if item["view"].startswith("tasks#")]


def a_change(number: int, created_ms: int, **fields: Any) -> Change:
    job = Job(id=number, uid="b", kind=Kind.TASK, type="t", queue="default", created_at_ms=created_ms, trace_id="trace")
    return Change(str(number), None, replace(job, **fields))


@pytest.fixture(scope="module")
def lives() -> list[list[Job]]:
    random = Random(20_260_315)  # noqa: S311 - a repeatable mixture
    moments_ms = [START_MS - random.randrange(9 * DAY_MS) for _ in range(16)]
    return [a_life(random, number, moments_ms) for number in range(1, 241)]


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """Retries of transactions take no time."""
    with patch("chalicelib.store.table.CONFLICT_WAIT_S", 0.0):
        yield


@pytest.fixture
def never_condensed(w: World) -> None:
    """Not one day, not even on the world's first one."""
    cloud.tables()[w.yard.settings.insights_table].items.clear()


@pytest.mark.usefixtures("never_condensed")
def test_hundreds_of_tasks_are_told_as_a_count_of_them_all_tells(w: World, lives: list[list[Job]]) -> None:
    """Before and after their rows were condensed, and when some of them have moved on since."""
    counted(w, lives, Random(1))  # noqa: S311
    want = expected(lives, START_MS)
    assert statistics_of(look(w, Span.WEEK)) == want
    only = statistics_of(look(w, only_type="mail", only_runner=SYSTEM))
    assert only["type"] == Counter(
        {key: n for key, n in statistics_of(look(w, only_runner=SYSTEM))["type"].items() if key[0] == "mail"}
    )
    assert sum(only["hourly"].values()) == sum(only["daily"].values()) == sum(only["type"].values()) > 10

    fresh = len(rows(w))
    condensed = engine.condense(w.yard, lambda: True)
    assert condensed > fresh / 2
    assert len(rows(w)) < 0.75 * fresh
    assert statistics_of(look(w, Span.WEEK)) == want
    assert engine.condense(w.yard, lambda: True) == 0  # these days have had their turn

    late = [life for life in lives if life[-1].state is State.PENDING and life[0].kind is Kind.TASK]
    ended = [replace(life[-1], state=State.CANCELED, completed_at_ms=START_MS) for life in late]
    counted_late = [
        Change(str(number), life[-1], job) for number, (life, job) in enumerate(zip(late, ended, strict=True), 10_000)
    ]
    with patch("chalicelib.engine.projections.project.effects_of", statistics_alone):
        project(w.yard, SHARDS[0], counted_late)
    for life, job in zip(late, ended, strict=True):
        life.append(job)
    want = expected(lives, START_MS)
    assert statistics_of(look(w, Span.WEEK)) == want
    w.clock.move(DAY_MS)
    assert engine.condense(w.yard, lambda: True) > 0  # another day, and what came late to older ones
    w.clock.move(-DAY_MS)
    assert statistics_of(look(w, Span.WEEK)) == want


def test_a_range_costs_one_query_a_month(w: World) -> None:
    for months, span in ((2, Span.WEEK), (2, Span.MONTH), (13, Span.YEAR)):
        with counting(w) as calls:
            look(w, span)
        assert calls["Query"] <= months + 1
        assert set(calls) == {"Query"}


def test_rows_are_small_and_of_one_creation(w: World) -> None:
    """A row of three hours in which every state and time occurs in every quarter is under 1 KB."""
    start_ms = START_MS - START_MS % DAY_MS
    done = {"first_started_at_ms": start_ms + 90 * DAY_MS, "completed_at_ms": start_ms + 120 * DAY_MS}
    batch = [
        a_change(number, start_ms + quarter * 15 * MINUTE_MS, state=state, type="a.type.of.ordinary.length", **done)
        for number, (quarter, state) in enumerate(((q, s) for q in range(12) for s in State), start=1)
    ]
    project(w.yard, "s", batch)
    (row,) = rows(w)
    assert row["expires_at_s"] == start_ms // 1_000 + 400 * 86_400
    assert (row["p0"], row["s11"], row["n3"], row["t11"]) == (1, 1, 2, 2 * (120 * DAY_MS - 11 * 15 * MINUTE_MS))
    assert size_of(row) < 1_024


def size_of(item: dict[str, Any]) -> int:
    """By the rules of the Amazon DynamoDB Developer Guide: a number takes a byte for two digits, and one more."""
    return sum(
        len(name) + (len(value) if isinstance(value, str) else (len(str(value)) + 1) // 2 + 1)
        for name, value in item.items()
    )


def test_a_row_that_is_added_to_while_it_is_condensed_waits_for_another_time(w: World) -> None:
    day_ms = START_MS - START_MS % DAY_MS
    project(w.yard, "s", [a_change(1, day_ms), a_change(2, day_ms, type="quiet")])
    client = w.yard.insights.task_days._table.client
    late: list[int] = []

    def add(**_: Any) -> None:
        if not late:
            late.append(3)
            project(w.yard, "s", [a_change(3, day_ms)])

    with before(client, "TransactWriteItems", add):
        assert w.yard.insights.task_days.condense(day_ms, lambda: True) == 1
    assert w.yard.insights.task_days.condense(day_ms, lambda: True) == 1
    assert statistics_of(look(w))["total"] == Counter({State.PENDING: 3})
    assert len(rows(w)) == 2


def test_rows_that_were_condensed_by_another_meanwhile_and_made_anew_are_not_taken_for_the_old(w: World) -> None:
    """Both condense the second task; before the slower one writes, a third makes a row just like the second's."""
    day_ms = START_MS - START_MS % DAY_MS
    task_days = w.yard.insights.task_days
    project(w.yard, "s", [a_change(1, day_ms)])
    task_days.condense(day_ms, lambda: True)
    project(w.yard, "s", [a_change(2, day_ms)])

    def overtake(**_: Any) -> None:
        task_days.condense(day_ms, lambda: True)
        project(w.yard, "s", [a_change(3, day_ms)])

    with before(task_days._table.client, "TransactWriteItems", overtake):
        task_days.condense(day_ms, lambda: True)
    assert statistics_of(look(w))["total"] == Counter({State.PENDING: 3})


def test_tasks_of_many_days_that_move_on_at_once_take_several_transactions(w: World) -> None:
    """A transaction has at most 100 items, and each row of three hours is one."""
    moves = []
    for number in range(1, 121):
        pending = a_change(number, START_MS - number * 3 * 60 * MINUTE_MS).after
        assert pending is not None
        moves.append(Change(str(number), pending, replace(pending, state=State.CANCELED, updated_at_ms=START_MS)))
    with counting(w) as calls:
        project(w.yard, "s", moves)
    assert calls["TransactWriteItems"] == 2
    assert look(w).total[State.CANCELED] == 120


@pytest.mark.usefixtures("never_condensed")
def test_condensing_goes_on_where_it_was_stopped(w: World) -> None:
    for number in range(10):
        project(w.yard, "s", [a_change(number + 1, START_MS - number * DAY_MS)])
    answers = itertools.chain([True] * 42, itertools.repeat(False))
    before_it_stopped = engine.condense(w.yard, lambda: next(answers))
    assert 0 < before_it_stopped < 8
    assert engine.condense(w.yard, lambda: False) == 0
    assert engine.condense(w.yard, lambda: True) == 8 - before_it_stopped
    condensed = [row for row in rows(w) if row["key"].count("|") == 1]
    assert len(condensed) == 8  # all but today and yesterday
    assert statistics_of(look(w))["total"] == Counter({State.PENDING: 10})

    project(w.yard, "s", [a_change(11, START_MS - 9 * DAY_MS), a_change(12, START_MS - 2 * DAY_MS)])  # what comes late
    w.clock.move(24 * DAY_MS)
    assert engine.condense(w.yard, lambda: True) == 2 + 2  # is condensed a week or a month later
    assert not [row for row in rows(w) if row["key"].count("|") > 1]
    w.clock.move(-24 * DAY_MS)
    assert statistics_of(look(w))["total"] == Counter({State.PENDING: 12})


def test_a_rebuild_counts_the_ledger_anew_and_remembers_what_was_deleted(w: World) -> None:
    """The stream was lost after the deleted ones; of the rest the statistics know wrong states, or nothing."""
    created_ms, later_ms = START_MS - DAY_MS, START_MS - 20 * DAY_MS
    deleted = [a_change(n, created_ms, state=State.SUCCESS, completed_at_ms=created_ms + 50) for n in (1, 2)]
    project(w.yard, "s", [*deleted, a_change(3, created_ms), a_change(4, later_ms, state=State.RUNNING)])
    ended = {"state": State.FAILED, "completed_at_ms": later_ms + 70}
    for change in (
        a_change(3, created_ms, state=State.WAITING),
        a_change(4, later_ms, **ended),
        a_change(5, later_ms),
    ):
        assert change.after is not None
        w.yard.jobs.record(change.after)
    for _ in range(2):
        rebuild_counters(w.yard)
        found = look(w)
        assert statistics_of(found)["total"] - Counter({State.SUCCESS: 0}) == {
            State.SUCCESS: 2,
            State.WAITING: 1,
            State.FAILED: 1,
            State.PENDING: 1,
            "total_ms": 2 * 50 + 70,
        }
    with counting(w) as calls:
        rebuild_counters(w.yard)
    assert calls["TransactWriteItems"] == 1  # the counters: of the statistics nothing is written that stays as it is

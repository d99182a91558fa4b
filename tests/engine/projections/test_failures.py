"""The groups of failures: counted by the projector, each change once, and made anew from the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.failures import FailureGroup, Failures, Sample
from chalicelib.core.fingerprints import fingerprint_of
from chalicelib.core.job import Job, JobError
from chalicelib.core.states import Kind
from chalicelib.engine.commands.lifecycle import delete, replay, retry
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.projections.project import Change, project
from chalicelib.engine.projections.rebuild import rebuild_counters
from chalicelib.functions.events import NO_SHARD, changes_by_shard
from tests.support.steps import a_message, a_task, using, work
from tests.support.worlds import World
from tests.support.yards import START_MS


class Broken(Exception):
    """What handlers here raise."""


@task("t", max_attempts=1)
def handler(what: Any) -> None:
    if what is not None:
        raise Broken(what)


@subscribe("news", max_attempts=1)
def reader(what: Any) -> None:
    raise Broken(what)


@pytest.fixture
def w(w: World) -> World:
    using(w, handler, reader)
    return w


def groups(w: World) -> dict[str, tuple[int, int]]:
    """How many of each group are failed now, and were ever, by the group's error."""
    w.project()
    found = w.yard.insights.failures.read()
    return {f"{group.type}: {each.error}": (each.failed, each.total) for group, each in found.items()}


def rows(w: World) -> list[dict[str, Any]]:
    return [item for item in w.items("insights") if item["view"] == "failures"]


def failed(w: World, what: str = "order 1 is gone") -> Job:
    job = a_task(w, input=what)
    work(w)
    found = w.yard.jobs.find(job.id)
    assert found is not None
    return found


GONE, LATE = "t: Broken: order # is gone", "t: Broken: order # is late"


def test_those_that_failed_alike_are_one_group(w: World) -> None:
    jobs = [failed(w, f"order {number} is gone") for number in (1, 2)]
    failed(w, "order 3 is late")
    a_task(w, input=None)
    a_message(w, input="order 4 is gone")
    work(w)
    work(w, "news")
    assert groups(w) == {GONE: (2, 2), LATE: (1, 1), "news: Broken: order # is gone": (1, 1)}
    group = FailureGroup("task", "t", fingerprint_of(jobs[0]))
    assert w.yard.insights.failures.read("task", "t")[group] == Failures(
        cause="attempts_used_up",
        error="Broken: order # is gone",
        changed_at_ms=START_MS - START_MS % 1_000,
        failed=2,
        total=2,
        first_at_ms=START_MS,
        newest=Sample(jobs[1].id, "Broken: order 2 is gone", START_MS),
    )
    assert w.yard.insights.failures.read("message", "t") == {}


def test_the_first_and_the_newest_are_known(w: World) -> None:
    first = failed(w)
    w.project()
    w.clock.move(60_000)
    second = failed(w, "order 2 is gone")
    w.project()
    w.clock.move(60_000)
    retry(w.yard, first.id, Kind.TASK)
    assert groups(w) == {GONE: (1, 2)}
    (found,) = w.yard.insights.failures.read().values()
    assert (found.first_at_ms, found.newest) == (
        START_MS,
        Sample(second.id, "Broken: order 2 is gone", START_MS + 60_000),
    )


def test_who_is_retried_replayed_or_deleted_is_counted_no_more(w: World) -> None:
    retried, replayed, deleted = (failed(w) for _ in range(3))
    assert groups(w) == {GONE: (3, 3)}
    retry(w.yard, retried.id, Kind.TASK)
    assert groups(w) == {GONE: (2, 3)}
    replay(w.yard, replayed.id, None)
    assert groups(w) == {GONE: (1, 3)}
    delete(w.yard, replayed.id, Kind.TASK)
    assert groups(w) == {GONE: (1, 3)}
    delete(w.yard, deleted.id, Kind.TASK)
    assert groups(w) == {GONE: (0, 3)}
    work(w)  # the retried one, and the one that the replay made
    assert groups(w) == {GONE: (2, 5)}


def test_a_batch_without_such_a_change_writes_no_row_more(w: World) -> None:
    a_task(w, input=None)
    work(w)
    (changes,) = changes_by_shard({"Records": w.stream()}).values()
    assert groups(w) == {}
    assert rows(w) == []
    assert len(changes) == 3


def test_what_comes_twice_counts_once(w: World) -> None:
    failed(w)
    (changes,) = changes_by_shard({"Records": w.stream()}).values()
    for _ in range(2):
        assert project(w.yard, NO_SHARD, changes) in (0, len(changes))
    (found,) = w.yard.insights.failures.read().values()
    assert (found.failed, found.total) == (1, 1)


def test_two_shards_add_up(w: World) -> None:
    """The failure was in one shard, and what followed is in another, of another slot."""
    job = failed(w)
    w.project()
    (before,) = changes_by_shard({"Records": w.stream()}).values()
    retry(w.yard, job.id, Kind.TASK)
    (changes,) = changes_by_shard({"Records": w.stream()}).values()
    assert project(w.yard, "another", changes[len(before) :]) > 0
    assert len(rows(w)) == 2
    (found,) = w.yard.insights.failures.read().values()
    assert (found.failed, found.total, found.newest and found.newest.job) == (0, 1, job.id)


def test_more_groups_than_a_transaction_holds(w: World) -> None:
    failed(w)
    (changes,) = changes_by_shard({"Records": w.stream()}).values()
    last = changes[-1]
    many = []
    for number in range(120):
        error = JobError("Broken", "x" * number)
        many.append(Change(str(int(last.sequence) + number + 1), _with(last.before, error), _with(last.after, error)))
    assert project(w.yard, "many", many) == 120
    assert len(w.yard.insights.failures.read()) == 120


def _with(job: Job | None, error: Any) -> Job:
    assert job is not None
    return replace(job, error=error if job.error is not None else None)


class TestRebuilding:
    def test_it_counts_what_the_ledger_has(self, w: World) -> None:
        failed(w), failed(w, "order 2 is late")
        before = groups(w)
        for item in rows(w):
            w.yard.jobs.table.client.delete_item(
                TableName=w.yard.settings.insights_table,
                Key={"view": {"S": item["view"]}, "key": {"S": item["key"]}},
            )
        rebuild_counters(w.yard)
        assert groups(w) == before == {GONE: (1, 1), LATE: (1, 1)}

    def test_it_forgets_neither_totals_nor_groups_of_which_none_is_left(self, w: World) -> None:
        first, second = failed(w), failed(w, "order 2 is late")
        w.project()
        w.clock.move(1_000)
        retry(w.yard, first.id, Kind.TASK)
        work(w)
        delete(w.yard, second.id, Kind.TASK)
        before = groups(w)
        assert before == {GONE: (1, 2), LATE: (0, 1)}
        known = w.yard.insights.failures.read()
        for _ in range(2):
            rebuild_counters(w.yard)
            assert groups(w) == before
        assert {group: each.first_at_ms for group, each in known.items()} == {
            group: each.first_at_ms for group, each in w.yard.insights.failures.read().items()
        }


def test_groups_are_counted_with_the_items_of_the_transaction(w: World) -> None:
    group = FailureGroup("task", "t", "f")
    assert len(w.yard.insights.adding("shard", Counter(), {group: Failures(None, "e", 1)})) == 1

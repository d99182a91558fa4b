"""Retention: what the clock removes, what it leaves, and how much it does at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib import aws
from chalicelib.core.errors import Unavailable
from chalicelib.core.job import MANUAL, Job, JobError, Tombstone
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock import retention
from chalicelib.engine.clock.retention import Bounds, Removed, remove_expired, remove_matching, remove_old
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.lifecycle import delete
from chalicelib.engine.handlers.declare import subscribe
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.remove import remove_seen
from chalicelib.store.job_items import position_of
from chalicelib.store.job_queries import JobQuery, index_keys_of
from chalicelib.store.jobs import JobStore
from tests.support.ledger import grave_of, job_of, parts_of, place
from tests.support.steps import a_message, before, counting, failing, using
from tests.support.worlds import World, wiped, world
from tests.support.yards import SETTINGS, START_MS

DAY_MS = 86_400_000
DAY_S = 86_400
EVER = Bounds(10_000, lambda: True)
DONE = index_keys_of(State.SUCCESS)
KEPT = replace(
    SETTINGS, retention_completed_s=7 * DAY_S, retention_failed_s=30 * DAY_S, retention_unreplayed_s=90 * DAY_S
)


@pytest.fixture(scope="module")
def keeping() -> Iterator[World]:
    """A world where success is kept for a week and failure for a month."""
    with world([], KEPT) as used:
        yield used


@pytest.fixture
def k(keeping: World) -> World:
    return wiped(keeping)


def yes() -> bool:
    return True


def no() -> bool:
    return False


def done(w: World, age_ms: int, state: State = State.SUCCESS, **fields: Any) -> Job:
    """A job that was created and done so long ago."""
    at_ms = w.clock.ms - age_ms
    usual = {"type": "t", "state": state, "created_at_ms": at_ms, "updated_at_ms": at_ms}
    return place(w.yard, job_of(w.yard, **{**usual, **fields}))


def left(w: World) -> set[int]:
    return {job.id for job in w.jobs()}


# -- retention ----------------------------------------------------------------------------------------


def test_nothing_expires_unless_the_settings_say_so(w: World) -> None:
    job = done(w, 10_000 * DAY_MS)
    assert (w.tick() or {})["expired_removed"] == 0
    assert left(w) == {job.id}


def test_what_is_done_for_longer_than_it_is_kept_is_removed(k: World) -> None:
    week, month, quarter = 7 * DAY_MS, 30 * DAY_MS, 90 * DAY_MS
    young = [
        done(k, week),
        done(k, month, State.FAILED, kind=Kind.TASK),
        done(k, quarter, State.FAILED),
        done(k, month, State.CANCELED, kind=Kind.TASK),
        done(k, 400 * DAY_MS, updated_at_ms=k.clock.ms - week),
        *(done(k, 400 * DAY_MS, state) for state in (State.PENDING, State.WAITING)),
    ]
    old = [
        done(k, week + 1),
        done(k, week + 1, kind=Kind.TASK),
        done(k, month + 1, State.FAILED, kind=Kind.TASK),
        done(k, month + 1, State.CANCELED),
        done(k, month + 1, State.CANCELED, kind=Kind.TASK),
        done(k, quarter + 1, State.FAILED),
    ]
    replayed = done(k, month + 1, State.FAILED)
    k.yard.jobs.together([*k.yard.jobs.replaying(replayed, 1, k.clock.ms - month - 1)])
    ticked = k.tick()
    assert ticked is not None
    assert ticked["expired_removed"] == 7
    assert left(k) == {job.id for job in young}
    graves = {record.id for record in k.records() if isinstance(record, Tombstone)}
    assert graves == {job.id for job in (*old, replayed)}


@pytest.mark.parametrize(
    ("setting", "removed"),
    [
        ("retention_completed_s", {"success"}),
        ("retention_failed_s", {"failed task", "canceled"}),
        ("retention_unreplayed_s", {"dead letter"}),
    ],
)
def test_what_no_setting_names_is_kept_for_ever(k: World, setting: str, removed: set[str]) -> None:
    jobs = {
        "success": done(k, 400 * DAY_MS),
        "failed task": done(k, 400 * DAY_MS, State.FAILED, kind=Kind.TASK),
        "canceled": done(k, 400 * DAY_MS, State.CANCELED),
        "dead letter": done(k, 400 * DAY_MS, State.FAILED),
    }
    yard = replace(k.yard, settings=replace(SETTINGS, **{setting: DAY_S}))
    assert remove_expired(yard, yes) == len(removed)
    assert left(k) == {job.id for name, job in jobs.items() if name not in removed}


def test_a_run_of_the_clock_is_bounded_and_the_next_goes_on(k: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "READ_CHUNK", 2)
    monkeypatch.setattr(retention, "EXPIRED_MAX", 4)
    for _ in range(9):
        done(k, 8 * DAY_MS)
    assert [remove_expired(k.yard, yes) for _ in range(4)] == [4, 4, 1, 0]


def test_it_ends_when_there_is_not_enough_time(k: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "READ_CHUNK", 2)
    for _ in range(5):
        done(k, 8 * DAY_MS)
    assert remove_expired(k.yard, no) == 0
    times = iter([True, True, True])  # before each kind, and after two jobs
    assert remove_expired(k.yard, lambda: next(times, False)) == 4

    for _ in range(5):
        done(k, 8 * DAY_MS)
    slow = replace(k.yard, now_ms=iter(range(k.clock.ms, k.clock.ms + 10**9, 4_000)).__next__)
    assert remove_expired(slow, yes) == 2


def test_what_waited_long_before_it_ran_does_not_hide_what_expired(k: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs created long ago and done today stand before those that expired; each run begins elsewhere, too."""
    monkeypatch.setattr(retention, "READ_CHUNK", 5)
    monkeypatch.setattr(retention, "SKIPS_MAX", 5)
    young = [done(k, 400 * DAY_MS - n, updated_at_ms=k.clock.ms) for n in range(20)]
    old = [done(k, (8 + n) * DAY_MS) for n in range(40)]
    removed = 0
    for _ in range(60):
        removed += remove_expired(k.yard, yes)
        if removed == len(old):
            break
        k.clock.move(60_000)
    assert removed == len(old)
    assert left(k) == {job.id for job in young}


# -- one removal --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 5_000, 300_000], ids=["in the record", "beside it", "in the bucket"])
def test_everything_goes_but_the_tombstone(w: World, size: int) -> None:
    job = a_message(w, input={"text": "x" * size})
    output = w.yard.payloads.store_output(replace(job, lease="l1"), f'"{"y" * size}"')
    place(w.yard, replace(job, state=State.SUCCESS, output=output.text, output_at=output.place))
    assert remove_old(w.yard, JobQuery(Kind.MESSAGE, index_keys=DONE), None, EVER) == Removed(1, None)
    expires_at_s = START_MS // 1_000 + w.yard.settings.tombstone_ttl_s
    assert parts_of(w.yard, job.id) == {"state": grave_of(w.yard, replace(job, state=State.SUCCESS), expires_at_s)}
    assert w.objects() == []


def test_a_late_message_of_a_removed_job_runs_nothing(w: World) -> None:
    ran: list[Any] = []

    def reader(what: Any) -> None:
        ran.append(what)

    using(w, subscribe("news")(reader))
    job = a_message(w, input={"n": 1})
    place(w.yard, replace(job, state=State.SUCCESS))
    assert remove_old(w.yard, JobQuery(Kind.MESSAGE, index_keys=DONE), None, EVER).count == 1
    w.deliver()
    assert (ran, w.messages(), left(w)) == ([], [], set())


def test_waiting_children_are_started_before_their_parent_is_gone(w: World) -> None:
    parent = publish(w.yard, NewJob(kind=Kind.TASK, type="t", runner=MANUAL))
    child = publish(w.yard, NewJob(kind=Kind.TASK, type="t", runner=MANUAL, parent_id=parent.id))
    assert w.job(child.id).blocked
    place(w.yard, replace(w.job(parent.id), state=State.SUCCESS))
    assert remove_old(w.yard, JobQuery(Kind.TASK, index_keys=DONE), None, EVER).count == 1
    assert left(w) == {child.id}
    assert not w.job(child.id).blocked


def test_what_is_retried_at_that_very_moment_stays(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = done(w, DAY_MS, State.FAILED, error=JobError("E", "no"))
    delete = JobStore.delete

    def late(store: JobStore, job: Job, expires_at_s: int, removal: str) -> Tombstone:
        lifecycle.retry(w.yard, job.id, Kind.MESSAGE)
        return delete(store, job, expires_at_s, removal)

    monkeypatch.setattr(JobStore, "delete", late)
    failed = JobQuery(Kind.MESSAGE, index_keys=index_keys_of(State.FAILED))
    assert remove_old(w.yard, failed, None, EVER) == Removed(0, None)
    assert w.job(dead.id).state is State.PENDING


def test_of_two_removals_at_once_one_counts(w: World) -> None:
    job = done(w, DAY_MS)
    first: list[bool] = []
    with before(w.yard.jobs.table.client, "PutItem", lambda: first.append(remove_seen(w.yard, job))):
        second = remove_seen(w.yard, job)
    assert (first, second) == ([True], False)
    assert w.yard.jobs.ledger(job.id) == Tombstone(job.id)


def test_it_tells_where_it_ended_and_goes_on_there(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "READ_CHUNK", 2)
    jobs = sorted((done(w, n) for n in range(5)), key=position_of)
    wanted = JobQuery(Kind.MESSAGE, index_keys=DONE)
    assert remove_old(w.yard, wanted, None, Bounds(2, yes)) == Removed(2, position_of(jobs[1]))
    assert left(w) == {job.id for job in jobs[2:]}
    assert remove_old(w.yard, wanted, None, EVER, position_of(jobs[2])) == Removed(2, None)
    assert left(w) == {jobs[2].id}


def test_a_client_is_told_where_none_could_be_removed(w: World) -> None:
    done(w, DAY_MS)
    with failing(w.yard.jobs.table.client, "PutItem"), pytest.raises(Unavailable, match="1 jobs could not be removed"):
        remove_matching(w.yard, JobQuery(Kind.MESSAGE, index_keys=DONE), None, Bounds(100, yes), None)


def test_one_that_cannot_be_removed_keeps_no_other_from_it(k: World) -> None:
    bad, *_ = [done(k, 8 * DAY_MS + number) for number in range(3)]
    delete = type(k.yard.jobs).delete

    def sometimes(jobs: Any, job: Job, *rest: Any) -> Any:
        if job.id == bad.id:
            raise EndpointConnectionError(endpoint_url="https://aws.test")
        return delete(jobs, job, *rest)

    with patch.object(type(k.yard.jobs), "delete", sometimes):
        ticked = k.tick()
    assert ticked is not None
    assert (ticked["expired_removed"], ticked["passed_over"]) == (2, 1)
    assert left(k) == {bad.id}


@pytest.mark.parametrize("operation", ["PutItem", "Query", "BatchWriteItem", "UpdateItem", "DeleteObject"])
def test_whatever_fails_no_job_is_left_in_part(w: World, operation: str) -> None:
    """It is there with all it keeps, or it is gone and its tombstone names what may be left."""
    bodies = {size: a_message(w, input={"text": "x" * size}) for size in (5_000, 300_000)}
    for job in bodies.values():
        place(w.yard, replace(job, state=State.SUCCESS))
    done_messages = JobQuery(Kind.MESSAGE, index_keys=DONE)
    client = aws.client("s3") if operation == "DeleteObject" else w.yard.jobs.table.client
    with failing(client, operation), suppress(EndpointConnectionError):  # what one removal meets stops no other
        remove_old(w.yard, done_messages, None, Bounds(100, yes))
    for record in w.records():
        if isinstance(record, Job):
            size = next(size for size, job in bodies.items() if job.id == record.id)
            assert w.yard.payloads.body(record)["input"] == {"text": "x" * size}
        else:
            assert record.unpurged or parts_of(w.yard, record.id).keys() == {"state"}

    remove_old(w.yard, done_messages, None, EVER)
    assert left(w) == set()
    for record in w.records():
        if isinstance(record, Tombstone) and record.unpurged:
            delete(w.yard, record.id, Kind.MESSAGE)
    assert w.records() == [Tombstone(job.id) for job in bodies.values()]
    assert {row["part"] for row in w.items("jobs")} == {"state"}
    assert w.objects() == []


def test_a_removal_takes_three_requests(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for parallel in ("engine.clock.retention.PARALLEL_REMOVALS", "store.job_streams.PARALLEL_READS"):
        monkeypatch.setattr(f"chalicelib.{parallel}", 1)  # the count is not made for threads
    for age_ms in range(30):
        done(w, age_ms)
    with counting(w) as calls:
        assert remove_old(w.yard, JobQuery(Kind.MESSAGE, index_keys=DONE), None, EVER).count == 30
    shards = w.yard.settings.index_shards
    assert calls == {"PutItem": 30, "Query": 30 + shards, "UpdateItem": 30, "BatchGetItem": 1}

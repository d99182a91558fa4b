"""The change stream, counted: each change once, whatever is delivered twice, late or in pieces."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.job import Job
from chalicelib.core.projection import Group, Measure
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import cancel, delete, retry
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.projections.project import Change, project
from chalicelib.engine.projections.rebuild import rebuild_counters
from chalicelib.functions import projector
from chalicelib.functions.events import NO_SHARD, changes_by_shard
from chalicelib.store.insights import AlreadyCounted
from chalicelib.store.job_items import Unreadable
from chalicelib.store.job_queries import JobQuery
from tests.support.steps import a_message, a_task, before, counting, failing, using, work
from tests.support.worlds import World
from tests.support.yards import START_MS

MINUTE_MS = 60_000
FIRST_MINUTE_MS = START_MS - START_MS % MINUTE_MS
TASKS = Group("task", "default", "t")


@task("t", backoff=Fixed(1_000))
def obedient(what: Any) -> None:
    if what == "fail":
        raise RuntimeError("no")


@pytest.fixture
def w(w: World) -> World:
    using(w, obedient)
    return w


def changes(w: World) -> list[Change]:
    """The changes of jobs so far, oldest first."""
    return changes_by_shard({"Records": w.stream()}).get(NO_SHARD, [])


def counters(w: World) -> dict[Group, dict[State, int]]:
    """The counters, without their zeros."""
    found = {group: dict(+Counter(states)) for group, states in w.yard.insights.counters().items()}
    return {group: states for group, states in found.items() if states}


def minutes(w: World, until_ms: int = START_MS + 86_400_000) -> dict[tuple[str, int], dict[str, int]]:
    """The measures by type and minute, counted from the first minute of the test; without histograms and backlog."""
    found = w.yard.insights.minutes(FIRST_MINUTE_MS, until_ms)
    return {
        (group.type, (minute_ms - FIRST_MINUTE_MS) // MINUTE_MS): {
            quantity.value: n
            for quantity, n in quantities.items()
            if isinstance(quantity, Measure) and quantity is not Measure.BACKLOG
        }
        for (group, minute_ms), quantities in found.items()
    }


def a_change(w: World, sequence: int, **fields: Any) -> Change:
    """A new job, as one change."""
    job = Job(
        **{
            "id": sequence,
            "uid": "b",
            "kind": Kind.TASK,
            "type": "t",
            "queue": "default",
            "created_at_ms": w.clock.ms,
            "updated_at_ms": w.clock.ms,
            "trace_id": "trace",
            **fields,
        }
    )
    return Change(str(sequence), None, job)


# -- what is counted ----------------------------------------------------------------------------------


def test_a_life_in_numbers(w: World) -> None:
    """Published; two seconds later started and failed in 300 ms; retried a second after; succeeded in 50 ms."""
    runs = iter([300, 50])

    @task("t", backoff=Fixed(1_000))
    def handler(_: Any) -> None:
        took_ms = next(runs)
        w.clock.move(took_ms)
        if took_ms == 300:
            raise RuntimeError("no")

    using(w, handler)
    a_task(w)
    w.clock.move(2_000)
    work(w)
    w.project()
    assert counters(w) == {TASKS: {State.PENDING: 1}}
    w.clock.move(1_001)
    work(w)
    w.project()
    assert counters(w) == {TASKS: {State.SUCCESS: 1}}
    assert minutes(w) == {
        ("t", 0): {
            "published": 1,
            "started": 2,
            "failed": 1,
            "succeeded": 1,
            "wait_ms": 2_000 + 1,
            "run_ms": 300 + 50,
        }
    }


def test_an_unreadable_record_stops_neither_the_counting_nor_a_list(w: World, caplog: pytest.LogCaptureFixture) -> None:
    broken, whole = a_task(w), a_task(w)
    w.project()
    item = {**w.yard.jobs.item(broken), "backoff": "the customer's words"}
    w.yard.jobs.table.put(item)
    w.yard.jobs.table.put({**item, "priority": 5})
    work(w)
    w.project()
    assert counters(w) == {TASKS: {State.PENDING: 1, State.SUCCESS: 1}}  # of the broken one, what was known before
    assert [job.id for job in w.yard.lists.page(JobQuery(Kind.TASK), 0, 10).jobs] == [whole.id]
    assert rebuild_counters(w.yard) == 1
    with pytest.raises(Unreadable, match=f"the record of job {broken.id} cannot be read") as told:
        w.yard.jobs.find(broken.id)
    told_in_logs = [record for record in caplog.records if f"the record of job {broken.id} cannot" in record.message]
    assert {record.levelname for record in told_in_logs} == {"ERROR"}
    assert {record.message.split(":")[0] for record in told_in_logs} >= {
        "a change is passed over",
        "a record is left out",
    }
    assert "customer" not in str(told.value)
    assert not [record.message for record in told_in_logs if "customer" in str(vars(record))]


def test_an_unreadable_tombstone_stops_the_counting_no_more_than_a_record(w: World) -> None:
    broken, _ = a_task(w), a_task(w)
    w.yard.jobs.table.put({**w.yard.jobs.item(broken), "state": "deleted", "kind": "of a later version"})
    work(w)
    w.project()
    assert counters(w)[TASKS][State.SUCCESS] == 1
    with pytest.raises(Unreadable, match=f"the record of job {broken.id} cannot be read"):
        w.yard.jobs.find(broken.id)


def test_each_state_has_its_counter(w: World) -> None:
    jobs = [a_task(w, input=what, max_attempts=1) for what in ("succeed", "fail", "cancel")]
    a_task(w, delay_ms=3_600_000)
    cancel(w.yard, jobs[2].id, Kind.TASK)
    work(w)
    a_message(w, "notes")
    w.project()
    assert counters(w) == {
        TASKS: {State.SUCCESS: 1, State.FAILED: 1, State.CANCELED: 1, State.PENDING: 1},
        Group("message", "notes", "notes"): {State.PENDING: 1},
    }
    assert w.counted() == w.counts()
    series = minutes(w)["t", 0]
    assert {name: series[name] for name in ("published", "succeeded", "failed", "dead", "canceled")} == {
        "published": 4,
        "succeeded": 1,
        "failed": 1,
        "dead": 1,
        "canceled": 1,
    }


def test_a_retry_by_request_moves_the_counter_back(w: World) -> None:
    job = a_task(w, input="fail", max_attempts=1)
    work(w)
    retry(w.yard, job.id, Kind.TASK)
    w.project()
    assert counters(w) == {TASKS: {State.PENDING: 1}}
    work(w)
    w.project()
    assert counters(w) == {TASKS: {State.FAILED: 1}}
    assert minutes(w)["t", 0]["dead"] == 2


def test_a_removed_job_is_counted_no_more_but_was_there(w: World) -> None:
    job = a_task(w)
    work(w)
    delete(w.yard, job.id, Kind.TASK)
    w.project()
    assert counters(w) == {}
    assert minutes(w)["t", 0]["succeeded"] == 1


def test_a_change_counts_in_the_minute_in_which_it_happened(w: World) -> None:
    a_task(w)
    w.clock.ms = FIRST_MINUTE_MS + 3 * MINUTE_MS
    work(w)
    w.clock.move(MINUTE_MS)
    w.project()
    found = minutes(w)
    assert found["t", 0] == {"published": 1}
    assert found["t", 3]["succeeded"] == 1
    assert set(found) == {("t", 0), ("t", 3)}


def test_a_series_is_read_within_its_span_across_midnight(w: World) -> None:
    midnight_ms = START_MS - START_MS % 86_400_000 + 86_400_000
    for offset in (-2, -1, 0, 1):
        w.clock.ms = midnight_ms + offset * MINUTE_MS
        a_message(w, "notes")
    w.project()
    for until_ms, expected in [(midnight_ms, [-MINUTE_MS]), (midnight_ms + 1, [-MINUTE_MS, 0])]:
        found = w.yard.insights.minutes(midnight_ms - MINUTE_MS, until_ms)  # its end is not within
        assert sorted(minute_ms - midnight_ms for _, minute_ms in found) == expected


def test_other_parts_of_jobs_are_no_jobs(w: World) -> None:
    parent = a_task(w, input="x" * 1_000)
    a_task(w, parent_id=parent.id)
    parts = {record["dynamodb"]["Keys"]["part"]["S"] for record in w.stream()}
    assert parts == {"state", "body", "child#2"}
    w.project()
    assert counters(w) == {TASKS: {State.PENDING: 2}}


# -- once ---------------------------------------------------------------------------------------------


def test_a_batch_delivered_twice_counts_once(w: World) -> None:
    a_task(w)
    work(w)
    all_of_them = changes(w)
    assert project(w.yard, "s", all_of_them) == 3
    assert project(w.yard, "s", all_of_them) == 0
    assert counters(w) == {TASKS: {State.SUCCESS: 1}}
    assert w.yard.insights.watermark("s") == all_of_them[-1].sequence


def test_batches_that_overlap_count_once(w: World) -> None:
    for _ in range(2):
        a_task(w)
    work(w)
    all_of_them = changes(w)
    assert len(all_of_them) == 6
    assert project(w.yard, "s", all_of_them[:3]) == 3
    assert project(w.yard, "s", all_of_them[1:5]) == 2
    assert project(w.yard, "s", all_of_them[:2]) == 0  # an old batch, late
    assert project(w.yard, "s", all_of_them) == 1
    assert counters(w) == {TASKS: {State.SUCCESS: 2}}
    assert minutes(w)["t", 0]["started"] == 2


def test_sequence_numbers_are_compared_as_numbers(w: World) -> None:
    assert project(w.yard, "s", [a_change(w, 9)]) == 1
    assert project(w.yard, "s", [a_change(w, 10)]) == 1
    assert counters(w) == {TASKS: {State.PENDING: 2}}


def test_the_sums_of_all_shards_add_up(w: World) -> None:
    assert project(w.yard, "one", [a_change(w, 1), a_change(w, 2)]) == 2
    assert project(w.yard, "two", [a_change(w, 1)]) == 1
    assert counters(w) == {TASKS: {State.PENDING: 3}}
    assert minutes(w)["t", 0] == {"published": 3}
    assert (w.yard.insights.watermark("one"), w.yard.insights.watermark("two")) == ("2", "1")


def test_nothing_is_nothing(w: World) -> None:
    with counting(w) as calls:
        assert project(w.yard, "s", []) == 0
    assert "TransactWriteItems" not in calls
    assert w.yard.insights.watermark("s") is None


def test_an_ordinary_batch_is_one_transaction(w: World) -> None:
    batch = [a_change(w, number, type=f"t{number % 24}") for number in range(1, 101)]
    with counting(w) as calls:
        project(w.yard, "s", batch)
    assert calls == {"GetItem": 1, "TransactWriteItems": 1}


def test_a_batch_beyond_one_transaction_is_split(w: World) -> None:
    """30 types in one minute are 120 items, of which a transaction takes 99 beside the watermark."""
    batch = [a_change(w, number, type=f"t{number}") for number in range(1, 31)]
    with counting(w) as calls:
        assert project(w.yard, "s", batch) == 30
    assert calls["TransactWriteItems"] == 2
    assert sum(sum(states.values()) for states in counters(w).values()) == 30
    assert w.yard.insights.watermark("s") == "30"
    assert project(w.yard, "s", batch) == 0


def test_a_split_batch_that_fails_in_the_middle_goes_on_there(w: World) -> None:
    batch = [a_change(w, number, type=f"t{number}") for number in range(1, 31)]
    transactions = iter([None, ConnectionError("lost"), None])

    def hook(**_: Any) -> None:
        error = next(transactions)
        if error is not None:
            raise error

    w.yard.insights._table.client.meta.events.register_first("before-call.dynamodb.TransactWriteItems", hook)
    with pytest.raises(ConnectionError):
        project(w.yard, "s", batch)
    assert w.yard.insights.watermark("s") == "15"
    assert project(w.yard, "s", batch) == 15
    assert {tuple(states.items()) for states in counters(w).values()} == {((State.PENDING, 1),)}
    assert len(counters(w)) == 30


def test_two_who_count_the_same_batch_at_once_count_it_once(w: World) -> None:
    batch = [a_change(w, number) for number in range(1, 4)]
    with before(w.yard.insights._table.client, "TransactWriteItems", lambda: project(w.yard, "s", batch[:2])):
        assert project(w.yard, "s", batch) == 1
    assert counters(w) == {TASKS: {State.PENDING: 3}}


def test_whoever_always_loses_the_race_gives_the_batch_back(w: World) -> None:
    numbers = iter(range(1, 100))
    client = w.yard.insights._table.client
    busy = [False]

    def hook(**_: Any) -> None:
        if not busy[0]:
            busy[0] = True
            project(w.yard, "s", [a_change(w, next(numbers))])
            busy[0] = False

    client.meta.events.register_first("before-call.dynamodb.TransactWriteItems", hook)
    with pytest.raises(AlreadyCounted):
        project(w.yard, "s", [a_change(w, 1_000)])
    assert counters(w) == {TASKS: {State.PENDING: 3}}


# -- telling ------------------------------------------------------------------------------------------


def test_what_is_counted_is_told_once(w: World) -> None:
    told: list[list[Change]] = []
    batch = [a_change(w, number) for number in range(1, 5)]
    for delivered in (batch[:2], batch[:3], batch, batch):
        project(w.yard, "s", delivered, lambda run: told.append(list(run)))
    assert told == [batch[:2], batch[2:3], batch[3:]]


def test_what_could_not_be_counted_is_not_told_until_it_is(w: World) -> None:
    told: list[Change] = []
    batch = [a_change(w, 1)]
    with failing(w.yard.insights._table.client, "TransactWriteItems"), pytest.raises(Exception, match="connect"):
        project(w.yard, "s", batch, told.extend)
    assert told == []
    project(w.yard, "s", batch, told.extend)
    assert told == batch


def test_a_split_batch_that_fails_in_the_middle_is_told_as_it_is_counted(w: World) -> None:
    batch = [a_change(w, number, type=f"t{number}") for number in range(1, 31)]
    told: list[Change] = []
    transactions = iter([None, ConnectionError("lost"), None])

    def hook(**_: Any) -> None:
        error = next(transactions)
        if error is not None:
            raise error

    w.yard.insights._table.client.meta.events.register_first("before-call.dynamodb.TransactWriteItems", hook)
    with pytest.raises(ConnectionError):
        project(w.yard, "s", batch, told.extend)
    assert told == batch[:15]
    project(w.yard, "s", batch, told.extend)
    assert told == batch


def test_whoever_loses_the_race_tells_only_its_own(w: World) -> None:
    batch = [a_change(w, number) for number in range(1, 4)]
    told: list[Change] = []
    with before(w.yard.insights._table.client, "TransactWriteItems", lambda: project(w.yard, "s", batch[:2])):
        project(w.yard, "s", batch, told.extend)
    assert told == batch[2:]


# -- the function -------------------------------------------------------------------------------------


def stream_event(w: World, shard: str | None) -> dict[str, Any]:
    """The stream as Lambda hands it to a function with a tumbling window."""
    event: dict[str, Any] = {"Records": w.stream(), "window": {}, "state": {}}
    return event if shard is None else {**event, "shardId": shard}


@pytest.mark.parametrize(("named", "shard"), [("shardId-000001", "shardId-000001"), (None, NO_SHARD)])
def test_the_function_counts_by_shard(w: World, named: str | None, shard: str) -> None:
    a_task(w)
    event = stream_event(w, named)
    for _ in range(2):
        assert w.invoke(projector.handle, event) == {"state": {}}
    assert counters(w) == {TASKS: {State.PENDING: 1}}
    assert w.yard.insights.watermark(shard) == event["Records"][-1]["dynamodb"]["SequenceNumber"]


def test_the_function_fails_where_it_cannot_count(w: World) -> None:
    """So that the stream delivers the batch again."""
    a_task(w)
    with failing(w.yard.insights._table.client, "TransactWriteItems"), pytest.raises(Exception, match="connect"):
        w.invoke(projector.handle, stream_event(w, None))
    w.project()
    assert counters(w) == {TASKS: {State.PENDING: 1}}


def test_changes_are_read_from_the_images(w: World) -> None:
    job = a_task(w)
    cancel(w.yard, job.id, Kind.TASK)
    delete(w.yard, job.id, Kind.TASK)
    found = [change for change in changes(w) if change.before is not None or change.after is not None]
    states = [(c.before and c.before.state, c.after and c.after.state) for c in found]
    assert states == [
        (None, State.PENDING),
        (State.PENDING, State.CANCELED),
        (State.CANCELED, None),
    ]
    assert found[0].after == job
    assert replace(job, state=State.CANCELED).state is found[1].after.state  # type: ignore[union-attr]


def test_measures_have_the_names_that_are_stored(w: World) -> None:
    a_task(w)
    w.project()
    (row,) = [item for item in w.items("insights") if item["view"].startswith("minutes#")]
    assert row["view"] == "minutes#2025-06-15"
    assert row[Measure.PUBLISHED.value] == 1
    assert row["minute_ms"] == FIRST_MINUTE_MS
    assert row["expires_at_s"] == FIRST_MINUTE_MS // 1_000 + 400 * 86_400

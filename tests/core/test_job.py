"""The job's two forms: the ledger's document and the message's envelope, and the size of what is stored."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.causes import Cause
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import ATTEMPTS_MAX, MANUAL, SYSTEM, Job, JobError, Progress, changed
from chalicelib.core.job_documents import TRAVELLING_FIELDS, from_document, from_envelope, to_document, to_envelope
from chalicelib.core.lanes import Lane
from chalicelib.core.retry import Exponential, Fixed, Linear, Named
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import Context
from chalicelib.store.attribute_values import AttributeValues, from_attribute_values, to_attribute_values
from chalicelib.store.concurrency import ConcurrencyCounts
from chalicelib.store.job_items import record_of, state_key
from chalicelib.store.jobs import JobStore
from chalicelib.store.table import Table
from tests.support.yards import Bench, moto_bench

WRITE_UNIT_BYTES = 1_024
NOW_MS = 1_750_000_000_000

PLAIN = Job(
    id=7,
    uid="0123456789abcdef",
    kind=Kind.TASK,
    type="text.statistics",
    queue="default",
    created_at_ms=NOW_MS,
    trace_id="00000000-0000-8380-8000-000000000000",
    body='{"input":1}',
    due_at_ms=NOW_MS,
)

times = st.integers(0, 2**45)
names = st.text(st.characters(codec="utf-8"), max_size=12)  # no lone surrogates: the edge refuses them
wholes = st.integers(0, 10**15)
backoffs = st.one_of(
    st.builds(Fixed, wholes), st.builds(Linear, wholes, wholes), st.builds(Exponential, wholes, wholes),
    st.builds(Named, names),
)  # fmt: skip
stories = st.lists(
    st.builds(TraceEvent, st.sampled_from(Event), times, st.dictionaries(names, wholes, max_size=2)), max_size=3
).map(lambda events: tuple(event.to_line() for event in events))
orders: dict[str, st.SearchStrategy[Any]] = {
    "id": st.integers(1, 2**53 - 1),
    "uid": names,
    "kind": st.sampled_from(Kind),
    "type": names,
    "queue": names,
    "created_at_ms": times,
    "trace_id": st.text(string.hexdigits, min_size=1, max_size=36),
    "priority": st.integers(-1_000, 1_000),
    "start_at_ms": st.none() | times,
    "max_attempts": st.integers(1, ATTEMPTS_MAX),
    "timeout_ms": st.none() | st.integers(0, 10**12),
    "backoff": st.none() | backoffs,
    "body": st.none() | st.just('{"input":null}') | names,
    "body_at": st.none() | st.just("item") | names,
    "body_bytes": st.none() | st.integers(1, 10**7),
    "target_id": st.none() | names,
    "target_type": st.none() | names,
    "runner": st.sampled_from((SYSTEM, MANUAL)),
    "script": st.none() | names,
    "parent_id": st.none() | st.integers(1, 2**53 - 1),
    "replay_of": st.none() | st.integers(1, 2**53 - 1),
    "created_by": st.none() | names,
    "chained": st.booleans(),
    "remove_on_complete": st.booleans(),
    "waits_for_handler": st.booleans(),
    "limited": st.booleans(),
    "schedule": st.none() | names,
    "slot_at_ms": st.none() | times,
    "overlap": st.none() | st.sampled_from(("skip", "queue")),
    "application": st.none() | names,
    "graph": st.none() | st.integers(1, 2**53 - 1),
    "node": st.none() | names,
    "edges": st.none() | st.sampled_from(("", "7", "7-90<5")),
    "tenant": st.none() | names,
    "flow_key": st.none() | names,
    "order": st.none() | st.sampled_from(("block", "step aside")),
    "order_seq": st.none() | wholes,
    "unique_as": st.none() | names,
    "delivery": st.integers(1, 10_000),
    "due_at_ms": times,
    "attempt_limit": st.integers(1, 10_000),
    "trace": stories,
}
progress: dict[str, st.SearchStrategy[Any]] = {
    "state": st.sampled_from(State),
    "updated_at_ms": times,
    "attempts": st.integers(0, 100),
    "failures": st.integers(0, 100),
    "run_ms": st.integers(0, 10**9),
    "poll_count": st.integers(0, 100),
    "polled": st.integers(0, 100),
    "epoch": st.integers(0, 100),
    "cause": st.none() | st.sampled_from(Cause),
    "finishing": st.booleans(),
    "completed_by": st.none() | names,
    "msg": st.none() | names,
    "context": st.none() | names,
    "context_at": st.none() | names,
    "lease": st.none() | names,
    "lease_until_ms": st.none() | times,
    "worker": st.none() | names,
    "receipt": st.none() | names,
    "source": st.none() | names,
    "heard": st.booleans(),
    "silences": st.integers(0, 20),
    "set_aside": st.integers(0, 9),
    "first_started_at_ms": st.none() | times,
    "started_at_ms": st.none() | times,
    "completed_at_ms": st.none() | times,
    "output": st.none() | names,
    "output_at": st.none() | names,
    "error": st.none() | st.builds(JobError, names, names, st.none() | names),
    "running_at": st.none() | names,
    "progress": st.none()
    | st.builds(
        Progress, st.floats(allow_nan=False), st.floats(allow_nan=False), names, st.none() | st.just('{"rows":3}')
    ),
    "succeeded_subscribers": st.lists(names, max_size=3).map(tuple),
    "blocked": st.booleans(),
    "delete_when_over": st.booleans(),
    "slot": st.booleans(),
    "key_slot": st.booleans(),
    "turn": st.booleans(),
    "has_children": st.booleans(),
    "requeue_count": st.integers(0, 5),
    "sent_at_ms": st.none() | times,
    "wake_at_ms": st.none() | times,
    "replayed_at_ms": st.none() | times,
    "replayed_as": st.none() | st.integers(1, 2**53 - 1),
}
travelling_jobs = st.builds(Job, **orders)
jobs = st.builds(Job, **orders, **progress)


# -- the document -------------------------------------------------------------------------------------


def test_the_strategies_here_know_every_field() -> None:
    assert set(orders) == set(TRAVELLING_FIELDS)
    assert {*orders, *progress} == {field.name for field in fields(Job)}


@given(jobs)
def test_a_document_comes_back_as_the_same_job(job: Job) -> None:
    assert from_document(to_document(job)) == job


@given(jobs, jobs, st.sets(st.sampled_from(sorted(f.name for f in fields(Job)))))
def test_a_changed_job_is_as_replaced(job: Job, other: Job, names: set[str]) -> None:
    given = {name: getattr(other, name) for name in names}
    before = replace(job)
    assert changed(job, **given) == replace(job, **given)
    assert job == before


def test_a_change_of_what_is_no_field_is_refused() -> None:
    with pytest.raises(TypeError, match="no fields of a job: lease_untill_ms"):
        changed(
            Job(id=1, uid="u", kind=Kind.TASK, type="t", queue="q", created_at_ms=1, trace_id="t"), lease_untill_ms=1
        )


def test_what_a_record_does_not_say_is_as_by_default() -> None:
    told = {"id": 1, "birth": "b", "kind": "task", "type": "t", "queue": "q", "created_at_ms": 5, "trace_id": "x"}
    made = Job(id=1, uid="b", kind=Kind.TASK, type="t", queue="q", created_at_ms=5, trace_id="x")
    assert from_document(told) == made
    assert replace(from_document(told), attempts=2) == replace(made, attempts=2)
    with pytest.raises(FrozenInstanceError):
        from_document(told).attempts = 2  # type: ignore[misc]
    with pytest.raises(TypeError, match="a record without trace_id, type"):
        from_document({name: value for name, value in told.items() if name not in ("type", "trace_id")})


@given(jobs)
def test_what_dynamodb_stores_comes_back_as_the_same_job(job: Job) -> None:
    item = JobStore(
        Table(None, "jobs", ("job", "part")),
        shards=4,
        concurrency=ConcurrencyCounts(Table(None, "directory", ("kind", "name"))),
    ).item(job)
    assert record_of(from_attribute_values(to_attribute_values(item))) == replace(
        job, set_aside=0
    )  # who writes it moves it


def test_what_has_its_default_is_not_stored_unless_a_condition_compares_it() -> None:
    assert to_document(PLAIN) == {
        "id": 7,
        "birth": "0123456789abcdef",
        "kind": "task",
        "type": "text.statistics",
        "queue": "default",
        "created_at_ms": NOW_MS,
        "trace_id": "00000000-0000-8380-8000-000000000000",
        "body": '{"input":1}',
        "state": "pending",
        "delivery": 1,
        "due_at_ms": NOW_MS,
        "attempts": 0,
        "attempt_limit": 3,
    }


def test_index_keys_are_passed_over() -> None:
    assert from_document({**to_document(PLAIN), "state_key": "task#pending#0", "position": "x"}) == PLAIN


def test_a_stored_error_leaves_out_what_it_does_not_know() -> None:
    assert JobError("ValueError", "no").to_document() == {"type": "ValueError", "message": "no"}
    assert JobError("ValueError", "no", "a.py:3 f").to_document() == {
        "type": "ValueError",
        "message": "no",
        "where": "a.py:3 f",
    }


@pytest.mark.parametrize(
    ("current", "total", "percent"),
    [
        (0, 100, 0),
        (1, 3, 100 / 3),
        (50, 100, 50),
        (100, 100, 100),
        (120, 100, 100),
        (-5, 100, 0),
        (5, 0, 0),
        (5, -1, 0),
    ],
)
def test_percent(current: float, total: float, percent: float) -> None:
    assert Progress(current, total).percent == pytest.approx(percent)


# -- what the record says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "lease_until_ms", "expired"),
    [
        (State.RUNNING, NOW_MS - 1, True),
        (State.RUNNING, NOW_MS, False),
        (State.RUNNING, NOW_MS + 1, False),
        (State.RUNNING, None, True),
        (State.PENDING, NOW_MS - 1, False),
        (State.SUCCESS, NOW_MS - 1, False),
    ],
)
def test_a_lease_has_run_out_once_its_end_is_past(state: State, lease_until_ms: int | None, expired: bool) -> None:
    assert replace(PLAIN, state=state, lease_until_ms=lease_until_ms).lease_expired(NOW_MS) is expired


@pytest.mark.parametrize(
    ("runner", "blocked", "travels"),
    [(SYSTEM, False, True), (SYSTEM, True, False), (MANUAL, False, False), (MANUAL, True, False)],
)
def test_manual_tasks_and_waiting_children_do_not_travel(runner: str, blocked: bool, travels: bool) -> None:
    assert replace(PLAIN, runner=runner, blocked=blocked).travels is travels


@pytest.mark.parametrize(
    ("attempts", "limit", "tries", "used_up"),
    [(0, 3, 0, False), (2, 3, 2, False), (3, 3, 3, True), (3, 6, 0, False), (5, 6, 2, False), (6, 6, 3, True)],
)
def test_tries_are_counted_from_the_newest_explicit_retry(attempts: int, limit: int, tries: int, used_up: bool) -> None:
    job = replace(PLAIN, max_attempts=3, attempts=attempts, attempt_limit=limit)
    assert (job.tries, job.attempts_used_up) == (tries, used_up)


# -- the envelope -------------------------------------------------------------------------------------


@given(travelling_jobs)
def test_an_envelope_comes_back_as_the_same_job(job: Job) -> None:
    text = to_envelope(job)
    assert text.isascii()
    assert from_envelope(text) == job


@given(jobs)
def test_an_envelope_says_nothing_about_how_far_the_work_has_come(job: Job) -> None:
    arrived = from_envelope(to_envelope(job))
    assert arrived == from_envelope(to_envelope(arrived))
    assert {name: getattr(arrived, name) for name in progress} == {
        field.name: field.default for field in fields(Job) if field.name in progress
    }
    assert {name: getattr(arrived, name) for name in orders} == {name: getattr(job, name) for name in orders}


def test_the_envelope_of_a_plain_job() -> None:
    """Messages wait in SQS for up to 14 days, so a new version must still read this one."""
    text = (
        '{"v":1,"id":7,"birth":"0123456789abcdef","kind":"task","type":"text.statistics","queue":"default",'
        '"created_at_ms":1750000000000,"trace_id":"00000000-0000-8380-8000-000000000000","body":"{\\"input\\":1}",'
        '"delivery":1,"due_at_ms":1750000000000,"attempt_limit":3}'
    )
    assert from_envelope(text) == PLAIN
    assert json.loads(to_envelope(PLAIN)) == json.loads(text)


def test_what_an_envelope_claims_about_progress_is_not_believed() -> None:
    document = json.loads(to_envelope(PLAIN))
    forged = {**document, "state": "success", "attempts": 2, "lease": "x", "held": True, "laps": 5, "unknown": [1]}
    assert from_envelope(json.dumps(forged)) == PLAIN


def altered(**changes: Any) -> str:
    return json.dumps({**json.loads(to_envelope(PLAIN)), **changes})


def lacking(name: str) -> str:
    document = json.loads(to_envelope(PLAIN))
    del document[name]
    return json.dumps(document)


FOREIGN = [
    "",
    " ",
    "hello",
    "null",
    "1",
    '"v"',
    "[]",
    "[1]",
    "{}",
    '{"v":1}',
    "{" * 100_000,
    '{"v":1,"id":' + "9" * 10_000 + "}",
    to_envelope(PLAIN)[:-1],
    to_envelope(PLAIN) + "}",
    *(lacking(name) for name in ("v", "id", "birth", "kind", "type", "queue", "created_at_ms", "trace_id")),
    *(altered(v=version) for version in (0, 2, "1", None)),
    *(altered(id=value) for value in (0, -1, 2**53, "7", 7.0, None, True, [])),
    *(altered(kind=value) for value in ("job", None, 1, [])),
    *(altered(birth=value) for value in (None, 1, ["x"])),
    *(altered(type=value) for value in (None, 5, {}, "\ud800")),
    *(altered(queue=value) for value in (None, 5)),
    *(altered(trace_id=value) for value in (None, "", 5, "\udfff")),
    *(altered(created_at_ms=value) for value in (None, "1750000000000", 1.5, 10**38, float("nan"), float("inf"))),
    *(altered(due_at_ms=value) for value in (None, "soon", 0.0, -(10**38), True)),
    *(altered(delivery=value) for value in (0, -1, "1", None, True, 1.0)),
    *(altered(priority=value) for value in ("high", None, 1.5, [])),
    *(altered(max_attempts=value) for value in ("3", 3.0, None)),
    *(altered(attempt_limit=value) for value in ("3", 3.0, None)),
    *(altered(timeout_ms=value) for value in ("1", 2.5, {})),
    *(altered(body=value) for value in ({"input": 1}, 1, ["x"], "\udc00")),
    *(altered(target_id=value) for value in (1, [], "a\ud800")),
    *(altered(runner=value) for value in (None, 1)),
    *(altered(parent_id=value) for value in ("1", 1.5)),
    *(altered(backoff=value) for value in ({}, "fast", 5, {"fixed_ms": "1"}, {"fixed_ms": 10**40}, {"fixed_ms": True})),
    *(altered(trace=value) for value in ("abc", ["x"], [1], [None], ["x published"], ["1 unheard"], ["1 failed {"], 5)),
]


@pytest.mark.parametrize("text", FOREIGN, ids=range(len(FOREIGN)))
def test_a_foreign_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        from_envelope(text)
    assert refused.value.message == "this message was not written by Taskyard"
    assert refused.value.expected == "an envelope of version 1"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
damaged = st.builds(
    lambda changes, dropped: json.dumps(
        {k: v for k, v in {**json.loads(to_envelope(PLAIN)), **changes}.items() if k not in dropped}
    ),
    st.dictionaries(st.sampled_from(("v", *TRAVELLING_FIELDS)), json_values, max_size=3),
    st.sets(st.sampled_from(("v", *TRAVELLING_FIELDS)), max_size=2),
)


@given(st.text() | json_values.map(json.dumps) | damaged)
@settings(max_examples=200)
def test_any_text_is_a_job_the_ledger_can_hold_or_refused(text: str) -> None:
    try:
        job = from_envelope(text)
    except InvalidInput:
        return
    item = JobStore(
        Table(None, "jobs", ("job", "part")),
        shards=4,
        concurrency=ConcurrencyCounts(Table(None, "directory", ("kind", "name"))),
    ).item(job)
    json.dumps(to_attribute_values(item)).encode()
    assert record_of(from_attribute_values(to_attribute_values(item))) == job
    assert from_envelope(to_envelope(job)) == job
    assert (-job.priority, job.created_at_ms) <= (2**200, 2**200)  # it can be sorted among others


# -- the size of what is stored -----------------------------------------------------------------------


@task("documents.export")
def export(text: str, context: Context) -> dict[str, Any]:
    """Succeed, the first time after a failure if the text says so."""
    if text.startswith("fails") and context.attempt == 1:
        raise ValueError("the disk is full")
    return {"key": "exports/1234567890/march.csv", "rows": 1_200}


@subscribe("order.created")
def keep(text: str, context: Context) -> None:
    """As ``export``, for a message."""
    export(text, context)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with moto_bench([export, keep]) as made:
        yield made


def stored_bytes(bench: Bench, job: Job) -> int:
    """The size of a record as DynamoDB counts it: names, values, and its index keys among them."""
    table = bench.yard.jobs.table
    item = table.client.get_item(TableName=table.name, Key=to_attribute_values(state_key(job.id)), ConsistentRead=True)[
        "Item"
    ]
    return sum(len(name.encode()) + value_bytes(value) for name, value in item.items())


def value_bytes(attribute_value: AttributeValues) -> int:
    """Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats"."""
    ((kind, value),) = attribute_value.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return 1 + -(-len(value.strip("-").strip("0")) // 2) + (1 if value.startswith("-") else 0)
        case "BOOL":
            return 1
        case "L":
            return 3 + sum(1 + value_bytes(entry) for entry in value)
        case "M":
            return 3 + sum(1 + len(name.encode()) + value_bytes(entry) for name, entry in value.items())
    raise AssertionError(f"unexpected type {kind}")


def test_a_size_is_counted_as_dynamodb_counts_it() -> None:
    assert value_bytes({"S": "é"}) == 2
    assert [value_bytes({"N": number}) for number in ("0", "7", "100", "123", "-123", "1750000000001")] == [
        1, 2, 2, 3, 4, 8,
    ]  # fmt: skip
    assert value_bytes({"L": [{"S": "ab"}, {"BOOL": True}]}) == 3 + 1 + 2 + 1 + 1
    assert value_bytes({"M": {"name": {"S": "ab"}}}) == 3 + 1 + 4 + 2


DRAFTS = [
    NewJob(kind=Kind.TASK, type="documents.export", max_attempts=5),
    NewJob(kind=Kind.MESSAGE, type="order.created", priority=10, options={}),
]


@pytest.mark.parametrize("new_job", DRAFTS, ids=["task", "message"])
@pytest.mark.parametrize("failing", [False, True], ids=["at once", "after a failure"])
def test_a_record_stays_within_one_write_unit_through_an_ordinary_life(
    bench: Bench, new_job: NewJob, failing: bool
) -> None:
    word = "fails" if failing else "works"
    bare = len(json.dumps({"input": "", **({} if new_job.options is None else {"options": {}})}, separators=(",", ":")))
    job = publish(bench.yard, replace(new_job, input=word.ljust(300 - bare, "."), backoff=Fixed(0)))
    assert job.body is not None
    assert len(job.body) == 300
    sizes = [stored_bytes(bench, job)]
    for _ in range(2 if failing else 1):
        bench.clock.move(1_234)
        bench.work(lane := bench.lane(job))
        sizes.append(stored_bytes(bench, job))
    assert bench.job(job.id).state is State.SUCCESS
    assert bench.receive(Lane(lane.queue, lane.band)) == []
    assert max(sizes) <= WRITE_UNIT_BYTES, sizes


def test_a_running_record_stays_within_one_write_unit(bench: Bench) -> None:
    running: list[int] = []

    @task("observed")
    def observed(_text: str, context: Context) -> None:
        context.progress(3, 7, "row 3 of 7", {"table": "orders"})
        running.append(stored_bytes(bench, context.job))

    with moto_bench([observed]) as own:
        job = publish(own.yard, NewJob(kind=Kind.TASK, type="observed", input="." * 288))
        bench.yard, bench.clock = own.yard, own.clock
        own.work(own.lane(job))
    assert len(job.body or "") == 300
    assert running
    assert running[0] <= WRITE_UNIT_BYTES

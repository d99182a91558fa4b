"""Publishing: what is accepted, where it goes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from chalicelib import aws
from chalicelib.core.causes import Cause
from chalicelib.core.errors import Conflict, InvalidInput, TooLarge, Unavailable
from chalicelib.core.ids import job_id_in
from chalicelib.core.job import MANUAL, SYSTEM, Job
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.retry import Named
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.engine.commands.lifecycle import cancel, delete, retry
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling.poll import poll
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import Context
from chalicelib.store.directory import digest
from tests.support.steps import (
    NOTHING_DONE,
    a_message,
    a_task,
    before,
    counting,
    failing,
    message_of,
    name_of,
    using,
    work,
)
from tests.support.worlds import World, envelopes
from tests.support.yards import START_MS, events_of

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@task("t")
def plain(_: Any) -> None: ...


@pytest.fixture
def w(w: World) -> World:
    """The world, with one task type."""
    using(w, plain)
    return w


def a_draft(**more: Any) -> NewJob:
    return NewJob(**{"kind": Kind.TASK, "type": "t", **more})


# -- a single job -------------------------------------------------------------------------------------


def test_a_job_is_in_sqs_and_on_the_ledger(w: World) -> None:
    job = a_task(w, input={"a": [1, None]}, options={"o": 1}, context="c", priority=3, target_id="7", target_type="cat")
    assert w.jobs() == [job]
    assert envelopes(w, name_of(w)) == [replace(job, updated_at_ms=0)]
    assert (job.state, job.attempts, job.delivery, job.max_attempts, job.attempt_limit) == (State.PENDING, 0, 1, 3, 3)
    assert (job.created_at_ms, job.updated_at_ms, job.due_at_ms, job.start_at_ms) == (
        START_MS,
        START_MS,
        START_MS,
        None,
    )
    assert json.loads(job.body or "") == {"input": {"a": [1, None]}, "options": {"o": 1}, "context": "c"}
    assert (job.kind, job.type, job.queue, job.runner, job.priority) == (Kind.TASK, "t", "default", SYSTEM, 3)
    assert (job.target_id, job.target_type, job.timeout_ms, job.backoff) == ("7", "cat", None, None)
    assert job_id_in(job.trace_id) == job.id
    assert events_of(job) == ["published"]
    assert job.wake_at_ms is None


def test_a_plain_publish_is_two_calls(w: World) -> None:
    a_task(w)
    with counting(w) as calls:
        a_task(w)
    assert calls == {"SendMessage": 1, "PutItem": 1}


def test_ids_are_counted_within_a_block_and_never_shared(w: World) -> None:
    assert [a_task(w).id for _ in range(3)] == [1, 2, 3]
    w.restart()
    assert a_task(w).id == 1_025


def test_a_message_is_queued_under_its_topic(w: World) -> None:
    job = a_message(w, "orders.new")
    assert (job.kind, job.type, job.queue) == (Kind.MESSAGE, "orders.new", "orders.new")
    assert [found.id for found in envelopes(w, name_of(w, "orders.new"))] == [job.id]


def test_a_pool_is_the_queue_of_its_types(w: World) -> None:
    @task("heavy", pool="mill")
    def heavy(_: Any) -> None: ...

    using(w, heavy)
    w.sqs.create_queue(QueueName=name_of(w, "mill"))
    assert a_task(w, "heavy").queue == "mill"
    assert len(w.messages(name_of(w, "mill"))) == 1


def test_a_trace_id_of_the_clients_own_is_kept_and_found(w: World) -> None:
    job, other = a_task(w, trace_id="mine"), a_task(w, trace_id="mine")
    a_task(w)
    assert job.trace_id == "mine"
    assert w.yard.lists.with_trace("mine") == [job.id, other.id]


def test_a_first_event_may_be_told_otherwise(w: World) -> None:
    job = a_task(w, first_event=TraceEvent(Event.REPLAYED, 5, {"originalId": "9"}))
    assert job.trace == ('5 replayed {"originalId":"9"}',)


@pytest.mark.parametrize(
    ("priority", "band"),
    [
        (-1_000, "low"),
        (-1, "low"),
        (0, "normal"),
        (4, "normal"),
        (5, "high"),
        (9, "high"),
        (10, "high"),
        (1_000, "high"),
    ],
)
def test_the_priority_decides_the_lane(w: World, priority: int, band: str) -> None:
    """Of the three default lanes, the sooner one is nearest to medium, and high to critical."""
    job = a_task(w, priority=priority)
    assert [found.id for found in envelopes(w, name_of(w, band=band))] == [job.id]


@pytest.mark.parametrize(
    ("new_job", "handler_says", "expected"),
    [(None, None, 3), (None, 7, 7), (5, 7, 5), (1, None, 1), (100, None, 100)],
)
def test_the_attempts_are_the_jobs_the_handlers_or_three(
    w: World, new_job: int | None, handler_says: int | None, expected: int
) -> None:
    @task("u", max_attempts=handler_says)
    def handler(_: Any) -> None: ...

    using(w, handler)
    job = a_task(w, "u", max_attempts=new_job)
    assert (job.max_attempts, job.attempt_limit) == (expected, expected)


# -- bodies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "place"), [(288, None), (289, "item"), (262_132, "item"), (262_133, "s3:bodies/{id}/{uid}.json")]
)
def test_a_body_goes_where_it_fits(w: World, size: int, place: str | None) -> None:
    """300 bytes of JSON in the record, 256 KB beside it; ``{"input":""}`` alone has 12 bytes."""
    job = a_task(w, input="x" * size)
    wanted = place and place.format(id=job.id, uid=job.uid)
    assert job.body_at == wanted
    (envelope,) = envelopes(w)
    assert envelope.body_at == wanted
    carried = json.dumps({"input": "x" * size}, separators=(",", ":"))
    assert envelope.body == (None if (wanted or "").startswith("s3:") else carried)
    assert (job.body is not None) == (place is None)
    assert w.yard.payloads.body(w.job(job.id)) == {"input": "x" * size}
    assert w.objects() == ([wanted.removeprefix("s3:")] if (wanted or "").startswith("s3:") else [])


def test_a_body_above_the_limit_is_refused(w: World) -> None:
    with pytest.raises(TooLarge) as refused:
        a_task(w, input="x" * 5 * 1024 * 1024)
    assert refused.value.expected == "at most 5242880 bytes of JSON, its quotes and backslashes counted twice"
    assert refused.value.got == "5242896 bytes"  # the four quotes are counted twice
    assert (w.jobs(), w.messages(), w.objects()) == ([], [], [])


@pytest.mark.parametrize("value", [float("nan"), object(), {1: int}, b"\xff"])
def test_a_body_that_is_no_json_is_refused(w: World, value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        a_task(w, input=value)
    assert (refused.value.field or "").startswith("input")
    assert (w.jobs(), w.messages()) == ([], [])


def test_no_body_at_all(w: World) -> None:
    job = a_task(w)
    assert job.body == "{}"
    assert w.yard.payloads.body(job) == {}


# -- what can never run -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"priority": 1_001}, "priority"),
        ({"priority": -1_001}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 101}, "max_attempts"),
        ({"backoff": Named("nobody")}, "backoff"),
        ({"type": "unknown"}, "type"),
        ({"due_at_ms": START_MS + 366 * 10 * DAY_MS + 1}, "execute_at"),
        ({"delay_ms": 366 * 10 * DAY_MS + 1}, "execute_at"),
        ({"parent_id": 99}, "parent"),
    ],
)
def test_what_can_never_run_is_refused_with_its_field(w: World, more: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        publish(w.yard, a_draft(**more))
    assert refused.value.field == field
    assert (w.jobs(), w.messages()) == ([], [])


def test_an_unknown_type_is_refused_with_the_known_ones(w: World) -> None:
    with pytest.raises(InvalidInput) as refused:
        a_task(w, "u")
    assert (refused.value.expected, refused.value.got) == ("t", "u")


def test_a_typed_input_is_checked_at_the_door(w: World) -> None:
    class Order(BaseModel):
        number: int

    def typed(order: Order) -> None: ...

    typed.__annotations__["order"] = Order  # the class is local, so its name alone would not be found
    using(w, task("typed")(typed))
    with pytest.raises(InvalidInput) as refused:
        a_task(w, "typed", input={"number": "many"})
    assert refused.value.field == "input.number"
    assert refused.value.got == "many"
    assert a_task(w, "typed", input={"number": 3}).state is State.PENDING


# -- its time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay_ms", "delay_s"),
    [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (60_000, 60), (899_001, 900), (900_000, 900)],
)
def test_a_delay_is_rounded_up_to_whole_seconds(w: World, delay_ms: int, delay_s: int) -> None:
    job = a_task(w, delay_ms=delay_ms)
    assert (job.due_at_ms, job.start_at_ms) == (START_MS + delay_ms, START_MS + delay_ms)
    shown_at_ms = message_of(w, job).delayed_until
    assert shown_at_ms == (START_MS + delay_s * 1_000 if delay_s else 0)


def test_a_start_in_the_past_is_now(w: World) -> None:
    job = a_task(w, due_at_ms=START_MS - 5_000)
    assert (job.due_at_ms, job.start_at_ms) == (START_MS, START_MS - 5_000)
    assert message_of(w, job).delayed_until == 0


def test_a_start_beyond_fifteen_minutes_waits_on_the_ledger(w: World) -> None:
    job = a_task(w, due_at_ms=START_MS + 900_001, input="x" * 1_000)
    assert w.messages() == []
    assert (job.wake_at_ms, job.delivery) == (START_MS + 900_001 - 720_000, 1)
    w.clock.ms = START_MS + 180_000
    assert w.tick() == NOTHING_DONE
    w.clock.ms = START_MS + 180_001 + 17_300  # the clock comes by once a minute
    assert w.tick() == {**NOTHING_DONE, "due_sent": 1}
    assert message_of(w, job).delayed_until == w.clock.ms + 703_000  # 702.7 s, never early
    sent = w.job(job.id)
    assert (sent.wake_at_ms, sent.sent_at_ms, sent.state) == (None, w.clock.ms, State.PENDING)
    w.go_on()
    assert w.job(job.id).started_at_ms == START_MS + 180_001 + 17_300 + 703_000


def test_a_far_start_in_a_year_is_accepted(w: World) -> None:
    assert a_task(w, delay_ms=366 * 10 * DAY_MS).due_at_ms == START_MS + 366 * 10 * DAY_MS


# -- queue first, ledger second -----------------------------------------------------------------------


def test_what_sqs_does_not_take_is_not_accepted(w: World) -> None:
    with failing(w.yard.transport.client, "SendMessage"), pytest.raises(Unavailable) as refused:
        a_task(w)
    assert refused.value.message == "SQS did not take the message"
    assert (w.jobs(), w.messages()) == ([], [])


@pytest.mark.parametrize("delay_ms", [0, 600_000], ids=["now", "later"])
def test_what_has_no_record_is_not_accepted(w: World, delay_ms: int) -> None:
    """Whoever holds an id would be told that there is no such job: until it is due, or polled, or its first receiver
    has died."""
    with failing(w.yard.jobs.table.client, "PutItem"), pytest.raises(Unavailable) as refused:
        a_task(w, priority=2, target_id="7", delay_ms=delay_ms)
    (sent,) = envelopes(w)
    assert refused.value.message.startswith(f"job {sent.id} may be on its way")
    assert w.jobs() == []
    w.clock.move(delay_ms)
    w.go_on()
    made = w.job(sent.id)
    assert (made.state, made.uid, made.priority, made.target_id) == (State.SUCCESS, sent.uid, 2, "7")
    assert events_of(made) == ["published", "started", "succeeded"]


def test_a_lost_record_with_its_body_beside_is_made_by_the_claim(w: World) -> None:
    with failing(w.yard.jobs.table.client, "TransactWriteItems"), pytest.raises(Unavailable):
        a_task(w, input="x" * 1_000)
    (sent,) = envelopes(w)
    work(w)
    assert w.job(sent.id).state is State.SUCCESS
    assert w.yard.payloads.body(w.job(sent.id)) == {"input": "x" * 1_000}


def test_who_asks_again_while_the_ledger_is_away_leaves_one_message(w: World) -> None:
    with failing(w.yard.jobs.table.client, "PutItem"):
        for _ in range(5):
            with pytest.raises(Unavailable):
                a_task(w)
    assert len(envelopes(w)) == 1


def test_once_a_record_was_written_again_it_is_queue_first_as_before(w: World) -> None:
    with failing(w.yard.jobs.table.client, "PutItem"), pytest.raises(Unavailable):
        a_task(w)
    accepted = [a_task(w)]
    with counting(w) as calls:
        accepted.append(a_task(w))
    assert calls == {"SendMessage": 1, "PutItem": 1}
    w.go_on()
    assert [w.job(job.id).state for job in accepted] == [State.SUCCESS] * 2
    assert [job.wake_at_ms for job in w.jobs()] == [None] * 3


def test_a_worker_that_is_faster_than_the_record(w: World) -> None:
    with before(w.yard.jobs.table.client, "PutItem", lambda: work(w)):
        job = a_task(w, input=1)
    assert job.state is State.PENDING  # what is answered is what was accepted
    assert [(found.id, found.state) for found in w.jobs()] == [(job.id, State.SUCCESS)]


def test_an_id_that_is_taken_is_left_alone(w: World) -> None:
    other = a_task(w)
    w.yard.jobs.record(replace(other, id=other.id + 1, uid="other"))
    job = a_task(w, input="mine")
    assert job.id == other.id + 2
    w.go_on()
    assert [(found.id, found.state) for found in w.jobs()] == [
        (1, State.SUCCESS),
        (2, State.PENDING),
        (3, State.SUCCESS),
    ]


def test_three_ids_that_are_taken_are_enough(w: World) -> None:
    other = a_task(w)
    for number in range(1, 4):
        w.yard.jobs.record(replace(other, id=other.id + number, uid="other"))
    with pytest.raises(Unavailable) as refused:
        a_task(w)
    assert refused.value.message == "no free job id was found"


@pytest.mark.parametrize("operation", ["UpdateItem", "PutItem"])
def test_a_ledger_that_does_not_answer_is_unavailable(w: World, operation: str) -> None:
    """``UpdateItem`` takes the block of ids; a far start is put on the ledger first."""
    with failing(w.yard.jobs.table.client, operation), pytest.raises(Unavailable):
        a_task(w, delay_ms=HOUR_MS)
    assert (w.jobs(), w.messages()) == ([], [])


def test_a_bucket_that_does_not_answer_is_unavailable(w: World) -> None:
    with failing(aws.client("s3"), "PutObject"), pytest.raises(Unavailable):
        a_task(w, input="x" * 300_000)
    assert (w.jobs(), w.messages()) == ([], [])


# -- topics that are only polled ----------------------------------------------------------------------


def test_a_topic_gets_its_lane_on_first_use(w: World) -> None:
    with counting(w) as calls:
        a_message(w, "notes")
        a_message(w, "notes", priority=0)
    assert calls["CreateQueue"] == 1
    assert w.yard.directory.lanes_of("notes") == [Lane("notes", Band.NORMAL)]
    a_message(w, "notes", priority=10)
    assert set(w.yard.directory.lanes_of("notes")) == {Lane("notes", Band.NORMAL), Lane("notes", Band.HIGH)}
    assert w.yard.directory.topics() == ["notes"]
    assert [len(w.messages(name_of(w, "notes", band))) for band in ("high", "normal")] == [1, 2]


def test_a_new_lane_has_the_attributes_of_infras_pattern(w: World) -> None:
    a_message(w, "notes")
    wanted, found = (attributes(w, Lane(queue, Band.NORMAL)) for queue in ("default", "notes"))
    assert found == wanted
    assert (found["VisibilityTimeout"], found["MessageRetentionPeriod"]) == ("330", "1209600")
    assert json.loads(found["RedrivePolicy"])["maxReceiveCount"] == 1_000


def attributes(w: World, lane: Lane) -> dict[str, str]:
    url = w.sqs.get_queue_url(QueueName=w.yard.transport.source_of(lane))["QueueUrl"]
    all_of_them = w.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    names = (
        "VisibilityTimeout",
        "MessageRetentionPeriod",
        "RedrivePolicy",
        "MaximumMessageSize",
        "SqsManagedSseEnabled",
    )
    return {name: all_of_them[name] for name in names}


def test_another_process_opens_the_lane_again_and_harms_nothing(w: World) -> None:
    first = a_message(w, "notes")
    w.restart()
    second = a_message(w, "notes")
    assert [found.id for found in envelopes(w, name_of(w, "notes"))] == [first.id, second.id]


def test_a_lane_whose_opening_was_cut_short_is_opened_by_the_next(w: World) -> None:
    """Even where the next has looked, and seen no lane, before."""
    with failing(w.yard.directory.table.client, "UpdateItem"), pytest.raises(Unavailable):
        a_message(w, "notes")
    w.restart()
    assert poll(w.yard, "notes", 1, 30_000, "c") == []
    job = a_message(w, "notes")
    assert [taken.id for taken in poll(w.yard, "notes", 1, 30_000, "c")] == [job.id]


def test_the_topic_is_kept_by_its_digest(w: World) -> None:
    long = "ä" * 300
    a_message(w, long)
    (item,) = w.items("directory", "topic")
    assert (item["name"], item["topic"]) == (digest(long), long)


# -- idempotency --------------------------------------------------------------------------------------


def test_the_same_request_is_the_same_job(w: World) -> None:
    first = a_task(w, idempotency_key="k", input="x" * 1_000)
    again = a_task(w, idempotency_key="k", input="x" * 1_000)
    assert again.id == first.id
    assert len(w.jobs()) == len(w.messages()) == 1
    work(w)
    assert a_task(w, idempotency_key="k", input="x" * 1_000).state is State.SUCCESS


@pytest.mark.parametrize(
    "other",
    [
        {"input": 2},
        {"options": {}},
        {"priority": 1},
        {"max_attempts": 2},
        {"delay_ms": 5},
        {"target_id": "t"},
        {"timeout_ms": 1},
        {"runner": MANUAL},
    ],
)
def test_another_request_under_the_same_key_is_refused(w: World, other: dict[str, Any]) -> None:
    first = publish(w.yard, a_draft(input=1, idempotency_key="k"))
    with pytest.raises(Conflict) as refused:
        publish(w.yard, a_draft(**{"input": 1, "idempotency_key": "k", **other}))
    assert refused.value.field == "idempotency_key"
    assert [job.id for job in w.jobs()] == [first.id]


def test_a_key_holds_for_its_kind_and_for_a_day(w: World) -> None:
    first = a_task(w, idempotency_key="k")
    message = a_message(w, "notes", idempotency_key="k")
    assert message.id != first.id
    w.clock.move(DAY_MS)
    assert a_task(w, idempotency_key="k").id == first.id
    w.clock.move(1_000)
    second = a_task(w, idempotency_key="k")
    assert second.id not in (first.id, message.id)
    assert a_task(w, idempotency_key="k").id == second.id


@pytest.mark.parametrize("more", [{"input": 1}, {"input": "x" * 5_000}, {"delay_ms": 2_000}, {"trace_id": "mine"}])
def test_the_key_of_a_job_that_was_removed_tells_its_acceptance(w: World, more: dict[str, Any]) -> None:
    job = a_task(w, idempotency_key="k", **more)
    w.clock.move(2_000)
    work(w)
    delete(w.yard, job.id, Kind.TASK)
    w.clock.move(60_000)
    again = a_task(w, idempotency_key="k", **more)
    told = ("id", "state", "created_at_ms", "updated_at_ms", "start_at_ms", "due_at_ms", "trace_id", "attempts")
    assert [getattr(again, name) for name in told] == [getattr(job, name) for name in told]
    assert w.yard.payloads.body(again).get("input") == more.get("input")
    assert (w.jobs(), w.messages()) == ([], [])
    with pytest.raises(Conflict) as refused:
        a_task(w, idempotency_key="k", priority=3)
    assert refused.value.message == "this idempotency key was used with another request"


def test_a_keyed_job_that_sqs_does_not_take_is_accepted_all_the_same(w: World) -> None:
    with failing(w.yard.transport.client, "SendMessage"):
        job = a_task(w, idempotency_key="k")
    assert w.job(job.id).wake_at_ms == START_MS + 20_000
    assert a_task(w, idempotency_key="k").id == job.id
    w.go_on()
    assert w.job(job.id).state is State.SUCCESS
    assert w.clock.ms == START_MS + 20_000


def test_a_keyed_job_that_was_sent_needs_no_clock(w: World) -> None:
    job = w.job(a_task(w, idempotency_key="k").id)
    assert (job.wake_at_ms, job.sent_at_ms, job.delivery) == (None, START_MS, 1)


# -- parents and people -------------------------------------------------------------------------------


def test_a_child_waits_for_its_parent_without_a_message(w: World) -> None:
    parent = a_task(w)
    child = a_task(w, parent_id=parent.id, input="x" * 1_000)
    assert [job.id for job in envelopes(w)] == [parent.id]
    held = w.job(child.id)
    assert (held.blocked, held.state, held.parent_id, held.travels) == (True, State.PENDING, parent.id, False)
    assert held.wake_at_ms == START_MS + 60_000
    assert w.job(parent.id).has_children
    assert w.yard.jobs.children(parent.id) == [child.id]


def test_a_child_of_a_success_starts_at_once(w: World) -> None:
    parent = a_task(w)
    work(w)
    child = a_task(w, parent_id=parent.id)
    assert not w.job(child.id).blocked
    assert [job.id for job in envelopes(w)] == [child.id]
    assert w.yard.jobs.children(parent.id) == []


@pytest.mark.parametrize("delay_ms", [None, HOUR_MS])
def test_a_parent_that_succeeds_at_that_very_moment(w: World, delay_ms: int | None) -> None:
    """Between the look at the parent and the transaction."""
    parent = a_task(w)
    with before(w.yard.jobs.table.client, "TransactWriteItems", lambda: work(w)):
        child = a_task(w, parent_id=parent.id, delay_ms=delay_ms)
    assert w.job(parent.id).state is State.SUCCESS
    assert not w.job(child.id).blocked
    assert w.yard.jobs.children(parent.id) == []
    w.go_on()
    assert w.job(child.id).state is State.SUCCESS
    assert (w.job(child.id).started_at_ms or 0) >= START_MS + (delay_ms or 0)


def test_a_parent_that_is_removed_at_that_very_moment(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    parent = a_task(w, max_attempts=1)
    work(w)
    with (
        before(w.yard.jobs.table.client, "TransactWriteItems", lambda: delete(w.yard, parent.id, Kind.TASK)),
        pytest.raises(InvalidInput) as refused,
    ):
        a_task(w, parent_id=parent.id)
    assert refused.value.field == "parent"
    assert w.jobs() == []


def test_a_parent_is_a_task(w: World) -> None:
    message = a_message(w, "notes")
    with pytest.raises(InvalidInput) as refused:
        a_task(w, parent_id=message.id)
    assert (refused.value.field, refused.value.got) == ("parent", str(message.id))


def test_a_child_with_a_start_of_its_own_waits_for_both(w: World) -> None:
    started: dict[int, int] = {}

    @task("t")
    def handler(_: Any, context: Context) -> None:
        started[context.job.id] = w.clock.ms

    using(w, handler)
    parent = a_task(w)
    child = a_task(w, parent_id=parent.id, delay_ms=HOUR_MS)
    w.go_on()
    assert started == {parent.id: START_MS, child.id: w.job(child.id).started_at_ms}
    assert started[child.id] >= START_MS + HOUR_MS


@pytest.mark.parametrize("more", [{}, {"delay_ms": HOUR_MS}, {"idempotency_key": "k"}])
def test_a_manual_task_is_only_recorded(w: World, more: dict[str, Any]) -> None:
    job = a_task(w, "sign the contract", runner=MANUAL, script="read it first", **more)
    assert (job.queue, job.script, w.messages()) == ("default", "read it first", [])
    assert w.job(job.id).wake_at_ms is None
    w.go_on()
    assert w.job(job.id).state is State.PENDING


def test_a_manual_child_never_travels(w: World) -> None:
    parent = a_task(w)
    child = a_task(w, "sign", runner=MANUAL, parent_id=parent.id)
    w.go_on()
    released = w.job(child.id)
    assert (released.state, released.blocked, released.wake_at_ms) == (State.PENDING, False, None)
    assert w.messages() == []


# -- many jobs ----------------------------------------------------------------------------------------


def test_a_bulk_is_one_transaction_and_batches_of_ten(w: World) -> None:
    bodies = [*range(22), "x" * 1_000, "y" * 5_000, "z" * 300_000]
    a_task(w)
    with counting(w) as calls:
        jobs = publish_many(w.yard, [a_draft(input=body) for body in bodies])
    assert calls == {"TransactWriteItems": 1, "SendMessageBatch": 3, "PutObject": 1, "DeleteItem": 1}
    assert all(isinstance(job, Job) for job in jobs)
    assert [w.yard.payloads.body(job)["input"] for job in w.jobs()[1:]] == bodies
    assert w.jobs()[1:] == jobs
    assert [job.id for job in envelopes(w)][1:] == [job.id for job in w.jobs()][1:]
    assert w.items("directory", "outbox") == []
    w.deliver()
    assert {job.state for job in w.jobs()} == {State.SUCCESS}


def test_a_bulk_answers_each_job_in_its_place(w: World) -> None:
    parent = a_task(w)
    new_jobs = [
        a_draft(input=0),
        a_draft(type="unknown"),
        a_draft(input=2, idempotency_key="k"),
        a_draft(input=3, parent_id=parent.id),
        a_draft(input=4, runner=MANUAL),
        a_draft(input=5, delay_ms=HOUR_MS),
        a_draft(input=6, delay_ms=5_000),
        a_draft(input=object()),
        a_draft(input="x" * 6_000_000),
        a_draft(input=9, kind=Kind.MESSAGE, type="notes"),
    ]
    answers = publish_many(w.yard, new_jobs)
    kinds = [type(answer) for answer in answers]
    assert kinds == [Job, InvalidInput, Job, Job, Job, Job, Job, InvalidInput, TooLarge, Job]
    bodies = [json.loads(job.body or "")["input"] for job in answers if isinstance(job, Job)]
    assert bodies == [0, 2, 3, 4, 5, 6, 9]
    w.go_on()
    states = [w.job(job.id).state for job in answers if isinstance(job, Job)]
    assert states == [*[State.SUCCESS] * 3, State.PENDING, *[State.SUCCESS] * 2, State.PENDING]


def test_no_jobs_are_no_calls(w: World) -> None:
    with counting(w) as calls:
        assert publish_many(w.yard, []) == []
    assert calls == {}


@pytest.mark.parametrize(
    ("bodies", "transactions"),
    [
        ([1] * 99, 1),
        ([1] * 100, 2),
        (["x" * 400] * 49, 1),  # two actions each
        (["x" * 400] * 50, 2),
        (["x" * 250_000] * 13, 1),  # 3.5 MB
        (["x" * 250_000] * 14, 2),
    ],
)
def test_a_transaction_takes_what_it_can_hold(w: World, bodies: list[Any], transactions: int) -> None:
    """99 actions and an outbox marker; 3.5 MB. The jobs of a topic nobody polls keep the test short."""
    new_jobs = [a_draft(kind=Kind.MESSAGE, type="notes", input=body) for body in bodies]
    with counting(w) as calls:
        jobs = publish_many(w.yard, new_jobs)
    assert calls["TransactWriteItems"] == transactions
    assert len(w.jobs()) == len(w.messages()) == len(jobs) == len(bodies)


def test_batches_are_packed_by_bytes(w: World) -> None:
    """A batch is at most 1 MiB: four envelopes of some 250 KB."""
    with counting(w) as calls:
        publish_many(w.yard, [a_draft(input="x" * 250_000) for _ in range(5)])
    assert calls["SendMessageBatch"] == 2
    assert len(w.messages()) == 5


def test_a_bulk_whose_ids_are_taken_is_refused_whole(w: World) -> None:
    other = a_task(w)
    for taken in (other.id + 1, other.id + 3 + 1):  # the first of a bulk, then the second of one
        w.yard.jobs.record(replace(other, id=taken, uid="other"))
    for _ in range(2):
        answers = publish_many(w.yard, [a_draft(), a_draft()])
        assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    assert len(w.jobs()) == 3
    assert len(w.messages()) == 1
    assert w.items("directory", "outbox") == []


def test_a_bulk_that_dynamodb_does_not_take_is_refused_whole(w: World) -> None:
    with failing(w.yard.jobs.table.client, "TransactWriteItems"):
        answers = publish_many(w.yard, [a_draft(), a_draft()])
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    assert (w.jobs(), w.messages()) == ([], [])


def test_one_job_that_aws_does_not_take_leaves_the_others_accepted(w: World) -> None:
    with failing(aws.client("s3"), "PutObject"):
        good, bad = publish_many(w.yard, [a_draft(input=1), a_draft(input="x" * 300_000)])
    assert isinstance(good, Job)
    assert isinstance(bad, Unavailable)
    assert w.jobs() == [good]


def test_a_bulk_that_sqs_does_not_take_is_sent_by_the_clock(w: World) -> None:
    with failing(w.yard.transport.client, "SendMessageBatch"):
        jobs = publish_many(w.yard, [a_draft() for _ in range(3)])
    assert w.jobs() == jobs
    assert w.messages() == []
    (outbox,) = w.items("directory", "outbox")
    assert outbox["jobs"] == [1, 2, 3]
    w.go_on()
    assert [job.state for job in w.jobs()] == [State.SUCCESS] * 3
    assert w.items("directory", "outbox") == []


def test_a_bulk_of_which_sqs_refuses_a_part_is_sent_again(w: World) -> None:
    with refusing_entries(w, {"1"}):
        jobs = publish_many(w.yard, [a_draft() for _ in range(3)])
    assert len(w.items("directory", "outbox")) == 1
    assert w.jobs() == jobs
    w.go_on()
    assert [job.state for job in w.jobs()] == [State.SUCCESS] * 3
    assert [job.attempts for job in w.jobs()] == [1, 1, 1]


@contextmanager
def refusing_entries(w: World, ids: set[str]) -> Iterator[None]:
    """SQS accepts a batch but for some of its entries."""
    client = w.yard.transport.client

    def refuse(parsed: dict[str, Any], **_: Any) -> None:
        failed = [{"Id": name, "Code": "InternalError", "SenderFault": False} for name in ids]
        parsed["Failed"] = [*parsed.get("Failed", []), *failed]
        parsed["Successful"] = [entry for entry in parsed.get("Successful", []) if entry["Id"] not in ids]

    def drop(params: dict[str, Any], **_: Any) -> None:
        document = json.loads(params["body"])
        document["Entries"] = [entry for entry in document["Entries"] if entry["Id"] not in ids]
        params["body"] = json.dumps(document).encode()

    client.meta.events.register("before-call.sqs.SendMessageBatch", drop)
    client.meta.events.register("after-call.sqs.SendMessageBatch", refuse)
    try:
        yield
    finally:
        client.meta.events.unregister("before-call.sqs.SendMessageBatch", drop)
        client.meta.events.unregister("after-call.sqs.SendMessageBatch", refuse)


def test_jobs_of_several_lanes_share_a_transaction(w: World) -> None:
    new_jobs = [a_draft(priority=priority) for priority in (-1, 0, 12, -1)]
    with counting(w) as calls:
        publish_many(w.yard, new_jobs)
    assert calls["TransactWriteItems"] == 1
    assert [len(w.messages(name_of(w, band=band))) for band in ("high", "normal", "low")] == [1, 1, 2]


def test_subscribers_attempts_hold_in_a_bulk_too(w: World) -> None:
    @subscribe("news", max_attempts=9)
    def listener(_: Any) -> None: ...

    using(w, listener)
    (job,) = publish_many(w.yard, [a_draft(kind=Kind.MESSAGE, type="news")])
    assert isinstance(job, Job)
    assert job.max_attempts == 9


# -- a pool that is declared no longer ----------------------------------------------------------------


@task("moved", pool="old")
def in_its_old_pool(_: Any) -> None:
    return


@task("moved")
def in_its_new_pool(_: Any) -> None:
    return


def test_a_task_whose_pool_is_declared_no_longer_runs_where_its_type_belongs_now(w: World) -> None:
    using(w, in_its_old_pool)
    delayed = a_task(w, "moved", delay_ms=HOUR_MS)
    failed = a_task(w, "moved", delay_ms=HOUR_MS)
    cancel(w.yard, failed.id, Kind.TASK)
    using(w, in_its_new_pool)
    retry(w.yard, failed.id, Kind.TASK)
    w.go_on()
    assert [w.job(job.id).state for job in (delayed, failed)] == [State.SUCCESS] * 2
    assert w.yard.directory.topics() == []  # nobody took the pool for a topic that is polled


def test_one_that_nothing_runs_any_more_becomes_a_dead_letter_that_says_so(w: World) -> None:
    using(w, in_its_old_pool)
    job = a_task(w, "moved", delay_ms=HOUR_MS)
    using(w)
    w.go_on()
    assert (w.job(job.id).state, w.job(job.id).cause) == (State.FAILED, Cause.NO_HANDLER)

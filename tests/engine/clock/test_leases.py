"""The clock: what it sends, what it recovers, what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chalicelib.core.causes import Cause
from chalicelib.core.job import MANUAL, Job, JobError
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.core.waking import wake_for_send
from chalicelib.engine.clock import due, leases, listed
from chalicelib.engine.clock.due import resend_stale, send_due, send_outboxes
from chalicelib.engine.clock.leases import recover_expired, recover_locked
from chalicelib.engine.clock.tick import tick
from chalicelib.engine.commands.lifecycle import cancel, delete
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling.poll import complete, poll
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.send import send_marked
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.pause import paused_by
from chalicelib.functions import clock
from chalicelib.store.transitions.running import Lease
from tests.support.steps import (
    HOURLY,
    LEASE_MS,
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
from tests.support.worlds import World, envelopes, wiped
from tests.support.yards import START_MS, events_of

UNREACHABLE = EndpointConnectionError(endpoint_url="https://aws.test")
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


@task("t", backoff=Fixed(0))
def obedient(what: Any) -> None:
    if what == "fail":
        raise RuntimeError("no")


@pytest.fixture
def w(w: World) -> World:
    using(w, obedient)
    return w


def enough() -> bool:
    return True


def no_more() -> bool:
    return False


# -- the tick -----------------------------------------------------------------------------------------


def test_a_tick_with_nothing_to_do(w: World) -> None:
    a_task(w)
    assert w.yard.directory.last_tick_ms() is None
    assert w.tick() == NOTHING_DONE
    assert w.yard.directory.last_tick_ms() == START_MS
    assert len(w.messages()) == 1


def test_the_stale_are_looked_for_once_an_hour_whenever_ticks_come(w: World) -> None:
    found = []
    for pause_ms in (0, MINUTE_MS, HOUR_MS - MINUTE_MS - 1, 1, MINUTE_MS, 5 * HOUR_MS):
        w.clock.move(pause_ms)
        found.append("stale_resent" in (w.tick() or {}))
    assert found == [False, False, False, True, False, True]


def test_a_slow_step_that_fails_is_tried_again_at_the_next_tick(w: World) -> None:
    w.clock.move(HOUR_MS)
    with patch.object(type(w.yard.lists), "ids", side_effect=UNREACHABLE), pytest.raises(EndpointConnectionError):
        tick(w.yard, enough)
    w.clock.move(MINUTE_MS)
    assert "stale_resent" in (w.tick() or {})


def test_a_step_that_fails_keeps_the_others_from_nothing(w: World) -> None:
    with failing(w.yard.transport.client, "SendMessageBatch"):
        publish_many(w.yard, [NewJob(kind=Kind.TASK, type="t")])
    due = a_task(w, delay_ms=HOUR_MS)
    w.clock.ms = due.due_at_ms
    unread = patch.object(type(w.yard.directory), "open_outboxes", side_effect=UNREACHABLE)
    with unread, pytest.raises(EndpointConnectionError):
        tick(w.yard, enough)
    assert [envelope.id for envelope in envelopes(w)] == [due.id]
    assert w.yard.directory.last_tick_ms() is None  # so that a health check sees it
    assert w.tick() == {**NOTHING_DONE, "outboxes_sent": 1}


def test_a_function_stops_in_time_and_the_next_one_continues(w: World) -> None:
    jobs = [a_task(w, delay_ms=HOUR_MS + number) for number in range(5)]
    w.clock.move(2 * HOUR_MS)
    with patch.object(due, "WOKEN_AT_ONCE", 2):
        assert send_due(w.yard, no_more) == 2
    assert {envelope.id for envelope in envelopes(w)} == {job.id for job in jobs[:2]}  # of whatever shard
    assert send_due(w.yard, enough) == 3
    assert len(w.messages()) == 5


def test_many_that_are_due_are_sent_ten_a_call(w: World) -> None:
    jobs = [a_task(w, delay_ms=HOUR_MS) for _ in range(25)]
    w.clock.move(HOUR_MS)
    with counting(w) as calls:
        assert send_due(w.yard, enough) == 25
    assert (calls["SendMessageBatch"], calls["SendMessage"], calls["UpdateItem"]) == (3, 0, 25)
    assert [w.job(job.id).wake_at_ms for job in jobs] == [None] * 25
    assert send_due(w.yard, enough) == 0


@pytest.mark.parametrize("operation", ["SendMessageBatch", "UpdateItem"])
def test_where_many_cannot_be_sent_together_each_is_sent_alone(w: World, operation: str) -> None:
    """And what cannot be noted as sent is sent again: a second message does no harm."""
    client = w.yard.jobs.table.client if operation == "UpdateItem" else w.yard.transport.client
    jobs = [a_task(w, delay_ms=HOUR_MS) for _ in range(3)]
    w.clock.move(HOUR_MS)
    with failing(client, operation):
        if operation == "UpdateItem":
            with pytest.raises(EndpointConnectionError):  # nothing can be set aside either
                send_due(w.yard, enough)
        else:
            assert send_due(w.yard, enough) == 3
    assert {envelope.id for envelope in envelopes(w)} == {job.id for job in jobs}
    send_due(w.yard, enough)
    assert [w.job(job.id).wake_at_ms for job in jobs] == [None] * 3


# -- outboxes -----------------------------------------------------------------------------------------


def left_in_outbox(w: World, *bodies: Any) -> list[Job]:
    """A bulk of which nothing was sent."""
    with failing(w.yard.transport.client, "SendMessageBatch"):
        jobs = publish_many(w.yard, [NewJob(kind=Kind.TASK, type="t", input=body) for body in bodies])
    assert all(isinstance(job, Job) for job in jobs)
    return [job for job in jobs if isinstance(job, Job)]


def test_an_outbox_is_sent_once_its_sender_has_had_its_time(w: World) -> None:
    jobs = left_in_outbox(w, 1, "x" * 1_000, 3)
    w.clock.move(20_000)
    assert send_outboxes(w.yard, enough) == 0
    w.clock.move(1)
    assert send_outboxes(w.yard, enough) == 3
    assert [envelope.id for envelope in envelopes(w)] == [job.id for job in jobs]
    assert w.items("directory", "outbox") == []
    assert send_outboxes(w.yard, enough) == 0
    w.deliver()
    assert [job.state for job in w.jobs()] == [State.SUCCESS] * 3


def test_an_outbox_sends_only_what_still_waits(w: World) -> None:
    first, second = left_in_outbox(w, 1, 2)
    cancel(w.yard, first.id, Kind.TASK)
    w.clock.move(20_001)
    assert send_outboxes(w.yard, enough) == 1
    assert [envelope.id for envelope in envelopes(w)] == [second.id]
    assert w.items("directory", "outbox") == []


def test_an_outbox_of_removed_jobs_goes(w: World) -> None:
    (job,) = left_in_outbox(w, 1)
    cancel(w.yard, job.id, Kind.TASK)
    delete(w.yard, job.id, Kind.TASK)
    w.clock.move(20_001)
    assert send_outboxes(w.yard, enough) == 0
    assert w.items("directory", "outbox") == []


def test_outboxes_are_sent_oldest_first_as_long_as_there_is_time(w: World) -> None:
    jobs = []
    for body in (1, 2):
        jobs += left_in_outbox(w, body)
        w.clock.move(1_000)
    w.clock.move(20_001)
    assert send_outboxes(w.yard, no_more) == 1
    assert [envelope.id for envelope in envelopes(w)] == [jobs[0].id]
    assert send_outboxes(w.yard, enough) == 1


# -- what is due --------------------------------------------------------------------------------------


def test_a_job_that_stayed_unsent_is_sent(w: World) -> None:
    with failing(w.yard.transport.client, "SendMessage"):
        job = a_task(w, idempotency_key="k")
    w.clock.move(19_999)
    assert send_due(w.yard, enough) == 0
    w.clock.move(1)
    assert send_due(w.yard, enough) == 1
    assert [(envelope.id, envelope.delivery) for envelope in envelopes(w)] == [(job.id, 1)]
    sent = w.job(job.id)
    assert (sent.wake_at_ms, sent.sent_at_ms) == (None, w.clock.ms)


def test_a_hidden_message_that_does_not_come_back_is_replaced(w: World) -> None:
    job = a_task(w, input="fail", backoff=Fixed(30_000))
    work(w)
    w.forget_messages()
    w.clock.ms = START_MS + 30_000 + 89_999
    assert send_due(w.yard, enough) == 0
    w.clock.move(1)
    assert send_due(w.yard, enough) == 1
    assert [(envelope.id, envelope.delivery) for envelope in envelopes(w)] == [(job.id, 1)]
    assert message_of(w, job).delayed_until == 0


def test_a_far_start_is_handed_over_twelve_minutes_before(w: World) -> None:
    job = a_task(w, delay_ms=HOUR_MS)
    w.clock.ms = START_MS + 48 * MINUTE_MS - 1
    assert send_due(w.yard, enough) == 0
    w.clock.move(1)
    assert send_due(w.yard, enough) == 1
    assert message_of(w, job).delayed_until == START_MS + HOUR_MS


def test_a_far_start_whose_wake_up_call_came_early_is_put_off(w: World) -> None:
    job = a_task(w, delay_ms=HOUR_MS)
    w.yard.jobs.wake_later(job, START_MS + 1)
    w.clock.move(1)
    assert send_due(w.yard, enough) == 1
    assert w.messages() == []
    assert w.job(job.id).wake_at_ms == START_MS + 48 * MINUTE_MS


def test_a_job_that_moved_on_needs_no_wake_up_call(w: World) -> None:
    """The record carries a call that no transition leaves behind; the clock drops it, and nothing else."""
    job = a_task(w)
    cancel(w.yard, job.id, Kind.TASK)
    canceled = w.job(job.id)
    w.yard.jobs.table.put(w.yard.jobs.item(replace(canceled, wake_at_ms=START_MS)))
    assert send_due(w.yard, enough) == 1
    assert w.job(job.id) == canceled
    assert send_due(w.yard, enough) == 0


def test_a_job_that_moves_at_that_very_moment_is_left_alone(w: World) -> None:
    with failing(w.yard.transport.client, "SendMessage"):
        job = a_task(w, idempotency_key="k")
    w.clock.move(20_000)
    with before(w.yard.transport.client, "SendMessage", lambda: cancel(w.yard, job.id, Kind.TASK)):
        assert send_due(w.yard, enough) == 1
    assert w.job(job.id).state is State.CANCELED
    work(w)
    assert w.job(job.id).attempts == 0


def test_what_came_to_wait_since_the_index_was_read_waits_for_its_own_time(w: World) -> None:
    """The index shows when it was to be sent; by now a worker has parked it, and a callback has an hour to come."""

    @task("ask", timeout_s=3_600)
    def ask(_: Any, context: Context) -> None:
        context.next()

    using(w, ask)
    with failing(w.yard.transport.client, "SendMessage"):
        job = a_task(w, "ask", idempotency_key="k")
    w.clock.move(20_000)

    def park() -> None:
        send_marked(w.yard, job)
        work(w)

    with before(w.yard.jobs.table.client, "BatchGetItem", park):
        assert send_due(w.yard, enough) == 0
    parked = w.job(job.id)
    assert (parked.state, parked.wake_at_ms) == (State.WAITING, w.clock.ms + HOUR_MS)
    w.clock.move(HOUR_MS)
    assert send_due(w.yard, enough) == 1
    assert (w.job(job.id).state, w.job(job.id).cause) == (State.FAILED, Cause.TIMED_OUT)


def test_a_child_is_looked_after_as_long_again_as_it_is_old(w: World) -> None:
    parent = a_task(w, delay_ms=30 * DAY_MS)
    child = a_task(w, parent_id=parent.id)
    calls = []
    for _ in range(8):
        w.clock.ms = w.job(child.id).wake_at_ms or 0
        calls.append((w.clock.ms - START_MS) // 1_000)
        assert send_due(w.yard, enough) == 1
    assert calls == [60, 120, 240, 480, 960, 1_920, 3_840, 7_440]  # an hour at most
    assert w.job(child.id).blocked


def test_a_child_whose_parent_succeeded_unnoticed_is_started(w: World) -> None:
    parent = a_task(w)
    child = a_task(w, parent_id=parent.id)
    paused_by(w.yard, "t", "default")  # the look at what is paused, which is remembered
    with failing(w.yard.jobs.table.client, "Query"):  # how a worker finds the children
        work(w)
    assert (w.job(parent.id).state, w.job(child.id).blocked) == (State.SUCCESS, True)
    w.clock.move(60_000)
    assert send_due(w.yard, enough) == 1
    work(w)
    assert w.job(child.id).state is State.SUCCESS


def test_a_child_of_a_removed_parent_is_canceled(w: World) -> None:
    parent = a_task(w)
    child = a_task(w, parent_id=parent.id)
    cancel(w.yard, parent.id, Kind.TASK)
    delete(w.yard, parent.id, Kind.TASK)
    w.clock.move(60_000)
    assert send_due(w.yard, enough) == 1
    assert w.job(child.id).state is State.CANCELED


def test_a_manual_child_is_never_sent(w: World) -> None:
    parent = a_task(w)
    child = a_task(w, "sign", runner=MANUAL, parent_id=parent.id)
    work(w)
    assert w.job(child.id).wake_at_ms is not None
    w.clock.move(20_000)
    assert send_due(w.yard, enough) == 1
    assert w.messages() == []
    assert (w.job(child.id).state, w.job(child.id).wake_at_ms) == (State.PENDING, None)


# -- one that cannot be helped ------------------------------------------------------------------------


def without_queue(w: World, queue: str) -> None:
    w.sqs.delete_queue(QueueUrl=w.sqs.get_queue_url(QueueName=name_of(w, queue))["QueueUrl"])


@subscribe("news")
def reader(_: Any) -> None:
    return


def test_a_job_whose_lane_is_gone_stops_nobody_and_goes_out_once_it_is_back(w: World) -> None:
    using(w, obedient, reader)
    stuck = [a_message(w, "news", delay_ms=HOUR_MS) for _ in range(2)]
    healthy = [a_task(w, delay_ms=HOUR_MS + number) for number in range(2)]
    with failing(w.yard.transport.client, "SendMessageBatch"):
        (bulk,) = publish_many(w.yard, [NewJob(kind=Kind.MESSAGE, type="news")])
    assert isinstance(bulk, Job)
    w.clock.ms = healthy[-1].due_at_ms
    name = name_of(w, "news")
    without_queue(w, "news")
    assert w.tick() == {**NOTHING_DONE, **HOURLY, "due_sent": 2, "passed_over": 2}
    assert {envelope.id for envelope in envelopes(w)} == {job.id for job in healthy}
    assert w.items("directory", "outbox") == []
    assert w.yard.directory.last_tick_ms() == w.clock.ms
    aside = [w.job(job.id) for job in stuck]
    assert [(job.set_aside, job.wake_at_ms) for job in aside] == [(1, w.clock.ms + MINUTE_MS)] * 2

    waits = []
    for _ in range(8):
        before_ms = w.clock.ms
        w.clock.ms = w.job(stuck[0].id).wake_at_ms or 0
        waits.append((w.clock.ms - before_ms) // MINUTE_MS)
        send_due(w.yard, enough)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]

    w.sqs.create_queue(QueueName=name)
    w.clock.move(HOUR_MS)
    assert send_due(w.yard, enough) == 3
    assert {envelope.id for envelope in envelopes(w)} >= {bulk.id, *(job.id for job in stuck)}
    assert [(w.job(job.id).set_aside, w.job(job.id).wake_at_ms) for job in stuck] == [(0, None)] * 2


def test_the_lane_of_a_polled_topic_is_made_anew(w: World) -> None:
    waiting = a_message(w, "notes", delay_ms=HOUR_MS)
    a_message(w, "notes")
    without_queue(w, "notes")
    w.clock.move(HOUR_MS)
    assert w.tick() == {**NOTHING_DONE, **HOURLY, "due_sent": 1}
    later = a_message(w, "notes")
    assert {job.id for job in poll(w.yard, "notes", 10, 30_000, "client")} == {waiting.id, later.id}


def test_a_lane_that_takes_nothing_is_tried_once_with_many_and_once_with_one(w: World) -> None:
    jobs = [a_task(w, delay_ms=HOUR_MS) for _ in range(12)]
    w.clock.move(HOUR_MS)
    transport = type(w.yard.transport)
    with (
        patch.object(transport, "send", side_effect=UNREACHABLE) as tried,
        patch.object(transport, "send_many", side_effect=UNREACHABLE) as tried_together,
        patch.object(due, "WOKEN_AT_ONCE", 4),
    ):
        assert send_due(w.yard, enough) == 0
    assert (tried_together.call_count, tried.call_count) == (1, 1)
    assert {w.job(job.id).set_aside for job in jobs} == {1}
    w.clock.move(MINUTE_MS)
    assert send_due(w.yard, enough) == 12


def test_a_ledger_that_does_not_answer_ends_the_sweep(w: World) -> None:
    for _ in range(12):
        left_running(w)
    w.clock.ms = START_MS + LEASE_MS + MINUTE_MS + 1
    unwritten = patch.object(type(w.yard.jobs), "recover", side_effect=UNREACHABLE)
    with unwritten as tried, pytest.raises(EndpointConnectionError):
        recover_expired(w.yard, enough)
    assert tried.call_count == 10


def test_what_was_set_aside_comes_after_what_is_due(w: World) -> None:
    first, second = (a_task(w, delay_ms=HOUR_MS) for _ in range(2))
    w.yard.jobs.set_aside(first, START_MS)
    w.clock.move(HOUR_MS)
    with patch.object(due, "WOKEN_AT_ONCE", 1):
        assert send_due(w.yard, no_more) == 1
    assert [envelope.id for envelope in envelopes(w)] == [second.id]


def test_one_job_whose_record_cannot_be_written_stops_nobody(w: World) -> None:
    bad, good = left_running(w), left_running(w)
    write = type(w.yard.jobs).recover

    def sometimes(jobs: Any, seen: Job, *rest: Any, **named: Any) -> Any:
        if seen.id == bad.id:
            raise UNREACHABLE
        return write(jobs, seen, *rest, **named)

    w.clock.ms = START_MS + LEASE_MS + MINUTE_MS + 1
    with patch.object(type(w.yard.jobs), "recover", sometimes):
        assert w.tick() == {**NOTHING_DONE, "leases_recovered": 1, "passed_over": 1}
    assert w.job(good.id).state is State.PENDING


# -- leases that ran out ------------------------------------------------------------------------------


def left_running(w: World, **more: Any) -> Job:
    """A job whose worker has vanished, and whose message does not come back."""
    job = a_task(w, **more)
    assert isinstance(claim(w.yard, job, Lease("gone", START_MS + LEASE_MS, "a worker that dies")), Job)
    w.forget_messages()
    return job


def test_an_abandoned_job_is_sent_again_a_minute_after_its_lease(w: World) -> None:
    job = left_running(w)
    w.clock.ms = START_MS + LEASE_MS + MINUTE_MS
    assert recover_expired(w.yard, enough) == 0
    w.clock.move(1)
    assert recover_expired(w.yard, enough) == 1
    recovered = w.job(job.id)
    assert (recovered.state, recovered.delivery, recovered.attempts) == (State.PENDING, 2, 1)
    assert (recovered.due_at_ms, recovered.wake_at_ms, recovered.sent_at_ms) == (w.clock.ms, None, w.clock.ms)
    assert events_of(recovered) == ["published", "started", "recovered"]
    assert [envelope.delivery for envelope in envelopes(w)] == [2]
    work(w)
    assert (w.job(job.id).state, w.job(job.id).attempts) == (State.SUCCESS, 2)


def test_an_abandoned_last_attempt_is_a_dead_letter(w: World) -> None:
    job = left_running(w, max_attempts=1)
    w.clock.ms = START_MS + LEASE_MS + MINUTE_MS + 1
    assert recover_expired(w.yard, enough) == 1
    dead = w.job(job.id)
    assert (dead.state, dead.failures) == (State.FAILED, 1)
    assert dead.error == JobError("LeaseLost", "the worker of the last attempt vanished, and no attempt is left")
    assert w.messages() == []


def test_a_lease_in_force_is_respected(w: World) -> None:
    job = left_running(w)
    w.clock.move(HOUR_MS)
    w.yard.jobs.extend_lease(job.id, "gone", w.clock.ms + LEASE_MS)
    assert recover_expired(w.yard, enough) == 0
    assert w.job(job.id).state is State.RUNNING


def test_a_worker_that_comes_back_at_that_very_moment_keeps_its_job(w: World) -> None:
    job = left_running(w)
    running = w.job(job.id)
    w.clock.ms = START_MS + LEASE_MS + MINUTE_MS + 1

    def settle_late() -> None:
        w.yard.jobs.succeed(running, w.yard.payloads.store_output(running, "1"), w.clock.ms)

    with before(w.yard.jobs.table.client, "UpdateItem", settle_late):
        assert recover_expired(w.yard, enough) == 0
    assert w.job(job.id).state is State.SUCCESS
    assert w.messages() == []


def test_an_abandoned_message_of_a_polled_topic_is_sent_again(w: World) -> None:
    a_message(w, "notes")
    (job,) = poll(w.yard, "notes", 1, 30_000, "client")
    w.forget_messages()
    w.clock.ms = START_MS + 30_000 + MINUTE_MS + 1
    assert recover_expired(w.yard, enough) == 1
    (again,) = poll(w.yard, "notes", 1, 30_000, "client")
    assert (again.id, again.attempts) == (job.id, 2)


def test_an_abandoned_job_that_sqs_does_not_take_stays_unsent(w: World) -> None:
    job = left_running(w)
    w.clock.ms = START_MS + LEASE_MS + MINUTE_MS + 1
    with failing(w.yard.transport.client, "SendMessage"):
        assert recover_expired(w.yard, enough) == 1
    assert w.job(job.id).wake_at_ms == w.clock.ms + 20_000
    w.go_on()
    assert (w.job(job.id).state, w.job(job.id).attempts) == (State.SUCCESS, 2)


def test_the_abandoned_are_recovered_as_long_as_there_is_time(w: World) -> None:
    for _ in range(2):
        left_running(w)
    w.clock.ms = START_MS + LEASE_MS + MINUTE_MS + 1
    assert recover_expired(w.yard, no_more) == 1
    assert recover_expired(w.yard, enough) == 1


# -- locks that ran out, by request -------------------------------------------------------------------


def abandoned(w: World, topic: str = "notes", number: int = 1, **more: Any) -> list[Job]:
    """Messages whose client vanished; their locks have just run out."""
    for _ in range(number):
        a_message(w, topic, **more)
    jobs = poll(w.yard, topic, number, 30_000, "a client that dies")
    assert len(jobs) == number
    w.clock.move(30_001)
    return jobs


def test_what_a_vanished_client_held_is_pending_at_once(w: World) -> None:
    (job,) = abandoned(w, input="x" * 1_000)
    assert recover_locked(w.yard, None, enough) == 1
    recovered = w.job(job.id)
    assert (recovered.state, recovered.attempts, recovered.failures) == (State.PENDING, 1, 0)
    assert (recovered.delivery, recovered.wake_at_ms, recovered.receipt) == (2, None, None)
    assert events_of(recovered) == ["published", "started", "recovered"]
    assert recover_locked(w.yard, None, enough) == 0
    (again,) = poll(w.yard, "notes", 10, 30_000, "another client")  # the old message shows, too, and is void
    assert (again.id, again.attempts, again.failures) == (job.id, 2, 0)
    assert w.yard.payloads.body(again)["input"] == "x" * 1_000
    assert events_of(again) == ["published", "started", "recovered", "started"]
    assert complete(w.yard, again.id).state is State.SUCCESS
    assert w.messages() == []


def test_a_lock_in_force_is_left_alone(w: World) -> None:
    a_message(w, "notes")
    (job,) = poll(w.yard, "notes", 1, 30_000, "client")
    w.clock.move(30_000)
    assert recover_locked(w.yard, None, enough) == 0
    assert w.job(job.id) == job


def give_sign(w: World, polled: Job) -> None:
    """Whoever holds a polled message extends its lock, by a moment: from now on, its loss costs a delivery."""
    ledger = w.job(polled.id)
    w.yard.jobs.extend_lease(ledger.id, ledger.lease or "", w.clock.ms + 1)
    w.clock.move(2)


def test_the_last_allowed_delivery_is_a_dead_letter(w: World) -> None:
    (job,) = abandoned(w, max_attempts=1)
    give_sign(w, job)
    assert recover_locked(w.yard, None, enough) == 1
    dead = w.job(job.id)
    assert (dead.state, dead.attempts, dead.failures) == (State.FAILED, 1, 1)
    assert events_of(dead) == ["published", "started", "dead"]
    assert poll(w.yard, "notes", 1, 30_000, "client") == []
    assert w.messages() == []


def test_deliveries_are_counted_whoever_recovers_them(w: World) -> None:
    """Three deliveries are allowed: one recovered by request, one by the next poll, and the last by the clock."""
    (job,) = abandoned(w)
    give_sign(w, job)
    assert recover_locked(w.yard, "notes", enough) == 1
    for expected in (2, 3):
        (again,) = poll(w.yard, "notes", 1, 30_000, "client")
        assert (again.attempts, again.failures) == (expected, 0)
        give_sign(w, again)
        w.clock.move(30_001)
    w.clock.move(MINUTE_MS)
    assert recover_expired(w.yard, enough) == 1
    assert (w.job(job.id).state, w.job(job.id).attempts, w.job(job.id).failures) == (State.FAILED, 3, 1)


def test_only_messages_of_the_topic(w: World) -> None:
    task_left = left_running(w)
    (here,), (there,) = abandoned(w), abandoned(w, "elsewhere")
    w.clock.ms = max(w.clock.ms, START_MS + LEASE_MS + 1)
    assert recover_locked(w.yard, "notes", enough) == 1
    assert [w.job(job.id).state for job in (here, there, task_left)] == [State.PENDING, State.RUNNING, State.RUNNING]
    assert recover_locked(w.yard, "nobody's", enough) == 0
    assert recover_locked(w.yard, None, enough) == 1
    assert w.job(task_left.id).state is State.RUNNING


def test_many_are_recovered_in_few_calls(w: World) -> None:
    jobs = abandoned(w, number=25)
    with counting(w) as calls:
        assert recover_locked(w.yard, "notes", enough) == 25
    assert calls == {"Query": 2, "BatchGetItem": 1, "UpdateItem": 50, "SendMessageBatch": 3}
    assert {w_job.delivery for w_job in w.jobs()} == {2}
    assert len(poll(w.yard, "notes", 100, 30_000, "client")) == len(jobs)


def test_a_request_recovers_no_more_than_its_share(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RECOVERED_MAX", 4)
    monkeypatch.setattr(listed, "READ_CHUNK", 3)
    jobs = abandoned(w, number=7)
    assert recover_locked(w.yard, None, enough) == 4
    assert sorted(job.id for job in w.jobs() if job.state is State.PENDING) == [job.id for job in jobs[:4]]
    assert recover_locked(w.yard, None, no_more) == 3  # a share is done whatever the time


def test_a_client_that_comes_back_at_that_very_moment_keeps_its_message(w: World) -> None:
    (job,) = abandoned(w)
    with before(w.yard.jobs.table.client, "UpdateItem", lambda: complete(w.yard, job.id)):
        assert recover_locked(w.yard, None, enough) == 0
    assert w.job(job.id).state is State.SUCCESS
    assert w.messages() == []


def test_what_sqs_does_not_take_the_clock_sends(w: World) -> None:
    (job,) = abandoned(w)
    w.forget_messages()
    with failing(w.yard.transport.client, "SendMessageBatch"):
        recover_locked(w.yard, None, enough)
    assert (w.job(job.id).state, w.job(job.id).wake_at_ms) == (State.PENDING, w.clock.ms + 20_000)
    w.consumes = True
    w.go_on()
    assert (w.job(job.id).state, w.job(job.id).attempts) == (State.SUCCESS, 2)


# -- starts at any distance ---------------------------------------------------------------------------

DISTANCES_MS = st.one_of(
    st.integers(0, 20_000),
    st.integers(895_000, 905_000),  # about as far as SQS delays a message
    st.integers(0, 2 * HOUR_MS),
    st.integers(0, 400 * DAY_MS),
)


@given(distance_ms=DISTANCES_MS, phase_ms=st.integers(0, MINUTE_MS - 1), tick_late_ms=st.integers(0, 5_000))
@example(distance_ms=900_000, phase_ms=0, tick_late_ms=0)
@example(distance_ms=900_001, phase_ms=59_999, tick_late_ms=5_000)
@example(distance_ms=400 * DAY_MS, phase_ms=1, tick_late_ms=0)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_start_at_any_distance_is_never_early_and_at_most_two_seconds_late(
    ground: World, distance_ms: int, phase_ms: int, tick_late_ms: int
) -> None:
    """The clock ticks each minute, somewhat late; a client polls at every tick and around the time itself."""
    w = wiped(ground)
    w.clock.ms = START_MS + phase_ms
    due_ms = w.clock.ms + distance_ms
    job = a_message(w, "notes", due_at_ms=due_ms)
    for tick_ms in ticks_before(due_ms, w.clock.ms):
        w.clock.ms = tick_ms + tick_late_ms
        if w.clock.ms >= due_ms:
            break
        w.tick()
        assert poll(w.yard, "notes", 1, 30_000, "client") == []
    if distance_ms > 0:
        w.clock.ms = due_ms - 1
        assert poll(w.yard, "notes", 1, 30_000, "client") == []
    w.clock.ms = due_ms + 2_000
    (taken,) = poll(w.yard, "notes", 1, 30_000, "client")
    assert (taken.id, taken.attempts) == (job.id, 1)


def ticks_before(due_ms: int, now_ms: int) -> list[int]:
    """When the clock ticks: every minute of the last quarter of an hour, and at some times long before."""
    first = now_ms - now_ms % MINUTE_MS + MINUTE_MS
    minutes = (due_ms - first) // MINUTE_MS + 1
    wanted = {1, minutes // 3, minutes // 2, *range(minutes - 16, minutes)}
    return [first + minute * MINUTE_MS for minute in sorted(wanted) if 0 <= minute < minutes]


# -- what SQS would forget ----------------------------------------------------------------------------


def test_a_pending_job_is_sent_again_after_seven_days(w: World) -> None:
    job, message = a_task(w, input="x" * 1_000), a_message(w, "notes")
    w.forget_messages()
    w.clock.ms = START_MS + 7 * DAY_MS - 1
    assert resend_stale(w.yard, enough) == 0
    w.clock.move(1)
    assert resend_stale(w.yard, enough) == 2
    assert sorted((envelope.id, envelope.delivery) for envelope in envelopes(w)) == [(job.id, 2), (message.id, 2)]
    assert (w.job(job.id).sent_at_ms, w.job(job.id).wake_at_ms) == (w.clock.ms, None)
    assert resend_stale(w.yard, enough) == 0
    w.clock.move(7 * DAY_MS)
    assert resend_stale(w.yard, enough) == 2
    work(w)
    assert w.job(job.id).state is State.SUCCESS


def test_the_message_that_is_replaced_is_void(w: World) -> None:
    job = a_task(w)
    w.clock.move(7 * DAY_MS)
    resend_stale(w.yard, enough)
    assert [envelope.delivery for envelope in envelopes(w)] == [1, 2]
    assert work(w) == []
    assert w.messages() == []
    assert w.job(job.id).attempts == 1


@pytest.mark.parametrize(
    "prepare",
    [
        lambda w: a_task(w, "sign", runner=MANUAL),
        lambda w: a_task(w, parent_id=a_task(w, "sign", runner=MANUAL).id),
        lambda w: a_task(w, delay_ms=30 * DAY_MS),
        lambda w: cancel(w.yard, a_task(w).id, Kind.TASK),
    ],
    ids=["manual", "held", "not yet sent", "canceled"],
)
def test_what_has_no_message_is_not_sent_again(w: World, prepare: Callable[[World], Job]) -> None:
    job = prepare(w)
    delivery = w.job(job.id).delivery
    w.forget_messages()
    w.clock.move(8 * DAY_MS)
    assert resend_stale(w.yard, enough) == 0
    assert w.messages() == []
    assert w.job(job.id).delivery == delivery


def test_what_was_sent_lately_is_not_sent_again(w: World) -> None:
    job = a_task(w, delay_ms=8 * DAY_MS)
    w.clock.ms = job.due_at_ms - 600_000
    w.tick()
    assert w.job(job.id).sent_at_ms == w.clock.ms
    w.clock.move(6 * DAY_MS)
    assert resend_stale(w.yard, enough) == 0


def test_what_starts_at_that_very_moment_is_not_sent_again(w: World) -> None:
    a_task(w)
    w.clock.move(8 * DAY_MS)
    with before(w.yard.jobs.table.client, "UpdateItem", lambda: work(w)):
        assert resend_stale(w.yard, enough) == 0
    assert w.messages() == []


def test_the_stale_are_sent_as_long_as_there_is_time(w: World) -> None:
    for _ in range(2):
        a_task(w)
    w.forget_messages()
    w.clock.move(8 * DAY_MS)
    assert resend_stale(w.yard, no_more) == 1
    assert resend_stale(w.yard, enough) == 1


def test_the_clock_function_keeps_five_seconds(w: World) -> None:
    for _ in range(2):
        a_task(w, delay_ms=HOUR_MS)
    w.clock.move(HOUR_MS)
    with patch.object(due, "WOKEN_AT_ONCE", 1):
        last = w.invoke(clock.handle, {"time": "whenever"}, remaining_ms=5_000)
    assert last == {**NOTHING_DONE, **HOURLY, "due_sent": 1}
    assert w.invoke(clock.handle, {}, remaining_ms=5_001) == {**NOTHING_DONE, "due_sent": 1}


def test_wake_up_calls_are_in_every_shard(w: World) -> None:
    jobs = [a_task(w, delay_ms=HOUR_MS) for _ in range(4)]
    assert {job.id % w.yard.settings.index_shards for job in jobs} == {0, 1}
    w.clock.move(HOUR_MS)
    assert send_due(w.yard, enough) == 4
    assert wake_for_send(START_MS, START_MS) == START_MS + 20_000
    assert {json.loads(message.body)["id"] for message in w.messages()} == {job.id for job in jobs}

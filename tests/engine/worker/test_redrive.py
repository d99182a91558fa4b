"""What comes out of the dead-letter queue: laps back to the lane, and an end to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.causes import Cause
from chalicelib.core.errors import NotFound
from chalicelib.core.job import Job, JobError
from chalicelib.core.job_documents import to_envelope
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import cancel, delete, find, replay, retry
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.polling.poll import poll
from chalicelib.engine.worker.claim import claim
from chalicelib.functions import dead_letters
from chalicelib.store.transitions.running import Lease
from tests.support.steps import LEASE_MS, a_message, a_task, before, failing, foreign, message_of, using, work
from tests.support.worlds import World, envelopes, sqs_event
from tests.support.yards import START_MS, events_of

MINUTE_MS = 60_000


@task("t")
def plain(_: Any) -> None: ...


@pytest.fixture
def w(w: World) -> World:
    using(w, plain)
    return w


def stuck(w: World, job: Job) -> None:
    """SQS moves a job's message to the dead-letter queue."""
    body = message_of(w, job).body
    w.forget_messages()
    foreign(w, body, w.yard.settings.dead_letter_queue)


def redrive(w: World) -> list[str]:
    back = w.deliver_batch(w.yard.settings.dead_letter_queue)
    assert back is not None
    return back


def test_a_live_job_goes_back_to_its_lane(w: World) -> None:
    job = a_task(w, input="x" * 1_000, priority=12)
    stuck(w, job)
    assert redrive(w) == []
    back = w.job(job.id)
    assert (back.state, back.requeue_count, back.delivery, back.attempts) == (State.PENDING, 1, 2, 0)
    assert (back.due_at_ms, back.sent_at_ms, back.wake_at_ms) == (START_MS + 2 * MINUTE_MS, START_MS, None)
    assert events_of(back) == ["published", "requeued"]
    assert back.events[-1].detail == {"lap": 1}
    (envelope,) = envelopes(w)
    assert (envelope.id, envelope.delivery) == (job.id, 2)
    assert message_of(w, job).delayed_until == START_MS + 2 * MINUTE_MS
    w.go_on()
    assert w.job(job.id).state is State.SUCCESS


def test_laps_wait_longer_and_end_after_the_fifth(w: World) -> None:
    job = a_task(w)
    waits = []
    for _ in range(5):
        stuck(w, job)
        redrive(w)
        waits.append((w.job(job.id).due_at_ms - w.clock.ms) // MINUTE_MS)
        w.clock.ms = w.job(job.id).due_at_ms
    assert waits == [2, 4, 8, 15, 15]
    stuck(w, job)
    assert redrive(w) == []
    dead = w.job(job.id)
    assert (dead.state, dead.requeue_count, dead.attempts, dead.delivery) == (State.FAILED, 5, 0, 6)
    assert dead.cause is Cause.NEVER_STARTED
    assert dead.error == JobError("NeverStarted", "came back from the dead-letter queue 5 times without being run")
    assert events_of(dead) == ["published", *["requeued"] * 5, "dead"]
    assert w.messages() == []


def test_what_never_started_can_be_retried_and_begins_its_laps_anew(w: World) -> None:
    test_laps_wait_longer_and_end_after_the_fifth(w)
    (dead,) = w.jobs()
    assert retry(w.yard, dead.id, Kind.TASK).requeue_count == 0
    w.go_on()
    assert w.job(dead.id).state is State.SUCCESS


def test_what_never_started_can_be_replayed(w: World) -> None:
    test_laps_wait_longer_and_end_after_the_fifth(w)
    (dead,) = w.jobs()
    assert replay(w.yard, dead.id, Kind.TASK).requeue_count == 0


def test_a_lap_keeps_the_attempts_of_before(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    work(w)
    stuck(w, job)
    w.clock.move(6_000)
    redrive(w)
    assert (w.job(job.id).attempts, w.job(job.id).requeue_count) == (1, 1)


def test_a_message_without_a_record_makes_one(w: World) -> None:
    job = a_task(w, input="x" * 1_000)
    stuck(w, job)
    w.lose_records()
    assert redrive(w) == []
    made = w.job(job.id)
    assert (made.uid, made.state, made.requeue_count) == (job.uid, State.PENDING, 1)
    assert w.yard.payloads.body(made) == {"input": "x" * 1_000}


def test_a_lap_of_a_polled_topic_goes_back_to_it(w: World) -> None:
    job = a_message(w, "notes")
    stuck(w, job)
    redrive(w)
    w.clock.ms = w.job(job.id).due_at_ms
    assert [taken.id for taken in poll(w.yard, "notes", 1, 30_000, "client")] == [job.id]


@pytest.mark.parametrize("end", ["success", "canceled", "removed"])
def test_what_has_ended_is_left_alone(w: World, end: str) -> None:
    job = a_task(w)
    body = message_of(w, job).body
    if end == "canceled":
        cancel(w.yard, job.id, Kind.TASK)
    w.deliver()
    if end == "removed":
        delete(w.yard, job.id, Kind.TASK)
    records = w.records()
    foreign(w, body, w.yard.settings.dead_letter_queue)
    assert redrive(w) == []
    assert w.records() == records
    assert w.messages() == []
    if end == "removed":
        with pytest.raises(NotFound):
            find(w.yard, job.id, Kind.TASK)


def test_a_running_job_is_left_to_its_lease(w: World) -> None:
    job = a_task(w)
    claim(w.yard, job, Lease("busy", START_MS + LEASE_MS, "worker"))
    running = w.job(job.id)
    stuck(w, job)
    assert redrive(w) == []
    assert w.job(job.id) == running
    assert w.messages() == []
    w.go_on()
    assert (w.job(job.id).state, w.job(job.id).attempts) == (State.SUCCESS, 2)


def test_a_void_delivery_is_no_lap(w: World) -> None:
    job = a_task(w)
    stuck(w, job)
    foreign(w, to_envelope(job), w.yard.settings.dead_letter_queue)
    assert redrive(w) == []
    assert (w.job(job.id).requeue_count, w.job(job.id).delivery) == (1, 2)
    assert len(w.messages()) == 1


def test_a_message_of_another_job_with_the_same_id_is_void(w: World) -> None:
    job = a_task(w)
    w.forget_messages()
    foreign(w, to_envelope(replace(job, uid="0" * 16)), w.yard.settings.dead_letter_queue)
    assert redrive(w) == []
    assert w.jobs() == [job]
    assert w.messages() == []


def test_a_job_that_starts_at_that_very_moment_is_not_stuck(w: World) -> None:
    job = a_task(w)
    body = message_of(w, job).body
    foreign(w, body, w.yard.settings.dead_letter_queue)
    with before(w.yard.jobs.table.client, "GetItem", lambda: work(w)):
        assert redrive(w) == []
    assert (w.job(job.id).state, w.job(job.id).requeue_count) == (State.SUCCESS, 0)


def test_a_job_that_starts_between_the_look_and_the_lap(w: World) -> None:
    job = a_task(w)
    stuck(w, job)

    def claimed_by_a_worker() -> None:
        claim(w.yard, job, Lease("busy", START_MS + LEASE_MS, "worker"))

    with before(w.yard.jobs.table.client, "UpdateItem", claimed_by_a_worker, number=2):
        assert redrive(w) == []
    assert (w.job(job.id).state, w.job(job.id).requeue_count) == (State.RUNNING, 0)


def test_an_unreadable_message_becomes_a_dead_letter(w: World) -> None:
    message_id = foreign(w, "hello?", w.yard.settings.dead_letter_queue)
    assert redrive(w) == []
    (dead,) = w.jobs()
    assert (dead.type, dead.state) == ("unreadable", State.FAILED)
    assert w.yard.payloads.body(dead)["input"] == {
        "messageId": message_id,
        "source": w.yard.settings.dead_letter_queue,
        "text": "hello?",
    }
    assert w.messages() == []


def test_a_message_that_cannot_be_dealt_with_now_stays_and_the_others_do_not(w: World) -> None:
    first, second = a_task(w), a_task(w)
    bodies = [message_of(w, job).body for job in (first, second)]
    w.forget_messages()
    ids = [foreign(w, body, w.yard.settings.dead_letter_queue) for body in bodies]
    refuse = iter([True])

    def once(**_: Any) -> None:
        if next(refuse, False):
            raise ConnectionError("once")

    w.yard.jobs.table.client.meta.events.register_first("before-call.dynamodb.UpdateItem", once)
    assert redrive(w) == [ids[0]]
    assert [w.job(job.id).requeue_count for job in (first, second)] == [0, 1]
    w.go_on()
    assert [w.job(job.id).state for job in (first, second)] == [State.SUCCESS] * 2


def test_a_lap_that_sqs_does_not_take_is_the_clocks(w: World) -> None:
    job = a_task(w)
    stuck(w, job)
    with failing(w.yard.transport.client, "SendMessage"):
        assert redrive(w) == []
    assert w.messages() == []
    assert w.job(job.id).wake_at_ms == START_MS + 20_000
    w.go_on()
    done = w.job(job.id)
    assert done.state is State.SUCCESS
    assert done.started_at_ms == START_MS + 2 * MINUTE_MS


def test_the_function_answers_as_lambda_asks(w: World) -> None:
    job = a_task(w)
    stuck(w, job)
    name = w.yard.settings.dead_letter_queue
    url = w.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    (message,) = w.sqs.receive_message(QueueUrl=url)["Messages"]
    with failing(w.yard.jobs.table.client, "UpdateItem"):
        answer = w.invoke(dead_letters.handle, sqs_event(name, [message]))
    assert answer == {"batchItemFailures": [{"itemIdentifier": message["MessageId"]}]}
    assert w.invoke(dead_letters.handle, sqs_event(name, [message])) == {"batchItemFailures": []}

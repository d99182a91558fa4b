"""A batch of messages: which jobs run, in which order, and what becomes of each message."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.job import Job, JobError
from chalicelib.core.job_documents import to_envelope
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.publish.malformed import KEPT_CHARS
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.consume import consume
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.functions.events import received
from chalicelib.queue.contract import Received
from chalicelib.store.jobs import JobStore
from chalicelib.store.ledger import JobRefused
from chalicelib.store.transitions.running import Lease
from tests.support.steps import LEASE_MS, a_task, before, foreign, hidden_for_ms, message_of, name_of, take, using, work
from tests.support.worlds import World, envelopes, sqs_event
from tests.support.yards import START_MS, events_of

# -- one run ------------------------------------------------------------------------------------------


def url_of(w: World) -> str:
    """The queue of the normal lane of ``default``."""
    return str(w.sqs.get_queue_url(QueueName=name_of(w))["QueueUrl"])


def test_a_success_is_told_in_full(w: World) -> None:
    @task("t")
    def handler(value: Any, context: Context) -> Any:
        w.clock.move(1_234)
        return {"got": value, "attempt": context.attempt, "options": context.options, "bucket": context.bucket}

    using(w, handler)
    job = a_task(w, input=[1, "zwei"], options={"a": 1}, context={"b": 2})
    w.clock.move(500)
    assert work(w) == []

    done = w.job(job.id)
    assert done.state is State.SUCCESS
    assert json.loads(done.output or "") == {
        "got": [1, "zwei"],
        "attempt": 1,
        "options": {"a": 1},
        "bucket": "taskyard-local-objects",
    }
    assert (done.attempts, done.failures) == (1, 0)
    assert (done.started_at_ms, done.first_started_at_ms) == (START_MS + 500, START_MS + 500)
    assert done.completed_at_ms == done.updated_at_ms == START_MS + 1_734
    assert done.worker == w.yard.worker_name
    assert (done.lease_until_ms, done.wake_at_ms, done.receipt, done.error) == (None, None, None, None)
    assert events_of(done) == ["published", "started", "succeeded"]
    assert w.messages() == []


def test_the_job_is_running_under_a_lease_while_its_handler_runs(w: World) -> None:
    seen: list[Job] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        seen.append(w.job(context.job.id))
        assert context.job == seen[0]
        assert context.lease_until_ms == START_MS + LEASE_MS

    using(w, handler)
    job = a_task(w)
    work(w)
    (running,) = seen
    assert (running.state, running.attempts, running.lease_until_ms) == (State.RUNNING, 1, START_MS + LEASE_MS)
    assert len(running.lease or "") == 16
    assert w.job(job.id).state is State.SUCCESS
    assert w.job(job.id).lease == running.lease


@pytest.mark.parametrize(
    ("more", "left_ms"), [({}, 292_000), ({"timeout_ms": 10_000}, 10_000), ({"timeout_ms": 0}, 292_000)]
)
def test_a_run_has_its_time_out_or_what_the_function_has_left(w: World, more: dict[str, Any], left_ms: int) -> None:
    """The function keeps 3 s for settling, and 5 s of grace for the handler to stop."""
    seen: list[int | None] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        seen.append(context.remaining_ms())

    using(w, handler)
    a_task(w, **more)
    work(w)
    assert seen == [left_ms]


def test_a_handler_declares_its_time_out(w: World) -> None:
    seen: list[int | None] = []

    @task("t", timeout_s=7.5)
    def handler(_: Any, context: Context) -> None:
        seen.append(context.remaining_ms())

    using(w, handler)
    a_task(w)
    a_task(w, timeout_ms=9_000)
    work(w)
    assert seen == [7_500, 9_000]


# -- the batch ----------------------------------------------------------------------------------------


def noted(w: World) -> list[str]:
    """The inputs of the runs to come, in their order."""
    order: list[str] = []

    @task("t")
    def handler(name: str) -> None:
        order.append(name)

    using(w, handler)
    return order


def test_a_batch_is_worked_on_by_priority_then_age(w: World) -> None:
    order = noted(w)
    for name, priority in [("young", 2), ("urgent", 4), ("idle", 0)]:
        a_task(w, input=name, priority=priority)
        w.clock.move(10)
    w.clock.ms = START_MS - 1_000
    a_task(w, input="old", priority=2)
    w.clock.ms = START_MS + 1_000
    work(w)
    assert order == ["urgent", "old", "young", "idle"]


def test_tenants_take_turns_in_a_batch(w: World) -> None:
    order = noted(w)
    entries = [("noisy 1", 0), ("noisy 2", 0), ("noisy 3", 0), ("quiet 1", 0), ("quiet 2", 0), ("noisy first", 1)]
    for name, priority in entries:
        a_task(w, input=name, priority=priority, tenant=name.split()[0])
        w.clock.move(10)
    work(w)
    assert order == ["noisy first", "quiet 1", "noisy 1", "quiet 2", "noisy 2", "noisy 3"]


def test_the_tenant_that_the_queue_hands_out_first_begins_though_anothers_job_is_older(w: World) -> None:
    order = noted(w)
    a_task(w, input="quiet", tenant="quiet")
    w.clock.ms -= 1_000
    a_task(w, input="noisy", tenant="noisy")
    w.clock.ms += 2_000
    work(w)
    assert order == ["quiet", "noisy"]


def test_only_what_must_come_back_is_reported(w: World) -> None:
    @task("t")
    def handler(what: str) -> None:
        if what == "fail":
            raise RuntimeError("no")
        if what == "reject":
            raise Reject("never")

    using(w, handler)
    good, bad, never = (a_task(w, input=what) for what in ("succeed", "fail", "reject"))
    message_id = message_of(w, bad).id
    assert work(w) == [message_id]
    assert [w.job(job.id).state for job in (good, bad, never)] == [State.SUCCESS, State.PENDING, State.FAILED]
    assert [message.id for message in w.messages()] == [message_id]


def test_a_duplicate_in_the_same_batch_runs_nothing(w: World) -> None:
    runs: list[int] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        runs.append(context.job.id)

    using(w, handler)
    job = a_task(w)
    w.sqs.send_message(QueueUrl=url_of(w), MessageBody=message_of(w, job).body)
    assert work(w) == []
    assert runs == [job.id]
    assert w.messages() == []


def test_a_duplicate_of_a_job_that_waits_for_its_retry_waits_with_it(w: World) -> None:
    @task("t", backoff=Fixed(5_000))
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    w.sqs.send_message(QueueUrl=url_of(w), MessageBody=message_of(w, job).body)
    back = work(w)
    assert sorted(back) == sorted(message.id for message in w.messages())
    assert {int(message.visible_at) for message in w.messages()} == {START_MS + 5_000}
    assert w.job(job.id).attempts == 1


def test_unstarted_jobs_go_back_at_once_when_time_is_short(w: World) -> None:
    left_ms = [300_000]
    runs: list[int] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        runs.append(context.job.id)
        left_ms[0] = 74_999  # below a quarter

    using(w, handler)
    first, second, third = (a_task(w) for _ in range(3))
    messages = take(w)
    back = consume(w.yard, messages, lambda: left_ms[0])
    assert runs == [first.id]
    assert back == [messages[1].message_id, messages[2].message_id]
    for job in (second, third):
        left = w.job(job.id)
        assert (left.state, left.attempts) == (State.PENDING, 0)
        assert hidden_for_ms(w, job) == 0
        assert left.wake_at_ms == START_MS + 90_000  # the clock knows, in case the report is not honoured
    w.clock.move(1)
    assert [message.message_id for message in take(w)] == back


def test_a_quarter_of_the_time_is_enough_to_start(w: World) -> None:
    left_ms = [300_000]

    @task("t")
    def handler(_: Any) -> None:
        left_ms[0] = 75_000

    using(w, handler)
    jobs = [a_task(w) for _ in range(2)]
    assert consume(w.yard, take(w), lambda: left_ms[0]) == []
    assert [w.job(job.id).state for job in jobs] == [State.SUCCESS] * 2


def test_an_unstarted_job_without_a_record_gets_one(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None:
        left_ms[0] = 0

    left_ms = [300_000]
    using(w, handler)
    a_task(w)
    w.clock.move(1)
    lost = a_task(w, input="x" * 1_000)
    w.lose_records()
    back = consume(w.yard, take(w), lambda: left_ms[0])
    assert len(back) == 1
    recorded = w.job(lost.id)
    assert (recorded.state, recorded.uid, recorded.wake_at_ms) == (State.PENDING, lost.uid, w.clock.ms + 90_000)
    assert w.yard.payloads.body(recorded) == {"input": "x" * 1_000}


def test_every_job_ends_although_the_report_is_not_honoured(w: World) -> None:
    """The mapping deletes the whole batch. What the worker reported comes back by the clock."""
    runs: list[str] = []
    left_ms = [300_000]

    @task("t", backoff=Fixed(2_000))
    def handler(what: str, context: Context) -> None:
        runs.append(what)
        if what == "fails" and context.attempt == 1:
            raise RuntimeError("no")
        if what == "last":
            left_ms[0] = 0

    using(w, handler)
    fails, leased, early, lost, last, unstarted = (
        a_task(w, input=what, priority=priority, delay_ms=delay_ms)
        for what, priority, delay_ms in [
            ("fails", 4, None),
            ("leased", 3, None),
            ("early", 3, 600_000),
            ("lost", 3, 600_000),
            ("last", 1, None),
            ("unstarted", 0, None),
        ]
    )
    assert isinstance(claim(w.yard, leased, Lease("gone", START_MS + LEASE_MS, "a worker that dies")), Job)
    for job in (early, lost):  # SQS delivers early what nobody has claimed
        message_of(w, job).delayed_until = 0
    w.lose_record(lost)
    messages = take(w)
    back = consume(w.yard, messages, lambda: left_ms[0])
    assert len(back) == 5
    w.yard.transport.delete(messages)
    assert w.messages() == []
    assert runs == ["fails", "last"]

    w.honours_reports = False
    w.go_on()
    ended = [w.job(job.id) for job in (fails, leased, early, lost, last, unstarted)]
    assert [job.state for job in ended] == [State.SUCCESS] * 6
    assert [job.attempts for job in ended] == [2, 2, 1, 1, 1, 1]
    assert sorted(runs) == sorted(["fails", "fails", "leased", "early", "lost", "last", "unstarted"])
    assert all((job.started_at_ms or 0) >= job.due_at_ms for job in ended)


def test_a_leased_job_is_hidden_for_the_rest_of_its_lease(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None:
        raise AssertionError("another worker has it")

    using(w, handler)
    job = a_task(w)
    claim(w.yard, job, Lease("other", START_MS + 40_500, "other worker"))
    before = w.job(job.id)
    assert work(w) == [message_of(w, job).id]
    assert hidden_for_ms(w, job) == 42_000  # 40.5 s and a second, in whole seconds
    assert w.job(job.id) == before


def test_a_job_whose_last_attempt_vanished_is_a_dead_letter_without_running(w: World) -> None:
    @task("t", max_attempts=1)
    def handler(_: Any) -> None:
        raise AssertionError("there is no attempt left")

    using(w, handler)
    job = a_task(w)
    claim(w.yard, job, Lease("gone", START_MS + LEASE_MS, "a worker that dies"))
    w.clock.move(LEASE_MS + 1)
    assert work(w) == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error == JobError("LeaseLost", "the worker of the last attempt vanished, and no attempt is left")
    assert events_of(dead) == ["published", "started", "dead"]


def test_a_take_over_counts_on(w: World) -> None:
    seen: list[int] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        seen.append(context.attempt)

    using(w, handler)
    job = a_task(w)
    claim(w.yard, job, Lease("gone", START_MS + LEASE_MS, "a worker that dies"))
    w.clock.move(LEASE_MS + 1)
    work(w)
    assert seen == [2]
    assert events_of(w.job(job.id)) == ["published", "started", "recovered", "started", "succeeded"]


def test_a_job_that_keeps_moving_is_left_for_a_second(w: World) -> None:
    """Each time its claim is refused, and then the record says that it is free."""

    class Restless(JobStore):
        def claim(self, envelope: Job, *_: Any) -> Job:
            raise JobRefused("moved", self.find(envelope.id))

    @task("t")
    def handler(_: Any) -> None:
        raise AssertionError("nobody has claimed it")

    using(w, handler)
    job = a_task(w)
    w.yard = replace(w.yard, jobs=Restless(w.yard.jobs.table, w.yard.jobs.shards, w.yard.concurrency))
    assert work(w) == [message_of(w, job).id]
    assert hidden_for_ms(w, job) == 1_000
    assert w.job(job.id) == job


def test_a_lease_that_is_extended_at_that_very_moment_is_respected(w: World) -> None:
    """Between the refused claim, which saw it expired, and the take-over."""

    @task("t")
    def handler(_: Any) -> None:
        raise AssertionError("another worker has it")

    using(w, handler)
    job = a_task(w)
    claim(w.yard, job, Lease("busy", START_MS + LEASE_MS, "a slow worker"))
    w.clock.move(LEASE_MS + 1)

    def extend() -> None:
        w.yard.jobs.extend_lease(job.id, "busy", w.clock.ms + LEASE_MS)

    with before(w.yard.jobs.table.client, "UpdateItem", extend, number=2):
        assert work(w) == [message_of(w, job).id]
    running = w.job(job.id)
    assert (running.state, running.lease, running.attempts) == (State.RUNNING, "busy", 1)
    assert hidden_for_ms(w, job) == 61_000


# -- what nobody can read -----------------------------------------------------------------------------


def test_an_unreadable_message_is_one_dead_letter_and_the_batch_unharmed(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None: ...

    using(w, handler)
    message_id = foreign(w, '{"v": 1, "id": "x"}')
    good = a_task(w)
    assert work(w) == []
    (dead,) = [job for job in w.jobs() if job.id != good.id]
    assert (dead.state, dead.kind, dead.type, dead.max_attempts) == (State.FAILED, Kind.MESSAGE, "unreadable", 1)
    assert dead.error == JobError("Unreadable", "the SQS message was not written by Taskyard")
    assert events_of(dead) == ["published", "dead"]
    assert w.yard.payloads.body(dead) == {
        "input": {"messageId": message_id, "source": name_of(w), "text": '{"v": 1, "id": "x"}'}
    }
    assert w.job(good.id).state is State.SUCCESS
    assert w.messages() == []


def test_an_unreadable_message_is_buried_once_however_often_it_is_seen(w: World) -> None:
    using(w)
    foreign(w, "hello")
    messages = take(w)
    for _ in range(3):
        assert consume(w.yard, messages, lambda: 300_000) == []
    assert [job.type for job in w.jobs()] == ["unreadable"]


def test_a_long_unreadable_message_is_kept_in_part(w: World) -> None:
    using(w)
    foreign(w, "ü" * (KEPT_CHARS + 1))
    work(w)
    (dead,) = w.jobs()
    assert w.yard.payloads.body(dead)["input"]["text"] == "ü" * KEPT_CHARS


def test_an_unreadable_message_is_kept_however_small_payloads_must_be(w: World) -> None:
    w.yard = replace(w.yard, settings=replace(w.yard.settings, payload_max_bytes=2_000))
    using(w)
    foreign(w, "😀" * 1_000)  # nothing takes more room in ASCII JSON
    assert work(w) == []
    (dead,) = w.jobs()
    assert w.yard.payloads.body(dead)["input"]["text"] == "😀" * 71


def test_a_message_of_a_deleted_job_runs_nothing(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None: ...

    using(w, handler)
    job = a_task(w)
    text = message_of(w, job).body
    work(w)
    w.yard.jobs.delete(w.job(job.id), w.clock.ms // 1_000 + 100)
    foreign(w, text)
    assert work(w) == []
    assert w.jobs() == []
    assert w.messages() == []


def test_a_message_of_another_job_with_the_same_id_is_void(w: World) -> None:
    @task("t")
    def handler(_: Any) -> str:
        return "ours"

    using(w, handler)
    job = a_task(w)
    w.forget_messages()
    foreign(w, to_envelope(replace(job, uid="0" * 16)))
    assert work(w) == []
    assert w.job(job.id).state is State.PENDING
    assert w.messages() == []


def test_a_message_of_a_child_that_waits_is_void(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None:
        raise AssertionError("its parent has not succeeded")

    using(w, handler)
    parent = a_task(w, delay_ms=600_000)
    child = a_task(w, parent_id=parent.id)
    foreign(w, to_envelope(child))
    assert work(w) == []
    assert (w.job(child.id).state, w.job(child.id).blocked) == (State.PENDING, True)
    assert len(w.messages()) == 1


def test_an_older_delivery_is_void_and_a_newer_one_waits(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None: ...

    using(w, handler)
    job = a_task(w)
    newer = w.yard.jobs.resend(job, w.clock.ms, w.clock.ms + 20_000)
    w.forget_messages()
    foreign(w, to_envelope(job))
    assert work(w) == []
    assert w.messages() == []
    foreign(w, to_envelope(replace(newer, delivery=3)))
    assert len(work(w)) == 1
    assert hidden_for_ms(w, job) == 90_000
    assert w.job(job.id) == newer


# -- an SQS event -------------------------------------------------------------------------------------


def test_the_worker_reads_the_event_of_an_event_source_mapping(w: World) -> None:
    using(w)
    foreign(w, "text")
    url = url_of(w)
    answer = w.sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["ApproximateReceiveCount"])
    (message,) = received(sqs_event(name_of(w), answer["Messages"]))
    assert message == Received(
        source=name_of(w),
        message_id=answer["Messages"][0]["MessageId"],
        receipt=answer["Messages"][0]["ReceiptHandle"],
        text="text",
        receive_count=1,
    )


def test_children_start_when_their_parent_has_succeeded(w: World) -> None:
    ran = itertools.count()
    order: dict[int, int] = {}

    @task("t")
    def handler(_: Any, context: Context) -> None:
        order[context.job.id] = next(ran)

    using(w, handler)
    parent = a_task(w)
    children = [a_task(w, parent_id=parent.id) for _ in range(3)]
    assert [job.id for job in envelopes(w)] == [parent.id]
    work(w)
    assert sorted(job.id for job in envelopes(w)) == [child.id for child in children]
    work(w)
    assert min(order.values()) == order[parent.id]
    for child in children:
        done = w.job(child.id)
        assert (done.state, done.blocked, done.delivery) == (State.SUCCESS, False, 2)

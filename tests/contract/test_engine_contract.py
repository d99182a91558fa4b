"""The engine's contract: whole lives of jobs, on each backend's own tables, queues, objects and change stream."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from chalicelib import aws
from chalicelib.core.decisions import REQUEUES_MAX, Ack, Nack, Succeeded
from chalicelib.core.errors import Conflict, TaskyardError
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.job_documents import from_envelope, to_envelope
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.projection import Group, Measure
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.core.waking import HANDOVER_MS, UNSENT_GRACE_MS
from chalicelib.engine.clock.due import STALE_AFTER_MS
from chalicelib.engine.clock.leases import LEASE_REPAIR_GRACE_MS
from chalicelib.engine.clock.schedules import hand_over_slots
from chalicelib.engine.clock.tick import tick
from chalicelib.engine.commands import lifecycle, schedules
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling import poll
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.publish.slots import AHEAD_MS
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.engine.worker.settle import settle
from chalicelib.functions import dead_letters, projector
from chalicelib.queue.contract import Received
from chalicelib.store.attribute_values import from_attribute_values
from chalicelib.store.job_items import decoded
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.ledger import JobRefused
from chalicelib.store.schedules import DUE_SHARDS
from chalicelib.store.table import chunks
from chalicelib.store.transitions.running import Lease
from tests.support.backends import Ground
from tests.support.hands import Hands
from tests.support.lambda_shapes import StreamReader, Time, sqs_event, stream_event
from tests.support.ledger import parts_of
from tests.support.waiting import becomes, until
from tests.support.yards import Bench, events_of

NORMAL = (Band.NORMAL,)
HOUR_MS = 3_600_000
LEASE_MS = 60_000
numbers = itertools.count()


@pytest.fixture
def topic() -> str:
    """A topic, or pool, that no other test uses."""
    return f"engine.{next(numbers)}"


def message(topic: str, content: Any = None, **fields: Any) -> NewJob:
    return NewJob(kind=Kind.MESSAGE, type=topic, input=content if content is not None else {}, **fields)


def subscriber(topic: str, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """``function`` as a subscriber of a topic with one lane."""

    def handler(value: Any, context: Context) -> Any:
        return function(value, context)

    return subscribe(topic, lanes=NORMAL, **options)(handler)


def hands(bench: Bench, topic: str) -> Hands:
    return Hands(bench, Lane(topic, Band.NORMAL))


def failing(_value: Any, _context: Context) -> None:
    raise ValueError("no good")


def always() -> bool:
    return True


class TestManyAtOnce:
    """First of all, because moto copies whole tables for each action of a transaction."""

    def test_a_hundred_and_twenty(self, ground: Ground, topic: str) -> None:
        runs: Counter[int] = Counter()

        def count(value: Any, _context: Context) -> None:
            runs[value["n"]] += 1

        bench = ground.bench(subscriber(topic, count))
        worker = hands(bench, topic)
        new_jobs = [message(topic, {"n": n, "text": "x" * (500 if n % 3 == 0 else 1)}) for n in range(120)]

        published = publish_many(bench.yard, new_jobs)

        assert [bench.yard.payloads.body(job)["input"]["n"] for job in published if isinstance(job, Job)] == [
            *range(120)
        ]
        assert list(bench.yard.directory.open_outboxes(bench.clock.ms + HOUR_MS)) == []
        becomes(120, worker.depth)
        for _ in range(12):
            assert worker.work(10) == []
        assert runs == Counter(range(120))
        assert worker.depth() == 0

    def test_an_outbox_that_was_left_is_emptied_by_the_clock(
        self, ground: Ground, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench = ground.bench(subscriber(topic, lambda _value, _context: None))
        worker = hands(bench, topic)
        with monkeypatch.context() as broken:
            broken.setattr(type(bench.yard.transport), "send_many", lambda _self, outgoing: list(range(len(outgoing))))
            published = publish_many(bench.yard, [message(topic) for _ in range(3)])
        assert worker.depth() == 0
        (outbox,) = bench.yard.directory.open_outboxes(bench.clock.ms + HOUR_MS)
        assert outbox.job_ids == [job.id for job in published if isinstance(job, Job)]

        bench.clock.move(UNSENT_GRACE_MS + 1)
        assert tick(bench.yard, always)["outboxes_sent"] == 3
        assert list(bench.yard.directory.open_outboxes(bench.clock.ms + HOUR_MS)) == []
        assert worker.work(3) == []

    def test_what_cannot_be_accepted_is_told_at_its_place(self, ground: Ground, topic: str) -> None:
        bench = ground.bench()
        results = publish_many(bench.yard, [message(topic), message(topic, priority=5_000), message(topic)])
        assert [isinstance(result, TaskyardError) for result in results] == [False, True, False]

    def test_eight_requests_with_one_key_are_one_job(self, ground: Ground, topic: str) -> None:
        bench = ground.bench(subscriber(topic, lambda _value, _context: None))
        worker = hands(bench, topic)
        new_job = message(topic, {"n": 1}, idempotency_key=topic)

        with ThreadPoolExecutor(ground.threads()) as pool:
            jobs = list(pool.map(lambda _: publish(bench.yard, new_job), range(8)))

        assert len({job.id for job in jobs}) == 1
        becomes(1, worker.depth)
        assert publish(bench.yard, new_job).id == jobs[0].id
        with pytest.raises(Conflict):
            publish(bench.yard, replace(new_job, input={"n": 2}))
        bench.clock.move(bench.yard.settings.idempotency_ttl_s * 1_000 + 1_000)
        assert publish(bench.yard, new_job).id != jobs[0].id


class TestOneLife:
    @pytest.mark.parametrize("size", [0, 1_000, 300_000], ids=["inline", "item", "object"])
    def test_published_worked_on_and_settled(self, ground: Ground, topic: str, size: int) -> None:
        seen: list[tuple[Any, int]] = []

        def work(value: Any, context: Context) -> Any:
            seen.append((value, context.attempt))
            return {"echo": value}

        bench = ground.bench(subscriber(topic, work))
        worker = hands(bench, topic)
        content = {"n": 1, "text": "ü" * (size // 6)}
        published = publish(bench.yard, message(topic, content, options={"o": 1}))
        assert worker.job(published) == published
        assert (published.state, published.attempts, events_of(published)) == (State.PENDING, 0, ["published"])
        worker_name, start_ms = bench.yard.worker_name, bench.clock.ms
        bench.clock.move(5)

        assert worker.work() == []

        job = worker.job(published)
        assert seen == [(content, 1)]
        assert job == replace(
            published,
            state=State.SUCCESS,
            attempts=1,
            lease=job.lease,
            worker=worker_name,
            updated_at_ms=start_ms + 5,
            started_at_ms=start_ms + 5,
            first_started_at_ms=start_ms + 5,
            completed_at_ms=start_ms + 5,
            output=job.output,
            output_at=job.output_at,
            trace=(*published.trace, f'{start_ms + 5} started {{"by":"{worker_name}"}}', f"{start_ms + 5} succeeded"),
        )
        assert bench.yard.payloads.output(job) == {"echo": content}
        assert bench.yard.payloads.body(job) == {"input": content, "options": {"o": 1}}
        places = {0: (None, None), 1_000: ("item", f"output#{job.lease}")}
        assert (job.body_at, job.output_at) == places.get(
            size, (f"s3:bodies/{job.id}/{job.uid}.json", f"s3:outputs/{job.id}/{job.lease}.json")
        )
        becomes(0, worker.depth)

    def test_a_record_that_was_lost_is_made_by_the_claim(self, ground: Ground, topic: str) -> None:
        bench = ground.bench(subscriber(topic, lambda value, _: value))
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic, {"text": "x" * 1_000}))
        for part in parts_of(bench.yard, published.id):
            bench.yard.jobs.table.delete({"job": published.id, "part": part})

        assert worker.work() == []

        job = worker.job(published)
        assert (job.state, job.uid, events_of(job)) == (
            State.SUCCESS,
            published.uid,
            ["published", "started", "succeeded"],
        )
        assert bench.yard.payloads.body(job) == {"input": {"text": "x" * 1_000}}
        assert bench.yard.payloads.output(job) == {"text": "x" * 1_000}

    def test_a_settled_job_that_is_delivered_again_runs_nothing(self, ground: Ground, topic: str) -> None:
        runs: list[int] = []
        bench = ground.bench(subscriber(topic, lambda _value, context: runs.append(context.attempt)))
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic))
        twin = worker.take()
        assert worker.run(twin) == []
        before = worker.job(published)

        bench.yard.transport.client.send_message(
            QueueUrl=bench.yard.transport.client.get_queue_url(QueueName=worker.source)["QueueUrl"],
            MessageBody=twin[0].text,
        )
        assert worker.work() == []

        assert runs == [1]
        assert worker.job(published) == before
        becomes(0, worker.depth)

    def test_a_task_of_a_pool(self, ground: Ground, topic: str) -> None:
        @task(topic, pool=topic, lanes=NORMAL)
        def double(value: Any) -> Any:
            return value * 2

        bench = ground.bench(double)
        worker = hands(bench, topic)
        published = publish(bench.yard, NewJob(kind=Kind.TASK, type=topic, input=21))
        worker.work()
        assert bench.yard.payloads.output(worker.job(published)) == 42

    def test_a_manual_task_sends_nothing(self, ground: Ground, topic: str) -> None:
        bench = ground.bench()
        new_job = NewJob(kind=Kind.TASK, type=topic, input=1, runner=MANUAL)
        before = bench.yard.transport.depth(bench.yard.transport.source_of(Lane("default", Band.NORMAL)))
        published = publish(bench.yard, new_job)
        assert bench.job(published.id).state is State.PENDING
        assert bench.yard.transport.depth(bench.yard.transport.source_of(Lane("default", Band.NORMAL))) == before

    def test_larger_priorities_run_first_whatever_came_first(self, ground: Ground, topic: str) -> None:
        order: list[int] = []
        bench = ground.bench(subscriber(topic, lambda value, _: order.append(value)))
        worker = hands(bench, topic)
        for priority in (0, 3, -5, 20, 3):
            publish(bench.yard, message(topic, priority, priority=priority))
            bench.clock.move(1)
        worker.work(5)
        assert order == [20, 3, 3, 0, -5]


class TestFailure:
    def test_backoff_retry_dead_letter_and_replay(self, ground: Ground, topic: str) -> None:
        runs: list[int] = []

        def flaky(_value: Any, context: Context) -> str:
            runs.append(context.job.id)
            if context.job.replay_of is None:
                raise ValueError("no good")
            return "fine now"

        bench = ground.bench(subscriber(topic, flaky))
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic, {"n": 1}, options={"o": 2}, priority=3))

        back = worker.work()
        job = worker.job(published)
        assert back == [worker.hidden[0].message_id]
        assert (job.state, job.attempts, job.failures) == (State.PENDING, 1, 1)
        assert job.due_at_ms == bench.clock.ms + 1_000
        assert worker.look() == []

        assert worker.again(999) == [worker.hidden[0].message_id]  # a moment too soon
        assert len(runs) == 1

        assert len(worker.again(1)) == 1
        job = worker.job(published)
        assert (job.state, job.attempts, job.due_at_ms) == (State.PENDING, 2, bench.clock.ms + 2_000)

        assert worker.again(2_000) == []
        dead = worker.job(published)
        assert runs == [published.id] * 3
        assert (dead.state, dead.attempts, dead.failures, dead.completed_at_ms) == (
            State.FAILED,
            3,
            3,
            bench.clock.ms,
        )
        assert dead.error is not None
        assert (dead.error.type, dead.error.message) == ("ValueError", "no good")
        assert (dead.error.where or "").startswith("test_engine_contract.py:")
        assert events_of(dead) == ["published", "started", "failed", "started", "failed", "started", "dead"]
        becomes(0, worker.depth)

        successor = lifecycle.replay(bench.yard, dead.id)
        assert (successor.replay_of, successor.priority, successor.max_attempts) == (dead.id, 3, 3)
        assert successor.trace_id != dead.trace_id
        worker.work()
        done = worker.job(successor)
        assert (done.state, done.wake_at_ms) == (State.SUCCESS, None)
        assert events_of(done) == ["replayed", "started", "succeeded"]
        assert bench.yard.payloads.body(done) == {"input": {"n": 1}, "options": {"o": 2}}
        replayed = worker.job(published)
        assert (replayed.state, replayed.replayed_as, replayed.replayed_at_ms) == (
            State.FAILED,
            successor.id,
            bench.clock.ms,
        )
        with pytest.raises(Conflict):
            lifecycle.replay(bench.yard, dead.id)
        with pytest.raises(Conflict):
            lifecycle.retry(bench.yard, dead.id, Kind.MESSAGE)

    def test_a_rejected_job_is_not_tried_again(self, ground: Ground, topic: str) -> None:
        def reject(_value: Any, _context: Context) -> None:
            raise Reject("never")

        bench = ground.bench(subscriber(topic, reject))
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic))
        assert worker.work() == []
        assert (worker.job(published).state, worker.job(published).attempts) == (State.FAILED, 1)

    def test_an_explicit_retry_runs_it_again(self, ground: Ground, topic: str) -> None:
        runs: list[int] = []

        def once(_value: Any, context: Context) -> None:
            runs.append(context.job.attempts)
            if len(runs) == 1:
                raise Reject("not yet")

        bench = ground.bench(subscriber(topic, once))
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic))
        worker.work()
        bench.clock.move(1_000)
        lifecycle.retry(bench.yard, published.id, Kind.MESSAGE)
        worker.work()
        job = worker.job(published)
        assert (job.state, job.delivery, job.error, job.failures, runs) == (State.SUCCESS, 2, None, 0, [1, 2])
        assert events_of(job) == ["published", "started", "dead", "retried", "started", "succeeded"]

    def test_a_wait_beyond_sqs_is_sent_again_by_the_clock(self, ground: Ground, topic: str) -> None:
        attempts: list[int] = []

        def twice(_value: Any, context: Context) -> None:
            attempts.append(context.attempt)
            if context.attempt == 1:
                raise ValueError("later")

        bench = ground.bench(subscriber(topic, twice, backoff=Fixed(HOUR_MS)))
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic))
        assert worker.work() == []  # this message ends here
        becomes(0, worker.depth)
        waiting = worker.job(published)
        due_ms = bench.clock.ms + HOUR_MS
        assert (waiting.due_at_ms, waiting.wake_at_ms, waiting.delivery) == (due_ms, due_ms - HANDOVER_MS, 2)

        bench.clock.ms = due_ms
        becomes(True, lambda: tick(bench.yard, always)["due_sent"] >= 1 or worker.depth() == 1)
        worker.work()
        assert attempts == [1, 2]
        assert worker.job(published).state is State.SUCCESS


class TestAWorkerThatVanished:
    def abandoned(self, bench: Bench, topic: str, **fields: Any) -> tuple[Hands, Job, list[Received]]:
        """A job that a worker has claimed and never settled, and its message in hand."""
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic, **fields))
        taken = worker.take()
        lease = Lease(bench.yard.token(), bench.clock.ms + LEASE_MS, "w-vanished")
        job = claim(bench.yard, from_envelope(taken[0].text), lease)
        assert isinstance(job, Job)
        assert job.id == published.id
        worker.hidden = taken
        return worker, job, taken

    def test_its_job_is_taken_over_when_the_lease_has_run_out(self, ground: Ground, topic: str) -> None:
        runs: list[int] = []
        bench = ground.bench(subscriber(topic, lambda _value, context: runs.append(context.attempt)))
        worker, lost, taken = self.abandoned(bench, topic)

        assert worker.again(LEASE_MS) == [taken[0].message_id]  # at its end, the lease still holds
        assert runs == []
        assert worker.again(1) == []

        job = worker.job(lost)
        assert runs == [2]
        assert (job.state, job.attempts, job.failures) == (State.SUCCESS, 2, 0)
        assert events_of(job) == ["published", "started", "recovered", "started", "succeeded"]
        with pytest.raises(JobRefused):
            settle(bench.yard, lost, Succeeded("1"))
        assert worker.job(lost) == job

    def test_after_the_last_attempt_it_is_a_dead_letter(self, ground: Ground, topic: str) -> None:
        runs: list[int] = []
        bench = ground.bench(subscriber(topic, lambda _value, context: runs.append(context.attempt)))
        worker, lost, _ = self.abandoned(bench, topic, max_attempts=1)
        assert worker.again(LEASE_MS + 1) == []
        job = worker.job(lost)
        assert runs == []
        assert job.error is not None
        assert (job.state, job.error.type) == (State.FAILED, "LeaseLost")
        becomes(0, worker.depth)

    def test_the_clock_sends_what_sqs_does_not_redeliver(self, ground: Ground, topic: str) -> None:
        runs: list[int] = []
        bench = ground.bench(subscriber(topic, lambda _value, context: runs.append(context.attempt)))
        worker, lost, taken = self.abandoned(bench, topic)
        bench.yard.transport.delete(taken)
        bench.clock.move(LEASE_MS + LEASE_REPAIR_GRACE_MS + 1)

        def recovered() -> bool:
            tick(bench.yard, always)
            return worker.job(lost).delivery == 2

        until(recovered)
        worker.work()
        job = worker.job(lost)
        assert (job.state, runs, job.wake_at_ms) == (State.SUCCESS, [2], None)
        assert events_of(job) == ["published", "started", "recovered", "started", "succeeded"]

    def test_of_eight_claims_at_once_one_succeeds(self, ground: Ground, topic: str) -> None:
        bench = ground.bench(subscriber(topic, failing))
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic))
        envelope = from_envelope(worker.take()[0].text)

        def attempt(number: int) -> Job | Ack | Nack:
            return claim(bench.yard, envelope, Lease(f"{number:016d}", bench.clock.ms + LEASE_MS, f"w-{number}"))

        with ThreadPoolExecutor(ground.threads()) as pool:
            verdicts = list(pool.map(attempt, range(8)))
        (job,) = [verdict for verdict in verdicts if isinstance(verdict, Job)]
        assert all(isinstance(verdict, Nack) for verdict in verdicts if verdict is not job)
        ledger = worker.job(published)
        assert (ledger.attempts, ledger.lease) == (1, job.lease)
        assert events_of(ledger) == ["published", "started"]


class TestPolling:
    def test_taken_in_hand_and_completed(self, ground: Ground, topic: str) -> None:
        bench = ground.bench()
        jobs = {}
        for priority in (0, 12, -3, 11, 0):
            job = publish(bench.yard, message(topic, {"p": priority}, priority=priority))
            jobs[job.id] = job
            bench.clock.move(1)

        taken: list[Job] = []
        until(lambda: taken.extend(poll.poll(bench.yard, topic, 2, 30_000, "c-1")) or len(taken) >= 2)
        assert [job.priority for job in taken] == [12, 11]
        rest: list[Job] = []
        until(lambda: rest.extend(poll.poll(bench.yard, topic, 10, 30_000, "c-2")) or len(rest) >= 3)
        assert [job.priority for job in sorted(rest, key=lambda j: (-j.priority, j.created_at_ms))] == [0, 0, -3]
        assert {job.id for job in (*taken, *rest)} == set(jobs)
        assert poll.poll(bench.yard, topic, 10, 30_000, "c-3") == []

        for job in (*taken, *rest):
            assert (job.state, job.worker, job.lease_until_ms) == (
                State.RUNNING,
                "c-1" if job in taken else "c-2",
                bench.clock.ms + 30_000,
            )
            done = poll.complete(bench.yard, job.id)
            assert (done.state, done.receipt, done.source) == (State.SUCCESS, None, None)
            with pytest.raises(poll.NotLocked) as refused:
                poll.complete(bench.yard, job.id)
            assert refused.value.job == done
        for lane in bench.yard.directory.lanes_of(topic):
            source = bench.yard.transport.source_of(lane)
            becomes(0, lambda source=source: bench.yard.transport.depth(source))

    def test_failed_until_it_is_a_dead_letter(self, ground: Ground, topic: str) -> None:
        bench = ground.bench()
        published = publish(bench.yard, message(topic, max_attempts=2))
        lane = Hands(bench, Lane(topic, Band.NORMAL))

        (job,) = until(lambda: poll.poll(bench.yard, topic, 10, 30_000, "c-1"))
        held = Received(job.source or "", "", job.receipt or "", "")
        failed = poll.fail(bench.yard, job.id, "payment is down")
        assert (failed.state, failed.failures, failed.due_at_ms) == (State.PENDING, 1, bench.clock.ms + 1_000)
        assert poll.poll(bench.yard, topic, 10, 30_000, "c-1") == []
        with pytest.raises(poll.NotLocked):
            poll.fail(bench.yard, job.id, "twice")

        bench.clock.move(1_000)
        bench.yard.transport.hide([held], 0)
        (job,) = until(lambda: poll.poll(bench.yard, topic, 10, 30_000, "c-1"))
        assert job.attempts == 2
        dead = poll.fail(bench.yard, job.id, "payment is down")
        assert dead.error is not None
        assert (dead.id, dead.state, dead.error.message) == (published.id, State.FAILED, "payment is down")
        assert events_of(dead) == ["published", "started", "failed", "started", "dead"]
        becomes(0, lane.depth)

    def test_a_lock_that_ran_out_is_recovered_by_the_next_poll(self, ground: Ground, topic: str) -> None:
        bench = ground.bench()
        published = publish(bench.yard, message(topic))
        (first,) = until(lambda: poll.poll(bench.yard, topic, 10, 1_000, "c-1"))  # SQS shows it again in 1 s
        bench.clock.move(1_001)
        (second,) = until(lambda: poll.poll(bench.yard, topic, 10, 30_000, "c-2"))
        assert (second.id, second.attempts, second.worker) == (published.id, 2, "c-2")
        with pytest.raises(JobRefused):
            settle(bench.yard, first, Succeeded("1"))
        done = poll.complete(bench.yard, published.id)
        assert events_of(done) == ["published", "started", "recovered", "started", "succeeded"]

    def test_any_topic_can_be_polled(self, ground: Ground, topic: str) -> None:
        odd = f"{topic} заказ/创建 \U0001f4e6 {'x' * 300}"
        bench = ground.bench()
        published = publish(bench.yard, message(odd, {"text": "ünï"}))
        (job,) = until(lambda: poll.poll(bench.yard, odd, 1, 30_000, "c"))
        assert (job.id, job.type) == (published.id, odd)
        assert bench.yard.payloads.body(job) == {"input": {"text": "ünï"}}

    def test_a_topic_with_subscribers_is_not_polled(self, ground: Ground, topic: str) -> None:
        bench = ground.bench(subscriber(topic, failing))
        with pytest.raises(Conflict):
            poll.poll(bench.yard, topic, 1, 30_000, "c")


class TestLater:
    def test_a_delayed_job_comes_when_it_is_due(self, ground: Ground, topic: str) -> None:
        runs: list[int] = []
        bench = ground.bench(subscriber(topic, lambda _value, context: runs.append(context.attempt)))
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic, delay_ms=1_000))
        assert (published.start_at_ms, published.due_at_ms) == (bench.clock.ms + 1_000,) * 2
        assert worker.look() == []
        assert worker.depth() == 1

        assert len(worker.work()) == 1  # SQS's second is over, the ledger's is not
        assert runs == []
        assert worker.again(1_000) == []
        assert runs == [1]
        assert worker.job(published).state is State.SUCCESS

    def test_beyond_a_quarter_of_an_hour_the_clock_has_it(self, ground: Ground, topic: str) -> None:
        runs: list[int] = []
        bench = ground.bench(subscriber(topic, lambda _value, context: runs.append(context.attempt)))
        worker = hands(bench, topic)
        due_ms = bench.clock.ms + HOUR_MS
        published = publish(bench.yard, message(topic, due_at_ms=due_ms))
        assert (published.wake_at_ms, worker.depth()) == (due_ms - HANDOVER_MS, 0)

        bench.clock.ms = due_ms - HANDOVER_MS - 1
        tick(bench.yard, always)
        assert worker.depth() == 0

        bench.clock.ms += 1
        until(lambda: tick(bench.yard, always) and worker.depth() == 1)
        assert worker.job(published).wake_at_ms is None
        assert worker.look() == []  # SQS delays it for the remaining twelve minutes
        tick(bench.yard, always)
        assert worker.depth() == 1

    def test_what_was_not_sent_is_sent_by_the_clock(
        self, ground: Ground, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs: list[int] = []
        bench = ground.bench(subscriber(topic, lambda _value, context: runs.append(context.attempt)))
        worker = hands(bench, topic)
        new_job = message(topic, idempotency_key=topic)
        with monkeypatch.context() as broken:
            broken.setattr(type(bench.yard.transport), "send", lambda *_: None)
            broken.setattr(type(bench.yard.jobs), "sent", lambda *_: None)
            published = publish(bench.yard, new_job)
        assert worker.job(published).wake_at_ms == bench.clock.ms + UNSENT_GRACE_MS
        assert worker.depth() == 0

        bench.clock.move(UNSENT_GRACE_MS)
        until(lambda: tick(bench.yard, always) and worker.depth() == 1)
        worker.work()
        assert (runs, worker.job(published).wake_at_ms) == ([1], None)

    def test_before_sqs_forgets_it_is_sent_again(self, ground: Ground, topic: str) -> None:
        runs: list[int] = []
        bench = ground.bench(subscriber(topic, lambda _value, context: runs.append(context.attempt)))
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic))
        worker.take()  # and forgotten
        bench.clock.ms = (bench.clock.ms // HOUR_MS + 1) * HOUR_MS + STALE_AFTER_MS
        until(lambda: tick(bench.yard, always) and worker.job(published).delivery == 2)
        worker.work()
        assert (runs, worker.job(published).state) == ([1], State.SUCCESS)


class TestSchedules:
    def test_two_clocks_at_once_make_each_slot_once(self, ground: Ground, topic: str) -> None:
        first, second = (ground.bench(task(topic)(lambda _: None)) for _ in range(2))
        second.clock.ms = first.clock.ms
        slot_ms = first.clock.ms + AHEAD_MS
        new = partial(schedules.new, first.yard, kind=Kind.TASK, work={"type": topic}, at_ms=slot_ms)
        number = 25 * ground.threads(8)  # one after the other, two clocks do not meet
        made = [replace(new(name=f"{topic}.{each}"), next_ms=slot_ms) for each in range(number)]
        for few in chunks(made, 40):
            actions = [action for each in few for action in first.yard.schedules.changing(None, each)]
            first.yard.schedules.transact(actions)
        becomes(number, lambda: sum(1 for shard in range(DUE_SHARDS) for _ in first.yard.schedules.due(shard, slot_ms)))
        with ThreadPoolExecutor(ground.threads(2)) as pool:
            handed_over = list(pool.map(lambda bench: hand_over_slots(bench.yard, always), (first, second)))
        assert sum(handed_over) == number
        runs = [run for each in made for run in first.yard.schedules.runs(each.uid, None, 9)]
        assert [run.at_ms for run in runs] == [slot_ms] * number
        becomes({run.job_id for run in runs}, lambda: set(first.yard.lists.ids(JobQuery(Kind.TASK, topic))))


class TestChildrenAndCancelling:
    def test_a_child_starts_when_its_parent_has_succeeded(self, ground: Ground, topic: str) -> None:
        order: list[Any] = []

        @task(topic, pool=topic, lanes=NORMAL)
        def note(value: Any) -> None:
            order.append(value)

        bench = ground.bench(note)
        worker = hands(bench, topic)
        parent = publish(bench.yard, NewJob(kind=Kind.TASK, type=topic, input="parent"))
        child = publish(bench.yard, NewJob(kind=Kind.TASK, type=topic, input="child", parent_id=parent.id))
        assert child.blocked
        assert worker.depth() == 1
        worker.work()
        assert worker.job(parent).has_children
        worker.work()
        assert order == ["parent", "child"]
        assert worker.job(child).state is State.SUCCESS
        assert not worker.job(child).blocked

    def test_a_canceled_job_does_not_run(self, ground: Ground, topic: str) -> None:
        runs: list[int] = []
        bench = ground.bench(subscriber(topic, lambda _value, context: runs.append(context.attempt)))
        worker = hands(bench, topic)
        published = publish(bench.yard, message(topic))
        assert lifecycle.cancel(bench.yard, published.id, Kind.MESSAGE).state is State.CANCELED
        assert worker.work() == []
        assert (runs, worker.job(published).state) == ([], State.CANCELED)
        becomes(0, worker.depth)


class TestTheDeadLetterQueue:
    def dead_letter(self, bench: Bench, text: str) -> list[str]:
        """Let a text come out of the dead-letter queue; returns what came back."""
        name = bench.yard.settings.dead_letter_queue
        sqs = bench.yard.transport.client  # type: ignore[attr-defined]
        sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=text)
        messages = until(lambda: bench.yard.transport.receive(name, 10, 330, 1))
        response = dead_letters.handle(bench.yard, sqs_event(messages), Time())
        bench.yard.transport.delete(messages)
        return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]

    def test_a_job_that_never_started_goes_back_five_times(self, ground: Ground, topic: str) -> None:
        bench = ground.bench(subscriber(topic, failing))
        worker = hands(bench, topic)
        job = publish(bench.yard, message(topic))
        waits = []
        for requeue in range(1, REQUEUES_MAX + 1):
            assert self.dead_letter(bench, to_envelope(job)) == []
            job = worker.job(job)
            waits.append((job.due_at_ms - bench.clock.ms) // 60_000)
            assert (job.state, job.requeue_count, job.delivery, job.wake_at_ms) == (
                State.PENDING,
                requeue,
                requeue + 1,
                None,
            )
            becomes(1 + requeue, worker.depth)
            bench.clock.ms = job.due_at_ms
        assert waits == [2, 4, 8, 15, 15]

        assert self.dead_letter(bench, to_envelope(job)) == []

        dead = worker.job(job)
        assert dead.error is not None
        assert (dead.state, dead.error.type) == (State.FAILED, "NeverStarted")
        assert events_of(dead) == ["published", *["requeued"] * 5, "dead"]

    def test_what_is_void_goes_nowhere(self, ground: Ground, topic: str) -> None:
        bench = ground.bench(subscriber(topic, lambda _value, _context: None))
        worker = hands(bench, topic)
        job = publish(bench.yard, message(topic))
        worker.work()
        before = worker.job(job)
        assert self.dead_letter(bench, to_envelope(job)) == []
        assert worker.job(job) == before
        becomes(0, worker.depth)

    def test_what_nobody_can_read_becomes_one_dead_letter(self, ground: Ground) -> None:
        bench = ground.bench()
        text = f"not ours: {bench.yard.token()}"
        assert self.dead_letter(bench, text) == []
        found = [job for job in self.unreadable(bench) if bench.yard.payloads.body(job)["input"]["text"] == text]
        assert [(job.state, events_of(job)) for job in found] == [(State.FAILED, ["published", "dead"])]

    @staticmethod
    def unreadable(bench: Bench) -> list[Job]:
        return until(lambda: bench.yard.lists.page(JobQuery(Kind.MESSAGE, "unreadable"), 0, 100).jobs)


class TestTheProjector:
    def test_counters_equal_the_ledger_however_often_the_stream_is_told(self, ground: Ground, topic: str) -> None:
        bench = ground.bench(
            subscriber(topic, lambda value, _: failing(value, _) if value["fails"] else None, max_attempts=2)
        )
        worker = hands(bench, topic)
        jobs = [publish(bench.yard, message(topic, {"fails": n % 2 == 0})) for n in range(6)]
        worker.work(6)
        worker.again(1_000)
        lifecycle.replay(bench.yard, jobs[0].id)
        lifecycle.cancel(bench.yard, publish(bench.yard, message(topic, {"fails": False})).id, Kind.MESSAGE)
        bench.yard.jobs.delete(worker.job(jobs[1]), 9_999_999_999)

        reader = StreamReader(bench.yard.settings.jobs_table)
        truth = ledger_counts(bench)
        ours = Group("message", topic, topic)
        assert truth[ours] == {State.SUCCESS: 2, State.FAILED: 3, State.CANCELED: 1, State.PENDING: 1}

        def drained() -> dict[Group, Counter[State]]:
            for shard, records in reader.read().items():
                self.deliver(bench, shard, records)
            return counted(bench)

        becomes(truth, drained)
        for shard, records in reader.seen.items():  # all of it once more, from the very beginning
            self.deliver(bench, shard, records, size=70)
        assert counted(bench) == truth

        start_ms = bench.clock.ms - 1_000
        minutes = bench.yard.insights.minutes(start_ms - start_ms % 60_000, bench.clock.ms + 1)
        amounts = sum((amounts for (group, _), amounts in minutes.items() if group == ours), Counter())
        assert {measure.value: amounts[measure] for measure in Measure if amounts[measure]} == {
            "backlog": 1,
            "published": 8,
            "started": 9,
            "succeeded": 3,
            "failed": 6,
            "dead": 3,
            "canceled": 1,
        }

    @staticmethod
    def deliver(bench: Bench, shard: str, records: list[dict[str, Any]], size: int = 20) -> None:
        """Records in batches, each delivered twice, and once more together with half of the one before."""
        table = bench.yard.settings.jobs_table
        for start in range(0, len(records), size):
            batch = records[start : start + size]
            for told in (batch, batch, records[max(0, start - size // 2) : start + size]):
                assert projector.handle(bench.yard, stream_event(table, shard, told), Time()) == {"state": {}}


def ledger_counts(bench: Bench) -> dict[Group, Counter[State]]:
    """How many jobs of each group are in each state, read from the table itself."""
    counts: dict[Group, Counter[State]] = {}
    pages = (
        aws.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=bench.yard.settings.jobs_table, ConsistentRead=True)
    )
    for item in itertools.chain.from_iterable(page["Items"] for page in pages):
        plain = from_attribute_values(item)
        job = decoded(plain) if plain["part"] == "state" else None
        if isinstance(job, Job):
            counts.setdefault(Group(job.kind.value, job.queue, job.type), Counter())[job.state] += 1
    return counts


def counted(bench: Bench) -> dict[Group, Counter[State]]:
    """The same as the counters have it, without zeros."""
    counters = {group: +states for group, states in bench.yard.insights.counters().items()}
    return {group: states for group, states in counters.items() if states}

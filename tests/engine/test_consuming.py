"""The worker: what runs, in which order, how it ends, and what becomes of the message."""

from __future__ import annotations

import itertools
import json
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job, JobError, to_envelope
from chalicelib.core.retry import Exponential, Fixed, Linear, Named
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import TRACE_MAX_EVENTS
from chalicelib.engine import keeper
from chalicelib.engine.claiming import claim
from chalicelib.engine.consuming import consume
from chalicelib.engine.context import Context, JobCanceled, LeaseLost, Reject
from chalicelib.engine.handlers import Registry, backoff, subscribe, task
from chalicelib.engine.lifecycle import cancel, retry
from chalicelib.engine.publish import Draft, publish
from chalicelib.engine.unreadable import KEPT_CHARS
from chalicelib.functions.events import received
from chalicelib.queue.contract import Received
from chalicelib.store.jobs import Lease
from tests.support.waiting import until
from tests.support.worlds import World, envelopes, sqs_event, wiped, world
from tests.support.yards import START_MS, events_of

LEASE_MS = 60_000
SILENT_S = 3_600.0  # a heartbeat that no test lives to see
QUICK_S = 0.002


@subscribe("news")
def reader(_: Any) -> None:
    raise AssertionError("every test brings its own")


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([reader]) as used:
        yield used


@pytest.fixture
def w(ground: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world without handlers, whose heartbeat only beats where a test says so."""
    monkeypatch.setattr(keeper, "TICK_S", SILENT_S)
    return wiped(ground)


@pytest.fixture
def beating(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat looks at the clock all the time."""
    monkeypatch.setattr(keeper, "TICK_S", QUICK_S)


# -- small words --------------------------------------------------------------------------------------


def using(w: World, *functions: Callable[..., Any]) -> None:
    """Deploy these handlers."""
    w.restart(Registry.of(functions))


def a_task(w: World, type: str = "t", **wishes: Any) -> Job:  # noqa: A002
    return publish(w.yard, Draft(kind=Kind.TASK, type=type, **wishes))


def a_message(w: World, **wishes: Any) -> Job:
    return publish(w.yard, Draft(kind=Kind.MESSAGE, type="news", **wishes))


def work(w: World, queue: str = "default", band: str = "normal") -> list[str]:
    """One batch to the worker; answers the ids of the messages that came back."""
    back = w.deliver_batch(name_of(w, queue, band))
    assert back is not None
    return back


def name_of(w: World, queue: str = "default", band: str = "normal") -> str:
    return w.yard.transport.source_of(next(lane for lane in lanes(w, queue) if lane.band == band))


def lanes(w: World, queue: str) -> list[Any]:
    from chalicelib.core.lanes import Lane

    return [Lane(queue, band) for band in w.registry.queues.get(queue, Registry().queues["default"])]


def take(w: World, queue: str = "default") -> list[Received]:
    """What SQS hands out of a lane now."""
    return w.yard.transport.receive(name_of(w, queue), 10, hide_s=330, wait_s=0)


def message_of(w: World, job: Job) -> Any:
    """The one message of a job, as SQS holds it."""
    (found,) = [message for message in w.messages() if json.loads(message.body)["id"] == job.id]
    return found


def hidden_for_ms(w: World, job: Job) -> int:
    return int(message_of(w, job).visible_at) - w.clock.ms


def stolen(w: World, job: Job) -> Job:
    """Another worker takes a running job over, after its lease has run out."""
    taken = claim(w.yard, job, Lease("other-lease", w.clock.ms + LEASE_MS, "other worker"))
    assert isinstance(taken, Job)
    return taken


# -- one run ------------------------------------------------------------------------------------------


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
    assert w.job(job.id).lease == running.lease


@pytest.mark.parametrize(
    ("wishes", "left_ms"), [({}, 292_000), ({"timeout_ms": 10_000}, 10_000), ({"timeout_ms": 0}, 292_000)]
)
def test_a_run_has_its_time_out_or_what_the_function_has_left(w: World, wishes: dict[str, Any], left_ms: int) -> None:
    """The function keeps 3 s for settling, and 5 s of grace for the handler to stop."""
    seen: list[int | None] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        seen.append(context.remaining_ms())

    using(w, handler)
    a_task(w, **wishes)
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


def test_a_batch_is_worked_on_by_priority_then_age(w: World) -> None:
    order: list[str] = []

    @task("t")
    def handler(name: str) -> None:
        order.append(name)

    using(w, handler)
    for name, priority in [("young", 2), ("urgent", 4), ("idle", 0)]:
        a_task(w, input=name, priority=priority)
        w.clock.move(10)
    w.clock.ms = START_MS - 1_000
    a_task(w, input="old", priority=2)
    w.clock.ms = START_MS + 1_000
    work(w)
    assert order == ["urgent", "old", "young", "idle"]


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
    w.sqs.send_message(QueueUrl=w.yard.transport._url(name_of(w)), MessageBody=message_of(w, job).body)
    assert work(w) == []
    assert runs == [job.id]
    assert w.messages() == []


def test_a_duplicate_of_a_job_that_waits_for_its_retry_waits_with_it(w: World) -> None:
    @task("t", backoff=Fixed(5_000))
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    w.sqs.send_message(QueueUrl=w.yard.transport._url(name_of(w)), MessageBody=message_of(w, job).body)
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
    assert (recorded.state, recorded.birth, recorded.wake_at_ms) == (State.PENDING, lost.birth, w.clock.ms + 90_000)
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
    assert all((job.first_started_at_ms or 0) >= job.due_at_ms for job in ended)


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


# -- failures -----------------------------------------------------------------------------------------


def test_a_failure_is_told_in_full(w: World) -> None:
    @task("t", backoff=Fixed(1_500))
    def handler(_: Any) -> None:
        w.clock.move(100)
        raise ValueError("no paper")

    using(w, handler)
    job = a_task(w)
    work(w)
    failed = w.job(job.id)
    assert (failed.state, failed.attempts, failed.failures) == (State.PENDING, 1, 1)
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("ValueError", "no paper")
    line = handler.__code__.co_firstlineno + 3
    assert failed.error.where == f"test_consuming.py:{line} handler"
    assert failed.due_at_ms == START_MS + 1_600
    assert failed.wake_at_ms == failed.due_at_ms + 90_000
    assert hidden_for_ms(w, job) == 2_000  # never early: whole seconds, rounded up
    assert events_of(failed) == ["published", "started", "failed"]
    assert failed.events[-1].detail == {"attempt": 1, "error": "no paper"}


def test_the_last_failure_is_a_dead_letter(w: World) -> None:
    @task("t", max_attempts=2, backoff=Fixed(0))
    def handler(_: Any) -> None:
        raise ValueError("no paper")

    using(w, handler)
    job = a_task(w)
    w.go_on()
    dead = w.job(job.id)
    assert (dead.state, dead.attempts, dead.failures) == (State.FAILED, 2, 2)
    assert dead.completed_at_ms == w.clock.ms
    assert events_of(dead) == ["published", "started", "failed", "started", "dead"]
    assert w.messages() == []


def waits_ms(w: World, job: Job, attempts: int) -> list[int]:
    """How long each retry of a job that always fails waits, in milliseconds."""
    found: list[int] = []
    for _ in range(attempts - 1):
        w.deliver()
        w.tick()
        found.append(w.job(job.id).due_at_ms - w.clock.ms)
        w.clock.ms = w.next_event_ms() or w.clock.ms
    return found


def test_a_message_is_retried_after_doubling_waits_up_to_a_minute(w: World) -> None:
    @subscribe("news", max_attempts=9)
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_message(w)
    assert waits_ms(w, job, 9) == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]


@pytest.mark.parametrize(
    ("declared", "wished", "waits"),
    [
        (None, None, [5_000, 10_000, 20_000, 40_000]),
        (Fixed(200), None, [200, 200, 200, 200]),
        (Fixed(200), Linear(3_000), [3_000, 6_000, 9_000, 12_000]),
        (None, Exponential(1_000, cap_ms=3_000), [1_000, 2_000, 3_000, 3_000]),
        (None, Named("squares"), [1_000, 4_000, 9_000, 16_000]),
        (None, Named("broken"), [1_000, 2_000, 4_000, 8_000]),  # a user's function must not stop the settling
    ],
)
def test_a_task_is_retried_by_its_own_or_its_handlers_backoff(
    w: World, declared: Any, wished: Any, waits: list[int]
) -> None:
    @task("t", max_attempts=5, backoff=declared)
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    @backoff("squares")
    def squares(number: int) -> float:
        return 1_000.0 * number**2

    @backoff("broken")
    def broken(number: int) -> float:
        raise ZeroDivisionError(number)

    using(w, handler, squares, broken)
    job = a_task(w, backoff=wished)
    assert waits_ms(w, job, 5) == waits


def test_a_retry_beyond_fifteen_minutes_waits_on_the_ledger(w: World) -> None:
    @task("t", backoff=Fixed(3_600_500))
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    assert w.messages() == []
    waiting = w.job(job.id)
    assert (waiting.state, waiting.delivery, waiting.due_at_ms) == (State.PENDING, 2, START_MS + 3_600_500)
    assert waiting.wake_at_ms == waiting.due_at_ms - 12 * 60_000
    w.clock.ms = waiting.wake_at_ms
    assert w.tick() == {"outboxes_sent": 0, "due_sent": 1, "leases_recovered": 0}
    assert message_of(w, job).delayed_until == w.clock.ms + 720_000


@pytest.mark.parametrize("seconds", [900, 901])
def test_fifteen_minutes_are_the_limit_of_hiding(w: World, seconds: int) -> None:
    @task("t", backoff=Fixed(seconds * 1_000))
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    assert len(work(w)) == (1 if seconds == 900 else 0)
    assert w.job(job.id).delivery == (1 if seconds == 900 else 2)


def test_reject_is_final(w: World) -> None:
    @task("t", max_attempts=50)
    def handler(_: Any) -> None:
        raise Reject("the address does not exist")

    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    assert (dead.error.type, dead.error.message) == ("Reject", "the address does not exist")


@pytest.mark.parametrize("error", [SystemExit(3), MemoryError("full"), RecursionError("deep"), StopIteration(1)])
def test_whatever_a_handler_raises_is_one_failed_attempt(w: World, error: BaseException) -> None:
    @task("t")
    def handler(what: str) -> None:
        if what == "bad":
            raise error

    using(w, handler)
    bad, good = a_task(w, input="bad", priority=1), a_task(w, input="good")
    assert len(work(w)) == 1
    failed = w.job(bad.id)
    assert (failed.state, failed.attempts) == (State.PENDING, 1)
    assert failed.error is not None
    assert failed.error.type == type(error).__name__
    assert w.job(good.id).state is State.SUCCESS


def test_a_dying_process_costs_only_the_job_it_hit(w: World) -> None:
    runs: list[str] = []

    class Killed(BaseException):
        pass

    @task("t")
    def handler(what: str, context: Context) -> None:
        runs.append(f"{what} {context.attempt}")
        if runs == ["a 1", "b 1"]:
            raise Killed

    using(w, handler)
    jobs = [a_task(w, input=what, priority=priority) for what, priority in (("a", 3), ("b", 2), ("c", 1))]
    with pytest.raises(Killed):
        work(w)
    assert threading.active_count() == 1  # the heartbeat is joined even then
    assert [w.job(job.id).state for job in jobs] == [State.SUCCESS, State.RUNNING, State.PENDING]
    w.go_on()
    assert runs == ["a 1", "b 1", "c 1", "b 2"] or runs == ["a 1", "b 1", "b 2", "c 1"]
    assert [w.job(job.id).attempts for job in jobs] == [1, 2, 1]
    assert w.clock.ms <= START_MS + LEASE_MS + 1_000  # back within one lease


def test_a_long_story_keeps_its_newest_events(w: World) -> None:
    @task("t", max_attempts=14, backoff=Fixed(0))
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    w.go_on()
    dead = w.job(job.id)
    assert (dead.state, dead.attempts, dead.failures) == (State.FAILED, 14, 14)
    assert len(dead.trace) == TRACE_MAX_EVENTS
    assert events_of(dead)[-4:] == ["started", "failed", "started", "dead"]
    assert dead.events[-1].detail["attempt"] == 14


# -- the handler and its input ------------------------------------------------------------------------


class Order(BaseModel):
    """A typed input."""

    number: int
    day: datetime | None = None


def test_a_typed_input_arrives_as_its_model(w: World) -> None:
    seen: list[Order] = []

    @subscribe("news")
    def handler(order: Order) -> None:
        seen.append(order)

    using(w, handler)
    a_message(w, input={"number": 7, "day": "2026-01-02T03:04:05Z"})
    work(w, "news")
    assert seen == [Order(number=7, day=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))]


def test_an_input_that_no_retry_can_mend_is_a_dead_letter_at_once(w: World) -> None:
    @subscribe("news", max_attempts=5)
    def handler(order: Order) -> None:
        raise AssertionError(order)

    using(w, handler)
    job = a_message(w, input={"number": "many"})
    assert work(w, "news") == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    assert dead.error.type == "InvalidInput"
    assert "input.number" in dead.error.message
    assert "many" in dead.error.message


@pytest.mark.parametrize("kind", list(Kind))
def test_a_job_whose_handler_is_gone_is_a_dead_letter_that_says_so(w: World, kind: Kind) -> None:
    @task("t")
    def handler(_: Any) -> None: ...

    @task("u")
    def other(_: Any) -> None: ...

    @subscribe("news")
    def listener(_: Any) -> None: ...

    using(w, handler, listener)
    job = a_task(w) if kind is Kind.TASK else a_message(w)
    name = name_of(w, job.queue)
    using(w, other)
    assert w.deliver_batch(name) == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    assert dead.error.type == "NoHandler"
    known = "u" if kind is Kind.TASK else "none"
    assert f"(known: {known})" in dead.error.message


def test_a_dead_letter_runs_once_its_handler_is_back(w: World) -> None:
    @task("t")
    def handler(_: Any) -> str:
        return "done"

    using(w, handler)
    job = a_task(w)
    using(w)
    work(w)
    using(w, handler)
    retry(w.yard, job.id, Kind.TASK)
    w.go_on()
    assert (w.job(job.id).state, w.job(job.id).output) == (State.SUCCESS, '"done"')
    assert events_of(w.job(job.id)) == ["published", "started", "dead", "retried", "started", "succeeded"]


# -- outputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "place"), [(298, "record"), (299, "output#"), (262_142, "output#"), (262_143, "s3:outputs/")]
)
def test_an_output_goes_where_it_fits(w: World, size: int, place: str) -> None:
    """300 bytes of JSON in the record, 256 KB beside it; the quotes of a text count."""

    @task("t")
    def handler(_: Any) -> str:
        return "x" * size

    using(w, handler)
    job = a_task(w)
    work(w)
    done = w.job(job.id)
    assert done.state is State.SUCCESS
    if place == "record":
        assert done.output == json.dumps("x" * size)
        assert done.output_at is None
    else:
        assert done.output is None
        assert (done.output_at or "").startswith(place)
        assert (done.lease or "?") in (done.output_at or "")  # a late worker writes elsewhere
    assert w.yard.payloads.output(done) == "x" * size


@pytest.mark.parametrize("value", [0, False, "", [], {}])
def test_empty_outputs_are_outputs(w: World, value: Any) -> None:
    @task("t")
    def handler(_: Any) -> Any:
        return value

    using(w, handler)
    job = a_task(w)
    work(w)
    assert w.job(job.id).output == json.dumps(value)


def test_a_pydantic_output_is_stored_as_json(w: World) -> None:
    @task("t")
    def handler(_: Any) -> Order:
        return Order(number=3, day=datetime(2026, 1, 2, tzinfo=UTC))

    using(w, handler)
    job = a_task(w)
    work(w)
    assert w.yard.payloads.output(w.job(job.id)) == {"number": 3, "day": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize("output", [object(), {1, 2}, float("nan"), {"a": float("inf")}, b"bytes"])
def test_an_output_that_is_no_json_is_a_dead_letter(w: World, output: Any) -> None:
    @task("t")
    def handler(_: Any) -> Any:
        return output

    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    assert dead.error.type == "InvalidInput"
    assert "this output cannot be written as JSON" in dead.error.message


def test_an_output_above_the_limit_is_a_dead_letter(w: World) -> None:
    @task("t")
    def handler(_: Any) -> str:
        return "x" * 2_000

    w.yard = replace(w.yard, settings=replace(w.yard.settings, payload_max_bytes=1_024))
    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    assert dead.error.type == "TooLarge"
    assert "at most 1024 bytes" in dead.error.message
    assert "2002 bytes" in dead.error.message


# -- several subscribers ------------------------------------------------------------------------------


def test_a_retry_calls_only_the_subscribers_that_failed(w: World) -> None:
    calls: list[str] = []

    @subscribe("news", max_attempts=3, backoff=Fixed(1_000))
    def steady(_: Any) -> str:
        calls.append("steady")
        return "from steady"

    @subscribe("news", max_attempts=3)
    def shaky(_: Any, context: Context) -> str:
        calls.append(f"shaky {context.attempt}")
        if context.attempt < 3:
            raise RuntimeError("no")
        return "from shaky"

    @subscribe("news", max_attempts=3)
    def third(_: Any) -> None:
        calls.append("third")

    using(w, steady, shaky, third)
    job = a_message(w)
    work(w, "news")
    assert calls == ["steady", "shaky 1", "third"]  # one that fails does not stop the others
    assert w.job(job.id).succeeded_subscribers == (
        f"{__name__}.test_a_retry_calls_only_the_subscribers_that_failed.<locals>.steady",
        f"{__name__}.test_a_retry_calls_only_the_subscribers_that_failed.<locals>.third",
    )
    w.go_on()
    assert calls == ["steady", "shaky 1", "third", "shaky 2", "shaky 3"]
    done = w.job(job.id)
    assert (done.state, done.attempts, done.output) == (State.SUCCESS, 3, '"from shaky"')


def test_a_subscriber_that_overruns_does_not_make_the_others_run_again(w: World) -> None:
    calls: list[str] = []

    @subscribe("news", backoff=Fixed(1_000))
    def early(_: Any) -> None:
        calls.append("early")

    @subscribe("news")
    def shaky(_: Any, context: Context) -> None:
        calls.append(f"shaky {context.attempt}")
        if context.attempt == 1:
            raise RuntimeError("no")

    @subscribe("news")
    def slow(_: Any, context: Context) -> None:
        calls.append(f"slow {context.attempt}")
        if context.attempt <= 2:
            signal.pause()

    using(w, early, shaky, slow)
    job = a_message(w, timeout_ms=20)
    w.go_on()
    assert calls == ["early", "shaky 1", "slow 1", "shaky 2", "slow 2", "slow 3"]
    assert (w.job(job.id).state, w.job(job.id).attempts) == (State.SUCCESS, 3)


def test_one_reject_leaves_the_other_subscribers_their_retries(w: World) -> None:
    calls: list[str] = []

    @subscribe("news", backoff=Fixed(1_000))
    def picky(_: Any) -> None:
        calls.append("picky")
        raise Reject("not for me")

    @subscribe("news")
    def shaky(_: Any, context: Context) -> None:
        calls.append(f"shaky {context.attempt}")
        if context.attempt == 1:
            raise RuntimeError("no")

    using(w, picky, shaky)
    job = a_message(w)
    w.go_on()
    assert calls == ["picky", "shaky 1", "picky", "shaky 2"]
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 2)
    assert dead.error is not None
    assert dead.error.type == "Reject"


def test_the_most_generous_subscriber_decides_how_often(w: World) -> None:
    @subscribe("news", max_attempts=2)
    def few(_: Any) -> None: ...

    @subscribe("news", max_attempts=7)
    def many(_: Any) -> None: ...

    using(w, few, many)
    assert a_message(w).max_attempts == 7
    assert a_message(w, max_attempts=1).max_attempts == 1


# -- time-outs ----------------------------------------------------------------------------------------


def test_a_handler_that_overruns_is_interrupted_and_the_batch_unharmed(w: World) -> None:
    @task("t")
    def handler(what: str) -> str:
        if what == "slow":
            signal.pause()
        return what

    using(w, handler)
    slow, good = a_task(w, input="slow", priority=1, timeout_ms=20), a_task(w, input="good")
    before = signal.getsignal(signal.SIGALRM)
    assert work(w) == [message_of(w, slow).id]
    failed = w.job(slow.id)
    assert (failed.state, failed.attempts, failed.failures) == (State.PENDING, 1, 1)
    line = handler.__code__.co_firstlineno + 3
    assert failed.error == JobError("Timeout", "attempt 1 overran its time", f"test_consuming.py:{line} handler")
    assert w.job(good.id).output == '"good"'
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_handlers_own_except_does_not_swallow_the_interruption(w: World) -> None:
    @task("t")
    def handler(_: Any) -> str:
        while True:
            try:
                signal.pause()
            except Exception:  # noqa: S112
                continue

    using(w, handler)
    job = a_task(w, timeout_ms=20, max_attempts=1)
    work(w)
    assert w.job(job.id).state is State.FAILED
    assert (w.job(job.id).error or JobError("", "")).type == "Timeout"


def stubborn_world(w: World, **wishes: Any) -> Job:
    """A job whose handler swallows its interruption, and goes on until the process would have ended."""

    @task("t", backoff=Fixed(10_000))
    def handler(_: Any) -> str:
        try:
            signal.pause()
        except BaseException:  # noqa: BLE001, S110
            pass
        w.clock.move(20 + 5_000 + 1)  # the time-out and the grace have passed
        until(lambda: w.exits)
        return "too late"

    using(w, handler)
    return a_task(w, timeout_ms=20, **wishes)


@pytest.mark.usefixtures("beating")
def test_a_handler_that_will_not_stop_is_settled_and_the_process_ends(w: World) -> None:
    job = stubborn_world(w)
    work(w)
    assert w.exits == [70]
    failed = w.job(job.id)
    assert (failed.state, failed.attempts, failed.failures) == (State.PENDING, 1, 1)
    assert failed.error == JobError("Timeout", "attempt 1 overran its time and would not stop")
    assert failed.due_at_ms == START_MS + 5_021 + 10_000
    assert failed.output is None  # what it returned too late changes nothing
    assert hidden_for_ms(w, job) == 10_000


@pytest.mark.usefixtures("beating")
def test_the_last_attempt_that_will_not_stop_is_a_dead_letter(w: World) -> None:
    job = stubborn_world(w, max_attempts=1)
    work(w)
    assert w.exits == [70]
    assert (w.job(job.id).state, w.job(job.id).failures) == (State.FAILED, 1)
    assert w.job(job.id).output is None


@pytest.mark.usefixtures("beating")
def test_a_stuck_subscriber_does_not_make_the_others_run_again(w: World) -> None:
    calls: list[str] = []

    @subscribe("news", backoff=Fixed(1_000))
    def early(_: Any) -> None:
        calls.append("early")

    @subscribe("news")
    def stubborn(_: Any, context: Context) -> None:
        calls.append(f"stubborn {context.attempt}")
        if context.attempt == 1:
            try:
                signal.pause()
            except BaseException:  # noqa: BLE001, S110
                pass
            w.clock.move(5_021)
            until(lambda: w.exits)

    using(w, early, stubborn)
    job = a_message(w, timeout_ms=20)
    work(w, "news")
    assert len(w.job(job.id).succeeded_subscribers) == 1
    w.go_on()
    assert calls == ["early", "stubborn 1", "stubborn 2"]
    assert w.job(job.id).state is State.SUCCESS


# -- the heartbeat ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("beating")
def test_the_heartbeat_holds_every_message_and_the_running_job(w: World) -> None:
    seen: list[tuple[int, int, int]] = []

    @task("t")
    def handler(what: str, context: Context) -> None:
        if what != "second":
            return
        w.clock.move(20_000)  # a third of the lease
        until(lambda: w.job(context.job.id).lease_until_ms == START_MS + 20_000 + LEASE_MS)
        assert context.lease_until_ms == START_MS + 20_000 + LEASE_MS
        seen.append(tuple(hidden_for_ms(w, job) for job in (first, second, third)))

    using(w, handler)
    first, second, third = (
        a_task(w, input=what, priority=priority) for what, priority in (("first", 3), ("second", 2), ("third", 1))
    )
    assert work(w) == []
    assert seen == [(LEASE_MS, LEASE_MS, LEASE_MS)]  # the first has served, but the mapping has yet to delete it
    assert w.messages() == []
    assert threading.active_count() == 1


@pytest.mark.usefixtures("beating")
def test_the_heartbeat_leaves_alone_what_goes_back(w: World) -> None:
    @task("t", backoff=Fixed(300_000))
    def handler(what: str, context: Context) -> None:
        if what == "fails":
            raise RuntimeError("no")
        w.clock.move(20_000)
        until(lambda: w.job(context.job.id).lease_until_ms == START_MS + 20_000 + LEASE_MS)

    using(w, handler)
    fails, _ = a_task(w, input="fails", priority=1), a_task(w, input="succeeds")
    work(w)
    assert int(message_of(w, fails).visible_at) == START_MS + 300_000


@pytest.mark.usefixtures("beating")
def test_no_beat_before_a_third_of_the_lease(w: World) -> None:
    beats: list[int] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        context.hold = lambda: beats.append(w.clock.ms) or START_MS + LEASE_MS  # type: ignore[func-returns-value]
        w.clock.move(19_999)
        for _ in range(20):  # long enough for the thread to look at the clock many times
            threading.Event().wait(QUICK_S)
        assert beats == []
        w.clock.move(1)
        until(lambda: beats)

    using(w, handler)
    job = a_task(w)
    work(w)
    assert w.job(job.id).state is State.SUCCESS
    assert beats[0] == START_MS + 20_000


@pytest.mark.usefixtures("beating")
def test_a_cancellation_is_learnt_by_the_heartbeat(w: World) -> None:
    seen: list[str] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        cancel(w.yard, context.job.id, Kind.TASK)
        assert not context.cancelled
        w.clock.move(20_000)
        until(lambda: context.cancelled)
        try:
            context.progress(1)
        except JobCanceled as error:
            seen.append(str(error))
            raise

    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    assert seen == [f"job {job.id} is no longer this worker's"]
    canceled = w.job(job.id)
    assert (canceled.state, canceled.failures, canceled.progress) == (State.CANCELED, 0, None)
    assert w.messages() == []


@pytest.mark.parametrize("call", ["progress", "heartbeat"])
def test_a_cancellation_is_learnt_by_the_next_call(w: World, call: str) -> None:
    ends: list[type[BaseException]] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        cancel(w.yard, context.job.id, Kind.TASK)
        try:
            context.progress(1) if call == "progress" else context.heartbeat()
        except JobCanceled as error:
            ends.append(type(error))
            raise

    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    assert ends == [JobCanceled]
    assert w.job(job.id).state is State.CANCELED
    assert events_of(w.job(job.id)) == ["published", "started", "canceled"]


def test_a_cancellation_nobody_looks_at_voids_the_result(w: World) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> str:
        cancel(w.yard, context.job.id, Kind.TASK)
        return "done all the same"

    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    canceled = w.job(job.id)
    assert (canceled.state, canceled.output) == (State.CANCELED, None)


@pytest.mark.parametrize("void", ["canceled", "lost"])
def test_a_void_run_calls_no_further_subscriber(w: World, void: str) -> None:
    calls: list[str] = []

    @subscribe("news")
    def first(_: Any, context: Context) -> None:
        calls.append("first")
        if void == "canceled":
            cancel(w.yard, context.job.id, Kind.MESSAGE)
        else:
            w.clock.move(LEASE_MS + 1)
            stolen(w, context.job)
        context.progress(1)

    @subscribe("news")
    def second(_: Any) -> None:
        calls.append("second")

    using(w, first, second)
    a_message(w)
    work(w, "news")
    assert calls == ["first"]


# -- a worker that is late ----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["return", "raise", "reject", "large"])
def test_a_late_worker_changes_nothing(w: World, end: str) -> None:
    taken: list[Job] = []

    @task("t", max_attempts=2)
    def handler(_: Any, context: Context) -> str:
        w.clock.move(LEASE_MS + 1)
        taken.append(stolen(w, context.job))
        if end == "raise":
            raise RuntimeError("no")
        if end == "reject":
            raise Reject("no")
        return "x" * (5_000 if end == "large" else 5)

    using(w, handler)
    job = a_task(w)
    assert work(w) == [message_of(w, job).id]  # it may be the very message that the other one holds
    assert w.job(job.id) == taken[0]
    assert (taken[0].state, taken[0].attempts, taken[0].worker) == (State.RUNNING, 2, "other worker")


def test_a_late_worker_is_told_so(w: World) -> None:
    ends: list[type[BaseException]] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        w.clock.move(LEASE_MS + 1)
        other = stolen(w, context.job)
        for call in (lambda: context.progress(50), context.heartbeat):
            try:
                call()
            except LeaseLost as error:
                ends.append(type(error))
        assert context.cancelled
        assert w.job(context.job.id) == other

    using(w, handler)
    a_task(w)
    work(w)
    assert ends == [LeaseLost, LeaseLost]


def test_a_late_workers_message_goes_when_the_job_has_ended(w: World) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> str:
        w.clock.move(LEASE_MS + 1)
        other = stolen(w, context.job)
        w.yard.jobs.succeed(other, w.yard.payloads.store_output(other, '"theirs"'), w.clock.ms)
        return "ours"

    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    assert w.job(job.id).output == '"theirs"'


def test_an_explicit_heartbeat_gives_another_lease(w: World) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> None:
        w.clock.move(59_000)
        context.heartbeat()
        running = w.job(context.job.id)
        assert running.lease_until_ms == context.lease_until_ms == START_MS + 59_000 + LEASE_MS
        assert hidden_for_ms(w, job) == LEASE_MS
        w.clock.move(LEASE_MS)
        assert not running.lease_expired(w.clock.ms)

    using(w, handler)
    job = a_task(w)
    work(w)
    assert w.job(job.id).state is State.SUCCESS


# -- progress -----------------------------------------------------------------------------------------


def test_progress_is_on_the_ledger_at_once(w: World) -> None:
    seen: list[Any] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        w.clock.move(10)
        context.progress(1, 4, "first quarter", {"row": 17})
        seen.append(w.job(context.job.id))
        context.progress(4, 4)

    using(w, handler)
    job = a_task(w)
    work(w)
    (running,) = seen
    assert running.progress is not None
    assert (running.progress.current, running.progress.total, running.progress.percent) == (1, 4, 25.0)
    assert (running.progress.message, running.progress.data) == ("first quarter", '{"row":17}')
    assert running.updated_at_ms == START_MS + 10
    done = w.job(job.id)
    assert done.progress is not None
    assert (done.progress.percent, done.progress.message, done.progress.data) == (100.0, "", None)


def test_progress_keeps_the_record_small(w: World) -> None:
    seen: list[Job] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        context.progress(1, 2, "x" * 500, "y" * 398)
        seen.append(w.job(context.job.id))
        context.progress(1, 2, "", "y" * 399)
        seen.append(w.job(context.job.id))

    using(w, handler)
    a_task(w)
    work(w)
    within, beyond = (job.progress for job in seen)
    assert within is not None
    assert (within.message, within.data) == ("x" * 200, json.dumps("y" * 398))
    assert beyond is not None
    assert beyond.data == '{"omitted": "401 bytes"}'


def test_progress_data_that_is_no_json_is_refused(w: World) -> None:
    ends: list[str] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        try:
            context.progress(1, 2, "", object())
        except InvalidInput as error:
            ends.append(error.message)

    using(w, handler)
    job = a_task(w)
    work(w)
    assert ends == ["this progress data cannot be written as JSON"]
    assert (w.job(job.id).state, w.job(job.id).progress) == (State.SUCCESS, None)


# -- what nobody can read -----------------------------------------------------------------------------


def foreign(w: World, text: str) -> str:
    """Somebody else sends a text to the lane; answers its message id."""
    answer = w.sqs.send_message(QueueUrl=w.yard.transport._url(name_of(w)), MessageBody=text)
    return str(answer["MessageId"])


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


def test_a_message_of_a_deleted_job_runs_nothing(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None: ...

    using(w, handler)
    job = a_task(w)
    text = message_of(w, job).body
    work(w)
    w.yard.jobs.entomb(w.job(job.id), w.clock.ms // 1_000 + 100)
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
    foreign(w, to_envelope(replace(job, birth="0" * 16)))
    assert work(w) == []
    assert w.job(job.id).state is State.PENDING
    assert w.messages() == []


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
    url = w.yard.transport._url(name_of(w))
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
        assert (done.state, done.held, done.delivery) == (State.SUCCESS, False, 2)

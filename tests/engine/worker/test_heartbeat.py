"""While a handler runs: its time-out, the heartbeat, cancellation, the loss of its lease, progress."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job, JobError
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import cancel
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.worker.attempt import JobCanceled, LeaseLost
from chalicelib.engine.worker.consume import consume
from chalicelib.engine.worker.context import Context, Reject
from tests.support.steps import (
    LEASE_MS,
    a_message,
    a_task,
    before,
    counting,
    hidden_for_ms,
    message_of,
    name_of,
    stolen,
    take,
    using,
    work,
)
from tests.support.waiting import until
from tests.support.worlds import World
from tests.support.yards import START_MS, events_of

# -- the lease ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_ms", [300_000, -300_000])
def test_a_clock_that_the_first_answer_sets_right_makes_no_lease_of_the_wrong_time(w: World, off_ms: int) -> None:
    leases, off = [], [off_ms]

    @task("t")
    def handler(_: Any, context: Context) -> None:
        leases.append(w.job(context.job.id).lease_until_ms)

    using(w, handler)
    a_task(w)
    w.yard = replace(w.yard, now_ms=lambda: w.clock() + off[0])
    with before(w.yard.transport.client, "ChangeMessageVisibilityBatch", lambda: off.insert(0, 0)):
        work(w)
    assert leases == [START_MS + LEASE_MS]


@pytest.mark.parametrize(("left_ms", "hidden_anew"), [(LEASE_MS, 0), (31_000, 0), (30_000, 1), (-1_000, 1)])
def test_messages_that_are_hidden_for_long_enough_are_not_hidden_anew(w: World, left_ms: int, hidden_anew: int) -> None:
    leases = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        leases.append(context.lease_until_ms)

    using(w, handler)
    a_task(w)
    messages = w.yard.transport.receive(name_of(w), 10, hide_s=60, wait_s=0)
    with counting(w) as calls:
        assert consume(w.yard, messages, lambda: 300_000, w.clock.ms + left_ms) == []
    assert calls["ChangeMessageVisibilityBatch"] == hidden_anew
    assert leases == [w.clock.ms + (LEASE_MS if hidden_anew else left_ms)]


# -- time-outs ----------------------------------------------------------------------------------------


def test_a_handler_that_overruns_is_interrupted_and_the_batch_unharmed(w: World) -> None:
    @task("t")
    def handler(what: str) -> str:
        if what == "slow":
            signal.pause()
        return what

    using(w, handler)
    slow, good = a_task(w, input="slow", priority=1, timeout_ms=100), a_task(w, input="good")
    before = signal.getsignal(signal.SIGALRM)
    assert work(w) == [message_of(w, slow).id]
    failed = w.job(slow.id)
    assert (failed.state, failed.attempts, failed.failures) == (State.PENDING, 1, 1)
    line = handler.__code__.co_firstlineno + 3
    assert failed.error == JobError("Timeout", "attempt 1 overran its time", f"test_heartbeat.py:{line} handler")
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
    job = a_task(w, timeout_ms=100, max_attempts=1)
    work(w)
    assert w.job(job.id).state is State.FAILED
    assert (w.job(job.id).error or JobError("", "")).type == "Timeout"


def stubborn_world(w: World, **more: Any) -> Job:
    """A job whose handler swallows its interruption, and goes on until the process would have ended."""

    @task("t", backoff=Fixed(10_000))
    def handler(_: Any) -> str:
        with suppress(BaseException):
            signal.pause()
        w.clock.move(100 + 5_000 + 1)  # the time-out and the grace have passed
        until(lambda: w.exits)
        return "too late"

    using(w, handler)
    return a_task(w, timeout_ms=100, **more)


@pytest.mark.usefixtures("beating")
def test_a_handler_that_will_not_stop_is_settled_and_the_process_ends(w: World) -> None:
    job = stubborn_world(w)
    work(w)
    assert w.exits == [70]
    failed = w.job(job.id)
    assert (failed.state, failed.attempts, failed.failures) == (State.PENDING, 1, 1)
    assert failed.error == JobError("Timeout", "attempt 1 overran its time and would not stop")
    assert failed.due_at_ms == START_MS + 5_101 + 10_000
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
            with suppress(BaseException):
                signal.pause()
            w.clock.move(5_101)
            until(lambda: w.exits)

    using(w, early, stubborn)
    job = a_message(w, timeout_ms=100)
    work(w, "news")
    assert len(w.job(job.id).succeeded_subscribers) == 1
    w.go_on()
    assert calls == ["early", "stubborn 1", "stubborn 2"]
    assert w.job(job.id).state is State.SUCCESS


# -- the heartbeat ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("beating")
def test_the_heartbeat_holds_every_message_and_the_running_job(w: World) -> None:
    seen: list[tuple[int, ...]] = []

    @task("t")
    def handler(what: str, context: Context) -> None:
        if what != "second":
            return
        w.clock.move(20_000)  # a third of the lease
        until(lambda: context.lease_until_ms == START_MS + 20_000 + LEASE_MS)
        assert w.job(context.job.id).lease_until_ms == context.lease_until_ms
        seen.append(tuple(hidden_for_ms(w, job) for job in (first, second)))

    using(w, handler)
    first, second = (a_task(w, input=what, priority=priority) for what, priority in (("first", 3), ("second", 2)))
    assert work(w) == []
    assert seen == [(LEASE_MS, LEASE_MS)]  # the first has served, but the mapping has yet to delete it
    assert w.messages() == []
    assert "heartbeat" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.usefixtures("beating")
def test_a_long_job_shares_out_the_rest_of_its_batch(w: World) -> None:
    runs: list[str] = []
    elsewhere: list[str] = []

    @task("t")
    def handler(what: str) -> None:
        runs.append(what)
        if what == "long":
            w.clock.move(1_999)
            assert take(w) == []
            w.clock.move(1)
            until(lambda: hidden_for_ms(w, jobs[3]) == 0)
            w.clock.move(1)
            elsewhere.extend(message.message_id for message in take(w))

    using(w, handler)
    jobs = [
        a_task(w, input=what, priority=priority) for what, priority in (("short", 3), ("long", 2), ("a", 1), ("b", 0))
    ]
    shared = [message_of(w, job).id for job in jobs[2:]]
    assert work(w) == shared
    assert sorted(elsewhere) == sorted(shared)
    assert runs == ["short", "long"]
    assert [w.job(job.id).attempts for job in jobs] == [1, 1, 0, 0]
    w.go_on()
    assert sorted(runs) == ["a", "b", "long", "short"]
    assert [w.job(job.id).attempts for job in jobs] == [1, 1, 1, 1]


@pytest.mark.usefixtures("beating")
@pytest.mark.usefixtures("beating")
@pytest.mark.parametrize("part", ["hide", "extend_lease"])  # of SQS, of the ledger
def test_a_beat_that_failed_is_tried_again_after_two_seconds(w: World, part: str) -> None:
    whose = {"hide": type(w.yard.transport), "extend_lease": type(w.yard.jobs)}[part]
    refused = threading.Event()

    def refuse(*_: Any) -> None:
        refused.set()
        raise EndpointConnectionError(endpoint_url="https://aws.test")

    @task("t")
    def handler(_: Any, context: Context) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(whose, part, refuse)
            w.clock.move(20_000)
            until(refused.is_set)
        w.clock.move(2_000)
        until(lambda: context.lease_until_ms == START_MS + 22_000 + LEASE_MS)

    using(w, handler)
    job = a_task(w)
    work(w)
    assert w.job(job.id).state is State.SUCCESS


def test_what_could_not_be_shared_out_is_run_by_the_same_worker(w: World) -> None:
    runs: list[str] = []
    refused = threading.Event()

    def refuse(messages: Any, hide_s: int) -> None:
        del messages
        assert hide_s == 0
        refused.set()
        raise EndpointConnectionError(endpoint_url="https://aws.test")

    @task("t")
    def handler(what: str) -> None:
        runs.append(what)
        if what == "long":
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(type(w.yard.transport), "hide", lambda _, messages, hide_s: refuse(messages, hide_s))
                w.clock.move(2_000)
                until(refused.is_set)

    using(w, handler)
    for what, priority in (("long", 1), ("next", 0)):
        a_task(w, input=what, priority=priority)
    work(w)
    w.go_on()
    assert runs == ["long", "next"]


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
    checks: list[int] = []

    def clock() -> int:
        checks.append(w.clock.ms)
        return w.clock.ms

    @task("t")
    def handler(_: Any) -> None:
        w.clock.move(19_999)
        until(lambda: checks.count(START_MS + 19_999) > 10)
        assert beats == []
        w.clock.move(1)
        until(lambda: beats)

    using(w, handler)
    job = a_task(w)
    w.yard = replace(w.yard, now_ms=clock)
    with patch.object(Context, "extend_until", lambda _, until_ms: beats.append(until_ms - LEASE_MS)):
        work(w)
    assert w.job(job.id).state is State.SUCCESS
    assert beats == [START_MS + 20_000]


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


def test_no_job_is_claimed_under_a_lease_that_ran_out(w: World) -> None:
    """A handler that keeps the interpreter to itself keeps the heartbeat from beating."""
    leases: list[tuple[int | None, int]] = []

    @task("t")
    def handler(busy_ms: int, context: Context) -> None:
        leases.append(((w.job(context.job.id).lease_until_ms or 0) - w.clock.ms, hidden_for_ms(w, context.job)))
        w.clock.move(busy_ms)

    using(w, handler)
    for priority, busy_ms in [(4, 29_999), (3, 1), (2, 61_000), (1, 0)]:
        a_task(w, input=busy_ms, priority=priority)
    assert work(w) == []
    assert leases == [(60_000, 60_000), (30_001, 30_001), (60_000, 60_000), (60_000, 60_000)]
    assert [job.attempts for job in w.jobs()] == [1, 1, 1, 1]


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
    seen: list[tuple[bool, Job]] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        w.clock.move(LEASE_MS + 1)
        theirs.append(stolen(w, context.job))
        for call in (lambda: context.progress(50), context.heartbeat):
            try:
                call()
            except LeaseLost as error:
                ends.append(type(error))
        seen.append((context.cancelled, w.job(context.job.id)))

    theirs: list[Job] = []
    using(w, handler)
    a_task(w)
    work(w)
    assert ends == [LeaseLost, LeaseLost]
    assert seen == [(True, theirs[0])]


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
            ends.append(f"{error.field}: {error.message}")

    using(w, handler)
    job = a_task(w)
    work(w)
    assert ends == ["data: an object cannot be written as JSON"]
    assert (w.job(job.id).state, w.job(job.id).progress) == (State.SUCCESS, None)

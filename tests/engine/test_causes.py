"""What made a failure the last one: of every way in which a job becomes a dead letter, its cause."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import Context, HandlerTimeout, Reject, task
from chalicelib.core.causes import Cause
from chalicelib.core.job import MANUAL
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock.leases import LEASE_REPAIR_GRACE_MS
from chalicelib.engine.clock.tick import tick
from chalicelib.engine.commands.complete import Completion, complete
from chalicelib.engine.commands.lifecycle import retry
from chalicelib.engine.polling.poll import fail, poll
from chalicelib.engine.worker.claim import claim
from chalicelib.store.transitions.running import Lease
from tests.support.steps import LEASE_MS, a_message, a_task, foreign, using, work
from tests.support.worlds import World


def raising(error: Exception) -> Any:
    @task("t", max_attempts=1)
    def handler(_: Any) -> None:
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RuntimeError("no"), Cause.ATTEMPTS_USED_UP),
        (Reject("never"), Cause.REJECTED),
        (HandlerTimeout("too long", None), Cause.TIMED_OUT),
    ],
)
def test_what_a_handler_raises(w: World, error: Exception, cause: Cause) -> None:
    using(w, raising(error))
    job = a_task(w)
    work(w)
    dead = w.job(job.id)
    assert (dead.state, dead.cause) == (State.FAILED, cause)
    assert dead.events[-1].detail["cause"] == cause


def test_no_handler(w: World) -> None:
    using(w, raising(RuntimeError("never called")))
    job = a_task(w)
    using(w)
    work(w)
    assert w.job(job.id).cause is Cause.NO_HANDLER


def test_nobody_calls_back(w: World) -> None:
    @task("t", timeout_s=1)
    def handler(_: Any, context: Context) -> None:
        context.next()

    using(w, handler)
    job = a_task(w)
    work(w)
    w.clock.move(1_001)
    tick(w.yard, lambda: True)
    assert w.job(job.id).cause is Cause.TIMED_OUT


def test_the_worker_of_the_last_attempt_vanishes(w: World) -> None:
    using(w, raising(RuntimeError("never called")))
    job = a_task(w)
    claim(w.yard, job, Lease("0" * 16, w.clock.ms + LEASE_MS, "gone"))
    w.clock.move(LEASE_MS + LEASE_REPAIR_GRACE_MS + 1)
    tick(w.yard, lambda: True)
    assert w.job(job.id).cause is Cause.LEASE_LOST


def test_a_foreign_message(w: World) -> None:
    using(w, raising(RuntimeError("never called")))
    foreign(w, "no envelope")
    work(w)
    (dead,) = w.jobs()
    assert (dead.cause, dead.events[-1].detail["cause"]) == (Cause.MALFORMED, "malformed")


def test_a_consumer_or_a_person_says_so(w: World) -> None:
    message = a_message(w, "polled", max_attempts=1)
    (locked,) = poll(w.yard, "polled", 1, 5_000, "c")
    assert fail(w.yard, locked.id, "no stock", locked.lease).cause is Cause.CONSUMER
    assert w.job(message.id).state is State.FAILED
    task_of_a_person = a_task(w, "by.hand", runner=MANUAL)
    assert complete(w.yard, task_of_a_person.id, Completion(success=False)).cause is Cause.CONSUMER


def test_it_goes_with_an_explicit_retry(w: World) -> None:
    using(w, raising(RuntimeError("no")))
    job = a_task(w)
    work(w)
    assert retry(w.yard, job.id, Kind.TASK).cause is None

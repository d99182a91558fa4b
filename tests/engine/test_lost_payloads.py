"""A payload that is gone, is no JSON, or that AWS does not hand out now, concerns its own job and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import aws
from chalicelib.core.causes import Cause
from chalicelib.core.decisions import (
    SPARED_MAX,
    DeadLetter,
    Retry,
    Unread,
    after_attempt,
    unread_wait_ms,
)
from chalicelib.core.job import Job, JobError
from chalicelib.core.job_documents import to_envelope
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import replay
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.polling.poll import poll
from chalicelib.store.payloads import PayloadLost
from chalicelib.testing import cloud
from tests.support.ledger import job_of, place
from tests.support.steps import a_message, a_task, failing, foreign, using, work
from tests.support.worlds import World
from tests.support.yards import START_MS

LARGE = {"text": "x" * 300_000}
ran: list[Any] = []


@task("t")
def handler(what: Any) -> None:
    ran.append(what)


@pytest.fixture
def w(w: World) -> World:
    using(w, handler)
    ran.clear()
    return w


def lose_objects() -> None:
    for bucket in cloud.buckets().values():
        bucket.keys.clear()


def test_a_job_whose_body_is_gone_is_a_dead_letter_at_once_and_its_neighbour_runs(w: World) -> None:
    lost = a_task(w, input=LARGE)
    lose_objects()
    other = a_task(w, input=1)
    assert work(w) == []
    dead = w.job(lost.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    key = (lost.body_at or "").removeprefix("s3:")
    assert dead.error.type == "PayloadLost"
    assert dead.error.message.startswith(f"the body of job {lost.id} is gone from taskyard-local-objects/{key}")
    assert (w.job(other.id).state, ran) == (State.SUCCESS, [1])


@pytest.mark.parametrize("body", ["{", "[]", '"x"', "\x00"])
def test_an_envelope_whose_body_is_no_json_ends_its_job(w: World, body: str) -> None:
    job = job_of(w.yard, kind=Kind.TASK, type="t", queue="default", body=body)
    foreign(w, to_envelope(job))
    assert work(w) == []
    dead = w.job(job.id)
    assert (dead.state, dead.error and dead.error.type, ran) == (State.FAILED, "PayloadLost", [])


def test_a_body_that_is_not_handed_out_now_is_asked_for_later_and_costs_no_attempt(w: World) -> None:
    job = a_task(w, input=LARGE, max_attempts=1)
    other = a_task(w, input=1)
    with failing(aws.client("s3"), "GetObject"):
        assert len(work(w)) == 1
    waiting = w.job(job.id)
    assert (waiting.state, waiting.due_at_ms, waiting.failures) == (State.PENDING, START_MS + 5_000, 0)
    assert w.job(other.id).state is State.SUCCESS
    w.go_on()
    assert (w.job(job.id).state, ran) == (State.SUCCESS, [1, LARGE])


@given(st.integers(0, 10**6))
def test_it_is_asked_for_ever_less_often_and_not_for_ever(spared: int) -> None:
    assert 5_000 <= unread_wait_ms(spared) <= unread_wait_ms(spared + 1) <= 900_000
    job = Job(id=1, uid="b", kind=Kind.TASK, type="t", queue="q", created_at_ms=0, trace_id="t", max_attempts=1)
    job = replace(job, attempts=spared + 1, attempt_limit=spared + 1)
    error = JobError("PayloadUnread", "no")
    decided = after_attempt(job, Unread(error), 0, lambda _: 0)
    if spared < SPARED_MAX:
        assert decided == Retry(error, unread_wait_ms(spared), resend=False, charged=False)
    else:
        assert decided == DeadLetter(Cause.ATTEMPTS_USED_UP, error)


def test_a_poll_goes_on_without_what_it_cannot_read(w: World) -> None:
    lost = a_message(w, "notes", input=LARGE)
    lose_objects()
    late = a_message(w, "notes", input=LARGE)
    healthy = a_message(w, "notes", input=1, priority=4)  # first: there is room for two large ones
    with failing(aws.client("s3"), "GetObject"):
        assert [job.id for job in poll(w.yard, "notes", 10, 30_000, "client")] == [healthy.id]
    assert {w.job(job.id).state for job in (lost, late)} == {State.PENDING}
    found = []
    for _ in range(2):  # an answer has room for one large message at a time
        w.clock.move(6_000)
        found += poll(w.yard, "notes", 10, 30_000, "client")
    assert [job.id for job in found] == [late.id]
    assert (w.job(lost.id).state, w.job(late.id).failures) == (State.FAILED, 0)


def test_what_is_read_for_a_list_leaves_out_what_cannot_be_read(w: World) -> None:
    broken = place(w.yard, job_of(w.yard, body="{"))
    gone = place(w.yard, job_of(w.yard, body_at="item"))
    healthy = place(w.yard, job_of(w.yard, body='{"input":1}'))
    assert w.yard.payloads.bodies([broken, gone, healthy]) == {broken.id: None, gone.id: None, healthy.id: {"input": 1}}


def test_of_several_replays_one_that_has_lost_its_body_fails_alone(w: World) -> None:
    lost = place(w.yard, job_of(w.yard, type="notes", queue="notes", state=State.FAILED, body="{"))
    healthy = place(w.yard, job_of(w.yard, type="notes", queue="notes", state=State.FAILED, body='{"input":1}'))
    with pytest.raises(PayloadLost):
        replay(w.yard, lost.id)
    assert replay(w.yard, healthy.id).replay_of == healthy.id

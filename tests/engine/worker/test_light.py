"""Light handlers: what they cost, what they keep, and what takes the usual way all the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.batch import Batch
from chalicelib.core.causes import Cause
from chalicelib.core.decisions import LIGHT_EVENTS, runs_unclaimed
from chalicelib.core.errors import InvalidInput
from chalicelib.core.flow_controls import FlowControls, FlowTarget
from chalicelib.core.job import Job
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import TRACE_MAX_EVENTS
from chalicelib.engine.commands.lifecycle import cancel
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.worker.consume import consume
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.heartbeat import SHARE_AFTER_MS
from chalicelib.store.flow_settings import FlowSetting
from tests.support.steps import a_message, a_task, counting, failing, foreign, name_of, take, using, work
from tests.support.waiting import until
from tests.support.worlds import World
from tests.support.yards import START_MS, Exited, events_of


def light_echo(w: World) -> list[int]:
    """A light handler of the type "t" that returns its input; the ids of the jobs it was called for."""
    called: list[int] = []

    @task("t", light=True, backoff=Fixed(1_000), max_attempts=2)
    def echo(value: Any, context: Context) -> Any:
        called.append(context.job.id)
        if value == "fail":
            raise RuntimeError("no")
        if value == "progress":
            context.progress(1, 2, "half")
        return value

    using(w, echo)
    return called


def test_ten_successes_cost_one_read_and_one_transaction(w: World) -> None:
    called = light_echo(w)
    jobs = [a_task(w, input=number) for number in range(10)]
    w.clock.move(500)
    with counting(w) as calls:
        assert work(w) == []
    assert {name: calls[name] for name in ("BatchGetItem", "TransactWriteItems", "UpdateItem", "GetItem")} == {
        "BatchGetItem": 1,
        "TransactWriteItems": 1,
        "UpdateItem": 0,
        "GetItem": 0,
    }
    assert called == [job.id for job in jobs]
    assert w.messages() == []
    done = w.job(jobs[3].id)
    assert (done.state, done.output, done.attempts, done.failures) == (State.SUCCESS, "3", 1, 0)
    assert (done.started_at_ms, done.first_started_at_ms, done.completed_at_ms) == (START_MS + 500,) * 3
    assert done.worker == w.yard.worker_name
    assert (done.lease, done.lease_until_ms, done.error, done.wake_at_ms) == (None, None, None, None)
    assert events_of(done) == ["published", "started", "succeeded"]


def test_those_with_a_flow_key_are_among_them_unless_its_runs_are_bounded(w: World) -> None:
    light_echo(w)
    bounded = FlowTarget(Kind.TASK, "t", "bounded")
    w.yard.flow_settings.put(FlowSetting(bounded, FlowControls(concurrency=1), w.clock.ms))
    jobs = [a_task(w, input=key, flow_key=key) for key in ("bounded", "free", "free", "other")]
    with counting(w) as calls:
        assert work(w) == []
    assert calls["TransactWriteItems"] == 3  # the three of free keys together; the bounded one's claim, and its end
    assert [w.job(job.id).state for job in jobs] == [State.SUCCESS] * 4
    assert [w.job(job.id).lease is None for job in jobs] == [False, True, True, True]


def test_a_batch_is_one_call_and_those_that_fail_alone_are_claimed(w: World) -> None:
    called: list[list[Any]] = []

    @task("t", light=True, batch=Batch(max_size=10), backoff=Fixed(1_000))
    def echo(values: list[Any]) -> list[Any]:
        called.append(values)
        return [RuntimeError("no") if value == "fail" else value for value in values]

    using(w, echo)
    jobs = [a_task(w, input=value) for value in (1, "fail", 3)]
    with counting(w) as calls:
        work(w)
    assert called == [[1, "fail", 3]]
    assert {name: calls[name] for name in ("BatchGetItem", "TransactWriteItems", "UpdateItem")} == {
        "BatchGetItem": 1,
        "TransactWriteItems": 1,  # of both successes
        "UpdateItem": 2,  # the claim and the end of the failure
    }
    ended = [w.job(job.id) for job in jobs]
    assert [job.state for job in ended] == [State.SUCCESS, State.PENDING, State.SUCCESS]
    assert [(job.output, job.attempts, job.failures) for job in ended] == [("1", 1, 0), (None, 1, 1), ("3", 1, 0)]


def test_a_job_that_is_twice_in_a_batch_counts_once(w: World) -> None:
    @task("t", light=True, batch=Batch(max_size=10))
    def echo(values: list[Any]) -> list[Any]:
        return values

    using(w, echo)
    job = a_task(w, input=1)
    (message,) = take(w)
    consume(w.yard, [message, replace(message, message_id="again")], lambda: 60_000)
    ended = w.job(job.id)
    assert (ended.state, ended.output, ended.attempts) == (State.SUCCESS, "1", 1)


def test_a_failure_is_an_attempt_like_any_other_and_the_last_is_a_dead_letter(w: World) -> None:
    called = light_echo(w)
    job = a_task(w, input="fail")
    assert len(work(w)) == 1
    failed = w.job(job.id)
    assert (failed.state, failed.attempts, failed.failures) == (State.PENDING, 1, 1)
    w.go_on()
    dead = w.job(job.id)
    assert (dead.state, dead.attempts, dead.failures, dead.cause) == (State.FAILED, 2, 2, Cause.ATTEMPTS_USED_UP)
    assert called == [job.id] * 2


def test_what_was_canceled_before_its_batch_is_read_does_not_start(w: World) -> None:
    called = light_echo(w)
    job = a_task(w, input=1)
    cancel(w.yard, job.id, Kind.TASK)
    assert work(w) == []
    assert called == []
    assert w.job(job.id).state is State.CANCELED


def test_a_cancel_during_the_run_stands(w: World) -> None:
    @task("t", light=True)
    def handler(_: Any, context: Context) -> str:
        cancel(context.yard, context.job.id, Kind.TASK)
        return "too late"

    using(w, handler)
    job, other = a_task(w, input=1), a_task(w, type="t", input=2)
    assert work(w) == []
    assert [(w.job(each.id).state, w.job(each.id).output) for each in (job, other)] == [(State.CANCELED, None)] * 2


def test_those_that_a_transaction_refuses_do_not_keep_the_others(w: World) -> None:
    @task("t", light=True)
    def handler(value: Any, context: Context) -> Any:
        if value == "canceled":
            cancel(context.yard, context.job.id, Kind.TASK)
        return value

    using(w, handler)
    first, second, third = (a_task(w, input=value) for value in ("one", "canceled", "three"))
    assert work(w) == []
    states = [w.job(job.id).state for job in (first, second, third)]
    assert states == [State.SUCCESS, State.CANCELED, State.SUCCESS]


def test_a_run_that_needs_its_lease_claims_its_job_then(w: World) -> None:
    light_echo(w)
    job = a_task(w, input="progress")
    assert work(w) == []
    done = w.job(job.id)
    assert (done.state, done.attempts, done.output) == (State.SUCCESS, 1, '"progress"')
    assert done.lease is not None
    assert done.progress is not None
    assert (done.progress.current, done.progress.message) == (1, "half")


def test_a_large_output_is_stored_under_a_claim(w: World) -> None:
    light_echo(w)
    job = a_task(w, input="x" * 2_000)
    work(w)
    done = w.job(job.id)
    assert done.state is State.SUCCESS
    assert w.yard.payloads.output(done) == "x" * 2_000
    assert done.lease is not None


def test_a_task_with_a_follower_takes_the_usual_way(w: World) -> None:
    light_echo(w)
    job = a_task(w, input=1, next={"type": "t", "input": 2})
    work(w)
    w.go_on()
    assert w.job(job.id).lease is not None
    assert sorted(json.loads(each.output or "") for each in w.jobs()) == [1, 2]


def test_a_second_delivery_of_a_settled_job_runs_nothing(w: World) -> None:
    called = light_echo(w)
    job = a_task(w, input=1)
    (message,) = w.messages()
    body = message.body
    work(w)

    foreign(w, body)
    assert work(w) == []
    assert called == [job.id]


def test_a_worker_that_dies_costs_one_more_run_and_the_next_is_claimed(w: World) -> None:
    runs: list[int] = []

    @task("t", light=True, max_attempts=2)
    def handler(_: Any, context: Context) -> str:
        runs.append(context.attempt)
        if context.job.lease is None:
            raise Exited
        return "done"

    using(w, handler)
    job = a_task(w)
    assert w.deliver_batch(name_of(w)) is None
    assert (w.job(job.id).state, w.job(job.id).attempts) == (State.PENDING, 0)
    w.go_on()
    done = w.job(job.id)
    assert (done.state, done.attempts, runs) == (State.SUCCESS, 1, [1, 1])
    assert done.lease is not None


def test_a_job_that_always_kills_its_worker_ends_as_a_dead_letter(w: World) -> None:
    runs: list[bool] = []

    @task("t", light=True, max_attempts=2)
    def handler(_: Any, context: Context) -> None:
        runs.append(context.job.lease is None)
        raise Exited

    using(w, handler)
    job = a_task(w)
    w.go_on()
    assert (w.job(job.id).state, w.job(job.id).cause) == (State.FAILED, Cause.LEASE_LOST)
    assert runs == [True, False, False]


def test_the_record_that_a_publisher_lost_is_made_by_the_claim(w: World) -> None:
    called = light_echo(w)
    job = a_task(w, input=5)
    w.lose_record(job)
    assert w.yard.jobs.find(job.id) is None
    assert work(w) == []
    assert (w.job(job.id).state, w.job(job.id).output, called) == (State.SUCCESS, "5", [job.id])


@pytest.mark.parametrize("operation", ["BatchGetItem", "TransactWriteItems"])
def test_where_reading_or_recording_together_fails_each_is_claimed(w: World, operation: str) -> None:
    called = light_echo(w)
    jobs = [a_task(w, input=number) for number in range(3)]
    with failing(w.yard.jobs.table.client, operation):
        assert work(w) == []
    assert [w.job(job.id).state for job in jobs] == [State.SUCCESS] * 3
    assert called == [job.id for job in jobs]


def test_successes_do_not_wait_for_a_job_that_is_claimed(w: World) -> None:
    seen: list[State] = []

    @task("t", light=True)
    def quick(_: Any) -> str:
        return "quick"

    @task("slow")
    def slow(_: Any) -> None:
        seen.append(w.job(first.id).state)

    using(w, quick, slow)
    first = a_task(w, input=1)
    a_task(w, type="slow")
    work(w)
    assert seen == [State.SUCCESS]


def test_successes_do_not_wait_for_a_light_job_that_takes_long(w: World) -> None:
    """The heartbeat records them after two seconds."""

    @task("t", light=True)
    def handler(value: str) -> str:
        if value == "slow":
            w.clock.move(SHARE_AFTER_MS)
            until(lambda: w.job(quick.id).state is State.SUCCESS)
        return value

    using(w, handler)
    quick, slow = a_task(w, input="quick"), a_task(w, input="slow")
    assert work(w) == []
    assert [w.job(job.id).output for job in (quick, slow)] == ['"quick"', '"slow"']
    assert w.messages() == []


@pytest.mark.parametrize("second_is_light", [True, False])
def test_a_message_is_light_if_all_its_subscribers_are(w: World, second_is_light: bool) -> None:
    claimed: list[bool] = []

    @subscribe("news", light=True)
    def first(_: Any, context: Context) -> None:
        claimed.append(context.job.lease is not None)

    @subscribe("news", light=second_is_light)
    def second(_: Any) -> None:
        pass

    using(w, first, second)
    job = a_message(w)
    w.go_on()
    done = w.job(job.id)
    assert (done.state, done.failures, claimed) == (State.SUCCESS, 0, [not second_is_light])
    assert [event.event.value for event in done.events] == ["published", "started", "succeeded"]
    assert done.events[1].detail == {"consumerId": w.yard.worker_name}


def test_a_limited_type_cannot_be_light() -> None:
    with pytest.raises(InvalidInput) as error:
        task("t", light=True, concurrency=1)
    assert error.value.field == "light"
    with pytest.raises(InvalidInput):
        task("t", light="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"state": State.RUNNING},
        {"state": State.SUCCESS},
        {"uid": "another"},
        {"delivery": 7},
        {"blocked": True},
        {"due_at_ms": START_MS + 1},
        {"attempts": 3},
        {"chained": True},
        {"has_children": True},
        {"remove_on_complete": True},
        {"finishing": True},
        {"graph": 5},
        {"limited": True},
        {"slot_at_ms": START_MS},
        {"application": "key"},
        {"order": "block"},
        {"unique_as": "mark"},
        {"trace": ("x",) * (TRACE_MAX_EVENTS - LIGHT_EVENTS + 1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_who_may_run_without_a_claim(w: World, change: dict[str, Any]) -> None:
    light_echo(w)
    job: Job = w.job(a_task(w, max_attempts=3).id)
    assert runs_unclaimed(job, job, START_MS)
    assert not runs_unclaimed(replace(job, **change), job, START_MS)

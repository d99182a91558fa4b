"""Flow control where one control meets another, or a change: who may begin, who may not, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from chalicelib.core.decisions import Succeeded
from chalicelib.core.flow import PerKey, Rate, Unique
from chalicelib.core.flow_controls import OFF, FlowControls, FlowTarget
from chalicelib.core.job import Job
from chalicelib.core.limits import count_of_key
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock.due import resend_stale
from chalicelib.engine.commands import by_hand, lifecycle
from chalicelib.engine.commands.flow import pause_key, resume_key, set_flow, unset_flow
from chalicelib.engine.commands.run_now import run_now
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.policy import FRESH_MS
from chalicelib.engine.polling.poll import poll
from chalicelib.engine.publish import wait_list
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.engine.worker.pause import key_target, pause, paused, resume, type_target
from chalicelib.engine.worker.settle import settle
from chalicelib.store.transitions.running import Lease
from chalicelib.store.wait_lists import of_pause, of_type
from tests.support.faults import occupancies_are_true
from tests.support.steps import using
from tests.support.worlds import World, envelopes, wiped, world

RAN: list[Any] = []
LEASE_MS = 60_000


def act(given: dict[str, Any], context: Context) -> Any:
    RAN.append(given["n"])
    match given.get("does"):
        case "rejects" if context.job.replay_of is None and context.job.epoch == 0:
            raise Reject("never")
        case "parks" if context.job.attempts == 1:
            context.next()
    return given["n"]


@task("pair", key="input.k", concurrency=2, per_key=PerKey(concurrency=1))
def pair(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("paced", key="input.k", concurrency=2, per_key=PerKey(rate=Rate(1, per_s=1_000)))
def paced(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("turns", key="input.k", order="block", per_key=PerKey(concurrency=1))
def turns(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("narrow", key="input.k", order="step aside", concurrency=1)
def narrow(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("throttled", key="input.k", unique=Unique(until=None, for_s=60))
def throttled(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("free", key="input.k")
def free(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([pair, paced, turns, narrow, throttled, free]) as used:
        yield used


@pytest.fixture
def w(ground: World, silent: None) -> World:  # noqa: ARG001
    RAN.clear()
    return wiped(ground)


def add(w: World, type_: str, n: Any, k: str | None = "a", **more: Any) -> Job:
    given = {"n": n, "k": k, **({"does": more.pop("does")} if "does" in more else {})}
    return publish(w.yard, NewJob(kind=Kind.TASK, type=type_, input=given, **more))


def elsewhere(w: World, lease: str = "other0other0othe") -> Job:
    """Another worker claims the job that SQS holds, and its message is gone."""
    (envelope,) = envelopes(w)
    found = claim(w.yard, envelope, Lease(lease, w.clock.ms + LEASE_MS, "other"))
    assert isinstance(found, Job)
    w.forget_messages()
    return found


def ended(w: World, running: Job) -> None:
    """The other worker has done it."""
    settle(w.yard, running, Succeeded())


def waiting(w: World, name: str) -> list[int]:
    return [entry.job_id for entry in w.yard.wait_lists.first(name, 100)]


@pytest.mark.parametrize("type_", ["pair", "paced"])
def test_a_slot_that_one_of_a_busy_key_cannot_take_goes_to_the_next(w: World, type_: str) -> None:
    add(w, type_, "held", "a")
    elsewhere(w)
    add(w, type_, "other", "b")
    other = elsewhere(w, "another0another0")
    for n in range(4):
        add(w, type_, n, "a")
        w.clock.move(1)
    idle = add(w, type_, "idle", "c")
    w.deliver()
    assert (RAN, len(waiting(w, of_type(type_)))) == ([], 5)
    ended(w, other)
    w.deliver()
    assert RAN == ["idle"]
    assert w.job(idle.id).state is State.SUCCESS


def test_a_slot_that_one_of_a_paused_key_cannot_take_goes_to_the_next(w: World) -> None:
    add(w, "pair", "held", "b")
    elsewhere(w)
    add(w, "pair", "other", "c")
    other = elsewhere(w, "another0another0")
    for n in range(3):
        add(w, "pair", n, "a")
        w.clock.move(1)
    add(w, "pair", "idle", "d")
    w.deliver()
    assert (RAN, len(waiting(w, of_type("pair")))) == ([], 4)
    pause(w.yard, key_target("pair", "a"))
    ended(w, other)
    w.deliver()
    assert RAN == ["idle"]


@pytest.mark.parametrize("key", [None, "a"])
@pytest.mark.parametrize("taken_back", [False, True])
def test_who_waits_begins_soon_after_a_limit_was_raised_or_taken_back(
    w: World, key: str | None, taken_back: bool
) -> None:
    """Though no run ends meanwhile, and no clock comes."""
    target = FlowTarget(Kind.TASK, "free", key)
    set_flow(w.yard, target, FlowControls(concurrency=1))
    add(w, "free", "held")
    elsewhere(w)
    for n in range(4):
        add(w, "free", n)
    w.deliver()
    assert RAN == []
    if taken_back:
        unset_flow(w.yard, target)
    else:
        set_flow(w.yard, target, FlowControls(concurrency=3))
    w.clock.move(FRESH_MS)
    w.deliver()
    assert RAN == []  # a process may not know yet
    w.clock.move(1_000)
    w.deliver()
    assert sorted(RAN) == [0, 1, 2, 3]  # the first two, and as they end the others


def test_one_whose_priority_changes_keeps_its_place_in_line(w: World) -> None:
    jobs = [add(w, "turns", n) for n in (1, 2, 3)]
    held = elsewhere(w)
    by_hand.prioritize(w.yard, jobs[1].id, 7)
    ended(w, held)
    w.deliver()
    assert RAN == [2, 3]
    occupancies_are_true(w)


def test_one_that_is_sent_anew_after_a_week_keeps_its_place_in_line(w: World) -> None:
    first, _ = add(w, "turns", 1, does="rejects"), add(w, "turns", 2)
    w.deliver()
    w.clock.move(8 * 86_400_000)
    add(w, "turns", 3)
    resend_stale(w.yard, lambda: True)
    lifecycle.pass_over(w.yard, first.id)
    w.deliver()
    assert RAN == [1, 2, 3]


def test_the_successor_of_what_blocks_runs_though_the_order_is_off(w: World) -> None:
    failed, _ = add(w, "turns", 1, does="rejects"), add(w, "turns", 2)
    w.deliver()
    set_flow(w.yard, FlowTarget(Kind.TASK, "turns"), FlowControls(order=OFF))
    lifecycle.replay(w.yard, failed.id, Kind.TASK)
    w.deliver()
    w.go_on()
    assert RAN == [1, 1, 2]
    occupancies_are_true(w)


def test_the_successor_of_what_blocks_takes_nobody_elses_turn(w: World) -> None:
    @task("turns", order="block")
    def before(given: dict[str, Any], context: Context) -> Any:
        return act(given, context)

    using(w, before)
    failed = add(w, "turns", 1, does="rejects")
    w.deliver()
    using(w, turns)
    add(w, "turns", 2)
    elsewhere(w)
    lifecycle.replay(w.yard, failed.id, Kind.TASK)
    assert w.yard.concurrency.of(count_of_key("turns", "a")).running == 1


def test_those_in_order_wait_for_a_slot_of_their_type_by_age(w: World) -> None:
    for n in range(3):
        add(w, "narrow", n, "long")
    w.deliver()
    RAN.clear()
    add(w, "narrow", "held", "x")
    held = elsewhere(w)
    add(w, "narrow", "older", "long")
    w.clock.move(1_000)
    add(w, "narrow", "younger", "new")
    w.deliver()
    assert RAN == []
    ended(w, held)
    w.deliver()
    assert RAN == ["older", "younger"]


def test_a_throttle_counts_from_the_newest_though_an_older_one_is_retried(w: World) -> None:
    failed = add(w, "throttled", 1, does="rejects")
    w.deliver()
    w.clock.move(60_000)
    second = add(w, "throttled", 2)
    w.deliver()
    w.clock.move(10_000)
    lifecycle.retry(w.yard, failed.id, Kind.TASK)
    w.deliver()
    third = add(w, "throttled", 3)
    w.deliver()
    assert RAN == [1, 2, 1]
    assert third.id in (failed.id, second.id)


def test_a_limit_that_is_set_counts_the_run_that_goes_on_for_a_vanished_worker(w: World) -> None:
    add(w, "free", "lost")
    (message,) = envelopes(w)
    claim(w.yard, message, Lease("other0other0othe", w.clock.ms + LEASE_MS, "other"))  # and it vanishes
    set_flow(w.yard, FlowTarget(Kind.TASK, "free"), FlowControls(concurrency=1))
    later = add(w, "free", "later", "b")
    envelope = next(each for each in envelopes(w) if each.id == later.id)
    w.clock.move(30_000)
    assert isinstance(claim(w.yard, envelope, Lease("third0third0thir", w.clock.ms + LEASE_MS, "third")), Job)
    w.clock.move(LEASE_MS - 30_000 + 1)
    taken = claim(w.yard, message, Lease("fourth0fourth0fo", w.clock.ms + LEASE_MS, "fourth"))
    assert not isinstance(taken, Job), "two run where one may"
    assert w.yard.concurrency.of("free").running == 1


def test_a_key_limit_that_is_set_counts_the_run_that_goes_on_for_a_vanished_worker(w: World) -> None:
    add(w, "free", "lost")
    (message,) = envelopes(w)
    claim(w.yard, message, Lease("other0other0othe", w.clock.ms + LEASE_MS, "other"))  # and it vanishes
    set_flow(w.yard, FlowTarget(Kind.TASK, "free", "a"), FlowControls(concurrency=1))
    w.clock.move(LEASE_MS + 1)
    taken = claim(w.yard, message, Lease("fourth0fourth0fo", w.clock.ms + LEASE_MS, "fourth"))
    assert isinstance(taken, Job)
    assert w.yard.concurrency.of(taken.key_counted_as).running == 1


def test_a_resume_ends_where_somebody_pauses_anew(w: World) -> None:
    target = type_target("free")
    pause(w.yard, target)
    for n in range(6):
        add(w, "free", n)
    w.deliver()
    turns_taken = 0

    def enough_time() -> bool:
        nonlocal turns_taken
        turns_taken += 1
        if turns_taken == 2:
            pause(w.yard, target)
        w.deliver()
        return turns_taken < 50

    with patch.object(wait_list, "AT_ONCE", 2):
        resume(w.yard, target, enough_time)
    assert (turns_taken, len(waiting(w, of_pause(target)))) == (2, 6)


def test_a_pause_begun_anew_says_who_and_since_when(w: World) -> None:
    target = type_target("free")
    w.yard.pauses.begin(target, w.clock.ms, "ann")
    add(w, "free", 1)
    w.deliver()
    resume(w.yard, target, lambda: False)
    w.clock.move(5_000)
    w.yard.pauses.begin(target, w.clock.ms, "bob")
    assert [(each.by, each.since_ms) for each in paused(w.yard)] == [("bob", w.clock.ms)]


def test_what_is_paused_by_key_is_not_run_at_once_either(w: World) -> None:
    pause(w.yard, key_target("free", "a"))
    job = add(w, "free", 1)
    assert run_now(w.yard, job.id).state is State.PENDING
    assert RAN == []


def test_a_message_whose_key_is_paused_is_shown_to_no_poll(w: World) -> None:
    target = FlowTarget(Kind.MESSAGE, "polled", "a")
    for key in ("a", "b"):
        publish(w.yard, NewJob(kind=Kind.MESSAGE, type="polled", input=key, flow_key=key))
    pause_key(w.yard, target)
    assert [job.flow_key for job in poll(w.yard, "polled", 10, 30_000, "client")] == ["b"]
    assert resume_key(w.yard, target) == 1
    assert [job.flow_key for job in poll(w.yard, "polled", 10, 30_000, "client")] == ["a"]


def test_a_slot_of_a_vanished_worker_is_free_though_its_job_is_retried_and_paused(w: World) -> None:
    first = add(w, "pair", "lost", "a")
    elsewhere(w)
    lifecycle.cancel(w.yard, first.id, Kind.TASK)
    pause(w.yard, key_target("pair", "a"))
    lifecycle.retry(w.yard, first.id, Kind.TASK)
    w.deliver()
    w.clock.move(LEASE_MS + 1_001)
    assert w.yard.concurrency.of("pair").running == 1
    w.clock.move(3_600_000)
    w.tick()
    assert w.yard.concurrency.of("pair").running == 0
    resume(w.yard, key_target("pair", "a"))
    w.go_on()
    assert RAN == ["lost"]
    occupancies_are_true(w)

"""Flow control as its users meet it: per key, in order, at a rate, one of many alike; and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from chalicelib.core.errors import Conflict, InvalidInput
from chalicelib.core.flow import Debounce, PerKey, Rate, Unique
from chalicelib.core.flow_controls import FlowControls, FlowTarget
from chalicelib.core.job import Job
from chalicelib.core.limits import Concurrency, count_of_key, count_of_topic
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.core.waking import wake_for_return
from chalicelib.engine.clock.flow import audit
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.complete import Completion, complete
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.engine.worker.pause import key_target, pause, resume
from chalicelib.store.expressions import Change
from chalicelib.store.transitions.running import Lease
from chalicelib.store.wait_lists import of_key, of_order, of_rate
from tests.support.faults import occupancies_are_true
from tests.support.worlds import World, envelopes, wiped, world
from tests.support.yards import Exited

RAN: list[Any] = []
LEASE_MS = 60_000


def act(given: dict[str, Any], context: Context) -> Any:
    RAN.append(given["n"])
    match given.get("does"):
        case "rejects" if context.job.replay_of is None and context.job.epoch == 0:
            raise Reject("never")
        case "fails once" if context.job.attempts == 1:
            raise RuntimeError("not yet")
        case "dies" if context.job.attempts == 1:
            raise Exited
        case "parks" if context.job.attempts == 1:
            context.next()
        case "canceled":
            lifecycle.cancel(context.yard, context.job.id, Kind.TASK)
    return given["n"]


@task("keyed", key="input.k", per_key=PerKey(concurrency=1), backoff=Fixed(1_000), max_attempts=2)
def keyed(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("blocked", key="input.k", order="block", backoff=Fixed(1_000), max_attempts=2)
def blocked(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("aside", key="input.k", order="step aside", backoff=Fixed(1_000), max_attempts=2)
def aside(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("paced", rate=Rate(1, per_s=10))
def paced(given: dict[str, Any], context: Context) -> Any:
    RAN.append((given["n"], context.yard.now_ms()))
    return given["n"]


@task("once", unique=Unique(by="input.k"))
def once(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("throttled", key="input.k", unique=Unique(until=None, for_s=60))
def throttled(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("newest", key="input.k", debounce=Debounce(5, latest_s=12))
def newest(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


def _touchy(value: Any) -> Any:
    return value["k"].upper()


@task("touchy", key=_touchy, per_key=PerKey(concurrency=1))
def touchy(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@subscribe("news", key="input.k", per_key=PerKey(concurrency=1, rate=Rate(1, per_s=1)))
def news(given: dict[str, Any], context: Context) -> Any:
    return act(given, context)


@task("slow", rate=Rate(1, per_s=100))
def slow(given: dict[str, Any], context: Context) -> Any:
    RAN.append((given["n"], context.yard.now_ms()))
    return given["n"]


HANDLERS = [slow, keyed, blocked, aside, paced, once, throttled, newest, touchy, news]


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world(HANDLERS) as used:
        yield used


@pytest.fixture
def w(ground: World, silent: None) -> World:  # noqa: ARG001
    RAN.clear()
    return wiped(ground)


def add(w: World, type_: str, n: Any, k: str | None = "a", **more: Any) -> Job:
    given = {"n": n, "k": k, **({"does": more.pop("does")} if "does" in more else {})}
    return publish(w.yard, NewJob(kind=Kind.TASK, type=type_, input=given, **more))


def elsewhere(w: World, number: int = 0) -> Job:
    """Another worker claims a job that SQS holds, and its message is gone."""
    envelope = envelopes(w)[number]
    found = claim(w.yard, envelope, Lease("other0other0othe", w.clock.ms + LEASE_MS, "other"))
    assert isinstance(found, Job)
    w.forget_messages()
    return found


def waiting(w: World, wait_list: str) -> list[int]:
    return [entry.job_id for entry in w.yard.wait_lists.first(wait_list, 100)]


def running(w: World, type_: str, key: str | None = "a") -> int:
    return w.yard.concurrency.of(count_of_key(type_, key)).running


# -- slots of a key -----------------------------------------------------------------------------------


def test_as_many_of_a_key_run_at_once_as_may_and_others_wait_for_no_other_key(w: World) -> None:
    first = add(w, "keyed", 1)
    held = elsewhere(w)
    second, other, keyless = add(w, "keyed", 2), add(w, "keyed", 3, "b"), add(w, "keyed", 4, None)
    w.deliver()
    assert RAN == [3, 4]
    assert (held.key_slot, running(w, "keyed"), waiting(w, of_key(first.key_counted_as))) == (True, 1, [second.id])
    assert w.yard.concurrency.census(first.key_counted_as).holders == {first.id}
    assert [w.job(job.id).state for job in (second, other, keyless)] == [State.PENDING, State.SUCCESS, State.SUCCESS]
    complete(w.yard, first.id, Completion(success=True))
    w.clock.move(LEASE_MS + 61_000)  # the other worker is gone: its slot is free once its lease is over
    w.tick()
    w.deliver()
    assert RAN == [3, 4, 2]
    occupancies_are_true(w)


def test_a_slot_of_a_vanished_worker_is_free_with_its_lease(w: World) -> None:
    add(w, "keyed", 1)
    elsewhere(w)
    add(w, "keyed", 2)
    w.go_on()
    assert sorted(RAN) == [1, 2]
    occupancies_are_true(w)


def test_a_slot_is_free_between_attempts_and_while_a_job_is_parked(w: World) -> None:
    add(w, "keyed", 1, does="fails once")
    add(w, "keyed", 2, does="parks")
    w.deliver()
    assert (RAN, running(w, "keyed")) == ([1, 2], 0)


def test_a_slot_that_nobody_has_is_named_and_freed(w: World) -> None:
    first = add(w, "keyed", 1)
    elsewhere(w)
    add(w, "keyed", 2)
    w.deliver()
    key = {"job": first.id, "part": "state"}
    w.yard.jobs.table.apply(key, Change((), sets={"key_slot": None, "state": "canceled", "lease_until_ms": None}))
    assert running(w, "keyed") == 1
    w.tick()
    w.deliver()
    assert (RAN, running(w, "keyed")) == ([2], 0)
    assert audit(w.yard, first.key_counted_as) == 0


def test_a_list_that_stays_empty_is_looked_after_no_longer(w: World) -> None:
    first = add(w, "keyed", 1)
    elsewhere(w)
    add(w, "keyed", 2)
    w.deliver()
    complete(w.yard, first.id, Completion(success=True))
    w.go_on()
    w.tick()
    assert len(w.items("directory", "waited_for")) == 1
    w.clock.move(300_000)
    w.tick()
    assert w.items("directory", "waited_for") == []


def test_a_key_function_that_fails_says_so_to_who_asks(w: World) -> None:
    with pytest.raises(InvalidInput) as refused:
        add(w, "touchy", 1, None)
    assert (refused.value.field, refused.value.got) == ("input", "AttributeError")
    assert add(w, "touchy", 1, "a").flow_key == "A"
    assert add(w, "touchy", 1, None, flow_key="mine").flow_key == "mine"
    with pytest.raises(InvalidInput) as refused:
        add(w, "touchy", 1, "a", flow_key="two\nlines")
    assert refused.value.field == "flow_key"


def test_a_pause_of_a_key_defers_that_key_alone(w: World) -> None:
    pause(w.yard, key_target("keyed", "a"))
    add(w, "keyed", 1), add(w, "keyed", 2, "b"), add(w, "keyed", 3)
    w.deliver()
    assert RAN == [2]
    assert resume(w.yard, key_target("keyed", "a")) == 2
    w.deliver()
    assert RAN == [2, 1, 3]


def test_a_subscribed_topic_is_bounded_by_key_too(w: World) -> None:
    for n in (1, 2):
        publish(w.yard, NewJob(kind=Kind.MESSAGE, type="news", input={"n": n, "k": "a"}))
    w.deliver()
    assert RAN == [1]
    assert w.yard.concurrency.of(count_of_key(count_of_topic("news"), "a")) == Concurrency()
    w.clock.move(1_001)
    w.deliver()
    assert RAN == [1, 2]


# -- in order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["blocked", "aside"])
def test_jobs_of_a_key_run_one_at_a_time_as_they_were_accepted(w: World, type_: str) -> None:
    jobs = [add(w, type_, n, priority=n) for n in range(5)]
    add(w, type_, "other", "b")
    assert [job.order_seq for job in jobs] == [1, 2, 3, 4, 5]
    assert (running(w, type_), waiting(w, of_order(jobs[0].key_counted_as))) == (1, [job.id for job in jobs[1:]])
    assert len(w.messages()) == 2  # one of each key
    w.deliver()
    assert [n for n in RAN if n != "other"] == [0, 1, 2, 3, 4]
    assert [w.job(job.id).turn for job in jobs] == [False] * 5
    occupancies_are_true(w)


def test_what_is_tried_again_or_parked_keeps_its_turn(w: World) -> None:
    first, _ = add(w, "aside", 1, does="fails once"), add(w, "aside", 2)
    w.deliver()
    assert (RAN, w.job(first.id).turn) == ([1], True)
    w.clock.move(1_001)
    w.deliver()
    assert RAN == [1, 1, 2]
    third, _ = add(w, "aside", 3, does="parks"), add(w, "aside", 4)
    w.deliver()
    assert (RAN[3:], w.job(third.id).state, w.job(third.id).turn) == ([3], State.WAITING, True)
    complete(w.yard, third.id, Completion(success=True))
    w.deliver()
    assert RAN[3:] == [3, 4]


def test_one_that_fails_steps_aside(w: World) -> None:
    failed, _ = add(w, "aside", 1, does="rejects"), add(w, "aside", 2)
    w.deliver()
    assert (RAN, w.job(failed.id).state) == ([1, 2], State.FAILED)
    add(w, "aside", 3, does="parks"), add(w, "aside", 4)
    w.deliver()
    lifecycle.retry(w.yard, failed.id, Kind.TASK)  # it goes before those that were accepted after it
    w.deliver()
    assert RAN == [1, 2, 3]
    complete(w.yard, w.jobs()[2].id, Completion(success=True))
    w.deliver()
    assert RAN == [1, 2, 3, 1, 4]


def test_one_that_fails_blocks_until_it_is_retried(w: World) -> None:
    failed, behind = add(w, "blocked", 1, does="rejects"), add(w, "blocked", 2)
    w.deliver()
    assert (RAN, w.job(failed.id).turn, w.job(behind.id).state) == ([1], True, State.PENDING)
    w.tick()
    w.deliver()
    assert RAN == [1]
    lifecycle.retry(w.yard, failed.id, Kind.TASK)
    w.deliver()
    assert RAN == [1, 1, 2]
    occupancies_are_true(w)


def test_one_that_fails_blocks_until_it_is_replayed_and_its_successor_goes_first(w: World) -> None:
    failed, _ = add(w, "blocked", 1, does="rejects"), add(w, "blocked", 2)
    w.deliver()
    successor = lifecycle.replay(w.yard, failed.id, Kind.TASK)
    assert (w.job(failed.id).turn, w.job(successor.id).turn) == (False, True)
    assert w.yard.concurrency.census(failed.key_counted_as).holders == {successor.id}
    w.deliver()
    assert RAN == [1, 1, 2]
    occupancies_are_true(w)


def test_one_that_fails_blocks_until_it_is_deleted_or_passed_over(w: World) -> None:
    failed, _ = add(w, "blocked", 1, does="rejects"), add(w, "blocked", 2, does="rejects")
    add(w, "blocked", 3)
    w.deliver()
    lifecycle.delete(w.yard, failed.id, Kind.TASK)
    w.deliver()
    assert RAN == [1, 2]
    second = w.job(failed.id + 1)
    assert second.is_blocking
    lifecycle.pass_over(w.yard, second.id, Kind.TASK)
    w.deliver()
    assert RAN == [1, 2, 3]
    with pytest.raises(Conflict):
        lifecycle.pass_over(w.yard, second.id, Kind.TASK)
    occupancies_are_true(w)


def test_one_that_is_canceled_lets_the_next_go(w: World) -> None:
    jobs = [add(w, "blocked", n) for n in (1, 2, 3)]
    lifecycle.cancel(w.yard, jobs[0].id, Kind.TASK)  # on its way
    lifecycle.cancel(w.yard, jobs[1].id, Kind.TASK)  # perhaps on its way by now
    w.deliver()
    assert RAN == [3]
    add(w, "blocked", 4, does="canceled"), add(w, "blocked", 5)
    w.deliver()
    assert RAN == [3, 4, 5]
    occupancies_are_true(w)


def test_a_later_start_joins_the_line_when_it_is_due(w: World) -> None:
    add(w, "aside", 1, delay_ms=10_000), add(w, "aside", 2)
    w.deliver()
    w.clock.move(10_001)
    w.deliver()
    assert RAN == [2, 1]
    occupancies_are_true(w)


def test_a_bulk_keeps_the_order_too(w: World) -> None:
    publish_many(w.yard, [NewJob(kind=Kind.TASK, type="aside", input={"n": n, "k": "a"}) for n in (1, 2, 3)])
    w.deliver()
    assert RAN == [1, 2, 3]


def test_the_turn_of_a_vanished_worker_stays_its_jobs(w: World) -> None:
    add(w, "aside", 1), add(w, "aside", 2)
    elsewhere(w)
    w.go_on()
    assert RAN == [1, 2]
    occupancies_are_true(w)


def test_one_that_was_ended_while_it_ran_keeps_its_turn_when_it_is_retried(w: World) -> None:
    first, _ = add(w, "blocked", 1), add(w, "blocked", 2)
    elsewhere(w)
    complete(w.yard, first.id, Completion(success=False, error="no"))
    assert (w.job(first.id).turn, w.job(first.id).key_slot) == (True, True)
    lifecycle.retry(w.yard, first.id, Kind.TASK)
    w.go_on()
    assert RAN == [1, 2]
    occupancies_are_true(w)


# -- rates --------------------------------------------------------------------------------------------


def test_no_more_begin_than_the_rate_lets(w: World) -> None:
    start_ms = w.clock.ms
    for n in range(12):
        add(w, "paced", n)
    w.go_on()
    times = sorted(at_ms for _, at_ms in RAN)
    assert len(times) == 12
    assert times[0] == start_ms
    assert all(after - before >= 10_000 for before, after in pairwise(times))
    assert times[-1] - start_ms <= 12 * 10_000 + 60_000
    occupancies_are_true(w)


def test_who_is_turned_away_comes_back_at_a_time_of_their_own_and_is_known_to_the_clock(w: World) -> None:
    jobs = [add(w, "paced", n) for n in range(11)]
    w.deliver()
    assert [n for n, _ in RAN] == [0]
    now_ms = w.clock.ms
    wakes = [w.job(job.id).wake_at_ms for job in jobs[1:10]]
    assert wakes == [wake_for_return(now_ms + 10_000 * n, now_ms) for n in range(1, 10)]
    assert waiting(w, of_rate("paced")) == [jobs[10].id]  # beyond a minute and a half


def test_a_rate_may_be_changed_while_jobs_wait(w: World) -> None:
    from chalicelib.store.flow_settings import FlowSetting

    for n in range(14):
        add(w, "paced", n)
    w.deliver()
    w.yard.flow_settings.put(
        FlowSetting(FlowTarget(Kind.TASK, "paced"), FlowControls(rate=Rate(10, per_s=1)), w.clock.ms)
    )
    w.clock.move(60_000)
    w.tick()
    w.go_on()
    assert len(RAN) == 14
    assert max(at_ms for _, at_ms in RAN) - w.clock.ms <= 0
    assert max(at_ms for _, at_ms in RAN) < 1_750_000_000_000 + 150_000


def test_nobody_waits_as_long_as_a_rate_said_that_holds_no_more(w: World) -> None:
    from chalicelib.store.flow_settings import FlowSetting

    w.yard.flow_settings.put(
        FlowSetting(FlowTarget(Kind.TASK, "paced"), FlowControls(rate=Rate(1, per_s=30 * 86_400)), w.clock.ms)
    )
    for n in range(2):
        add(w, "paced", n)
    w.deliver()
    assert [n for n, _ in RAN] == [0]
    w.yard.flow_settings.put(
        FlowSetting(FlowTarget(Kind.TASK, "paced"), FlowControls(rate=Rate(1, per_s=10)), w.clock.ms)
    )
    w.clock.move(60_000)
    w.tick()
    add(w, "paced", 2)
    w.go_on()
    times = sorted(at_ms for _, at_ms in RAN)
    assert len(times) == 3
    assert times[1] - times[0] <= 120_000
    assert times[2] - times[1] >= 10_000


def test_a_concurrency_may_be_set_while_jobs_wait(w: World) -> None:
    from chalicelib.store.flow_settings import FlowSetting

    w.yard.flow_settings.put(FlowSetting(FlowTarget(Kind.TASK, "keyed", "a"), FlowControls(concurrency=2), w.clock.ms))
    w.yard.flow_settings.put(FlowSetting(FlowTarget(Kind.TASK, "once"), FlowControls(concurrency=1), w.clock.ms))
    first = add(w, "keyed", 1)
    elsewhere(w)
    add(w, "keyed", 2)
    w.deliver()
    assert RAN == [2]
    add(w, "once", 3, "x")
    held = elsewhere(w)
    assert (held.slot, w.yard.concurrency.of("once")) == (True, Concurrency(1, 0))
    fourth = add(w, "once", 4, "y")
    w.deliver()
    assert (RAN, w.job(fourth.id).state) == ([2], State.PENDING)
    w.go_on()
    assert sorted(RAN) == [1, 2, 3, 4]
    assert w.job(first.id).state is State.SUCCESS
    occupancies_are_true(w)


# -- one of many alike --------------------------------------------------------------------------------


def test_a_job_like_one_that_is_not_done_is_not_made(w: World) -> None:
    first, second, other = add(w, "once", 1), add(w, "once", 2), add(w, "once", 3, "b")
    assert (second.id, second.uid) == (first.id, first.uid)
    assert other.id != first.id
    outcomes = publish_many(
        w.yard, [NewJob(kind=Kind.TASK, type="once", input={"n": n, "k": k}) for n, k in ((4, "a"), (5, "c"), (6, "c"))]
    )
    assert isinstance(outcomes[0], Job)
    assert outcomes[0].id == first.id
    assert len(w.jobs()) == 3
    w.deliver()
    assert add(w, "once", 7).id != first.id
    assert sorted(RAN) == [1, 3, 5]


def test_a_job_that_failed_is_not_retried_beside_one_like_it(w: World) -> None:
    failed = add(w, "once", 1, does="rejects")
    w.deliver()
    second = add(w, "once", 2)
    with pytest.raises(Conflict) as refused:
        lifecycle.retry(w.yard, failed.id, Kind.TASK)
    assert refused.value.expected == f"no other job like it, but job {second.id} is pending"
    w.deliver()
    lifecycle.retry(w.yard, failed.id, Kind.TASK)
    assert add(w, "once", 3).id == failed.id


def test_a_throttled_job_keeps_others_away_for_a_time_whatever_became_of_it(w: World) -> None:
    first = add(w, "throttled", 1, remove_on_complete=True)
    w.deliver()
    assert w.jobs() == []
    w.clock.move(59_999)
    again = add(w, "throttled", 2)
    assert (again.id, again.created_at_ms, w.jobs()) == (first.id, first.created_at_ms, [])
    w.clock.move(1)
    assert add(w, "throttled", 3).id != first.id


def test_the_newest_of_several_runs_when_no_other_came(w: World) -> None:
    start_ms = w.clock.ms
    first = add(w, "newest", 1)
    w.clock.move(4_000)
    second = add(w, "newest", 2)
    w.clock.move(4_000)
    third = add(w, "newest", 3)
    assert [w.job(job.id).state for job in (first, second, third)] == [State.CANCELED, State.CANCELED, State.PENDING]
    assert w.job(first.id).msg == f"superseded by the newer job {second.id}"
    with pytest.raises(Conflict, match=f"a newer job stands in the place of this one.*look at job {second.id}"):
        lifecycle.retry(w.yard, first.id, Kind.TASK)
    assert third.due_at_ms == start_ms + 12_000  # the latest
    w.go_on()
    assert RAN == [3]
    assert add(w, "newest", 4).due_at_ms == w.clock.ms + 5_000


def test_a_debounced_job_that_has_begun_is_not_superseded(w: World) -> None:
    first = add(w, "newest", 1)
    w.clock.move(5_000)
    elsewhere(w)
    second = add(w, "newest", 2)
    assert [w.job(job.id).state for job in (first, second)] == [State.RUNNING, State.PENDING]


def test_what_chains_and_parents_make_is_made_in_any_case(w: World) -> None:
    first = add(w, "once", 1, next={"type": "once", "input": {"n": 2, "k": "a"}})
    w.deliver()
    assert RAN == [1, 2]
    assert [job.unique_as is None for job in w.jobs() if job.id != first.id] == [True]


def test_a_slow_rate_goes_on(w: World) -> None:
    start_ms = w.clock.ms
    for n in range(4):
        add(w, "slow", n)
    w.go_on()
    times = sorted(at_ms for _, at_ms in RAN)
    assert len(times) == 4
    assert all(after - before >= 100_000 for before, after in pairwise(times))
    assert times[-1] - start_ms <= 4 * 100_000 + 60_000


def test_a_debounced_job_without_the_key_that_is_declared_supersedes_none_and_a_delay_holds(w: World) -> None:
    first, second = add(w, "newest", 1, None), add(w, "newest", 2, None)
    assert [w.job(job.id).state for job in (first, second)] == [State.PENDING, State.PENDING]
    assert add(w, "newest", 3, "a", delay_ms=9_000).due_at_ms == w.clock.ms + 9_000


def test_jobs_without_the_key_that_is_declared_run_in_order_among_themselves(w: World) -> None:
    for n in (1, 2, 3):
        add(w, "aside", n, None)
    assert len(w.messages()) == 1
    w.deliver()
    assert RAN == [1, 2, 3]


def test_an_idempotency_key_stays_with_the_job_that_its_request_was_answered_with(w: World) -> None:
    first, same = add(w, "once", 1, idempotency_key="one"), add(w, "once", 1, idempotency_key="two")
    assert same.id == first.id
    w.deliver()
    assert add(w, "once", 1, idempotency_key="two").id == first.id
    third = add(w, "once", 1)
    assert third.id != first.id
    assert add(w, "once", 1, idempotency_key="one").id == first.id
    with pytest.raises(Conflict):
        add(w, "once", 2, idempotency_key="one")


def test_a_follower_whose_key_cannot_be_told_has_none(w: World) -> None:
    follower = {"type": "touchy", "input": {"n": 2, "k": None}}
    with pytest.raises(InvalidInput) as refused:
        add(w, "once", 1, next=follower)
    assert refused.value.field == "next.input"
    add(w, "once", 1, next={"type": "touchy"})
    w.deliver()
    assert [(job.type, job.flow_key, job.state) for job in w.jobs()][1][:2] == ("touchy", None)

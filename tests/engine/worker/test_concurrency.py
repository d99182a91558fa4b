"""Limited task types: who runs, who waits on the shelf, who is turned away; the occupancy says what the ledger says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.decisions import Succeeded
from chalicelib.core.errors import Conflict, Full, NotFound
from chalicelib.core.job import Tombstone
from chalicelib.core.limits import NOTHING, Concurrency, Limit
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.complete import Completion, complete
from chalicelib.engine.commands.lifecycle import delete
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.attempt import JobCanceled
from chalicelib.engine.worker.concurrency import fill_slots
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.settle import settle
from chalicelib.store.concurrency import Count
from chalicelib.store.transitions.running import Lease, Takes
from chalicelib.store.wait_lists import of_type
from tests.support.worlds import World, envelopes, wiped, world
from tests.support.yards import Exited

RAN: list[tuple[Any, Concurrency]] = []
LEASE_MS = 60_000
LIMIT = Limit(concurrency=1, size=3)


@task("lone", concurrency=1, size=3, backoff=Fixed(1_000), max_attempts=2)
def lone(given: Any, context: Context) -> Any:
    yard = context.yard
    RAN.append((given, yard.concurrency.of("lone")))
    match given:
        case "fails":
            raise RuntimeError("no luck")
        case "fails once" if context.attempt == 1:
            raise RuntimeError("no luck")
        case "dies" if context.attempt == 1:
            raise Exited
        case "canceled":
            lifecycle.cancel(yard, context.job.id, Kind.TASK)
            RAN.append(("still there", yard.concurrency.of("lone")))
        case "canceled and retried":
            lifecycle.cancel(yard, context.job.id, Kind.TASK)
            lifecycle.retry(yard, context.job.id, Kind.TASK)
            RAN.append(("still there", yard.concurrency.of("lone")))
        case "completed":
            complete(yard, context.job.id, Completion(success=True, output=7))
        case "deleted":
            delete(yard, context.job.id, Kind.TASK, force=True)
            RAN.append(("still there", yard.concurrency.of("lone")))
        case "deleted and dead" if context.job.attempts == 1:
            delete(yard, context.job.id, Kind.TASK, force=True)
            raise Exited
        case "canceled and dead":
            lifecycle.cancel(yard, context.job.id, Kind.TASK)
            raise Exited
        case "canceled and long":
            lifecycle.cancel(yard, context.job.id, Kind.TASK)
            until_ms = context.lease_until_ms + LEASE_MS
            context.keep_slot(until_ms)
            RAN.append(("kept until", yard.jobs.find(context.job.id).lease_until_ms - until_ms))  # type: ignore[union-attr]
            raise JobCanceled
    return given


@task("free")
def free(given: Any) -> Any:
    return given


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([lone, free]) as used:
        yield used


@pytest.fixture
def w(ground: World, silent: None) -> World:  # noqa: ARG001
    RAN.clear()
    return wiped(ground)


def add(w: World, given: Any = None, **more: Any) -> int:
    return publish(w.yard, NewJob(kind=Kind.TASK, type="lone", input=given, **more)).id


def occupied(w: World) -> Concurrency:
    return w.yard.concurrency.of("lone")


def counted(w: World) -> Concurrency:
    """The occupancy as the records have it."""
    return sum((job.shares.get("lone", NOTHING) for job in w.jobs()), NOTHING)


def wait_list(w: World) -> list[int]:
    return [entry.job_id for entry in w.yard.wait_lists.first(of_type("lone"), 10)]


def only_runs() -> list[tuple[Any, Concurrency]]:
    """What ran, with the occupancy that its handler saw."""
    return list(RAN)


def held_by_another(w: World) -> int:
    """A job that another worker runs; its message is gone."""
    job_id = add(w, "elsewhere")
    (envelope,) = envelopes(w)
    takes = Takes(slot=True, actions=[Count("lone", Concurrency(running=1), LIMIT, holder=envelope.id)])
    w.yard.jobs.claim(envelope, Lease("other0other0othe", w.clock.ms + LEASE_MS, "other"), w.clock.ms, takes=takes)
    w.forget_messages()
    return job_id


def test_a_job_holds_a_slot_while_it_runs_and_counts_until_it_is_done(w: World) -> None:
    job_id = add(w, "one")
    assert (occupied(w), w.job(job_id).limited) == (Concurrency(0, 1), True)
    w.deliver()
    assert only_runs() == [("one", Concurrency(1, 1))]
    assert (occupied(w), w.job(job_id).state, w.job(job_id).slot) == (NOTHING, State.SUCCESS, False)


def test_a_full_type_turns_away_until_a_job_is_done(w: World) -> None:
    for given in ("one", "two", "three"):
        add(w, given)
    with pytest.raises(Full) as refused:
        add(w, "four")
    assert (refused.value.expected, bool(refused.value.remedy)) == ("fewer than 3", True)
    new_jobs = [NewJob(kind=Kind.TASK, type=name, input=name) for name in ("free", "lone", "free")]
    outcomes = publish_many(w.yard, new_jobs)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Job", "Full", "Job"]
    assert (occupied(w), len(w.jobs())) == (Concurrency(0, 3), 5)
    w.deliver()
    assert occupied(w) == NOTHING
    add(w, "four")
    key = {"idempotency_key": "again", "given": "five"}
    first, second, _ = add(w, **key), add(w, **key), add(w, "six")
    assert first == second, "the second request under a key is the first one, though the type is full by then"
    assert add(w, **key) == first
    assert occupied(w) == Concurrency(0, 3)


def test_what_finds_no_slot_waits_on_the_shelf_in_order_and_is_sent_when_one_is_freed(w: World) -> None:
    held_by_another(w)
    later, urgent = add(w, "later"), add(w, "urgent", priority=10)
    w.deliver()
    assert (RAN, w.messages(), wait_list(w)) == ([], [], [urgent, later])
    assert (occupied(w), counted(w)) == (Concurrency(1, 3),) * 2
    assert {job.state for job in w.jobs() if job.id in (later, urgent)} == {State.PENDING}
    assert w.tick() is not None
    assert wait_list(w) == [urgent, later], "the clock sends nothing while no slot is free"

    w.clock.move(LEASE_MS + 61_000)  # the other worker is gone; the clock recovers what it held
    w.tick()
    assert (occupied(w), wait_list(w), len(w.messages())) == (Concurrency(0, 3), [], 3), (
        "the slot is free, what waited is sent"
    )
    w.go_on()
    assert [given for given, _ in RAN][-1] in ("later", "elsewhere")
    assert sorted(given for given, _ in RAN) == ["elsewhere", "later", "urgent"]
    assert {concurrency_share.running for _, concurrency_share in RAN} == {1}
    assert (occupied(w), wait_list(w)) == (NOTHING, [])


def test_whoever_settles_sends_the_next_one_without_the_clock(w: World) -> None:
    held = held_by_another(w)
    add(w, "one")
    add(w, "two")
    w.deliver()
    assert RAN == []
    settled, _ = settle(w.yard, w.job(held), Succeeded())
    assert settled.state is State.SUCCESS
    w.deliver()
    assert ([given for given, _ in RAN], occupied(w), wait_list(w)) == (["one", "two"], NOTHING, [])


def test_an_entry_whose_job_moved_on_is_void_and_the_next_one_is_sent(w: World) -> None:
    held = held_by_another(w)
    gone, moved, last = add(w, "gone", priority=9), add(w, "x", priority=5), None
    w.deliver()
    lifecycle.cancel(w.yard, gone, Kind.TASK)
    last = add(w, "last")
    w.deliver()
    assert (wait_list(w), occupied(w)) == ([gone, moved, last], Concurrency(1, 3))
    holder = w.job(held)
    w.yard.jobs.succeed(holder, None, w.clock.ms)
    assert fill_slots(w.yard, lambda: True) == 1
    assert [job.id for job in envelopes(w)] == [moved]
    assert wait_list(w) == [last]
    w.go_on()
    assert ([given for given, _ in RAN], occupied(w), wait_list(w)) == (["x", "last"], NOTHING, [])


@pytest.mark.parametrize(
    ("given", "state", "told"),
    [
        ("fails", State.FAILED, [("fails", Concurrency(1, 1))] * 2),
        ("fails once", State.SUCCESS, [("fails once", Concurrency(1, 1))] * 2),
        ("dies", State.SUCCESS, [("dies", Concurrency(1, 1))] * 2),
        ("canceled", State.CANCELED, [("canceled", Concurrency(1, 1)), ("still there", Concurrency(1, 0))]),
        ("canceled and dead", State.CANCELED, [("canceled and dead", Concurrency(1, 1))]),
        ("canceled and long", State.CANCELED, [("canceled and long", Concurrency(1, 1)), ("kept until", 0)]),
        ("completed", State.SUCCESS, [("completed", Concurrency(1, 1))]),
    ],
)
def test_however_a_run_ends_its_slot_is_freed_once(w: World, given: str, state: State, told: list[Any]) -> None:
    job_id = add(w, given)
    waiting = add(w, "waiting", delay_ms=1_000)
    w.deliver()
    if given == "canceled and dead":
        assert occupied(w) == Concurrency(1, 1)
        assert w.job(job_id).run_goes_on
        with pytest.raises(Conflict, match="its run is not over yet"):
            delete(w.yard, job_id, Kind.TASK)
    w.go_on()
    assert w.job(job_id).state is state
    assert [entry for entry in RAN if entry[0] != "waiting"][: len(told)] == [
        (what, replace(seen, unfinished=seen.unfinished + 1)) if isinstance(seen, Concurrency) else (what, seen)
        for what, seen in told
    ] or given in ("fails", "fails once", "dies")
    assert w.job(waiting).state is State.SUCCESS
    assert (occupied(w), counted(w), wait_list(w)) == (NOTHING, NOTHING, [])
    delete(w.yard, job_id, Kind.TASK)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("deleted", [("deleted", Concurrency(1, 2)), ("still there", Concurrency(1, 1))]),
        ("deleted and dead", [("deleted and dead", Concurrency(1, 2))]),
    ],
)
def test_a_running_job_that_is_deleted_keeps_its_slot_and_is_gone_once_its_run_is_over(
    w: World, given: str, told: list[Any]
) -> None:
    job_id = add(w, given)
    waiting = add(w, "waiting", delay_ms=1_000)
    w.deliver()
    assert told == RAN
    if given == "deleted":
        assert (w.yard.jobs.ledger(job_id), occupied(w)) == (Tombstone(job_id), Concurrency(0, 1))
    else:
        assert (w.job(job_id).state, w.job(job_id).delete_when_over) == (State.CANCELED, True)
        delete(w.yard, job_id, Kind.TASK, force=True)
        with pytest.raises(Conflict, match="its run is not over yet"):
            delete(w.yard, job_id, Kind.TASK)
    w.go_on()
    assert (w.yard.jobs.ledger(job_id), w.job(waiting).state) == (Tombstone(job_id), State.SUCCESS)
    assert (occupied(w), counted(w), wait_list(w)) == (NOTHING, NOTHING, [])
    with pytest.raises(NotFound):
        delete(w.yard, job_id, Kind.TASK, force=True)


def test_a_job_that_is_to_be_deleted_is_kept_by_a_retry(w: World) -> None:
    job_id = add(w, "deleted and dead")
    w.deliver()
    lifecycle.retry(w.yard, job_id, Kind.TASK)
    assert not w.job(job_id).delete_when_over
    w.go_on()
    assert (w.job(job_id).state, occupied(w)) == (State.SUCCESS, NOTHING)


def test_a_job_that_is_retried_while_its_canceled_run_goes_on_waits_for_that_run(w: World) -> None:
    job_id = add(w, "canceled and retried", max_attempts=1)
    w.deliver_batch(w.queue_of("default"))
    assert RAN[-1] == ("still there", Concurrency(1, 1))
    assert (w.job(job_id).state, w.job(job_id).slot, occupied(w)) == (State.PENDING, False, Concurrency(0, 1))


def test_a_retried_job_whose_canceled_run_died_takes_its_slot_over(w: World) -> None:
    held = held_by_another(w)
    lifecycle.cancel(w.yard, held, Kind.TASK)
    assert (occupied(w), w.job(held).lease_until_ms) == (Concurrency(1, 0), w.clock.ms + LEASE_MS)
    lifecycle.retry(w.yard, held, Kind.TASK)
    w.deliver()
    assert (RAN, occupied(w)) == ([], Concurrency(1, 1))
    w.go_on()
    assert (RAN, occupied(w)) == ([("elsewhere", Concurrency(1, 1))], NOTHING)
    assert w.clock.ms > w.job(held).created_at_ms + LEASE_MS


def test_an_explicit_retry_and_a_replay_may_exceed_the_size(w: World) -> None:
    failed = add(w, "fails")
    w.go_on()
    for given in ("one", "two", "three"):
        add(w, given)
    lifecycle.retry(w.yard, failed, Kind.TASK)
    assert occupied(w) == Concurrency(0, 4)
    w.go_on()
    assert (w.job(failed).state, occupied(w)) == (State.FAILED, NOTHING)
    lifecycle.replay(w.yard, failed, Kind.TASK)
    assert occupied(w) == Concurrency(0, 1)
    w.go_on()
    assert (occupied(w), counted(w)) == (NOTHING, NOTHING)


def test_a_chain_of_limited_tasks_is_one_transaction_each(w: World) -> None:
    add(w, "first", next={"type": "lone", "input": "second", "next": {"type": "lone"}})
    w.go_on()
    assert only_runs() == [(given, Concurrency(1, 1)) for given in ("first", "second", "second")]
    assert (occupied(w), counted(w)) == (NOTHING, NOTHING)


def test_jobs_from_before_a_limit_run_and_those_whose_limit_is_gone_do_too(w: World) -> None:
    @task("lone")
    def unlimited(given: Any) -> Any:
        RAN.append((given, NOTHING))

    limited = w.registry
    w.restart(Registry.of([unlimited]))
    add(w, "before")
    w.restart(limited)
    held_by_another_ids = add(w, "counted")
    assert [job.limited for job in w.jobs()] == [False, True]
    w.restart(Registry.of([unlimited]))
    w.go_on()
    assert w.job(held_by_another_ids).state is State.SUCCESS
    assert occupied(w) == NOTHING
    w.restart(limited)


def test_a_delayed_job_counts_as_unfinished_and_is_sent_by_the_clock(w: World) -> None:
    job_id = add(w, "tomorrow", delay_ms=86_400_000)
    assert (occupied(w), w.messages()) == (Concurrency(0, 1), [])
    w.go_on()
    assert (RAN, occupied(w), w.job(job_id).state) == ([("tomorrow", Concurrency(1, 1))], NOTHING, State.SUCCESS)

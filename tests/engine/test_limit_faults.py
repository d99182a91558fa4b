"""Limited task types under faults: every AWS call fails, before and after it took effect, and the occupancy is true.

How it is done: ``test_faults.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from chalicelib.core.errors import Conflict, Full, NotFound
from chalicelib.core.limits import Concurrency
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.complete import Completion, complete
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.store.concurrency import Count
from chalicelib.store.transitions.running import Lease, Takes
from tests.support.faults import (
    VAGUE,
    Fault,
    Mode,
    Play,
    Run,
    Scenario,
    acted,
    faults_of,
    occupancies_are_true,
    run_of,
    stage,
    verify,
)
from tests.support.worlds import envelopes
from tests.support.yards import Exited

RUNS: list[Run] = []
MODES = (Mode.BEFORE, Mode.AFTER, Mode.REPEATED)
LONG = (Mode.REPEATED, Mode.CRASH_AFTER)  # where there are many calls: before one is after the one before
CRASH = (Mode.CRASH_AFTER,)
LEASE_MS = 60_000


@task("lone", concurrency=1, size=3, backoff=Fixed(1_000), max_attempts=3)
def lone(given: Any, context: Context) -> Any:
    RUNS.append(run_of(context))
    match given:
        case "rejects":
            raise Reject("never")
        case "dies" if context.job.attempts == 1:
            raise Exited
        case "fails" if context.job.attempts == 1:
            raise RuntimeError("not yet")
        case "canceled":
            lifecycle.cancel(context.yard, context.job.id, Kind.TASK)
        case "retried" if context.job.attempts == 1:
            lifecycle.cancel(context.yard, context.job.id, Kind.TASK)
            lifecycle.retry(context.yard, context.job.id, Kind.TASK)
        case "completed":
            complete(context.yard, context.job.id, Completion(success=True))
    return given


def jobs(*inputs: str, **more: Any) -> Callable[[Play], None]:
    """Jobs that a client published before; the first is the given one."""

    def arrange(play: Play) -> None:
        found = [play.arranged(kind=Kind.TASK, type="lone", input=given, **more) for given in inputs]
        play.given = found[0].id

    return arrange


def behind_another(play: Play) -> None:
    """A job that another worker runs, and two that find no slot; the message of the first is gone."""
    jobs("elsewhere")(play)
    (envelope,) = envelopes(play.world)
    until_ms = play.world.clock.ms + LEASE_MS
    takes = Takes(slot=True, actions=[Count("lone", Concurrency(running=1), holder=envelope.id)])
    play.yard.jobs.claim(envelope, Lease("other0other0othe", until_ms, "other"), play.world.clock.ms, takes=takes)
    play.world.forget_messages()
    for given in ("waits", "waits, too"):
        play.arranged(kind=Kind.TASK, type="lone", input=given)


def shelved(play: Play) -> None:
    """The same, the two on the shelf."""
    behind_another(play)
    play.world.deliver()


def publishing(play: Play) -> None:
    play.ask(lambda yard: publish(yard, NewJob(kind=Kind.TASK, type="lone", input="new")))


def delivering(play: Play) -> None:
    play.world.deliver_batch(play.world.queue_of("default"))


def ticking(play: Play) -> None:
    """The other worker is gone for good, and the clock ticks."""
    play.world.clock.move(LEASE_MS + 61_000)
    play.world.tick()


def asking(request: Callable[[Any, int], Any]) -> Callable[[Play], None]:
    def act(play: Play) -> None:
        play.ask(lambda yard: request(yard, play.given), VAGUE)

    return act


def ended(*states: State) -> Callable[[Play], None]:
    def check(play: Play) -> None:
        assert [job.state for job in play.world.jobs()] in ([*states], [*states, State.SUCCESS])

    return check


def any_end(play: Play) -> None:
    assert all(job.state.terminal for job in play.world.jobs()), play.calls.fault


SUCCESS, CANCELED, FAILED = State.SUCCESS, State.CANCELED, State.FAILED
SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario("publish", publishing, any_end, modes=MODES),
        Scenario("retry", delivering, ended(SUCCESS), jobs("fails"), LONG),
        Scenario("bury", delivering, ended(FAILED), jobs("rejects"), MODES),
        Scenario("die", delivering, ended(SUCCESS), jobs("dies"), (Mode.BEFORE,)),
        Scenario("shelve", delivering, ended(SUCCESS, SUCCESS, SUCCESS), behind_another, CRASH),
        Scenario("recover", ticking, ended(SUCCESS, SUCCESS, SUCCESS), shelved, CRASH),
        Scenario(
            "complete",
            asking(lambda yard, job: complete(yard, job, Completion(success=True))),
            ended(SUCCESS, SUCCESS, SUCCESS),
            shelved,
            MODES,
        ),
        Scenario(
            "cancel",
            asking(lambda yard, job: lifecycle.cancel(yard, job, Kind.TASK)),
            ended(CANCELED, SUCCESS, SUCCESS),
            shelved,
            MODES,
        ),
        Scenario("canceled by its own run", delivering, any_end, jobs("canceled"), LONG),
        Scenario("completed by its own run", delivering, any_end, jobs("completed"), LONG),
        Scenario("retried by its own run", delivering, any_end, jobs("retried"), CRASH),
    ]
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a scenario: one for each of its faults would cost more than the faults."""
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())


@pytest.fixture(scope="module")
def fresh() -> Iterator[Callable[[Fault | None], Play]]:
    with stage([lone], RUNS) as ready:
        yield ready


def test_the_occupancy_is_true_whatever_fails(scenario: Scenario, fresh: Callable[[Fault | None], Play]) -> None:
    play = acted(scenario, fresh(None))
    verify(play)
    scenario.check(play)
    faults = faults_of(scenario, play.calls)
    assert faults
    for fault in faults:
        play = acted(scenario, fresh(fault))
        assert play.calls.fired, fault
        play.world.go_on()
        any_end(play)
        occupancies_are_true(play.world)
        assert play.yard.concurrency.of("lone") == Concurrency(), fault


def test_a_full_type_is_full_whatever_its_publisher_thinks(fresh: Callable[[Fault | None], Play]) -> None:
    play = fresh(None)
    for _ in range(3):
        publishing(play)
    with pytest.raises(Full):
        publish(play.yard, NewJob(kind=Kind.TASK, type="lone"))
    with suppress(Conflict, NotFound):
        lifecycle.cancel(play.yard, play.accepted[0], Kind.TASK)
    publishing(play)
    assert play.yard.concurrency.of("lone") == Concurrency(0, 3)
    verify(play)

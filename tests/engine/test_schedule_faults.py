"""Schedules under faults: every AWS call fails, before and after it took effect, and each slot has one job.

How it is done: ``test_faults.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import schedule
from chalicelib.core.schedules import Overlap
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import schedules
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.context import Context
from chalicelib.engine.yard import Yard
from chalicelib.store.transitions.running import Lease
from tests.support.faults import VAGUE, Fault, Mode, Play, Run, Scenario, acted, faults_of, run_of, stage, verify
from tests.support.worlds import envelopes
from tests.support.yards import START_MS, Exited

RUNS: list[Run] = []
SECOND_MS, MINUTE_MS = 1_000, 60_000
SUCCESS, CANCELED = State.SUCCESS, State.CANCELED
LONG = (Mode.REPEATED, Mode.CRASH_AFTER)  # before a call is after the one before it
CRASH = (Mode.CRASH_AFTER,)
DECLARED = "tests.declared"


@task("t")
def obedient(given: Any, context: Context) -> Any:
    RUNS.append(run_of(context))
    if given == "dies" and context.job.attempts == 1:
        raise Exited
    return given


@task("lone", concurrency=1)
def lone(_: Any, context: Context) -> None:
    RUNS.append(run_of(context))


@task("narrow", size=1)
def narrow(_: Any, context: Context) -> None:
    RUNS.append(run_of(context))


@subscribe("news")
def reader(_: Any, context: Context) -> None:
    RUNS.append(run_of(context))


def declared(given: str, name: str = DECLARED) -> Registry:
    """Code that declares one schedule, beside the handlers of all scenarios."""

    @schedule(every_s=60, max_runs=2, name=name, input=given)
    @task("declared")
    def scheduled(given: str, context: Context) -> str:
        RUNS.append(run_of(context))
        return given

    return Registry.of([obedient, lone, narrow, reader, scheduled])


# -- what a scenario is made of -----------------------------------------------------------------------


def made(**more: Any) -> Callable[[Play], None]:
    """A schedule of two slots, a minute apart, which are handed over."""

    def arrange(play: Play) -> None:
        fields: dict[str, Any] = {"every_ms": MINUTE_MS, "max_runs": 2, "kind": Kind.TASK, "work": {"type": "t"}}
        play.given = schedules.new(play.yard, name="s", **{**fields, **more})
        schedules.create(play.yard, play.given)

    return arrange


def to_come(**more: Any) -> Callable[[Play], None]:
    """A schedule of two slots, both of which the next tick hands over."""

    def arrange(play: Play) -> None:
        made(**{"start_ms": START_MS + 3 * MINUTE_MS, "every_ms": SECOND_MS, "max_runs": 2, **more})(play)
        play.world.clock.move(2 * MINUTE_MS)

    return arrange


def paused(play: Play) -> None:
    made()(play)
    schedules.pause(play.yard, "s")


def declared_before(play: Play) -> None:
    """What the code declared is made; then another code is deployed."""
    play.world.restart(declared("old"))
    play.world.tick()
    play.world.restart(declared("new"))


def declared_no_more(play: Play) -> None:
    declared_before(play)
    play.world.restart(declared("new", f"{DECLARED}.too"))


def one_waits(play: Play) -> None:
    """The run of the first slot goes on elsewhere when the second finds that, and then its worker is gone."""
    play.world.clock.move(MINUTE_MS + SECOND_MS)
    first, _ = envelopes(play.world)
    lease = Lease("other0other0othe", play.world.clock.ms + MINUTE_MS, "other")
    claim(play.yard, first, lease)
    play.world.deliver()


def ticking(play: Play) -> None:
    play.world.tick()


def working(play: Play) -> None:
    """The worker does what is due when the second slot's time has come."""
    play.world.clock.move(2 * MINUTE_MS)
    play.world.deliver()


def asking(request: Callable[[Yard], Any]) -> Callable[[Play], None]:
    return lambda play: void(play.ask(request, VAGUE))


def void(_: object) -> None: ...


def then(*steps: Callable[[Play], None]) -> Callable[[Play], None]:
    return lambda play: void([step(play) for step in steps])


def creating(play: Play) -> None:
    new = schedules.new(play.yard, name="s", kind=Kind.TASK, work={"type": "t"}, every_ms=MINUTE_MS, max_runs=2)
    play.ask(lambda yard: schedules.create(yard, new), VAGUE)


def changed(yard: Yard) -> None:
    schedules.change(yard, "s", lambda seen: replace(seen, work={"type": "t", "input": "new"}))


# -- what holds in the end ----------------------------------------------------------------------------


def slots(*numbers: float, states: tuple[State, ...] = (SUCCESS,)) -> Callable[[Play], None]:
    """These slots, in minutes since the start, have one job each that was not taken back, and one note of it."""

    def check(play: Play) -> None:
        found = [job for job in play.world.jobs() if job.slot_at_ms is not None and job.msg != schedules.TAKEN_BACK]
        wanted = [START_MS + round(number * MINUTE_MS) for number in numbers]
        assert sorted(job.slot_at_ms or 0 for job in found) == wanted
        assert {job.state for job in found} <= set(states)
        noted = [item for item in play.world.items("directory") if item["kind"].startswith("schedule_runs#")]
        by_job = {item["job"]: int(item["name"]) for item in noted if "job" in item and "#" not in item["name"]}
        assert by_job == {job.id: job.slot_at_ms for job in found}
        assert [item for item in play.world.items("directory") if item["kind"].startswith("schedule_due#")] == []

    return check


def with_input(given: str) -> Callable[[Play], None]:
    def check(play: Play) -> None:
        ran = [job for job in play.world.jobs() if job.state is SUCCESS]
        assert {play.yard.payloads.output(job) for job in ran} == {given}

    return check


def nothing_runs_until_it_is_resumed(play: Play) -> None:
    assert play.runs == []
    assert {job.state for job in play.world.jobs()} == {CANCELED}
    schedules.resume(play.yard, "s")
    verify(play)
    slots(3, 4)(play)  # whoever looked whether something runs has let two minutes pass


def nothing_is_left(play: Play) -> None:
    assert play.runs == []
    assert play.world.items("directory", "schedule") == []
    assert {job.state for job in play.world.jobs()} == {CANCELED}


def ran_by_request(play: Play) -> None:
    """The client that had to repeat its request without knowing may have had two runs."""
    by_request = [job for job in play.world.jobs() if job.slot_at_ms is None]
    assert len(by_request) in {1, 1 + play.doubts}
    assert Counter(job.state for job in play.world.jobs()) == {SUCCESS: 1 + len(by_request)}


def one_of_two_is_left(play: Play) -> None:
    (left,) = play.world.items("directory", "schedule")
    assert left["name"] == f"{DECLARED}.too"
    ran = Counter(job.schedule for job in play.world.jobs() if job.state is SUCCESS)
    assert ran == {left["name"]: 2}


A_SECOND = 1 / 60
SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario("tick", ticking, slots(3, 3 + A_SECOND), to_come(), LONG),
        Scenario(
            "tick, a message and a body of its own",
            ticking,
            slots(3, 3 + A_SECOND),
            to_come(kind=Kind.MESSAGE, work={"topic": "news", "payload": {"text": "x" * 5_000}}),
            CRASH,
        ),
        Scenario("tick, a limited type", ticking, slots(3, 3 + A_SECOND), to_come(work={"type": "lone"}), CRASH),
        Scenario("tick, runs that wait", ticking, slots(3, 3 + A_SECOND), to_come(overlap=Overlap.QUEUE), CRASH),
        Scenario(
            "work, a run that dies and one that waits",
            working,
            slots(1, 2),
            made(overlap=Overlap.QUEUE, work={"type": "t", "input": "dies"}),
            CRASH,
        ),
        Scenario(
            "work, a run that ends and one that waits",
            working,
            slots(1, 1 + A_SECOND),
            then(made(overlap=Overlap.QUEUE, every_ms=SECOND_MS, start_ms=START_MS + MINUTE_MS), one_waits),
            CRASH,
        ),
        Scenario(
            "work, a run that dies and one that is skipped",
            working,
            slots(1, 2, states=(SUCCESS, CANCELED)),
            made(overlap=Overlap.SKIP, work={"type": "t", "input": "dies"}),
            CRASH,
        ),
        Scenario("work, a type with a size", working, slots(1, 2), made(work={"type": "narrow"}), CRASH),
        Scenario("create", creating, slots(1, 2), modes=LONG),
        Scenario(
            "pause", asking(lambda yard: schedules.pause(yard, "s")), nothing_runs_until_it_is_resumed, made(), LONG
        ),
        Scenario("resume", asking(lambda yard: schedules.resume(yard, "s")), slots(1, 2), paused, LONG),
        Scenario("change", asking(changed), then(slots(1, 2), with_input("new")), made(), LONG),
        Scenario("delete", asking(lambda yard: schedules.delete(yard, "s")), nothing_is_left, made(), LONG),
        Scenario("run now", asking(lambda yard: schedules.run_now(yard, "s")), ran_by_request, made(max_runs=1), CRASH),
        Scenario("declared", ticking, then(slots(1, 2), with_input("new")), declared_before, CRASH),
        Scenario("declared no more", ticking, one_of_two_is_left, declared_no_more, CRASH),
    ]
}


@pytest.fixture(scope="module")
def fresh() -> Iterator[Callable[[Fault | None], Play]]:
    with stage([obedient, lone, narrow, reader], RUNS) as ready:
        yield ready


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_each_slot_has_one_job_whatever_fails(
    scenario: Scenario, fresh: Callable[[Fault | None], Play], subtests: pytest.Subtests
) -> None:
    play = acted(scenario, fresh(None))
    verify(play)
    scenario.check(play)
    faults = [fault for fault in faults_of(scenario, play.calls) if _is_tried(scenario, fault)]
    assert faults
    for fault in faults:
        with subtests.test(str(fault)):
            play = acted(scenario, fresh(fault))
            assert play.calls.fired
            verify(play)
            scenario.check(play)


def _is_tried(scenario: Scenario, fault: Fault) -> bool:
    """Reads that fail are alike: only the first of each operation does, where not only crashes are tried."""
    return fault.mode in scenario.modes or (scenario.modes != CRASH and fault.point.endswith("#1"))

"""Acts in bulk under faults: every AWS call fails, before and after it took effect; each job is counted once.

How it is done: ``test_faults.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.core.bulk import BulkAct, BulkState
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.engine.commands import bulk
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.job_filters import JobFilters
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.engine.yard import Yard
from tests.support.faults import VAGUE, Fault, Mode, Play, Run, Scenario, plays_of, run_of, stage, verify

RUNS: list[Run] = []
JOBS = 2
LONG = (Mode.REPEATED, Mode.CRASH_AFTER)  # before a call is after the one before it
CRASH = (Mode.CRASH_AFTER,)


@task("t", max_attempts=1)
def obedient(given: Any, context: Context) -> Any:
    """Fails for good in its first life."""
    RUNS.append(run_of(context))
    if context.job.attempts == 1 and context.job.replay_of is None:
        raise Reject(given)
    return given


# -- what a scenario is made of -----------------------------------------------------------------------


def failed(play: Play) -> None:
    for number in range(JOBS):
        play.arranged(kind="task", type="t", input=f"order {number} is gone")
    play.world.deliver()
    play.world.clock.move(1)


def begun(act: str) -> Callable[[Play], None]:
    def arrange(play: Play) -> None:
        failed(play)
        play.given = bulk.start(play.yard, BulkAct(act), JobFilters(type="t"), "ann").id
        play.world.clock.move(1)

    return arrange


def starting(play: Play) -> None:
    def start(yard: Yard) -> None:
        bulk.start(yard, BulkAct.RETRY, JobFilters(type="t"), "ann")

    play.ask(start, VAGUE)


def stepping(play: Play) -> None:
    play.ask(lambda yard: bulk.step(yard, play.given), VAGUE)


# -- what holds in the end ----------------------------------------------------------------------------


def each_once(then: Callable[[Play, list[Job | None]], None]) -> Callable[[Play], None]:
    """The act is done, or those that a client began who could not know; each job was counted and told of once."""

    def check(play: Play) -> None:
        acts = play.yard.bulk_acts.newest(10)
        told = [result for each in acts for result in play.yard.bulk_acts.results(each.id, 100)[0]]
        ids = play.accepted[:JOBS]
        assert sorted(result.job for result in told) == sorted(ids)
        assert [result.error for result in told] == [None] * JOBS
        assert {each.state for each in acts} == {BulkState.DONE}
        assert (sum(each.done for each in acts), sum(each.refused for each in acts)) == (JOBS, 0)
        assert play.yard.bulk_acts.running() == []
        then(play, [play.yard.jobs.find(job_id) for job_id in ids])

    return check


def ran_again(_: Play, jobs: list[Job | None]) -> None:
    assert [(job.state, job.epoch, job.attempts) for job in jobs if job] == [(State.SUCCESS, 1, 2)] * JOBS


def replayed(play: Play, jobs: list[Job | None]) -> None:
    made = [job for job in play.world.jobs() if job.replay_of is not None]
    assert sorted((job.id, job.replayed_as) for job in jobs if job) == sorted((job.replay_of, job.id) for job in made)
    assert [job.state for job in made] == [State.SUCCESS] * JOBS


SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario("start", starting, each_once(ran_again), failed, LONG),
        Scenario("step, retry", stepping, each_once(ran_again), begun("retry"), LONG),
        Scenario("step, replay", stepping, each_once(replayed), begun("replay"), CRASH),
    ]
}


@pytest.fixture(scope="module")
def fresh() -> Iterator[Callable[[Fault | None], Play]]:
    with stage([obedient], RUNS) as ready:
        yield ready


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_each_job_is_acted_on_and_counted_once_whatever_fails(
    scenario: Scenario, fresh: Callable[[Fault | None], Play], subtests: pytest.Subtests
) -> None:
    for play in plays_of(scenario, fresh):
        with subtests.test(str(play.calls.fault)):
            verify(play)
            scenario.check(play)

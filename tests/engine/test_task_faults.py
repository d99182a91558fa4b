"""Polls, parking, completion from outside, chains and steps under faults.

Every AWS call fails, before and after it took effect, or the process dies there; every job ends as it should, and each
follower is there once.

How it is done: ``test_faults.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.core.job import MANUAL
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.by_hand import prioritize, send_back, take
from chalicelib.engine.commands.complete import Completion, callback, complete, process_next
from chalicelib.engine.commands.lifecycle import promote, reset_running
from chalicelib.engine.handlers.declare import on_success, task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import Context
from chalicelib.store.transitions.running import Lease
from tests.support.faults import VAGUE, Fault, Play, Run, Scenario, plays_of, run_of, stage, verify
from tests.support.worlds import envelopes

RUNS: list[Run] = []
SUCCESS, WAITING = State.SUCCESS, State.WAITING
LARGE = "x" * 2_000  # an item of its own
ANSWER = {"code": 0, "data": LARGE}


@task("flow", backoff=Fixed(1_000), max_attempts=4)
def flow(given: Any, context: Context) -> Any:
    RUNS.append(run_of(context))
    match given:
        case "polls":
            name = context.step("start", lambda: "export")
            checks = {"result": "success" if context.job.poll_count >= 1 else "pending", "data": name}
            return context.polling(lambda: checks, poll_interval_ms=1_000)
        case "parks":
            context.next({"secret": LARGE})
        case "logs":
            context.write_log("here")
    return given


@task("finished", max_attempts=4)
def finished(given: Any) -> Any:
    return given


@on_success("finished")
def hooked(_: Any) -> None:
    """Called by a worker, whoever completed the task."""


def jobs(given: Any, **more: Any) -> Callable[[Play], None]:
    """A task that a client created before."""

    def arrange(play: Play) -> None:
        play.given = play.arranged(**{"kind": Kind.TASK, "type": "flow", "input": given, **more}).id

    return arrange


def parked(play: Play) -> None:
    jobs("parks")(play)
    play.world.deliver_batch(play.world.queue_of("default"))


def delivering(play: Play) -> None:
    play.world.deliver_batch(play.world.queue_of("default"))


def in_other_hands(play: Play) -> None:
    """A task that another worker runs; its message is gone."""
    jobs("a")(play)
    (envelope,) = envelopes(play.world)
    lease = Lease("other0other0othe", play.world.clock.ms + 60_000, "other")
    play.yard.jobs.claim(envelope, lease, play.world.clock.ms)
    play.world.forget_messages()


def answering_who_waits(play: Play) -> None:
    """In the end somebody calls back."""
    play.world.go_on()
    for job in play.world.jobs():
        if job.state is WAITING:
            process_next(play.yard, job.id, json.dumps(ANSWER))


def asking(request: Callable[[Any, int], Any]) -> Callable[[Play], None]:
    def act(play: Play) -> None:
        play.ask(lambda yard: request(yard, play.given), VAGUE)

    return act


def creating(play: Play) -> None:
    chain = {"type": "flow", "next": {"type": "flow"}}
    play.ask(lambda yard: publish(yard, NewJob(kind=Kind.TASK, type="flow", input="a", next=chain)))


def ended(*outputs: Any) -> Callable[[Play], None]:
    """All jobs have succeeded, with these outputs, and there are no more of them than repeated requests explain."""

    def check(play: Play) -> None:
        found = play.world.jobs()
        assert {job.state for job in found} == {SUCCESS}, play.calls.fault
        told_outputs = [play.yard.payloads.output(job) for job in found]
        assert told_outputs in ([*outputs], [*outputs, *outputs]), play.calls.fault
        assert len(found) == len(outputs) or play.doubts, play.calls.fault

    return check


CHAIN = {"next": {"type": "flow"}}
BY_HAND = Completion(success=True, output=LARGE, user="ann", msg="done")
SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario("create a chain", creating, ended("a", "a", "a")),
        Scenario("run a chain", delivering, ended("a", "a"), jobs("a", **CHAIN)),
        Scenario("poll", delivering, ended("export"), jobs("polls")),
        Scenario("log", delivering, ended("logs"), jobs("logs")),
        Scenario("park", delivering, ended(ANSWER), jobs("parks")),
        Scenario("next", asking(lambda yard, job: process_next(yard, job, json.dumps(ANSWER))), ended(ANSWER), parked),
        Scenario("call back", asking(lambda yard, job: callback(yard, job, 0, LARGE, "fine")), ended(LARGE), parked),
        Scenario(
            "complete a chain",
            asking(lambda yard, job: complete(yard, job, BY_HAND)),
            ended(LARGE, LARGE),
            jobs("a", runner=MANUAL, **CHAIN),
        ),
        Scenario(
            "complete for a completion handler",
            asking(lambda yard, job: complete(yard, job, BY_HAND)),
            ended(LARGE),
            jobs("a", type="finished", runner=MANUAL),
        ),
        Scenario(
            "promote", asking(lambda yard, job: promote(yard, job, Kind.TASK)), ended("a"), jobs("a", delay_ms=600_000)
        ),
        Scenario("reset", asking(lambda yard, _: reset_running(yard)), ended("a"), in_other_hands),
        Scenario("prioritize", asking(lambda yard, job: prioritize(yard, job, 10)), ended("a"), jobs("a", priority=-1)),
        Scenario("take and vanish", asking(lambda yard, job: take(yard, job, "elsewhere")), ended("a"), jobs("a")),
        Scenario("send back", asking(send_back), ended("a"), in_other_hands),
    ]
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a scenario: one for each of its faults would cost more than the faults."""
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())


@pytest.fixture(scope="module")
def fresh() -> Iterator[Callable[[Fault | None], Play]]:
    with stage([flow, finished, hooked], RUNS) as ready:
        yield ready


def test_whatever_fails_each_ends_once(scenario: Scenario, fresh: Callable[[Fault | None], Play]) -> None:
    for play in plays_of(scenario, fresh):
        answering_who_waits(play)
        verify(play)
        scenario.check(play)

"""Flow control under faults: every AWS call fails, before and after it took effect, and the invariants and counts hold.

How it is done: ``test_faults.py``. What handlers wrote down themselves says that no two of a key ran at once, that
those in order ran in order, and that no more began than a rate lets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from chalicelib.core.batch import Batch
from chalicelib.core.flow import Debounce, PerKey, Rate, Unique
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.store.transitions.running import Lease
from tests.support.faults import VAGUE, Fault, Mode, Play, Run, Scenario, acted, faults_of, run_of, stage, verify
from tests.support.worlds import envelopes
from tests.support.yards import Exited

RUNS: list[Run] = []
STARTS: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)  # of each type: when, and which
LEASE_MS = 60_000
ALL = (Mode.BEFORE, Mode.AFTER, Mode.REPEATED, Mode.CRASH_AFTER)
CRASH = (Mode.CRASH_AFTER,)
LONG = (Mode.REPEATED, Mode.CRASH_AFTER)


def act(given: Any, context: Context) -> Any:
    RUNS.append(run_of(context))
    STARTS[context.job.type].append((context.yard.now_ms(), context.job.order_seq or 0))
    match given:
        case "rejects" if context.job.replay_of is None and context.job.epoch == 0:
            raise Reject("never")
        case "fails" if context.job.attempts == 1:
            raise RuntimeError("not yet")
        case "dies" if context.job.attempts == 1:
            raise Exited
    return given


@task("keyed", key=lambda _: "a", per_key=PerKey(concurrency=1), backoff=Fixed(1_000), max_attempts=3)
def keyed(given: Any, context: Context) -> Any:
    return act(given, context)


@task("ordered", order="block", backoff=Fixed(1_000), max_attempts=3)
def ordered(given: Any, context: Context) -> Any:
    return act(given, context)


@task("paced", rate=Rate(1, per_s=10))
def paced(given: Any, context: Context) -> Any:
    return act(given, context)


@task("batched", batch=Batch(10), key=lambda n: n, per_key=PerKey(concurrency=1), backoff=Fixed(1_000), max_attempts=3)
def batched(given: list[Any], contexts: list[Context]) -> list[Any]:
    return [_acted_or_failed(each, context) for each, context in zip(given, contexts, strict=True)]


def _acted_or_failed(given: Any, context: Context) -> Any:
    try:
        return act(given, context)
    except RuntimeError as error:
        return error


@task("slow", rate=Rate(1, per_s=45))
def slow(given: Any, context: Context) -> Any:
    return act(given, context)


@task("once", unique=Unique(by=lambda _: "a"))
def once(given: Any, context: Context) -> Any:
    return act(given, context)


@task("newest", debounce=Debounce(5))
def newest(given: Any, context: Context) -> Any:
    return act(given, context)


def jobs(type_: str, *inputs: str) -> Callable[[Play], None]:
    def arrange(play: Play) -> None:
        found = [play.arranged(kind=Kind.TASK, type=type_, input=given) for given in inputs]
        play.given = found[0].id

    return arrange


def publishing(type_: str, given: str = "new") -> Callable[[Play], None]:
    return lambda play: play.ask(lambda yard: publish(yard, NewJob(kind=Kind.TASK, type=type_, input=given))) and None


def delivering(play: Play) -> None:
    play.world.deliver_batch(play.world.queue_of("default"))


def behind_another(play: Play) -> None:
    """A job that another worker runs, which is then gone, and two behind it."""
    jobs("keyed", "elsewhere")(play)
    (envelope,) = envelopes(play.world)
    claim(play.yard, envelope, Lease("other0other0othe", play.world.clock.ms + LEASE_MS, "other"))
    play.world.forget_messages()
    for given in ("waits", "waits, too"):
        play.arranged(kind=Kind.TASK, type="keyed", input=given)


def deferred(play: Play) -> None:
    behind_another(play)
    play.world.deliver()


def ticking(play: Play) -> None:
    play.world.clock.move(LEASE_MS + 61_000)
    play.world.tick()


def blocking(play: Play) -> None:
    """A job that failed, and two that wait behind it."""
    jobs("ordered", "rejects", "b", "c")(play)
    play.world.deliver()


def waiting_for_tokens(play: Play) -> None:
    jobs("slow", *"abcd")(play)
    play.world.deliver()
    play.world.clock.move(60_000)


def asking(request: Callable[[Any, int], Any]) -> Callable[[Play], None]:
    return lambda play: play.ask(lambda yard: request(yard, play.given), VAGUE) and None


def all_succeed(play: Play) -> None:
    assert {job.state for job in play.world.jobs()} == {State.SUCCESS}, play.calls.fault


def one_waits(play: Play) -> None:
    states = [job.state for job in play.world.jobs()]
    assert states.count(State.SUCCESS) == 1
    assert set(states) <= {State.SUCCESS, State.CANCELED}


def any_end(play: Play) -> None:
    assert all(job.state.terminal for job in play.world.jobs())


SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario("a key: claim and settle", delivering, all_succeed, jobs("keyed", "a"), ALL),
        Scenario("a key: fail", delivering, all_succeed, jobs("keyed", "fails"), LONG),
        Scenario("a key: defer", delivering, all_succeed, behind_another, LONG),
        Scenario("a key: recover", ticking, all_succeed, deferred, CRASH),
        Scenario("a batch: claim and settle", delivering, all_succeed, jobs("batched", "a", "b"), ALL),
        Scenario("a batch: fail and die", delivering, all_succeed, jobs("batched", "a", "fails", "dies"), CRASH),
        Scenario("in order: publish", publishing("ordered"), all_succeed, jobs("ordered", "a"), ALL),
        Scenario("in order: publish the first", publishing("ordered"), all_succeed, modes=CRASH),
        Scenario("in order: run", delivering, all_succeed, jobs("ordered", "a", "b"), LONG),
        Scenario("in order: fail and die", delivering, all_succeed, jobs("ordered", "fails", "dies", "c"), CRASH),
        Scenario(
            "in order: retry what blocks",
            asking(lambda yard, job: lifecycle.retry(yard, job, Kind.TASK)),
            all_succeed,
            blocking,
            LONG,
        ),
        Scenario(
            "in order: replay what blocks",
            asking(lambda yard, job: lifecycle.replay(yard, job, Kind.TASK)),
            any_end,
            blocking,
            ALL,
        ),
        Scenario(
            "in order: pass over what blocks",
            asking(lambda yard, job: lifecycle.pass_over(yard, job, Kind.TASK)),
            any_end,
            blocking,
            LONG,
        ),
        Scenario(
            "in order: cancel the first",
            asking(lambda yard, job: lifecycle.cancel(yard, job, Kind.TASK)),
            any_end,
            jobs("ordered", "a", "b"),
            CRASH,
        ),
        Scenario("a rate: run", delivering, all_succeed, jobs("paced", "a", "b"), LONG),
        Scenario("a rate: release", ticking, all_succeed, waiting_for_tokens, CRASH),
        Scenario("unique: publish", publishing("once"), all_succeed, modes=CRASH),
        Scenario("unique: publish a second", publishing("once"), all_succeed, jobs("once", "a"), ALL),
        Scenario("debounce: publish", publishing("newest"), one_waits, modes=CRASH),
        Scenario("debounce: supersede", publishing("newest"), one_waits, jobs("newest", "a"), ALL),
    ]
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a scenario: one for each of its faults would cost more than the faults."""
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())


@pytest.fixture(scope="module")
def fresh() -> Iterator[Callable[[Fault | None], Play]]:
    with stage([keyed, batched, ordered, paced, slow, once, newest], RUNS) as ready:

        def play(fault: Fault | None = None) -> Play:
            STARTS.clear()
            return ready(fault)

        yield play


def test_nothing_is_lost_doubled_or_ahead_of_its_turn_whatever_fails(
    scenario: Scenario, fresh: Callable[[Fault | None], Play]
) -> None:
    play = acted(scenario, fresh(None))
    _judge(scenario, play)
    faults = faults_of(scenario, play.calls)
    assert faults
    for fault in faults:
        play = acted(scenario, fresh(fault))
        assert play.calls.fired, fault
        _judge(scenario, play)


def _judge(scenario: Scenario, play: Play) -> None:
    verify(play)
    scenario.check(play)
    places = [place for _, place in STARTS["ordered"]]
    assert places == sorted(places) or "replay" in scenario.name, play.calls.fault
    for type_, apart_ms in (("paced", 10_000), ("slow", 45_000)):
        begun = sorted(at_ms for at_ms, _ in STARTS[type_])
        assert all(later - earlier >= apart_ms for earlier, later in pairwise(begun)), play.calls.fault

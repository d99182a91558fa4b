"""Graphs under faults: every AWS call fails, before and after it took effect, or the process dies there.

Every node runs once and has one task, joins start once and after all those before them, and the graph comes to its end.

How it is done: ``test_faults.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import pytest

from chalicelib.core.graph_order import arranged
from chalicelib.core.graphs import GraphState, OnFailure, Plan
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import graphs
from chalicelib.engine.commands.graphs import cancel, retry
from chalicelib.engine.commands.lifecycle import cancel as cancel_task
from chalicelib.engine.failures import Reject
from chalicelib.engine.graphs import advance
from chalicelib.engine.graphs.accept import NewGraph, accept
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.worker.context import Context
from tests.support.faults import VAGUE, Fault, Mode, Play, Run, Scenario, plays_of, run_of, stage, verify

RUNS: list[Run] = []
BROKEN: set[str] = set()
SUCCESS, FAILED, CANCELED = State.SUCCESS, State.FAILED, State.CANCELED
DIAMOND: dict[str, Sequence[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
LARGE = "x" * 2_000  # an item of its own


@task("step", max_attempts=3)
def step(given: Any, context: Context) -> str:
    RUNS.append(run_of(context))
    if context.job.node in BROKEN:
        raise Reject("broken")
    assert context.job.node != "d" or given is None or set(given) <= {"b", "c"}
    return LARGE


def plan(on_failure: OnFailure = OnFailure.STOP, compensation: dict[str, Any] | None = None) -> Plan:
    nodes = [(name, {"type": "step"}, list(after)) for name, after in DIAMOND.items()]
    return Plan(arranged(nodes), on_failure, compensation)


def accepting(play: Play) -> None:
    play.ask(lambda yard: accept(yard, NewGraph(plan=plan(), idempotency_key="k")))


def accepted(broken: str = "", runs: int = 0, **more: Any) -> Callable[[Play], None]:
    """A graph that a client holds, some batches later."""

    def arrange(play: Play) -> None:
        BROKEN.clear()
        BROKEN.update(broken)
        play.given = accept(play.yard, NewGraph(plan=plan(**more))).id
        for _ in range(runs):
            delivering(play)

    return arrange


def failed(play: Play) -> None:
    """A graph that ``b`` has stopped, and that goes on if it is asked to."""
    accepted("b")(play)
    play.world.go_on()
    play.runs.clear()
    BROKEN.clear()


def delivering(play: Play) -> None:
    play.world.deliver_batch(play.world.queue_of("default"))


def going_on(play: Play) -> None:
    """The same, of which only what is done for the graph is disturbed; how a node itself ends, others test."""
    calls, after_end = play.calls, advance._after_end

    def listened_to(*given: Any) -> None:
        calls.listening = True
        try:
            after_end(*given)
        finally:
            calls.listening = False

    calls.listening = False
    with patch.object(advance, "_after_end", listened_to):
        delivering(play)


def asking(request: Callable[[Any, int], Any]) -> Callable[[Play], None]:
    def act(play: Play) -> None:
        play.ask(lambda yard: request(yard, play.given), VAGUE)

    return act


def looking_after(play: Play) -> None:
    """The clock, after somebody who should have gone on has died."""
    play.world.clock.ms += 60_001
    play.world.tick()


def left_alone(play: Play) -> None:
    """A graph of which ``a`` has succeeded, and nobody has gone on."""
    accepted()(play)
    delivering(play)
    for job in play.world.jobs():
        if job.node != "a":
            play.world.forget(job)
    play.world.forget_messages()


def ends(state: GraphState, **nodes: State) -> Callable[[Play], None]:
    """The graph is done, and its nodes stand so; no others were started."""

    def check(play: Play) -> None:
        (graph,) = play.world.graphs()
        assert graph.state is state, play.calls.fault
        found = {job.node.strip("()") if job.node else "": job.state for job in play.world.jobs()}
        assert found == nodes, play.calls.fault
        BROKEN.clear()

    return check


ALL = ends(GraphState.SUCCESS, a=SUCCESS, b=SUCCESS, c=SUCCESS, d=SUCCESS)
FEW = (Mode.AFTER, Mode.REPEATED, Mode.CRASH_AFTER)  # where much is called
COMPENSATE = {"on_failure": OnFailure.COMPENSATE, "compensation": {"type": "step", "input": "undo"}}
SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario("accept", accepting, ALL),
        Scenario("first node", going_on, ALL, accepted()),
        Scenario("both before a join", delivering, ALL, accepted(runs=1)),
        Scenario("join", going_on, ALL, accepted(runs=2)),
        Scenario("stop", going_on, ends(GraphState.FAILED, a=SUCCESS, b=FAILED, c=SUCCESS), accepted("b", runs=1)),
        Scenario(
            "go on in spite of a failure",
            going_on,
            ends(GraphState.FAILED, a=SUCCESS, b=FAILED, c=SUCCESS, d=SUCCESS),
            accepted("b", runs=1, on_failure=OnFailure.CONTINUE),
        ),
        Scenario(
            "begin to compensate",
            going_on,
            ends(GraphState.FAILED, a=SUCCESS, b=FAILED, c=SUCCESS, compensation=SUCCESS),
            accepted("b", runs=1, **COMPENSATE),
            FEW,
        ),
        Scenario(
            "compensate",
            going_on,
            ends(GraphState.FAILED, a=SUCCESS, b=FAILED, c=SUCCESS, compensation=SUCCESS),
            accepted("b", runs=2, **COMPENSATE),
        ),
        Scenario(
            "cancel", asking(cancel), ends(GraphState.CANCELED, a=SUCCESS, b=CANCELED, c=CANCELED), accepted(runs=1)
        ),
        Scenario(
            "cancel a node",
            asking(lambda yard, graph: cancel_task(yard, graph + 1, Kind.TASK)),
            ends(GraphState.FAILED, a=CANCELED),
            accepted(),
        ),
        Scenario("retry", asking(retry), ALL, failed),
        Scenario("look after", looking_after, ALL, left_alone, FEW),
    ]
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a scenario: one for each of its faults would cost more than the faults."""
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())


@pytest.fixture(scope="module")
def fresh() -> Iterator[Callable[[Fault | None], Play]]:
    one_by_one = patch.object(graphs, "PARALLEL_CALLS", 1)  # so that its calls come in the same order each time
    with one_by_one, stage([step], RUNS) as ready:
        yield ready


def test_whatever_fails_each_node_runs_once_and_the_graph_ends(
    scenario: Scenario, fresh: Callable[[Fault | None], Play]
) -> None:
    for play in plays_of(scenario, fresh):
        verify(play)
        scenario.check(play)

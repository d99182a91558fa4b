"""The contract of graphs: what ends at once starts what comes after it once, and a stopped graph starts nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from chalicelib.core.graph_order import arranged
from chalicelib.core.graphs import GraphState, OnFailure, Plan
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import graphs, lifecycle
from chalicelib.engine.commands.complete import Completion, complete
from chalicelib.engine.graphs.accept import NewGraph, accept
from chalicelib.engine.graphs.plans import plan_of, records
from chalicelib.engine.graphs.start import start
from chalicelib.engine.yard import Yard
from chalicelib.store.graphs import Graph, GraphRefused
from tests.support.backends import Ground
from tests.support.waiting import becomes

numbers = itertools.count()
DONE = Completion(success=True, output=1)


@pytest.fixture
def yard(ground: Ground) -> Yard:
    """A yard on the module's tables."""
    return ground.bench().yard


def begun(yard: Yard, on_failure: OnFailure = OnFailure.STOP, **after: Sequence[str]) -> Graph:
    """A graph of tasks that a person completes."""
    by_hand = {"type": f"by.hand.{next(numbers)}", "runnerType": "manual"}
    return accept(yard, NewGraph(plan=Plan(arranged([(name, by_hand, [*after[name]]) for name in after]), on_failure)))


def states(yard: Yard, graph: Graph) -> list[State | None]:
    found = records(yard, graph, range(graph.size))
    return [record.state if isinstance(record, Job) else None for record in found]


def fan(leaves: int) -> dict[str, list[str]]:
    names = [f"leaf {each}" for each in range(leaves)]
    return {**{name: [] for name in names}, "one": names, "other": names}


def test_leaves_that_end_at_once_start_each_join_once(ground: Ground, yard: Yard) -> None:
    graph = begun(yard, **fan(40))
    with ThreadPoolExecutor(ground.threads(8)) as pool:
        list(pool.map(lambda number: complete(yard, graph.job_id(number), DONE), range(40)))
    assert states(yard, graph) == [*[State.SUCCESS] * 40, State.PENDING, State.PENDING]
    for number in (40, 41):
        complete(yard, graph.job_id(number), DONE)
    found = yard.graphs.find(graph.id)
    assert found is not None
    assert found.state is GraphState.SUCCESS


def test_two_that_go_on_with_a_graph_start_each_node_once(ground: Ground, yard: Yard) -> None:
    graph = begun(yard, a=[], **{f"n{each}": ["a"] for each in range(30)})
    complete(yard, graph.job_id(0), DONE)
    with ThreadPoolExecutor(ground.threads(4)) as pool:
        list(pool.map(lambda _: graphs.look_after(yard, graph), range(4)))
    assert states(yard, graph) == [State.SUCCESS, *[State.PENDING] * 30]


def test_a_graph_that_was_stopped_starts_nothing(yard: Yard) -> None:
    graph = begun(yard, a=[], b=[], c=["b"])
    lifecycle.cancel(yard, graph.job_id(0), Kind.TASK)
    plan = plan_of(yard, graph)
    with pytest.raises(GraphRefused):
        start(yard, graph, plan, [2])
    complete(yard, graph.job_id(1), DONE)
    assert states(yard, graph) == [State.CANCELED, State.SUCCESS, None]
    found = yard.graphs.find(graph.id)
    assert found is not None
    assert (found.state, found.stopped_by) == (GraphState.FAILED, "a")


def test_leaves_that_end_while_the_whole_is_canceled_leave_nothing_behind(ground: Ground, yard: Yard) -> None:
    graph = begun(yard, **fan(30))
    ends = [partial(complete, yard, graph.job_id(number), DONE) for number in range(0, 30, 2)]
    ends.insert(7, partial(graphs.cancel, yard, graph.id))
    with ThreadPoolExecutor(ground.threads(8)) as pool:
        futures = [pool.submit(end) for end in ends]
    refused = [future.exception() for future in futures]
    assert {type(error).__name__ for error in refused if error is not None} <= {"Conflict"}
    found = yard.graphs.find(graph.id)
    assert found is not None
    assert found.state is GraphState.CANCELED
    assert set(states(yard, graph)) <= {State.SUCCESS, State.CANCELED, None}


def test_the_clock_finds_what_is_due(yard: Yard) -> None:
    graph = begun(yard, a=[])
    assert graph.wake_at_ms is not None
    becomes(True, lambda: graph.id in yard.graphs.due(graph.wake_at_ms or 0))
    assert graph.id not in yard.graphs.due(graph.wake_at_ms - 1)
    yard.graphs.delete(graph.id)
    assert yard.graphs.find(graph.id) is None
    becomes(False, lambda: graph.id in yard.graphs.due(graph.wake_at_ms or 0))


def test_what_is_watched_moves_once(yard: Yard) -> None:
    graph = begun(yard, a=[], b=[], c=[], d=["a", "b", "c"])
    moved = [yard.graphs.watch(graph.id, "3", 2, after, first=True) for after in (0, 1, 0)]
    assert moved == [True, False, True]  # the last is the first again, whose answer was lost
    found, watched = yard.graphs.with_watched(graph.id, ["3", "4"])
    assert (found, watched) == (graph, {"3": 0})

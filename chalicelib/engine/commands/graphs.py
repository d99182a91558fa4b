"""What people ask of a graph: cancel it, run what has failed again; and what the clock does for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from chalicelib.aws import threads
from chalicelib.core.decisions import wake_for_wait
from chalicelib.core.errors import Conflict, NotFound
from chalicelib.core.graphs import GraphState, Standing
from chalicelib.core.states import Kind
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.graphs.advance import go_on
from chalicelib.engine.graphs.plans import all_standings, plan_of
from chalicelib.engine.sweeping import always
from chalicelib.engine.yard import Yard
from chalicelib.store.graphs import Graph, GraphRefused
from chalicelib.store.ledger import OBJECT_PLACE
from chalicelib.store.payloads import PayloadLost
from chalicelib.store.table import chunks

RACE_TRIES = 4
PARALLEL_CALLS = 8
AT_ONCE = 100  # nodes that are canceled, or sent again, between two looks at the time

EnoughTime = Callable[[], bool]


def find(yard: Yard, graph_id: int) -> Graph:
    """The graph with an id; raises ``NotFound``."""
    graph = yard.graphs.find(graph_id)
    if graph is None:
        raise NotFound(f"there is no graph {graph_id}", field="id", got=str(graph_id))
    return graph


def cancel(yard: Yard, graph_id: int, enough_time: EnoughTime = always) -> Graph:
    """Cancel a graph that is not done: nothing more of it starts, what is not done of it is canceled.

    Returns it as it then is; what there is not ``enough_time`` for, the clock does. One that is done stays as it is.
    Raises ``NotFound``.
    """
    for _ in range(RACE_TRIES):
        graph = find(yard, graph_id)
        if graph.state.final:
            return graph
        if graph.state is not GraphState.CANCELING:
            now_ms = yard.now_ms()
            try:
                graph = yard.graphs.move(graph, GraphState.CANCELING, wake_for_wait(now_ms, now_ms), now_ms)
            except GraphRefused:
                continue  # it moved in between: look again
        look_after(yard, graph, enough_time)
        return find(yard, graph_id)
    raise _keeps_changing(graph_id)


def retry(yard: Yard, graph_id: int, enough_time: EnoughTime = always) -> Graph:
    """Run what has failed of a graph again, or was canceled, and go on from there; what has succeeded is kept.

    Returns it as it then is; what there is not ``enough_time`` for, the clock does. Raises ``NotFound``, and
    ``Conflict`` for a graph that is not done, that has succeeded, or whose work was undone by its compensation.
    """
    for _ in range(RACE_TRIES):
        graph = find(yard, graph_id)
        if graph.state is not GraphState.RESTARTING:  # by our own write, perhaps, whose answer was lost
            _expect_to_be_retried(yard, graph)
            now_ms = yard.now_ms()
            again = {"epoch": graph.epoch + 1, "stopped_by": None, "completed_at_ms": None}
            try:
                wake_at_ms = wake_for_wait(now_ms, now_ms)
                graph = yard.graphs.move(graph, GraphState.RESTARTING, wake_at_ms, now_ms, **again)
            except GraphRefused:
                continue  # it moved in between: look again
        look_after(yard, graph, enough_time)
        return find(yard, graph_id)
    raise _keeps_changing(graph_id)


def look_after(yard: Yard, graph: Graph, enough_time: EnoughTime = always) -> None:
    """Do whatever is to be done with a graph, while there is ``enough_time``; may be repeated, and done by several."""
    try:
        if graph.state is GraphState.CANCELING:
            _to_each(yard, graph, Standing.LIVE, lifecycle.cancel, enough_time)
        elif graph.state is GraphState.RESTARTING:
            _restart(yard, graph, enough_time)
        current = yard.graphs.find(graph.id)
        if current is not None and not current.state.final and enough_time():
            go_on(yard, current)
    except GraphRefused:
        return  # whoever moved it goes on with it


def remove(yard: Yard, graph: Graph) -> None:
    """Delete a graph that is done, but not its tasks."""
    if graph.plan_at is not None and graph.plan_at.startswith(OBJECT_PLACE):
        yard.payloads.delete_objects([graph.plan_at])
    yard.graphs.delete(graph.id)


def _restart(yard: Yard, graph: Graph, enough_time: EnoughTime) -> None:
    """Send what has failed again; then the graph runs."""
    for standing in (Standing.FAILED, Standing.CANCELED):
        if not _to_each(yard, graph, standing, lifecycle.retry, enough_time):
            return
    now_ms = yard.now_ms()
    yard.graphs.move(graph, GraphState.RUNNING, wake_for_wait(now_ms, now_ms), now_ms)


def _to_each(
    yard: Yard, graph: Graph, which: Standing, do: Callable[[Yard, int, Kind], object], enough_time: EnoughTime
) -> bool:
    """``do`` it to the task of each node that stands so; returns whether there was time for all."""
    numbers = [number for number, standing in enumerate(all_standings(yard, graph)) if standing is which]
    with threads(PARALLEL_CALLS) as callers:
        for chunk in chunks(numbers, AT_ONCE):
            if not enough_time():
                return False
            list(callers.map(partial(_do, yard, graph, do), chunk))
    return True


def _do(yard: Yard, graph: Graph, do: Callable[[Yard, int, Kind], object], number: int) -> None:
    try:
        do(yard, graph.job_id(number), Kind.TASK)
    except (Conflict, NotFound):
        return  # it moved in between: by itself, or somebody has deleted it


def _expect_to_be_retried(yard: Yard, graph: Graph) -> None:
    if graph.state not in (GraphState.FAILED, GraphState.CANCELED):
        raise Conflict(
            "only a graph that has failed, or was canceled, can be retried",
            field="id",
            expected=f"{GraphState.FAILED} or {GraphState.CANCELED}",
            got=graph.state.value,
        )
    if graph.compensated is not None:
        raise Conflict(
            "what this graph has done was compensated",
            field="id",
            expected="a graph whose compensation has not run",
            got=str(graph.id),
            remedy="create it anew",
        )
    _expect_failures(yard, graph)


def _expect_failures(yard: Yard, graph: Graph) -> None:
    """The node that stopped the graph must be there still: deleted, it would pass for one that has succeeded."""
    if graph.stopped_by is None:
        return
    try:
        plan = plan_of(yard, graph)
    except PayloadLost as lost:
        raise Conflict(lost.message, field="id", got=str(graph.id), remedy="create it anew") from lost
    standings = all_standings(yard, graph)
    number = next((n for n, node in enumerate(plan.nodes) if node.name == graph.stopped_by), plan.end)
    if standings[number] is Standing.REMOVED:
        raise Conflict(
            "the task that stopped this graph was deleted",
            field="id",
            expected="a graph whose failed nodes are there",
            got=graph.stopped_by,
            remedy="create it anew",
        )


def _keeps_changing(graph_id: int) -> Conflict:
    return Conflict("the graph keeps changing", field="id", got=str(graph_id), remedy="try again")

"""What people ask of a graph: cancel it, run what has failed again; and what the clock does for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from chalicelib.aws import threads
from chalicelib.core.errors import Conflict, NotFound, unknown
from chalicelib.core.graph_progress import Standing, standing_of
from chalicelib.core.graphs import GraphState
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.core.waking import wake_for_wait
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.graphs.advance import go_on
from chalicelib.engine.graphs.plans import all_standings, records
from chalicelib.engine.sweeping import always
from chalicelib.engine.worker.concurrency import fill_freed_slot
from chalicelib.engine.yard import Yard
from chalicelib.store.graphs import Graph, GraphRefused
from chalicelib.store.ledger import OBJECT_PLACE, JobRefused
from chalicelib.store.table import chunks

RACE_TRIES = 4
PARALLEL_CALLS = 8
AT_ONCE = 100  # nodes that are canceled, or sent again, between two looks at the time

REQUEST_MS = 10_000  # of a request; what is left then, the clock does

EnoughTime = Callable[[], bool]


def within_a_request(yard: Yard) -> EnoughTime:
    """Whether a request that begins now has time for more."""
    ends_ms = yard.now_ms() + REQUEST_MS
    return lambda: yard.now_ms() < ends_ms


def find(yard: Yard, graph_id: int) -> Graph:
    """The graph with an id; raises ``NotFound``."""
    graph = yard.graphs.find(graph_id)
    if graph is None:
        raise unknown("graph", graph_id)
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
    """Do whatever is to be done with a graph, while there is ``enough_time``; may be repeated, and done by several.

    What is left, the clock does at its next run.
    """
    try:
        if graph.state is GraphState.CANCELING:
            _to_each(yard, graph, Standing.LIVE, _cancel, enough_time)
        elif graph.state is GraphState.RESTARTING:
            _restart(yard, graph, enough_time)
        current = yard.graphs.find(graph.id)
        if current is None or current.state.final:
            return
        if enough_time():
            go_on(yard, current, enough_time)
        if not enough_time():
            yard.graphs.wake_later(current, yard.now_ms())
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
        if not _to_each(yard, graph, standing, _retry, enough_time):
            return
    now_ms = yard.now_ms()
    yard.graphs.move(graph, GraphState.RUNNING, wake_for_wait(now_ms, now_ms), now_ms)


def _to_each(
    yard: Yard, graph: Graph, which: Standing, do: Callable[[Yard, Job], object], enough_time: EnoughTime
) -> bool:
    """``do`` it to the task of each node that stands so; returns whether there was time for all.

    To the compensation only what is done to live ones: it is canceled with the others, and never runs again.
    """
    numbers = range(graph.size + (which is Standing.LIVE))
    jobs = [job for job in records(yard, graph, numbers) if isinstance(job, Job) and standing_of(job.state) is which]
    with threads(PARALLEL_CALLS) as callers:
        for chunk in chunks(jobs, AT_ONCE):
            if not enough_time():
                return False
            list(callers.map(partial(do, yard), chunk))
    return True


def _cancel(yard: Yard, job: Job) -> None:
    """Cancel the task of a node; what its graph makes of it is seen once, when all are."""
    try:
        fill_freed_slot(yard, job, yard.jobs.cancel(job, yard.now_ms()))
    except JobRefused:  # it moved in between: by itself, or somebody has deleted it
        with suppress(NotFound):
            lifecycle.cancel(yard, job.id, Kind.TASK)


def _retry(yard: Yard, job: Job) -> None:
    with suppress(Conflict, NotFound):  # it moved in between: by itself, or somebody has deleted it
        lifecycle.retry(yard, job.id, Kind.TASK)


def _expect_to_be_retried(yard: Yard, graph: Graph) -> None:
    if graph.state not in (GraphState.FAILED, GraphState.CANCELED):
        raise Conflict(
            "only a graph that has failed, or was canceled, can be retried",
            field="id",
            expected=f"{GraphState.FAILED} or {GraphState.CANCELED}",
            got=graph.state.value,
        )
    found = all_standings(yard, graph)
    if found[graph.end] is not Standing.ABSENT:
        raise Conflict(
            "what this graph has done was compensated",
            field="id",
            expected="a graph whose compensation has not begun",
            got=str(graph.id),
            remedy="create it anew",
        )
    if Standing.REMOVED in found:  # whether it had succeeded, nobody knows
        raise Conflict(
            "tasks of this graph were deleted",
            field="id",
            expected="a graph whose tasks are all there",
            got=f"{found.count(Standing.REMOVED)} that are not",
            remedy="create it anew",
        )


def _keeps_changing(graph_id: int) -> Conflict:
    return Conflict("the graph keeps changing", field="id", got=str(graph_id), remedy="try again")

"""Going on with a graph when one of its nodes is done: start what comes after it, or stop, or end the whole.

Every step may be repeated and may come late. What a crash leaves undone is done when SQS delivers the node's message
again, or by the clock, which looks at all nodes of a graph (``go_on``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from chalicelib.core.errors import TaskyardError
from chalicelib.core.graph_progress import Standing, drained, first_left, lets_start, next_of, standing_of
from chalicelib.core.graphs import Edge, GraphState, OnFailure, Plan
from chalicelib.core.job import Job
from chalicelib.core.waking import wake_for_wait
from chalicelib.engine.graphs.plans import all_standings, plan_of, standings
from chalicelib.engine.graphs.start import start
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.sweeping import always
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.graphs import Graph, GraphRefused

RACE_TRIES = 4
JOINS_MAX = 50  # of one node, that are looked at one by one; beyond that, all nodes of the graph are

Over = Callable[[Sequence[int]], Iterable[bool]]


def after_end(yard: Yard, job: Job) -> None:
    """What the end of a job sets going in its graph, if it is a node of one.

    The end counts already: nothing is raised. Where AWS does not answer, the clock does it.
    """
    if job.graph is not None and job.state.terminal:
        with _or_the_clock(job.graph):
            _after_end(yard, job, job.graph)


def after_end_again(yard: Yard, job: Job) -> None:
    """The same for a job that was done before: whoever ended it may have died on the way."""
    if job.graph is not None and job.state.terminal:
        with _or_the_clock(job.graph):
            graph = yard.graphs.find(job.graph)
            if graph is not None and not graph.state.final:
                go_on(yard, graph)


@contextmanager
def _or_the_clock(graph_id: int) -> Iterator[None]:
    """Go on with a graph; what fails is left to the clock, and what somebody else has moved meanwhile to them."""
    try:
        yield
    except GraphRefused:
        return
    except (*AWS_FAILURES, TaskyardError) as error:
        logger.warning("a graph is left to the clock", extra={"graph": graph_id, "error": str(error)})


def go_on(yard: Yard, graph: Graph, enough_time: Callable[[], bool] = always) -> None:
    """Do whatever is to be done with a graph, however all its nodes stand, while there is ``enough_time``.

    Raises ``GraphRefused``.
    """
    plan = plan_of(yard, graph)
    step = next_of(plan, graph.state, all_standings(yard, graph))
    if step.stopped_by is not None:
        _stop(yard, graph, plan.nodes[step.stopped_by].name)
    elif step.over:
        end(yard, graph, plan)
    elif step.start:
        _start(yard, graph, plan, step.start, enough_time)


def end(yard: Yard, graph: Graph, plan: Plan) -> None:
    """Nothing of a graph goes on: end it, or start its compensation. Raises ``GraphRefused``."""
    now_ms = yard.now_ms()
    if graph.state is GraphState.STOPPING and plan.compensation is not None:
        wake_at_ms = wake_for_wait(now_ms, now_ms)
        compensating = yard.graphs.move(graph, GraphState.COMPENSATING, wake_at_ms, now_ms)
        _start(yard, compensating, plan, [plan.end])
        return
    sets = {}
    if graph.state is GraphState.COMPENSATING:
        (compensation,) = standings(yard, graph, [plan.end])
        sets = {"compensated": compensation is Standing.SUCCEEDED}
    state = _end_of(yard, graph)
    yard.graphs.move(graph, state, _removal_ms(yard, state, now_ms), now_ms, completed_at_ms=now_ms, **sets)
    logger.info("graph done", extra={"graph": graph.id, "state": state})


def _removal_ms(yard: Yard, state: GraphState, now_ms: int) -> int | None:
    """When the clock removes a graph that ends now, in milliseconds since 1970: as its tasks, as the settings say."""
    chosen = yard.settings
    keep_s = chosen.retention_completed_s if state is GraphState.SUCCESS else chosen.retention_failed_s
    return now_ms + keep_s * 1_000 if keep_s else None


# -- after one node -----------------------------------------------------------------------------------


def _after_end(yard: Yard, job: Job, graph_id: int) -> None:
    for _ in range(RACE_TRIES):
        edges = _edges_of(yard, job, graph_id)
        graph, watched = yard.graphs.with_watched(graph_id, map(str, _joins(edges)))
        if graph is None or graph.state.final:
            return
        number = graph.number_of(job.id)
        try:
            if graph.state is GraphState.RUNNING:
                _after_node(yard, graph, job, number, edges, watched)
            elif graph.state in (GraphState.STOPPING, GraphState.CANCELING):
                _drain(yard, graph, number)
            elif number == graph.end and graph.state is GraphState.COMPENSATING:
                end(yard, graph, plan_of(yard, graph))
        except GraphRefused:
            continue  # it moved in between: look again
        return


def _edges_of(yard: Yard, job: Job, graph_id: int) -> list[Edge]:
    """What comes after a node: as its record says, or else the plan."""
    if job.edges is not None:
        return Edge.all_in(job.edges)
    graph = yard.graphs.find(graph_id)
    return [] if graph is None else plan_of(yard, graph).edges(graph.number_of(job.id))


def _joins(edges: Iterable[Edge]) -> list[int]:
    return [number for edge in edges if edge.watched is not None for number in edge.numbers][: JOINS_MAX + 1]


def _after_node(
    yard: Yard, graph: Graph, job: Job, number: int, edges: Sequence[Edge], watched: Mapping[str, int]
) -> None:
    """A node of a running graph is done."""
    standing = standing_of(job.state)
    if not lets_start(graph.on_failure, standing):
        _stop(yard, graph, job.node or "")
        return
    if len(_joins(edges)) > JOINS_MAX:
        go_on(yard, graph)
        return
    ready = [each for edge in edges for each in edge.numbers if _is_ready(yard, graph, each, number, edge, watched)]
    starts = [each for each in ready if each != graph.end]
    if starts:
        _start(yard, graph, plan_of(yard, graph), starts)
    if starts != ready or _was_sent_again_last(yard, graph):
        go_on(yard, graph)


def _was_sent_again_last(yard: Yard, graph: Graph) -> bool:
    """Whether nothing is left of a graph that was retried: what comes last in the plan may have ended long before."""
    return graph.epoch > 0 and first_left(range(graph.end), graph.end, _over(yard, graph)) is None


def _is_ready(yard: Yard, graph: Graph, number: int, ended: int, edge: Edge, watched: Mapping[str, int]) -> bool:
    """Whether a node can start now that ``ended``, before it, is done."""
    if edge.watched is None:
        return True
    gate = str(number)
    if not graph.epoch and watched.get(gate, edge.watched) != ended:
        return False
    before = plan_of(yard, graph).before(number)
    if graph.epoch:  # what was watched before the retry is over, perhaps
        return first_left(before, before[-1] + 1, _over(yard, graph)) is None
    return _none_left(yard, graph, gate, before, ended, _over(yard, graph), first=gate not in watched)


def _over(yard: Yard, graph: Graph) -> Over:
    """Of nodes, whether those behind each need not wait for it any more."""
    return lambda numbers: (lets_start(graph.on_failure, each) for each in standings(yard, graph, numbers))


def _none_left(
    yard: Yard, graph: Graph, gate: str, before: Sequence[int], watched: int, over: Over, *, first: bool
) -> bool:
    """Whether all nodes before a gate are over, ``watched`` being so; if not, another one of them is watched now.

    One that ended between the look at it and the write that has it watched did not know: so it is looked at again.
    """
    while True:
        left = first_left(before, watched, over)
        if left is None:
            return True
        if not yard.graphs.watch(graph.id, gate, watched, left, first=first):
            return False  # somebody else goes on from there
        if not all(over([left])):
            return False
        watched, first = left, False


def _start(
    yard: Yard, graph: Graph, plan: Plan, numbers: Sequence[int], enough_time: Callable[[], bool] = always
) -> None:
    for job in start(yard, graph, plan, numbers, enough_time):
        after_end(yard, job)  # of one that was rejected at once


def _stop(yard: Yard, graph: Graph, stopped_by: str) -> None:
    """A node has failed, or was canceled: nothing more is started."""
    now_ms = yard.now_ms()
    wake_at_ms = wake_for_wait(now_ms, now_ms)
    go_on(yard, yard.graphs.move(graph, GraphState.STOPPING, wake_at_ms, now_ms, stopped_by=stopped_by))


def _drain(yard: Yard, graph: Graph, ended: int) -> None:
    """A node of a graph that starts nothing more is done: end the whole, if it was the last."""
    gate = graph.draining
    _, watched = yard.graphs.with_watched(graph.id, [gate])
    if gate in watched and watched[gate] != ended:
        return
    over: Over = lambda numbers: map(drained, standings(yard, graph, numbers))  # noqa: E731
    last = watched.get(gate, graph.end)
    if _none_left(yard, graph, gate, range(graph.size), last, over, first=gate not in watched):
        end(yard, graph, plan_of(yard, graph))


def _end_of(yard: Yard, graph: Graph) -> GraphState:
    """How a graph ends of which nothing goes on."""
    if graph.state is GraphState.CANCELING:
        return GraphState.CANCELED
    if graph.state is not GraphState.RUNNING:
        return GraphState.FAILED
    if graph.on_failure is not OnFailure.CONTINUE:
        return GraphState.SUCCESS
    failed = any(standing.unsuccessful for standing in all_standings(yard, graph))
    return GraphState.FAILED if failed else GraphState.SUCCESS

"""Graphs of tasks: each starts when those before it have succeeded, and gets what they returned.

    from chalicelib.services import graphs

    report = graphs.Builder("nightly")
    extract = report.task("extract", "etl.extract", input={"day": "2026-11-30"})
    parts = [report.task(f"part-{n}", "etl.part", input={"n": n}, after=[extract]) for n in range(100)]
    report.task("report", "etl.report", after=parts)
    graph = report.start()

A task that names no input gets the output of the one before it, or of several a dict by name; ``context.results`` has
that dict in any case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from chalicelib.core.errors import InvalidInput
from chalicelib.core.graphs import GraphState, OnFailure
from chalicelib.core.job import SYSTEM, Job
from chalicelib.core.lanes import priority_of
from chalicelib.core.mermaid import mermaid_of
from chalicelib.engine.commands import graphs as commands
from chalicelib.engine.graphs import accept
from chalicelib.engine.graphs.accept import NewGraph
from chalicelib.engine.graphs.plans import plan_of, records, results_of
from chalicelib.engine.worker.context import Context
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.graph_orders import batch_order, node_request, order
from chalicelib.services.publications import Publication
from chalicelib.services.records import maybe_moment_of, moment_of
from chalicelib.services.task_orders import Follows, NextTask, task_request
from chalicelib.store import graphs as store

BLOCKED = "blocked"  # it waits for others
SKIPPED = "skipped"  # it was not started, and will not be
REMOVED = "removed"  # it was done, and its task was deleted
AT_ONCE_MAX = 1_000  # nodes that are told at a time
COUNTED_MAX = 1_000  # nodes of a graph that are counted unasked: to count reads them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph as it stood when it was read."""

    id: int
    name: str | None
    status: GraphState
    on_failure: OnFailure
    size: int  # its nodes
    # How many nodes are in which status: those of tasks, blocked, skipped or removed. None: see ``get``.
    counts: Mapping[str, int] | None
    stopped_by: str | None  # the node whose failure stopped it
    compensated: bool | None  # whether its compensation has succeeded; None: it has none, or that is not over
    trace_id: str | None
    user_id: str | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """A node of a graph. ``status`` is that of its task, or blocked, skipped or removed."""

    name: str
    type: str
    after: Sequence[str]
    status: str
    task_id: int | None  # None: it was not started
    error: str | None


Which: TypeAlias = Graph | int | str
"""A graph, or its id as a number or as digits."""


@dataclass(frozen=True, slots=True)
class Builder:
    """A graph in the making. ``on_failure``: ``stop`` (default), ``continue`` or ``compensate``, by ``compensation``.

    What its tasks have by default: ``priority``, ``target_id``, ``target_type``, ``user_id`` and ``tenant``.
    """

    name: str | None = None
    on_failure: OnFailure | str = OnFailure.STOP
    compensation: NextTask | Mapping[str, Any] | None = None
    priority: int | str = 0
    target_id: str | None = None
    target_type: str | None = None
    user_id: str | None = None
    trace_id: str | None = None
    tenant: str | None = None
    _nodes: list[tuple[str, Mapping[str, Any], Sequence[str]]] = field(default_factory=list, init=False, repr=False)

    def task(
        self,
        name: str,
        type: str,  # noqa: A002  # every dialect's word for it
        *,
        after: Sequence[str] = (),
        input: Any = Follows.OUTPUT,  # noqa: A002  # likewise
        runner_type: str = SYSTEM,
        **more: Any,
    ) -> str:
        """Add a node; returns its name, for the ``after`` of others. ``more``: as of a ``NextTask``, but ``next``."""
        self.add(name, NextTask(type=type, input=input, runner_type=runner_type, **more), after)
        return name

    def add(self, name: str, task: NextTask | Mapping[str, Any], after: Sequence[str] = ()) -> None:
        """Add a node: a ``NextTask``, or a dict in fastify-task's words. Raises ``InvalidInput``."""
        if not isinstance(after, list | tuple) or not all(isinstance(each, str) for each in after):
            raise InvalidInput("these are no names", field="after", expected="a list of names of nodes", got=after)
        self._nodes.append((name, node_request(f"nodes.{name}", task_request(f"nodes.{name}", task)), list(after)))

    def start(
        self, *, idempotency_key: str | None = None, once: str | None = None, within: Context | None = None
    ) -> Graph:
        """Accept the graph and start its first tasks; two that have the same key are one.

        ``once`` and ``within``: as for ``tasks.create``. Raises ``InvalidInput``, ``TooLarge``, ``Conflict`` for a key
        that was used with another graph, and ``Unavailable``.
        """
        wanted = Publication(idempotency_key=idempotency_key, once=once, within=within)
        key, yard = wanted.key(), installation.yard()
        try:
            return record_of(yard, accept.accept(yard, self._order(key)))
        except BaseException:
            wanted.take_back()
            raise

    def _order(self, key: str | None) -> NewGraph:
        compensation = self.compensation
        return order(
            self._nodes,
            on_failure=self.on_failure,
            compensation=None if compensation is None else task_request("compensation", compensation),
            name=checks.maybe_name("name", self.name),
            priority=priority_of(self.priority),
            target_id=checks.maybe_name("target_id", self.target_id),
            target_type=checks.maybe_name("target_type", self.target_type),
            user_id=checks.maybe_name("user_id", self.user_id),
            trace_id=checks.maybe_name("trace_id", self.trace_id),
            idempotency_key=key,
            tenant=checks.maybe_tenant(self.tenant),
        )


def batch(
    tasks: Sequence[NextTask | Mapping[str, Any]],
    *,
    then: NextTask | Mapping[str, Any] | None = None,
    otherwise: NextTask | Mapping[str, Any] | None = None,
    always: NextTask | Mapping[str, Any] | None = None,
    name: str | None = None,
    idempotency_key: str | None = None,
) -> Graph:
    """Many tasks beside each other, and one when all are done: a graph of two levels. Its nodes are ``0``, ``1``, ...

    ``then`` is created once all have succeeded, ``otherwise`` once none runs any more and some have failed, ``always``
    once all are done, however; it stands alone. Raises as ``Builder.start`` does.
    """
    if not isinstance(tasks, list | tuple) or not tasks:
        raise InvalidInput("a batch has tasks", field="tasks", expected="a list of at least one", got=tasks)
    made = [node_request(f"tasks.{place}", task_request(f"tasks.{place}", each)) for place, each in enumerate(tasks)]
    given = {"then": then, "otherwise": otherwise, "always": always}
    told = {word: task_request(word, task) for word, task in given.items() if task is not None}
    yard = installation.yard()
    return record_of(
        yard,
        accept.accept(
            yard,
            batch_order(
                made,
                **told,
                name=checks.maybe_name("name", name),
                idempotency_key=checks.maybe_name("idempotency_key", idempotency_key),
            ),
        ),
    )


def get(graph: Which, *, counts: bool = False) -> Graph:
    """A graph as it stands now. Raises ``NotFound``.

    To count reads every node; of a graph with more than 1,000 they are counted only if ``counts`` are asked for.
    """
    yard = installation.yard()
    return record_of(yard, commands.find(yard, _id(graph)), counts=counts)


def nodes(graph: Which) -> Iterator[GraphNode]:
    """All nodes of a graph, each after those that it comes after. Raises ``NotFound``."""
    yard = installation.yard()
    found = commands.find(yard, _id(graph))
    for start in range(0, found.size, AT_ONCE_MAX):
        yield from nodes_of(yard, found, range(start, min(start + AT_ONCE_MAX, found.size)))


def results(graph: Which) -> dict[str, Any]:
    """What the nodes that have succeeded returned, by name. Raises ``NotFound``."""
    yard = installation.yard()
    found = commands.find(yard, _id(graph))
    plan = plan_of(yard, found)
    return {plan.nodes[number].name: output for number, output in results_of(yard, found, range(found.size)).items()}


def cancel(graph: Which) -> Graph:
    """Cancel a graph that is not done: nothing more of it starts, and what is not done of it is canceled.

    One that is done stays as it is. Raises ``NotFound``.
    """
    yard = installation.yard()
    return record_of(yard, commands.cancel(yard, _id(graph)))


def retry(graph: Which) -> Graph:
    """Run what has failed of a graph, or was canceled, again, and go on from there; what has succeeded is kept.

    Raises ``NotFound``, and ``Conflict`` for one that is not done, that has succeeded, or that was compensated.
    """
    yard = installation.yard()
    return record_of(yard, commands.retry(yard, _id(graph)))


def mermaid(graph: Which) -> str:
    """A graph as Mermaid text, its nodes with their status. Raises ``NotFound``."""
    yard = installation.yard()
    return drawing_of(yard, commands.find(yard, _id(graph)))


# -- as they are told, here and over HTTP -------------------------------------------------------------


def record_of(yard: Yard, graph: store.Graph, *, counts: bool = False) -> Graph:
    """A graph as it stands; a large one is counted only if ``counts`` are asked for."""
    return Graph(
        id=graph.id,
        name=graph.name,
        status=graph.state,
        on_failure=graph.on_failure,
        size=graph.size,
        counts=counts_of(yard, graph, asked=counts),
        stopped_by=graph.stopped_by,
        compensated=graph.compensated,
        trace_id=graph.trace_id,
        user_id=graph.created_by,
        created_at=moment_of(graph.created_at_ms),
        updated_at=moment_of(graph.updated_at_ms),
        completed_at=maybe_moment_of(graph.completed_at_ms),
    )


def nodes_of(yard: Yard, graph: store.Graph, numbers: Sequence[int]) -> list[GraphNode]:
    """Some nodes of a graph, by number."""
    plan, found = plan_of(yard, graph), records(yard, graph, numbers)
    return [
        GraphNode(
            name=plan.nodes[number].name,
            type=plan.nodes[number].request["type"],
            after=[plan.nodes[each].name for each in plan.nodes[number].after],
            status=_status(graph, record),
            task_id=record.id if isinstance(record, Job) else None,
            error=record.error.message if isinstance(record, Job) and record.error is not None else None,
        )
        for number, record in zip(numbers, found, strict=True)
    ]


def counts_of(yard: Yard, graph: store.Graph, *, asked: bool = False) -> dict[str, int] | None:
    """How many nodes of a graph are in which status; of a large one only if that is ``asked`` for."""
    return dict(Counter(statuses_of(yard, graph))) if asked or graph.size <= COUNTED_MAX else None


def statuses_of(yard: Yard, graph: store.Graph) -> list[str]:
    """The status of every node."""
    return [_status(graph, record) for record in records(yard, graph, range(graph.size))]


def drawing_of(yard: Yard, graph: store.Graph) -> str:
    """A graph as Mermaid text."""
    return mermaid_of(plan_of(yard, graph), statuses_of(yard, graph))


def _status(graph: store.Graph, record: object) -> str:
    if isinstance(record, Job):
        return record.state.value
    if record is not None:
        return REMOVED
    return SKIPPED if graph.state.final else BLOCKED


def _id(graph: Which) -> int:
    return graph.id if isinstance(graph, Graph) else checks.job_id(graph, "graph")

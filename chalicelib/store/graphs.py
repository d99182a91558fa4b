"""Graphs of tasks: what is kept of one beside the records of its tasks. In the jobs table, under the graph's id.

Key layout::

    job (N)  part (S)            what
    7        graph               see ``Graph``; wake_key (graphs) and wake_at_ms, of the index ``due``
    7        plan                the plan as JSON text, unless it is in the bucket
    7        watched#<number>    which node a join, or the end, watches; absent: the last one before it
    7        watched#<epoch>!    which node is watched while the graph, in that epoch, starts nothing more

A node's task is a job like any other, with an id of its own that follows from the graph's (``core/graphs.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from chalicelib.core.graphs import GraphState, OnFailure
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.clauses import ABSENT
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Refused, Table

GRAPH_PART = "graph"
PLAN_PART = "plan"
WATCHED_PART = "watched#"
WAKE_KEY = "graphs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph as it stands. Times are in milliseconds since 1970."""

    id: int
    uid: str
    state: GraphState = GraphState.RUNNING
    epoch: int = 0  # how often it was retried
    size: int  # its nodes
    trace_id: str | None = None  # of all its tasks; None: each has one of its own
    created_at_ms: int
    updated_at_ms: int
    plan_at: str | None = None  # its plan's place in the bucket, if it is there
    name: str | None = None
    created_by: str | None = None
    on_failure: OnFailure = OnFailure.STOP
    stopped_by: str | None = None  # the name of the node whose failure stopped it
    compensated: bool | None = None  # whether its compensation has succeeded, once that is over
    completed_at_ms: int | None = None
    wake_at_ms: int | None = None

    @property
    def end(self) -> int:
        """The number behind its last node."""
        return self.size

    def job_id(self, number: int) -> int:
        """The id of a node's task."""
        return self.id + 1 + number

    def number_of(self, job_id: int) -> int:
        """Which node a task is."""
        return job_id - self.id - 1

    @property
    def draining(self) -> str:
        """What is watched while nothing more is started."""
        return f"{self.epoch}!"


class GraphRefused(Exception):
    """A graph is no longer as it was seen."""


@dataclass(frozen=True, slots=True)
class Graphs:
    """The access patterns of graphs."""

    table: Table

    # -- reading ------------------------------------------------------------------------------

    def find(self, graph_id: int) -> Graph | None:
        """The graph as of the last write."""
        return _graph_in(self.table.get(_key(graph_id, GRAPH_PART)))

    def plan_text(self, graph_id: int) -> str | None:
        """The text of a plan that is not in the bucket."""
        item = self.table.get(_key(graph_id, PLAN_PART))
        return None if item is None else str(item["text"])

    def with_watched(self, graph_id: int, gates: Iterable[str]) -> tuple[Graph | None, dict[str, int]]:
        """The graph, and of those among ``gates`` that are written the number of the node that each watches."""
        parts = [GRAPH_PART, *(f"{WATCHED_PART}{gate}" for gate in gates)]
        items = self.table.get_many([_key(graph_id, part) for part in parts])
        graph = next((_graph_in(item) for item in items if item["part"] == GRAPH_PART), None)
        return graph, {
            item["part"].removeprefix(WATCHED_PART): item["watched"] for item in items if item["part"] != GRAPH_PART
        }

    def due(self, now_ms: int) -> Iterator[int]:
        """The ids of the graphs that the clock shall look after, the longest overdue first."""
        rows = self.table.query_all(
            "{wake_key} = :key AND {wake_at_ms} <= :now", {":key": WAKE_KEY, ":now": now_ms}, index="due"
        )
        return (row["job"] for row in rows)

    # -- writing ------------------------------------------------------------------------------

    def accepting(self, graph: Graph, plan_text: str | None) -> list[AttributeValues]:
        """The actions that write a new graph (first), with the plan beside it where that is not in the bucket."""
        plan = [] if plan_text is None else [self.table.putting({**_key(graph.id, PLAN_PART), "text": plan_text})]
        return [self.table.putting(_item(graph), ABSENT), *plan]

    def requiring(self, graph: Graph) -> AttributeValues:
        """The look at a graph on which the start of its tasks depends: it is as it was seen, and starts them still."""
        return self.table.checking(_key(graph.id, GRAPH_PART), *_as_seen(graph))

    def move(self, seen: Graph, to: GraphState, wake_at_ms: int | None, now_ms: int, **sets: Any) -> Graph:
        """Another state; the clock looks at ``wake_at_ms``. Raises ``GraphRefused``."""
        wake = {"wake_key": None if wake_at_ms is None else WAKE_KEY, "wake_at_ms": wake_at_ms}
        return self._change(seen, {"state": to.value, "updated_at_ms": now_ms, **wake, **sets})

    def wake_later(self, seen: Graph, wake_at_ms: int) -> None:
        """Move the time at which the clock looks. Raises ``GraphRefused``."""
        self._change(seen, {"wake_at_ms": wake_at_ms})

    def watch(self, graph_id: int, gate: str, before: int, after: int, *, first: bool) -> bool:
        """Watch the node ``after`` in place of ``before``; false if that was not watched any more.

        ``first``: before is what is watched where nothing is written.
        """
        text = "{watched} = :before OR attribute_not_exists({watched})" if first else "{watched} = :before"
        seen = Clause("watched as seen", text, {":before": before})
        try:
            self.table.apply(_key(graph_id, f"{WATCHED_PART}{gate}"), Change((seen,), sets={"watched": after}))
        except Refused as refused:
            return (refused.old or {}).get("watched") == after  # our own write, perhaps, whose answer was lost
        return True

    def delete(self, graph_id: int) -> None:
        """Delete all that is kept of a graph beside its tasks and what is in the bucket; the graph itself last."""
        rows = self.table.query_all("{job} = :job", {":job": graph_id}, consistent=True)
        self.table.delete_many([_key(graph_id, row["part"]) for row in rows if row["part"] != GRAPH_PART])
        self.table.delete_many([_key(graph_id, GRAPH_PART)])

    def _change(self, seen: Graph, sets: Mapping[str, Any]) -> Graph:
        try:
            item = self.table.update(_key(seen.id, GRAPH_PART), Change(tuple(_as_seen(seen)), sets=sets))
        except Refused as refused:
            raise GraphRefused from refused
        return graph_of(item)


def _as_seen(graph: Graph) -> Sequence[Clause]:
    values = {":uid": graph.uid, ":state": graph.state.value, ":epoch": graph.epoch}
    return (Clause("graph as seen", "{uid} = :uid AND {state} = :state AND {epoch} = :epoch", values),)


def _key(graph_id: int, part: str) -> dict[str, Any]:
    return {"job": graph_id, "part": part}


def _item(graph: Graph) -> dict[str, Any]:
    kept = {each.name: getattr(graph, each.name) for each in fields(Graph) if each.name != "id"}
    wake = {} if graph.wake_at_ms is None else {"wake_key": WAKE_KEY}
    item = {name: value for name, value in kept.items() if value is not None}
    words = {"state": graph.state.value, "on_failure": graph.on_failure.value}
    return {**_key(graph.id, GRAPH_PART), **item, **wake, **words}


def _graph_in(item: Mapping[str, Any] | None) -> Graph | None:
    return None if item is None else graph_of(item)


def graph_of(item: Mapping[str, Any]) -> Graph:
    """The graph in an item of part ``graph``."""
    kept = {each.name: item[each.name] for each in fields(Graph) if each.name in item}
    words = {"state": GraphState(item["state"]), "on_failure": OnFailure(item["on_failure"])}
    return Graph(**{**kept, **words, "id": item["job"]})

"""Graphs of tasks: their plan.

A plan numbers its nodes from 0 so that each comes after those before it. Node number ``n`` of graph ``g`` becomes the
task with the id ``g + 1 + n`` when its time has come; the number behind the last node is the *end*: what it comes after
are the nodes with nothing behind them, and its task, if there is one, is the compensation.

A node that comes after several is a *join*. Whoever ends one of those must know whether others are left, and nobody
counts: each join has a *watched* node, at first its last one. As long as that one is not over, the join cannot start,
and everybody else looks no further; whoever ends it looks, from there downwards, for another one that is left, which
is watched from then on, or finds none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from typing import Any

EDGES_TEXT_MAX_CHARS = 120  # of what a node's record says of those behind it; beyond that the plan is read


class OnFailure(StrEnum):
    """What a node that fails, or is canceled, means for the others."""

    STOP = "stop"  # none is started any more
    CONTINUE = "continue"  # those behind it start all the same
    COMPENSATE = "compensate"  # as stop; once nothing runs, one more task is started


class GraphState(StrEnum):
    """Where a graph stands. The last three are final."""

    RUNNING = "running"
    STOPPING = "stopping"  # a node has failed: what runs goes on, nothing starts
    CANCELING = "canceling"
    COMPENSATING = "compensating"
    RESTARTING = "restarting"  # its nodes that failed are sent again
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        """Whether nothing of it goes on."""
        return self in (GraphState.SUCCESS, GraphState.FAILED, GraphState.CANCELED)


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its name, the task that it is (in fastify-task's words), and the numbers of those before it."""

    name: str
    request: Mapping[str, Any]
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a graph is made of. ``compensation`` is a task in fastify-task's words, if there is to be one."""

    nodes: tuple[Node, ...]
    on_failure: OnFailure = OnFailure.STOP
    compensation: Mapping[str, Any] | None = None
    # Of every task: application, backoff as it is stored; of those that name none: priority, target_id, target_type,
    # tenant.
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The number behind the last node."""
        return len(self.nodes)

    def before(self, number: int) -> tuple[int, ...]:
        """The numbers of the nodes that a node, or the end, comes after, ascending."""
        return self._last if number == self.end else self.nodes[number].after

    def behind(self, number: int) -> tuple[int, ...]:
        """The numbers of the nodes that come after a node, or the end, ascending."""
        return self._behind[number]

    @cached_property
    def _last(self) -> tuple[int, ...]:
        followed = {each for node in self.nodes for each in node.after}
        return tuple(number for number in range(self.end) if number not in followed)

    @cached_property
    def _behind(self) -> list[tuple[int, ...]]:
        found: list[list[int]] = [[] for _ in self.nodes]
        for number in range(self.end + 1):
            for each in self.before(number):
                found[each].append(number)
        return [tuple(each) for each in found]

    def edges_text(self, number: int) -> str | None:
        """What a node's record says of those behind it: see ``Edge``; ``None`` where the plan must be read."""
        text = ",".join(edge.to_text() for edge in self.edges(number))
        return text if len(text) <= EDGES_TEXT_MAX_CHARS else None

    def edges(self, number: int) -> list[Edge]:
        """The edges that leave a node."""
        edges: list[Edge] = []
        for each in self.behind(number):
            before = self.before(each)
            watched = before[-1] if len(before) > 1 else None
            newest = edges[-1] if edges else None
            if newest is not None and newest.last == each - 1 and newest.watched == watched:
                edges[-1] = Edge(newest.first, each, watched)
            else:
                edges.append(Edge(each, each, watched))
        return edges

    def to_text(self) -> str:
        """The stored form: ASCII JSON."""
        document = {
            "nodes": [[node.name, node.request, ranges_text(node.after)] for node in self.nodes],
            "on_failure": self.on_failure,
            "compensation": self.compensation,
            "defaults": self.defaults,
        }
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Plan:
        """The plan that ``to_text`` wrote."""
        document = json.loads(text)
        return cls(
            tuple(Node(name, request, tuple(numbers_in(after))) for name, request, after in document["nodes"]),
            OnFailure(document["on_failure"]),
            document["compensation"],
            document["defaults"],
        )


@dataclass(frozen=True, slots=True)
class Edge:
    """Edges from one node to the nodes ``first`` to ``last``; if these are joins, all watch ``watched`` at first.

    As text ``7``, ``7-90`` or, of joins, ``7<5`` and ``7-90<5``.
    """

    first: int
    last: int
    watched: int | None = None

    def to_text(self) -> str:
        """The stored form."""
        text = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return text if self.watched is None else f"{text}<{self.watched}"

    @property
    def numbers(self) -> range:
        """The nodes that it leads to."""
        return range(self.first, self.last + 1)

    @classmethod
    def all_in(cls, text: str) -> list[Edge]:
        """The edges that a record's text tells."""
        return [cls._from_text(each) for each in text.split(",") if each]

    @classmethod
    def _from_text(cls, text: str) -> Edge:
        numbers, _, watched = text.partition("<")
        first, _, last = numbers.partition("-")
        return cls(int(first), int(last or first), int(watched) if watched else None)


def ranges_text(numbers: Iterable[int]) -> str:
    """Ascending numbers as text: ``0-9999,12000``."""
    runs = (list(run) for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]))
    spans = ((run[0][1], run[-1][1]) for run in runs)
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def numbers_in(text: str) -> Iterator[int]:
    """The numbers that ``ranges_text`` wrote."""
    for each in text.split(",") if text else ():
        first, _, last = each.partition("-")
        yield from range(int(first), int(last or first) + 1)

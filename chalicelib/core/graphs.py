"""Graphs of tasks: their plan, what may start when, and when the whole is over.

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.naming import instead_of, is_name
from chalicelib.core.states import State

NODES_MAX = 20_000
EDGES_MAX = 100_000
NODE_NAME_MAX_CHARS = 100
EDGES_TEXT_MAX_CHARS = 120  # of what a node's record says of those behind it; beyond that the plan is read
CYCLE_SHOWN = 12


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


# -- making a plan ------------------------------------------------------------------------------------


def arranged(given: Sequence[tuple[str, Mapping[str, Any], Sequence[str]]]) -> tuple[Node, ...]:
    """Nodes (name, task, names of those before it), numbered so that each comes after those before it.

    Level by level, and within a level as they were given. Raises ``InvalidInput`` for no nodes, too many, a name that
    is none, that two have or that nobody has, and for a circle, which it shows.
    """
    _expect_size(len(given), sum(len(after) for _, _, after in given))
    places = _places([name for name, _, _ in given])
    for name, _, after in given:
        for each in after:
            if each not in places:
                raise _unknown(name, each, places)
    order = _in_order(given, places)
    numbers = {given[place][0]: number for number, place in enumerate(order)}
    return tuple(
        Node(name, request, tuple(sorted({numbers[each] for each in after})))
        for name, request, after in (given[place] for place in order)
    )


def _expect_size(nodes: int, edges: int) -> None:
    if not 1 <= nodes <= NODES_MAX:
        raise InvalidInput("a graph has nodes", field="nodes", expected=f"1 to {NODES_MAX} of them", got=nodes)
    if edges > EDGES_MAX:
        raise InvalidInput("these are too many edges", field="nodes", expected=f"at most {EDGES_MAX}", got=edges)


def _places(names: Sequence[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if not is_name(name, NODE_NAME_MAX_CHARS):
            expected = f"1 to {NODE_NAME_MAX_CHARS} characters on one line"
            raise InvalidInput("this is no name for a node", field=f"nodes.{place}.name", expected=expected, got=name)
        if name in places:
            raise InvalidInput(
                "two nodes have this name", field=f"nodes.{place}.name", expected="a name of its own", got=name
            )
        places[name] = place
    return places


def _unknown(name: str, before: str, places: Mapping[str, int]) -> InvalidInput:
    known = [each for each in places if each != name]
    return InvalidInput(
        f"node {name} comes after one that the graph does not have",
        field=f"nodes.{places[name]}.after",
        expected=instead_of(before, known) if len(known) <= CYCLE_SHOWN else "the name of a node of this graph",
        got=before,
    )


def _in_order(given: Sequence[tuple[str, Mapping[str, Any], Sequence[str]]], places: Mapping[str, int]) -> list[int]:
    """The places of ``given``, each behind those that it comes after."""
    sorter = TopologicalSorter({place: [places[each] for each in after] for place, (_, _, after) in enumerate(given)})
    try:
        sorter.prepare()
    except CycleError as error:
        raise _circle([given[place][0] for place in error.args[1]]) from None
    order: list[int] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def _circle(names: Sequence[str]) -> InvalidInput:
    """``names``: along the circle, each before the next, the first again as the last."""
    shown = list(names) if len(names) <= CYCLE_SHOWN else [*names[: CYCLE_SHOWN - 1], "...", names[-1]]
    return InvalidInput(
        "these nodes wait for each other in a circle",
        field="nodes",
        expected="no node that comes, by way of others, after itself",
        got=" -> ".join(shown),
    )


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


# -- how far it has come ------------------------------------------------------------------------------


class Standing(StrEnum):
    """What is to be known of a node's task."""

    ABSENT = "absent"  # it was not started
    LIVE = "live"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    REMOVED = "removed"  # it was done, and has been deleted since

    @property
    def over(self) -> bool:
        """Whether it was started and nothing of it goes on."""
        return self not in (Standing.ABSENT, Standing.LIVE)

    @property
    def unsuccessful(self) -> bool:
        """Whether it was started, and has not succeeded."""
        return self in (Standing.FAILED, Standing.CANCELED)


def standing_of(state: State) -> Standing:
    """How a node whose task is in ``state`` stands."""
    ends = {State.SUCCESS: Standing.SUCCEEDED, State.FAILED: Standing.FAILED, State.CANCELED: Standing.CANCELED}
    return ends.get(state, Standing.LIVE)


def lets_start(on_failure: OnFailure, standing: Standing) -> bool:
    """Whether those behind a node need not wait for it any more.

    A deleted one was done; while a graph that stops at failures runs, every node that is done has succeeded.
    """
    return standing.over and (on_failure is OnFailure.CONTINUE or not standing.unsuccessful)


def drained(standing: Standing) -> bool:
    """Whether nothing is to be waited for of a node of a graph that starts nothing more."""
    return standing is not Standing.LIVE


def first_left(
    before: Sequence[int], watched: int, over: Callable[[Sequence[int]], Iterable[bool]], size: int = 100
) -> int | None:
    """The next node to be watched below ``watched`` among ``before`` (ascending): one that is not over, if any is.

    ``over`` tells of nodes, at most ``size`` at a time, whether each is.
    """
    below = [number for number in reversed(before) if number < watched]
    for start in range(0, len(below), size):
        chunk = below[start : start + size]
        for number, is_over in zip(chunk, over(chunk), strict=True):
            if not is_over:
                return number
    return None


@dataclass(frozen=True, slots=True)
class Next:
    """What is to be done with a graph: nodes to start, one that ended it, or that the whole is over."""

    start: tuple[int, ...] = ()
    stopped_by: int | None = None
    over: bool = False


def next_of(plan: Plan, state: GraphState, standings: Sequence[Standing]) -> Next:
    """What follows from how all nodes stand. The end's standing, the compensation's, comes last in ``standings``."""
    nodes, end = standings[: plan.end], standings[plan.end]
    if state is GraphState.COMPENSATING:
        return Next(start=(plan.end,)) if end is Standing.ABSENT else Next(over=end.over)
    if state is not GraphState.RUNNING:
        return Next(over=all(map(drained, nodes)))
    if plan.on_failure is not OnFailure.CONTINUE:
        for number, standing in enumerate(nodes):
            if standing.unsuccessful:
                return Next(stopped_by=number)
    passed = [lets_start(plan.on_failure, standing) for standing in nodes]
    ready = (
        number
        for number, standing in enumerate(nodes)
        if standing is Standing.ABSENT and all(passed[each] for each in plan.before(number))
    )
    return Next(tuple(ready), over=all(passed))

"""Making a plan: nodes in an order in which each comes after those before it, or what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.graphs import Node
from chalicelib.core.naming import instead_of, is_name

NODES_MAX = 20_000
EDGES_MAX = 100_000
NODE_NAME_MAX_CHARS = 100
CYCLE_SHOWN = 12


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

"""What the clock does for graphs: go on with those that somebody has left, and remove those that are old."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from chalicelib.core.waking import wake_for_wait
from chalicelib.engine.commands.graphs import look_after, remove
from chalicelib.engine.sweeping import PassedOver, sweep
from chalicelib.engine.yard import Yard
from chalicelib.store.graphs import GraphRefused


def look_after_graphs(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Look after every graph whose time has come; returns how many those were."""
    return sweep(
        list(yard.graphs.due(yard.now_ms())),
        partial(_look_after, yard, enough_time),
        named=lambda graph_id: f"graph {graph_id}",
        enough_time=enough_time,
        passed=passed,
    )


def _look_after(yard: Yard, enough_time: Callable[[], bool], graph_id: int) -> int:
    graph = yard.graphs.find(graph_id)
    if graph is None or graph.wake_at_ms is None or graph.wake_at_ms > yard.now_ms():
        return 0  # the index was behind
    if graph.state.final:
        remove(yard, graph)
        return 1
    with suppress(GraphRefused):  # it moved on
        yard.graphs.wake_later(graph, wake_for_wait(graph.updated_at_ms, yard.now_ms()))
    look_after(yard, graph, enough_time)
    return 1

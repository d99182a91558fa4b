"""How far a graph has come: how its nodes stand, what may start, and when the whole is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from chalicelib.core.graphs import GraphState, OnFailure, Plan
from chalicelib.core.states import State


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

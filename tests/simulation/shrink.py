"""A failing run made small: without the orders and the faults that it does not need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from tests.simulation.simulate import Result, simulate

Fails = Callable[[frozenset[int]], bool]


def shrunk(failing: Result) -> Result:
    """A run of the same seed that breaks the same rule with as few orders and faults as was found."""
    broken = _kind_of(failing)
    again = partial(simulate, failing.seed, width=failing.width)

    def fails(spared: frozenset[int], without: frozenset[int]) -> bool:
        return _kind_of(again(spared, without)) == broken

    without = _left_out((order.number for order in failing.orders), lambda left: fails(frozenset(), left))
    spared = _left_out(range(1, failing.fault_count + 1), lambda left: fails(left, without))
    return again(spared, without)


def _kind_of(result: Result) -> str:
    """Which rule is broken, without the numbers in its words."""
    return "".join(letter for letter in result.broken[0] if not letter.isdigit())[:40] if result.broken else ""


def _left_out(numbers: Iterable[int], fails: Fails) -> frozenset[int]:
    """As many of ``numbers`` as can be left out, first many at a time, then one by one."""
    needed, left = [*numbers], frozenset[int]()
    size = max(1, len(needed) // 2)
    while True:
        for start in range(0, len(needed), size):
            more = left | frozenset(needed[start : start + size])
            if fails(more):
                left = more
        needed = [number for number in needed if number not in left]
        if size == 1:
            return left
        size = max(1, size // 2)

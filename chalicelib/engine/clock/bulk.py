"""What the clock does for acts in bulk: go on with those that nobody steps."""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.core.bulk import BulkState
from chalicelib.engine.commands import bulk
from chalicelib.engine.sweeping import PassedOver, sweep
from chalicelib.engine.yard import Yard
from chalicelib.store.bulk_acts import BulkItem

ABANDONED_AFTER_MS = 30_000  # without a step
TURN_MAX_MS = 20_000  # of a tick, for all of them: what is hourly wants its turn, too


def step_abandoned(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Step the acts that nobody has stepped for 30 s; returns how many jobs were acted on.

    One query where none is running.
    """
    until_ms = yard.now_ms() + TURN_MAX_MS

    def going_on() -> bool:
        return yard.now_ms() < until_ms and enough_time()

    return sweep(
        yard.bulk_acts.running(),
        lambda bulk_id: _stepped(yard, bulk_id, going_on),
        named=lambda bulk_id: f"act in bulk {bulk_id}",
        enough_time=going_on,
        passed=passed,
    )


def _stepped(yard: Yard, bulk_id: str, going_on: Callable[[], bool]) -> int:
    seen = yard.bulk_acts.find(bulk_id)
    if seen is None:  # forgotten, after 90 days
        yard.bulk_acts.unmark(bulk_id)
        return 0
    if seen.stepped_at_ms + ABANDONED_AFTER_MS > yard.now_ms():
        return 0
    now = seen
    while now.state is BulkState.RUNNING and going_on():
        before, now = now, bulk.step(yard, bulk_id, going_on)
        if now.steps == before.steps:  # somebody else is at it
            break
    return _acted(now) - _acted(seen)


def _acted(found: BulkItem) -> int:
    return found.done + found.refused

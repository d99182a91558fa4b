"""The clock: every minute, by an EventBridge rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.engine.repairing import tick
from chalicelib.engine.yard import Yard
from chalicelib.functions.events import LambdaContext
from chalicelib.functions.logs import logged

RESERVE_MS = 5_000


@logged
def handle(yard: Yard, event: Mapping[str, Any], context: LambdaContext) -> dict[str, int]:
    """Send what is due or unsent and recover what was abandoned; answers how many jobs each step touched."""
    del event  # a tick is about now, whatever minute it was meant for
    return tick(yard, lambda: context.get_remaining_time_in_millis() > RESERVE_MS)

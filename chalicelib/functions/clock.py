"""The clock: every minute, by an EventBridge rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.engine.clock.tick import tick
from chalicelib.engine.yard import Yard
from chalicelib.functions.events import LambdaContext
from chalicelib.functions.logs import logged

RESERVE_MS = 5_000


@logged
def handle(yard: Yard, event: Mapping[str, Any], context: LambdaContext) -> dict[str, int]:
    """Send what is due or unsent and recover what was abandoned; returns how many jobs each step touched."""
    del event  # a tick is about now, whatever minute it was meant for
    touched = tick(yard, lambda: context.get_remaining_time_in_millis() > RESERVE_MS)
    if yard.settings.metrics != "off" and not yard.settings.local:
        _report_topics(yard)
    return touched


def _report_topics(yard: Yard) -> None:
    """Tell CloudWatch how deep the topics are, and how old their oldest messages."""
    from chalicelib.engine.projections.dashboard import (
        topics_of,  # imported late: a deployment without this needs neither
    )
    from chalicelib.functions.metrics import report_topics

    report_topics(yard.settings, topics_of(yard))

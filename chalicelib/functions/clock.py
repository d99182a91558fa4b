"""The clock: every minute, by an EventBridge rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.core.states import Kind, State
from chalicelib.engine.clock.due import count_untaken
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
    if yard.settings.told_metrics != "off" and not yard.settings.local:
        _report(yard, touched)
    return touched


def _report(yard: Yard, touched: Mapping[str, int]) -> None:
    """Tell CloudWatch how deep and how old the topics are, how many jobs nobody takes, and what is missing."""
    # Imported late: a deployment without this needs neither.
    from chalicelib.engine.projections.dashboard import topics_of
    from chalicelib.functions.metrics import report_late, report_topics, report_wrong

    standings = yard.insights.standings()
    if yard.settings.told_metrics != "alarms":
        report_topics(yard.settings, topics_of(yard, standings=standings))
    pending = {Kind(group.kind) for group, standing in standings.items() if standing.states[State.PENDING] > 0}
    report_late(yard.settings, count_untaken(yard, pending))
    report_wrong(yard.settings, touched.get("unaccounted_found", 0), touched.get("canaries_missing", 0))

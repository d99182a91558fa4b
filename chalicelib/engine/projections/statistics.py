"""How tasks went: read from what the projector counted, whatever has been deleted since.

What is counted is the task's creation: the statistics of a day are those of the tasks that were created on it, by
their present state. They are as old as the change stream's lag (usually about a second).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from chalicelib.core.statistics import DAY_MS, Span, Statistics, local_day, reckon
from chalicelib.engine.yard import Yard

OFFSET_MAX_MS = DAY_MS  # no zone is that far from UTC
CONDENSED_AFTER_DAYS = (2, 9, 33)  # by then, most of what comes late has come
CATCH_UP_MAX_DAYS = 40


def statistics(
    yard: Yard, span: Span, zone: tzinfo, only_type: str | None = None, only_runner: str | None = None
) -> Statistics:
    """The tasks that were created since the local midnight with which ``span`` begins, by their present state."""
    now_ms = yard.now_ms()
    today = local_day(now_ms, zone)
    first = span.first_day(today)
    back_ms = (today - first).days * DAY_MS
    task_days = yard.insights.task_days.read(
        now_ms - back_ms - DAY_MS - OFFSET_MAX_MS, now_ms + OFFSET_MAX_MS, only_type, only_runner
    )
    return reckon(task_days, zone, first, today)


def condense(yard: Yard, going_on: Callable[[], bool]) -> int:
    """Put the rows of days that are over into fewer, days that have been so already only for what came late.

    Returns how many rows there were. Nothing but the speed of reading depends on it. It stops when ``going_on`` says
    no, and goes on from there the next time; two that run at once do no harm.
    """
    task_days = yard.insights.task_days
    today = yard.now_ms() // DAY_MS
    newest = today - CONDENSED_AFTER_DAYS[0]
    done = task_days.condensed_until_ms()
    first = today - CATCH_UP_MAX_DAYS if done is None else max(done // DAY_MS + 1, today - CATCH_UP_MAX_DAYS)
    condensed, finished = 0, None
    for day in range(first, newest + 1):
        for age in CONDENSED_AFTER_DAYS:
            condensed += task_days.condense((day + CONDENSED_AFTER_DAYS[0] - age) * DAY_MS, going_on)
        if not going_on():  # perhaps in the middle of the day: again the next time
            break
        finished = day
    if finished is not None:
        task_days.remember_condensed(finished * DAY_MS)
    return condensed

"""How tasks went: ``/api/task/statistics``."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from chalicelib.api.scopes import READS
from chalicelib.api.shapes import FASTIFY
from chalicelib.core.states import Kind, State
from chalicelib.core.statistics import Span, Statistics, Tally
from chalicelib.core.trace import iso
from chalicelib.core.zones import zone_named
from chalicelib.engine.projections import statistics
from chalicelib.http.models import AnswerModel, ApiModel, Name
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

DECIMALS = 3

router = Router("Tasks", style=FASTIFY)  # a section of the documentation that creating.py describes


class StatisticsQuery(ApiModel):
    """Which tasks to count."""

    range: Span = Field(
        default=Span.WEEK,
        description="7d: today and the six days before. 1m, 3m, 1y: since the day after this date so many months "
        "ago, or a year. Each begins with the midnight of the time zone",
    )
    timezone: str = Field(
        default="UTC",
        description="By whose clock days and hours are told: a name of the IANA database",
        examples=["Europe/Berlin"],
    )
    type: Name | None = Field(default=None, description="Tasks of this type alone")
    runner_type: Literal["manual", "system"] | None = None


class StateCounts(AnswerModel):
    """How many tasks there are, and how many of them are in each state now."""

    total: int
    success: int
    failed: int
    canceled: int
    pending: int
    running: int
    waiting: int


class TypeCounts(StateCounts):
    """The tasks of one type."""

    type: str


class RunnerCounts(StateCounts):
    """The tasks of one runner."""

    runner_type: str


class DayCounts(StateCounts):
    """The tasks that were created on one day of the calendar."""

    date: date


class HourCounts(StateCounts):
    """The tasks that were created in one hour of the day, of all days together."""

    hour: int = Field(description="0 to 23")


class TaskStatistics(AnswerModel):
    """How the tasks went that were created since the beginning of the range, those since deleted included."""

    range: Span
    timezone: str
    since: str = Field(description="When the range began", examples=["2026-03-08T23:00:00.000Z"])
    total: int
    by_status: dict[State, int]
    by_type: list[TypeCounts] = Field(description="Most tasks first")
    by_runner_type: list[RunnerCounts] = Field(description="Most tasks first")
    daily: list[DayCounts] = Field(description="Every day of the range, oldest first")
    hourly: list[HourCounts] = Field(description="24 hours")
    average_waiting_ms: float | None = Field(
        description="From the creation, or the start that was asked for, to the first start, of tasks that succeeded "
        "or failed; null without any"
    )
    average_execution_ms: float | None = Field(
        description="From the first start to the end, pauses between attempts and polls included, of the same tasks"
    )
    average_total_ms: float | None = Field(
        description="From the creation to the end, of tasks that succeeded or failed, manual ones included"
    )


@router.get("/api/task/statistics", scope=READS[Kind.TASK])
def task_statistics(yard: Yard, query: StatisticsQuery) -> TaskStatistics:
    """Count tasks by status, type, runner, day and hour of their creation.

    A task counts for when it was created, by its present status. Numbers are as of the change stream: about a second
    old. A task that was deleted once it was done is counted still.
    """
    zone = zone_named(query.timezone)
    found = statistics.statistics(yard, query.range, zone, query.type, query.runner_type)
    return _shown(found, query)


def _shown(found: Statistics, query: StatisticsQuery) -> TaskStatistics:
    total = found.total
    return TaskStatistics(
        range=query.range,
        timezone=query.timezone,
        since=iso(found.since_ms),
        total=total.total,
        by_status={state: total[state] for state in State},
        by_type=[TypeCounts(type=name, **_counts(tally)) for name, tally in _largest_first(found.by_type)],
        by_runner_type=[
            RunnerCounts(runner_type=name, **_counts(tally)) for name, tally in _largest_first(found.by_runner)
        ],
        daily=[DayCounts(date=day, **_counts(tally)) for day, tally in found.daily.items()],
        hourly=[HourCounts(hour=hour, **_counts(tally)) for hour, tally in enumerate(found.hourly)],
        average_waiting_ms=_rounded(total.average_waiting_ms),
        average_execution_ms=_rounded(total.average_execution_ms),
        average_total_ms=_rounded(total.average_total_ms),
    )


def _counts(tally: Tally) -> dict[str, int]:
    return {"total": tally.total, **{state.value: tally[state] for state in State}}


def _largest_first(tallies: dict[str, Tally]) -> list[tuple[str, Tally]]:
    return sorted(tallies.items(), key=lambda entry: (-entry[1].total, entry[0]))


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, DECIMALS)

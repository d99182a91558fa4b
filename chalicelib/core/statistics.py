"""How tasks went, by local day and hour: reckoned from counts by quarter of an hour in UTC.

Every time zone in use today differs from UTC by whole quarters of an hour and changes its clocks on one, so that such
a quarter belongs to one local day and one local hour; where old rules broke one up, it belongs to where it begins.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from itertools import compress

from chalicelib.core.job import Job
from chalicelib.core.states import State

QUARTER_MS = 900_000
DAY_MS = 86_400_000
QUARTERS_A_DAY = DAY_MS // QUARTER_MS
HOURS_A_DAY = 24
MONTHS_A_YEAR = 12

FINISHED = (State.SUCCESS, State.FAILED)  # a canceled task says nothing about how long tasks take


class Took(StrEnum):
    """What is added up of tasks that succeeded or failed. One that never started (a manual one) has a total only."""

    STARTED = "started"  # how many of them had started
    WAITING_MS = "waiting_ms"  # from the creation, or the start that was asked for, to the first start
    EXECUTION_MS = "execution_ms"  # from the first start to the end; pauses between attempts and polls included
    TOTAL_MS = "total_ms"  # from the creation to the end


Amount = State | Took
AMOUNTS: tuple[Amount, ...] = (*State, *Took)


class Span(StrEnum):
    """How far back to look: whole local days, today the last of them."""

    WEEK = "7d"  # today and the six days before
    MONTH = "1m"  # since the day after this date a month ago
    QUARTER = "3m"
    YEAR = "1y"

    def first_day(self, today: date) -> date:
        """The day with which it begins.

        On 2026-03-15: 2026-03-09, 2026-02-16, 2025-12-16, 2025-03-16. A month ago of the 31st is the last day of a
        shorter month.
        """
        if self is Span.WEEK:
            return today - timedelta(days=6)
        months = {Span.MONTH: 1, Span.QUARTER: 3, Span.YEAR: MONTHS_A_YEAR}[self]
        return _months_before(today, months) + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TaskDay:
    """The tasks of a type and a runner that were created in one day of UTC, as they stand now.

    ``amounts`` has a number for each of the day's 96 quarters of an hour; an amount that is missing is nought in all.
    """

    type: str
    runner: str
    day_ms: int
    amounts: Mapping[Amount, Sequence[int]]


@dataclass(slots=True)
class Tally:
    """Tasks counted together."""

    amounts: Counter[Amount] = field(default_factory=Counter)

    def __getitem__(self, state: State) -> int:
        return self.amounts[state]

    @property
    def total(self) -> int:
        """All of them, whatever their state."""
        return sum(self.amounts[state] for state in State)

    @property
    def average_waiting_ms(self) -> float | None:
        """How long those that succeeded or failed had waited for their start; ``None`` if none had started."""
        return _average(self.amounts[Took.WAITING_MS], self.amounts[Took.STARTED])

    @property
    def average_execution_ms(self) -> float | None:
        """How long they took from their first start to their end; ``None`` if none had started."""
        return _average(self.amounts[Took.EXECUTION_MS], self.amounts[Took.STARTED])

    @property
    def average_total_ms(self) -> float | None:
        """How long it took from their creation to their end; ``None`` if none succeeded or failed."""
        return _average(self.amounts[Took.TOTAL_MS], sum(self.amounts[state] for state in FINISHED))


@dataclass(frozen=True, slots=True)
class Statistics:
    """The tasks that were created from ``since_ms``, where a local day begins, until now, by their present state."""

    since_ms: int
    total: Tally
    by_type: dict[str, Tally]
    by_runner: dict[str, Tally]
    daily: dict[date, Tally]  # every day of the calendar, oldest first
    hourly: list[Tally]  # 24, by the local hour of the day


def amounts_of(job: Job) -> dict[Amount, int]:
    """What a task, as it stands, counts for in the quarter of its creation."""
    amounts: dict[Amount, int] = {job.state: 1}
    if job.state in FINISHED and job.completed_at_ms is not None:
        amounts[Took.TOTAL_MS] = max(0, job.completed_at_ms - job.created_at_ms)
        if job.first_started_at_ms is not None:
            due_ms = max(job.created_at_ms, job.start_at_ms or 0)
            amounts[Took.STARTED] = 1
            amounts[Took.WAITING_MS] = max(0, job.first_started_at_ms - due_ms)
            amounts[Took.EXECUTION_MS] = max(0, job.completed_at_ms - job.first_started_at_ms)
    return amounts


def quarter_of(at_ms: int) -> int:
    """The beginning of the quarter of an hour of a point in time."""
    return at_ms - at_ms % QUARTER_MS


def local_day(at_ms: int, zone: tzinfo) -> date:
    """The date of a point in time."""
    return datetime.fromtimestamp(at_ms / 1_000, zone).date()


def reckon(task_days: Iterable[TaskDay], zone: tzinfo, first: date, last: date) -> Statistics:
    """The statistics of the local days from ``first`` to ``last``; what ``task_days`` holds beyond them is left out."""
    places = _Places(zone, first, last)
    by_type: defaultdict[str, Tally] = defaultdict(Tally)
    by_runner: defaultdict[str, Tally] = defaultdict(Tally)
    whole = Tally()
    merged: defaultdict[int, dict[State, list[int]]] = defaultdict(dict)
    for task_day in task_days:
        amounts = Counter(
            {amount: places.sum_of(task_day.day_ms, counts) for amount, counts in task_day.amounts.items()}
        )
        if any(amounts.values()):
            for tally in (whole, by_type[task_day.type], by_runner[task_day.runner]):
                tally.amounts.update(amounts)
        _merge(merged[task_day.day_ms], task_day)
    daily, hourly = _series(merged, places)
    return Statistics(_midnight_ms(first, zone), whole, dict(by_type), dict(by_runner), daily, hourly)


class _Places:
    """Where the quarters of UTC's days lie in the local days of a span."""

    def __init__(self, zone: tzinfo, first: date, last: date) -> None:
        self._zone = zone
        self.first, self.last = first, last
        self._days: dict[int, list[tuple[date, int] | None]] = {}

    def of(self, day_ms: int) -> list[tuple[date, int] | None]:
        """For each quarter of a day its local date and hour, ``None`` where that is outside the span."""
        if day_ms not in self._days:
            starts = range(day_ms, day_ms + DAY_MS, QUARTER_MS)
            moments = (datetime.fromtimestamp(start_ms // 1_000, self._zone) for start_ms in starts)
            self._days[day_ms] = [
                (moment.date(), moment.hour) if self.first <= moment.date() <= self.last else None for moment in moments
            ]
        return self._days[day_ms]

    def sum_of(self, day_ms: int, quarters: Sequence[int]) -> int:
        """The sum of those of a day's quarters that are in the span."""
        places = self.of(day_ms)
        if None not in places:  # as in all days but two or three
            return sum(quarters)
        return sum(compress(quarters, (place is not None for place in places)))


def _merge(into: dict[State, list[int]], task_day: TaskDay) -> None:
    """Add the states of one type and runner to those of their day."""
    for state in State:
        if state in task_day.amounts:
            more = task_day.amounts[state]
            before = into.get(state)
            into[state] = list(more) if before is None else [a + b for a, b in zip(before, more, strict=True)]


def _series(
    merged: Mapping[int, Mapping[State, Sequence[int]]], places: _Places
) -> tuple[dict[date, Tally], list[Tally]]:
    daily = {day: Tally() for day in _days(places.first, places.last)}
    hourly = [Tally() for _ in range(HOURS_A_DAY)]
    for day_ms, states in merged.items():
        for state, quarters in states.items():
            for place, count in zip(places.of(day_ms), quarters, strict=True):
                if count and place is not None:
                    day, hour = place
                    daily[day].amounts[state] += count
                    hourly[hour].amounts[state] += count
    return daily, hourly


def _days(first: date, last: date) -> Iterator[date]:
    for number in range(first.toordinal(), last.toordinal() + 1):
        yield date.fromordinal(number)


def _midnight_ms(day: date, zone: tzinfo) -> int:
    """When a local day begins: where the clocks are put forward at midnight, that is the moment after."""
    moment = datetime.combine(day, time.min, zone).astimezone(UTC)
    return int(moment.timestamp()) * 1_000


def _months_before(day: date, months: int) -> date:
    year, month = divmod(day.year * MONTHS_A_YEAR + day.month - 1 - months, MONTHS_A_YEAR)
    following = date(year + (month + 1) // MONTHS_A_YEAR, (month + 1) % MONTHS_A_YEAR + 1, 1)
    month_end = following - timedelta(days=1)
    return date(year, month + 1, min(day.day, month_end.day))


def _average(total_ms: int, count: int) -> float | None:
    return total_ms / count if count > 0 else None

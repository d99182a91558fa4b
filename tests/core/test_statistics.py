"""Counts by quarter of an hour in UTC, told by local day and hour."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.core.states import State
from chalicelib.core.statistics import (
    DAY_MS,
    QUARTER_MS,
    QUARTERS_A_DAY,
    Amount,
    Span,
    Statistics,
    TaskDay,
    Took,
    local_day,
    reckon,
)

HOUR_MS = 3_600_000
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",  # half an hour off
    "Asia/Kolkata",
    "Asia/Kathmandu",  # a quarter of an hour off
    "Australia/Lord_Howe",  # puts its clocks forward by half an hour
    "Pacific/Chatham",
    "Pacific/Apia",
    "Pacific/Kiritimati",  # 14 hours ahead
    "Pacific/Pago_Pago",
    "America/Santiago",  # whose days of change have no midnight
    "America/Havana",  # or two
    "Africa/Casablanca",
    "Asia/Gaza",
)


@dataclass(frozen=True)
class Task:
    """A task, as far as the statistics know it."""

    created_at_ms: int
    state: State = State.SUCCESS
    type: str = "work"
    runner: str = "system"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def task_days(tasks: list[Task]) -> list[TaskDay]:
    found: defaultdict[tuple[str, str, int], dict[Amount, list[int]]] = defaultdict(dict)
    for task in tasks:
        day_ms = task.created_at_ms - task.created_at_ms % DAY_MS
        quarters = found[task.type, task.runner, day_ms].setdefault(task.state, [0] * QUARTERS_A_DAY)
        quarters[task.created_at_ms % DAY_MS // QUARTER_MS] += 1
    return [TaskDay(*group, amounts) for group, amounts in found.items()]


def statistics_of(tasks: list[Task], zone: str, first: str, last: str) -> Statistics:
    return reckon(task_days(tasks), ZoneInfo(zone), date.fromisoformat(first), date.fromisoformat(last))


def every_quarter(since: str, until: str) -> list[Task]:
    return [Task(at_ms) for at_ms in range(ms(since), ms(until), QUARTER_MS)]


# -- any tasks in any zone ----------------------------------------------------------------------------

moments = st.one_of(
    st.integers(ms("2025-01-01"), ms("2026-12-31")),
    st.sampled_from(  # beside the changes of clocks
        [
            ms("2025-03-30T01:00"), ms("2025-10-26T01:00"), ms("2026-03-08T07:00"), ms("2026-11-01T06:00"),
            ms("2026-04-04T15:00"), ms("2026-10-03T15:30"), ms("2025-09-07T04:00"), ms("2026-03-08T05:00"),
        ]
    ).flatmap(lambda at_ms: st.integers(at_ms - 2 * HOUR_MS, at_ms + 2 * HOUR_MS)),
)  # fmt: skip
tasks = st.builds(
    Task, moments, st.sampled_from(State), st.sampled_from(("work", "rest")), st.sampled_from(("system", "manual"))
)


@given(st.lists(tasks, max_size=40), st.sampled_from(ZONES), st.dates(date(2025, 1, 1), date(2026, 12, 1)))
@example([Task(ms("2026-03-08T04:59")), Task(ms("2026-03-08T05:00"))], "America/Havana", date(2026, 3, 8))
def test_each_task_is_in_the_day_and_hour_that_its_clock_shows(made: list[Task], name: str, first: date) -> None:
    zone, last = ZoneInfo(name), first + timedelta(days=27)
    found = reckon(task_days(made), zone, first, last)
    local = [(task, datetime.fromtimestamp(task.created_at_ms / 1_000, zone)) for task in made]
    inside = [(task, moment) for task, moment in local if first <= moment.date() <= last]
    daily = {(day, state): tally[state] for day, tally in found.daily.items() for state in State if tally[state]}
    hourly = {(hour, s): tally[s] for hour, tally in enumerate(found.hourly) for s in State if tally[s]}
    assert daily == Counter((moment.date(), task.state) for task, moment in inside)
    assert hourly == Counter((moment.hour, task.state) for task, moment in inside)
    assert {name: tally.total for name, tally in found.by_type.items()} == Counter(task.type for task, _ in inside)
    assert {name: tally.total for name, tally in found.by_runner.items()} == Counter(task.runner for task, _ in inside)
    assert list(found.daily) == [first + timedelta(days=number) for number in range(28)]
    total = found.total.total
    assert total == len(inside) == sum(t.total for t in found.daily.values()) == sum(t.total for t in found.hourly)


# -- days that are not 24 hours long ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", "2026-03-29", 24),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/St_Johns", "2026-03-08", 23),
        ("America/St_Johns", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("America/Santiago", "2026-09-06", 23),  # which begins at one o'clock
        ("America/Santiago", "2026-04-04", 25),
        ("Asia/Kolkata", "2026-03-29", 24),
        ("Asia/Kathmandu", "2026-03-29", 24),
        ("Pacific/Apia", "2011-12-29", 24),
        ("Pacific/Apia", "2011-12-30", 0),  # it was left out
    ],
)
def test_a_day_has_as_many_quarters_as_its_clock_shows(zone: str, day: str, hours: float) -> None:
    that = date.fromisoformat(day)
    two_days = timedelta(days=2)
    made = every_quarter((that - two_days).isoformat(), (that + two_days).isoformat())
    found = statistics_of(made, zone, day, day)
    assert found.daily[that].total == found.total.total == hours * 4


def test_the_hour_that_is_twice_and_the_hour_that_is_not() -> None:
    spring = statistics_of(every_quarter("2026-03-28", "2026-03-31"), "Europe/Berlin", "2026-03-29", "2026-03-29")
    autumn = statistics_of(every_quarter("2026-10-24", "2026-10-27"), "Europe/Berlin", "2026-10-25", "2026-10-25")
    assert [tally.total for tally in spring.hourly] == [4, 4, 0, *[4] * 21]
    assert [tally.total for tally in autumn.hourly] == [4, 4, 8, *[4] * 21]


@pytest.mark.parametrize(
    ("zone", "day", "since"),
    [
        ("UTC", "2026-03-15", "2026-03-15T00:00"),
        ("Asia/Kathmandu", "2026-03-15", "2026-03-14T18:15"),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00"),
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00"),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00"),
    ],
)
def test_a_range_begins_where_its_first_day_does(zone: str, day: str, since: str) -> None:
    """The quarter before is of the day before."""
    found = statistics_of([Task(ms(since)), Task(ms(since) - 1)], zone, day, day)
    assert (found.since_ms, found.total.total) == (ms(since), 1)
    assert local_day(ms(since), ZoneInfo(zone)) == date.fromisoformat(day)


# -- ranges and times ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("today", "first_days"),
    [
        ("2026-03-15", ("2026-03-09", "2026-02-16", "2025-12-16", "2025-03-16")),
        ("2026-03-31", ("2026-03-25", "2026-03-01", "2026-01-01", "2025-04-01")),
        ("2028-02-29", ("2028-02-23", "2028-01-30", "2027-11-30", "2027-03-01")),
        ("2026-01-01", ("2025-12-26", "2025-12-02", "2025-10-02", "2025-01-02")),
    ],
)
def test_how_far_a_range_goes_back(today: str, first_days: tuple[str, ...]) -> None:
    assert tuple(span.first_day(date.fromisoformat(today)).isoformat() for span in Span) == first_days


@given(st.dates(date(1971, 1, 1), date(2200, 1, 1)))
def test_a_range_is_never_longer_than_it_is_called(today: date) -> None:
    days = [(today - span.first_day(today)).days + 1 for span in Span]
    assert days[0] == 7
    assert 28 <= days[1] <= 31
    assert 89 <= days[2] <= 92
    assert 365 <= days[3] <= 366


def test_averages_are_of_what_was_finished_within_the_range() -> None:
    def only(number: int, value: int) -> list[int]:
        return [value if quarter == number else 0 for quarter in range(QUARTERS_A_DAY)]

    def task_day(quarter: int, day: str, **amounts: int) -> TaskDay:
        return TaskDay("work", "system", ms(day), {_AMOUNTS[name]: only(quarter, n) for name, n in amounts.items()})

    made = [
        task_day(
            74, "2026-03-14", success=3, failed=1, pending=9, started=3, waiting_ms=30, execution_ms=9, total_ms=84
        ),
        task_day(0, "2026-03-15", success=1, started=1, waiting_ms=2, execution_ms=1, total_ms=16),
        task_day(72, "2026-03-14", success=1, started=1, waiting_ms=999, execution_ms=999, total_ms=999),
    ]
    found = reckon(made, ZoneInfo("Asia/Kathmandu"), date(2026, 3, 15), date(2026, 3, 15)).total
    assert (found.average_waiting_ms, found.average_execution_ms, found.average_total_ms) == (8.0, 2.5, 20.0)
    assert found.total == 14


def test_there_is_no_average_of_nothing() -> None:
    found = statistics_of([Task(ms("2026-03-15"), State.PENDING)], "UTC", "2026-03-15", "2026-03-15").total
    assert (found.average_waiting_ms, found.average_execution_ms, found.average_total_ms) == (None, None, None)


_AMOUNTS: dict[str, Amount] = {amount.value: amount for amount in (*State, *Took)}

"""When a schedule is due: exactly when looking at every minute of a zone says so, on its strangest days."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.timetable import Cron, Every, Once, Timetable
from tests.support.cron import CHANGES, ZONES, Known, around, expressions, offset_ms, slots

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WALKED_MAX = 100


def ms(text: str) -> int:
    """A time with its offset; without one it is UTC."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000


def local(zone: str, slot_ms: int) -> str:
    """``2026-03-29 03:00+02:00``"""
    text = datetime.fromtimestamp(slot_ms / 1_000, ZoneInfo(zone)).isoformat(" ")
    return text.replace(":00+", "+").replace(":00-", "-") if text.count(":") == 3 else text


def due(text: str, zone: str, day: str, days: int = 1) -> list[str]:
    """The slots of one local day, or more, as the clocks show them."""
    clock = ZoneInfo(zone)
    start_ms = int(datetime.fromisoformat(day).replace(tzinfo=clock).timestamp()) * 1_000
    found = Cron(text, zone, "any").slots(start_ms - 1, start_ms + (days + 1) * DAY_MS)
    shown = [local(zone, slot_ms) for slot_ms in found]
    last = datetime.fromisoformat(day).toordinal() + days - 1
    return [each for each in shown if datetime.fromisoformat(each).toordinal() <= last]


def assert_walks(timetable: Timetable, expected: list[int], start_ms: int, end_ms: int, at_ms: int) -> None:
    """``expected``: all slots from ``start_ms`` to ``end_ms``; ``at_ms`` is somewhere between."""
    place = bisect_left(expected, at_ms)
    if place > 0:
        assert timetable.last_before(at_ms) == expected[place - 1]
    following = bisect_right(expected, at_ms)
    if following < len(expected):
        assert timetable.next_after(at_ms) == expected[following]

    if len(expected) > WALKED_MAX:
        expected = expected[max(0, place - WALKED_MAX // 2) :][:WALKED_MAX]
        start_ms, end_ms = expected[0], expected[-1]
    assert list(timetable.slots(start_ms - 1, end_ms)) == expected
    assert timetable.latest(start_ms - 1, end_ms, len(expected) + 1) == expected


@settings(deadline=None, max_examples=120)
@given(expressions(), st.sampled_from(CHANGES), st.floats(0.3, 0.7))
def test_the_oddest_days_of_the_clocks(known: Known, change: tuple[str, str], share: float) -> None:
    zone, day = change
    assert_as_looked_at(known, zone, *around(day), share)


@settings(deadline=None, max_examples=40)
@given(expressions(), st.sampled_from(ZONES), st.integers(1973, 2060), st.integers(0, 9), st.floats(0.3, 0.7))
def test_every_zone(known: Known, zone: str, year: int, number: int, share: float) -> None:
    changes = changes_of(zone, year) or [f"{year}-07-01"]
    assert_as_looked_at(known, zone, *around(changes[number % len(changes)]), share)


def assert_as_looked_at(known: Known, zone: str, start_ms: int, end_ms: int, share: float) -> None:
    """What is due within a span is what looking at every minute finds; ``share`` of it is where to look closely."""
    if known.next_wall(datetime.fromisoformat("2000-01-01")) is None:
        return
    expected = slots(known, zone, start_ms, end_ms)
    assert_walks(Cron(known.text, zone, "any"), expected, start_ms, end_ms, start_ms + int(share * (end_ms - start_ms)))


def changes_of(zone: str, year: int) -> list[str]:
    """The days of UTC on which the offset of a zone changes."""
    clock, start_ms = ZoneInfo(zone), ms(f"{year}-01-01")
    days = range(start_ms, start_ms + 365 * DAY_MS, DAY_MS)
    changed = [day_ms for day_ms in days if offset_ms(clock, day_ms) != offset_ms(clock, day_ms + DAY_MS)]
    return [datetime.fromtimestamp(day_ms / 1_000, UTC).date().isoformat() for day_ms in changed]


@pytest.mark.parametrize(
    ("zone", "day", "text", "expected"),
    [
        # a gap, and the wall clock: the first moment after it, once
        ("Europe/Berlin", "2026-03-29", "30 2 * * *", ["03:00+02:00"]),
        ("Europe/Berlin", "2026-03-29", "0,15,30 2 * * *", ["03:00+02:00"]),
        ("Europe/Berlin", "2026-03-29", "0 2,3 * * *", ["03:00+02:00"]),
        ("Europe/Berlin", "2026-03-29", "30 2,3 * * *", ["03:00+02:00", "03:30+02:00"]),
        ("Europe/Berlin", "2026-03-29", "30 0-3 * * *", ["00:30+01:00", "01:30+01:00", "03:00+02:00", "03:30+02:00"]),
        ("Europe/Berlin", "2026-03-29", "15,45 30 2 * * *", ["03:00+02:00"]),
        ("Europe/Dublin", "2026-03-29", "30 1 * * *", ["02:00+01:00"]),
        ("America/New_York", "2026-03-08", "30 2 * * *", ["03:00-04:00"]),
        ("Australia/Lord_Howe", "2026-10-04", "0 2 * * *", ["02:30+11:00"]),
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", ["02:30+11:00"]),
        ("Australia/Lord_Howe", "2026-10-04", "45 2 * * *", ["02:45+11:00"]),
        ("Antarctica/Troll", "2026-03-29", "30 1 * * *", ["03:00+02:00"]),
        ("Antarctica/Troll", "2026-03-29", "0 1,2 * * *", ["03:00+02:00"]),
        ("Pacific/Chatham", "2026-09-27", "0 3 * * *", ["03:45+13:45"]),
        ("America/Santiago", "2026-09-06", "0 0 * * *", ["01:00-03:00"]),
        ("Asia/Beirut", "2026-03-29", "30 0 * * *", ["01:00+03:00"]),
        ("Africa/Cairo", "2026-04-24", "0 0 * * *", ["01:00+03:00"]),
        ("America/Havana", "2026-03-08", "0 0 * * *", ["01:00-04:00"]),
        ("Africa/Casablanca", "2026-03-22", "30 2 * * *", ["03:00+01:00"]),
        ("Asia/Tehran", "2021-03-22", "0 0 * * *", ["01:00+04:30"]),
        # an overlap, and the wall clock: the first time only
        ("Europe/Berlin", "2026-10-25", "30 2 * * *", ["02:30+02:00"]),
        ("Europe/Berlin", "2026-10-25", "0,30 2,3 * * *", ["02:00+02:00", "02:30+02:00", "03:00+01:00", "03:30+01:00"]),
        ("Europe/Dublin", "2026-10-25", "30 1 * * *", ["01:30+01:00"]),
        ("America/New_York", "2026-11-01", "30 1 * * *", ["01:30-04:00"]),
        ("America/Havana", "2026-11-01", "0,30 0 * * *", ["00:00-04:00", "00:30-04:00"]),
        ("America/Santiago", "2026-04-04", "30 23 * * *", ["23:30-03:00"]),
        ("Africa/Casablanca", "2026-02-15", "30 2 * * *", ["02:30+01:00"]),
        ("Australia/Lord_Howe", "2026-04-05", "30,45 1 * * *", ["01:30+11:00", "01:45+11:00"]),
        ("Antarctica/Troll", "2026-10-25", "0 1,2 * * *", ["01:00+02:00", "02:00+02:00"]),
        ("Pacific/Chatham", "2026-04-05", "50 2,3 * * *", ["02:50+13:45", "03:50+12:45"]),
        # by elapsed time: neither what was skipped, nor a pause
        ("Europe/Berlin", "2026-03-29", "*/15 2 * * *", []),
        ("Europe/Berlin", "2026-03-29", "*/30 1-3 * * *", ["01:00+01:00", "01:30+01:00", "03:00+02:00", "03:30+02:00"]),
        ("Europe/Berlin", "2026-03-29", "0 0/2 * * *",
         ["00:00+01:00", *(f"{hour:02d}:00+02:00" for hour in range(4, 24, 2))]),
        ("Europe/Berlin", "2026-10-25", "*/30 2 * * *", ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"]),
        ("Europe/Berlin", "2026-10-25", "@hourly",
         [*(f"{hour:02d}:00+02:00" for hour in range(3)), *(f"{hour:02d}:00+01:00" for hour in range(2, 24))]),
        ("Australia/Lord_Howe", "2026-04-05", "*/20 1 * * *",
         ["01:00+11:00", "01:20+11:00", "01:40+11:00", "01:40+10:30"]),
        ("Australia/Lord_Howe", "2026-10-04", "*/20 1-2 * * *",
         ["01:00+10:30", "01:20+10:30", "01:40+10:30", "02:40+11:00"]),
        ("Pacific/Chatham", "2026-04-05", "*/25 2 * * *",
         ["02:00+13:45", "02:25+13:45", "02:50+13:45", "02:50+12:45"]),
        ("Antarctica/Troll", "2026-10-25", "30 1-2/1 * * *",
         ["01:30+02:00", "02:30+02:00", "01:30+00:00", "02:30+00:00"]),
    ],
)  # fmt: skip
def test_a_day_on_which_the_clocks_are_changed(zone: str, day: str, text: str, expected: list[str]) -> None:
    assert due(text, zone, day) == [f"{day} {each}" for each in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 * * *", ["29 00:00-10:00", "31 00:00+14:00"]),
        ("0 9 * * *", ["29 09:00-10:00", "31 00:00+14:00", "31 09:00+14:00"]),
        ("0 0 * * 5", ["31 00:00+14:00"]),  # a Friday, which there was not
        ("0 12 30 * *", ["31 00:00+14:00"]),
        ("0 */12 * * *", ["29 00:00-10:00", "29 12:00-10:00", "31 00:00+14:00", "31 12:00+14:00"]),
    ],
)
def test_a_day_that_there_was_not(text: str, expected: list[str]) -> None:
    assert due(text, "Pacific/Apia", "2011-12-29", days=3) == [f"2011-12-{each}" for each in expected]


def test_from_the_second_pass_the_first_is_past() -> None:
    nightly = Cron("30 2 * * *", "Europe/Berlin", "any")
    assert nightly.next_after(ms("2026-10-25T02:15+01:00")) == ms("2026-10-26T02:30+01:00")
    assert nightly.last_before(ms("2026-10-25T02:45+01:00")) == ms("2026-10-25T02:30+02:00")


def test_rare_times_are_found_from_afar() -> None:
    fifth = Cron("0 12 * 2 5#5", "America/New_York", "any")
    assert fifth.next_after(ms("2036-03-01")) == ms("2064-02-29T12:00-05:00")
    assert fifth.last_before(ms("2064-02-29")) == ms("2036-02-29T12:00-05:00")
    assert fifth.last_before(ms("1975-01-01")) is None


def test_the_newest_of_very_many_are_reached_from_the_end() -> None:
    secondly = Cron("* * * * * *", "Europe/Berlin", "any")
    until_ms = ms("2027-01-01")
    assert secondly.latest(0, until_ms, 3) == [until_ms - 2_000, until_ms - 1_000, until_ms]
    assert secondly.count(0, until_ms, 100) is None
    assert secondly.count(until_ms - 100_000, until_ms, 100) == 100
    assert Every(1_000, 0).count(0, until_ms, 100) == until_ms // 1_000


@given(st.integers(1_000, 10**7), st.integers(0, 10**13), st.integers(-(10**8), 10**8))
def test_an_interval_counts_from_its_anchor(every_ms: int, anchor_ms: int, away_ms: int) -> None:
    expected = [anchor_ms + number * every_ms for number in range(40)]
    timetable = Every(every_ms, anchor_ms)

    assert timetable.next_after(anchor_ms - 1) == anchor_ms
    assert timetable.last_before(anchor_ms) is None
    assert timetable.count(anchor_ms - 1, expected[-1], 1) == 40
    assert timetable.count(anchor_ms + away_ms, anchor_ms + away_ms - 1, 1) == 0
    at_ms = min(anchor_ms + away_ms, expected[-1])
    assert_walks(timetable, expected, anchor_ms, expected[-1], at_ms)


def test_once_is_once() -> None:
    assert_walks(Once(5_000), [5_000], 0, 9_000, 7_000)
    assert Once(5_000).next_after(5_000) is None
    assert Once(5_000).last_before(5_000) is None
    assert Once(5_000).count(5_000, 9_000, 10) == 0


@pytest.mark.parametrize(
    "timetable", [Cron("@daily", "UTC", "any"), Cron("* * * * * *", "Asia/Tokyo", "any"), Every(1_000, 7)]
)
def test_time_ends_with_the_calendar(timetable: Timetable) -> None:
    assert timetable.next_after(10**17) is None
    last_ms = timetable.last_before(10**15)
    assert last_ms is not None
    assert timetable.next_after(last_ms) is None

"""Time zones: their names, and their periods of even clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.zones import periods_back_from, periods_from, zone_named
from tests.support.cron import ZONES, offset_ms

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "Europe", "Europe/", "UTC\0", "x" * 65, "Zürich", ".",
     "localtime", "posix/UTC", "right/UTC", "zones", "tzdata.zi", "\ud800", "x" * 100_000],
)  # fmt: skip
def test_a_name_that_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="timezone: this is no time zone; expected a name of the IANA database"):
        zone_named(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("europe/berlin", "such as Europe/Berlin"),
        ("Berlin", "such as Europe/Berlin"),
        ("America/NewYork", "such as America/New_York"),
        ("MST", None),
        ("X", "such as UTC or Europe/Berlin"),
    ],
)
def test_a_name_that_is_none_is_told_the_near_ones(name: str, near: str | None) -> None:
    if near is None:
        assert str(zone_named(name)) == name
        return
    with pytest.raises(InvalidInput) as refused:
        zone_named(name)
    assert refused.value.expected is not None
    assert refused.value.expected.startswith(f"a name of the IANA database, {near}")


def test_zones_come_with_the_package_where_the_machine_has_none() -> None:
    import zoneinfo

    zoneinfo.ZoneInfo.clear_cache()
    paths = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[])
    try:
        zone = zone_named("Australia/Lord_Howe")
        assert zone.utcoffset(datetime(2026, 7, 1, tzinfo=UTC).replace(tzinfo=None)) is not None
    finally:
        zoneinfo.reset_tzpath(to=paths)


def test_a_year_of_berlin() -> None:
    found = list(
        takewhile(lambda period: period.start_ms < ms("2027-01-01"), periods_from("Europe/Berlin", ms("2026-01-01")))
    )
    assert [(period.start_ms, period.end_ms, period.before_ms, period.offset_ms) for period in found] == [
        (ms("2026-01-01"), ms("2026-03-29T01:00"), HOUR_MS, HOUR_MS),
        (ms("2026-03-29T01:00"), ms("2026-10-25T01:00"), HOUR_MS, 2 * HOUR_MS),
        (ms("2026-10-25T01:00"), ms("2027-01-01"), 2 * HOUR_MS, HOUR_MS),
    ]
    assert list(islice(periods_back_from("Europe/Berlin", ms("2026-12-31")), 3)) == found[::-1]


@given(st.sampled_from(ZONES), st.integers(ms("1971-01-01"), ms("2060-01-01")))
def test_periods_tell_the_offsets_of_a_zone(name: str, at_ms: int) -> None:
    zone = ZoneInfo(name)
    periods = list(takewhile(lambda period: period.start_ms < at_ms + YEAR_MS, periods_from(name, at_ms)))

    assert periods[0].start_ms <= at_ms < periods[0].end_ms
    assert [period.end_ms for period in periods[:-1]] == [period.start_ms for period in periods[1:]]
    for period in periods:
        assert period.before_ms == offset_ms(zone, period.start_ms - 1)
        moments = {period.start_ms, period.end_ms - 1, *range(period.start_ms, period.end_ms, 97 * HOUR_MS)}
        assert {offset_ms(zone, moment_ms) for moment_ms in moments} == {period.offset_ms}


def test_before_1970_and_after_9998_there_are_none() -> None:
    assert list(periods_back_from("UTC", -1)) == []
    assert list(periods_from("UTC", ms("9999-01-01"))) == []
    assert list(periods_from("UTC", 10**18)) == []
    assert next(periods_from("UTC", -(10**18))).start_ms == 0

"""Time zones of the IANA database: by name, and as periods in which their clocks run evenly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from chalicelib.core.errors import InvalidInput

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

DAY_MS = 86_400_000
FIRST_YEAR, LAST_YEAR = 1970, 9998
LATEST_MS = 253_370_764_800_000  # 9999-01-01, where the calendar ends
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
FARTHEST_MS = 2 * DAY_MS  # no zone is further from UTC
PROBE_MS = DAY_MS  # no zone has changed its offset twice within six days since 1970
EXPECTED = "a name of the IANA database, such as"
NAME_MAX_CHARS = 64  # what is compared of a name that is none
NEAR_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which a zone's clocks run evenly; cut, beside their changes, where a year of UTC begins."""

    start_ms: int  # UTC, the first moment of it
    end_ms: int  # the first moment after it
    before_ms: int  # how far the zone was ahead of UTC just before
    offset_ms: int  # how far it is


def zone_named(name: str, field: str = "timezone") -> ZoneInfo:
    """The time zone with this name. Raises ``InvalidInput`` for the ``field``, with the nearest names."""
    from zoneinfo import ZoneInfo  # imported late: few requests need zones, and a cold start should not

    if not isinstance(name, str) or name not in _names():
        near = get_close_matches(str(name)[:NAME_MAX_CHARS], _names(), n=NEAR_AT_MOST)
        expected = f"{EXPECTED} {' or '.join(near or ('UTC', 'Europe/Berlin'))}"
        raise InvalidInput("this is no time zone", field=field, expected=expected, got=name)
    return ZoneInfo(name)


def periods_from(zone: str, at_ms: int) -> Iterator[Period]:
    """The periods of a zone, by its name, from the one that ``at_ms`` is in onwards, until the calendar ends."""
    for year in range(max(_year_of(at_ms), FIRST_YEAR), LAST_YEAR + 1):
        yield from (period for period in _periods(zone, year) if period.end_ms > at_ms)


def periods_back_from(zone: str, at_ms: int) -> Iterator[Period]:
    """The periods of a zone from the one that ``at_ms`` is in backwards, until 1970."""
    for year in range(min(_year_of(at_ms), LAST_YEAR), FIRST_YEAR - 1, -1):
        yield from (period for period in reversed(_periods(zone, year)) if period.start_ms <= at_ms)


def at_wall(zone: str, wall: datetime) -> int:
    """When the clocks of a zone, by its name, show a time (naive), in milliseconds since 1970.

    One that they skip is the first moment after the gap, one that comes twice the first: as for cron expressions.
    Raises ``InvalidInput`` for a zone that there is not.
    """
    wall_ms = (wall.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
    for period in periods_from(zone, wall_ms - FARTHEST_MS):
        if wall_ms < period.end_ms + period.offset_ms:
            return max(period.start_ms, wall_ms - period.offset_ms)
    return LATEST_MS


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    from importlib.resources import files  # imported late, as above

    # the package's, not the machine's, which may have some of its own, such as localtime or those with leap seconds
    return frozenset((files("tzdata") / "zones").read_text().split())


@lru_cache(maxsize=1_024)
def _periods(name: str, year: int) -> tuple[Period, ...]:
    """The periods of a year of UTC."""
    zone = zone_named(name)
    start_ms, end_ms = _ms_of(year), _ms_of(year + 1)
    probes = [(at_ms, _offset_ms(zone, at_ms)) for at_ms in range(start_ms, end_ms + 1, PROBE_MS)]
    changes = [
        _change(zone, low_ms, high_ms)
        for (low_ms, low_offset_ms), (high_ms, high_offset_ms) in pairwise(probes)
        if low_offset_ms != high_offset_ms
    ]
    starts = sorted({start_ms, *changes} - {end_ms})
    return tuple(
        Period(low_ms, high_ms, _offset_ms(zone, low_ms - 1), _offset_ms(zone, low_ms))
        for low_ms, high_ms in pairwise([*starts, end_ms])
    )


def _change(zone: ZoneInfo, low_ms: int, high_ms: int) -> int:
    """The first moment at which the offset is no longer that of ``low_ms``: it is another at ``high_ms``."""
    before_ms = _offset_ms(zone, low_ms)
    while high_ms - low_ms > 1:
        middle_ms = (low_ms + high_ms) // 2
        if _offset_ms(zone, middle_ms) == before_ms:
            low_ms = middle_ms
        else:
            high_ms = middle_ms
    return high_ms


def _offset_ms(zone: ZoneInfo, at_ms: int) -> int:
    offset = _moment(at_ms).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // MILLISECOND


def _moment(at_ms: int) -> datetime:
    return EPOCH + at_ms * MILLISECOND


def _year_of(at_ms: int) -> int:
    return _moment(min(max(at_ms, 0), LATEST_MS)).year


def _ms_of(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // MILLISECOND

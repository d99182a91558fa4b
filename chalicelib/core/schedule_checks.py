"""What a schedule may say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from chalicelib.core.documents import to_json
from chalicelib.core.errors import InvalidInput, TooLarge
from chalicelib.core.naming import is_name
from chalicelib.core.schedules import RUNS_MAX, Missed, Overlap, Schedule
from chalicelib.core.timetable import EVERY_MAX_MS, EVERY_MIN_MS, Cron
from chalicelib.core.trace import iso
from chalicelib.core.zones import LATEST_MS, zone_named

NAME_MAX_CHARS = 128
WORK_MAX_BYTES = 256 * 1024  # an item of DynamoDB has 400 KB
MISSED_MAX = 1_000
JITTER_MAX_MS = 3_600_000
MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def checked(schedule: Schedule) -> Schedule:
    """The schedule as ``normalised`` has it, its time zone and its expression read. Raises ``InvalidInput`` as that."""
    found = normalised(schedule)
    zone_named(found.zone, "tz")
    if isinstance(timetable := found.timetable, Cron):
        timetable.expression  # noqa: B018  # reads it
    return found


def normalised(schedule: Schedule) -> Schedule:
    """The schedule, with ``missed`` and ``overlap`` as what their texts stand for; reads no time zone, no expression.

    Raises ``InvalidInput`` for what is out of its range, its field named and measured as ``@schedule`` has it: its time
    is ``cron``, ``tz``, ``every_s`` or ``at``.
    """
    if not is_name(schedule.name, NAME_MAX_CHARS):
        expected = f"1 to {NAME_MAX_CHARS} characters on one line, not only blanks"
        raise InvalidInput("this is no name", field="name", expected=expected, got=schedule.name)
    _check_time(schedule)
    _check_whole("missed_max", schedule.missed_max, MISSED_MAX)
    if schedule.max_runs is not None:
        _check_whole("max_runs", schedule.max_runs, RUNS_MAX)
    _check_seconds("jitter_s", schedule.jitter_ms, 0, JITTER_MAX_MS)
    _check_moment("start_at", schedule.start_ms)
    _check_moment("end_at", schedule.end_ms)
    if schedule.start_ms is not None and schedule.end_ms is not None and schedule.end_ms < schedule.start_ms:
        got = iso(schedule.end_ms)
        raise InvalidInput("this is before its start", field="end_at", expected="the start or later", got=got)
    return replace(
        schedule,
        missed=_member(Missed, "missed", schedule.missed),
        overlap=_member(Overlap, "overlap", schedule.overlap),
    )


def check_size(schedule: Schedule) -> None:
    """Raise ``TooLarge``, for ``task`` or ``message``, if what it makes is larger than it can keep."""
    what = schedule.kind.value
    size_bytes = len(to_json(dict(schedule.work), what))
    if size_bytes > WORK_MAX_BYTES:
        expected = f"at most {WORK_MAX_BYTES} bytes of JSON"
        raise TooLarge("a schedule cannot hold so much", field=what, expected=expected, got=f"{size_bytes} bytes")


def seconds_to_ms(field: str, value: object) -> int | None:
    """Seconds in milliseconds; ``None`` stays. Raises ``InvalidInput`` for the field."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LATEST_MS:  # nor nan
        raise InvalidInput("these are no seconds", field=field, expected="a number of seconds", got=value)
    return round(value * 1_000)


def moment_to_ms(field: str, value: object) -> int | None:
    """A moment in milliseconds since 1970; ``None`` stays. Raises ``InvalidInput`` for the field."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        expected = "a datetime with a time zone"
        raise InvalidInput("this is no moment", field=field, expected=expected, got=value)
    return (value - EPOCH) // MILLISECOND


def _check_time(schedule: Schedule) -> None:
    _check_moment("at", schedule.at_ms)
    every_s = None if schedule.every_ms is None else f"{schedule.every_ms / 1_000:g}"
    at = None if schedule.at_ms is None else iso(schedule.at_ms)
    times = (("cron", schedule.cron), ("every_s", every_s), ("at", at))
    given = [(name, value) for name, value in times if value is not None]
    if len(given) != 1:
        name, value = given[1] if given else ("cron", None)
        raise InvalidInput(
            "a schedule has one time", field=name, expected="either cron, or an interval, or one time (at)", got=value
        )
    if schedule.every_ms is not None:
        _check_seconds("every_s", schedule.every_ms, EVERY_MIN_MS, EVERY_MAX_MS)


def _out_of_range(field: str, expected: str, got: object = None) -> InvalidInput:
    return InvalidInput("this value is out of range", field=field, expected=expected, got=got)


def _check_whole(field: str, value: int, largest: int) -> None:
    if type(value) is not int or not 1 <= value <= largest:
        raise _out_of_range(field, f"a whole number, 1 to {largest}", value)


def _check_seconds(field: str, value_ms: int | None, smallest_ms: int, largest_ms: int) -> None:
    if value_ms is None or not smallest_ms <= value_ms <= largest_ms:
        expected = f"{smallest_ms // 1_000} to {largest_ms // 1_000} seconds"
        raise _out_of_range(field, expected, None if value_ms is None else value_ms / 1_000)


def _check_moment(field: str, value_ms: int | None) -> None:
    if value_ms is not None and not 0 <= value_ms < LATEST_MS:
        raise _out_of_range(field, "a time of the years 1970 to 9998")


Member = TypeVar("Member", bound=StrEnum)


def _member(kind: type[Member], field: str, value: object) -> Member:
    if value not in list(kind):
        raise InvalidInput("there is no such choice", field=field, expected=", ".join(kind), got=value)
    return kind(str(value))

"""Cron expressions, read strictly: what would run at other times than its author thinks is refused.

``croniter`` walks them; what it takes without a word is read or refused here first, and reaches it as plain values. It
is imported by this module only, and this module by nothing at import time: requests do without both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from croniter import croniter

from chalicelib.core.errors import InvalidInput

TEXT_MAX_CHARS = 100
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# Any day will do: within 50 years of it, which is how far croniter looks, every month has had every weekday everywhere.
SOME_DAY = datetime.fromisoformat("2000-01-01")

_FLAGS = re.ASCII | re.IGNORECASE
_VALUE = r"[0-9]+|[a-z]{3}"
_PLAIN = re.compile(rf"(?:\*|(?P<low>{_VALUE})(?:-(?P<high>{_VALUE}|l))?)(?:/(?P<step>[0-9]+))?", _FLAGS)
_HASHED = re.compile(r"h(?:\((?P<low>[0-9]+)-(?P<high>[0-9]+)\))?(?:/(?P<step>[0-9]+))?", _FLAGS)
_RANDOM = re.compile(r"r(\(.*\))?(/.*)?", _FLAGS)
_NEAREST = re.compile(r"([0-9]+)w|w([0-9]+)", _FLAGS)
_NTH = re.compile(rf"(?P<weekday>{_VALUE})#(?P<nth>[0-9]+)", _FLAGS)
_LAST = re.compile(r"l(?P<weekday>[0-9]+)", _FLAGS)


@dataclass(frozen=True, slots=True)
class CronExpression:
    """When something is due, by a wall clock without a zone.

    Five fields (minute, hour, day, month, weekday), or six of which the *first* is the second, as Quartz, Spring and
    node-cron have it. Case does not matter, blanks or tabs part the fields and may stand around them.

    ====================  ============================================================================================
    ``*``, ``?``          every value; ``?`` only in day or weekday, alone
    ``9``, ``9-17``       values: 0-59, 0-23, 1-31, 1-12 or jan-dec, 0-7 or sun-sat (0 and 7 are Sunday)
    ``22-2``, ``fri-mon`` ranges that pass the end of their field, without a step
    ``*/15``, ``9-17/2``  every 15th value from the field's first, every second of a range; ``5/15``: from 5 on
    ``1,15``              any of the above, listed
    ``L``, ``20-L``       in day: the last of the month, also as the end of a range
    ``15W``, ``W15``      in day, alone: the weekday (Monday to Friday) next to the 15th, within the month
    ``5#3``, ``L5``       in weekday: the third, the last Friday of the month
    ``H``, ``H(0-29)``,   alone in any field: a value (with ``/``: a beginning) drawn from ``name``, always the same;
    ``H/15``              in day without a range: of 1-28, which every month has
    ``@daily`` …          ``@hourly``, ``@midnight``, ``@weekly``, ``@monthly``, ``@yearly``, ``@annually``
    ====================  ============================================================================================

    A day and a weekday are joined by *or*, as in crontab(5): ``0 0 13 * 5`` is each 13th and each Friday. A field whose
    values are all there are (``0-59``, ``1-31``, ``1-7``) is a ``*``, so it does not turn an *or* into daily.

    Refused, since what croniter or crontab makes of it is a surprise: a year, ``R`` (random: two processes would
    disagree), equal ranges (``9-9``; everything, to croniter), ranges past the end with a step, steps beyond the field,
    ``#``, ``L5`` and ``W`` beside a restricted weekday or day (croniter drops one of the two), ``*/2`` in one of day
    and weekday while the other is restricted (*and* in crontab, *or* in croniter), and what never comes (30 February).
    """

    text: str  # as it was given, less blanks around
    steps: bool  # whether minute or hour is `*`, or steps by `/`: then it goes by elapsed time, else by the wall clock
    _walker: Any = field(repr=False, compare=False)  # a croniter; never moved, as threads share it

    @classmethod
    def parse(cls, text: str, name: str) -> CronExpression:
        """Read ``text``, of at most 100 characters. ``name`` settles its ``H``.

        Raises ``InvalidInput`` for the field ``cron``; its message names the part that is wrong.
        """
        if not isinstance(text, str) or len(text) > TEXT_MAX_CHARS:
            raise _invalid("this is no cron expression", f"a text of at most {TEXT_MAX_CHARS} characters", text)
        return _parsed(text.strip(" \t"), name)

    def next_wall(self, after: datetime) -> datetime | None:
        """The first wall time after ``after`` (both naive); ``None`` if there is none within 50 years."""
        return _found(copy(self._walker).get_next, after)

    def previous_wall(self, before: datetime) -> datetime | None:
        """The last wall time before ``before`` (both naive); ``None`` if there is none within 50 years."""
        return _found(copy(self._walker).get_prev, before)


@dataclass(frozen=True, slots=True)
class _Unit:
    """What a field counts in."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    also: str = ""

    def expected(self) -> str:
        if self is WEEKDAY:
            return "0 to 7 (0 and 7 are Sunday), or sun to sat"
        return f"{self.low} to {self.high}" + (f", or {self.names[0]} to {self.names[-1]}" if self.names else "")

    def value(self, text: str) -> int:
        """A value as it is written; Sunday may be 7 still."""
        if text.lower() in self.names:
            return self.low + self.names.index(text.lower())
        if not text.isdecimal():
            raise _wrong(self, "is not understood", self.expected(), text)
        if not self.low <= int(text) <= (7 if self is WEEKDAY else self.high):
            raise _wrong(self, "is out of range", self.expected(), text)
        return int(text)

    @property
    def all(self) -> frozenset[int]:
        return frozenset(range(self.low, self.high + 1))


SECOND = _Unit("second", 0, 59)
MINUTE = _Unit("minute", 0, 59)
HOUR = _Unit("hour", 0, 23)
DAY = _Unit("day", 1, 31, also=", L, or 15W alone")
MONTH = _Unit("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
WEEKDAY = _Unit("weekday", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"), ", or 5#3 and L5")
UNITS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True, slots=True)
class _Read:
    """A field, read."""

    text: str  # for croniter: `*`, values, and what only croniter knows
    steps: bool = False  # has a `/`
    steps_all: bool = False  # has a `*/n`
    within_month: bool = False  # `#`, `L5` or `W`

    @property
    def every(self) -> bool:
        return self.text == "*"


@lru_cache(maxsize=1_024)
def _parsed(text: str, name: str) -> CronExpression:
    units, texts = _fields(text)
    fields = {unit: _read(unit, each) for unit, each in zip(units, texts, strict=True)}
    _check_together(fields[DAY], fields[WEEKDAY], text)
    expression = CronExpression(
        text,
        steps=any(fields[unit].every or fields[unit].steps for unit in (MINUTE, HOUR)),
        _walker=_walker_of(fields, name),
    )
    if expression.next_wall(SOME_DAY) is None:
        raise _invalid("this day and month never come together", "a day that the month has", text)
    return expression


def _fields(text: str) -> tuple[tuple[_Unit, ...], list[str]]:
    """The units of an expression and the text of each."""
    lower = text.lower()
    if lower.startswith("@") and lower not in ALIASES:
        raise _invalid("there is no such short form", ", ".join(ALIASES), text)
    texts = re.findall(r"[^ \t]+", ALIASES.get(lower, text))
    if len(texts) == len(UNITS):
        return UNITS, texts
    if len(texts) == len(UNITS) + 1:
        return (SECOND, *UNITS), texts
    raise _invalid(
        f"there are {len(texts)} fields",
        "five (minute hour day month weekday), or six with the second first",
        text,
        "a year is said beside the expression: when to end, or the one time to run at" if len(texts) > 6 else None,
    )


def _read(unit: _Unit, text: str) -> _Read:
    if text == "?":
        if unit not in (DAY, WEEKDAY):
            raise _wrong(unit, "cannot be ?", "* for every value", text)
        return _Read("*")
    if hashed := _HASHED.fullmatch(text):
        return _hashed(unit, hashed)
    if _RANDOM.fullmatch(text):
        remedy = "H is drawn from the schedule's name instead, and stays"
        raise _wrong(unit, "cannot be drawn at random", "the same times for every process that asks", text, remedy)
    items = text.split(",")
    if unit is DAY and (nearest := _NEAREST.fullmatch(text)):
        return _Read(f"{unit.value(nearest[1] or nearest[2])}w", within_month=True)
    if unit is WEEKDAY and ("#" in text or any(map(_LAST.fullmatch, items))):
        return _Read(",".join(map(_weekday_of_month, items)), within_month=True)
    return _listed(unit, items)


def _listed(unit: _Unit, items: list[str]) -> _Read:
    """A list of values, ranges and steps, and the last day of the month."""
    last = {item for item in items if unit is DAY and item in ("l", "L")}
    values = frozenset[int]().union(*(_values(unit, item) for item in items if item not in last))
    return _Read(
        "*" if values == unit.all else ",".join([*map(str, sorted(values)), *(["l"] if last else [])]),
        steps=any("/" in item for item in items),
        steps_all=any(item.startswith("*/") for item in items),
    )


def _values(unit: _Unit, item: str) -> Iterable[int]:
    match = _PLAIN.fullmatch(item)
    if match is None:
        expected = f"values ({unit.expected()}), * for all, ranges, steps, lists of these{unit.also}"
        raise _wrong(unit, "is not understood", expected, item)
    step = 1 if match["step"] is None else _step(unit, match["step"])
    if match["low"] is None:
        return range(unit.low, unit.high + 1, step)
    low = unit.value(match["low"])
    if match["high"] is None:
        low = _folded(unit, low)
        return {low} if match["step"] is None else range(low, unit.high + 1, step)
    high = unit.high if unit is DAY and match["high"] in ("l", "L") else unit.value(match["high"])
    return [_folded(unit, value) for value in _range(unit, item, low, high, step)]


def _range(unit: _Unit, item: str, low: int, high: int, step: int) -> Iterable[int]:
    if _folded(unit, low) == _folded(unit, high) and (low, high) != (0, 7):
        raise _wrong(unit, "is a range from a value to itself", str(_folded(unit, low)), item, "say the value alone")
    low = _folded(unit, low)
    if low <= high:
        return range(low, high + 1, step)
    if step != 1:
        raise _wrong(unit, "passes the end of its field and steps", "a range with a step from low to high", item)
    return [*range(low, unit.high + 1), *range(unit.low, high + 1)]


def _folded(unit: _Unit, value: int) -> int:
    return value % 7 if unit is WEEKDAY else value


def _step(unit: _Unit, text: str) -> int:
    if not 1 <= int(text) <= len(unit.all):
        raise _wrong(unit, "has a step that is out of range", f"a step of 1 to {len(unit.all)}", text)
    return int(text)


def _weekday_of_month(item: str) -> str:
    if nth := _NTH.fullmatch(item):
        if not 1 <= int(nth["nth"]) <= 5:
            raise _wrong(WEEKDAY, "does not come so often in a month", "#1 to #5", item)
        return f"{WEEKDAY.value(nth['weekday']) % 7}#{int(nth['nth'])}"
    if last := _LAST.fullmatch(item):
        return f"l{WEEKDAY.value(last['weekday']) % 7}"
    raise _wrong(WEEKDAY, "stands beside one that is counted within the month", "only such as 5#3 or L5", item)


def _hashed(unit: _Unit, match: re.Match[str]) -> _Read:
    """``H``, left to croniter: its bounds are checked, and get said where they are not."""
    low, high = (1, 28) if unit is DAY else (unit.low, unit.high)  # every month has 28 days
    if match["low"] is not None:
        low, high = int(match["low"]), int(match["high"])
        if not unit.low <= low < high <= unit.high:
            raise _wrong(unit, "is drawn from a range that there is not", f"{unit.low} to {unit.high}", match[0])
    step = "" if match["step"] is None else f"/{_step(unit, match['step'])}"
    return _Read(f"h({low}-{high}){step}", steps=bool(step))


def _check_together(day: _Read, weekday: _Read, text: str) -> None:
    """Refuse a day and a weekday that crontab and croniter join each in a way of its own."""
    if day.every or weekday.every:
        return
    for unit, this in ((DAY, day), (WEEKDAY, weekday)):
        if this.within_month or this.steps_all:
            how = "is counted within the month" if this.within_month else "steps through all its values"
            what = f"{how}, beside another field that chooses days"
            raise _wrong(unit, what, "* in one of day and weekday", text, "two schedules say what is meant")


def _walker_of(fields: Mapping[_Unit, _Read], name: str) -> Any:
    text = " ".join(each.text for each in fields.values())
    seed = name.encode("utf-8", "backslashreplace") if "h" in text else None
    try:
        return croniter(text, SOME_DAY, datetime, hash_id=seed, second_at_beginning=True)
    except ValueError as error:
        raise _invalid("this is no cron expression", "one that croniter reads", text) from error


def _found(walk: Callable[..., datetime], start: datetime) -> datetime | None:
    try:
        return walk(datetime, start)
    except (ValueError, OverflowError):  # none for 50 years, or none until the end of the calendar
        return None


def _wrong(unit: _Unit, what: str, expected: str, got: str, remedy: str | None = None) -> InvalidInput:
    return _invalid(f"the {unit.name} {what}", expected, got, remedy)


def _invalid(message: str, expected: str, got: object, remedy: str | None = None) -> InvalidInput:
    return InvalidInput(message, field="cron", expected=expected, got=got, remedy=remedy)

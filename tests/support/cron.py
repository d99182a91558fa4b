"""What a cron expression means and when it is due, told without croniter: by matching every date and every minute."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from itertools import product
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

Days = Callable[[date], bool]
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
MINUTE_MS = 60_000
DAY_MS = 86_400_000
DAYS_LOOKED_AT = 41 * 366  # a fifth Friday in February may take 40 years
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


@dataclass(frozen=True)
class Known:
    """An expression and its meaning."""

    text: str
    seconds: tuple[int, ...]
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    day: Days | None  # ``None``: every
    weekday: Days | None
    steps: bool

    def on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        if self.day is None or self.weekday is None:
            return all(rule(day) for rule in (self.day, self.weekday) if rule is not None)
        return self.day(day) or self.weekday(day)

    def next_wall(self, after: datetime) -> datetime | None:
        passed = (after.hour, after.minute, after.second)
        for number in range(DAYS_LOOKED_AT):
            day = after.date() + number * DAY
            if self.on(day):
                for each in product(sorted(self.hours), sorted(self.minutes), self.seconds):
                    if number > 0 or each > passed:
                        return datetime.combine(day, time(*each))
        return None


@st.composite
def _values(draw: st.DrawFn, low: int, high: int, names: list[str]) -> tuple[str, frozenset[int], bool]:
    """A value, range or step: its text, its values, and whether it is a ``*/n``."""

    def written(value: int) -> str:
        return draw(st.sampled_from([names[value - low], names[value - low].upper()])) if names and draw(
            st.booleans()) else draw(st.sampled_from([str(value), f"{value:02d}"]))  # fmt: skip

    kind = draw(st.sampled_from(["value", "value", "range", "wrapped", "steps", "range steps", "from"]))
    step = draw(st.integers(2, high - low + 1))
    first = draw(st.integers(low, high - 1))
    last = draw(st.integers(first + 1, high))
    match kind:
        case "value":
            return written(last), frozenset({last}), False
        case "range":
            return f"{written(first)}-{written(last)}", frozenset(range(first, last + 1)), False
        case "wrapped":
            return (
                f"{written(last)}-{written(first)}",
                frozenset({*range(last, high + 1), *range(low, first + 1)}),
                False,
            )
        case "steps":
            return f"*/{step}", frozenset(range(low, high + 1, step)), True
        case "range steps":
            return f"{written(first)}-{written(last)}/{step}", frozenset(range(first, last + 1, step)), False
        case _:
            return f"{written(last)}/{step}", frozenset(range(last, high + 1, step)), False


@st.composite
def _field(draw: st.DrawFn, low: int, high: int, names: list[str] | None = None) -> tuple[str, frozenset[int], bool]:
    everything = frozenset(range(low, high + 1))
    if draw(st.integers(0, 2)) == 0:
        return draw(st.sampled_from(["*", "*/1", f"{low}-{high}"])), everything, False
    items = draw(st.lists(_values(low, high, names or []), min_size=1, max_size=3))
    values = frozenset[int]().union(*(each[1] for each in items))
    return ",".join(each[0] for each in items), values, any(each[2] for each in items) and values != everything


def _in_month(day: date) -> int:
    return ((day.replace(day=1) + timedelta(days=31)).replace(day=1) - DAY).day


def _nearest(day: date, wanted: int) -> bool:
    """Whether a day is the weekday of its month that is nearest to ``wanted``."""
    middle = day.replace(day=min(wanted, _in_month(day)))
    month = [day.replace(day=number) for number in range(1, _in_month(day) + 1)]
    weekdays = [each for each in month if each.weekday() < 5]
    return day == min(weekdays, key=lambda each: (abs(each - middle), each))


@st.composite
def _days(draw: st.DrawFn) -> tuple[str, Days | None, bool, bool]:
    """The day: its text, its rule, whether it is a ``*/n``, whether it is counted within the month."""
    kind = draw(st.sampled_from(["plain", "plain", "last", "to last", "nearest"]))
    number = draw(st.integers(1, 30))
    match kind:
        case "last":
            return f"{number},L", lambda day: day.day in (number, _in_month(day)), False, False
        case "to last":
            rule = None if number == 1 else lambda day: day.day >= number
            return f"{number}-l", rule, False, False
        case "nearest":
            return f"{number + 1}W", lambda day: _nearest(day, number + 1), False, True
    text, values, steps = draw(_field(1, 31))
    return text, None if len(values) == 31 else lambda day: day.day in values, steps, False


@st.composite
def _weekdays(draw: st.DrawFn) -> tuple[str, Days | None, bool, bool]:
    kind = draw(st.sampled_from(["plain", "plain", "plain", "within"]))
    if kind == "plain":
        text, values, steps = draw(_field(0, 6, WEEKDAYS))
        return text, None if len(values) == 7 else lambda day: day.isoweekday() % 7 in values, steps, False
    chosen = draw(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 6)), min_size=1, max_size=2))

    def rule(day: date) -> bool:
        return any(
            day.isoweekday() % 7 == weekday % 7
            and (day.day + 7 > _in_month(day) if nth == 6 else (day.day - 1) // 7 + 1 == nth)
            for weekday, nth in chosen
        )

    return ",".join(f"L{weekday}" if nth == 6 else f"{weekday}#{nth}" for weekday, nth in chosen), rule, False, True


@st.composite
def expressions(draw: st.DrawFn) -> Known:
    """Any expression that is not refused, ``H`` and short forms aside; it may be one that never comes."""
    seconds = draw(st.one_of(st.none(), _field(0, 59)))
    minutes, hours, months = draw(_field(0, 59)), draw(_field(0, 23)), draw(_field(1, 12, MONTHS))
    day, weekday = draw(_days()), draw(_weekdays())
    if day[1] and weekday[1] and (day[2] or day[3] or weekday[2] or weekday[3]):
        weekday = ("?", None, False, False)
    fields = [*([seconds[0]] if seconds else []), minutes[0], hours[0], day[0], months[0], weekday[0]]
    return Known(
        draw(st.sampled_from([" ", "  ", "\t"])).join(fields),
        tuple(sorted(seconds[1])) if seconds else (0,),
        minutes[1],
        hours[1],
        months[1],
        day[1],
        weekday[1],
        steps=any("/" in text or len(values) == size for (text, values, _), size in ((minutes, 60), (hours, 24))),
    )


# Each with a change of its clocks that is worth a look: the local date on which it begins.
CHANGES = (
    ("Africa/Cairo", "2026-04-24"),  # at midnight
    ("Africa/Cairo", "2026-10-29"),
    ("Africa/Casablanca", "2026-02-15"),  # Ramadan
    ("Africa/Casablanca", "2026-03-22"),
    ("America/Havana", "2026-03-08"),
    ("America/Havana", "2026-11-01"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("America/Santiago", "2026-04-04"),
    ("America/Santiago", "2026-09-06"),
    ("America/St_Johns", "2006-04-02"),  # at one minute past midnight
    ("America/St_Johns", "2006-10-29"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("Antarctica/Casey", "2020-10-04"),  # three hours
    ("Antarctica/Casey", "2021-03-14"),
    ("Antarctica/Troll", "2026-03-29"),  # two hours
    ("Antarctica/Troll", "2026-10-25"),
    ("Asia/Beirut", "2026-03-29"),
    ("Asia/Beirut", "2026-10-24"),
    ("Asia/Kathmandu", "1986-01-01"),  # a quarter of an hour
    ("Asia/Pyongyang", "2018-05-04"),  # half an hour, for good
    ("Asia/Tehran", "2021-03-22"),
    ("Asia/Tehran", "2021-09-21"),
    ("Australia/Lord_Howe", "2026-04-05"),  # half an hour
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("Europe/Dublin", "2026-03-29"),  # winter time is what is saved
    ("Europe/Dublin", "2026-10-25"),
    ("Pacific/Apia", "2011-12-29"),  # without the 30th
    ("Pacific/Chatham", "2026-04-05"),
    ("Pacific/Chatham", "2026-09-27"),
    ("Pacific/Kwajalein", "1993-08-20"),  # without the 21st
    ("UTC", "2026-03-29"),
)
ZONES = tuple(sorted((files("tzdata") / "zones").read_text().split()))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def offset_ms(zone: ZoneInfo, at_ms: int) -> int:
    offset = (EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // timedelta(milliseconds=1)


def around(day: str) -> tuple[int, int]:
    """The day before a date, itself, and the day after it, in UTC."""
    middle_ms = (datetime.fromisoformat(day).replace(tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)
    return middle_ms - DAY_MS, middle_ms + 2 * DAY_MS


def slots(known: Known, zone: str, start_ms: int, end_ms: int) -> list[int]:
    """When an expression is due, both ends included: every minute of UTC is looked at, from two days before."""
    on = cache(known.on)

    def matches(wall: datetime) -> bool:
        return wall.minute in known.minutes and wall.hour in known.hours and on(wall.date())

    found: set[int] = set()
    latest = None
    for at_ms, wall in _minutes(zone, start_ms - 2 * DAY_MS, end_ms):
        if known.steps:
            due, skipped = matches(wall), False
        else:
            skipped = latest is not None and any(map(matches, _minutes_between(latest, wall)))
            due = (latest is None or wall > latest) and matches(wall)
            latest = wall if latest is None else max(wall, latest)
        if due:
            found |= {at_ms + second * 1_000 for second in known.seconds}
        if skipped:
            found.add(at_ms)
    return sorted(slot_ms for slot_ms in found if start_ms <= slot_ms <= end_ms)


@lru_cache(maxsize=100)
def _minutes(zone: str, start_ms: int, end_ms: int) -> list[tuple[int, datetime]]:
    clock = ZoneInfo(zone)
    return [
        (at_ms, (EPOCH + timedelta(milliseconds=at_ms)).astimezone(clock).replace(tzinfo=None, fold=0))
        for at_ms in range(start_ms - start_ms % MINUTE_MS, end_ms + 1, MINUTE_MS)
    ]


def _minutes_between(earlier: datetime, later: datetime) -> Iterator[datetime]:
    earlier += MINUTE
    while earlier < later:
        yield earlier
        earlier += MINUTE


QUARTER = timedelta(minutes=15)
QUARTER_MS = 900_000
Quarters = dict[tuple[int, int], list[tuple[int, date]]]


@dataclass(frozen=True)
class Year:
    """Some days of a zone whose clocks are changed by quarters of an hour, by what they show: each quarter's wall time
    (hour and number within it), with its beginning in UTC and its local date.
    """

    shown: Quarters  # in both passes, where it comes twice
    first: Quarters  # in the first
    skipped: Quarters  # never: with the moment after the gap

    @classmethod
    def of(cls, zone: str, start_ms: int, end_ms: int) -> Year:
        year = cls(defaultdict(list), defaultdict(list), defaultdict(list))
        clock = ZoneInfo(zone)
        moment = EPOCH + timedelta(milliseconds=start_ms - DAY_MS)
        latest = moment.astimezone(clock).replace(tzinfo=None, fold=0)
        for at_ms in range(start_ms - DAY_MS + QUARTER_MS, end_ms, QUARTER_MS):
            moment += QUARTER
            wall = moment.astimezone(clock).replace(tzinfo=None, fold=0)
            quarter, entry = (wall.hour, wall.minute // 15), (at_ms, wall.date())
            while latest + QUARTER < wall:
                latest += QUARTER
                year.skipped[latest.hour, latest.minute // 15].append((at_ms, latest.date()))
            if at_ms >= start_ms:
                year.shown[quarter].append(entry)
                if wall > latest:
                    year.first[quarter].append(entry)
            latest = max(wall, latest)
        return year

    def slots(self, known: Known) -> list[int]:
        found: set[int] = set()
        for hour, minute in product(known.hours, known.minutes):
            quarter = (hour, minute // 15)
            for at_ms, day in (self.shown if known.steps else self.first)[quarter]:
                if known.on(day):
                    found.add(at_ms + minute % 15 * MINUTE_MS)
            if not known.steps:
                found |= {at_ms for at_ms, day in self.skipped[quarter] if known.on(day)}
        return sorted(found)

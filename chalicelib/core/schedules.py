"""A schedule, and what the clock does with the slots whose time has come: decided from the schedule and the time alone.

A *slot* is a schedule and a nominal time. Whoever hands slots over plans from the schedule's ``next_ms``, the first
slot that nobody has looked at, and writes the plan's ``next_ms`` in the same transaction as its jobs. So a tick that
comes twice, or dies before it wrote, changes nothing; one that comes late or not at all leaves its slots to the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from chalicelib.core.documents import to_json
from chalicelib.core.errors import InvalidInput, TooLarge
from chalicelib.core.naming import is_name
from chalicelib.core.states import Kind
from chalicelib.core.timetable import EVERY_MAX_MS, EVERY_MIN_MS, Cron, Every, Once, Timetable
from chalicelib.core.trace import iso
from chalicelib.core.zones import LATEST_MS, zone_named

NAME_MAX_CHARS = 128
SLOT_WORD, SCHEDULE_WORD = "{{slot}}", "{{schedule}}"
WORK_MAX_BYTES = 256 * 1024  # an item of DynamoDB has 400 KB
MISSED_AFTER_MS = 120_000  # two ticks: a slot whose run is later than that, however it was drawn, was missed
MISSED_MAX = 1_000
JITTER_MAX_MS = 3_600_000
RUNS_MAX = 1_000_000_000
SLOTS_AT_ONCE = 100
COUNTED_MAX = 1_000  # how many skipped slots of a cron expression are counted; of more it is not said how many
CENTURY_MS = 36_525 * 86_400_000
MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Missed(StrEnum):
    """What runs of the slots that the clock came to more than two minutes, and the jitter, late."""

    SKIP = "skip"  # none
    LAST = "last"  # the newest, once
    ALL = "all"  # the newest ``missed_max``


class Overlap(StrEnum):
    """What a slot does while the run of one before it goes on."""

    ALLOW = "allow"  # runs beside it
    SKIP = "skip"
    QUEUE = "queue"  # waits


class SkipReason(StrEnum):
    """Why a slot made no job, or one that did not run."""

    MISSED = "missed"
    OVERLAP = "overlap"
    PAUSED = "paused"
    POOL_FULL = "pool_full"


class Source(StrEnum):
    """Who defines a schedule."""

    CODE = "code"
    API = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When to make what. Exactly one of ``cron``, ``every_ms`` and ``at_ms`` is given (see ``core/timetable.py``)."""

    name: str  # 1 to 128 characters on one line
    uid: str  # of this creation: a schedule that is deleted and made anew has another
    revision: int = 1  # raised by every change
    cron: str | None = None
    zone: str = "UTC"  # of the IANA database; whose clocks ``cron`` goes by
    every_ms: int | None = None  # 1 second to 366 days; from ``start_ms`` on, this included, else from the creation on
    at_ms: int | None = None
    kind: Kind = Kind.TASK
    work: Mapping[str, Any]  # what each slot makes, as the engine reads it
    missed: Missed = Missed.LAST
    missed_max: int = 100  # 1 to 1,000; of ``Missed.ALL``
    overlap: Overlap = Overlap.ALLOW
    jitter_ms: int = 0  # 0 to 3,600,000; each slot is due up to so much after its nominal time
    start_ms: int | None = None  # no slot before it
    end_ms: int | None = None  # no slot after it
    max_runs: int | None = None  # it ends when so many slots were handed over
    paused: bool = False
    next_ms: int | None = None  # the first slot that was not looked at; ``None``: there are no more
    runs: int = 0  # how many slots were handed over
    source: Source = Source.API
    created_at_ms: int
    updated_at_ms: int

    @property
    def timetable(self) -> Timetable:
        """When it is due, ``start_ms`` and ``end_ms`` aside."""
        if self.cron is not None:
            return Cron(self.cron, self.zone, self.name)
        if self.every_ms is not None:
            return Every(self.every_ms, self.created_at_ms if self.start_ms is None else self.start_ms)
        if self.at_ms is not None:
            return Once(self.at_ms)
        raise ValueError(f"schedule {self.name} has no time")

    def due_ms(self, slot_ms: int) -> int:
        """When a slot's job is to run: its nominal time, and 0 to ``jitter_ms``, the same whoever asks."""
        seed = f"{self.uid}#{slot_ms}".encode("utf-8", "backslashreplace")
        drawn = int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest())
        return slot_ms + drawn % (self.jitter_ms + 1)

    def next_after(self, after_ms: int) -> int | None:
        """The first slot after a moment, whatever has run; ``None`` if there is none until its end."""
        start_ms = 0 if self.start_ms is None else self.start_ms
        slot_ms = self.timetable.next_after(max(after_ms, start_ms - 1))
        return None if slot_ms is None or slot_ms > self._end_ms else slot_ms

    def slots_after(self, after_ms: int) -> Iterator[int]:
        """``next_after``, again and again."""
        slot_ms = self.next_after(after_ms)
        while slot_ms is not None:
            yield slot_ms
            slot_ms = self.next_after(slot_ms)

    def work_at(self, at_ms: int) -> dict[str, Any]:
        """What it makes for a time.

        In its input, or payload, ``{{slot}}`` stands for that time (ISO 8601, UTC) and ``{{schedule}}`` for the name.
        """
        words = {SLOT_WORD: iso(at_ms), SCHEDULE_WORD: self.name}
        filled = {name: _filled(self.work[name], words) for name in ("input", "payload") if name in self.work}
        return {**self.work, **filled}

    @property
    def runs_left(self) -> int:
        """How many slots may still be handed over."""
        return RUNS_MAX if self.max_runs is None else max(0, self.max_runs - self.runs)

    @property
    def _end_ms(self) -> int:
        return LATEST_MS if self.end_ms is None else self.end_ms


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot that makes a job."""

    slot_ms: int  # its nominal time, and its name
    due_ms: int


@dataclass(frozen=True, slots=True)
class Skip:
    """Slots in a row that make none."""

    first_ms: int
    last_ms: int
    count: int | None  # ``None``: too many to be counted
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tick does with a schedule."""

    run: tuple[Slot, ...]  # oldest first
    skipped: tuple[Skip, ...]
    next_ms: int | None  # the schedule's from now on
    runs: int  # the same


def plan(schedule: Schedule, now_ms: int, until_ms: int, most: int = SLOTS_AT_ONCE) -> Plan:
    """What becomes of the slots from ``next_ms`` until ``until_ms``, this included, at the time ``now_ms``.

    Those that are more than two minutes and the jitter old were missed, and go by ``schedule.missed``; the others run.
    At most ``most`` run at once, and the plan goes no further than these. Of a paused schedule all are skipped, until
    now.
    """
    if schedule.next_ms is None or schedule.next_ms > until_ms:
        return Plan((), (), schedule.next_ms, schedule.runs)
    looked_at_ms = schedule.next_ms - 1
    if schedule.paused:
        return _all_skipped(schedule, looked_at_ms, min(until_ms, now_ms))
    missed_until_ms = now_ms - schedule.jitter_ms - MISSED_AFTER_MS - 1
    skipped_until_ms = _skipped_until(schedule, looked_at_ms, min(until_ms, missed_until_ms))
    slots: list[Slot] = []
    next_ms = schedule.next_after(skipped_until_ms)
    while next_ms is not None and next_ms <= until_ms and len(slots) < min(most, schedule.runs_left):
        slots.append(Slot(next_ms, schedule.due_ms(next_ms)))
        next_ms = schedule.next_after(next_ms)
    return Plan(
        tuple(slots),
        _skips(schedule, looked_at_ms, skipped_until_ms, SkipReason.MISSED),
        None if len(slots) == schedule.runs_left else next_ms,
        schedule.runs + len(slots),
    )


def preview(schedule: Schedule, after_ms: int, n: int) -> list[int]:
    """The next ``n`` slots after a moment, as if it were not paused; fewer where there are no more, within a century.

    The century is counted from the first: what is due on a Friday that is a 29th of February takes long to be found.
    """
    upcoming: list[int] = []
    for slot_ms in islice(schedule.slots_after(after_ms), min(n, schedule.runs_left)):
        if upcoming and slot_ms - upcoming[0] > CENTURY_MS:
            break
        upcoming.append(slot_ms)
    return upcoming


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


def redefined(seen: Schedule, wanted: Schedule) -> Schedule:
    """What ``wanted`` says, for the schedule that ``seen`` is: its creation, revision and progress stay."""
    kept = ("uid", "revision", "next_ms", "runs", "created_at_ms", "updated_at_ms")
    return replace(wanted, **{name: getattr(seen, name) for name in kept})


def same_times(one: Schedule, other: Schedule) -> bool:
    """Whether two schedules of one name have the same slots."""
    times = ("cron", "zone", "every_ms", "at_ms", "start_ms", "end_ms", "max_runs")
    return all(getattr(one, name) == getattr(other, name) for name in times)


def fingerprint_of(schedules: Iterable[Schedule]) -> str:
    """A digest of what schedules say, in whatever order, their progress aside."""
    blank = Schedule(name="", uid="", work={}, created_at_ms=0, updated_at_ms=0)
    said = sorted(json.dumps(to_document(redefined(blank, each)), sort_keys=True) for each in schedules)
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


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


def to_document(schedule: Schedule) -> dict[str, Any]:
    """The schedule as it is stored: plain values, without those that are ``None``; its kind is called ``makes``."""
    values = {field.name: getattr(schedule, field.name) for field in fields(schedule)}
    makes = values.pop("kind")
    document = {**values, "makes": makes}
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in document.items()
        if value is not None
    }


def from_document(document: Mapping[str, Any]) -> Schedule:
    """The schedule of a stored document, which may have members that are not its own."""
    known = {field.name for field in fields(Schedule)} - {"kind"}
    members = {name: value for name, value in document.items() if name in known}
    return Schedule(
        **{
            **members,
            "kind": Kind(document["makes"]),
            "missed": Missed(document["missed"]),
            "overlap": Overlap(document["overlap"]),
            "source": Source(document["source"]),
        }
    )


def _skipped_until(schedule: Schedule, looked_at_ms: int, missed_until_ms: int) -> int:
    """The last moment, from ``looked_at_ms`` on, whose slot does not run, of those until ``missed_until_ms``."""
    missed_until_ms = min(missed_until_ms, schedule._end_ms)
    if missed_until_ms <= looked_at_ms:
        return looked_at_ms
    most = {Missed.SKIP: 0, Missed.LAST: 1, Missed.ALL: schedule.missed_max}[schedule.missed]
    kept = schedule.timetable.latest(looked_at_ms, missed_until_ms, most)
    return kept[0] - 1 if kept else missed_until_ms


def _all_skipped(schedule: Schedule, looked_at_ms: int, until_ms: int) -> Plan:
    until_ms = max(until_ms, looked_at_ms)
    skips = _skips(schedule, looked_at_ms, until_ms, SkipReason.PAUSED)
    return Plan((), skips, schedule.next_after(until_ms), schedule.runs)


def _skips(schedule: Schedule, after_ms: int, until_ms: int, reason: SkipReason) -> tuple[Skip, ...]:
    """The slots after ``after_ms`` until ``until_ms``, as one."""
    if until_ms <= after_ms:
        return ()
    first_ms = schedule.next_after(after_ms)
    until_ms = min(until_ms, schedule._end_ms)
    if first_ms is None or first_ms > until_ms:
        return ()
    last_ms = schedule.timetable.last_before(until_ms + 1)
    count = schedule.timetable.count(first_ms - 1, until_ms, COUNTED_MAX)
    return (Skip(first_ms, first_ms if last_ms is None else last_ms, count, reason),)


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


def _filled(value: Any, words: dict[str, str]) -> Any:
    """``value`` with each of ``words``, wherever it stands in a text, replaced."""
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(word, text)
        return value
    if isinstance(value, dict):
        return {name: _filled(each, words) for name, each in value.items()}
    return [_filled(each, words) for each in value] if isinstance(value, list) else value

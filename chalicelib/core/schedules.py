"""A schedule: when to make what, and its stored form. What becomes of its slots: ``core/slots.py``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from chalicelib.core.states import Kind
from chalicelib.core.timetable import Cron, Every, Once, Timetable
from chalicelib.core.trace import iso
from chalicelib.core.versions import version_of
from chalicelib.core.zones import LATEST_MS

SLOT_WORD, SCHEDULE_WORD = "{{slot}}", "{{schedule}}"
RUNS_MAX = 1_000_000_000


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
        return None if slot_ms is None or slot_ms > self.latest_ms else slot_ms

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
    def version(self) -> str:
        """What tells what it says from what it said before and after, its progress aside. Its secrets stay unknown."""
        return version_of(f"{self.uid} {fingerprint_of([self])}")

    @property
    def runs_left(self) -> int:
        """How many slots may still be handed over."""
        return RUNS_MAX if self.max_runs is None else max(0, self.max_runs - self.runs)

    @property
    def latest_ms(self) -> int:
        """No slot is after it."""
        return LATEST_MS if self.end_ms is None else self.end_ms


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


def _filled(value: Any, words: dict[str, str]) -> Any:
    """``value`` with each of ``words``, wherever it stands in a text, replaced."""
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(word, text)
        return value
    if isinstance(value, dict):
        return {name: _filled(each, words) for name, each in value.items()}
    return [_filled(each, words) for each in value] if isinstance(value, list) else value

"""What the clock does with the slots of a schedule whose time has come: decided from the schedule and the time alone.

A *slot* is a schedule and a nominal time. Whoever hands slots over plans from the schedule's ``next_ms``, the first
slot that nobody has looked at, and writes the plan's ``next_ms`` in the same transaction as its jobs. So a tick that
comes twice, or dies before it wrote, changes nothing; one that comes late or not at all leaves its slots to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from chalicelib.core.schedules import Missed, Schedule, SkipReason

MISSED_AFTER_MS = 120_000  # two ticks: a slot whose run is later than that, however it was drawn, was missed
SLOTS_AT_ONCE = 100
COUNTED_MAX = 1_000  # how many skipped slots of a cron expression are counted; of more it is not said how many
CENTURY_MS = 36_525 * 86_400_000


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


def _skipped_until(schedule: Schedule, looked_at_ms: int, missed_until_ms: int) -> int:
    """The last moment, from ``looked_at_ms`` on, whose slot does not run, of those until ``missed_until_ms``."""
    missed_until_ms = min(missed_until_ms, schedule.latest_ms)
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
    until_ms = min(until_ms, schedule.latest_ms)
    if first_ms is None or first_ms > until_ms:
        return ()
    last_ms = schedule.timetable.last_before(until_ms + 1)
    count = schedule.timetable.count(first_ms - 1, until_ms, COUNTED_MAX)
    return (Skip(first_ms, first_ms if last_ms is None else last_ms, count, reason),)

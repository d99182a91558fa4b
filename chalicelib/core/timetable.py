"""When a schedule is due, in milliseconds of UTC: by a cron expression in a time zone, at an interval, or once.

Every timetable is walked by its two neighbours, the slot after a moment and the one before it; neither costs more
because much time has passed.

A cron expression that names its minutes and hours goes by the wall clock: a time that the clocks skip is due at the
first moment after the gap, once for all that were skipped; a time that comes twice is due the first time only. One
whose minutes or hours step (``*``, ``*/15``) goes by elapsed time: nothing is due for what was skipped, and what comes
twice is due twice. Both follow from the wall times that a period of even clocks answers for. By elapsed time: those
that it shows. By the wall clock: those from the time on that the clocks *would* have shown at its beginning, had they
not been changed. Then every wall time belongs to exactly one period, and what precedes its beginning is due at that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from chalicelib.core.zones import LATEST_MS, Period, periods_back_from, periods_from

if TYPE_CHECKING:
    from chalicelib.core.cron import CronExpression

EVERY_MIN_MS, EVERY_MAX_MS = 1_000, 366 * 86_400_000
EPOCH = datetime.fromisoformat("1970-01-01")  # of a wall clock: without a zone
MILLISECOND = timedelta(milliseconds=1)


class _Walked(ABC):
    """What follows from the neighbours of a moment."""

    __slots__ = ()

    @abstractmethod
    def next_after(self, after_ms: int) -> int | None:
        """The first slot strictly after a moment; ``None`` if there is none."""

    @abstractmethod
    def last_before(self, before_ms: int) -> int | None:
        """The last slot strictly before a moment; ``None`` if there is none."""

    def slots(self, after_ms: int, until_ms: int) -> Iterator[int]:
        """The slots after ``after_ms`` until ``until_ms``, this included, oldest first."""
        slot_ms = self.next_after(after_ms)
        while slot_ms is not None and slot_ms <= until_ms:
            yield slot_ms
            slot_ms = self.next_after(slot_ms)

    def slots_back(self, until_ms: int) -> Iterator[int]:
        """The slots until ``until_ms``, this included, newest first."""
        slot_ms = self.last_before(until_ms + 1)
        while slot_ms is not None:
            yield slot_ms
            slot_ms = self.last_before(slot_ms)

    def latest(self, after_ms: int, until_ms: int, most: int) -> list[int]:
        """The newest ``most`` of ``slots(after_ms, until_ms)``, oldest first; costs no more than these."""
        back = takewhile(lambda slot_ms: slot_ms > after_ms, self.slots_back(until_ms))
        return list(islice(back, most))[::-1]

    def count(self, after_ms: int, until_ms: int, most: int) -> int | None:
        """How many ``slots(after_ms, until_ms)`` there are; ``None`` if finding out took more than ``most`` steps."""
        found = sum(1 for _ in islice(self.slots(after_ms, until_ms), most + 1))
        return found if found <= most else None


@dataclass(frozen=True, slots=True)
class Cron(_Walked):
    """By the cron expression ``text`` on the clocks of ``zone``; ``name``, the schedule's, settles its ``H``."""

    text: str
    zone: str
    name: str

    @property
    def expression(self) -> CronExpression:
        """The expression, read. Raises ``InvalidInput``."""
        from chalicelib.core.cron import CronExpression  # imported late: croniter is not for requests to load

        return CronExpression.parse(self.text, self.name)

    def next_after(self, after_ms: int) -> int | None:
        expression = self.expression
        asked_ms, found_ms = 0, -1  # no wall time of the expression is between the two
        for period in periods_from(self.zone, after_ms + 1):
            from_ms = _first_wall(period, expression) - 1
            if after_ms >= period.start_ms:
                from_ms = max(from_ms, after_ms + period.offset_ms)
            if not asked_ms <= from_ms < found_ms:
                found = expression.next_wall(EPOCH + from_ms * MILLISECOND)
                if found is None:
                    return None
                asked_ms, found_ms = from_ms, (found - EPOCH) // MILLISECOND
            if found_ms < period.end_ms + period.offset_ms:
                return max(period.start_ms, found_ms - period.offset_ms)
        return None

    def last_before(self, before_ms: int) -> int | None:
        expression = self.expression
        asked_ms, found_ms = -1, 0  # no wall time of the expression is between the two
        for period in periods_back_from(self.zone, before_ms - 1):
            until_ms = min(before_ms, period.end_ms) + period.offset_ms
            if not found_ms < until_ms <= asked_ms:
                found = expression.previous_wall(EPOCH + until_ms * MILLISECOND)
                if found is None:
                    return None
                asked_ms, found_ms = until_ms, (found - EPOCH) // MILLISECOND
            if found_ms >= _first_wall(period, expression):
                return max(period.start_ms, found_ms - period.offset_ms)
        return None


@dataclass(frozen=True, slots=True)
class Every(_Walked):
    """Every ``every_ms`` from ``anchor_ms`` on, this included: 10:00, 10:05, 10:10 for 300,000 from 10:00.

    The anchor is where the schedule starts, if that was said, which then is its first slot, else its creation, after
    which the first slot is one interval later.
    """

    every_ms: int
    anchor_ms: int

    def next_after(self, after_ms: int) -> int | None:
        passed = max(-1, (after_ms - self.anchor_ms) // self.every_ms)
        slot_ms = self.anchor_ms + (passed + 1) * self.every_ms
        return slot_ms if slot_ms < LATEST_MS else None

    def last_before(self, before_ms: int) -> int | None:
        passed = (min(before_ms, LATEST_MS) - 1 - self.anchor_ms) // self.every_ms
        return self.anchor_ms + passed * self.every_ms if passed >= 0 else None

    def count(self, after_ms: int, until_ms: int, most: int) -> int | None:  # noqa: ARG002  # takes one step
        first_ms, last_ms = self.next_after(after_ms), self.last_before(until_ms + 1)
        if first_ms is None or last_ms is None or first_ms > last_ms:
            return 0
        return (last_ms - first_ms) // self.every_ms + 1


@dataclass(frozen=True, slots=True)
class Once(_Walked):
    """At one time."""

    at_ms: int

    def next_after(self, after_ms: int) -> int | None:
        return self.at_ms if self.at_ms > after_ms else None

    def last_before(self, before_ms: int) -> int | None:
        return self.at_ms if self.at_ms < before_ms else None


Timetable = Cron | Every | Once


def _first_wall(period: Period, expression: CronExpression) -> int:
    """The first wall time that a period answers for."""
    return period.start_ms + (period.offset_ms if expression.steps else period.before_ms)

"""The canary: a message that is no job, sent by the clock to see that a lane is alive.

It travels as jobs do, from the clock through SQS to a worker, which notes that it came back. It has no record, so that
no list, count or bill of jobs has it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from chalicelib.core.lanes import Band, Lane

LATE_MS = 300_000
DEAD_LETTERS = "dead letters"  # the way through the dead-letter queue and back to a lane
_BEGINNING = '{"taskyard_canary":'


@dataclass(frozen=True, slots=True)
class Canary:
    """One canary: which way it takes, when it set out, and the lane on which it comes back."""

    way: str
    sent_at_ms: int
    lane: Lane

    def to_text(self) -> str:
        """The message."""
        return json.dumps({"taskyard_canary": [self.way, self.sent_at_ms, self.lane.queue, self.lane.band]})


@dataclass(frozen=True, slots=True)
class Way:
    """What is known of a way: when a canary last set out on it, and since when none has come back that did.

    ``since_ms`` is ``None`` where none is on its way.
    """

    name: str
    sent_at_ms: int
    since_ms: int | None = None

    def late_ms(self, now_ms: int, gathers_s: int = 0) -> int:
        """For how long a canary has been missing, beyond the time that it may take; 0 or more.

        ``gathers_s``: for how long its queue gathers messages to batches.
        """
        return 0 if self.since_ms is None else max(0, now_ms - self.since_ms - LATE_MS - gathers_s * 1_000)


def way_of(lane: Lane) -> str:
    """The name of the way over a lane."""
    return f"{lane.queue} {lane.label}"


def canary_in(text: str) -> Canary | None:
    """The canary that a message is; ``None`` for any other message."""
    if not text.startswith(_BEGINNING):
        return None
    try:
        way, sent_at_ms, queue, band = json.loads(text)["taskyard_canary"]
        return Canary(str(way), int(sent_at_ms), Lane(str(queue), Band(band)))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None

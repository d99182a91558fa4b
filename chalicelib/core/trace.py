"""The story of a job: its newest 20 events, kept in its own record and appended by the very write they tell of.

An event is stored as one line, ``<time in ms> <event> <details as JSON, if any>``, because a list of short
strings is the smallest thing DynamoDB can append to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

TRACE_MAX_EVENTS = 20


class Event(StrEnum):
    """What can happen to a job."""

    PUBLISHED = "published"
    STARTED = "started"
    RECOVERED = "recovered"  # the lease of the attempt before had run out
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # an attempt failed and another will follow
    DEAD = "dead"  # an attempt failed and it was the last
    PARKED = "parked"  # until it is called back
    INTERRUPTED = "interrupted"  # the worker is shutting down; the attempt is not charged
    COMPLETED = "completed"  # by a person or a callback
    PROMOTED = "promoted"  # its delay was ended by request
    CANCELED = "canceled"
    RETRIED = "retried"  # by a person, after the end
    REPLAYED = "replayed"  # made from a dead letter
    REQUEUED = "requeued"  # came back from the dead-letter queue unstarted


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One event of a job's story; ``at_ms`` in milliseconds since 1970."""

    event: Event
    at_ms: int
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_line(self) -> str:
        """The stored form."""
        head = f"{self.at_ms} {self.event}"
        return f"{head} {json.dumps(self.detail, separators=(',', ':'))}" if self.detail else head

    @classmethod
    def from_line(cls, line: str) -> TraceEvent:
        """The event that ``to_line`` stored."""
        at_ms, event, *rest = line.split(" ", 2)
        return cls(Event(event), int(at_ms), json.loads(rest[0]) if rest else {})


def newest(lines: Sequence[str], room_for: int = 0) -> list[str]:
    """The newest of ``lines``, few enough that ``room_for`` more keep within the limit."""
    keep = TRACE_MAX_EVENTS - room_for
    return list(lines[-keep:]) if keep > 0 else []

"""The story of a job: its newest 20 events, kept in its own record and appended by the very write they tell of.

An event is stored as one line, ``<time in ms> <event> <details as JSON, if any>``, because a list of short
strings is the smallest thing DynamoDB can append to. What the events before it tell, or a rule, is not stored again:
``events_in`` fills it in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from chalicelib.core.texts import shortened

TRACE_MAX_EVENTS = 20
ERROR_MAX_CHARS = 80  # of an error; the record has the whole of the newest
HOLDER_MAX_CHARS = 40  # of a consumer's name; the record has the whole of the newest
_to_json = json.JSONEncoder(separators=(",", ":")).encode


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
        return f"{head} {_to_json(self.detail)}" if self.detail else head

    @classmethod
    def from_line(cls, line: str) -> TraceEvent:
        """The event that ``to_line`` stored."""
        at_ms, event, *rest = line.split(" ", 2)
        return cls(Event(event), int(at_ms), json.loads(rest[0]) if rest else {})


def started(now_ms: int, holder: str | None) -> TraceEvent:
    """A run begins; ``holder`` is whose, where that is told."""
    return TraceEvent(Event.STARTED, now_ms, {"by": holder[:HOLDER_MAX_CHARS]} if holder else {})


def failed(now_ms: int, attempt: int, error: str, due_at_ms: int) -> TraceEvent:
    """A run failed, and the next begins at ``due_at_ms``."""
    return TraceEvent(
        Event.FAILED, now_ms, {"attempt": attempt, "error": shortened(error, ERROR_MAX_CHARS), "due": due_at_ms}
    )


def canceled(now_ms: int, by: str | None) -> TraceEvent:
    """A job was canceled by request; ``by`` whom, where that is known."""
    return TraceEvent(Event.CANCELED, now_ms, {"by": by[:HOLDER_MAX_CHARS]} if by else {})


def events_in(lines: Iterable[str], silent_max: int) -> list[TraceEvent]:
    """Stored events with whole details; ``silent_max``: how many locks may run out without a sign of the client.

    ``consumerId`` is who held the job, of a recovery who held it before; ``nextRetryAt`` an ISO 8601 time in UTC.
    A line of an earlier version has fewer.
    """
    holder: dict[str, Any] = {}
    told: list[TraceEvent] = []
    for event in map(TraceEvent.from_line, lines):
        detail = dict(event.detail)
        if event.event is Event.STARTED:
            holder = {"consumerId": detail.pop("by")} if "by" in detail else {}
            detail |= holder
        elif event.event is Event.RECOVERED:
            detail |= holder
        if "due" in detail:
            detail["nextRetryAt"] = iso(detail.pop("due"))
        if "silent" in detail:
            detail["silentMax"] = silent_max
        told.append(TraceEvent(event.event, event.at_ms, detail))
    return told


def iso(at_ms: int) -> str:
    """A point in time as JavaScript writes it: ``2026-01-31T12:00:00.000Z``."""
    moment = datetime.fromtimestamp(at_ms // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03d}Z"


def newest(lines: Sequence[str], room_for: int = 0) -> list[str]:
    """The newest of ``lines``, few enough that ``room_for`` more keep within the limit."""
    keep = TRACE_MAX_EVENTS - room_for
    return list(lines[-keep:]) if keep > 0 else []

"""What the answer to "why is it not running?" is made of. Which one it is: ``why.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chalicelib.core.job import Job, Tombstone
from chalicelib.core.lanes import Lane
from chalicelib.core.texts import shortened
from chalicelib.core.trace import Event, TraceEvent

ERROR_MAX_CHARS = 200


class Code(StrEnum):
    """The reasons, for programs: a name is never given another meaning. docs/why.md has a line for each."""

    # -- it waits for a time
    NOT_DUE = "not_due"
    BACKING_OFF = "backing_off"
    POLLS_AGAIN = "polls_again"
    APPLICATION_RESTS = "application_rests"
    REQUEUED = "requeued"
    # -- it waits for another job, or for somebody
    WAITS_FOR_PARENT = "waits_for_parent"
    MANUAL = "manual"
    PARKED = "parked"
    WAITS_FOR_CLIENT = "waits_for_client"
    # -- it waits for its turn
    PAUSED = "paused"
    NO_HANDLER = "no_handler"
    LIMIT_REACHED = "limit_reached"
    PREVIOUS_RUN = "previous_run"
    # -- it is on its way
    NOT_SENT = "not_sent"
    NO_LANE = "no_lane"
    ON_ITS_WAY = "on_its_way"
    LIGHT = "light"
    FINISHING = "finishing"
    # -- somebody has it
    RUNNING = "running"
    LOCKED = "locked"
    TAKEN = "taken"
    LEASE_ENDED = "lease_ended"
    # -- it is done
    SUCCEEDED = "succeeded"
    ATTEMPTS_USED_UP = "attempts_used_up"
    FAILED = "failed"
    REPLAYED = "replayed"
    CANCELED = "canceled"
    DELETED = "deleted"


IN_LINE = frozenset({Code.PAUSED, Code.LIMIT_REACHED})
"""Of these it matters how many others of the same wait list come before the job."""

IN_LANE = frozenset({Code.ON_ITS_WAY, Code.LIGHT, Code.FINISHING, Code.WAITS_FOR_CLIENT})
"""Of these it matters how many messages its lane holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a job is not running, or what has become of it. Times are in milliseconds since 1970.

    ``sentence``: for people, one line. ``remedy``: what they can do; ``None``: nothing, or nothing is to be done.
    ``since_ms``: since when it is so. ``expected_start_ms``: when it begins to run, where that can be known.
    ``details``: what JSON can hold, times in ISO 8601, ids as digits.
    """

    code: Code
    sentence: str
    remedy: str | None = None
    since_ms: int | None = None
    expected_start_ms: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PauseInForce:
    """That a job's type (or topic) is paused, or its queue. ``unhandled``: nobody did it, a handler is missing."""

    of_queue: bool
    since_ms: int
    unhandled: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job stands in a wait list: how many come ``before`` it, or at least so many where it is not exact."""

    before: int
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class LaneState:
    """The lane of a job. ``depth``: about how many messages it holds, hidden ones too; ``None``: it has no queue."""

    lane: Lane
    depth: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known beside a job's record. What was not looked up, because it cannot matter, has its default.

    ``handled``: a handler of it is deployed. ``light``: which runs without a claim. ``timeout_ms``: of an attempt.
    ``slots`` and ``taken``: how many jobs of its concurrency count may run, and do. ``disabled``: its application is.
    """

    handled: bool = True
    light: bool = False
    timeout_ms: int | None = None
    parent: Job | Tombstone | None = None
    pause: PauseInForce | None = None
    slots: int | None = None
    taken: int = 0
    disabled: bool = False
    place: Place | None = None
    lane: LaneState | None = None


def latest(job: Job) -> TraceEvent:
    """What has happened to a job last."""
    return TraceEvent.from_line(job.trace[-1]) if job.trace else TraceEvent(Event.PUBLISHED, job.created_at_ms)


def error_of(job: Job) -> str:
    """A job's error on one line, of at most 200 characters."""
    return "no error" if job.error is None else shortened(" ".join(job.error.message.split()), ERROR_MAX_CHARS)

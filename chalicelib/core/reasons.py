"""What the answer to "why is it not running?" is made of. Which one it is: ``why.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chalicelib.core.flow import Rate
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.lanes import Lane
from chalicelib.core.states import Kind
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
    BEHIND_FAILED = "behind_failed"
    NOT_ITS_TURN = "not_its_turn"
    LIMIT_REACHED = "limit_reached"
    KEY_LIMIT_REACHED = "key_limit_reached"
    RATE_REACHED = "rate_reached"
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
    SUPERSEDED = "superseded"
    DELETED = "deleted"


IN_LINE = frozenset({Code.PAUSED, Code.NOT_ITS_TURN, Code.LIMIT_REACHED, Code.KEY_LIMIT_REACHED, Code.RATE_REACHED})
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


class Target(StrEnum):
    """What of a job is paused: its type or topic, its queue, its key."""

    TYPE = "type"
    QUEUE = "queue"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class PauseInForce:
    """That a target of a job is paused, ``by`` whom if known. ``unhandled``: nobody did it, a handler is missing."""

    target: Target
    since_ms: int
    unhandled: bool = False
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Slots:
    """The running slots of a type, topic, key, schedule or application.

    ``limit``: how many there are; ``None``: any number. ``holders``: the ids of the jobs that have one, as far as they
    are named. ``set_at_ms``: when the limit was set which holds in the place of the declared one; ``set_by``: by whom.
    """

    limit: int | None = None
    taken: int = 0
    holders: tuple[int, ...] = ()
    set_at_ms: int | None = None
    set_by: str | None = None

    @property
    def all_taken(self) -> bool:
        """Whether nobody else may begin."""
        return self.limit is not None and self.taken >= self.limit


@dataclass(frozen=True, slots=True)
class Tokens:
    """How many runs of a job's key, or of its type, may begin. ``ready_ms``: when the next one may."""

    rate: Rate
    of_key: bool
    ready_ms: int
    set_at_ms: int | None = None
    set_by: str | None = None


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
    ``slots`` are those of its type, schedule or application; where jobs run in order, who holds one of ``key_slots``
    has the turn. ``tokens``: of the rates that bound it. ``ahead``: the job that has the turn. ``disabled``: its
    application is.
    """

    handled: bool = True
    light: bool = False
    timeout_ms: int | None = None
    parent: Job | Tombstone | None = None
    pause: PauseInForce | None = None
    slots: Slots = Slots()
    key_slots: Slots = Slots()
    tokens: tuple[Tokens, ...] = ()
    ahead: Job | Tombstone | None = None
    disabled: bool = False
    place: Place | None = None
    lane: LaneState | None = None


def latest(job: Job) -> TraceEvent:
    """What has happened to a job last."""
    return TraceEvent.from_line(job.trace[-1]) if job.trace else TraceEvent(Event.PUBLISHED, job.created_at_ms)


def error_of(job: Job) -> str:
    """A job's error on one line, of at most 200 characters."""
    return "no error" if job.error is None else shortened(" ".join(job.error.text.split()), ERROR_MAX_CHARS)


# -- words ---------------------------------------------------------------------------------------------


def ready_ms(job: Job) -> int:
    """Since when a job could run, as far as it is concerned."""
    return max(job.due_at_ms, latest(job).at_ms)


def type_word(job: Job) -> str:
    """What the type of a job is called: a message's is its topic."""
    return "topic" if job.kind is Kind.MESSAGE else "type"


def family_of(job: Job) -> str:
    """Those that have a job's key, or where it has none its type: ``key a of the type t``."""
    of_type = f"{type_word(job)} {job.type}"
    return of_type if job.flow_key is None else f"key {job.flow_key} of the {of_type}"


def by(name: str | None) -> str:
    """Who did something, as a part of a sentence; nothing where that is not known."""
    return "" if name is None else f" by {name}"


def in_line(place: Place | None) -> str:
    """How many come before a job, as the end of a sentence."""
    if place is None:
        return ""
    if place.before == 0:
        return "; it is the next"
    return f"; {'' if place.is_exact else 'at least '}{others_come(place.before)} before it"


def others_come(number: int) -> str:
    """So many others, and the verb."""
    return "1 other comes" if number == 1 else f"{number} others come"


def before(place: Place | None) -> dict[str, Any]:
    """The same for programs."""
    return {} if place is None else {"before": place.before, "beforeIsExact": place.is_exact}

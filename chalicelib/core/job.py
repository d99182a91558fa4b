"""The job: one unit of work, as it stands on the ledger.

The record has two halves. The *order* is what was asked for; it never changes and travels in the SQS message
(the envelope), so that a consumer can make the record when the publisher could not. The rest tells how far
the work has come; only the transitions in ``store/transitions`` change it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from chalicelib.core import retry
from chalicelib.core.applications import DELIVERY
from chalicelib.core.causes import Cause
from chalicelib.core.limits import (
    Concurrency,
    Order,
    count_of_application,
    count_of_key,
    count_of_schedule,
    count_of_type,
    share,
)
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import TraceEvent, events_in

ATTEMPTS_MAX = 100  # far below the queues' receive count, so that redrive never decides
SILENT_LOCKS_MAX = 20  # of a message's polls, beyond its attempts, may end without any sign of the client

ELSEWHERE = "elsewhere:"  # what the worker's name begins with of a job that was taken, not run here
MANUAL = "manual"
SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class JobError:
    """Why an attempt failed: the exception's class, its text and where it was raised (``file:line function``)."""

    type: str
    message: str
    where: str | None = None

    @property
    def text(self) -> str:
        """What people read: ``KeyError: 'order'``; without the class where none was raised (``where`` tells)."""
        if self.where is None:
            return self.message
        return f"{self.type}: {self.message}" if self.message else self.type

    def to_document(self) -> dict[str, Any]:
        """The stored form."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job says it is: ``current`` of ``total``, with a word and some data beside it."""

    current: float
    total: float
    message: str = ""
    data: str | None = None  # JSON text

    def to_text(self) -> str:
        """The stored form: JSON, because a fraction is no DynamoDB number here."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @property
    def percent(self) -> float:
        """Between 0 and 100."""
        return 0.0 if self.total <= 0 else min(100.0, max(0.0, 100.0 * self.current / self.total))


@dataclass(frozen=True, kw_only=True)  # without slots: see from_document
class Job:
    """One record of the ledger. Times are in milliseconds since 1970, lengths of time in milliseconds."""

    # -- the order -------------------------------------------------------------------------------
    id: int
    uid: str  # random; two records with one id but different uids are different jobs
    kind: Kind
    type: str  # a task's type, a message's topic
    queue: str  # the pool of a task's type, or the topic
    created_at_ms: int
    trace_id: str
    priority: int = 0
    start_at_ms: int | None = None  # the start that was asked for, if one was
    max_attempts: int = 3
    timeout_ms: int | None = None  # None: as the handler declares
    backoff: retry.Backoff | None = None  # None: as the handler declares
    body: str | None = None  # JSON text of {input, options, context}, where it is small
    body_at: str | None = None  # otherwise its place: "item" or "s3:<key>"
    body_bytes: int | None = None  # of a body that is kept elsewhere; of one in the bucket, what it takes in an answer
    target_id: str | None = None
    target_type: str | None = None
    runner: str = SYSTEM  # SYSTEM: a handler runs it; MANUAL: a person completes it
    script: str | None = None
    parent_id: int | None = None
    replay_of: int | None = None
    created_by: str | None = None  # the user who asked for it, as the client named them
    chained: bool = False  # its body says what follows its success
    remove_on_complete: bool = False  # it is deleted once it has succeeded
    waits_for_handler: bool = False  # while no handler of its type is deployed it is pending, instead of failing
    limited: bool = False  # its type, or schedule, had a limit when it was published: it counts in a concurrency
    schedule: str | None = None  # the schedule that made it
    slot_at_ms: int | None = None  # for which of its slots; None: by request
    overlap: str | None = None  # "skip" or "queue" (core/schedules.py): it may not run beside another of its schedule
    application: str | None = None  # the key of the application that asked for it
    graph: int | None = None  # the graph of which it is a node
    node: str | None = None  # and the name that it has there
    edges: str | None = None  # what comes after it there, as text (core/graphs.py); None: as the graph's plan says
    tenant: str | None = None  # on whose behalf it is done (core/tenants.py)
    flow_key: str | None = None  # what it has in common with others (core/flow.py)
    order: str | None = None  # "block" or "step aside": it runs when those accepted before it are done
    order_seq: int | None = None  # its place among them
    unique_as: str | None = None  # under which mark it keeps jobs like it away, or supersedes them

    # -- how far it has come ---------------------------------------------------------------------
    state: State = State.PENDING
    delivery: int = 1  # raised by every send that the ledger decides; older envelopes are void
    due_at_ms: int = 0  # not claimed before this time
    updated_at_ms: int = 0
    attempts: int = 0  # begun so far; a number is never used twice, so an explicit retry counts on
    attempt_limit: int = 3  # the number of the last attempt: max_attempts, moved on by an explicit retry
    failures: int = 0  # since the publish or the explicit retry
    poll_count: int = 0  # polls made since the publish or the explicit retry
    polled: int = 0  # runs that ended in another poll, ever: the next run goes on with their attempt
    epoch: int = 0  # how many attempts had been begun when it was last retried by request: what tells its lives apart
    lease: str | None = None  # the newest lease, kept after settling so that a repeated settle knows itself
    lease_until_ms: int | None = None
    worker: str | None = None
    receipt: str | None = None  # a polled job's SQS receipt handle
    source: str | None = None  # and the SQS queue it came from
    heard: bool = False  # whoever runs it has extended the lease
    silences: int = 0  # polls since the publish or the explicit retry whose lock ran out without a sign of the client
    run_ms: int = 0  # how long its attempts ran, those that ended; of a lost worker until its lease ended
    first_started_at_ms: int | None = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None
    output: str | None = None  # JSON text, where it is small
    output_at: str | None = None  # otherwise its place: "item:<lease>" or "s3:<key>"
    error: JobError | None = None
    cause: Cause | None = None  # of a dead letter
    finishing: bool = False  # it has its output, and the completion handler of its type is still to be called
    completed_by: str | None = None  # the user who completed it
    msg: str | None = None  # what they said
    context: str | None = None  # JSON text: what replaces the body's context since it was parked, where it is small
    context_at: str | None = None  # otherwise its place, as of an output
    progress: Progress | None = None
    running_at: str | None = None  # an application's: the newest lines of its run, ``file:line function`` each
    succeeded_subscribers: tuple[str, ...] = ()
    blocked: bool = False  # a child whose parent has not succeeded yet
    has_children: bool = False
    requeue_count: int = 0  # how often it came back from the dead-letter queue unstarted
    sent_at_ms: int | None = None
    wake_at_ms: int | None = None  # when the clock looks after it, if nothing else has by then
    set_aside: int = 0  # how often in a row the clock could not do then what was to be done
    replayed_at_ms: int | None = None
    replayed_as: int | None = None
    delete_when_over: bool = False  # it is deleted once its run, which goes on though somebody ended the job, is over
    slot: bool = False  # it holds one of its type's running slots, until its run is over, whoever ended the job
    key_slot: bool = False  # the same of its key's
    turn: bool = False  # of those that run in order it is the one whose turn it is, between its attempts, too
    trace: tuple[str, ...] = ()

    def lease_expired(self, now_ms: int) -> bool:
        """Whether the job runs with a lease that has run out, so that another worker may take it over."""
        return self.state is State.RUNNING and (self.lease_until_ms or 0) < now_ms

    def running_ms(self, now_ms: int) -> int:
        """How long its present attempt has been running, if it runs: not beyond the lease."""
        if self.state is not State.RUNNING or self.started_at_ms is None:
            return 0
        return max(0, min(now_ms, self.lease_until_ms or now_ms) - self.started_at_ms)

    @property
    def silent(self) -> bool:
        """Whether a client has polled it of whom nothing was heard since, perhaps because the answer never arrived."""
        return self.receipt is not None and not self.heard

    @property
    def taken(self) -> bool:
        """Whether a program elsewhere has it: nothing of its run goes on here once somebody has ended it."""
        return (self.worker or "").startswith(ELSEWHERE)

    @property
    def run_goes_on(self) -> bool:
        """Whether it holds its slot although somebody ended it while it ran: its worker has not noticed yet."""
        return self.has_slot and self.state is not State.RUNNING

    @property
    def has_slot(self) -> bool:
        """Whether it holds a running slot of any kind."""
        return self.slot or self.key_slot

    @property
    def to_be_deleted(self) -> bool:
        """Whether somebody wanted it deleted that could not be before now, when it is done and its run is over."""
        return self.delete_when_over or (self.remove_on_complete and self.state is State.SUCCESS)

    @property
    def counted_as(self) -> str:
        """The name of the concurrency count in which it has its share, if it is limited."""
        if self.overlap is not None:
            return count_of_schedule(self.schedule or "")
        if self.delivers:
            return count_of_application(self.application or "")
        return count_of_type(self.kind, self.type)

    @property
    def key_counted_as(self) -> str:
        """The name of the concurrency count of its key."""
        return count_of_key(count_of_type(self.kind, self.type), self.flow_key)

    @property
    def is_counted(self) -> bool:
        """Whether it may have a share in a concurrency count."""
        return self.limited or self.turn or self.has_slot

    @property
    def is_blocking(self) -> bool:
        """Whether it has failed for good and those behind it wait all the same."""
        return self.turn and self.state is State.FAILED

    @property
    def keeps_turn(self) -> bool:
        """Whether it remains its turn in the state that it has come to."""
        return self.turn and (not self.state.terminal or (self.state is State.FAILED and self.order == Order.BLOCK))

    @property
    def delivers(self) -> bool:
        """Whether its run posts it to the application that asked for it."""
        return self.application is not None and self.type == DELIVERY

    @property
    def alias_scope(self) -> str:
        """Among which jobs its alias is no other's: those of its application, or else of its type."""
        return self.type if self.application is None else count_of_application(self.application)

    @property
    def shares(self) -> dict[str, Concurrency]:
        """What it adds to which concurrency counts."""
        own = share(self.state, limited=self.limited, slot=self.slot)
        of_key = Concurrency(running=int(self.key_slot or self.turn))
        named = ((self.counted_as, own), (self.key_counted_as, of_key))
        return {name: each for name, each in named if each}

    @property
    def tries(self) -> int:
        """How many attempts were begun since the publish or the newest explicit retry, polls not counted."""
        return self.attempts - (self.attempt_limit - self.max_attempts)

    @property
    def spared(self) -> int:
        """How many attempts since then were not charged to it, about: polls of a life before count against them."""
        return max(0, self.attempt_limit - self.max_attempts - self.epoch - self.polled)

    @property
    def retries(self) -> int:
        """How often it was tried again since then, a retry that waits included: never more often than it may be."""
        begun = self.tries if self.state is State.PENDING else self.tries - 1
        return min(max(begun, 0), self.max_attempts - 1)

    @property
    def attempts_used_up(self) -> bool:
        """Whether no further attempt may begin."""
        return self.attempts >= self.attempt_limit

    @property
    def travels(self) -> bool:
        """Whether an SQS message stands for this job: not for a manual task, nor for a child that waits.

        One that has its output travels in any case: a worker calls the completion handler.
        """
        return self.finishing or (self.runner == SYSTEM and not self.blocked)

    @property
    def story(self) -> Story:
        """What is told of it."""
        return Story(**{name: getattr(self, name) for name in STORY_FIELDS})

    @property
    def events(self) -> list[TraceEvent]:
        """The newest events of its story, oldest first."""
        return events_in(self.trace, SILENT_LOCKS_MAX)


def changed(job: Job, **fields: Any) -> Job:
    """The job with other values of ``fields``, as ``dataclasses.replace`` makes it, but in one step.

    Setting ninety fields one by one takes twenty times as long. Raises ``TypeError`` for a name that is no field.
    """
    if not _FIELDS.issuperset(fields):
        raise TypeError(f"no fields of a job: {', '.join(sorted(fields.keys() - _FIELDS))}")
    copy = object.__new__(Job)
    vars(copy).update(vars(job), **fields)
    return copy


_FIELDS = frozenset(field.name for field in dataclasses.fields(Job))


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is told of a message, even after it was deleted: its newest events."""

    id: int
    kind: Kind
    type: str
    created_at_ms: int
    trace_id: str
    trace: tuple[str, ...] = ()

    @property
    def events(self) -> list[TraceEvent]:
        """The newest events, oldest first."""
        return events_in(self.trace, SILENT_LOCKS_MAX)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What remains of a deleted job until SQS can no longer redeliver it.

    ``unpurged`` are the places where the job kept large things that are not known to be deleted yet; of a message its
    ``story`` is kept, too.
    """

    id: int
    unpurged: tuple[str, ...] = ()
    story: Story | None = field(default=None, compare=False)


STORY_FIELDS = ("id", "kind", "type", "created_at_ms", "trace_id", "trace")

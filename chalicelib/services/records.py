"""The records that the services return, and that HTTP shows in its words: each job is told of here alone.

Times are aware, in UTC; ids are numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from chalicelib.core.causes import Cause
from chalicelib.core.errors import TaskyardError
from chalicelib.core.job import Job, JobError, Story
from chalicelib.core.signature import without_secret, without_secrets
from chalicelib.core.states import State
from chalicelib.core.trace import TraceEvent as StoredEvent
from chalicelib.engine.handlers.declare import DEFAULT_SCRIPT
from chalicelib.services.words import STATUS_OF, TRACE_EVENT_OF, Status, TraceEventType, retry_count_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it stood when it was read."""

    id: int
    topic: str
    payload: Any  # None in lists where it is kept in the bucket (above 256 KB): messages.get reads it
    status: Status
    retry_count: int  # how many deliveries failed, or lost their lock after a sign of the client
    max_retries: int  # how many may, the last one included
    priority: int
    execute_at: datetime | None  # the start that was asked for
    next_retry_at: datetime | None
    consumer_id: str | None
    locked_at: datetime | None
    lock_expires_at: datetime | None
    trace_id: str
    meta: Any
    error: str | None  # why the newest delivery failed
    schedule: str | None  # the schedule that published it
    slot_time: datetime | None  # for which of its times; None: by request
    created_at: datetime
    updated_at: datetime
    tenant: str | None = None  # on whose behalf
    flow_key: str | None = None  # what it has in common with others
    lock_token: str | None = field(default=None, repr=False)  # of a polled message: proves the lock


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that used up its deliveries; its ``id`` is the message's."""

    id: int
    topic: str
    payload: Any  # as for Message
    error_message: str | None
    cause: Cause | None  # what made that failure the last
    retry_count: int
    trace_id: str
    replayed: bool
    replayed_at: datetime | None
    replayed_as: int | None  # the message that the replay made
    created_at: datetime  # when it became a dead letter
    updated_at: datetime

    @property
    def original_id(self) -> int:
        """The id of the message that failed: a dead letter is that very message."""
        return self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What became of one dead letter: the message that was made of it, or why none was."""

    id: int | str  # as it was given
    message: Message | None = None
    error: TaskyardError | None = None

    @property
    def success(self) -> bool:
        """Whether it was replayed."""
        return self.error is None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEvent:
    """One event of a message's story."""

    trace_id: str
    message_id: int
    topic: str
    event: TraceEventType
    detail: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of a task's log."""

    time: datetime
    message: str
    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleLine:
    """A line that a task's handler printed or logged."""

    time: datetime
    attempt: int  # in which run, from 1
    source: str  # "stdout", "stderr" or "log"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it stood when it was read."""

    id: int
    type: str
    script_name: str
    target_id: str | None
    target_type: str | None
    runner_type: str  # "system": a handler runs it; "manual": a person completes it
    status: State
    progress: float  # 0 to 100
    msg: str | None  # what who completed it said, or else its handler with its progress
    input: Any  # None in lists where it is kept in the bucket (above 256 KB)
    output: Any  # None in lists where it is not small (above 300 bytes)
    error: JobError | None
    cause: Cause | None  # of a failed one: what made that failure the last
    context: Any  # without its secret
    options: Any
    next: Any  # the task that its success creates, in the words of the HTTP API; without secrets
    priority: int
    max_retries: int
    retry_count: int  # how often it was tried again, a retry that waits included
    attempts: int  # how many runs were started, those that polled included
    poll_count: int
    timeout_ms: int | None
    parent_id: int | None
    remove_on_complete: bool
    trace_id: str
    created_user_id: str | None
    completed_user_id: str | None
    schedule: str | None  # the schedule that made it
    slot_time: datetime | None  # for which of its times; None: by request
    graph_id: int | None  # the graph of which it is a node
    node: str | None  # and the name that it has there
    start_time: datetime | None  # not before this time
    started_at: datetime | None  # when its first attempt began
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    tenant: str | None = None  # on whose behalf
    flow_key: str | None = None  # what it has in common with others
    poll_results: tuple[Mapping[str, Any], ...] | None = None  # oldest first, with a time; of tasks.detail alone
    log: tuple[LogEntry, ...] | None = None  # newest first; likewise
    console: tuple[ConsoleLine, ...] | None = None  # what its handler printed and logged, oldest first; likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """A part of a list, newest first; iterable.

    ``total_count`` is exact up to 10,000 (else ``total_is_exact`` is false) and ``None`` on a page by cursor, for
    which nothing is counted. ``next_cursor`` leads on, however deep; ``None`` at the end of the list.
    """

    items: list[Item]
    total_count: int | None
    total_is_exact: bool
    next_cursor: str | None

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def message_of(job: Job, body: Mapping[str, Any] | None, *, locked: bool = False) -> Message:
    """A record of the ledger as a message; ``locked``: for the client that has just polled it."""
    content = body or {}
    running = job.state is State.RUNNING
    return Message(
        id=job.id,
        topic=job.type,
        payload=content.get("input"),
        status=STATUS_OF[job.state],
        retry_count=retry_count_of(job),
        max_retries=job.max_attempts,
        priority=job.priority,
        execute_at=maybe_moment_of(job.start_at_ms),
        next_retry_at=moment_of(job.due_at_ms) if job.state is State.PENDING and job.failures > 0 else None,
        consumer_id=job.worker if running else None,
        locked_at=maybe_moment_of(job.started_at_ms) if running else None,
        lock_expires_at=maybe_moment_of(job.lease_until_ms) if running else None,
        trace_id=job.trace_id,
        meta=content.get("options"),
        error=job.error.message if job.error is not None else None,
        schedule=job.schedule,
        slot_time=maybe_moment_of(job.slot_at_ms),
        created_at=moment_of(job.created_at_ms),
        updated_at=moment_of(job.updated_at_ms),
        tenant=job.tenant,
        flow_key=job.flow_key,
        lock_token=job.lease if locked else None,
    )


def dead_letter_of(job: Job, body: Mapping[str, Any] | None) -> DeadLetter:
    """A failed message as a dead letter."""
    return DeadLetter(
        id=job.id,
        topic=job.type,
        payload=(body or {}).get("input"),
        error_message=job.error.message if job.error is not None else None,
        cause=job.cause,
        retry_count=retry_count_of(job),
        trace_id=job.trace_id,
        replayed=job.replayed_at_ms is not None,
        replayed_at=maybe_moment_of(job.replayed_at_ms),
        replayed_as=job.replayed_as,
        created_at=moment_of(job.completed_at_ms or job.updated_at_ms),
        updated_at=moment_of(job.updated_at_ms),
    )


def task_of(job: Job, body: Mapping[str, Any] | None, context: Any, output: Any) -> Task:
    """A record of the ledger as a task, with the context and the output that it has now."""
    content = body or {}
    progress = job.progress
    return Task(
        id=job.id,
        type=job.type,
        script_name=job.script or DEFAULT_SCRIPT,
        target_id=job.target_id,
        target_type=job.target_type,
        runner_type=job.runner,
        status=job.state,
        progress=100.0 if job.state is State.SUCCESS else progress.percent if progress else 0.0,
        msg=job.msg if job.msg is not None else progress.message if progress else None,
        input=content.get("input"),
        output=output,
        error=job.error,
        cause=job.cause,
        context=without_secret(context),
        options=content.get("options"),
        next=without_secrets(content.get("next")),
        priority=job.priority,
        max_retries=job.max_attempts - 1,
        retry_count=job.retries,
        attempts=job.attempts,
        poll_count=job.poll_count,
        timeout_ms=job.timeout_ms,
        parent_id=job.parent_id,
        remove_on_complete=job.remove_on_complete,
        trace_id=job.trace_id,
        created_user_id=job.created_by,
        completed_user_id=job.completed_by,
        schedule=job.schedule,
        slot_time=maybe_moment_of(job.slot_at_ms),
        graph_id=job.graph,
        node=job.node,
        start_time=maybe_moment_of(job.start_at_ms),
        started_at=maybe_moment_of(job.first_started_at_ms),
        completed_at=maybe_moment_of(job.completed_at_ms),
        created_at=moment_of(job.created_at_ms),
        updated_at=moment_of(job.updated_at_ms),
        tenant=job.tenant,
        flow_key=job.flow_key,
    )


def trace_event_of(story: Story, event: StoredEvent) -> TraceEvent:
    """An event of a message's story."""
    return TraceEvent(
        trace_id=story.trace_id,
        message_id=story.id,
        topic=story.type,
        event=TRACE_EVENT_OF[event.event],
        detail=dict(event.detail),
        created_at=moment_of(event.at_ms),
    )


def moment_of(at_ms: int) -> datetime:
    """A time of the ledger, in milliseconds since 1970, as an aware one."""
    return EPOCH + at_ms * MILLISECOND


def ms_of(moment: datetime) -> int:
    """The same time in milliseconds since 1970 again."""
    return (moment - EPOCH) // MILLISECOND


def maybe_moment_of(at_ms: int | None) -> datetime | None:
    """The same where there may be none."""
    return None if at_ms is None else moment_of(at_ms)

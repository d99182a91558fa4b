"""fastify-mq's words for how a message stands and for what happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.core.trace import Event


class Status(StrEnum):
    """How a message stands. A canceled message counts as FAILED."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class TraceEventType(StrEnum):
    """What can happen to a message. FAILED: a delivery failed and another follows."""

    PUBLISHED = "PUBLISHED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    MOVED_TO_DLQ = "MOVED_TO_DLQ"
    REPLAYED = "REPLAYED"
    LOCK_RECOVERED = "LOCK_RECOVERED"
    CANCELED = "CANCELED"
    RETRIED = "RETRIED"
    REQUEUED = "REQUEUED"
    INTERRUPTED = "INTERRUPTED"
    PROMOTED = "PROMOTED"


STATUS_OF: Mapping[State, Status] = {
    State.PENDING: Status.PENDING,
    State.RUNNING: Status.PROCESSING,
    State.WAITING: Status.PROCESSING,
    State.SUCCESS: Status.COMPLETED,
    State.FAILED: Status.FAILED,
    State.CANCELED: Status.FAILED,
}
TRACE_EVENT_OF: Mapping[Event, TraceEventType] = {
    Event.PUBLISHED: TraceEventType.PUBLISHED,
    Event.STARTED: TraceEventType.PROCESSING,
    Event.PARKED: TraceEventType.PROCESSING,
    Event.RECOVERED: TraceEventType.LOCK_RECOVERED,
    Event.SUCCEEDED: TraceEventType.COMPLETED,
    Event.COMPLETED: TraceEventType.COMPLETED,
    Event.FAILED: TraceEventType.FAILED,
    Event.DEAD: TraceEventType.MOVED_TO_DLQ,
    Event.REPLAYED: TraceEventType.REPLAYED,
    Event.CANCELED: TraceEventType.CANCELED,
    Event.RETRIED: TraceEventType.RETRIED,
    Event.REQUEUED: TraceEventType.REQUEUED,
    Event.INTERRUPTED: TraceEventType.INTERRUPTED,
    Event.PROMOTED: TraceEventType.PROMOTED,
}


def retry_count_of(message: Job) -> int:
    """How many deliveries of a message are over without success: they failed, or their lock ran out.

    Since the publish; never more than ``max_attempts``.
    """
    if message.state is State.CANCELED:
        return message.failures
    under_way_or_good = message.state in (State.RUNNING, State.WAITING, State.SUCCESS)
    return max(0, message.tries - under_way_or_good)


def states_of(status: Status) -> tuple[State, ...]:
    """The states that a status stands for."""
    return tuple(state for state, word in STATUS_OF.items() if word is status)

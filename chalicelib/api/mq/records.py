"""What the message service shows over HTTP, in fastify-mq's words (``chalicelib.services.words``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from chalicelib.api.shapes import iso
from chalicelib.core.job import Job, Story
from chalicelib.core.states import State
from chalicelib.core.trace import TraceEvent
from chalicelib.http.models import AnswerModel
from chalicelib.logger import logger
from chalicelib.services.words import STATUS_OF, TRACE_EVENT_OF, Status, retry_count_of, states_of
from chalicelib.store.payloads import PayloadLost, PayloadUnread

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

STATES_OF: Mapping[str, tuple[State, ...]] = {status: states_of(status) for status in Status}
EVENT_OF = TRACE_EVENT_OF


class MessageRecord(AnswerModel):
    """A message as it stands."""

    id: str = Field(examples=["1024"])
    topic: str = Field(examples=["order.created"])
    payload: Any = Field(description="null in lists where it is kept in the bucket (above 256 KB)")
    status: str = Field(description="PENDING, PROCESSING, COMPLETED or FAILED", examples=["PENDING"])
    retry_count: int = Field(
        description="How many deliveries failed, or lost their lock after it was extended: silent ones do not count"
    )
    max_retries: int
    priority: int
    execute_at: str | None
    next_retry_at: str | None
    consumer_id: str | None
    locked_at: str | None
    lock_expires_at: str | None = Field(description="Until when the consumer holds it; past: recoverable")
    trace_id: str
    options: Any = Field(description="The publisher's meta; {} where it gave none")
    error: str | None = Field(description="Why the newest delivery failed")
    schedule: str | None = Field(description="The schedule that published it")
    slot_time: str | None = Field(description="For which of its times; null: by request")
    created_at: str
    updated_at: str


class PolledMessage(MessageRecord):
    """A message locked by who polled it."""

    lock_token: str = Field(
        description="Proves that you hold the lock: send it with complete, fail and extend. Nobody else is shown it",
        repr=False,
        examples=["9f86d081884c7d65"],
    )


class TraceRecord(AnswerModel):
    """One event of a message's story."""

    trace_id: str
    message_id: str
    topic: str
    event: str = Field(
        description="REQUEUED: came back from SQS's dead-letter queue; INTERRUPTED: given up uncharged, because a "
        "worker shut down, a client was gone before the answer, or it was reset; PROMOTED: its delay was ended",
        examples=["PUBLISHED"],
    )
    detail: Any = Field(
        description="consumerId of PROCESSING, and of LOCK_RECOVERED who held it before; nextRetryAt of FAILED; silent "
        "of silentMax locks without a sign of the client"
    )
    created_at: str


def whole_record(yard: Yard, job: Job) -> MessageRecord:
    try:
        return listed(job, yard.payloads.body(job))
    except (PayloadLost, PayloadUnread) as error:  # the rest of it is true all the same
        logger.error("left out of an answer", extra={"job_id": job.id, "error": str(error)})
        return _record(job, {"omitted": error.message}, None)


def polled_record(yard: Yard, job: Job) -> PolledMessage:
    return PolledMessage(**dict(whole_record(yard, job)), lock_token=job.lease or "")


def listed(job: Job, body: dict[str, Any] | None) -> MessageRecord:
    if body is None:
        return _record(job, None, None)
    return record(job, body.get("input"), body.get("options"))


def record(job: Job, payload: Any, meta: Any) -> MessageRecord:
    return _record(job, payload, {} if meta is None else meta)


def _record(job: Job, payload: Any, options: Any) -> MessageRecord:
    running = job.state is State.RUNNING
    waits_for_retry = job.state is State.PENDING and job.failures > 0
    return MessageRecord(
        id=str(job.id),
        topic=job.type,
        payload=payload,
        status=STATUS_OF[job.state],
        retry_count=retry_count_of(job),
        max_retries=job.max_attempts,
        priority=job.priority,
        execute_at=iso(job.start_at_ms),
        next_retry_at=iso(job.due_at_ms) if waits_for_retry else None,
        consumer_id=job.worker if running else None,
        locked_at=iso(job.started_at_ms) if running else None,
        lock_expires_at=iso(job.lease_until_ms) if running else None,
        trace_id=job.trace_id,
        options=options,
        error=job.error.message if job.error else None,
        schedule=job.schedule,
        slot_time=iso(job.slot_at_ms),
        created_at=iso(job.created_at_ms) or "",
        updated_at=iso(job.updated_at_ms) or "",
    )


def trace_record(story: Story, event: TraceEvent) -> TraceRecord:
    return TraceRecord(
        trace_id=story.trace_id,
        message_id=str(story.id),
        topic=story.type,
        event=EVENT_OF[event.event],
        detail=dict(event.detail) or None,
        created_at=iso(event.at_ms) or "",
    )

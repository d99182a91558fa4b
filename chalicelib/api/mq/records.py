"""What the message service shows over HTTP, in fastify-mq's words (``chalicelib.services.words``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from chalicelib.api.shapes import ShownId, ShownTime, fields_of
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.http.models import IF_SET, AnswerModel
from chalicelib.logger import logger
from chalicelib.services.records import TraceEvent, message_of
from chalicelib.services.words import TRACE_EVENT_OF, Status, states_of
from chalicelib.store.payloads import PayloadLost, PayloadUnread

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

STATES_OF: Mapping[str, tuple[State, ...]] = {status: states_of(status) for status in Status}
EVENT_OF = TRACE_EVENT_OF


class MessageRecord(AnswerModel):
    """A message as it stands."""

    id: ShownId = Field(examples=["1024"])
    topic: str = Field(examples=["order.created"])
    payload: Any = Field(description="null in lists where it is kept in the bucket (above 256 KB)")
    status: str = Field(description="PENDING, PROCESSING, COMPLETED or FAILED", examples=["PENDING"])
    retry_count: int = Field(
        description="How many deliveries failed, or lost their lock after it was extended: silent ones do not count"
    )
    max_retries: int
    priority: int
    execute_at: ShownTime | None
    next_retry_at: ShownTime | None
    consumer_id: str | None
    locked_at: ShownTime | None
    lock_expires_at: ShownTime | None = Field(description="Until when the consumer holds it; past: recoverable")
    trace_id: str
    options: Any = Field(description="The publisher's meta; {} where it gave none")
    error: str | None = Field(description="Why the newest delivery failed")
    schedule: str | None = Field(description="The schedule that published it")
    slot_time: ShownTime | None = Field(description="For which of its times; null: by request")
    tenant: Annotated[str | None, IF_SET] = Field(default=None, description="On whose behalf; left out if nobody's")
    flow_key: Annotated[str | None, IF_SET] = Field(
        default=None, description="What it has in common with others; left out if it has no key"
    )
    created_at: ShownTime
    updated_at: ShownTime


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
    message_id: ShownId
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
    created_at: ShownTime


def whole_record(yard: Yard, job: Job) -> MessageRecord:
    try:
        return listed(job, yard.payloads.body(job))
    except (PayloadLost, PayloadUnread) as error:  # the rest of it is true all the same
        logger.error("left out of an answer", extra={"job_id": job.id, "error": str(error)})
        return MessageRecord(**fields_of(message_of(job, {"input": {"omitted": error.message}})), options=None)


def polled_record(yard: Yard, job: Job) -> PolledMessage:
    return PolledMessage(**dict(whole_record(yard, job)), lock_token=job.lease or "")


def listed(job: Job, body: Mapping[str, Any] | None) -> MessageRecord:
    message = message_of(job, body)
    options = {} if body is not None and message.meta is None else message.meta
    return MessageRecord(**fields_of(message), options=options)


def trace_records(events: Iterable[TraceEvent]) -> list[TraceRecord]:
    return [TraceRecord(**{**fields_of(event), "detail": event.detail or None}) for event in events]

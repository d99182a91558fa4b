"""Publishing, polling and settling messages: ``/mq/message``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from chalicelib.api.exchange import Caller
from chalicelib.api.models import AnswerModel, ApiModel, Id, Name, Text, Topic, Whole
from chalicelib.api.mq.records import STATUS_OF, MessageRecord, record, whole_record
from chalicelib.api.routes import Router
from chalicelib.api.shapes import Moment, idempotency_key_of, job_id_of, to_ms
from chalicelib.core.errors import Conflict, TaskyardError
from chalicelib.core.job import ATTEMPTS_MAX, Job
from chalicelib.core.lanes import PRIORITY_MAX, PRIORITY_MIN
from chalicelib.core.states import Kind
from chalicelib.engine import polling
from chalicelib.engine.publish import Draft, publish, publish_many

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

BATCH_MAX = 100
POLL_MAX = 100
LOCK_MIN_MS = 1_000
LOCK_MAX_MS = 43_200_000  # SQS hides a message for at most 12 hours

router = Router("Messages", "Publish, poll and settle messages, as fastify-mq does.")


class PublishBody(ApiModel):
    """A message to be published."""

    topic: Topic = Field(description="Where to", examples=["order.created"])
    payload: dict[str, Any] = Field(description="The content", examples=[{"orderId": "123", "amount": 99.9}])
    priority: Whole = Field(default=0, ge=PRIORITY_MIN, le=PRIORITY_MAX, description="Larger is sooner")
    execute_at: Moment | None = Field(default=None, description="Not before this time; in the past: now")
    max_retries: Whole | None = Field(
        default=None,
        ge=0,
        le=ATTEMPTS_MAX,
        description="How many deliveries may fail, the last one included; 3 unless told",
    )
    trace_id: Name | None = Field(default=None, description="Your own trace id; made unless told")
    meta: dict[str, Any] | None = Field(default=None, description="More about the message; shown as options")
    idempotency_key: Name | None = Field(
        default=None, description="Two requests with one key are one message (the Idempotency-Key header does the same)"
    )


class PublishBatchBody(ApiModel):
    """Messages to be published together."""

    messages: list[PublishBody] = Field(min_length=1, max_length=BATCH_MAX)


class PollQuery(ApiModel):
    """Which messages to take in hand."""

    topic: Topic
    limit: int = Field(default=10, ge=1, le=POLL_MAX, description="At most how many")
    lock_timeout: Whole | None = Field(
        default=None, ge=LOCK_MIN_MS, le=LOCK_MAX_MS, description="For how many ms they are in hand; 30000 unless told"
    )
    consumer_id: Name | None = Field(default=None, description="Who takes them; shown in the records")


class CompleteBody(ApiModel):
    """A message that was worked on."""

    id: Id = Field(description="The message's id", examples=["1024"])


class FailBody(ApiModel):
    """A message that could not be worked on."""

    id: Id = Field(description="The message's id", examples=["1024"])
    error: Text | None = Field(default=None, description="Why", examples=["payment service unavailable"])


class PublishResult(AnswerModel):
    """What became of one message of a batch."""

    success: bool
    message: MessageRecord | None = None
    error: str | None = None


class PublishResults(AnswerModel):
    """What became of each message of a batch, in order."""

    results: list[PublishResult]


@router.post(
    "/mq/message/publish",
    scope="message",
    answers={409: "The idempotency key was used with another request", 413: "The payload is too large"},
    headers={"Idempotency-Key": "Two requests with one key are one message"},
)
def publish_message(yard: Yard, body: PublishBody, caller: Caller) -> MessageRecord:
    """Publish a message."""
    return record(publish(yard, _draft(body, caller.headers)), body.payload, body.meta)


@router.post("/mq/message/publish-batch", scope="message")
def publish_messages(yard: Yard, body: PublishBatchBody) -> PublishResults:
    """Publish up to 100 messages at once, each accepted or not for itself."""
    outcomes = publish_many(yard, [_draft(message, {}) for message in body.messages])
    return PublishResults(
        results=[
            PublishResult(success=False, error=str(outcome))
            if isinstance(outcome, TaskyardError)
            else PublishResult(success=True, message=record(outcome, message.payload, message.meta))
            for message, outcome in zip(body.messages, outcomes, strict=True)
        ]
    )


@router.get("/mq/message/poll", scope="message", answers={409: "The topic has subscribers"})
def poll_messages(yard: Yard, query: PollQuery, caller: Caller) -> list[MessageRecord]:
    """Take messages in hand: larger priorities first, then older ones. Settle each before its lock ends."""
    lock_ms = query.lock_timeout or yard.settings.poll_lease_ms
    jobs = polling.poll(yard, query.topic, query.limit, lock_ms, query.consumer_id or caller.name)
    return [whole_record(yard, job) for job in jobs]


@router.post("/mq/message/complete", scope="message", answers={409: "The message is not PROCESSING"})
def complete_message(yard: Yard, body: CompleteBody) -> MessageRecord:
    """Say that a message in hand was worked on."""
    return _settled(yard, lambda job_id: polling.complete(yard, job_id), str(body.id))


@router.post("/mq/message/fail", scope="message", answers={409: "The message is not PROCESSING"})
def fail_message(yard: Yard, body: FailBody) -> MessageRecord:
    """Say that a message in hand could not be worked on: it comes back, or becomes a dead letter."""
    error = body.error or "the consumer gave no reason"
    return _settled(yard, lambda job_id: polling.fail(yard, job_id, error), str(body.id))


def _draft(body: PublishBody, headers: Mapping[str, str]) -> Draft:
    return Draft(
        kind=Kind.MESSAGE,
        type=body.topic,
        input=body.payload,
        options=body.meta,
        priority=body.priority,
        due_at_ms=to_ms(body.execute_at) if body.execute_at is not None else None,
        max_attempts=max(1, body.max_retries) if body.max_retries is not None else None,
        trace_id=body.trace_id,
        idempotency_key=idempotency_key_of(body.idempotency_key, headers),
    )


def _settled(yard: Yard, settle: Callable[[int], Job], text: str) -> MessageRecord:
    try:
        return whole_record(yard, settle(job_id_of(text, "message")))
    except polling.NotInHand as refused:
        status = STATUS_OF[refused.job.state]
        raise Conflict(
            f"message {refused.job.id} is {status}, not PROCESSING",
            field="id",
            expected="a message that is PROCESSING",
            got=status,
            remedy="poll it first",
        ) from refused

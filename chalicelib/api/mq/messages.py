"""Publishing and polling messages: ``/mq/message``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from chalicelib.api.entries import (
    BATCH_MAX,
    Entry,
    Unreadable,
    entries_of,
    publish_entries,
    require_room_in_answer,
)
from chalicelib.api.mq.locks import LockTimeout
from chalicelib.api.mq.records import MessageRecord, PolledMessage, listed, polled_record
from chalicelib.api.shapes import FASTIFY, TENANT_HEADERS, Moment, idempotency_key_of, request_tenant_of, to_ms
from chalicelib.core.errors import TaskyardError
from chalicelib.core.job import ATTEMPTS_MAX, Job
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling import poll
from chalicelib.engine.publish.publish import publish
from chalicelib.http.exchange import Caller
from chalicelib.http.models import NOT_BOOLEAN, AnswerModel, ApiModel, Name, Priority, Target, Tenant, Topic, Whole
from chalicelib.http.routes import Router
from chalicelib.settings import MQ_POLL_MAX

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

POLL_MAX = MQ_POLL_MAX
RECORD_MAX_BYTES = 1_000  # of a record in an answer beside what its publisher wrote

router = Router("Messages", "Publish, poll and settle messages, as fastify-mq does.", style=FASTIFY)


PollLimit = Annotated[int, Field(ge=1, le=POLL_MAX), NOT_BOOLEAN]
Deliveries = Annotated[int, Field(ge=0, le=ATTEMPTS_MAX), NOT_BOOLEAN]


class PublishBody(ApiModel):
    """A message to be published."""

    topic: Topic = Field(description="Where to", examples=["order.created"])
    payload: dict[str, Any] = Field(description="The content", examples=[{"orderId": "123", "amount": 99.9}])
    priority: Priority | None = Field(default=None, description="Larger is sooner; default 0", examples=[10])
    execute_at: Moment | None = Field(default=None, description="Not before this time; in the past: now")
    max_retries: Deliveries | None = Field(
        default=None, description="How many deliveries may fail, the last one included; default 3"
    )
    trace_id: Name | None = Field(default=None, description="Your own trace id; default: a new one")
    meta: dict[str, Any] | None = Field(default=None, description="More about the message; shown as options")
    idempotency_key: Name | None = Field(
        default=None, description="Two requests with one key are one message (the Idempotency-Key header does the same)"
    )
    tenant: Tenant | None = Field(default=None, description="On whose behalf: tenants share a lane", examples=["acme"])
    flow_key: Target | None = Field(
        default=None, description="What it has in common with others; default: its handler's key", examples=["c-7"]
    )


class PublishBatchBody(ApiModel):
    """Messages to be published together."""

    messages: list[Entry[PublishBody]] = Field(min_length=1, max_length=BATCH_MAX)


class PollQuery(ApiModel):
    """Which messages to receive."""

    topic: Topic
    limit: PollLimit | None = Field(default=None, description="At most how many; default 10")
    lock_timeout: LockTimeout | None = Field(default=None, description="For how many ms they are locked; default 30000")
    wait: Whole = Field(
        default=0,
        ge=0,
        le=poll.WAIT_MAX_S,
        description="For how many seconds to wait for a message if there is none now; the first one ends the wait",
        examples=[20],
    )
    consumer_id: Name | None = Field(default=None, description="Who takes them; shown in the records")


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
    headers={"Idempotency-Key": "Two requests with one key are one message", **TENANT_HEADERS},
)
def publish_message(yard: Yard, body: PublishBody, caller: Caller) -> MessageRecord:
    """Publish a message."""
    key = idempotency_key_of(body.idempotency_key, caller.headers)
    return _record(publish(yard, _new_job(body, key, request_tenant_of(body.tenant, caller.headers))), body)


@router.post(
    "/mq/message/publish-batch",
    scope="message",
    answers={413: "The messages together are too large"},
    headers={
        "Idempotency-Key": "Two requests with one key are one batch: its entries have the keys key#0, key#1, ...",
        **TENANT_HEADERS,
    },
)
def publish_messages(yard: Yard, body: PublishBatchBody, caller: Caller) -> PublishResults:
    """Publish up to 100 messages at once, each accepted or not for itself.

    An entry that is wrong is told in its result and costs the others nothing. Each entry may have an
    idempotencyKey of its own; the others get one of the Idempotency-Key header, if there is one: `key#0` is that of
    the first entry.
    """
    entries = entries_of(body.messages)
    readable = [entry for entry in entries if not isinstance(entry, Unreadable)]
    require_room_in_answer(
        "messages", [[each.payload, each.meta, each.topic, each.trace_id] for each in readable], RECORD_MAX_BYTES
    )
    published = publish_entries(yard, entries, caller.headers, _new_job)
    return PublishResults(
        results=[_result(entry, outcome) for entry, (_, outcome) in zip(entries, published, strict=True)]
    )


@router.get("/mq/message/poll", scope="message", takes=True, answers={409: "The topic has subscribers"})
def poll_messages(yard: Yard, query: PollQuery, caller: Caller) -> list[PolledMessage]:
    """Receive and lock messages: larger priorities first, then older ones. Settle each before its lock ends.

    A client that says nothing loses its messages when their locks run out: the next poll brings them to another. Let
    your client's own time-out be longer than `wait`, by 5 seconds or more: a client that is gone when a message comes
    keeps it from the others for a lock (`taskyard up` notices, API Gateway cannot); the 20th such lock of a message is
    its last.
    """
    jobs = poll.poll(
        yard,
        query.topic,
        query.limit or yard.settings.mq_poll_limit,
        query.lock_timeout or yard.settings.poll_lease_ms,
        query.consumer_id or caller.name,
        query.wait,
        awaited=caller.listener.is_there,
    )
    caller.listener.otherwise(lambda: poll.hand_back(yard, jobs))
    return [polled_record(yard, job) for job in jobs]


def _result(entry: PublishBody | Unreadable, outcome: Job | TaskyardError) -> PublishResult:
    if isinstance(outcome, TaskyardError) or isinstance(entry, Unreadable):
        return PublishResult(success=False, error=str(outcome))
    return PublishResult(success=True, message=_record(outcome, entry))


def _record(job: Job, body: PublishBody) -> MessageRecord:
    return listed(job, {"input": body.payload, "options": body.meta})


def _new_job(body: PublishBody, idempotency_key: str | None, tenant: str | None) -> NewJob:
    return NewJob(
        kind=Kind.MESSAGE,
        type=body.topic,
        input=body.payload,
        options=body.meta,
        priority=body.priority or 0,
        due_at_ms=to_ms(body.execute_at) if body.execute_at is not None else None,
        max_attempts=max(1, body.max_retries) if body.max_retries is not None else None,
        trace_id=body.trace_id,
        idempotency_key=idempotency_key,
        tenant=tenant,
        flow_key=body.flow_key,
    )

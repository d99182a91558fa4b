"""The message service, as users of fastify-mq know it: ``/mq``.

Shapes and words follow spec/fastify-mq. The dialect's statuses and event names are mapped here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from chalicelib.api.exchange import Caller
from chalicelib.api.models import AnswerModel, ApiModel, Id, Name, Text, Topic, Whole
from chalicelib.api.problems import BadRequest
from chalicelib.api.routes import Router
from chalicelib.api.shapes import Moment, Paging, idempotency_key_of, iso, job_id_of, to_ms
from chalicelib.core.errors import Conflict, NotFound, TaskyardError
from chalicelib.core.ids import job_id_in
from chalicelib.core.job import ATTEMPTS_MAX, Job
from chalicelib.core.lanes import PRIORITY_MAX, PRIORITY_MIN
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.engine import lifecycle, polling
from chalicelib.engine.publish import Draft, publish, publish_many
from chalicelib.store.job_lists import LABELS, JobPage, Wanted, label_of, labels_of
from chalicelib.store.jobs import REPLAYED

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

BATCH_MAX = 100
POLL_MAX = 100
LOCK_MIN_MS = 1_000
LOCK_MAX_MS = 43_200_000  # SQS hides a message for at most 12 hours

STATUS_OF = {
    State.PENDING: "PENDING",
    State.RUNNING: "PROCESSING",
    State.WAITING: "PROCESSING",
    State.SUCCESS: "COMPLETED",
    State.FAILED: "FAILED",
    State.CANCELED: "FAILED",
}
STATES_OF = {
    status: tuple(state for state, word in STATUS_OF.items() if word == status)
    for status in ("PENDING", "PROCESSING", "COMPLETED", "FAILED")
}
EVENT_OF = {
    Event.PUBLISHED: "PUBLISHED",
    Event.STARTED: "PROCESSING",
    Event.RECOVERED: "LOCK_RECOVERED",
    Event.SUCCEEDED: "COMPLETED",
    Event.FAILED: "FAILED",
    Event.DEAD: "MOVED_TO_DLQ",
    Event.REPLAYED: "REPLAYED",
    Event.PARKED: "PROCESSING",
    Event.CANCELED: "CANCELED",
    Event.RETRIED: "RETRIED",
    Event.REQUEUED: "REQUEUED",
}

router = Router(
    "Messages", "Publish, poll and settle messages, as fastify-mq does; replay dead letters; read the trace."
)

# -- shapes -------------------------------------------------------------------------------------------


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


class MessageQuery(Paging):
    """Which messages to list."""

    topic: Topic | None = None
    status: Annotated[str, Field(pattern="^(PENDING|PROCESSING|COMPLETED|FAILED)$")] | None = None
    trace_id: Name | None = None


class DeadLetterQuery(Paging):
    """Which dead letters to list."""

    topic: Topic | None = None
    replayed: bool | None = None


class ReplayBody(ApiModel):
    """One dead letter, or several."""

    id: Id | None = None
    ids: list[Id] | None = Field(default=None, min_length=1, max_length=BATCH_MAX)

    @model_validator(mode="after")
    def _one_way(self) -> ReplayBody:
        if (self.id is None) == (self.ids is None):
            raise ValueError("either id or ids, and not both")
        return self


class ReplayPath(ApiModel):
    """A dead letter by its id."""

    id: str


class TracePath(ApiModel):
    """A trace by its id."""

    trace_id: Name


class MessageRecord(AnswerModel):
    """A message as it stands."""

    id: str = Field(examples=["1024"])
    topic: str = Field(examples=["order.created"])
    payload: Any = Field(description="null in lists where it is kept in the bucket (above 256 KB)")
    status: str = Field(description="PENDING, PROCESSING, COMPLETED or FAILED", examples=["PENDING"])
    retry_count: int = Field(description="How many deliveries failed")
    max_retries: int
    priority: int
    execute_at: str | None
    next_retry_at: str | None
    consumer_id: str | None
    locked_at: str | None
    lock_expires_at: str | None = Field(description="Until when the consumer holds it; past: recoverable")
    trace_id: str
    options: Any = Field(description="The publisher's meta")
    error: str | None = Field(description="Why the newest delivery failed")
    created_at: str
    updated_at: str


class MessagePage(AnswerModel):
    """A page of messages, newest first."""

    page_data: list[MessageRecord]
    total_count: int
    total_is_exact: bool = Field(description="false: only the newest 10,000 were counted")


class PublishResult(AnswerModel):
    """What became of one message of a batch."""

    success: bool
    message: MessageRecord | None = None
    error: str | None = None


class PublishResults(AnswerModel):
    """What became of each message of a batch, in order."""

    results: list[PublishResult]


class DeadLetter(AnswerModel):
    """A message that used up its deliveries."""

    id: str
    original_id: str
    topic: str
    payload: Any
    error_message: str | None
    retry_count: int
    trace_id: str
    replayed: bool
    replayed_at: str | None
    replayed_as: str | None = Field(description="The message that the replay made")
    created_at: str = Field(description="When it became a dead letter")
    updated_at: str


class DeadLetterPage(AnswerModel):
    """A page of dead letters, newest first."""

    page_data: list[DeadLetter]
    total_count: int
    total_is_exact: bool


class ReplayResult(AnswerModel):
    """What became of one dead letter."""

    id: str
    success: bool
    message_id: str | None = None
    error: str | None = None


class TraceRecord(AnswerModel):
    """One event of a message's story."""

    trace_id: str
    message_id: str
    topic: str
    event: str = Field(examples=["PUBLISHED"])
    detail: Any
    created_at: str


# -- messages -----------------------------------------------------------------------------------------


@router.post(
    "/mq/message/publish",
    scope="message",
    answers={409: "The idempotency key was used with another request", 413: "The payload is too large"},
    headers={"Idempotency-Key": "Two requests with one key are one message"},
)
def publish_message(yard: Yard, body: PublishBody, caller: Caller) -> MessageRecord:
    """Publish a message."""
    return _record(publish(yard, _draft(body, caller.headers)), body.payload, body.meta)


@router.post("/mq/message/publish-batch", scope="message")
def publish_messages(yard: Yard, body: PublishBatchBody) -> PublishResults:
    """Publish up to 100 messages at once, each accepted or not for itself."""
    outcomes = publish_many(yard, [_draft(message, {}) for message in body.messages])
    return PublishResults(
        results=[
            PublishResult(success=False, error=str(outcome))
            if isinstance(outcome, TaskyardError)
            else PublishResult(success=True, message=_record(outcome, message.payload, message.meta))
            for message, outcome in zip(body.messages, outcomes, strict=True)
        ]
    )


@router.get("/mq/message/poll", scope="message", answers={409: "The topic has subscribers"})
def poll_messages(yard: Yard, query: PollQuery, caller: Caller) -> list[MessageRecord]:
    """Take messages in hand: larger priorities first, then older ones. Settle each before its lock ends."""
    lock_ms = query.lock_timeout or yard.settings.poll_lease_ms
    jobs = polling.poll(yard, query.topic, query.limit, lock_ms, query.consumer_id or caller.name)
    return [_whole_record(yard, job) for job in jobs]


@router.post("/mq/message/complete", scope="message", answers={409: "The message is not PROCESSING"})
def complete_message(yard: Yard, body: CompleteBody) -> MessageRecord:
    """Say that a message in hand was worked on."""
    return _settled(yard, lambda job_id: polling.complete(yard, job_id), str(body.id))


@router.post("/mq/message/fail", scope="message", answers={409: "The message is not PROCESSING"})
def fail_message(yard: Yard, body: FailBody) -> MessageRecord:
    """Say that a message in hand could not be worked on: it comes back, or becomes a dead letter."""
    error = body.error or "the consumer gave no reason"
    return _settled(yard, lambda job_id: polling.fail(yard, job_id, error), str(body.id))


@router.get("/mq/message/list", scope="message")
def list_messages(yard: Yard, query: MessageQuery) -> MessagePage:
    """List messages, newest first."""
    labels = labels_of(*STATES_OF[query.status]) if query.status else LABELS
    wanted = Wanted(Kind.MESSAGE, query.topic, labels)
    page = _traced(yard, wanted, query) if query.trace_id else yard.lists.page(wanted, query.offset, query.per_page)
    bodies = yard.payloads.bodies(page.jobs)
    records = [_listed(job, bodies[job.id]) for job in page.jobs]
    return MessagePage(page_data=records, total_count=page.total, total_is_exact=page.exact)


# -- dead letters -------------------------------------------------------------------------------------


@router.get("/mq/dlq/list", scope="dlq")
def list_dead_letters(yard: Yard, query: DeadLetterQuery) -> DeadLetterPage:
    """List dead letters, newest first."""
    labels = {None: (State.FAILED.value, REPLAYED), True: (REPLAYED,), False: (State.FAILED.value,)}[query.replayed]
    page = yard.lists.page(Wanted(Kind.MESSAGE, query.topic, labels), query.offset, query.per_page)
    bodies = yard.payloads.bodies(page.jobs)
    letters = [_dead_letter(job, bodies[job.id]) for job in page.jobs]
    return DeadLetterPage(page_data=letters, total_count=page.total, total_is_exact=page.exact)


@router.post("/mq/dlq/replay", scope="dlq:manage", answers={400: "It was replayed already"})
def replay(yard: Yard, body: ReplayBody) -> ReplayResult | list[ReplayResult]:
    """Replay one dead letter, or several: each becomes a new message with a trace of its own.

    For several the answer lists, in order, what became of each.
    """
    if body.ids is None:
        return _replay_one(yard, str(body.id))
    return [_replay_result(yard, str(text)) for text in body.ids]


@router.post("/mq/dlq/replay/{id}", scope="dlq:manage", answers={400: "It was replayed already"})
def replay_by_path(yard: Yard, path: ReplayPath) -> ReplayResult:
    """Replay one dead letter."""
    return _replay_one(yard, path.id)


# -- the trace ----------------------------------------------------------------------------------------


@router.get("/mq/trace/{traceId}", scope="trace")
def trace_by_path(yard: Yard, path: TracePath) -> list[TraceRecord]:
    """What happened to the message, or messages, with a trace id, oldest first."""
    jobs = [job for job in _with_trace(yard, path.trace_id) if job.kind is Kind.MESSAGE]
    if not jobs:
        raise NotFound("there is no trace with this id", field="traceId", got=path.trace_id)
    told = [(event, job) for job in jobs for event in job.events]
    return [_trace_record(job, event) for event, job in sorted(told, key=lambda entry: entry[0].at_ms)]


# -- steps --------------------------------------------------------------------------------------------


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
        return _whole_record(yard, settle(job_id_of(text, "message")))
    except polling.NotInHand as refused:
        status = STATUS_OF[refused.job.state]
        raise Conflict(
            f"message {refused.job.id} is {status}, not PROCESSING",
            field="id",
            expected="a message that is PROCESSING",
            got=status,
            remedy="poll it first",
        ) from refused


def _traced(yard: Yard, wanted: Wanted, query: MessageQuery) -> JobPage:
    """The page of the few messages that share a trace id."""
    jobs = [
        job
        for job in reversed(_with_trace(yard, query.trace_id or ""))
        if job.kind is wanted.kind and wanted.type in (None, job.type) and label_of(job) in wanted.labels
    ]
    return JobPage(jobs[query.offset : query.offset + query.per_page], len(jobs), True)


def _with_trace(yard: Yard, trace_id: str) -> list[Job]:
    """The jobs with a trace id, oldest first: one made here names its job; those the client chose are indexed."""
    own = job_id_in(trace_id)
    ids = dict.fromkeys([*([own] if own is not None else []), *yard.lists.with_trace(trace_id)])
    jobs = [job for job in yard.jobs.find_many(list(ids)) if job.trace_id == trace_id]
    return sorted(jobs, key=lambda job: (job.created_at_ms, job.id))


def _replay_one(yard: Yard, text: str) -> ReplayResult:
    try:
        job = lifecycle.replay(yard, job_id_of(text, "dead letter"))
    except Conflict as conflict:
        raise BadRequest(conflict.message, field=conflict.field, got=conflict.got) from conflict
    return ReplayResult(id=text, success=True, message_id=str(job.id))


def _replay_result(yard: Yard, text: str) -> ReplayResult:
    try:
        return _replay_one(yard, text)
    except TaskyardError as error:
        return ReplayResult(id=text, success=False, error=error.message)


def _whole_record(yard: Yard, job: Job) -> MessageRecord:
    return _listed(job, yard.payloads.body(job))


def _listed(job: Job, body: dict[str, Any] | None) -> MessageRecord:
    content = body or {}
    return _record(job, content.get("input"), content.get("options"))


def _record(job: Job, payload: Any, options: Any) -> MessageRecord:
    running = job.state is State.RUNNING
    waits_for_retry = job.state is State.PENDING and job.failures > 0
    return MessageRecord(
        id=str(job.id),
        topic=job.type,
        payload=payload,
        status=STATUS_OF[job.state],
        retry_count=job.failures,
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
        created_at=iso(job.created_at_ms) or "",
        updated_at=iso(job.updated_at_ms) or "",
    )


def _dead_letter(job: Job, body: dict[str, Any] | None) -> DeadLetter:
    return DeadLetter(
        id=str(job.id),
        original_id=str(job.id),
        topic=job.type,
        payload=(body or {}).get("input"),
        error_message=job.error.message if job.error else None,
        retry_count=job.failures,
        trace_id=job.trace_id,
        replayed=job.replayed_at_ms is not None,
        replayed_at=iso(job.replayed_at_ms),
        replayed_as=str(job.replayed_as) if job.replayed_as is not None else None,
        created_at=iso(job.completed_at_ms) or "",
        updated_at=iso(job.updated_at_ms) or "",
    )


def _trace_record(job: Job, event: TraceEvent) -> TraceRecord:
    return TraceRecord(
        trace_id=job.trace_id,
        message_id=str(job.id),
        topic=job.type,
        event=EVENT_OF[event.event],
        detail=dict(event.detail) or None,
        created_at=iso(event.at_ms) or "",
    )

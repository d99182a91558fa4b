"""Publish, poll, settle and list messages.

**Publishing from a handler.** A handler may run more than once for one job, and every run publishes again. Give what
it publishes a name with ``once``, and of all attempts of the job the first to publish under that name does so; a later
one is answered with that message, whatever it would have published. That holds for as long as an idempotency key
does (``TASKYARD_IDEMPOTENCY_TTL_S``, 24 h)::

    @subscribe("order.created")
    def ship(order: Order, context: Context) -> None:
        messages.publish("order.shipped", {"orderId": order.orderId}, once="shipped", within=context)

A function of a ``Consumer`` needs no ``within``. Without ``once``, name an ``idempotency_key`` of your own where a
second message would do harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, TypeAlias

from chalicelib.core.decisions import Outcome, Succeeded
from chalicelib.core.errors import InvalidInput, TaskyardError
from chalicelib.core.job import ATTEMPTS_MAX, Job
from chalicelib.core.lanes import priority_of
from chalicelib.core.states import Kind
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling import poll as polling
from chalicelib.engine.polling.poll import NO_REASON
from chalicelib.engine.polling.settle_many import Report, settle_batch
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.lists import page_of
from chalicelib.services.parameters import takes
from chalicelib.services.publications import Publication, publish_each, publish_one
from chalicelib.services.records import Message, Page, message_of
from chalicelib.services.refusals import as_conflict
from chalicelib.services.words import Status, states_of
from chalicelib.settings import MQ_POLL_MAX
from chalicelib.store.job_queries import INDEX_KEYS, JobQuery, index_keys_of

Which: TypeAlias = Message | int | str
"""A message, or its id as a number or as digits."""


@dataclass(frozen=True, slots=True)
class NewMessage(Publication):
    """A message to be published; see ``publish`` for what its fields mean."""

    topic: str
    payload: Mapping[str, Any]
    _: KW_ONLY
    priority: int | str = 0
    execute_at: datetime | None = None
    max_retries: int | None = None
    trace_id: str | None = None
    meta: Mapping[str, Any] | None = None


@takes(NewMessage)
def publish(wanted: NewMessage) -> Message:
    """Publish a message and answer its record.

    ``priority``: larger is sooner, -1000 to 1000, or low, normal, medium, high or critical. ``execute_at``: not before
    this aware time, at most ten years ahead; in the past: now. ``max_retries`` (0 to 100): how many deliveries may
    fail, the last one included; default as the topic's subscribers declare, or ``TASKYARD_MQ_MAX_RETRIES`` (3).
    ``trace_id``: your own; default a new one. ``meta``: more about the message. Two publications with one
    ``idempotency_key`` are one message. ``once``: a name, ``within`` a handler's context; see above. ``tenant``:
    on whose behalf, so that it does not wait behind the backlog of another (docs/fairness.md). ``flow_key`` (1 to
    256 characters): what it has in common with others, default as the ``key`` of its topic's subscribers finds it.

    Raises ``InvalidInput``, ``TooLarge``, ``Conflict`` for an idempotency key used with another message, and
    ``Unavailable`` when AWS does not answer (the message may or may not be published).
    """
    return publish_one(wanted, _new_job, _published)


def publish_many(wanted: Iterable[NewMessage]) -> Sequence[Message | TaskyardError]:
    """Publish many messages in few calls; answers, in order, each one's record or why it was not accepted."""
    return publish_each(wanted, NewMessage, _new_job, _published)


def poll(
    topic: str,
    limit: int | None = None,
    *,
    lock_timeout_ms: int | None = None,
    wait_s: int = 0,
    consumer_id: str | None = None,
) -> Sequence[Message]:
    """Receive and lock messages: larger priorities first, then older ones. Settle each before its lock ends.

    ``limit``: 1 to 100, default ``TASKYARD_MQ_POLL_LIMIT`` (10). ``lock_timeout_ms``: for how long they are
    locked, 1 second to 12 hours, default ``TASKYARD_POLL_LEASE_MS`` (30 s). ``wait_s`` (0 to 20): how long to wait
    for the first if there is none now. ``consumer_id``: who receives them, default this process.

    Raises ``InvalidInput``, and ``Conflict`` for a topic with subscribers.
    """
    yard = installation.yard()
    chosen = yard.settings
    jobs = polling.poll(
        yard,
        checks.topic(topic),
        chosen.mq_poll_limit if limit is None else checks.whole("limit", limit, 1, MQ_POLL_MAX),
        chosen.poll_lease_ms if lock_timeout_ms is None else checks.lock_ms(lock_timeout_ms),
        yard.worker_name if consumer_id is None else checks.name("consumer_id", consumer_id),
        checks.whole("wait_s", wait_s, 0, polling.WAIT_MAX_S),
    )
    return [message_of(job, yard.payloads.body(job), locked=True) for job in jobs]


def complete(message: Which, lock_token: str | None = None) -> Message:
    """Say that a locked message was worked on.

    A polled ``Message`` brings its lock token; with one, the holder alone succeeds, and without one the message is
    settled for whoever holds it. Raises ``NotFound``, and ``Conflict`` for a message that is not locked.
    """
    yard = installation.yard()
    return _settled(yard, lambda: polling.complete(yard, _id(message), _token(message, lock_token)))


def complete_many(messages: Iterable[Which]) -> Sequence[Message | TaskyardError]:
    """Say that many locked messages were worked on, in few calls, each settled for itself.

    Answers, in order, each one's record or why nothing was changed; of two entries about one message the first counts.
    """
    return _settled_many([(message, Succeeded()) for message in checks.many("messages", messages)])


def fail(message: Which, error: str = NO_REASON, lock_token: str | None = None) -> Message:
    """Say that a locked message could not be worked on: it comes back, or becomes a dead letter.

    ``lock_token``, and what is raised: see ``complete``.
    """
    yard = installation.yard()
    reason = checks.text("error", error) or NO_REASON
    return _settled(yard, lambda: polling.fail(yard, _id(message), reason, _token(message, lock_token)))


def fail_many(messages: Iterable[Which], error: str = NO_REASON) -> Sequence[Message | TaskyardError]:
    """Say that many locked messages could not be worked on, all for one reason; see ``complete_many``."""
    outcome = polling.failure(checks.text("error", error) or NO_REASON)
    return _settled_many([(message, outcome) for message in checks.many("messages", messages)])


def extend(message: Which, lock_timeout_ms: int | None = None, lock_token: str | None = None) -> Message:
    """Keep a locked message for ``lock_timeout_ms`` (as for ``poll``) from now on.

    Works after the lock ran out, too, as long as nobody else has polled the message. Raises ``NotFound``,
    ``InvalidInput`` without a lock token, and ``Conflict`` for a message that is no longer locked.
    """
    yard = installation.yard()
    token = _token(message, lock_token)
    if token is None:
        raise InvalidInput("only the holder extends a lock", field="lock_token", expected="the lock_token of the poll")
    keep_ms = yard.settings.poll_lease_ms if lock_timeout_ms is None else checks.lock_ms(lock_timeout_ms)
    try:
        job = polling.extend(yard, _id(message), token, keep_ms)
    except polling.NotLocked as refused:
        raise as_conflict(refused) from refused
    return message_of(job, yard.payloads.body(job), locked=True)


def get(message: Which) -> Message:
    """A message as it stands now, with its payload wherever that is. Raises ``NotFound``."""
    yard = installation.yard()
    return _record(yard, lifecycle.find(yard, _id(message), Kind.MESSAGE))


def list(  # noqa: A001  # fastify-mq's word for it
    *,
    topic: str | None = None,
    status: Status | str | None = None,
    trace_id: str | None = None,
    page: int = 1,
    per_page: int = 20,
    cursor: str | None = None,
) -> Page[Message]:
    """Messages, newest first; all conditions hold together.

    What is published meanwhile moves the pages; ``cursor``, the ``next_cursor`` of the page before, does not move and
    costs the same however deep it is. Raises ``InvalidInput``.
    """
    wanted = JobQuery(
        Kind.MESSAGE,
        checks.maybe_topic(topic),
        INDEX_KEYS if status is None else index_keys_of(*states_of(checks.word("status", status, Status))),
        trace_id=checks.maybe_name("trace_id", trace_id),
    )
    return page_of(installation.yard(), wanted, message_of, page=page, per_page=per_page, cursor=cursor)


def _new_job(wanted: NewMessage) -> NewJob:
    tries = wanted.max_retries
    return NewJob(
        kind=Kind.MESSAGE,
        type=checks.topic(wanted.topic),
        input=checks.document("payload", wanted.payload),
        options=None if wanted.meta is None else checks.document("meta", wanted.meta),
        priority=priority_of(wanted.priority),
        due_at_ms=None if wanted.execute_at is None else checks.at_ms("execute_at", wanted.execute_at),
        max_attempts=None if tries is None else max(1, checks.whole("max_retries", tries, 0, ATTEMPTS_MAX)),
        trace_id=checks.maybe_name("trace_id", wanted.trace_id),
        idempotency_key=wanted.key(),
        first_wins=wanted.once is not None,
        tenant=checks.maybe_tenant(wanted.tenant),
        flow_key=checks.maybe_name("flow_key", wanted.flow_key),
    )


def _published(yard: Yard, new_job: NewJob, job: Job) -> Message:
    """The record of what was published: under an idempotency key perhaps an earlier message."""
    if new_job.idempotency_key is not None:
        return _record(yard, job)
    return message_of(job, {"input": new_job.input, "options": new_job.options})


def _settled(yard: Yard, act: Callable[[], Job]) -> Message:
    try:
        return _record(yard, act())
    except polling.NotLocked as refused:
        raise as_conflict(refused) from refused


def _settled_many(outcomes: Sequence[tuple[Which, Outcome]]) -> Sequence[Message | TaskyardError]:
    yard = installation.yard()
    read = [_report_or_error(message, outcome) for message, outcome in outcomes]
    settled = iter(settle_batch(yard, [report for report in read if isinstance(report, Report)]))
    found = [next(settled) if isinstance(report, Report) else report for report in read]
    bodies = yard.payloads.bodies([job for job in found if isinstance(job, Job)])
    return [
        message_of(each, bodies[each.id])
        if isinstance(each, Job)
        else as_conflict(each)
        if isinstance(each, polling.NotLocked)
        else each
        for each in found
    ]


def _report_or_error(message: Which, outcome: Outcome) -> Report | TaskyardError:
    try:
        return Report(_id(message), outcome, _token(message, None))
    except TaskyardError as error:
        return error


def _record(yard: Yard, job: Job) -> Message:
    return message_of(job, yard.payloads.body(job))


def _id(message: Which) -> int:
    return message.id if isinstance(message, Message) else checks.job_id(message, "message")


def _token(message: Which, given: str | None) -> str | None:
    if given is not None:
        return checks.name("lock_token", given)
    return message.lock_token if isinstance(message, Message) else None

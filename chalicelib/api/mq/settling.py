"""Saying how it went with polled messages, and keeping them longer: ``/mq/message``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from chalicelib.api.entries import BATCH_MAX, Entry, Unreadable, entries_of, require_service
from chalicelib.api.mq.locks import LockTimeout, LockToken
from chalicelib.api.mq.records import MessageRecord, whole_record
from chalicelib.api.shapes import FASTIFY
from chalicelib.core.decisions import Outcome, Succeeded
from chalicelib.core.errors import TaskyardError, shown
from chalicelib.core.job import Job
from chalicelib.engine.polling import poll
from chalicelib.engine.polling.poll import NO_REASON
from chalicelib.engine.polling.settle_many import Report, settle_batch
from chalicelib.http.models import AnswerModel, ApiModel, Id, Reason
from chalicelib.http.routes import Router
from chalicelib.services.checks import job_id as job_id_of
from chalicelib.services.refusals import as_conflict
from chalicelib.services.words import STATUS_OF

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

NOT_LOCKED = {
    404: "There is no such message",
    409: "The message is not PROCESSING, or no longer held under this lockToken",
}

router = Router("Messages", style=FASTIFY)


class CompleteBody(ApiModel):
    """A message that was worked on."""

    id: Id = Field(description="The message's id", examples=["1024"])
    lock_token: LockToken | None = Field(
        default=None,
        description="The lockToken of the poll: refused once another consumer has the message. Without it, the "
        "message is settled for whoever holds it",
        repr=False,
        examples=["9f86d081884c7d65"],
    )


class FailBody(CompleteBody):
    """A message that could not be worked on."""

    error: Reason | None = Field(
        default=None, description="Why; an object is kept as its JSON text", examples=["payment service unavailable"]
    )


class ExtendBody(ApiModel):
    """A message that takes longer."""

    id: Id = Field(description="The message's id", examples=["1024"])
    lock_token: LockToken
    lock_timeout: LockTimeout | None = Field(
        default=None, description="For how many ms from now on it stays locked; default 30000", examples=[60_000]
    )


class CompleteBatchBody(ApiModel):
    """Messages that were worked on."""

    messages: list[Entry[CompleteBody]] = Field(min_length=1, max_length=BATCH_MAX)


class FailBatchBody(ApiModel):
    """Messages that could not be worked on."""

    messages: list[Entry[FailBody]] = Field(min_length=1, max_length=BATCH_MAX)


class SettleResult(AnswerModel):
    """What became of one entry of a batch."""

    id: str | None = Field(description="As the entry names it; null where it names none", examples=["1024"])
    success: bool
    status: str | None = Field(default=None, description="Of the message from now on", examples=["COMPLETED"])
    error: str | None = Field(default=None, description="Why nothing was changed")


class SettleResults(AnswerModel):
    """What became of each entry of a batch, in order."""

    results: list[SettleResult]


@router.post("/mq/message/complete", scope="message", answers=NOT_LOCKED)
def complete_message(yard: Yard, body: CompleteBody) -> MessageRecord:
    """Say that a locked message was worked on.

    Of two requests at the same moment one is answered with 200, the other with 409.
    """
    return _answered(yard, body.id, lambda job_id: poll.complete(yard, job_id, body.lock_token))


@router.post("/mq/message/fail", scope="message", answers=NOT_LOCKED)
def fail_message(yard: Yard, body: FailBody) -> MessageRecord:
    """Say that a locked message could not be worked on: it comes back, or becomes a dead letter."""
    return _answered(yard, body.id, lambda job_id: poll.fail(yard, job_id, body.error or NO_REASON, body.lock_token))


@router.post("/mq/message/extend", scope="message", answers=NOT_LOCKED)
def extend_lock(yard: Yard, body: ExtendBody) -> MessageRecord:
    """Keep a locked message for longer: `lockTimeout` milliseconds from now on.

    Works after the lock ran out, too, as long as nobody else has polled the message.
    """
    lock_ms = body.lock_timeout or yard.settings.poll_lease_ms
    return _answered(yard, body.id, lambda job_id: poll.extend(yard, job_id, body.lock_token, lock_ms))


@router.post("/mq/message/complete-batch", scope="message")
def complete_messages(yard: Yard, body: CompleteBatchBody) -> SettleResults:
    """Say that up to 100 locked messages were worked on, each settled for itself.

    An entry that is wrong is told in its result and costs the others nothing; of two entries about one message
    the first counts.
    """
    return _results(yard, [(entry, Succeeded()) for entry in entries_of(body.messages)])


@router.post("/mq/message/fail-batch", scope="message")
def fail_messages(yard: Yard, body: FailBatchBody) -> SettleResults:
    """Say that up to 100 locked messages could not be worked on, each settled for itself.

    An entry that is wrong is told in its result and costs the others nothing; of two entries about one message
    the first counts.
    """
    return _results(
        yard,
        [
            (entry, poll.failure(NO_REASON if isinstance(entry, Unreadable) else entry.error or NO_REASON))
            for entry in entries_of(body.messages)
        ],
    )


def _answered(yard: Yard, given: str | int, act: Callable[[int], Job]) -> MessageRecord:
    """The record that ``act`` makes of the message with an id as it was ``given``."""
    try:
        return whole_record(yard, act(job_id_of(str(given), "message")))
    except poll.NotLocked as refused:
        raise as_conflict(refused) from refused


def _results(yard: Yard, entries: Sequence[tuple[CompleteBody | Unreadable, Outcome]]) -> SettleResults:
    read = [_report(entry, outcome) for entry, outcome in entries]
    found = settle_batch(yard, [report for report in read if isinstance(report, Report)])
    require_service(found)
    settled = iter(found)
    outcomes = [next(settled) if isinstance(report, Report) else report for report in read]
    return SettleResults(
        results=[_result(entry, outcome) for (entry, _), outcome in zip(entries, outcomes, strict=True)]
    )


def _report(entry: CompleteBody | Unreadable, outcome: Outcome) -> Report | TaskyardError:
    """An entry as the engine takes it, or why it does not."""
    if isinstance(entry, Unreadable):
        return entry.error
    try:
        return Report(job_id_of(str(entry.id), "message"), outcome, entry.lock_token)
    except TaskyardError as refused:
        return refused


def _result(entry: CompleteBody | Unreadable, outcome: Job | TaskyardError) -> SettleResult:
    named = _id_named_by(entry)
    if isinstance(outcome, TaskyardError):
        error = as_conflict(outcome) if isinstance(outcome, poll.NotLocked) else outcome
        return SettleResult(id=named, success=False, error=error.message)
    return SettleResult(id=named, success=True, status=STATUS_OF[outcome.state])


def _id_named_by(entry: CompleteBody | Unreadable) -> str | None:
    value: Any = entry.value if isinstance(entry, Unreadable) else {"id": entry.id}
    given = value.get("id") if isinstance(value, dict) else None
    return shown(str(given)) if isinstance(given, str | int) and not isinstance(given, bool) else None

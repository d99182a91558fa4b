"""Settling: record how an attempt ended, and say what becomes of its message."""

from __future__ import annotations

import json
from typing import Any

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import (
    Ack,
    DeadLetter,
    Disposition,
    Finish,
    Nack,
    Outcome,
    Park,
    PollLater,
    Retry,
    after_attempt,
)
from chalicelib.core.errors import TaskyardError
from chalicelib.core.job import Job, JobError
from chalicelib.core.waking import wake_for_return, wake_for_send
from chalicelib.engine.policy import retry_wait_of, wait_limit_of
from chalicelib.engine.publish.children import release_children
from chalicelib.engine.publish.follow_up import follower
from chalicelib.engine.publish.prepare import Prepared
from chalicelib.engine.publish.send import send_marked
from chalicelib.engine.worker.concurrency import leave
from chalicelib.engine.worker.follow_through import follow_through
from chalicelib.engine.worker.remove import remove_if_wanted
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.concurrency import Action
from chalicelib.store.ledger import JobRefused
from chalicelib.store.settled import StoredOutput


def settle(yard: Yard, job: Job, outcome: Outcome) -> tuple[Job, Disposition]:
    """Record the end of an attempt of ``job``, fenced by its lease; returns the record and what happens to its message.

    Raises ``JobRefused`` when the attempt is no longer this worker's: nothing is changed then.
    """
    settled, disposition = _record(yard, job, outcome, yard.now_ms())
    return follow_through(yard, job, settled), disposition


def _record(yard: Yard, job: Job, outcome: Outcome, now_ms: int) -> tuple[Job, Disposition]:
    match after_attempt(job, outcome, now_ms, retry_wait_of(yard, job)):
        case Finish(output):
            return _finish(yard, job, output, now_ms)
        case Retry() as retry:
            return _retry(yard, job, retry, now_ms)
        case PollLater() as poll:
            return _poll_later(yard, job, poll, now_ms)
        case Park(context):
            return _park(yard, job, context, now_ms), Ack()
        case DeadLetter() as letter:
            dead = _dead_letter(yard, job, letter, now_ms)
            about = {"job_id": job.id, "type": job.type, "cause": letter.cause, "error": letter.error.message}
            logger.warning("dead letter", extra=about)
            return dead, Ack()


def settle_or_leave(yard: Yard, job: Job, outcome: Outcome) -> Disposition:
    """``settle`` for a worker, which leaves what is no longer its own; returns what becomes of its message."""
    try:
        return settle(yard, job, outcome)[1]
    except JobRefused as refused:
        leave(yard, job, refused.ledger)
        return settle_late(refused, job)


def settle_late(refused: JobRefused, job: Job) -> Disposition:
    """What becomes of the message of an attempt that was no longer this worker's to settle."""
    ledger = refused.ledger
    logger.info("attempt not recorded: the job moved on", extra={"job_id": job.id, "attempt": job.attempts})
    if isinstance(ledger, Job) and not ledger.state.terminal and ledger.uid == job.uid:
        return Nack(None)  # someone else runs it, on this very message perhaps
    return Ack()


def _finish(yard: Yard, job: Job, output: str | None, now_ms: int) -> tuple[Job, Disposition]:
    try:
        stored = None if job.finishing else _stored(yard, job, output)
        following = follower(yard, job, _value(yard, job, output))
    except TaskyardError as error:  # too large: running again would make the same
        return yard.jobs.dead_letter(job, Cause.REJECTED, JobError(type(error).__name__, str(error)), now_ms), Ack()
    settled = yard.jobs.succeed(job, stored, now_ms, *recording(yard, following))
    after_success(yard, settled, following)
    return settled, Ack()


def recording(yard: Yard, following: Prepared | None) -> list[Action]:
    """The actions that record the task which follows, if one does."""
    return [] if following is None else yard.jobs.recording(following.job, following.body)


def after_success(yard: Yard, settled: Job, following: Prepared | None) -> None:
    """What a recorded success sets going. What a crash leaves undone of it, the clock does."""
    if following is not None:
        send_marked(yard, following.travelling)
    if settled.has_children:
        release_children(yard, settled)
    remove_if_wanted(yard, settled)


def _value(yard: Yard, job: Job, output: str | None) -> Any:
    """The output as a value, where a task that follows needs it."""
    if not job.chained:
        return None
    return yard.payloads.output(job) if job.finishing else json.loads(output or "null")


def _stored(yard: Yard, job: Job, output: str | None) -> StoredOutput:
    return StoredOutput() if output is None else yard.payloads.store_output(job, output)


def _dead_letter(yard: Yard, job: Job, letter: DeadLetter, now_ms: int) -> Job:
    try:
        stored = None if letter.output is None else yard.payloads.store_output(job, letter.output)
    except TaskyardError:  # it failed in any case, and its error says more
        stored = None
    return yard.jobs.dead_letter(job, letter.cause, letter.error, now_ms, stored)


def _park(yard: Yard, job: Job, context: str | None, now_ms: int) -> Job:
    try:
        stored = None if context is None else yard.payloads.store_context(job, context)
    except TaskyardError as error:  # too large: running again would make the same
        return yard.jobs.dead_letter(job, Cause.REJECTED, JobError(type(error).__name__, str(error)), now_ms)
    limit_ms = wait_limit_of(yard, job)
    return yard.jobs.park(job, stored, None if limit_ms is None else now_ms + limit_ms, now_ms)


def _poll_later(yard: Yard, job: Job, poll: PollLater, now_ms: int) -> tuple[Job, Disposition]:
    wake = wake_for_send if poll.resend else wake_for_return
    settled = yard.jobs.poll_later(job, poll.due_at_ms, wake(poll.due_at_ms, now_ms), resend=poll.resend, now_ms=now_ms)
    if poll.resend:
        send_marked(yard, settled)
        return settled, Ack()
    return settled, Nack(poll.due_at_ms - now_ms)


def _retry(yard: Yard, job: Job, retry: Retry, now_ms: int) -> tuple[Job, Disposition]:
    wake = wake_for_send if retry.resend else wake_for_return
    settled = yard.jobs.retry_later(
        job,
        retry.error,
        retry.due_at_ms,
        wake(retry.due_at_ms, now_ms),
        resend=retry.resend,
        succeeded_subscribers=retry.succeeded_subscribers,
        now_ms=now_ms,
        charged=retry.charged,
    )
    if retry.resend:
        return settled, Ack()
    return settled, Nack(retry.due_at_ms - now_ms)

"""Polling: a client receives messages of a topic, works on them itself and says how it went.

The claim keeps the SQS queue and receipt handle on the ledger, so that whoever reports the end, by id, also
settles the SQS message. The lease's token is what a client may prove with that *it* holds the lock of a message.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import Disposition, Failed, Interrupted, Nack, Outcome, Succeeded
from chalicelib.core.errors import Conflict
from chalicelib.core.job import Job, JobError, Tombstone
from chalicelib.core.sqs import VISIBILITY_MAX_S
from chalicelib.core.states import Kind, State
from chalicelib.core.texts import readable
from chalicelib.engine.commands.lifecycle import RACE_TRIES, find
from chalicelib.engine.polling.long_poll import Sleep, wait_for_messages
from chalicelib.engine.polling.receive import PolledBatch, always, soonest
from chalicelib.engine.publish.lanes import lanes_to_poll
from chalicelib.engine.publish.malformed import attempted
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.worker.pause import paused_by
from chalicelib.engine.worker.settle import settle
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import Received
from chalicelib.store.ledger import JobRefused
from chalicelib.store.settled import with_settle_token

LOCK_MIN_MS = 1_000
LOCK_MAX_MS = VISIBILITY_MAX_S * 1_000
WAIT_MAX_S = 20  # the SQS limit of a long poll; API Gateway ends every request after 29 s
RECEIVING_MAX_MS = 3_000  # how long a poll goes on taking beyond its wait; whoever waited longer would be gone
PAUSED_TURN_S = 1  # how long a poll of a paused topic sleeps before it looks again
REASON_MAX_CHARS = 500
CLIENT_GONE = JobError("ClientGone", "the client that polled it closed the connection before the answer")
NO_REASON = "the consumer gave no reason"


class NotLocked(Conflict):
    """The message is not running, so nobody can say how it went. ``job`` is the record as it stands."""

    def __init__(
        self,
        job: Job,
        message: str | None = None,
        *,
        field: str = "id",
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        remedy = remedy or ("it is settled already" if job.state.terminal else "poll it first")
        text = message or f"this message is {job.state}, not {State.RUNNING}"
        super().__init__(text, field=field, expected=expected, remedy=remedy)
        self.job = job


class LockMismatch(NotLocked):
    """The message is running, but not under the lease that the caller speaks for."""

    def __init__(self, job: Job) -> None:
        super().__init__(
            job,
            f"message {job.id} is held under another lock than this one, which ran out if it ever held",
            field="lock_token",
            expected="the lock token of the newest poll that brought the message",
            remedy="leave the message to its holder",
        )


def poll(
    yard: Yard,
    topic: str,
    limit: int,
    lease_ms: int,
    consumer: str,
    wait_s: int = 0,
    sleep: Sleep = time.sleep,
    awaited: Callable[[], bool] = always,
) -> list[Job]:
    """Up to ``limit`` running messages of a topic, locked for ``lease_ms``; larger priorities first, then older.

    Lanes are drained strictly in order. When all are empty, waits up to ``wait_s`` seconds (0 to 20) for the first
    message on any of them. When AWS stops answering in the middle, what is locked by then is returned, as it would
    be lost to the client for a lease. A message whose payload is gone becomes a dead letter instead, and one whose
    payload cannot be read now comes later. Raises ``Conflict`` for a topic that has subscribers: one kind of consumer a
    queue. A paused topic shows nothing until it is resumed. Once the answer is not ``awaited`` any more nothing is
    taken; what was taken before is returned, to be handed back.
    """
    _refuse_subscribed(yard, topic)
    ends_ms = yard.now_ms() + wait_s * 1_000
    batch = PolledBatch(yard, limit, lease_ms, consumer, ends_ms + RECEIVING_MAX_MS, awaited)
    if not _resumed(yard, topic, ends_ms, sleep, awaited):
        return []
    try:
        lanes = lanes_to_poll(yard, topic)
        if wait_s == 0 or len(lanes) > 1:  # the wait for a single lane begins with a look at it
            for lane in lanes:
                batch.receive_from(lane)
        wait_for_messages(batch, topic, lanes, ends_ms, sleep)
    except AWS_FAILURES:
        if not batch.received:
            raise
        logger.exception("a poll ended early", extra={"topic": topic, "taken": len(batch.received)})
    return [whole for job in sorted(batch.received, key=soonest) if (whole := _readable(yard, job)) is not None]


def _readable(yard: Yard, job: Job) -> Job | None:
    """A taken message with its body at hand. One that has none is settled at once, so that the others are answered."""
    found = attempted(partial(yard.payloads.at_hand, job))
    if isinstance(found, Job):
        return found
    try:
        settle_messages(yard, [(job, settle_locked(yard, job, found)[1])])
    except (NotLocked, *AWS_FAILURES) as error:  # its lease ends, and it is polled again
        logger.warning("an unreadable message was not settled", extra={"job_id": job.id, "error": str(error)})
    return None


def _resumed(yard: Yard, topic: str, ends_ms: int, sleep: Sleep, awaited: Callable[[], bool]) -> bool:
    """Wait, until ``ends_ms`` at the latest, while a topic is paused; returns whether it may be polled."""
    while paused_by(yard, topic, topic) is not None:
        if yard.now_ms() >= ends_ms or not awaited():
            return False
        sleep(PAUSED_TURN_S)
    return True


def hand_back(yard: Yard, jobs: Sequence[Job]) -> None:
    """Show again, at once, messages that were polled for a client who did not get them; no attempt is charged."""
    dispositions: list[tuple[Job, Disposition]] = []
    for job in jobs:
        try:
            dispositions.append((job, settle_locked(yard, job, Interrupted(CLIENT_GONE))[1]))
        except NotLocked:
            continue  # somebody settled it by its id meanwhile
    settle_messages(yard, dispositions)


def complete(yard: Yard, job_id: int, lock_token: str | None = None) -> Job:
    """Record that a locked message was worked on. Raises ``NotFound``, or ``NotLocked``.

    With a ``lock_token`` (a polled job's ``lease``) only its holder succeeds: ``LockMismatch`` for anybody else.
    Without one the message is settled for whoever holds it.
    """
    return _settle_by_id(yard, job_id, Succeeded(), lock_token)


def fail(yard: Yard, job_id: int, error: str, lock_token: str | None = None) -> Job:
    """Record that a locked message could not be worked on: it is retried, or becomes a dead letter.

    ``lock_token``, and what is raised: see ``complete``.
    """
    return _settle_by_id(yard, job_id, failure(error), lock_token)


def extend(yard: Yard, job_id: int, lock_token: str, lease_ms: int) -> Job:
    """Keep a locked message for ``lease_ms`` from now on, though its lock may have run out, if nobody took it over.

    The ledger comes first: where it refuses nothing is changed, and a message that shows up early is not claimed.
    SQS hides a message for at most 12 hours from its receive; beyond, the ledger alone keeps it.
    Raises ``NotFound``, ``NotLocked`` or ``LockMismatch``.
    """
    job = require_locked(find(yard, job_id, Kind.MESSAGE), lock_token)
    until_ms = yard.now_ms() + lease_ms
    try:
        yard.jobs.extend_lease(job.id, lock_token, until_ms)
    except JobRefused as refused:
        raise refusal(refused.ledger, job) from refused
    settle_messages(yard, [(job, Nack(lease_ms))])
    return replace(job, lease_until_ms=until_ms, heard=True)


def failure(error: str) -> Failed:
    """What a client's report of a failure says."""
    return Failed(JobError("ConsumerError", readable(error, REASON_MAX_CHARS)), cause=Cause.CONSUMER)


def require_locked(job: Job, lock_token: str | None) -> Job:
    """``job``, if a client has it locked, under ``lock_token`` if one is given.

    Raises ``NotLocked`` or ``LockMismatch``.
    """
    if job.state is not State.RUNNING or job.receipt is None:  # without a receipt, a subscriber has it
        raise NotLocked(job)
    if lock_token is not None and not hmac.compare_digest(lock_token.encode(), (job.lease or "").encode()):
        raise LockMismatch(job)
    return job


def settle_locked(yard: Yard, job: Job, outcome: Outcome) -> tuple[Job, Disposition]:
    """Record how it went with a job that is ``require_locked``; returns the record and what happens to its SQS message.

    Of two reports at the same moment one is recorded. Raises ``NotLocked`` or ``LockMismatch``.
    """
    try:
        return settle(yard, with_settle_token(job, yard.token()), outcome)
    except JobRefused as refused:
        raise refusal(refused.ledger, job) from refused


def settle_for_holder(yard: Yard, job: Job, outcome: Outcome, lock_token: str | None) -> tuple[Job, Job, Disposition]:
    """``settle_locked`` for whoever holds a message: under ``lock_token``, if one is given. Returns that job, too.

    Without a token a delivery that began since ``job`` was read is settled as well as the one before it.
    """
    for _ in range(RACE_TRIES):
        require_locked(job, lock_token)
        try:
            return job, *settle_locked(yard, job, outcome)
        except LockMismatch as refused:
            if lock_token is not None:
                raise
            job = refused.job
    raise LockMismatch(job)


def refusal(ledger: Job | Tombstone | None, seen: Job) -> NotLocked:
    """Why a job that was ``seen`` locked is not any more."""
    job = ledger if isinstance(ledger, Job) else seen
    return LockMismatch(job) if job.state is State.RUNNING else NotLocked(job)


def settle_messages(yard: Yard, dispositions: Sequence[tuple[Job, Disposition]]) -> None:
    """Do to the SQS messages of jobs, as they were held, what the ledger has decided, in as few calls as can be.

    If it fails, the message comes back and is void: the ledger has the last word, and it has spoken.
    """
    waits_s: dict[int | None, list[Received]] = {}  # None: to be deleted
    for job, disposition in dispositions:
        message = Received(job.source or "", "", job.receipt or "", "")
        waits_s.setdefault((disposition.delay_s or 0) if isinstance(disposition, Nack) else None, []).append(message)
    for hide_s, messages in waits_s.items():
        try:
            if hide_s is None:
                yard.transport.delete(messages)
            else:
                yard.transport.hide(messages, hide_s)
        except Exception:  # see above
            logger.exception("messages of settled jobs were not settled", extra={"messages": len(messages)})


def _refuse_subscribed(yard: Yard, topic: str) -> None:
    if topic in yard.handlers.queues:
        raise Conflict(
            "this topic has subscribers, so it is not polled",
            field="topic",
            expected="a topic without subscribers",
            got=topic,
            remedy="remove the @subscribe, or publish to a topic of its own",
        )


def _settle_by_id(yard: Yard, job_id: int, outcome: Outcome, lock_token: str | None) -> Job:
    job = find(yard, job_id, Kind.MESSAGE)
    locked_job, settled, disposition = settle_for_holder(yard, job, outcome, lock_token)
    settle_messages(yard, [(locked_job, disposition)])
    return settled

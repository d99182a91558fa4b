"""Polling: a client takes messages of a topic in hand, works on them itself and says how it went.

The claim keeps the SQS queue and receipt handle on the ledger, so that whoever reports the end, by id, also
settles the SQS message.
"""

from __future__ import annotations

from chalicelib.core.decisions import Drop, Failed, Hide, Outcome, Succeeded
from chalicelib.core.errors import Conflict, InvalidInput
from chalicelib.core.job import Job, JobError, to_envelope
from chalicelib.core.states import Kind, State
from chalicelib.engine.claiming import claim, opened
from chalicelib.engine.lifecycle import find
from chalicelib.engine.routing import lanes_to_poll
from chalicelib.engine.sending import AWS_FAILURES
from chalicelib.engine.settling import ComeBack, settle
from chalicelib.engine.unreadable import bury_unreadable
from chalicelib.engine.yard import Yard, logger
from chalicelib.queue.contract import BATCH_MAX_MESSAGES, Received
from chalicelib.store.jobs import OBJECT_PLACE, JobRefused, Lease
from chalicelib.store.payloads import answered_bytes


class NotInHand(Conflict):
    """The message is not running, so nobody can say how it went. ``job`` is the record as it stands."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"this message is {job.state}, not {State.RUNNING}", field="id", remedy="poll it first")
        self.job = job


def poll(yard: Yard, topic: str, limit: int, lease_ms: int, consumer: str) -> list[Job]:
    """Up to ``limit`` running messages of a topic, in hand for ``lease_ms``; larger priorities first, then older.

    When AWS stops answering in the middle, what is in hand by then is answered, as it would be lost to the client
    for a lease. Raises ``Conflict`` for a topic that has subscribers: one kind of consumer a queue.
    """
    if topic in yard.handlers.queues:
        raise Conflict(
            "this topic has subscribers, so it is not polled",
            field="topic",
            expected="a topic without subscribers",
            got=topic,
            remedy="remove the @subscribe, or publish to a topic of its own",
        )
    taken: list[Job] = []
    try:
        for lane in lanes_to_poll(yard, topic):
            _drain(yard, yard.transport.source_of(lane), limit, lease_ms, consumer, taken)
    except AWS_FAILURES:
        if not taken:
            raise
        logger.exception("a poll ended early", extra={"topic": topic, "taken": len(taken)})
    return sorted(taken, key=lambda job: (-job.priority, job.created_at_ms, job.id))


def complete(yard: Yard, job_id: int) -> Job:
    """Record that a message in hand was worked on. Raises ``NotFound``, or ``NotInHand``."""
    return _settle_by_id(yard, job_id, Succeeded())


def fail(yard: Yard, job_id: int, error: str) -> Job:
    """Record that a message in hand could not be worked on: it is retried, or becomes a dead letter.

    Raises ``NotFound``, or ``NotInHand``.
    """
    return _settle_by_id(yard, job_id, Failed(JobError("ConsumerError", error[:500])))


def _drain(yard: Yard, source: str, limit: int, lease_ms: int, consumer: str, taken: list[Job]) -> None:
    """Claim messages of one lane until ``limit`` are ``taken``; a receive that brings nothing ends it.

    So does a message for which the answer has no room: it is shown again, unclaimed, to the next poll.
    """
    while len(taken) < limit:
        asked_at_ms = yard.now_ms()
        most = min(limit - len(taken), BATCH_MAX_MESSAGES)
        try:
            messages = yard.transport.receive(source, most, hide_s=-(-lease_ms // 1_000), wait_s=0)
        except LookupError:  # SQS does not show the new queue yet
            return
        if not messages:
            return
        for position, message in enumerate(messages):
            if taken and _room_bytes(yard, taken) < _size_bytes(yard, message.text):
                yard.transport.hide(messages[position:], 0)
                return
            job = _take(yard, message, Lease(yard.token(), asked_at_ms + lease_ms, consumer, source, message.receipt))
            if job is not None:
                taken.append(job)


def _room_bytes(yard: Yard, taken: list[Job]) -> int:
    """What an answer with ``taken`` in it may still hold."""
    return yard.settings.payload_max_bytes - sum(_size_bytes(yard, to_envelope(job)) for job in taken)


def _size_bytes(yard: Yard, envelope: str) -> int:
    """What a message takes in an answer; one whose body is in the bucket may be as large as any."""
    in_bucket = f'"body_at":"{OBJECT_PLACE}' in envelope
    return yard.settings.payload_max_bytes if in_bucket else answered_bytes(envelope)


def _take(yard: Yard, message: Received, lease: Lease) -> Job | None:
    """The job of a received message, claimed; ``None`` when the message was void, or is not to be had now."""
    try:
        envelope = opened(message.text)
    except InvalidInput:
        bury_unreadable(yard, message)
        yard.transport.delete([message])
        return None
    verdict = claim(yard, envelope, lease)
    match verdict:
        case Drop():
            yard.transport.delete([message])
            return None
        case Hide(wait_ms, _):
            yard.transport.hide([message], -(-wait_ms // 1_000))
            return None
    return verdict


def _settle_by_id(yard: Yard, job_id: int, outcome: Outcome) -> Job:
    job = find(yard, job_id, Kind.MESSAGE)
    if job.state is not State.RUNNING or job.receipt is None:  # without a receipt, a subscriber has it
        raise NotInHand(job)
    try:
        settled, fate = settle(yard, job, outcome)
    except JobRefused as refused:
        raise NotInHand(refused.ledger if isinstance(refused.ledger, Job) else job) from refused
    if job.source is not None and job.receipt is not None:
        _settle_message(yard, Received(job.source, "", job.receipt, ""), fate)
    return settled


def _settle_message(yard: Yard, message: Received, fate: object) -> None:
    """Do to the SQS message what the ledger has decided; if it fails, the message comes back and is void."""
    try:
        if isinstance(fate, ComeBack):
            yard.transport.hide([message], fate.hide_s or 0)
        else:
            yard.transport.delete([message])
    except Exception:  # the ledger has the last word, and it has spoken
        logger.exception("the message of a settled job was not settled", extra={"source": message.source})

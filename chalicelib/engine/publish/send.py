"""Sending what the ledger says is to be sent.

A ledger-first send has three steps: the transition marked the record unsent, the message is sent, the mark is
cleared. Whoever dies in between, the clock repeats from the second step; a duplicate is harmless.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from chalicelib import aws
from chalicelib.core.job import Job
from chalicelib.core.job_documents import to_envelope
from chalicelib.core.lanes import Lane
from chalicelib.core.sqs import DELAY_MAX_S
from chalicelib.core.waking import beyond_sqs
from chalicelib.engine.publish.lanes import lane_of, on_lane
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import NoQueue, OutgoingMessage
from chalicelib.store.ledger import JobRefused

AWS_FAILURES = (*aws.FAILURES, NoQueue)  # what a call raises once botocore has given up
PARALLEL_MARKS = 8


def outgoing_message(yard: Yard, job: Job, now_ms: int, not_before_ms: int = 0) -> OutgoingMessage:
    """The message that stands for a job, on its lane, delayed till it is due, or longer (whole seconds, rounded up)."""
    delay_s = min(max(0, -(-(max(job.due_at_ms, not_before_ms) - now_ms) // 1_000)), DELAY_MAX_S)
    return OutgoingMessage(lane_of(yard, job), to_envelope(job), delay_s, job.tenant)


def send(yard: Yard, job: Job, now_ms: int) -> None:
    """Send a job's message. Raises one of ``AWS_FAILURES``."""
    outgoing = outgoing_message(yard, job, now_ms)
    on_lane(yard, outgoing.lane, lambda: yard.transport.send(outgoing))


def send_marked(yard: Yard, job: Job) -> None:
    """Send a job that its transition marked unsent, and clear the mark.

    One whose start is beyond SQS's 15 minutes, or that travels not at all, is left to the clock; so is one that AWS
    does not take now, because the ledger has accepted it already.
    """
    now_ms = yard.now_ms()
    if not _needs_message(job, now_ms):
        return
    try:
        send(yard, job, now_ms)
        mark_sent(yard, job, now_ms)
    except AWS_FAILURES as error:
        logger.warning("left to the clock to send", extra={"job_id": job.id, "error": str(error)})


def send_marked_together(yard: Yard, jobs: Sequence[Job], not_before_ms: int = 0) -> set[int]:
    """The same for several, ten a call; returns the ids of those of whom nothing is left to the clock.

    None of them arrives before ``not_before_ms``.
    """
    now_ms = yard.now_ms()
    needing = [job for job in jobs if _needs_message(job, now_ms)]
    unsent = {job.id for job in send_all(yard, needing, not_before_ms)}
    sent = [job for job in needing if job.id not in unsent]
    with aws.threads(PARALLEL_MARKS) as markers:
        marked = markers.map(partial(_is_marked, yard), sent)
        return {job.id for job, is_marked in zip(sent, marked, strict=True) if is_marked}


def send_all(yard: Yard, jobs: Sequence[Job], not_before_ms: int = 0) -> list[Job]:
    """Send jobs in batches of ten; returns those that SQS did not accept, or perhaps did not.

    A lane that takes nothing keeps no other lane's jobs from being sent.
    """
    by_lane: defaultdict[Lane, list[Job]] = defaultdict(list)
    for job in jobs:
        by_lane[lane_of(yard, job)].append(job)
    return [job for lane, waiting in by_lane.items() for job in _send_to(yard, lane, waiting, not_before_ms)]


def _send_to(yard: Yard, lane: Lane, jobs: Sequence[Job], not_before_ms: int) -> Sequence[Job]:
    outgoing = [outgoing_message(yard, job, yard.now_ms(), not_before_ms) for job in jobs]
    try:
        return [jobs[position] for position in on_lane(yard, lane, lambda: yard.transport.send_many(outgoing))]
    except AWS_FAILURES as error:
        logger.warning("a lane takes nothing now", extra={"lane": str(lane), "jobs": len(jobs), "error": str(error)})
        return jobs


def _needs_message(job: Job, now_ms: int) -> bool:
    """Whether a message is to stand for a job now."""
    return job.travels and not beyond_sqs(job.due_at_ms, now_ms)


def _is_marked(yard: Yard, job: Job) -> bool:
    """Clear the unsent mark; returns whether AWS let it."""
    try:
        mark_sent(yard, job, yard.now_ms())
    except AWS_FAILURES as error:
        logger.warning("sent, but not noted as sent", extra={"job_id": job.id, "error": str(error)})
        return False
    return True


def mark_sent(yard: Yard, job: Job, now_ms: int) -> None:
    """Clear the unsent mark; if the job was claimed meanwhile, the claim has cleared it already."""
    try:
        yard.jobs.sent(job.id, job.delivery, now_ms)
    except JobRefused:
        return

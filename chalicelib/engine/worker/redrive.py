"""What comes out of the dead-letter queue: messages that were received over and over without ever being claimed.

The ledger decides what they are. Live jobs go back to their lane, up to five times with growing waits; then the job
is a dead letter, "never started".
"""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import NEVER_STARTED, REQUEUES_MAX
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.core.waking import requeue_wait_ms, wake_for_send
from chalicelib.engine.publish.malformed import dead_letter_malformed
from chalicelib.engine.publish.send import send_marked
from chalicelib.engine.worker.canary import sent_on
from chalicelib.engine.worker.claim import ensure_recorded, opened
from chalicelib.engine.worker.follow_through import follow_through
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import Received
from chalicelib.store.ledger import JobRefused


def redrive(yard: Yard, messages: Sequence[Received]) -> list[str]:
    """Deal with messages of the dead-letter queue; returns the ids of those that must come back."""
    come_back: list[str] = []
    for message in messages:
        try:
            _redrive_one(yard, message)
        except Exception:
            logger.exception("message stays in the dead-letter queue", extra={"message_id": message.message_id})
            come_back.append(message.message_id)
    return come_back


def _redrive_one(yard: Yard, message: Received) -> None:
    if sent_on(yard, message):
        return
    try:
        envelope = opened(message.text)
    except InvalidInput:
        dead_letter_malformed(yard, message)
        return
    now_ms = yard.now_ms()
    ensure_recorded(yard, envelope, wake_for_send(now_ms, now_ms))
    job = yard.jobs.find(envelope.id)
    if job is None or job.state is not State.PENDING:
        return  # settled, deleted, or running: a running job's own lease brings it back
    if (job.uid, job.delivery) != (envelope.uid, envelope.delivery):
        return  # another job, or a delivery that is void
    try:
        _requeue(yard, job, now_ms)
    except JobRefused:
        return  # somebody moved it at this very moment: it is not stuck


def _requeue(yard: Yard, job: Job, now_ms: int) -> None:
    if job.requeue_count >= REQUEUES_MAX:
        follow_through(yard, job, yard.jobs.dead_letter(job, Cause.NEVER_STARTED, NEVER_STARTED, now_ms))
        return
    due_at_ms = now_ms + requeue_wait_ms(job.requeue_count + 1)
    send_marked(yard, yard.jobs.requeue(job, due_at_ms, wake_for_send(due_at_ms, now_ms), now_ms))

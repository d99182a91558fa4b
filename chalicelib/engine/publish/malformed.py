"""What cannot be read. A foreign message becomes one dead letter at first sight, never a crash loop; of a job whose
payload is gone, or is no JSON, the attempt is the last; one whose payload AWS does not hand out now is run later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import Failed, Unread
from chalicelib.core.job import Job, JobError
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.dead_on_arrival import as_dead_letter
from chalicelib.engine.publish.prepare import prepare_unchecked
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import Received
from chalicelib.store.ledger import JobRefused
from chalicelib.store.payloads import PayloadLost, PayloadUnread
from chalicelib.store.table import TransactionRefused

Found = TypeVar("Found")
UNREADABLE_TYPE = "unreadable"
KEPT_CHARS = 100_000
CHAR_MAX_BYTES = 14  # of one character in ASCII JSON, its two backslashes counted twice
BESIDE_BYTES = 1_000  # what the rest of the payload takes, generously


def attempted(read: Callable[[], Found]) -> Found | Failed | Unread:
    """What an attempt needs, or how it ends without."""
    try:
        return read()
    except (PayloadLost, PayloadUnread) as error:
        return without(error)


def without(error: PayloadLost | PayloadUnread) -> Failed | Unread:
    """How an attempt ends that lacks what it needs: for good, or until later."""
    told = JobError(type(error).__name__, str(error))
    return Failed(told, final=True, cause=Cause.MALFORMED) if isinstance(error, PayloadLost) else Unread(told)


def dead_letter_malformed(yard: Yard, message: Received) -> None:
    """Record a foreign message as a dead letter of the topic ``unreadable``; once, however often it is seen."""
    logger.warning("unreadable message", extra={"message_id": message.message_id, "source": message.source})
    job, body = _dead_letter(yard, message)
    expires_at_s = yard.now_ms() // 1_000 + yard.settings.tombstone_ttl_s
    note = yard.directory.noting_unreadable(message.message_id, job.id, expires_at_s)
    try:
        yard.jobs.together([*yard.jobs.recording(job, body), note])
    except (TransactionRefused, JobRefused):
        logger.info("unreadable message was recorded before", extra={"message_id": message.message_id})


def _dead_letter(yard: Yard, message: Received) -> tuple[Job, str | None]:
    kept_chars = min(KEPT_CHARS, (yard.settings.payload_max_bytes - BESIDE_BYTES) // CHAR_MAX_BYTES)
    content = {"messageId": message.message_id, "source": message.source, "text": message.text[:kept_chars]}
    new_job = NewJob(kind=Kind.MESSAGE, type=UNREADABLE_TYPE, input=content, max_attempts=1)
    prepared = prepare_unchecked(yard, new_job)
    error = JobError("Unreadable", "the SQS message was not written by Taskyard")
    return as_dead_letter(prepared.job, error, Cause.MALFORMED, yard.now_ms()), prepared.body

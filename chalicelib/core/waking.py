"""When the clock looks after a job that waits: for its time, for a sender that may have died, for another job."""

from __future__ import annotations

from chalicelib.core.sqs import DELAY_MAX_S

SQS_DELAY_MAX_MS = DELAY_MAX_S * 1_000
HANDOVER_MS = 12 * 60_000  # how long before its time the clock hands a long-delayed job to SQS
UNSENT_GRACE_MS = 20_000  # how long a sender has before the clock sends in its place
MISSED_GRACE_MS = 90_000  # how long after its time a hidden message may fail to come back


def beyond_sqs(due_at_ms: int, now_ms: int) -> bool:
    """Whether a start lies further off than SQS can delay a message (15 minutes)."""
    return due_at_ms - now_ms > SQS_DELAY_MAX_MS


def wake_for_send(due_at_ms: int, now_ms: int) -> int:
    """When the clock sends a job that its sender did not: soon, or shortly before a far-off start."""
    if beyond_sqs(due_at_ms, now_ms):
        return due_at_ms - HANDOVER_MS
    return now_ms + UNSENT_GRACE_MS


def wake_for_return(due_at_ms: int, now_ms: int) -> int:
    """When the clock replaces a message that was hidden until ``due_at_ms`` and did not come back."""
    return max(due_at_ms, now_ms) + MISSED_GRACE_MS


def wake_for_wait(since_ms: int, now_ms: int) -> int:
    """When the clock looks again after a job that waits for another one, in case whoever was to send it then has died.

    As late again as it has waited, between one minute and one hour.
    """
    return now_ms + min(max(now_ms - since_ms, 60_000), 3_600_000)


def aside_ms(times: int) -> int:
    """How long what the clock could not do, ``times`` (from 1) in a row, is set aside: 1, 2, 4, ... 32, 60 minutes."""
    return min(60_000 << min(times - 1, 6), 3_600_000)


def requeue_wait_ms(requeue: int) -> int:
    """How long requeue number ``requeue`` (from 1) from the dead-letter queue waits: 2, 4, 8, 15, 15 minutes."""
    return min((1 << requeue) * 60_000, SQS_DELAY_MAX_MS)

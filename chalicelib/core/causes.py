"""Why a job became a dead letter.

Who decides it: ``after_attempt`` in ``core/decisions.py`` (attempts used up, rejected), ``engine/worker/run.py`` and
``heartbeat.py`` (no handler, timed out), ``engine/worker/claim.py`` and ``engine/clock`` (lease lost, timed out in
waiting), ``engine/worker/redrive.py`` (never started), ``engine/publish/malformed.py`` (malformed), ``engine/polling``
and ``engine/commands`` (consumer). ``dead_letter`` in ``store/transitions/settling.py`` writes it.
"""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """What made a failure the last one; shown as ``cause`` beside the error, which says what went wrong."""

    ATTEMPTS_USED_UP = "attempts_used_up"  # its last attempt failed
    REJECTED = "rejected"  # the handler, or the check of its input or output, said that no retry can help
    TIMED_OUT = "timed_out"  # its last attempt overran its time, or nobody called back in time
    LEASE_LOST = "lease_lost"  # whoever ran its last attempt vanished
    NEVER_STARTED = "never_started"  # SQS moved it to the dead-letter queue again and again
    MALFORMED = "malformed"  # its message or its payload cannot be read
    NO_HANDLER = "no_handler"  # no handler of its type or topic is deployed
    CONSUMER = "consumer"  # the client that polled it, or whoever completed it, said so

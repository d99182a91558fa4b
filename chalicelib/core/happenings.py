"""What happens to a job, in the words of those who want to be told (kue's events, and the pools' of Yao)."""

from __future__ import annotations

from enum import StrEnum


class What(StrEnum):
    """The kinds of happenings."""

    CREATE = "create"  # it was accepted (a pool's ``add``)
    ENQUEUE = "enqueue"  # it is queued: at once, after its delay, or again by an explicit retry
    PROMOTION = "promotion"  # its delay is over
    START = "start"  # an attempt begins
    PROGRESS = "progress"  # its handler has told how far it is
    FAILED_ATTEMPT = "failed attempt"  # an attempt has failed, and another follows
    FAILED = "failed"  # it has failed for good
    COMPLETE = "complete"  # it has succeeded
    CANCEL = "cancel"  # it was canceled
    REMOVE = "remove"  # it was deleted

"""How kue says why a job failed: over HTTP, in its log and to its listeners alike."""

from __future__ import annotations

import re

from chalicelib.core.causes import Cause
from chalicelib.core.job import Job
from chalicelib.core.trace import TraceEvent
from chalicelib.services.records import Task

TTL_EXCEEDED = "TTL exceeded"

_OVERRUN = re.compile(r"attempt [0-9]+ overran its time( and would not stop)?")  # as traces have it, without its type


def error_of(job: Job | Task) -> str | None:
    """Why its newest attempt failed; ``None`` if it did not."""
    if job.error is None:
        return None
    overran = job.error.type == "Timeout" or _is_lost(job, job.cause)
    return TTL_EXCEEDED if overran else job.error.message


def failure_line(job: Job, failure: TraceEvent) -> str:
    """The line that a failed attempt adds to the log."""
    error = str(failure.detail.get("error", ""))
    return TTL_EXCEEDED if _OVERRUN.fullmatch(error) or _is_lost(job, failure.detail.get("cause")) else error


def _is_lost(job: Job | Task, cause: str | None) -> bool:
    """Whether nobody said within its ttl how it went: whoever took it is gone."""
    return cause == Cause.LEASE_LOST and bool(job.timeout_ms)

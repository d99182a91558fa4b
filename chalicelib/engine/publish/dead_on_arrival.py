"""Jobs that come onto the ledger as dead letters: nothing here ever ran them."""

from __future__ import annotations

from dataclasses import replace

from chalicelib.core.causes import Cause
from chalicelib.core.job import Job, JobError
from chalicelib.core.states import State
from chalicelib.core.trace import Event, TraceEvent


def as_dead_letter(job: Job, error: JobError, cause: Cause, at_ms: int) -> Job:
    """A prepared job as a dead letter, which it became ``at_ms``."""
    return replace(
        job,
        state=State.FAILED,
        completed_at_ms=at_ms,
        error=error,
        cause=cause,
        trace=(*job.trace, TraceEvent(Event.DEAD, at_ms, {"cause": cause.value}).to_line()),
    )

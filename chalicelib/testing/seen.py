"""A job as it stands, for a test to look at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from chalicelib.core.job import Job
from chalicelib.engine import logbook
from chalicelib.engine.yard import Yard
from chalicelib.store.notes import LogEntry
from chalicelib.testing.attempts import error_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far a handler has said that it is. ``data`` is what it gave beside."""

    current: float
    total: float
    message: str
    data: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A task or a message at the moment at which it was asked for. Times are milliseconds since 1970."""

    id: int
    type: str  # of a message: its topic
    status: str  # pending, running, waiting, success, failed or canceled
    input: Any  # of a message: its payload
    output: Any
    error: str | None  # "Class: text" of the newest attempt, if it failed
    attempts: int  # begun so far
    progress: Report | None
    log: tuple[LogEntry, ...]  # the newest first
    due_at_ms: int
    parent_id: int | None
    job: Job = field(repr=False)  # the whole record


def seen(yard: Yard, job: Job) -> Seen:
    """What there is to see of a job."""
    return Seen(
        id=job.id,
        type=job.type,
        status=job.state.value,
        input=yard.payloads.body(job).get("input"),
        output=yard.payloads.output(job),
        error=error_of(job),
        attempts=job.attempts,
        progress=report_of(job),
        log=tuple(logbook.read(yard, job.id)),
        due_at_ms=job.due_at_ms,
        parent_id=job.parent_id,
        job=job,
    )


def report_of(job: Job) -> Report | None:
    """What a job's handler said last, if it has said anything."""
    told = job.progress
    if told is None:
        return None
    data = None if told.data is None else json.loads(told.data)
    return Report(current=told.current, total=told.total, message=told.message, data=data)

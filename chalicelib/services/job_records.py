"""A job of either kind as the console shows it: on one line, and with all that belongs to it.

Times are aware, in UTC; ids are numbers; lengths of time are in milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib.core.causes import Cause
from chalicelib.core.fingerprints import fingerprint_of
from chalicelib.core.job import Job
from chalicelib.core.job_acts import Act
from chalicelib.core.states import Kind, State
from chalicelib.core.texts import shortened
from chalicelib.core.usage import Usage
from chalicelib.services.reasons import Why
from chalicelib.services.records import ConsoleLine, LogEntry, maybe_moment_of, moment_of

ERROR_MAX_CHARS = 200
SUMMARY_MAX_CHARS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job on one line, as it stood when it was read."""

    id: int
    kind: Kind
    type: str  # a message's is its topic
    state: State
    priority: int
    attempts: int  # begun, polls included
    max_attempts: int
    progress: float | None  # 0 to 100, as its handler said last
    error: str | None  # the first line of why the newest attempt failed, at most 200 characters
    cause: Cause | None  # of a dead letter
    fingerprint: str | None  # likewise: the same for jobs that failed alike
    target_type: str | None
    target_id: str | None
    trace_id: str
    flow_key: str | None
    tenant: str | None
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None  # of a pending one: not before this time
    started_at: datetime | None  # of the newest attempt
    completed_at: datetime | None
    run_ms: int  # how long its attempts ran, the present one up to now
    worker: str | None  # who runs it, or ran it last
    lease_until: datetime | None  # of a running one
    recoverable: bool  # its lease has run out: the next worker takes it over
    replayed: bool
    summary: str | None  # of the input's JSON the first 120 characters; None where the record does not hold it


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEvent:
    """Something that happened to a job, and how long after what happened before."""

    at: datetime
    event: str
    detail: Mapping[str, Any]
    since_previous_ms: int | None


@dataclass(frozen=True, slots=True)
class GraphPlace:
    """The graph of which a job is a node, and the name that it has there."""

    id: int
    node: str


@dataclass(frozen=True, slots=True)
class Similar:
    """How many dead letters of its type failed as a job did."""

    fingerprint: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetail:
    """A job with all that belongs to it.

    What is kept in the bucket (above 256 KB) is left out where it was not asked for; ``lost`` names what is there no
    more. Secrets are in none of it.
    """

    row: JobRow
    why: Why
    timeline: tuple[TimelineEvent, ...]  # the newest 20 events, oldest first
    input: Any
    input_bytes: int  # of input, options, context and next as JSON
    input_is_left_out: bool
    output: Any
    output_is_left_out: bool
    error: str | None  # whole
    error_type: str | None
    error_where: str | None
    message: str | None  # what who completed it said, or else its handler with its progress
    context: Any
    options: Any
    next: Any
    lost: tuple[str, ...]
    script: str | None
    queue: str
    runner: str
    created_by: str | None
    completed_by: str | None
    log: tuple[LogEntry, ...]  # newest first
    console: tuple[ConsoleLine, ...]  # oldest first
    poll_results: tuple[Mapping[str, Any], ...]
    usage: Usage
    children: tuple[JobRow, ...]  # the first 100
    parent: JobRow | None
    graph: GraphPlace | None
    schedule: str | None
    slot_time: datetime | None
    replayed_as: int | None
    replay_of: int | None
    similar: Similar | None  # of a dead letter
    acts: tuple[Act, ...]  # what its state allows now


def row_of(job: Job, now_ms: int) -> JobRow:
    """A record of the ledger on one line."""
    running = job.state is State.RUNNING
    return JobRow(
        id=job.id,
        kind=job.kind,
        type=job.type,
        state=job.state,
        priority=job.priority,
        attempts=job.attempts,
        max_attempts=job.max_attempts,
        progress=None if job.progress is None else job.progress.percent,
        error=first_line(job),
        cause=job.cause,
        fingerprint=fingerprint_of(job) if job.state is State.FAILED else None,
        target_type=job.target_type,
        target_id=job.target_id,
        trace_id=job.trace_id,
        flow_key=job.flow_key,
        tenant=job.tenant,
        created_at=moment_of(job.created_at_ms),
        updated_at=moment_of(job.updated_at_ms),
        due_at=moment_of(job.due_at_ms) if job.state is State.PENDING else None,
        started_at=maybe_moment_of(job.started_at_ms),
        completed_at=maybe_moment_of(job.completed_at_ms),
        run_ms=job.run_ms + job.running_ms(now_ms),
        worker=job.worker,
        lease_until=maybe_moment_of(job.lease_until_ms) if running else None,
        recoverable=job.lease_expired(now_ms),
        replayed=job.replayed_at_ms is not None,
        summary=_summary(job),
    )


def first_line(job: Job) -> str | None:
    """The first line of why the newest attempt of a job failed, at most 200 characters."""
    if job.error is None:
        return None
    lines = job.error.text.strip().splitlines()
    return shortened(lines[0] if lines else job.error.type, ERROR_MAX_CHARS)


def _summary(job: Job) -> str | None:
    """Of an input that the record holds; more is read for no list."""
    if job.body is None:
        return None
    body = json.loads(job.body)
    given = body.get("input") if isinstance(body, dict) else None
    return shortened(json.dumps(given, ensure_ascii=False, separators=(",", ":")), SUMMARY_MAX_CHARS)

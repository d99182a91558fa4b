"""A job of either kind, as the console's answers show it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from chalicelib.api.shapes import ShownId, ShownTime
from chalicelib.api.usage import UsageRecord
from chalicelib.api.why import WhyAnswer
from chalicelib.core.causes import Cause
from chalicelib.core.job_acts import Act
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import iso
from chalicelib.http.models import AnswerModel
from chalicelib.services.records import ms_of


class JobRow(AnswerModel):
    """A job on one line."""

    id: ShownId = Field(examples=["42"])
    kind: Kind
    type: str = Field(description="A message's is its topic")
    state: State
    priority: int
    attempts: int = Field(description="Begun, polls included")
    max_attempts: int
    progress: float | None = Field(description="0 to 100, as its handler said last")
    error: str | None = Field(
        description="The first line of why its newest attempt failed, its class included, at most 200 characters"
    )
    cause: Cause | None = Field(description="What made a failure the last one")
    fingerprint: str | None = Field(description="Of a failed one: the same for jobs that failed alike")
    target_type: str | None
    target_id: str | None
    trace_id: str
    flow_key: str | None
    tenant: str | None
    created_at: ShownTime
    updated_at: ShownTime
    due_at: ShownTime | None = Field(description="A pending one does not start before this time")
    started_at: ShownTime | None = Field(description="Of its newest attempt")
    completed_at: ShownTime | None
    run_ms: int = Field(description="How long its attempts ran, the present one until now")
    worker: str | None = Field(description="Who runs it, or ran it last")
    lease_until: ShownTime | None = Field(description="Of a running one")
    recoverable: bool = Field(description="Its lease has run out: the next worker takes it over")
    replayed: bool
    summary: str | None = Field(
        description="Of its input's JSON the first 120 characters; null where the input is kept beside its record"
    )


class TimelineEvent(AnswerModel):
    """Something that happened to a job."""

    at: ShownTime
    event: str = Field(examples=["started"])
    detail: dict[str, Any]
    since_previous_ms: int | None = Field(description="How long after what happened before")


class LogLine(AnswerModel):
    """An entry of a task's log."""

    time: ShownTime
    message: str
    data: Any


class ConsoleLine(AnswerModel):
    """A line that a handler printed or logged."""

    time: ShownTime
    attempt: int
    source: str = Field(description="stdout, stderr or log")
    text: str


class GraphPlace(AnswerModel):
    """The graph of which a job is a node, and the name that it has there."""

    id: ShownId
    node: str


class Similar(AnswerModel):
    """How many dead letters of its type failed as a job did."""

    fingerprint: str
    count: int


class JobDetail(AnswerModel):
    """A job with all that belongs to it. What is above 256 KB is left out where it was not asked for."""

    row: JobRow
    why: WhyAnswer = Field(description="Why it is not running, or what has become of it")
    timeline: list[TimelineEvent] = Field(description="The newest 20 events, oldest first")
    input: Any
    input_bytes: int = Field(description="Input, options and context as JSON")
    input_is_left_out: bool
    output: Any
    output_is_left_out: bool
    error: str | None = Field(description="Whole")
    error_type: str | None
    error_where: str | None = Field(description="file:line function", examples=["resize.py:12 resize"])
    message: str | None = Field(description="What who completed it said, or its handler with its progress")
    context: Any = Field(description="Without its secret")
    options: Any
    next: Any = Field(description="The task that its success starts, without secrets")
    lost: list[str] = Field(description="Which of input, output and context are gone from where they were kept")
    script: str | None
    queue: str
    runner: str
    created_by: str | None
    completed_by: str | None
    log: list[LogLine] = Field(description="Newest first")
    console: list[ConsoleLine] = Field(description="Oldest first")
    poll_results: list[dict[str, Any]] = Field(description="Oldest first")
    usage: UsageRecord
    children: list[JobRow] = Field(description="Those that wait, or waited, for its success; the first 100")
    parent: JobRow | None
    graph: GraphPlace | None
    schedule: str | None
    slot_time: ShownTime | None
    replayed_as: ShownId | None
    replay_of: ShownId | None
    similar: Similar | None = Field(description="Of a dead letter; itself included")
    acts: list[Act] = Field(description="What its state allows now")


def polls_shown(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a poll found, with its time as JSON has it."""
    return {name: iso(ms_of(value)) if isinstance(value, datetime) else value for name, value in found.items()}

"""What ``/api/overview`` answers, part by part."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from chalicelib.api.shapes import ShownId
from chalicelib.core.causes import Cause
from chalicelib.core.states import Kind
from chalicelib.engine.projections.overview import QUEUES_MAX
from chalicelib.http.models import AnswerModel


class Totals(AnswerModel):
    """How many jobs are pending, running and waiting, and how many have ended in which way since ever."""

    pending: int
    running: int
    waiting: int
    success: int
    failed: int
    canceled: int


class Times(AnswerModel):
    """Times in ms that 50 and 95 of 100 did not exceed, estimated from a histogram."""

    p50: float
    p95: float


class InWindow(AnswerModel):
    """What happened within the window; jobs are counted when they end."""

    accepted: int
    succeeded: int
    failed: int
    retried: int = Field(description="Attempts that failed and were followed by another")
    success_ratio: float | None = Field(description="Of the jobs that ended, 0 to 1", examples=[0.96])
    wait_ms: Times | None = Field(description="From when a job was due to the start of its attempt")
    run_ms: Times | None = Field(description="Of an attempt")


class SeriesRecord(AnswerModel):
    """What happened in each step, oldest first; the newest is not over yet."""

    at: list[int] = Field(description="When each step began, in ms since 1970")
    accepted: list[int]
    succeeded: list[int]
    failed: list[int]
    retried: list[int]
    pending: list[int | None] = Field(description="At the end of the step; null of days")


class PausedRecord(AnswerModel):
    """Since when something is paused, and who did it."""

    since: str
    by: str | None
    queue: str | None = Field(description="The queue that is paused as a whole; null: this type or topic alone is")


class QueueRecord(AnswerModel):
    """How the jobs of a task type or a topic are doing."""

    kind: Kind
    type: str
    pending: int
    running: int
    failed_in_window: int
    succeeded_in_window: int
    per_second: float = Field(description="Jobs that ended, over the window")
    oldest_ready_ms: int | None = Field(
        description="For how long a job could have been started; of the five deepest, where it was found"
    )
    p95_run_ms: float | None
    paused: PausedRecord | None


class OldestRecord(AnswerModel):
    """The job that could have been started for longest, of the five deepest types."""

    id: ShownId
    kind: Kind
    type: str
    ready_for_ms: int


class DeadLettersRecord(AnswerModel):
    """Dead letters."""

    total: int = Field(description="Failed for good, and neither replayed, nor retried, nor deleted")
    new: int = Field(description="Within the window")


class Status(StrEnum):
    """How a part of the machinery is doing."""

    OK = "ok"
    LATE = "late"
    MISSING = "missing"
    UNKNOWN = "unknown"


class ClockRecord(AnswerModel):
    """The function that runs every minute; late after three that it missed."""

    last_tick_at: str | None
    late_ms: int | None = Field(description="How long ago it last ran to its end")
    status: Status


class ProjectorRecord(AnswerModel):
    """What counts the change stream; late beyond a minute."""

    lag_ms: int | None = Field(description="How old changes are when they are counted; null: none ever was")
    status: Status


class LeasesRecord(AnswerModel):
    """Running jobs whose worker is not heard of any more."""

    expired: int


class AuditRecord(AnswerModel):
    """Whether all jobs are accounted for, by the newest audit."""

    at: str | None
    status: Status
    missing: int


class HealthRecord(AnswerModel):
    """How the machinery is doing."""

    clock: ClockRecord
    projector: ProjectorRecord
    leases: LeasesRecord
    audit: AuditRecord


class ChangedRecord(AnswerModel):
    """What is different since the code was last exchanged, where that lies within the window."""

    since: str | None = Field(description="When that was; null: not known")
    new_failure_groups: int = Field(description="First seen since then, within the window or not")
    failure_ratio_before: float | None = Field(description="Of the jobs that ended, 0 to 1")
    failure_ratio_after: float | None


class FailureRecord(AnswerModel):
    """A job that failed."""

    id: ShownId
    kind: Kind
    type: str
    error: str | None
    cause: Cause | None
    at: str


class OverviewAnswer(AnswerModel):
    """How the installation is doing."""

    now: str
    window: str
    step_ms: int
    totals: Totals
    in_window: InWindow
    series: SeriesRecord
    queues: list[QueueRecord] = Field(description=f"Task types and topics, the busiest first, at most {QUEUES_MAX}")
    queues_left_out: int
    oldest: OldestRecord | None
    dead_letters: DeadLettersRecord
    health: HealthRecord
    changed: ChangedRecord
    newest_failures: list[FailureRecord] = Field(
        description="The ten that failed last, of the fifty failed jobs that were created last"
    )

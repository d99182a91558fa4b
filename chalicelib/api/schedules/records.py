"""What is shown of schedules, and of what their slots came to."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from chalicelib.api.paging import BODIES_MAX_BYTES
from chalicelib.api.shapes import ShownId, ShownTime, ShownVersion, fields_of
from chalicelib.core import trace
from chalicelib.core.schedules import Missed, Overlap, Schedule, SkipReason, Source
from chalicelib.core.slots import preview
from chalicelib.core.states import State
from chalicelib.engine.commands.schedule_runs import Run
from chalicelib.http.models import AnswerModel
from chalicelib.services.schedules import record_of, run_of
from chalicelib.store.payloads import answered_bytes

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

UPCOMING = 5  # slots that the detail of a schedule shows


class ScheduleRecord(AnswerModel):
    """A schedule as it stands."""

    name: str
    cron: str | None
    every_s: float | None
    at: ShownTime | None
    timezone: str
    start_at: ShownTime | None
    end_at: ShownTime | None
    task: dict[str, Any] | None
    message: dict[str, Any] | None
    missed: Missed
    missed_max: int
    overlap: Overlap
    jitter_s: float
    max_runs: int | None
    paused: bool
    runs: int = Field(description="How many slots made a job")
    next_run_at: ShownTime | None = Field(
        description="The next slot that was not handed over yet; null: paused, or over"
    )
    source: Source = Field(description="code: declared with @schedule, and changed there alone")
    created_at: ShownTime
    updated_at: ShownTime
    version: ShownVersion


class ScheduleDetail(ScheduleRecord):
    """A schedule with what comes next."""

    upcoming: list[str] = Field(description="Its next five slots, those that are handed over already included")


class RunRecord(AnswerModel):
    """What became of a slot, or of several in a row that made nothing."""

    at: ShownTime = Field(description="The time of the slot, or of the request")
    until: ShownTime | None = Field(description="Of several slots in a row: the time of the last")
    count: int | None = Field(description="How many slots; null: not counted")
    by_request: bool
    id: ShownId | None = Field(description="The task or message that was made")
    kind: Literal["task", "message"]
    status: State | Literal["removed"] | None = Field(description="Of that job; null where a slot made none")
    skipped: SkipReason | None = Field(description="Why a slot made no run")


class MadeRecord(AnswerModel):
    """What a request made."""

    id: str
    kind: Literal["task", "message"]


class Preview(AnswerModel):
    """The times to come."""

    timezone: str
    slots: list[str] = Field(description="UTC, without jitter")


def shown(schedule: Schedule) -> ScheduleRecord:
    """A schedule as it stands."""
    return ScheduleRecord(**_fields(schedule))


def detail_of(yard: Yard, schedule: Schedule) -> ScheduleDetail:
    """The same with its next slots."""
    upcoming = [] if schedule.paused else preview(schedule, yard.now_ms(), UPCOMING)
    return ScheduleDetail(**_fields(schedule), upcoming=[trace.iso(each) for each in upcoming])


def preview_of(yard: Yard, schedule: Schedule, count: int) -> Preview:
    """Its next slots alone."""
    slots = preview(schedule, yard.now_ms(), count)
    return Preview(timezone=schedule.zone, slots=[trace.iso(each) for each in slots])


def run_shown(schedule: Schedule, run: Run) -> RunRecord:
    """What became of a slot of a schedule."""
    told = run_of(run)
    return RunRecord(**{**fields_of(told), "id": told.job_id, "kind": schedule.kind.value})


def fitting(found: list[Schedule]) -> list[Schedule]:
    """The first of them, as many as one answer holds."""
    ends_bytes = accumulate(answered_bytes(json.dumps(schedule.work)) for schedule in found)
    return [schedule for schedule, end_bytes in zip(found, ends_bytes, strict=True) if end_bytes <= BODIES_MAX_BYTES]


def _fields(schedule: Schedule) -> dict[str, Any]:
    record = record_of(schedule)
    return {**fields_of(record), "timezone": record.tz}

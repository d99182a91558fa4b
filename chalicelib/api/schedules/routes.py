"""Schedules over HTTP: ``/api/schedule``."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from chalicelib.api.acts import record
from chalicelib.api.paging import foreign
from chalicelib.api.schedules.definitions import SavedBody, ScheduleBody, ScheduleName, Times, schedule_of, times_of
from chalicelib.api.schedules.records import (
    MadeRecord,
    Preview,
    RunRecord,
    ScheduleDetail,
    ScheduleRecord,
    detail_of,
    fitting,
    preview_of,
    run_shown,
    shown,
)
from chalicelib.api.scopes import ACT, SEE
from chalicelib.api.shapes import FASTIFY
from chalicelib.core.states import Kind
from chalicelib.engine.commands import schedules
from chalicelib.engine.commands.schedule_runs import history
from chalicelib.http.exchange import Caller
from chalicelib.http.models import NOT_BOOLEAN, AnswerModel, ApiModel, Name
from chalicelib.http.routes import Router
from chalicelib.store.schedules import RUN_POSITION

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

READS = ("schedule", SEE)
RUNS = ("schedule", ACT)  # pausing, resuming and running once make no other schedule
PREVIEW_MAX = 100
PAGE_MAX = 100
UNKNOWN = {404: "There is no schedule of this name"}
RESTLESS = {409: "It keeps changing: try again"}
CODES = {409: "It is declared in the code, or keeps changing"}
CHANGED = {409: "It is declared in the code, was changed meanwhile, or keeps changing"}
TOO_LARGE = {413: "What it makes is larger than 256 KB"}

OUTER_NAMES = {
    "tz": "timezone",
    "every_s": "everyS",
    "jitter_s": "jitterS",
    "start_at": "startAt",
    "end_at": "endAt",
    "missed_max": "missedMax",
    "max_runs": "maxRuns",
}

router = Router(
    "Schedules",
    "Create tasks and publish messages by the clock: cron, intervals, single times.",
    style=replace(FASTIFY, field_names={**FASTIFY.field_names, **OUTER_NAMES}),
)


class NameBody(ApiModel):
    """A schedule by its name."""

    name: ScheduleName


class PreviewQuery(ApiModel):
    """Which schedule, and how much of it."""

    name: ScheduleName
    count: int = Field(default=10, ge=1, le=PREVIEW_MAX)


class PreviewBody(Times):
    """Times to be looked at before a schedule has them."""

    name: ScheduleName = Field(
        default="preview", description="The name whose H the expression shows: those of another name are others"
    )
    count: Annotated[int, Field(ge=1, le=PREVIEW_MAX), NOT_BOOLEAN] = 10


class ListQuery(ApiModel):
    """Which part of the list, in the order of the names."""

    per_page: int = Field(default=20, ge=1, le=PAGE_MAX)
    cursor: Name | None = Field(default=None, description="The nextCursor of the answer before")


class HistoryQuery(ListQuery):
    """Which schedule, and which part of its history."""

    name: ScheduleName


class ScheduleList(AnswerModel):
    """A page of schedules, by name."""

    page_data: list[ScheduleRecord]
    next_cursor: str | None = Field(description="Sent as cursor it gives what follows; null at the end of the list")


class RunList(AnswerModel):
    """A page of runs, the newest first."""

    page_data: list[RunRecord]
    next_cursor: str | None


class Deleted(AnswerModel):
    """What was deleted."""

    name: str


@router.post("/api/schedule/create", scope="schedule", answers={409: "There is a schedule of this name", **TOO_LARGE})
def create_schedule(yard: Yard, body: ScheduleBody, caller: Caller) -> ScheduleDetail:
    """Create a schedule.

    A time that does not exist because clocks go forward runs at the first moment after the gap, one that exists twice
    runs once; what steps through minutes or hours goes by elapsed time.
    """
    made = schedules.create(yard, schedule_of(yard, body))
    record(yard, caller, "create", {"schedule": body.name})
    return detail_of(yard, made)


@router.post("/api/schedule/save", scope="schedule", answers={**CHANGED, **TOO_LARGE})
def save_schedule(yard: Yard, body: SavedBody, caller: Caller) -> ScheduleDetail:
    """Create a schedule, or replace the one of this name as a whole; with `ifVersion` only what was seen.

    Slots to come that were handed over before are taken back, and made as the schedule is now.
    """
    made = schedules.save(yard, schedule_of(yard, body), body.if_version)
    record(yard, caller, "save", {"schedule": body.name})
    return detail_of(yard, made)


@router.get("/api/schedule/list", scope=READS)
def list_schedules(yard: Yard, query: ListQuery) -> ScheduleList:
    """List schedules, by name.

    A page ends early where one answer (6 MB) could hold no more.
    """
    found = yard.schedules.after(query.cursor or "", query.per_page + 1)
    page = fitting(found[: query.per_page])
    following = page[-1].name if len(found) > len(page) else None
    return ScheduleList(page_data=[shown(each) for each in page], next_cursor=following)


@router.get("/api/schedule/detail", scope=READS, answers=UNKNOWN)
def show_schedule(yard: Yard, query: NameBody) -> ScheduleDetail:
    """Show a schedule and its next slots."""
    return detail_of(yard, schedules.find(yard, query.name))


@router.post("/api/schedule/pause", scope=RUNS, answers={**UNKNOWN, **RESTLESS})
def pause_schedule(yard: Yard, body: NameBody, caller: Caller) -> ScheduleDetail:
    """Make no more of its slots, until it is resumed. One that is paused already stays as it is."""
    made = schedules.pause(yard, body.name)
    record(yard, caller, "pause", {"schedule": body.name})
    return detail_of(yard, made)


@router.post("/api/schedule/resume", scope=RUNS, answers={**UNKNOWN, **RESTLESS})
def resume_schedule(yard: Yard, body: NameBody, caller: Caller) -> ScheduleDetail:
    """Go on with the slots from now on; those of the meantime are skipped. One that is not paused stays as it is."""
    made = schedules.resume(yard, body.name)
    record(yard, caller, "resume", {"schedule": body.name})
    return detail_of(yard, made)


@router.post("/api/schedule/run", scope=RUNS, answers={**UNKNOWN, 429: "Its pool is full"})
def run_schedule(yard: Yard, body: NameBody, caller: Caller) -> MadeRecord:
    """Make what the schedule makes, at once and beside its slots, even if it is paused."""
    job = schedules.run_now(yard, body.name)
    record(yard, caller, "run", {"schedule": body.name, "kind": job.kind, "type": job.type, "id": str(job.id)})
    return MadeRecord(id=str(job.id), kind=job.kind.value)


@router.post("/api/schedule/delete", scope="schedule", answers={**UNKNOWN, **CODES})
def delete_schedule(yard: Yard, body: NameBody, caller: Caller) -> Deleted:
    """Delete a schedule. What it has made stays; slots to come that were handed over are taken back."""
    schedules.delete(yard, body.name)
    record(yard, caller, "delete", {"schedule": body.name})
    return Deleted(name=body.name)


@router.get("/api/schedule/preview", scope=READS, answers=UNKNOWN)
def preview_schedule(yard: Yard, query: PreviewQuery) -> Preview:
    """The next slots of a schedule, within a century of the first, as if it were not paused."""
    schedule = schedules.find(yard, query.name)
    return preview_of(yard, schedule, query.count)


@router.post("/api/schedule/preview", scope=READS, summary="Look at times before a schedule has them")
def preview_times(yard: Yard, body: PreviewBody) -> Preview:
    """The slots that these times would have from now on."""
    return preview_of(yard, times_of(yard, body, body.name, work={}, kind=Kind.TASK), body.count)


@router.get("/api/schedule/history", scope=READS, answers=UNKNOWN)
def schedule_history(yard: Yard, query: HistoryQuery) -> RunList:
    """What became of its slots in the last 90 days, the newest first: the jobs they made, and why some made none."""
    schedule = schedules.find(yard, query.name)
    runs = history(yard, schedule, _position_in(query.cursor), query.per_page + 1)
    page = runs[: query.per_page]
    following = page[-1].item.position if len(runs) > len(page) else None
    return RunList(page_data=[run_shown(schedule, each) for each in page], next_cursor=following)


def _position_in(cursor: str | None) -> str | None:
    """The place in a history behind which it goes on. Raises ``BadRequest`` for what can be none."""
    if cursor is not None and re.fullmatch(RUN_POSITION, cursor) is None:
        raise foreign(cursor)
    return cursor

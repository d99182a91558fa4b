"""Schedules over HTTP: ``/api/schedule``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints

from chalicelib.api.paging import BODIES_MAX_BYTES, EXPECTED
from chalicelib.api.shapes import EARLIEST, FASTIFY, LATEST, iso, maybe_ms
from chalicelib.api.tasks.creating import FollowUp, check_secrets, next_request
from chalicelib.core import trace
from chalicelib.core.errors import InvalidInput, within
from chalicelib.core.job import ATTEMPTS_MAX
from chalicelib.core.naming import NAME
from chalicelib.core.schedules import (
    JITTER_MAX_MS,
    MISSED_MAX,
    NAME_MAX_CHARS,
    RUNS_MAX,
    Missed,
    Overlap,
    Schedule,
    SkipReason,
    Source,
    preview,
)
from chalicelib.core.signature import without_secrets
from chalicelib.core.states import Kind, State
from chalicelib.core.timetable import EVERY_MAX_MS
from chalicelib.core.zones import at_wall
from chalicelib.engine.commands import schedules
from chalicelib.engine.commands.schedules import Run
from chalicelib.http.models import NOT_BOOLEAN, AnswerModel, ApiModel, Name, Priority, Target, Topic, either, matching
from chalicelib.http.problems import BadRequest
from chalicelib.http.routes import Router
from chalicelib.store.payloads import answered_bytes
from chalicelib.store.schedules import RUN_POSITION

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

LOCAL = "Without an offset it is read in timezone"
UPCOMING = 5  # slots that the detail of a schedule shows
PREVIEW_MAX = 100
PAGE_MAX = 100
UNKNOWN = {404: "There is no schedule of this name"}
RESTLESS = {409: "It keeps changing: try again"}
CODES = {409: "It is declared in the code, or keeps changing"}
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
ROUTERS = (router,)

ScheduleName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_MAX_CHARS),
    matching(NAME, "a name without control characters, not all blank"),
    Field(json_schema_extra={"pattern": NAME}),
]


def _written(value: object) -> object:
    """A time as a text that says the day: digits may be seconds or milliseconds, and nobody would know."""
    if not isinstance(value, str) or "-" not in value[1:]:
        raise ValueError("a time, ISO 8601, such as 2027-06-01T09:00:00+02:00 (or without an offset, in timezone)")
    return value


def _in_range(moment: datetime) -> datetime:
    """``moment`` as it is written: one without an offset is of the schedule's own time zone."""
    if not EARLIEST <= (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) < LATEST:
        raise ValueError("a time between the years 1970 and 9998")
    return moment


LocalMoment = Annotated[datetime, BeforeValidator(_written), AfterValidator(_in_range)]
"""A point in time, ISO 8601; by the clocks of the schedule's time zone where it has no offset."""

JitterS = Annotated[float, Field(ge=0, le=JITTER_MAX_MS / 1_000), NOT_BOOLEAN]


def _without_delay(schema: dict[str, Any]) -> None:
    """What is refused in any case is not offered."""
    del schema["properties"]["delay"]


class ScheduledTask(FollowUp):
    """The task that each slot creates. It has the slot's time, so no delay."""

    model_config = ConfigDict(json_schema_extra=_without_delay)

    target_id: Target | None = Field(default=None, description="Default: the schedule's name")
    target_type: Name | None = Field(default=None, description="Default: schedule")
    priority: Priority | None = Field(default=None, description="Larger is sooner; default 0")
    input: Any = Field(
        default=None,
        description="What the handler gets. A text {{slot}} in it stands for the time of the slot, ISO 8601",
        examples=[{"day": "{{slot}}"}],
    )


class ScheduledMessage(ApiModel):
    """The message that each slot publishes."""

    topic: Topic = Field(examples=["report.due"])
    payload: dict[str, Any] = Field(description="A text {{slot}} in it stands for the time of the slot, ISO 8601")
    priority: Priority = 0
    max_retries: Annotated[int, Field(ge=0, le=ATTEMPTS_MAX), NOT_BOOLEAN] | None = None
    meta: dict[str, Any] | None = None


class Times(ApiModel):
    """When: one of ``cron``, ``everyS`` and ``at``."""

    cron: str | None = Field(
        default=None,
        max_length=100,
        description="Five fields, or six with the second first; @daily and friends; H for a time of its own",
        examples=["0 3 * * *"],
    )
    every_s: Annotated[float, Field(ge=1, le=EVERY_MAX_MS / 1_000), NOT_BOOLEAN] | None = Field(
        default=None, description="Seconds between two slots"
    )
    at: LocalMoment | None = Field(default=None, description=f"The one time it runs at. {LOCAL}")
    timezone: str = Field(
        default="UTC", max_length=64, description="An IANA time zone: of cron, and of times without an offset"
    )
    start_at: LocalMoment | None = Field(default=None, description=f"No slot before this time. {LOCAL}")
    end_at: LocalMoment | None = Field(default=None, description=f"No slot after this time. {LOCAL}")


class ScheduleBody(Times):
    """A schedule."""

    model_config = either(("task",), ("message",))

    name: ScheduleName = Field(examples=["nightly-report"])
    task: ScheduledTask | None = Field(default=None, description="The task that each slot creates")
    message: ScheduledMessage | None = Field(default=None, description="The message that each slot publishes")
    missed: Missed = Field(
        default=Missed.LAST, description="Slots that the clock came to minutes late: run none, the last or all of them"
    )
    missed_max: Annotated[int, Field(ge=1, le=MISSED_MAX), NOT_BOOLEAN] = Field(
        default=100, description="Of all that were missed, how many run: the newest"
    )
    overlap: Overlap = Field(
        default=Overlap.ALLOW, description="While the run before goes on: run beside it, skip the slot, or wait"
    )
    jitter_s: JitterS = Field(default=0, description="Each slot starts up to so many seconds later")
    max_runs: Annotated[int, Field(ge=1, le=RUNS_MAX), NOT_BOOLEAN] | None = Field(
        default=None, description="It ends after so many slots"
    )
    paused: bool = False


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


class ScheduleRecord(AnswerModel):
    """A schedule as it stands."""

    name: str
    cron: str | None
    every_s: float | None
    at: str | None
    timezone: str
    start_at: str | None
    end_at: str | None
    task: dict[str, Any] | None
    message: dict[str, Any] | None
    missed: Missed
    missed_max: int
    overlap: Overlap
    jitter_s: float
    max_runs: int | None
    paused: bool
    runs: int = Field(description="How many slots made a job")
    next_run_at: str | None = Field(description="The next slot that was not handed over yet; null: paused, or over")
    source: Source = Field(description="code: declared with @schedule, and changed there alone")
    created_at: str
    updated_at: str


class ScheduleDetail(ScheduleRecord):
    """A schedule with what comes next."""

    upcoming: list[str] = Field(description="Its next five slots, those that are handed over already included")


class ScheduleList(AnswerModel):
    """A page of schedules, by name."""

    page_data: list[ScheduleRecord]
    next_cursor: str | None = Field(description="Sent as cursor it gives what follows; null at the end of the list")


class RunRecord(AnswerModel):
    """What became of a slot, or of several in a row that made nothing."""

    at: str = Field(description="The time of the slot, or of the request")
    until: str | None = Field(description="Of several slots in a row: the time of the last")
    count: int | None = Field(description="How many slots; null: not counted")
    by_request: bool
    id: str | None = Field(description="The task or message that was made")
    kind: Literal["task", "message"]
    status: State | Literal["removed"] | None = Field(description="Of that job; null where a slot made none")
    skipped: SkipReason | None = Field(description="Why a slot made no run")


class RunList(AnswerModel):
    """A page of runs, the newest first."""

    page_data: list[RunRecord]
    next_cursor: str | None


class MadeRecord(AnswerModel):
    """What a request made."""

    id: str
    kind: Literal["task", "message"]


class Preview(AnswerModel):
    """The times to come."""

    timezone: str
    slots: list[str] = Field(description="UTC, without jitter")


class Deleted(AnswerModel):
    """What was deleted."""

    name: str


@router.post("/api/schedule/create", scope="schedule", answers={409: "There is a schedule of this name", **TOO_LARGE})
def create_schedule(yard: Yard, body: ScheduleBody) -> ScheduleDetail:
    """Create a schedule.

    A time that does not exist because clocks go forward runs at the first moment after the gap, one that exists twice
    runs once; what steps through minutes or hours goes by elapsed time.
    """
    return _detail(yard, schedules.create(yard, _schedule(yard, body)))


@router.post("/api/schedule/save", scope="schedule", answers={**CODES, **TOO_LARGE})
def save_schedule(yard: Yard, body: ScheduleBody) -> ScheduleDetail:
    """Create a schedule, or replace the one of this name as a whole.

    Slots to come that were handed over before are taken back, and made as the schedule is now.
    """
    return _detail(yard, schedules.save(yard, _schedule(yard, body)))


@router.get("/api/schedule/list", scope="schedule")
def list_schedules(yard: Yard, query: ListQuery) -> ScheduleList:
    """List schedules, by name.

    A page ends early where one answer (6 MB) could hold no more.
    """
    found = yard.schedules.after(query.cursor or "", query.per_page + 1)
    page = _fitting(found[: query.per_page])
    following = page[-1].name if len(found) > len(page) else None
    return ScheduleList(page_data=[ScheduleRecord(**_record(each)) for each in page], next_cursor=following)


@router.get("/api/schedule/detail", scope="schedule", answers=UNKNOWN)
def show_schedule(yard: Yard, query: NameBody) -> ScheduleDetail:
    """Show a schedule and its next slots."""
    return _detail(yard, schedules.find(yard, query.name))


@router.post("/api/schedule/pause", scope="schedule", answers={**UNKNOWN, **RESTLESS})
def pause_schedule(yard: Yard, body: NameBody) -> ScheduleDetail:
    """Make no more of its slots, until it is resumed. One that is paused already stays as it is."""
    return _detail(yard, schedules.pause(yard, body.name))


@router.post("/api/schedule/resume", scope="schedule", answers={**UNKNOWN, **RESTLESS})
def resume_schedule(yard: Yard, body: NameBody) -> ScheduleDetail:
    """Go on with the slots from now on; those of the meantime are skipped. One that is not paused stays as it is."""
    return _detail(yard, schedules.resume(yard, body.name))


@router.post("/api/schedule/run", scope="schedule", answers={**UNKNOWN, 429: "Its pool is full"})
def run_schedule(yard: Yard, body: NameBody) -> MadeRecord:
    """Make what the schedule makes, at once and beside its slots, even if it is paused."""
    job = schedules.run_now(yard, body.name)
    return MadeRecord(id=str(job.id), kind=job.kind.value)


@router.post("/api/schedule/delete", scope="schedule", answers={**UNKNOWN, **CODES})
def delete_schedule(yard: Yard, body: NameBody) -> Deleted:
    """Delete a schedule. What it has made stays; slots to come that were handed over are taken back."""
    schedules.delete(yard, body.name)
    return Deleted(name=body.name)


@router.get("/api/schedule/preview", scope="schedule", answers=UNKNOWN)
def preview_schedule(yard: Yard, query: PreviewQuery) -> Preview:
    """The next slots of a schedule, within a century of the first, as if it were not paused."""
    schedule = schedules.find(yard, query.name)
    return _preview(yard, schedule, query.count)


@router.post("/api/schedule/preview", scope="schedule", summary="Look at times before a schedule has them")
def preview_times(yard: Yard, body: PreviewBody) -> Preview:
    """The slots that these times would have from now on."""
    return _preview(yard, _times(yard, body, body.name, work={}, kind=Kind.TASK), body.count)


@router.get("/api/schedule/history", scope="schedule", answers=UNKNOWN)
def schedule_history(yard: Yard, query: HistoryQuery) -> RunList:
    """What became of its slots in the last 90 days, the newest first: the jobs they made, and why some made none."""
    schedule = schedules.find(yard, query.name)
    runs = schedules.history(yard, schedule, _position_in(query.cursor), query.per_page + 1)
    page = runs[: query.per_page]
    following = page[-1].item.position if len(runs) > len(page) else None
    return RunList(page_data=[_run(schedule, each) for each in page], next_cursor=following)


def _schedule(yard: Yard, body: ScheduleBody) -> Schedule:
    """The schedule that a body describes. Raises ``InvalidInput``."""
    if (body.task is None) == (body.message is None):
        got = None if body.task is None else "both"
        raise InvalidInput("a schedule makes one thing", field="task", expected="either task or message", got=got)
    if body.task is not None:
        with within("task"):
            check_secrets(body.task)
        kind, work = Kind.TASK, next_request(body.task)
    else:
        assert body.message is not None  # noqa: S101  # one of the two, as was checked
        kind, work = Kind.MESSAGE, body.message.model_dump(by_alias=True, exclude_none=True)
    return replace(
        _times(yard, body, body.name, work, kind),
        missed=body.missed,
        missed_max=body.missed_max,
        overlap=body.overlap,
        jitter_ms=round(body.jitter_s * 1_000),
        max_runs=body.max_runs,
        paused=body.paused,
    )


def _times(yard: Yard, times: Times, name: str, work: Mapping[str, Any], kind: Kind) -> Schedule:
    """A schedule with these times. Raises ``InvalidInput`` for those that are none."""
    return schedules.new(
        yard,
        name=name,
        cron=times.cron,
        every_ms=None if times.every_s is None else round(times.every_s * 1_000),
        at_ms=_local_ms(times.at, times.timezone),
        zone=times.timezone,
        start_ms=_local_ms(times.start_at, times.timezone),
        end_ms=_local_ms(times.end_at, times.timezone),
        kind=kind,
        work=work,
    )


def _local_ms(moment: datetime | None, zone: str) -> int | None:
    """A point in time in milliseconds since 1970; without an offset it is of the ``zone``."""
    return at_wall(zone, moment) if moment is not None and moment.tzinfo is None else maybe_ms(moment)


def _record(schedule: Schedule) -> dict[str, Any]:
    work = without_secrets(schedule.work)
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "every_s": None if schedule.every_ms is None else schedule.every_ms / 1_000,
        "at": iso(schedule.at_ms),
        "timezone": schedule.zone,
        "start_at": iso(schedule.start_ms),
        "end_at": iso(schedule.end_ms),
        "task": work if schedule.kind is Kind.TASK else None,
        "message": work if schedule.kind is Kind.MESSAGE else None,
        "missed": schedule.missed,
        "missed_max": schedule.missed_max,
        "overlap": schedule.overlap,
        "jitter_s": schedule.jitter_ms / 1_000,
        "max_runs": schedule.max_runs,
        "paused": schedule.paused,
        "runs": schedule.runs,
        "next_run_at": None if schedule.paused else iso(schedule.next_ms),
        "source": schedule.source,
        "created_at": iso(schedule.created_at_ms),
        "updated_at": iso(schedule.updated_at_ms),
    }


def _fitting(found: list[Schedule]) -> list[Schedule]:
    """The first of them, as many as one answer holds."""
    ends_bytes = accumulate(answered_bytes(json.dumps(schedule.work)) for schedule in found)
    return [schedule for schedule, end_bytes in zip(found, ends_bytes, strict=True) if end_bytes <= BODIES_MAX_BYTES]


def _detail(yard: Yard, schedule: Schedule) -> ScheduleDetail:
    upcoming = [] if schedule.paused else preview(schedule, yard.now_ms(), UPCOMING)
    return ScheduleDetail(**_record(schedule), upcoming=[trace.iso(each) for each in upcoming])


def _preview(yard: Yard, schedule: Schedule, count: int) -> Preview:
    slots = preview(schedule, yard.now_ms(), count)
    return Preview(timezone=schedule.zone, slots=[trace.iso(each) for each in slots])


def _run(schedule: Schedule, run: Run) -> RunRecord:
    return RunRecord(
        at=trace.iso(run.item.at_ms),
        until=iso(run.item.until_ms),
        count=run.item.count,
        by_request=run.item.by_request,
        id=None if run.item.job_id is None else str(run.item.job_id),
        kind=schedule.kind.value,
        status=run.status,
        skipped=run.skipped,
    )


def _position_in(cursor: str | None) -> str | None:
    """The place in a history behind which it goes on. Raises ``BadRequest`` for what can be none."""
    if cursor is not None and re.fullmatch(RUN_POSITION, cursor) is None:
        raise BadRequest("this cursor does not belong to this list", field="cursor", expected=EXPECTED, got=cursor)
    return cursor

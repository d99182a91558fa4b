"""What a request says of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints

from chalicelib.api.shapes import EARLIEST, LATEST, IfVersion, maybe_ms
from chalicelib.api.tasks.creating import FollowUp, check_secrets, next_request
from chalicelib.core.errors import within
from chalicelib.core.job import ATTEMPTS_MAX
from chalicelib.core.naming import NAME
from chalicelib.core.schedule_checks import JITTER_MAX_MS, MISSED_MAX, NAME_MAX_CHARS
from chalicelib.core.schedules import RUNS_MAX, Missed, Overlap, Schedule
from chalicelib.core.states import Kind
from chalicelib.core.timetable import EVERY_MAX_MS
from chalicelib.core.zones import at_wall
from chalicelib.engine.commands import schedules
from chalicelib.http.models import NOT_BOOLEAN, ApiModel, Name, Priority, Target, Tenant, Topic, matching
from chalicelib.http.one_of import OneOf

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

LOCAL = "Without an offset it is read in timezone"

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
    tenant: Tenant | None = Field(default=None, description="On whose behalf: tenants share a lane", examples=["acme"])
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
    tenant: Tenant | None = None
    flow_key: Target | None = None


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


class ScheduleBody(Times, OneOf):
    """A schedule."""

    GROUPS = (("task",), ("message",))

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


class SavedBody(ScheduleBody):
    """A schedule, and what it takes the place of."""

    if_version: IfVersion = None


def schedule_of(yard: Yard, body: ScheduleBody) -> Schedule:
    """The schedule that a body describes. Raises ``InvalidInput``."""
    if body.task is not None:
        with within("task"):
            check_secrets(body.task)
        kind, work = Kind.TASK, next_request(body.task)
    else:
        assert body.message is not None  # noqa: S101  # one of the two, as the model checked
        kind, work = Kind.MESSAGE, body.message.model_dump(by_alias=True, exclude_none=True)
    return replace(
        times_of(yard, body, body.name, work, kind),
        missed=body.missed,
        missed_max=body.missed_max,
        overlap=body.overlap,
        jitter_ms=round(body.jitter_s * 1_000),
        max_runs=body.max_runs,
        paused=body.paused,
    )


def times_of(yard: Yard, times: Times, name: str, work: Mapping[str, Any], kind: Kind) -> Schedule:
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

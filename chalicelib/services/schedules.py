"""Run tasks and publish messages by the clock.

    from chalicelib.services import schedules

    schedules.create("nightly-report", cron="0 3 * * *", tz="Europe/Berlin", task={"type": "report.write"})

A schedule that belongs to a handler is better declared beside it, with ``@schedule``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

from chalicelib.core import schedules as rules
from chalicelib.core.errors import InvalidInput, within
from chalicelib.core.job import ATTEMPTS_MAX
from chalicelib.core.lanes import priority_of
from chalicelib.core.schedule_checks import checked, moment_to_ms, seconds_to_ms
from chalicelib.core.schedules import Missed, Overlap, SkipReason, Source
from chalicelib.core.signature import without_secrets
from chalicelib.core.slots import preview as upcoming
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import schedule_runs
from chalicelib.engine.commands import schedules as commands
from chalicelib.services import checks, installation, task_orders
from chalicelib.services.records import maybe_moment_of, moment_of
from chalicelib.services.task_orders import NextTask

AT_ONCE_MAX = 1_000  # of what is listed
TIMES = ("cron", "every_ms", "at_ms")
MESSAGE_FIELDS = ("topic", "payload", "priority", "maxRetries", "meta", "tenant", "flowKey")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule as it stood when it was read. ``task`` or ``message`` is what it makes, in the words of HTTP."""

    name: str
    cron: str | None
    every_s: float | None
    at: datetime | None
    tz: str
    task: Mapping[str, Any] | None
    message: Mapping[str, Any] | None
    missed: Missed
    missed_max: int
    overlap: Overlap
    jitter_s: float
    start_at: datetime | None
    end_at: datetime | None
    max_runs: int | None
    paused: bool
    runs: int  # how many slots made a job
    next_run_at: datetime | None  # the next slot that was not handed over yet
    source: Source
    created_at: datetime
    updated_at: datetime
    version: str  # what tells what it says from what it said before and after, for if_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of a slot, or of several in a row that made nothing."""

    at: datetime
    until: datetime | None  # of several slots: the last
    count: int | None  # how many, where they were counted
    by_request: bool
    job_id: int | None  # the task or message that was made
    status: State | Literal["removed"] | None
    skipped: SkipReason | None


Which: TypeAlias = Schedule | str
"""A schedule, or its name."""


class Definition(TypedDict, total=False):
    """What can be said of a schedule; its time is one of ``cron``, ``every_s`` and ``at``."""

    cron: str  # five fields, or six with the second first, by the clocks of the zone tz
    every_s: float  # or: so many seconds between two slots, 1 s to 366 days; from start_at on, if that is given
    at: datetime  # or: the one time, aware
    tz: str  # an IANA time zone, default UTC
    task: NextTask | Mapping[str, Any]  # what each slot creates: a NextTask, or a dict in fastify-task's words
    message: Mapping[str, Any]  # or publishes: topic, payload, and some of MESSAGE_FIELDS
    missed: str  # slots that the clock came to more than two minutes late: skip, last (default) or all of them run
    missed_max: int  # of all, at most so many, the newest: 1 to 1,000, default 100
    overlap: str  # a slot whose run before goes on: allow (default) runs beside it, skip is left out, queue waits
    jitter_s: float  # each slot starts up to so many seconds later, always by the same: 0 to 3,600
    start_at: datetime | None  # no slot before this time
    end_at: datetime | None  # no slot after this time
    max_runs: int | None  # it ends after so many slots
    paused: bool  # default False


def create(
    name: str, *, or_replace: bool = False, if_version: str | None = None, **definition: Unpack[Definition]
) -> Schedule:
    """Create a schedule and return its record. It needs a name, a time and one thing to make.

    In the input of its task, or the payload of its message, a text ``{{slot}}`` stands for the time of the slot and
    ``{{schedule}}`` for the name. A task that names no target is about the schedule. ``or_replace``: a schedule of this
    name is replaced as a whole; with ``if_version`` only the one of that version, or with ``"none"`` none.

    Raises ``InvalidInput``, ``TooLarge``, and ``Conflict`` for a name that is taken, or whose schedule the code
    declares, or somebody has changed meanwhile.
    """
    if if_version is not None and not or_replace:
        raise InvalidInput(
            "nothing is replaced", field="if_version", expected="or_replace=True", got="or_replace=False"
        )
    fields = _fields(definition)
    if "work" not in fields:
        raise _one_thing(None)
    yard = installation.yard()
    schedule = commands.new(yard, name=name, **fields)
    return record_of(commands.save(yard, schedule, if_version) if or_replace else commands.create(yard, schedule))


def update(schedule: Which, *, if_version: str | None = None, **changes: Unpack[Definition]) -> Schedule:
    """Change some of a schedule; what is not named stays, but that another time takes the place of the one it had.

    Slots to come that were handed over before are taken back, and made as the schedule is now. ``if_version``: of what
    is changed; default: whatever there is. Raises ``NotFound``, ``InvalidInput``, ``TooLarge``, and ``Conflict`` for
    one that the code declares, or somebody has changed meanwhile.
    """
    fields = _fields(changes)
    if fields.keys() & TIMES:
        fields = {**dict.fromkeys(TIMES), **fields}
    yard, name = installation.yard(), _name(schedule)
    return record_of(commands.change(yard, name, lambda seen: checked(replace(seen, **fields)), if_version))


def get(schedule: Which) -> Schedule:
    """A schedule as it stands. Raises ``NotFound``."""
    return record_of(commands.find(installation.yard(), _name(schedule)))


def list(*, after: str = "", most: int = 100) -> Sequence[Schedule]:  # noqa: A001  # as in the other services
    """The first ``most`` (1 to 1,000) schedules whose names come after ``after``, in their order."""
    most = checks.whole("most", most, 1, AT_ONCE_MAX)
    return [record_of(each) for each in installation.yard().schedules.after(checks.text("after", after), most)]


def pause(schedule: Which) -> Schedule:
    """Make no more of its slots, until it is resumed. Raises ``NotFound``."""
    return record_of(commands.pause(installation.yard(), _name(schedule)))


def resume(schedule: Which) -> Schedule:
    """Go on with the slots from now on; those of the meantime are skipped. Raises ``NotFound``."""
    return record_of(commands.resume(installation.yard(), _name(schedule)))


def run_now(schedule: Which) -> int:
    """Make what the schedule makes, at once and beside its slots; returns the id of the task or message.

    Raises ``NotFound``, and what ``tasks.create`` and ``messages.publish`` do.
    """
    return commands.run_now(installation.yard(), _name(schedule)).id


def delete(schedule: Which) -> None:
    """Delete a schedule. What it made stays; slots to come that were handed over are taken back.

    Raises ``NotFound``, and ``Conflict`` for one that the code declares.
    """
    commands.delete(installation.yard(), _name(schedule))


def preview(schedule: Which, count: int = 10) -> Sequence[datetime]:
    """The next ``count`` (1 to 1,000) slots within a century, as if it were not paused. Raises ``NotFound``."""
    count = checks.whole("count", count, 1, AT_ONCE_MAX)
    yard = installation.yard()
    found = commands.find(yard, _name(schedule))
    return [moment_of(each) for each in upcoming(found, yard.now_ms(), count)]


def history(schedule: Which, most: int = 100, *, before: datetime | None = None) -> Sequence[Run]:
    """What became of the newest ``most`` (1 to 1,000) of its slots, or of those ``before`` a time, the newest first.

    Raises ``NotFound``.
    """
    most = checks.whole("most", most, 1, AT_ONCE_MAX)
    position = None if before is None else f"{checks.at_ms('before', before):013d}"
    yard = installation.yard()
    return [run_of(each) for each in schedule_runs.history(yard, commands.find(yard, _name(schedule)), position, most)]


def _fields(given: Definition) -> dict[str, Any]:
    """What is said, as the engine has it; ranges are checked there. Raises ``InvalidInput``."""
    checks.known_names(given, Definition.__annotations__)
    if "task" in given and "message" in given:
        raise _one_thing("both")
    fields = {}
    for name, value in given.items():
        field, read = READ.get(name, (name, _as_it_is))
        fields[field] = read(name, value)
    if "work" in fields:
        fields["kind"] = Kind.TASK if "task" in given else Kind.MESSAGE
    return fields


def _one_thing(got: str | None) -> InvalidInput:
    return InvalidInput("a schedule makes one thing", field="task", expected="either a task or a message", got=got)


def _as_it_is(_: str, value: object) -> object:
    return value


def _message(field: str, given: object) -> dict[str, Any]:
    found = checks.document(field, given)
    with within(field):
        checks.known_names(found, MESSAGE_FIELDS)
        retries = found.get("maxRetries")
        told = {
            "topic": checks.topic(found.get("topic")),
            "payload": checks.document("payload", found.get("payload", {})),
            "priority": priority_of(found.get("priority", 0)),
            "maxRetries": None if retries is None else checks.whole("maxRetries", retries, 0, ATTEMPTS_MAX),
            "meta": task_orders.maybe_document("meta", found.get("meta")),
            "tenant": checks.maybe_tenant(found.get("tenant")),
            "flowKey": checks.maybe_name("flowKey", found.get("flowKey")),
        }
    return {name: value for name, value in told.items() if value is not None}


READ: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "every_s": ("every_ms", seconds_to_ms),
    "at": ("at_ms", moment_to_ms),
    "tz": ("zone", _as_it_is),
    "task": ("work", task_orders.task_request),
    "message": ("work", _message),
    "jitter_s": ("jitter_ms", seconds_to_ms),
    "start_at": ("start_ms", moment_to_ms),
    "end_at": ("end_ms", moment_to_ms),
    "paused": ("paused", task_orders.flag),
}
"""What the engine calls a part of a definition, where that is something else, and how it is read."""


def _name(schedule: Which) -> str:
    return schedule.name if isinstance(schedule, Schedule) else checks.name("name", schedule)


def record_of(schedule: rules.Schedule) -> Schedule:
    """A schedule as it is shown."""
    work = without_secrets(schedule.work)
    return Schedule(
        name=schedule.name,
        cron=schedule.cron,
        every_s=None if schedule.every_ms is None else schedule.every_ms / 1_000,
        at=maybe_moment_of(schedule.at_ms),
        tz=schedule.zone,
        task=work if schedule.kind is Kind.TASK else None,
        message=work if schedule.kind is Kind.MESSAGE else None,
        missed=schedule.missed,
        missed_max=schedule.missed_max,
        overlap=schedule.overlap,
        jitter_s=schedule.jitter_ms / 1_000,
        start_at=maybe_moment_of(schedule.start_ms),
        end_at=maybe_moment_of(schedule.end_ms),
        max_runs=schedule.max_runs,
        paused=schedule.paused,
        runs=schedule.runs,
        next_run_at=None if schedule.paused else maybe_moment_of(schedule.next_ms),
        source=schedule.source,
        created_at=moment_of(schedule.created_at_ms),
        updated_at=moment_of(schedule.updated_at_ms),
        version=schedule.version,
    )


def run_of(run: schedule_runs.Run) -> Run:
    """What became of a slot, as it is shown."""
    item = run.item
    return Run(
        at=moment_of(item.at_ms),
        until=maybe_moment_of(item.until_ms),
        count=item.count,
        by_request=item.by_request,
        job_id=item.job_id,
        status=run.status,
        skipped=run.skipped,
    )

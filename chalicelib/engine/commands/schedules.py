"""What people ask of a schedule: make it, change it, pause and resume it, run it now, delete it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from chalicelib.core.errors import Conflict, InvalidInput, NotFound, within
from chalicelib.core.job import Job
from chalicelib.core.schedule_checks import check_size, checked
from chalicelib.core.schedules import Schedule, SkipReason, Source, redefined, same_times
from chalicelib.core.slots import Skip, preview
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import iso
from chalicelib.core.versions import expect_version
from chalicelib.engine.publish.prepare import check
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.publish.slots import hand_over, job_of
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.concurrency import Action
from chalicelib.store.schedules import RunItem
from chalicelib.store.table import TransactionRefused, chunks

RACE_TRIES = 8
TAKEN_BACK_AT_ONCE = 40  # a transaction holds 100 actions: two for each job, four for the schedule and a count
TAKEN_BACK = "taken back: its schedule was changed, paused or deleted before its time came"


class _NameTaken(Conflict):
    """There is a schedule of this name."""


def _name_taken(name: str) -> _NameTaken:
    return _NameTaken("there is a schedule of this name", field="name", expected="a name of its own", got=name)


def new(yard: Yard, *, name: str, kind: Kind, work: Mapping[str, Any], **definition: Any) -> Schedule:
    """A schedule that is not made yet. Raises ``InvalidInput`` for what can be none, naming its field."""
    now_ms = yard.now_ms()
    schedule = Schedule(
        name=name, uid=yard.token(), kind=kind, work=work, created_at_ms=now_ms, updated_at_ms=now_ms, **definition
    )
    return checked(schedule)


def find(yard: Yard, name: str) -> Schedule:
    """The schedule of a name; raises ``NotFound``."""
    schedule = yard.schedules.find(name)
    if schedule is None:
        raise NotFound(f"there is no schedule {name}", field="name", got=name)
    return schedule


def create(yard: Yard, schedule: Schedule) -> Schedule:
    """Make a schedule, whose ``next_ms`` is chosen here; what is due soon is handed over at once.

    Raises ``InvalidInput`` for one that never fires or whose work can never run, ``TooLarge``, and ``Conflict`` for a
    name that is taken.
    """
    if yard.schedules.find(schedule.name) is not None:
        raise _name_taken(schedule.name)
    now_ms = yard.now_ms()  # by AWS's answer: before it, a new process may have its own clock only
    dated = replace(schedule, created_at_ms=now_ms, updated_at_ms=now_ms)
    new = _checked(yard, replace(dated, next_ms=_first_slot(dated, now_ms)))
    try:
        yard.schedules.transact(yard.schedules.changing(None, new))
    except TransactionRefused as refused:
        known = yard.schedules.find(new.name)
        if known is None or known.uid != new.uid:  # otherwise our own write, whose answer was lost
            raise _name_taken(new.name) from refused
    return _handed_over(yard, new)


def save(yard: Yard, schedule: Schedule, if_version: str | None = None) -> Schedule:
    """Make a schedule, or replace the one of its name as a whole.

    ``if_version``: what it takes the place of; ``versions.NOTHING``: there is none yet; default: whatever there is.
    Raises ``InvalidInput`` and ``TooLarge`` as ``create`` does, and ``Conflict`` for one that the code declares, or
    that somebody has changed, made or deleted meanwhile.
    """
    for _ in range(RACE_TRIES):
        with suppress(NotFound, _NameTaken):  # somebody has deleted it, or made it, meanwhile
            if yard.schedules.find(schedule.name) is not None:
                return change(yard, schedule.name, lambda seen: redefined(seen, schedule), if_version)
            expect_version(if_version, None)
            return create(yard, schedule)
    raise _restless(schedule.name)


def change(yard: Yard, name: str, change: Callable[[Schedule], Schedule], if_version: str | None = None) -> Schedule:
    """What ``update`` does, by request; ``if_version``: of what is changed, default whatever there is.

    Raises ``Conflict`` for a schedule that the code declares, too, or that somebody has changed meanwhile.
    """

    def changed(seen: Schedule) -> Schedule:
        after = change(_of_request(yard, seen))
        if after != seen:  # what is so already stands in nobody's way
            expect_version(if_version, seen.version)
        return after

    return update(yard, name, changed)


def update(yard: Yard, name: str, change: Callable[[Schedule], Schedule]) -> Schedule:
    """Change a schedule. Slots to come that were handed over already are taken back, and made anew as it is now.

    ``change`` returns the schedule with what was asked for; where its times are others, or it is paused no longer,
    they count from now on. Raises ``NotFound``, ``Conflict``, and ``InvalidInput`` as ``create`` does.
    """

    def changed(seen: Schedule) -> Schedule:
        after = change(seen)
        keeps_time = same_times(seen, after) and (after.paused or not seen.paused)
        return _checked(yard, after if keeps_time else replace(after, next_ms=_first_slot(after, yard.now_ms())))

    seen = find(yard, name)
    if change(seen) == seen:
        return seen
    changed(seen)  # what is refused changes nothing
    # Taken back in each try: a clock that came in between has handed over slots of the schedule as it was.
    return _handed_over(yard, _change(yard, name, changed, before=_take_back))


def pause(yard: Yard, name: str) -> Schedule:
    """Make no more of its slots; those to come that were handed over already are taken back. Raises ``NotFound``."""
    for _ in range(RACE_TRIES):
        paused = _take_back(yard, _change(yard, name, lambda seen: replace(seen, paused=True)))
        if paused is not None:
            return paused
    raise _restless(name)


def resume(yard: Yard, name: str) -> Schedule:
    """Go on with the slots from now on; those of the meantime are noted as skipped. Raises ``NotFound``."""

    def resumed(seen: Schedule) -> Schedule:
        upcoming = preview(seen, yard.now_ms(), 1)
        return replace(seen, paused=False, next_ms=upcoming[0] if upcoming else None) if seen.paused else seen

    return _handed_over(yard, _change(yard, name, resumed))


def delete(yard: Yard, name: str) -> None:
    """Delete a schedule; slots to come that were handed over already are taken back.

    Raises ``NotFound``, and ``Conflict`` for one that the code declares.
    """
    _of_request(yard, find(yard, name))
    remove(yard, name)


def declare(yard: Yard, schedule: Schedule) -> None:
    """Make or change a schedule as the code declares it; one that is paused stays so.

    Raises ``Conflict`` for one that was made by request.
    """
    seen = yard.schedules.find(schedule.name)
    if seen is None:
        create(yard, replace(schedule, uid=yard.token()))
    elif seen.source is not Source.CODE:
        raise Conflict("a schedule of this name was made by request", field="name", got=schedule.name)
    else:
        update(yard, schedule.name, lambda seen: replace(redefined(seen, schedule), paused=seen.paused))


def remove(yard: Yard, name: str) -> None:
    """Delete a schedule, whoever made it. Raises ``NotFound``."""
    for _ in range(RACE_TRIES):
        paused = pause(yard, name)
        try:
            yard.schedules.transact(yard.schedules.changing(paused, None))
        except TransactionRefused:
            known = yard.schedules.find(name)
            if known is None or known.uid != paused.uid:
                return  # somebody else, or our own write whose answer was lost
            continue
        return
    raise _restless(name)


def run_now(yard: Yard, name: str) -> Job:
    """Make what the schedule makes, at once and beside its slots. Raises ``NotFound``, and what ``publish`` does."""
    schedule = find(yard, name)
    job = publish(yard, job_of(schedule, None, yard.now_ms()))
    yard.schedules.note_request(schedule.uid, job.created_at_ms, job.id, yard.now_ms() // 1_000)
    return job


def _of_request(yard: Yard, schedule: Schedule) -> Schedule:
    """The schedule, unless the code declares it. Raises ``Conflict``."""
    if schedule.source is Source.CODE and schedule.name in yard.handlers.schedules:
        raise Conflict(
            "this schedule is declared in the code",
            field="name",
            got=schedule.name,
            remedy="change it where @schedule stands, and deploy; meanwhile it can be paused",
        )
    return schedule


def _checked(yard: Yard, schedule: Schedule) -> Schedule:
    """The schedule, if its work can run.

    Raises ``InvalidInput`` and ``TooLarge``, whose field is, or begins with, ``task`` or ``message``.
    """
    check_size(schedule)
    with within(schedule.kind.value):
        if schedule.work.get("delay"):
            raise InvalidInput(
                "what a slot makes has the slot's time",
                field="delay",
                expected="no delay",
                got=schedule.work["delay"],
                remedy="let the schedule itself be due so much later",
            )
        check(yard, job_of(schedule, None, yard.now_ms()))
    return schedule


def _first_slot(schedule: Schedule, now_ms: int) -> int | None:
    """The first slot from now on, if it may still run. Raises ``InvalidInput`` for a time that never comes.

    What the code declares stays there when its time is over, and is no mistake then.
    """
    first_ms = schedule.next_after(now_ms)
    if first_ms is None and schedule.source is not Source.CODE:
        field, got = _why_never(schedule, now_ms)
        raise InvalidInput(
            "this schedule never fires",
            field=field,
            expected="a time to come, between its start and its end",
            got=got,
            remedy="look at its expression, its start and its end",
        )
    return first_ms if schedule.runs_left else None


def _why_never(schedule: Schedule, now_ms: int) -> tuple[str, str | None]:
    """The part of a schedule for which it never fires: its end, or else its time."""
    if schedule.end_ms is not None and replace(schedule, end_ms=None).next_after(now_ms) is not None:
        return "end_at", iso(schedule.end_ms)
    return ("cron", schedule.cron) if schedule.at_ms is None else ("at", iso(schedule.at_ms))


def _handed_over(yard: Yard, schedule: Schedule) -> Schedule:
    """The schedule once its slots before the next ticks are handed over; it counts already, so the clock may do it."""
    try:
        hand_over(yard, [schedule])
        return yard.schedules.find(schedule.name) or schedule
    except AWS_FAILURES as error:
        logger.warning("slots are left to the clock", extra={"schedule": schedule.name, "error": str(error)})
        return schedule


def _change(
    yard: Yard,
    name: str,
    change: Callable[[Schedule], Schedule],
    before: Callable[[Yard, Schedule], Schedule | None] = lambda _, seen: seen,
) -> Schedule:
    """Write a change of a schedule as it stands once ``before`` was done, again if somebody else writes in between."""
    for _ in range(RACE_TRIES):
        seen = before(yard, find(yard, name))
        if seen is None:
            continue
        changed = change(seen)
        if changed == seen:
            return seen
        now_ms = yard.now_ms()
        after = replace(changed, revision=seen.revision + 1, updated_at_ms=now_ms)
        try:
            yard.schedules.transact([*yard.schedules.changing(seen, after), *_noting_pause(yard, seen, after, now_ms)])
        except TransactionRefused:
            continue
        return after
    raise _restless(name)


def _noting_pause(yard: Yard, seen: Schedule, after: Schedule, now_ms: int) -> Iterator[AttributeValues]:
    """The action that notes the slots that passed while it was paused, if it no longer is."""
    if seen.paused and not after.paused and seen.next_ms is not None and seen.next_ms <= now_ms:
        skip = Skip(seen.next_ms, now_ms, None, SkipReason.PAUSED)
        yield yard.schedules.noting_skip(seen.uid, skip, now_ms // 1_000)


def _take_back(yard: Yard, schedule: Schedule) -> Schedule | None:
    """Cancel the jobs of slots whose time has not come, the last ones first; returns the schedule, at the first one.

    They are read after the schedule was, and canceled in the same transaction as the next step of this very schedule,
    back to its slot, and as the slot's note goes: it may be handed over again. So none was handed over that was not
    seen. ``None``: somebody else has moved the schedule on, or one of the jobs.
    """
    for slots in chunks(_to_come(yard, schedule), TAKEN_BACK_AT_ONCE):
        after = replace(
            schedule,
            next_ms=slots[-1][0].at_ms,
            runs=schedule.runs - len(slots),
            revision=schedule.revision + 1,
        )
        actions: list[Action] = [*yard.schedules.changing(schedule, after)]
        for run, job in slots:
            actions += yard.jobs.skipping(job, TAKEN_BACK, yard.now_ms())
            actions.append(yard.schedules.forgetting_run(schedule.uid, run))
        try:
            yard.concurrency.transact(actions)
        except TransactionRefused:
            return None
        schedule = after
    return schedule


def _to_come(yard: Yard, schedule: Schedule) -> list[tuple[RunItem, Job]]:
    """The slots that were handed over and whose time has not come, with their jobs; the last one first."""
    now_ms = yard.now_ms()
    runs = [run for run in yard.schedules.runs_from(schedule.uid, now_ms - schedule.jitter_ms) if not run.by_request]
    jobs = {job.id: job for job in yard.jobs.find_many([run.job_id for run in runs if run.job_id is not None])}
    found = [(run, jobs[run.job_id]) for run in runs if run.job_id in jobs]
    return [
        (run, job) for run, job in found if job.state is State.PENDING and not job.attempts and job.due_at_ms > now_ms
    ]


def _restless(name: str) -> Conflict:
    return Conflict("the schedule keeps changing", field="name", got=name, remedy="try again")

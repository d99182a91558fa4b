"""Slots: what a schedule's time makes.

The slots that fall due before the tick after next are handed over with their exact delay, so a run starts on time
although the clock comes once a minute. Handing over is one transaction: the schedule moves on, the job of each slot is
recorded, each slot has its note. Whoever repeats it finds the schedule moved on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from chalicelib.aws import code_of, is_outage, threads
from chalicelib.core.job import MANUAL
from chalicelib.core.schedules import Overlap, Schedule
from chalicelib.core.slots import Slot, plan
from chalicelib.core.states import Kind
from chalicelib.core.waking import beyond_sqs
from chalicelib.engine.new_job import NewJob, task_in
from chalicelib.engine.policy import limit_of
from chalicelib.engine.publish.prepare import Prepared, prepare_unchecked
from chalicelib.engine.publish.send import AWS_FAILURES, send_all
from chalicelib.engine.sweeping import PassedOver, always
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.concurrency import Action
from chalicelib.store.directory import Outbox
from chalicelib.store.table import TRANSACTION_MAX_ITEMS, TransactionRefused

AHEAD_MS = 120_000  # two ticks: one that comes late, or not at all, makes no run late
PARALLEL_GROUPS = 8  # transactions at a time
RECORD_BYTES = 2_000  # what an item of a schedule or a job takes beside its work, generously
SLOTS_A_STEP = 20  # a transaction holds 100 actions, a job with a body of its own takes three
TRANSACTION_MAX_BYTES = 3_500_000  # a transaction holds 4 MB
TARGET_TYPE = "schedule"  # of a task whose schedule names no target: then its target is the schedule


def job_of(schedule: Schedule, slot_ms: int | None, due_at_ms: int | None) -> NewJob:
    """What a schedule makes: for a slot, or (``None``) by request, and then of the time ``due_at_ms``."""
    work = schedule.work_at(slot_ms or due_at_ms or 0)
    if schedule.kind is Kind.MESSAGE:
        retries = work.get("maxRetries")
        made = NewJob(
            kind=Kind.MESSAGE,
            type=work["topic"],
            input=work["payload"],
            options=work.get("meta"),
            priority=work.get("priority", 0),
            max_attempts=None if retries is None else max(retries, 1),
            tenant=work.get("tenant"),
            flow_key=work.get("flowKey"),
        )
    else:
        before = NewJob(kind=Kind.TASK, type="", target_id=schedule.name, target_type=TARGET_TYPE)
        made = replace(task_in(work, before, None), input_follows=False)
    alone = schedule.overlap is not Overlap.ALLOW and made.runner != MANUAL
    return replace(
        made,
        due_at_ms=due_at_ms,
        schedule=schedule.name,
        slot_at_ms=slot_ms,
        overlap=schedule.overlap.value if alone else None,
    )


def hand_over(
    yard: Yard,
    schedules: Sequence[Schedule],
    enough_time: Callable[[], bool] = always,
    passed: PassedOver | None = None,
) -> int:
    """Make the jobs of the slots that fall due soon, and of those that were missed; returns how many jobs it made.

    A schedule that somebody else has moved on meanwhile stays as they left it. Several share a transaction. One that
    fails is logged and counted among those that were ``passed``, or else its error is raised; that AWS does not answer
    is raised in any case.
    """
    made = 0
    while schedules and enough_time():
        failures: list[_Failure] = []
        groups = list(_transactions(_steps(yard, schedules, enough_time, failures)))
        steps = list(_committed(yard, groups, failures))
        _pass_over(failures, passed)
        made += sum(len(step.made) for step in steps)
        schedules = [step.after for step in steps if _is_due(step.after, yard.now_ms())]
    return made


def _steps(
    yard: Yard, schedules: Iterable[Schedule], enough_time: Callable[[], bool], failures: list[_Failure]
) -> Iterator[_Step]:
    for schedule in schedules:
        try:
            step = _step(yard, schedule)
        except Exception as error:  # the others shall be handed over all the same
            failures.append(_Failure(schedule, error))
            continue
        yield step
        if not enough_time():
            return


def _committed(yard: Yard, groups: Sequence[Sequence[_Step]], failures: list[_Failure]) -> Iterator[_Step]:
    """Write groups beside each other; returns the steps that count."""
    if len(groups) == 1:
        yield from _commit(yard, groups[0], failures)
    elif groups:
        with threads(PARALLEL_GROUPS) as hands:
            for steps in hands.map(lambda group: _commit(yard, group, failures), groups):
                yield from steps


def _pass_over(failures: Sequence[_Failure], passed: PassedOver | None) -> None:
    for failure in failures:
        if passed is None:
            raise failure.error
        item = f"schedule {failure.schedule.name}"
        logger.error("passed over", exc_info=failure.error, extra={"item": item, "error": str(failure.error)})
    if passed is not None:
        passed.count += len(failures)


def _is_due(schedule: Schedule, now_ms: int) -> bool:
    return schedule.next_ms is not None and schedule.next_ms <= now_ms + AHEAD_MS


@dataclass(frozen=True, slots=True)
class _Failure:
    """A schedule that could not be handed over, and why."""

    schedule: Schedule
    error: Exception


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of a schedule: as it was, as it will be, and what it makes on the way."""

    seen: Schedule
    after: Schedule
    made: tuple[Prepared, ...]
    actions: tuple[Action, ...]
    notes: frozenset[int]  # which of the actions note that a slot has its job

    @property
    def weight(self) -> int:
        """About how many bytes it has in a transaction."""
        bodies = sum(len(each.job.body or "") + len(each.body or "") + RECORD_BYTES for each in self.made)
        return bodies + _item_bytes(self.after)


def _step(yard: Yard, schedule: Schedule, until_ms: int | None = None, *, made_before: bool = False) -> _Step:
    """What the slots up to a time (default: those that fall due soon) come to.

    Nothing, if they were ``made_before`` the schedule was changed.
    """
    now_ms = yard.now_ms()
    wanted = plan(schedule, now_ms, now_ms + AHEAD_MS if until_ms is None else until_ms, _slots_that_fit(schedule))
    if made_before:
        wanted = replace(wanted, run=(), runs=schedule.runs)
    after = replace(
        schedule,
        next_ms=wanted.next_ms,
        runs=wanted.runs,
        revision=schedule.revision + 1,
    )
    made = tuple(_made(yard, schedule, slot, now_ms) for slot in wanted.run)
    now_s = now_ms // 1_000
    actions: list[Action] = [*yard.schedules.changing(schedule, after)]
    notes = set()
    for slot, prepared in zip(wanted.run, made, strict=True):
        actions += yard.jobs.recording(prepared.job, prepared.body, limit_of(yard, prepared.job))
        notes.add(len(actions))
        actions.append(yard.schedules.noting_run(schedule.uid, slot.slot_ms, prepared.job.id, now_s))
    actions += [yard.schedules.noting_skip(schedule.uid, skip, now_s) for skip in wanted.skipped]
    return _Step(schedule, after, made, tuple(actions), frozenset(notes))


def _item_bytes(schedule: Schedule) -> int:
    """About how many bytes a schedule has in its item; each of its jobs has as many, or fewer."""
    return len(json.dumps(schedule.work)) + RECORD_BYTES


def _slots_that_fit(schedule: Schedule) -> int:
    """How many slots one transaction holds, beside the schedule itself."""
    return min(SLOTS_A_STEP, TRANSACTION_MAX_BYTES // _item_bytes(schedule) - 1)


def _made(yard: Yard, schedule: Schedule, slot: Slot, now_ms: int) -> Prepared:
    """The job of a slot; one for whose start SQS cannot wait is the clock's to send."""
    prepared = prepare_unchecked(yard, job_of(schedule, slot.slot_ms, slot.due_ms))
    return prepared.unsent(now_ms) if beyond_sqs(slot.due_ms, now_ms) else prepared


def _transactions(steps: Iterable[_Step]) -> Iterator[list[_Step]]:
    """Steps in groups that one transaction holds, by count and by bytes; without those in which nothing happens."""
    group: list[_Step] = []
    actions, weight = 1, 0  # one is the outbox marker's
    for step in steps:
        if step.after.next_ms == step.seen.next_ms:
            continue
        if group and (
            actions + len(step.actions) > TRANSACTION_MAX_ITEMS or weight + step.weight > TRANSACTION_MAX_BYTES
        ):
            yield group
            group, actions, weight = [], 1, 0
        group.append(step)
        actions, weight = actions + len(step.actions), weight + step.weight
    if group:
        yield group


def _commit(yard: Yard, group: Sequence[_Step], failures: list[_Failure]) -> list[_Step]:
    """Write some steps, all or none, and send what they made; returns those that count.

    Where they are refused together, or one of them can never be written, each of those that may be why is tried alone.
    """
    suspects: Sequence[_Step] = group
    try:
        _write(yard, group)
    except TransactionRefused as refused:
        if len(group) == 1:
            return _refused(yard, group[0], refused, failures)
        suspects = _refused_steps(group, refused)
    except Exception as error:
        if not _is_its_own(error):
            raise
        if len(group) == 1:
            failures.append(_Failure(group[0].seen, error))
            return []
    else:
        return list(group)
    others = [step for step in group if step not in suspects]
    done = _commit(yard, others, failures) if others else []
    return done + [step for suspect in suspects for step in _commit(yard, [suspect], failures)]


def _write(yard: Yard, group: Sequence[_Step]) -> None:
    """The transaction, and what is sent after it. The outbox names what is near; the clock's due index has the rest."""
    near = [each for step in group for each in step.made if each.job.travels and each.job.wake_at_ms is None]
    outbox = Outbox(f"{yard.now_ms():013d}-{yard.token()}", [each.job.id for each in near])
    opening = [yard.directory.opening_outbox(outbox)] if near else []
    yard.concurrency.transact([*(action for step in group for action in step.actions), *opening])
    if near:
        _send(yard, outbox, near)


def _is_its_own(error: Exception) -> bool:
    """Whether a write failed for what was to be written, and not because AWS does not serve."""
    return code_of(error) == "TransactionCanceledException" or not is_outage(error)


def _refused_steps(group: Sequence[_Step], refused: TransactionRefused) -> list[_Step]:
    """The steps of a group for which it was refused: all of them, if none is named."""
    ends = accumulate(len(step.actions) for step in group)
    flagged = [
        step for step, end in zip(group, ends, strict=True) if any(refused.refused[end - len(step.actions) : end])
    ]
    return flagged or list(group)


def _refused(yard: Yard, step: _Step, refused: TransactionRefused, failures: list[_Failure]) -> list[_Step]:
    """A step was refused for a slot that has its job: it is made one slot at a time, and leaves out that one."""
    if not _has_its_job(step, refused):
        logger.info("somebody else has moved a schedule on", extra={"schedule": step.seen.name})
        return []
    first_ms = step.made[0].job.slot_at_ms
    return _commit(yard, [_step(yard, step.seen, first_ms, made_before=len(step.made) == 1)], failures)


def _has_its_job(step: _Step, refused: TransactionRefused) -> bool:
    """Whether a slot of it was made before; otherwise it is the schedule that was changed, or an id that is taken."""
    bad = {position for position, is_bad in enumerate(refused.refused[: len(step.actions)]) if is_bad}
    return 0 not in bad and not step.notes.isdisjoint(bad)


def _send(yard: Yard, outbox: Outbox, near: Sequence[Prepared]) -> None:
    """Send what was made; whatever is not sent now, the clock sends."""
    try:
        if not send_all(yard, [each.travelling for each in near]):
            yard.directory.close_outbox(outbox.name)
    except AWS_FAILURES as error:
        logger.warning("slots are left to the clock to send", extra={"outbox": outbox.name, "error": str(error)})

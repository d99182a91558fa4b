"""Admission to a limited task type: who runs now, who waits, and who sends the next one.

A slot is taken by the claim and freed by whatever ends the attempt, each in the transaction that changes the job.
Somebody who ends a job while it runs (cancel, completion by a person) frees nothing: the process goes on until it
notices. Its worker frees the slot then, or the clock does once the worker's lease is over.

The slot of a schedule is handed over before its time. It takes room in a type with a size when it is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from chalicelib.core.decisions import Ack, Nack
from chalicelib.core.job import MANUAL, Job, Tombstone
from chalicelib.core.limits import ONE_AT_A_TIME, Limit
from chalicelib.core.schedules import Overlap
from chalicelib.core.states import Kind, State
from chalicelib.engine.policy import FRESH_MS, limit_of_count
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.publish.wait_list import defer, send_next, send_next_safely
from chalicelib.engine.sweeping import PassedOver, sweep
from chalicelib.engine.worker.gates import Gate, turned_away
from chalicelib.engine.worker.remove import remove_if_wanted
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.concurrency import Count
from chalicelib.store.ledger import JobRefused
from chalicelib.store.table import TransactionRefused
from chalicelib.store.wait_lists import of_key, of_order, of_slots, of_type

FREE_TRIES = 4
CHANGED_MAX = 100
BEHIND_MS = 1_000  # by how much what a process reads may be behind what was written
POOL_WAS_FULL = "skipped: its pool was full when its time came"
STILL_RUNNING = "skipped: the run of its schedule before it was still going on"


def admitted(yard: Yard, job: Job) -> Job | None:
    """A pending job as it is counted now that its time has come; ``None``: its type has no room, so it was skipped.

    That is for schedules' slots: any other job was counted, or refused, when it was published.
    """
    limit = _joins_when_due(yard, job)
    if limit is None:
        return job
    try:
        yard.jobs.count_in(job, limit, yard.now_ms())
    except JobRefused as refused:  # it was counted before, or cannot run now: then it is not claimed, either
        counted = isinstance(refused.ledger, Job) and refused.ledger.uid == job.uid and refused.ledger.limited
        return replace(job, limited=counted)
    except TransactionRefused:
        with suppress(JobRefused):  # somebody else has moved it: it is not ours to run
            yard.jobs.skip(job, POOL_WAS_FULL, yard.now_ms())
        return None
    return replace(job, limited=True)


def _joins_when_due(yard: Yard, job: Job) -> Limit | None:
    """The limit under which a job counts once it is due, if it does not count before."""
    if job.slot_at_ms is None or job.limited or job.kind is not Kind.TASK or job.runner == MANUAL:
        return None
    return yard.handlers.limit_of(job.type)


def turn_away(yard: Yard, job: Job, gates: Sequence[Gate], refused: TransactionRefused) -> Ack | Nack | None:
    """What becomes of the message of a job that was refused at a gate: it waits, or is skipped if it is not to wait.

    ``None``: a slot was freed in between, claim again.
    """
    full = Count(job.counted_as, running=ONE_AT_A_TIME.concurrency)
    if job.overlap == Overlap.SKIP and refused.refused[1] and _skip(yard, job, full):
        return Ack(STILL_RUNNING)
    return turned_away(yard, job, gates, refused.refused[1:], refused.old[1:])


def _skip(yard: Yard, job: Job, full: Count) -> bool:
    """Cancel a job whose schedule's run before goes on. One that has run already, and failed, waits for its turn."""
    try:
        yard.jobs.skip(job, STILL_RUNNING, yard.now_ms(), full)
    except JobRefused:
        return defer(yard, job, of_type(job.counted_as), full)
    except TransactionRefused:
        return False
    return True


def fill_freed_slot(yard: Yard, before: Job, after: Job) -> None:
    """Send the next job that waits for it, if the change from ``before`` to ``after`` has freed a slot, or a turn."""
    if before.slot and not after.slot:
        send_next_safely(yard, of_type(before.counted_as), 1)
    if (before.key_slot or before.turn) and not (after.key_slot or after.turn):
        list_of = of_key if before.order is None else of_order
        send_next_safely(yard, list_of(before.key_counted_as), 1)


def fill_changed(yard: Yard, count: str, limit: Limit | None) -> None:
    """Send those who may begin under a ``limit`` that was changed just now; they arrive when each process knows of it.

    Where AWS does not answer, it is left to the clock, as are those beyond a hundred.
    """
    known_ms = yard.now_ms() + FRESH_MS + BEHIND_MS
    try:
        free = yard.concurrency.of(count).free(limit)
        most = CHANGED_MAX if free is None else min(free, CHANGED_MAX)
        send_next(yard, of_slots(count), most, not_before_ms=known_ms)
    except AWS_FAILURES as error:
        logger.warning("a changed limit is left to the clock", extra={"count": count, "error": str(error)})


def free_of_old_run(yard: Yard, job: Job) -> Job:
    """A pending job without the slots that a run of it holds still whose worker is gone. Raises ``JobRefused``."""
    return yard.jobs.free_slot(job) if job.run_goes_on else job


def leave(yard: Yard, job: Job, ledger: Job | Tombstone | None) -> None:
    """The run of ``job`` is over, though somebody else has ended the job before, as the ``ledger`` told.

    The slot that it holds still is freed; of a job that was deleted meanwhile, what the run has left is deleted, too.
    """
    if isinstance(ledger, Tombstone):
        yard.jobs.delete_parts(job.id)
    elif job.has_slot:
        _free_slot(yard, job)


def _free_slot(yard: Yard, job: Job) -> None:
    for _ in range(FREE_TRIES):
        ledger = yard.jobs.find(job.id)
        if ledger is None or ledger.uid != job.uid or ledger.lease != job.lease or not ledger.has_slot:
            return
        if ledger.state is State.RUNNING:
            return  # it is run still, under this very lease
        try:
            free = yard.jobs.free_slot(ledger)
        except JobRefused:
            continue  # it moved in between: look again
        fill_freed_slot(yard, ledger, free)
        remove_if_wanted(yard, free)
        return


def fill_slots(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """What the clock does: nothing stays on the list of a type while slots are free. Returns how many jobs it sent."""

    def fill(type_: str) -> int:
        free = yard.concurrency.of(type_).free(limit_of_count(yard, type_))
        return send_next(yard, of_type(type_), free, enough_time)

    return sweep(yard.concurrency.types(), fill, named=of_type, enough_time=enough_time, passed=passed)

"""What the clock does for schedules: it keeps what the code declares, and hands over the slots that fall due soon."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain

from chalicelib.core.limits import ONE_AT_A_TIME, count_of_schedule
from chalicelib.core.schedules import Overlap, Schedule, Source, fingerprint_of
from chalicelib.engine.clock.listed import chunks_of
from chalicelib.engine.commands import schedules as commands
from chalicelib.engine.publish.slots import AHEAD_MS, hand_over
from chalicelib.engine.publish.wait_list import send_next
from chalicelib.engine.sweeping import PassedOver, sweep
from chalicelib.engine.yard import Yard
from chalicelib.store.schedules import DUE_SHARDS, Declared
from chalicelib.store.wait_lists import of_type


def hand_over_slots(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Make the jobs of all slots that fall due soon; returns how many. Reads no schedule that has none."""
    until_ms = yard.now_ms() + AHEAD_MS
    due = chain.from_iterable(yard.schedules.due(shard, until_ms) for shard in range(DUE_SHARDS))
    made = 0
    for names in chunks_of(each.name for each in due):
        schedules = yard.schedules.find_many(names)
        made += hand_over(yard, schedules, enough_time, passed)
        for schedule in schedules:
            _fill_slot(yard, schedule)
        if not enough_time():
            break
    return made


def keep_declared(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Make, change and delete schedules as the code declares them, if it declares others than before."""
    declared = yard.handlers.schedules
    fingerprint = fingerprint_of(declared.values())
    known = yard.schedules.declared()
    if known.fingerprint == fingerprint:
        return 0
    failed = PassedOver()
    changed = sweep(
        [*declared, *sorted(known.names - declared.keys())],
        partial(_keep, yard),
        named=lambda name: f"schedule {name}",
        enough_time=enough_time,
        passed=failed,
    )
    if failed.count == 0 and enough_time():
        yard.schedules.note_declared(Declared(fingerprint, frozenset(declared)))
    if passed is not None:
        passed.count += failed.count
    return changed


def _keep(yard: Yard, name: str) -> int:
    declared = yard.handlers.schedules.get(name)
    if declared is not None:
        commands.declare(yard, declared)
    elif (gone := yard.schedules.find(name)) is not None and gone.source is Source.CODE:
        commands.remove(yard, name)
    return 1


def _fill_slot(yard: Yard, schedule: Schedule) -> None:
    """No run waits for one before it that is over, whoever failed to send it then."""
    if schedule.overlap is Overlap.ALLOW:
        return
    count = count_of_schedule(schedule.name)
    send_next(yard, of_type(count), yard.concurrency.of(count).free(ONE_AT_A_TIME))

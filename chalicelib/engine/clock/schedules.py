"""What the clock does for schedules: it keeps what the code declares, and hands over the slots that fall due soon."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import merge

from chalicelib.core.schedules import Source, fingerprint_of
from chalicelib.engine.clock.listed import chunks_of
from chalicelib.engine.commands import schedules as commands
from chalicelib.engine.publish.slots import AHEAD_MS, hand_over
from chalicelib.engine.sweeping import PassedOver, sweep
from chalicelib.engine.yard import Yard
from chalicelib.store.schedules import DUE_SHARDS, Declared

UNFINISHED = ""  # the fingerprint of no declarations
SCHEDULES_AT_ONCE = 400  # enough for all transactions that are written beside each other


def hand_over_slots(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Make the jobs of all slots that fall due soon, the earliest first; returns how many. Reads no other schedule."""
    until_ms = yard.now_ms() + AHEAD_MS
    due = merge(*(yard.schedules.due(shard, until_ms) for shard in range(DUE_SHARDS)))
    made = 0
    for names in chunks_of((each.name for each in due), SCHEDULES_AT_ONCE):
        made += hand_over(yard, yard.schedules.find_many(names), enough_time, passed)
        if not enough_time():
            break
    return made


def keep_declared(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Make, change and delete schedules as the code declares them, if it declares others than before.

    Their names are noted before any of them is made, and kept until all is brought about. So what the code declares no
    longer is deleted, whatever became of the others, or of whoever made it.
    """
    declared = yard.handlers.schedules
    fingerprint = fingerprint_of(declared.values())
    known = yard.schedules.declared()
    if known.fingerprint == fingerprint:
        return 0
    begun = Declared(UNFINISHED, known.names | declared.keys())
    if known != begun:
        yard.schedules.note_declared(begun)
    failed = PassedOver()
    changed = sweep(
        [*sorted(known.names - declared.keys()), *declared],
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

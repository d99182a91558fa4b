"""Canaries: the clock lets one fly over each declared lane, and one through the dead-letter queue and back.

Off unless ``TASKYARD_CANARY_EVERY_S`` says how often. One that is not back after five minutes, beside the time for
which its queue gathers batches, is told of at every tick until one is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chalicelib.core.canary import DEAD_LETTERS, Canary, way_of
from chalicelib.core.lanes import Lane
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.sweeping import PassedOver
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import OutgoingMessage

EARLY_MS = 30_000  # a tick that comes a little early is the one that was meant


def fly_canaries(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Send those whose time has come; returns how many are missing."""
    del passed
    if not yard.settings.canary_every_s:
        return 0
    now_ms, known, lanes = yard.now_ms(), yard.canaries.ways(), ways(yard)
    rest_ms = yard.settings.canary_every_s * 1_000 - EARLY_MS
    for name in known.keys() - lanes.keys():
        yard.canaries.forget(name)
    for name, lane in lanes.items():
        way = known.get(name)
        due = way is None or now_ms - way.sent_at_ms >= rest_ms
        if due and enough_time():
            _send(yard, Canary(name, now_ms, lane))
    gathers_s = {queue: batch.max_wait_s for queue, batch in yard.handlers.batches.items()}
    missing = [
        name
        for name, way in known.items()
        if name in lanes and way.late_ms(now_ms, gathers_s.get(lanes[name].queue, 0))
    ]
    if missing:
        logger.error("canaries are missing", extra={"ways": sorted(missing)})
    return len(missing)


def ways(yard: Yard) -> Mapping[str, Lane]:
    """Every way that canaries take, with the lane on which they come back."""
    lanes = [Lane(queue, band) for queue, bands in yard.handlers.queues.items() for band in bands]
    over_lanes = {way_of(lane): lane for lane in lanes}
    return {**over_lanes, DEAD_LETTERS: lanes[0]} if lanes else {}


def _send(yard: Yard, canary: Canary) -> None:
    """Note first, send then: what could not be sent is missing, too."""
    yard.canaries.set_out(canary.way, canary.sent_at_ms)
    try:
        if canary.way == DEAD_LETTERS:
            yard.transport.send_to(yard.settings.dead_letter_queue, canary.to_text())
        else:
            yard.transport.send(OutgoingMessage(canary.lane, canary.to_text()))
    except AWS_FAILURES as error:
        logger.warning("a canary is not sent", extra={"way": canary.way, "error": str(error)})

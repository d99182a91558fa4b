"""Which lanes a job may travel on.

The lanes of a consumed queue are declared in code and made by infra. A topic that is only polled gets a lane at
first use; the directory remembers which it has, so that a poll asks no queue in vain.
"""

from __future__ import annotations

from chalicelib.core.lanes import DEFAULT_BANDS, Band, Lane, lane_for, soonest_first
from chalicelib.engine.yard import Yard

BANDS_FRESH_MS = 10_000  # how long a process may miss that another one opened a topic's lane


def lane_of(yard: Yard, queue: str, priority: int) -> Lane:
    """The lane of a job, opened if need be."""
    lane = lane_for(queue, priority, yard.handlers.queues.get(queue, DEFAULT_BANDS))
    if queue not in yard.handlers.queues and lane.band not in yard.known_bands.get(queue, (0, ()))[1]:
        _open(yard, lane)
    return lane


def lanes_to_poll(yard: Yard, topic: str) -> list[Lane]:
    """The lanes that a polled topic may have by now, the soonest first.

    One that was never published to here may have had subscribers, whose lanes still hold what they did not get to.
    """
    read_at_ms, bands = yard.known_bands.get(topic, (0, ()))
    if not bands or yard.now_ms() - read_at_ms > BANDS_FRESH_MS:
        bands = tuple(soonest_first(yard.directory.bands_of(topic)))
        _remember(yard, topic, bands)
    return [Lane(topic, band) for band in bands or DEFAULT_BANDS]


def _open(yard: Yard, lane: Lane) -> None:
    """Make the lane's queue, then note it, so that a lane that is noted can be used; nothing is sent before both."""
    yard.open_lane(lane)
    yard.directory.add_band(lane.queue, lane.band)
    known = yard.known_bands.get(lane.queue, (0, ()))[1]
    _remember(yard, lane.queue, tuple(soonest_first((*known, lane.band))))


def _remember(yard: Yard, topic: str, bands: tuple[Band, ...]) -> None:
    yard.known_bands[topic] = (yard.now_ms(), bands)

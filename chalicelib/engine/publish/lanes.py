"""Which lanes a job may travel on.

The lanes of a consumed queue are declared in code and made by infra. A topic that is only polled has one for every
priority (see ``core.lanes.polled_lane``): it gets each at first use, and the directory remembers which it has, so that
a poll asks no queue in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from chalicelib.core.job import Job
from chalicelib.core.lanes import SOONEST_FIRST, Lane, lane_for, lanes_soonest_first, polled_lane
from chalicelib.core.states import Kind
from chalicelib.engine.handlers.declare import DEFAULT_POOL
from chalicelib.engine.yard import Yard
from chalicelib.queue.contract import NoQueue

Answer = TypeVar("Answer")

LANES_FRESH_MS = 2_000  # how long polls that find something may miss that another process opened a lane


def lane_of(yard: Yard, job: Job) -> Lane:
    """The lane of a job, which may not be open yet.

    A task whose pool the code declares no longer goes where its type belongs now; if nothing runs it any more, where a
    worker says so.
    """
    queue = job.queue
    if job.kind is Kind.TASK and queue not in yard.handlers.queues:
        handler = yard.handlers.handler(job.type, job.script)
        queue = DEFAULT_POOL if handler is None else handler.queue
    return lane_named(yard, queue, job.priority)


def lane_named(yard: Yard, queue: str, priority: int) -> Lane:
    """The lane of a priority of a queue, which may not be open yet."""
    declared = yard.handlers.queues.get(queue)
    return polled_lane(queue, priority) if declared is None else lane_for(queue, priority, declared)


def on_lane(yard: Yard, lane: Lane, send: Callable[[], Answer]) -> Answer:
    """What ``send`` to a lane answers. The lane is opened if need be.

    The queue of a polled topic that somebody deleted is made anew, as at first use; one of a consumed queue is
    infra's to make, so there ``NoQueue`` is raised.
    """
    _open_once(yard, lane)
    try:
        return send()
    except NoQueue:
        if lane.queue in yard.handlers.queues:
            raise
        _open(yard, lane)
        return send()


def lanes_to_poll(yard: Yard, topic: str) -> list[Lane]:
    """The lanes that a polled topic may have by now, the soonest first.

    One that was never published to here may have had subscribers, whose lanes still hold what they did not get to.
    """
    read_at_ms, lanes = yard.known_lanes.get(topic, (0, ()))
    if lanes and yard.now_ms() - read_at_ms <= LANES_FRESH_MS:
        return [*lanes]
    return open_lanes(yard, topic) or [Lane(topic, band) for band in SOONEST_FIRST]


def open_lanes(yard: Yard, topic: str) -> list[Lane]:
    """The lanes that a polled topic has, as the directory tells, the soonest first."""
    lanes = lanes_soonest_first(yard.directory.lanes_of(topic))
    _remember(yard, topic, lanes)
    return lanes


def _open_once(yard: Yard, lane: Lane) -> None:
    if lane.queue not in yard.handlers.queues and lane not in yard.known_lanes.get(lane.queue, (0, ()))[1]:
        _open(yard, lane)


def _open(yard: Yard, lane: Lane) -> None:
    """Make the lane's queue, then note it, so that a lane that is noted can be used; nothing is sent before both."""
    yard.transport.open_lane(lane)
    yard.directory.add_lane(lane)
    known = yard.known_lanes.get(lane.queue, (0, ()))[1]
    _remember(yard, lane.queue, lanes_soonest_first((*known, lane)))


def _remember(yard: Yard, topic: str, lanes: Sequence[Lane]) -> None:
    yard.known_lanes[topic] = (yard.now_ms(), tuple(lanes))

"""Lanes for tests: those of jobs, open."""

from __future__ import annotations

from chalicelib.core.lanes import Lane
from chalicelib.engine.publish.lanes import lane_named, on_lane
from chalicelib.engine.yard import Yard


def lane_of(yard: Yard, queue: str, priority: int) -> Lane:
    """The lane of a job, opened if need be."""
    lane = lane_named(yard, queue, priority)
    return on_lane(yard, lane, lambda: lane)

"""What the change of a job sets going beyond itself: the next one that waits for its slot or turn, and its graph."""

from __future__ import annotations

from chalicelib.core.job import Job
from chalicelib.engine.graphs.advance import after_end
from chalicelib.engine.worker.concurrency import fill_freed_slot
from chalicelib.engine.yard import Yard


def follow_through(yard: Yard, before: Job, after: Job) -> Job:
    """Set going what follows from ``before`` having become ``after``; returns ``after``. The change counts already."""
    fill_freed_slot(yard, before, after)
    after_end(yard, after)
    return after

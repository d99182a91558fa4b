"""What became of the slots of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chalicelib.core.job import Job
from chalicelib.core.schedules import Schedule, SkipReason
from chalicelib.core.states import State
from chalicelib.engine.worker.concurrency import POOL_WAS_FULL, STILL_RUNNING
from chalicelib.engine.yard import Yard
from chalicelib.store.schedules import RunItem

SKIPPED = {STILL_RUNNING: SkipReason.OVERLAP, POOL_WAS_FULL: SkipReason.POOL_FULL}


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a slot: what was noted of it, and how its job stands. ``status`` "removed": the job is deleted."""

    item: RunItem
    status: State | Literal["removed"] | None
    skipped: SkipReason | None


def history(yard: Yard, schedule: Schedule, before: str | None, most: int) -> list[Run]:
    """The newest ``most`` of what was noted of its slots, or those ``before`` a position, the newest first."""
    items = yard.schedules.runs(schedule.uid, before, most)
    jobs = {job.id: job for job in yard.jobs.find_many([item.job_id for item in items if item.job_id is not None])}
    return [_run(item, jobs.get(item.job_id or 0)) for item in items]


def _run(item: RunItem, job: Job | None) -> Run:
    if item.job_id is None:
        return Run(item, None, item.skipped)
    if job is None:
        return Run(item, "removed", None)
    return Run(item, job.state, SKIPPED.get(job.msg or "") if job.state is State.CANCELED else None)

"""What jobs have used: one of them, by its record, or all of some days, by the accounts that the projector keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.core.day_accounts import ACCEPTED, Account
from chalicelib.core.errors import unknown
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.states import Kind
from chalicelib.core.statistics import DAY_MS
from chalicelib.core.usage import USED, Usage, usage_of
from chalicelib.engine.yard import Yard

KEPT_DAYS = 400


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What the jobs of an account have used: those of a type, a tenant or a flow key that were accepted on a day."""

    account: Account
    accepted: int
    usage: Usage


def used(yard: Yard, job_id: int) -> tuple[Job, Usage]:
    """A job, and what it has used. Raises ``NotFound`` for one that never was or is deleted."""
    job = yard.jobs.find(job_id)
    if job is None:
        raise unknown("job", job_id)
    return job, usage_of(job)


def run_by(yard: Yard, job: Job) -> str:
    """Who runs a job: a ``worker``, a ``client`` that polls it, or a ``person``."""
    if job.runner == MANUAL:
        return "person"
    return "client" if job.kind is Kind.MESSAGE and job.queue not in yard.handlers.queues else "worker"


def used_by_day(yard: Yard, days: int, kind: str | None = None) -> Iterator[DayUsage]:
    """What the jobs have used that were accepted within the newest ``days`` of UTC, by day and type.

    Where ``kind`` is ``TENANT`` or ``KEY``, by day and tenant, or flow key.
    """
    now_ms = yard.now_ms()
    since_ms = now_ms - now_ms % DAY_MS - (days - 1) * DAY_MS
    for account, numbers in sorted(yard.insights.accounts.read(since_ms, kind).items()):
        usage = Usage(**{name: numbers[name] for name in USED})
        yield DayUsage(account, numbers[ACCEPTED], usage)

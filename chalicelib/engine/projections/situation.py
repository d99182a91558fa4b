"""What an overview says beside numbers: what is paused, what waits longest, what failed last, whether all is well.

It takes some forty small reads, however many jobs are stored; what was found holds for five seconds, for all viewers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from chalicelib.aws import threads
from chalicelib.core.audit import AuditReport
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.projections.steps import KindAndType
from chalicelib.engine.yard import Yard
from chalicelib.store.job_lists import READ_CHUNK
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.pauses import Pause

DEEPEST_MAX = 5  # of so many types the oldest ready job is looked for
OLDEST_LOOKED_AT = 10  # of the pending jobs of each, by their creation
FAILURES_LOOKED_AT = 50  # of the failed jobs, the newest by their creation
FAILURES_SHOWN = 10
PARALLEL_READS = 8


@dataclass(frozen=True, slots=True)
class Situation:
    """What was found. Times are in milliseconds since 1970.

    ``oldest_ready``: of the deepest types the job that could have been started for longest, where one was found among
    the oldest. ``expired``: how many running jobs have lost their lease, of the hundred that the clock should have
    looked after first.
    """

    pauses: Sequence[Pause]
    oldest_ready: Mapping[KindAndType, Job]
    failures: Sequence[Job]  # those that failed last, newest first
    expired: int
    last_tick_ms: int | None
    deployed_at_ms: int | None
    audit: AuditReport | None


def situation_of(yard: Yard, depths: Mapping[KindAndType, int]) -> Situation:
    """What there is to be said; ``depths``: how many jobs of each type are pending."""
    return yard.shared_slowly.get(Situation, lambda: _found(yard, depths), yard.now_ms)


def _found(yard: Yard, depths: Mapping[KindAndType, int]) -> Situation:
    with threads(PARALLEL_READS) as readers:
        pauses = readers.submit(yard.pauses.all)
        oldest = readers.submit(_oldest_ready, yard, depths)
        failures = readers.submit(_failures, yard)
        expired = readers.submit(_expired, yard)
        last_tick_ms = readers.submit(yard.directory.last_tick_ms)
        deployed_at_ms = readers.submit(yard.directory.deployed_at_ms)
        audit = readers.submit(yard.insights.accounts.audited)
        return Situation(
            pauses=pauses.result(),
            oldest_ready=oldest.result(),
            failures=failures.result(),
            expired=expired.result(),
            last_tick_ms=last_tick_ms.result(),
            deployed_at_ms=deployed_at_ms.result(),
            audit=audit.result(),
        )


def ready_since_ms(job: Job) -> int:
    """Since when a pending job could have been started."""
    return max(job.due_at_ms, job.created_at_ms)


def _oldest_ready(yard: Yard, depths: Mapping[KindAndType, int]) -> Mapping[KindAndType, Job]:
    """Of the deepest types the job that is ready for longest; manual tasks and blocked children wait for others."""
    deepest = sorted((of for of, depth in depths.items() if depth > 0), key=lambda of: (-depths[of], of))
    ids = list(chain.from_iterable(_oldest_ids(yard, of) for of in deepest[:DEEPEST_MAX]))
    now_ms = yard.now_ms()
    found: dict[KindAndType, Job] = {}
    for job in sorted(yard.jobs.find_many(ids), key=ready_since_ms, reverse=True):
        if job.state is State.PENDING and job.travels and job.due_at_ms <= now_ms:
            found[job.kind.value, job.type] = job
    return found


def _oldest_ids(yard: Yard, of: KindAndType) -> Sequence[int]:
    kind, type_ = of
    query = JobQuery(Kind(kind), type_, (State.PENDING.value,), descending=False)
    return list(islice(yard.lists.ids(query, OLDEST_LOOKED_AT), OLDEST_LOOKED_AT))


def _failures(yard: Yard) -> Sequence[Job]:
    query = JobQuery(None, index_keys=(State.FAILED.value,))
    newest = yard.lists.cursor_page(query, FAILURES_LOOKED_AT).jobs
    return sorted(newest, key=lambda job: job.completed_at_ms or job.updated_at_ms, reverse=True)[:FAILURES_SHOWN]


def _expired(yard: Yard) -> int:
    now_ms = yard.now_ms()
    overdue = chain.from_iterable(yard.lists.due(shard, now_ms) for shard in range(yard.jobs.shards))
    return sum(job.lease_expired(now_ms) for job in yard.jobs.find_many(list(islice(overdue, READ_CHUNK))))

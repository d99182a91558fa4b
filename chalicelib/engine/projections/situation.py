"""What an overview says beside numbers: what is paused, what waits longest, what failed last, whether all is well.

It takes some forty small reads, however many jobs are stored; what was found holds for five seconds, for all viewers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from chalicelib.aws import threads
from chalicelib.core.audit import AuditReport
from chalicelib.core.failures import FailureGroup, Failures
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.projections.steps import KindAndType
from chalicelib.engine.yard import Yard
from chalicelib.store.insights import Counted
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.pauses import Pause

TYPES_LOOKED_AT = 5  # those with the most pending jobs, and those with the most running ones
OLDEST_LOOKED_AT = 20  # of the jobs of each, by their creation
FAILURES_LOOKED_AT = 50  # of the failed jobs, the newest by their creation
FAILURES_SHOWN = 10
LATELY_MS = 600_000
STREAM_TIME_MS = 1_000  # the stream tells whole seconds
PARALLEL_READS = 8


@dataclass(frozen=True, slots=True)
class Situation:
    """What was found. Times are in milliseconds since 1970.

    ``oldest_ready``: of the deepest types the job that could have been started for longest, where one was found among
    the oldest. ``expired``: how many running jobs have lost their lease, of the twenty oldest of each of the five types
    of which the most run.
    """

    pauses: Sequence[Pause]
    oldest_ready: Mapping[KindAndType, Job]
    failures: Sequence[Job]  # those that failed last, newest first
    expired: int
    last_tick_ms: int | None
    deployed_at_ms: int | None
    audit: AuditReport | None
    groups: Mapping[FailureGroup, Failures]
    lag_ms: int | None  # how far the projections are behind the ledger; None: nothing was ever counted

    @property
    def dead_letters(self) -> int:
        """How many jobs have failed for good and were neither replayed, nor retried, nor deleted."""
        return sum(max(0, found.failed) for found in self.groups.values())

    @property
    def new_groups(self) -> int:
        """How many groups of failures were first seen since the newest deployment."""
        deployed_at_ms = self.deployed_at_ms
        if deployed_at_ms is None:
            return 0
        return sum((found.first_at_ms or 0) >= deployed_at_ms for found in self.groups.values())


def situation_of(yard: Yard, pending: Mapping[KindAndType, int], running: Mapping[KindAndType, int]) -> Situation:
    """What there is to be said; how many jobs of each type are ``pending`` and ``running``, is known."""
    return yard.shared_slowly.get(Situation, lambda: _found(yard, pending, running), yard.now_ms)


def _found(yard: Yard, pending: Mapping[KindAndType, int], running: Mapping[KindAndType, int]) -> Situation:
    with threads(PARALLEL_READS) as readers:
        pauses = readers.submit(yard.pauses.all)
        oldest = readers.submit(oldest_ready, yard, pending)
        failures = readers.submit(_failures, yard)
        expired = readers.submit(_expired, yard, running)
        last_tick_ms = readers.submit(yard.directory.last_tick_ms)
        deployed_at_ms = readers.submit(yard.deployments.deployed_at_ms)
        audit = readers.submit(yard.insights.accounts.audited)
        groups = readers.submit(yard.insights.failures.read)
        counted = readers.submit(yard.insights.counted)
        seen = [*oldest.result().values(), *failures.result()]
        return Situation(
            pauses=pauses.result(),
            oldest_ready=oldest.result(),
            failures=failures.result(),
            expired=expired.result(),
            last_tick_ms=last_tick_ms.result(),
            deployed_at_ms=deployed_at_ms.result(),
            audit=audit.result(),
            groups=groups.result(),
            lag_ms=lag_ms(counted.result(), seen, yard.now_ms()),
        )


def lag_ms(counted: Sequence[Counted], seen: Sequence[Job], now_ms: int) -> int | None:
    """How far the projections are behind.

    How old the newest changes were when they were counted, within the last ten minutes or else at the end. Where a job
    is ``seen`` that has changed since, and by more than the second that the stream's times are whole of, so much.
    """
    if not counted:
        return None
    newest = max(counted, key=lambda each: each.at_ms)
    lately = [each for each in counted if each.at_ms > now_ms - LATELY_MS] or [newest]
    measured_ms = max(max(0, each.at_ms - each.changed_ms) for each in lately)
    uncounted = [job.updated_at_ms for job in seen if job.updated_at_ms > newest.changed_ms + STREAM_TIME_MS]
    return max(measured_ms, now_ms - min(uncounted, default=now_ms))


def ready_since_ms(job: Job) -> int:
    """Since when a pending job could have been started."""
    return max(job.due_at_ms, job.created_at_ms)


def oldest_ready(yard: Yard, pending: Mapping[KindAndType, int]) -> Mapping[KindAndType, Job]:
    """Of the deepest types the job that is ready for longest; manual tasks and blocked children wait for others."""
    now_ms = yard.now_ms()
    found: dict[KindAndType, Job] = {}
    for job in sorted(_oldest(yard, pending, State.PENDING), key=ready_since_ms, reverse=True):
        if job.state is State.PENDING and job.travels and job.due_at_ms <= now_ms:
            found[job.kind.value, job.type] = job
    return found


def _oldest(yard: Yard, numbers: Mapping[KindAndType, int], state: State) -> list[Job]:
    """The jobs of the types with the most in a state that were created first, some of each."""
    most = sorted((of for of, number in numbers.items() if number > 0), key=lambda of: (-numbers[of], of))
    queries = (JobQuery(Kind(kind), name, (state.value,), descending=False) for kind, name in most[:TYPES_LOOKED_AT])
    ids = chain.from_iterable(islice(yard.lists.ids(query, OLDEST_LOOKED_AT), OLDEST_LOOKED_AT) for query in queries)
    return yard.jobs.find_many(list(ids))


def _failures(yard: Yard) -> Sequence[Job]:
    query = JobQuery(None, index_keys=(State.FAILED.value,))
    newest = yard.lists.cursor_page(query, FAILURES_LOOKED_AT).jobs
    return sorted(newest, key=lambda job: job.completed_at_ms or job.updated_at_ms, reverse=True)[:FAILURES_SHOWN]


def _expired(yard: Yard, running: Mapping[KindAndType, int]) -> int:
    now_ms = yard.now_ms()
    return sum(job.lease_expired(now_ms) for job in _oldest(yard, running, State.RUNNING))

"""Removing what is done and old: by request (cleanup), and by the clock (retention).

Each call is bounded and keeps nothing in mind: what is removed has left the lists, so the next call finds the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from chalicelib.aws import threads
from chalicelib.core.errors import Unavailable
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.sweeping import FAILURES_IN_A_ROW, PassedOver
from chalicelib.engine.worker.remove import remove_seen
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.settings import Settings
from chalicelib.store.job_lists import READ_CHUNK, WINDOW
from chalicelib.store.job_queries import JobQuery, index_keys_of

UNREPLAYED = (State.FAILED.value,)  # the label of a dead letter that was not replayed
PARALLEL_REMOVALS = 8
SKIPS_MAX = 1_000  # jobs looked at in vain: done more recently than they are old
EXPIRED_MAX = 10_000  # removals of one kind and outcome in one run of the clock
RETENTION_BUDGET_MS = 20_000  # of the minute between two runs of the clock
MINUTE_MS = 60_000
GOLDEN_SHARE = 0.618034  # whose multiples, without their whole part, fill a span evenly (Weyl)


@dataclass(frozen=True, slots=True)
class Removed:
    """How many jobs a call removed, and behind which position there may be more; ``None``: nowhere."""

    count: int
    place: str | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one call may do: ``most`` removals, while ``going_on`` says yes. Both are looked at every 100 jobs.

    ``passed`` counts the jobs that could not be removed.
    """

    most: int
    going_on: Callable[[], bool]
    passed: PassedOver = field(default_factory=PassedOver)


def remove_old(
    yard: Yard, query: JobQuery, before_ms: int | None, bounds: Bounds, behind: str | None = None
) -> Removed:
    """Remove the jobs of a list that last changed before a time (any time: ``None``), the oldest first.

    ``query`` may name labels of finished jobs only. A job's parts and objects go with it; a tombstone stays until
    SQS has forgotten the job. One that is run again meanwhile stays. So does one that cannot be removed, which is
    logged; where that are ten of a hundred and no other can, the error is raised.
    """
    until_ms = query.until_ms if before_ms is None else before_ms
    entries = yard.lists.walk(replace(query, until_ms=until_ms, descending=False), behind)
    removed = skipped = 0
    with threads(PARALLEL_REMOVALS) as removers:
        while chunk := list(islice(entries, READ_CHUNK)):
            old = [job for _, job in chunk if job is not None and (before_ms is None or job.updated_at_ms < before_ms)]
            removals = list(removers.map(partial(_remove, yard), old))
            failures = [removal for removal in removals if isinstance(removal, Exception)]
            if FAILURES_IN_A_ROW <= len(failures) == len(old):
                raise failures[0]
            bounds.passed.count += len(failures)
            removed += removals.count(True)
            skipped += len(chunk) - len(old) + len(failures)
            if len(chunk) < READ_CHUNK:
                break
            if removed >= bounds.most or skipped >= SKIPS_MAX or not bounds.going_on():
                return Removed(removed, chunk[-1][0])
    return Removed(removed, None)


def messages_to_remove(topic: str | None, states: Sequence[State], *, include_unreplayed: bool) -> JobQuery:
    """The messages in some final ``states``; dead letters that were not replayed only where they are asked for."""
    kept = () if include_unreplayed else UNREPLAYED
    return JobQuery(
        Kind.MESSAGE, topic, tuple(index_key for index_key in index_keys_of(*states) if index_key not in kept)
    )


def unreplayed(yard: Yard, topic: str | None) -> int:
    """How many dead letters were not replayed; 10,000 stands for more."""
    return min(yard.lists.count(JobQuery(Kind.MESSAGE, topic, UNREPLAYED)), WINDOW)


def remove_matching(yard: Yard, query: JobQuery, before_ms: int | None, bounds: Bounds, behind: str | None) -> Removed:
    """The same for a client. Raises ``Unavailable`` where none could be removed though there were some."""
    removed = remove_old(yard, query, before_ms, bounds, behind)
    if bounds.passed.count and not removed.count:
        raise Unavailable(f"{bounds.passed.count} jobs could not be removed", remedy="the log says why; try again")
    return removed


def _remove(yard: Yard, job: Job) -> bool | Exception:
    try:
        return remove_seen(yard, job)
    except Exception as error:  # the others shall be removed all the same
        logger.exception("passed over", extra={"item": f"job {job.id}", "error": str(error)})
        return error


def remove_expired(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Remove jobs, tasks and messages alike, that were done longer ago than the settings keep them."""
    started_ms = yard.now_ms()
    in_time = lambda: enough_time() and yard.now_ms() - started_ms < RETENTION_BUDGET_MS  # noqa: E731
    bounds = Bounds(EXPIRED_MAX, in_time, passed or PassedOver())
    removed = 0
    for kind, index_keys, keep_s in _retentions(yard.settings):
        if keep_s and bounds.going_on():
            removed += _remove_expired(yard, JobQuery(kind, index_keys=index_keys), started_ms - keep_s * 1_000, bounds)
    return removed


def _retentions(settings: Settings) -> list[tuple[Kind, tuple[str, ...], int]]:
    """What is kept for how long, in seconds; 0: for ever. A dead letter that nobody replayed is of a message."""
    failed_s, failed = settings.retention_failed_s, index_keys_of(State.FAILED, State.CANCELED)
    return [
        *((kind, index_keys_of(State.SUCCESS), settings.retention_completed_s) for kind in Kind),
        (Kind.TASK, failed, failed_s),
        (Kind.MESSAGE, tuple(index_key for index_key in failed if index_key not in UNREPLAYED), failed_s),
        (Kind.MESSAGE, UNREPLAYED, settings.retention_unreplayed_s),
    ]


def _remove_expired(yard: Yard, query: JobQuery, before_ms: int, bounds: Bounds) -> int:
    """Remove what expired of one list.

    Where jobs that waited long before they ran stand first, a walk from the oldest meets only them, in every run
    anew; then another walk begins elsewhere, at a place that is different in each run.
    """
    found = remove_old(yard, query, before_ms, bounds)
    if found.place is None or found.count >= bounds.most or not bounds.going_on():
        return found.count
    start_ms, run = int(found.place.partition("-")[0]), yard.now_ms() // MINUTE_MS
    elsewhere_ms = start_ms + int((before_ms - start_ms) * (run * GOLDEN_SHARE % 1))
    return found.count + remove_old(yard, query, before_ms, bounds, f"{elsewhere_ms:013d}-").count

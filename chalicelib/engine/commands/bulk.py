"""Acts in bulk: the same for every job that matches a filter, or is named, in bounded steps by whoever calls.

    start   the filter, the act and the time are remembered; what matched then is the set: who was made since, or came
            into one of the states since, is not in it. Of jobs that are named, those that suit are remembered
    step    take      the next hundred that match are named in the act itself, by one conditional write; where a batch
                      is left of a step that died, that one is taken
            act       each job by itself, by its own state
            note      what became of them, in one transaction with the counts, unless another has taken a step since
    end     when none is left; or by request

A step may die between any two calls to AWS: the next one does the batch again, and what is so already counts as done,
once. Who is slow and is overtaken (after 30 s) may have acted, but counts nothing. The page that shows it makes the
steps; the clock does where nobody has for 30 s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeAlias

from chalicelib.actor import acting
from chalicelib.aws import threads
from chalicelib.core.bulk import STATES_OF, BulkAct, BulkState, Result, belongs, is_so_already
from chalicelib.core.errors import Full, NotFound, TaskyardError, Unavailable
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.job_filters import JobFilters, query_of
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.sweeping import always
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.bulk_acts import BulkItem
from chalicelib.store.job_lists import WINDOW
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.ledger import REPLAYED, JobRefused

BATCH = 100  # jobs of a step
NAMED_MAX = 1_000  # their ids are written with each step
STEP_MAX_MS = 5_000  # from when on a step takes no other job
LEASE_MS = 30_000  # how long a step may take before another does its batch again
RUNNING_MAX = 20  # acts at a time
SAMPLE = 20
FAILURES_IN_A_ROW = 3  # of AWS, until a step leaves the rest to the next
PARALLEL_READS = 8
NO_FILTERS = JobFilters().to_text()
AWAY = (*AWS_FAILURES, Unavailable)

_Do = Callable[[Yard, Job], object]
_DO: dict[BulkAct, _Do] = {
    BulkAct.CANCEL: lambda yard, job: lifecycle.cancel(yard, job.id, job.kind),
    BulkAct.RETRY: lambda yard, job: lifecycle.retry(yard, job.id, job.kind),
    BulkAct.PROMOTE: lambda yard, job: lifecycle.promote(yard, job.id, job.kind),
    BulkAct.REPLAY: lambda yard, job: lifecycle.replay(yard, job.id, job.kind),
    BulkAct.DELETE: lambda yard, job: lifecycle.delete(yard, job.id, job.kind),
}


@dataclass(frozen=True, slots=True)
class Named:
    """Jobs that are chosen one by one, by their ids; at most ``NAMED_MAX``."""

    ids: tuple[int, ...]


JobSet: TypeAlias = JobFilters | Named


@dataclass(frozen=True, slots=True)
class Preview:
    """What an act would be done to: how many of which type, and the newest of them. ``exact``: not more than told.

    ``unsuited``: how many that are named are in no state that it is for, or are gone.
    """

    by_type: Counter[tuple[Kind, str]]
    exact: bool
    sample: list[Job]
    unsuited: int = 0

    @property
    def matches(self) -> int:
        """How many in all."""
        return sum(self.by_type.values())


def preview(yard: Yard, act: BulkAct, wanted: JobSet) -> Preview:
    """What ``act`` would be done to now. Of more than 10,000 jobs, so many are counted, or looked at."""
    if isinstance(wanted, Named):
        return _preview_of_named(wanted, _suited(yard, act, wanted, yard.now_ms()))
    query = _query(yard, act, wanted)
    by_type, exact = _counted(yard, query)
    return Preview(by_type, exact, yard.lists.cursor_page(query, SAMPLE).jobs)


def start(yard: Yard, act: BulkAct, wanted: JobSet, by: str) -> BulkItem:
    """Begin an act on what matches, or suits, now. Raises ``Full`` where twenty are running."""
    if len(yard.bulk_acts.running()) >= RUNNING_MAX:
        raise Full(f"{RUNNING_MAX} acts in bulk are running", remedy="wait until one is done, or stop one")
    now_ms = yard.now_ms()
    bulk_id = f"{now_ms:013d}-{yard.token()}"
    common: dict[str, Any] = {"id": bulk_id, "act": act, "by": by, "started_at_ms": now_ms, "stepped_at_ms": now_ms}
    if isinstance(wanted, Named):
        batch = tuple(job.id for job in _suited(yard, act, wanted, now_ms))
        named = len(set(wanted.ids))
        bulk = BulkItem(filters=NO_FILTERS, matched=len(batch), batch=batch, place=None, named=named, **common)
    else:
        found = preview(yard, act, wanted)
        bulk = BulkItem(filters=wanted.to_text(), matched=found.matches if found.exact else None, **common)
    yard.bulk_acts.start(bulk)
    return bulk


def find(yard: Yard, bulk_id: str) -> BulkItem:
    """The act with an id. Raises ``NotFound``."""
    bulk = yard.bulk_acts.find(bulk_id)
    if bulk is None:
        raise NotFound("there is no such act in bulk", field="id", got=bulk_id)
    return bulk


def stop(yard: Yard, bulk_id: str) -> BulkItem:
    """Do no more of it; the step that somebody is at is made to its end. One that has ended stays as it is."""
    bulk = find(yard, bulk_id)
    return find(yard, bulk_id) if yard.bulk_acts.end(bulk, BulkState.STOPPED, yard.now_ms()) else bulk


def step(yard: Yard, bulk_id: str, enough_time: Callable[[], bool] = always) -> BulkItem:
    """Do the next of it: at most a hundred jobs, and none more after 5 s; returns how it then stands.

    Nothing where it has ended, or somebody else is at it. Raises ``NotFound``, and what AWS raises where it does not
    answer: what was done till then is noted, or is found done by the next step.
    """
    seen = find(yard, bulk_id)
    now_ms = yard.now_ms()
    if seen.state is not BulkState.RUNNING or seen.leased_until_ms > now_ms:
        return seen
    taken = yard.bulk_acts.take(seen if seen.batch else _listed(yard, seen), now_ms, now_ms + LEASE_MS)
    if taken is None:
        return find(yard, bulk_id)
    until_ms = now_ms + STEP_MAX_MS
    with acting(taken.by):
        results, away = _done(yard, taken, lambda: yard.now_ms() < until_ms and enough_time())
    noted = yard.bulk_acts.note(taken, results, yard.now_ms())
    if away is not None:
        raise away
    if noted is not None and not noted.has_more:
        yard.bulk_acts.end(noted, BulkState.DONE, yard.now_ms())
    return find(yard, bulk_id)


def _suited(yard: Yard, act: BulkAct, wanted: Named, now_ms: int) -> list[Job]:
    """Those of the named jobs that ``act`` can be done to, in the order in which they are named."""
    found = {job.id: job for job in yard.jobs.find_many(list(wanted.ids))}
    there = (found[job_id] for job_id in dict.fromkeys(wanted.ids) if job_id in found)
    return [job for job in there if belongs(act, job, now_ms)]


def _preview_of_named(wanted: Named, suited: list[Job]) -> Preview:
    by_type = Counter((job.kind, job.type) for job in suited)
    newest = sorted(suited, key=lambda job: job.id, reverse=True)
    return Preview(by_type, True, newest[:SAMPLE], len(set(wanted.ids)) - len(suited))


def _query(yard: Yard, act: BulkAct, wanted: JobFilters) -> JobQuery:
    """What ``act`` can be done to of what is wanted. Raises ``InvalidInput`` as ``query_of`` does."""
    suited = [state.value for state in STATES_OF[act]] + ([REPLAYED] if act is BulkAct.DELETE else [])
    query = query_of(yard, wanted)
    return replace(query, index_keys=tuple(key for key in query.index_keys if key in suited))


def _counted(yard: Yard, query: JobQuery) -> tuple[Counter[tuple[Kind, str]], bool]:
    """How many jobs of each type a list has, and whether that is all: by the indexes, or by looking at them."""
    if query.matches is not None or query.words or query.trace_id is not None or query.target_id is not None:
        found = list(islice((job for _, job in yard.lists.walk(query)), WINDOW + 1))
        return Counter((job.kind, job.type) for job in found[:WINDOW] if job is not None), len(found) <= WINDOW
    types = [
        (kind, name)
        for kind in query.kinds
        for name in ([query.type] if query.type is not None else yard.job_types.of(kind, most=None))
    ]
    with threads(PARALLEL_READS) as readers:
        each = [replace(query, kind=kind, type=name) for kind, name in types]
        counts = list(readers.map(yard.lists.count, each))
    counted = Counter({key: min(count, WINDOW) for key, count in zip(types, counts, strict=True) if count})
    return counted, max(counts, default=0) <= WINDOW


def _listed(yard: Yard, bulk: BulkItem) -> BulkItem:
    """The act with its next batch; where that is empty, the list may go on all the same."""
    query = _query(yard, bulk.act, JobFilters.from_text(bulk.filters))
    if bulk.place is None or not query.index_keys:
        return replace(bulk, batch=(), place=None)
    newest_ms = bulk.started_at_ms - 1
    until_ms = newest_ms if query.until_ms is None else min(query.until_ms, newest_ms)
    oldest_first = replace(query, until_ms=until_ms, descending=False)
    page = yard.lists.cursor_page(oldest_first, BATCH, bulk.place or None)
    batch = tuple(job.id for job in page.jobs if belongs(bulk.act, job, bulk.started_at_ms))
    return replace(bulk, batch=batch, place=page.next)


def _done(yard: Yard, bulk: BulkItem, enough_time: Callable[[], bool]) -> tuple[list[Result], Exception | None]:
    """What became of the first jobs of a batch: of all, unless there is not ``enough_time``, or AWS does not answer.

    Where it does not for three in a row, those are left to the next step, and the last failure is returned.
    """
    results: list[Result] = []
    in_a_row = 0
    for job_id, job in _read(yard, bulk.batch[:BATCH]):
        try:
            results.append(_tried_twice(yard, bulk, job_id, job))
            in_a_row = 0
        except AWAY as error:
            logger.warning("an act on a job failed", extra={"job_id": job_id, "act": bulk.act, "error": str(error)})
            results.append(Result(job_id, "AWS did not answer: it may be done, or not"))
            in_a_row += 1
            if in_a_row == FAILURES_IN_A_ROW:
                return results[:-FAILURES_IN_A_ROW], error
        if not enough_time():
            break
    return results, None


def _read(yard: Yard, ids: Sequence[int]) -> Iterator[tuple[int, Job | None]]:
    """The jobs of a batch, in its order, as of now; ``None`` for what there is no more, or cannot be read."""
    found = {job.id: job for job in yard.jobs.find_many(list(ids))}
    return ((job_id, found.get(job_id)) for job_id in ids)


def _tried_twice(yard: Yard, bulk: BulkItem, job_id: int, job: Job | None) -> Result:
    """What became of a job, where AWS did not answer by a second try, which meets what the first may have done."""
    try:
        return _result(yard, bulk, job_id, job)
    except AWAY:
        return _result(yard, bulk, job_id, next(_read(yard, [job_id]))[1])


def _result(yard: Yard, bulk: BulkItem, job_id: int, job: Job | None) -> Result:
    if job is None or not belongs(bulk.act, job, bulk.started_at_ms):
        return Result(job_id, None if is_so_already(bulk.act, job, yard.now_ms()) else _changed(job))
    try:
        _DO[bulk.act](yard, job)
    except AWAY:
        raise
    except TaskyardError as error:
        return Result(job_id, str(error))
    except JobRefused:
        return Result(job_id, "it keeps changing")
    return Result(job_id)


def _changed(job: Job | None) -> str:
    if job is None:
        return "it is gone"
    now = "replayed" if job.replayed_at_ms is not None else job.state.value
    return f"it has changed since the act began: it is {now} now"

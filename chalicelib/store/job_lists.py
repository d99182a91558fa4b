"""Lists of jobs, newest first, from the ledger's indexes. The key layout is at the head of ``store/jobs.py``.

A list merges one index stream per label and shard. Its page costs what the page shows, whatever the ledger
holds; what no index can answer (a filter on another field, another order) looks at the newest 10,000 jobs only,
and the page says so.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.store.jobs import REPLAYED, JobStore
from chalicelib.store.table import Table, chunks

WINDOW = 10_000  # what is counted exactly, and what an unindexed filter looks at
READ_CHUNK = 100
PARALLEL_READS = 8
LABELS = (*(state.value for state in State), REPLAYED)
FIRST_POSITION = "0"
LAST_POSITION = "9"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs: of a kind, perhaps of one type, under some labels, created in a span (``position`` strings).

    ``matches`` is a filter that no index answers; ``order`` another order than newest first, as a sort key.
    """

    kind: Kind
    type: str | None = None
    labels: tuple[str, ...] = LABELS
    since_ms: int | None = None
    until_ms: int | None = None
    matches: Callable[[Job], bool] | None = None
    order: Callable[[Job], Any] | None = None
    descending: bool = True


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page; ``total`` counts all that match, ``exact`` is false where only the newest 10,000 were looked at."""

    jobs: list[Job]
    total: int
    exact: bool


@dataclass(frozen=True, slots=True)
class JobLists:
    """The lists of the ledger."""

    table: Table
    jobs: JobStore

    def page(self, wanted: Wanted, offset: int, limit: int) -> JobPage:
        """The jobs ``offset`` to ``offset + limit`` of a list."""
        if wanted.matches is not None or wanted.order is not None:
            return self._searched(wanted, offset, limit)
        ids = list(islice(self.ids(wanted, offset + limit), offset, offset + limit))
        total = self.count(wanted)
        return JobPage(self._current(wanted, ids), total, total < WINDOW)

    def ids(self, wanted: Wanted, page_size: int = READ_CHUNK) -> Iterator[int]:
        """The ids of a list, read as they are consumed, in pages of at most ``page_size``."""
        size = max(1, min(page_size, 1_000))
        streams = [self._stream(index, key, wanted, size) for index, key in self._partitions(wanted)]
        merged = heapq.merge(*streams, reverse=True) if wanted.descending else heapq.merge(*streams)
        return (job_id for _, job_id in merged)

    def count(self, wanted: Wanted) -> int:
        """How many jobs the list has, counted up to 10,000."""
        with ThreadPoolExecutor(PARALLEL_READS) as readers:
            counts = readers.map(lambda partition: self._count(partition, wanted), self._partitions(wanted))
        return min(sum(counts), WINDOW)

    def with_trace(self, trace_id: str) -> list[int]:
        """The ids of the jobs that were published with a trace id of the client's, oldest first."""
        rows = self.table.query_all("{trace_key} = :trace", {":trace": trace_id}, index="by_trace")
        return [row["job"] for row in rows]

    def due(self, shard: int, now_ms: int) -> Iterator[int]:
        """The ids of one shard's jobs whose wake-up call has come, the longest overdue first."""
        rows = self.table.query_all(
            "{wake_key} = :key AND {wake_at_ms} <= :now", {":key": f"due#{shard}", ":now": now_ms}, index="due"
        )
        return (row["job"] for row in rows)

    def _searched(self, wanted: Wanted, offset: int, limit: int) -> JobPage:
        """A page of what no index answers: filter and sort the newest 10,000."""
        newest = Wanted(wanted.kind, wanted.type, wanted.labels, wanted.since_ms, wanted.until_ms)
        ids = list(islice(self.ids(newest, 1_000), WINDOW))
        found = [job for chunk in chunks(ids, READ_CHUNK) for job in self._current(wanted, chunk)]
        matching = [job for job in found if wanted.matches is None or wanted.matches(job)]
        if wanted.order is not None:
            matching.sort(key=wanted.order, reverse=wanted.descending)
        elif not wanted.descending:
            matching.reverse()
        return JobPage(matching[offset : offset + limit], len(matching), len(ids) < WINDOW)

    def _current(self, wanted: Wanted, ids: Sequence[int]) -> list[Job]:
        """The jobs as of now; one that has left the wanted labels since the index was written is left out."""
        return [job for job in self.jobs.find_many(ids) if label_of(job) in wanted.labels]

    def _partitions(self, wanted: Wanted) -> list[tuple[str, str]]:
        """The index and the partition key of every stream that the list merges; none for an empty span."""
        if wanted.since_ms is not None and wanted.until_ms is not None and wanted.since_ms > wanted.until_ms:
            return []
        shards = range(self.jobs.shards)
        if wanted.type is None:
            return [("by_state", f"{wanted.kind}#{label}#{shard}") for label in wanted.labels for shard in shards]
        return [
            ("by_type", f"{wanted.kind}#{wanted.type}#{label}#{shard}") for label in wanted.labels for shard in shards
        ]

    def _stream(self, index: str, key: str, wanted: Wanted, size: int) -> Iterator[tuple[str, int]]:
        condition, values = _range(index, key, wanted)
        after: dict[str, Any] | None = None
        while True:
            rows, after = self.table.query(
                condition, values, index=index, ascending=not wanted.descending, limit=size, after=after
            )
            yield from ((row["position"], row["job"]) for row in rows)
            if after is None:
                return

    def _count(self, partition: tuple[str, str], wanted: Wanted) -> int:
        index, key = partition
        condition, values = _range(index, key, wanted)
        return self.table.count(condition, values, index=index, enough=WINDOW)


def label_of(job: Job) -> str:
    """Under which label the indexes hold a job."""
    return REPLAYED if job.state is State.FAILED and job.replayed_at_ms is not None else job.state.value


def labels_of(*states: State) -> tuple[str, ...]:
    """The labels of some states: a failed job may have been replayed."""
    return (*(state.value for state in states), *((REPLAYED,) if State.FAILED in states else ()))


def _range(index: str, key: str, wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """The key condition of one stream, and its values."""
    attribute = "state_key" if index == "by_state" else "type_key"
    since = FIRST_POSITION if wanted.since_ms is None else f"{wanted.since_ms:013d}-"
    until = LAST_POSITION if wanted.until_ms is None else f"{wanted.until_ms:013d}-{LAST_POSITION}"
    return (
        f"{{{attribute}}} = :key AND {{position}} BETWEEN :since AND :until",
        {":key": key, ":since": since, ":until": until},
    )

"""Lists of jobs, newest first, from the ledger's indexes.

Which jobs a list has, ``job_queries.py`` says. There are two ways through it:

    page(offset)   counts the list and skips ``offset`` entries: what is published meanwhile moves the pages on
    cursor_page()  goes on behind the position where an answer ended: reads what it shows, however deep, counts nothing

What no index can answer (a filter on another field, another order) looks at 10,000 jobs at most, and says so. In
another order, too, a place is that of the job shown last: who goes on there neither misses nor sees again what stayed.
Indexes lag behind the ledger by a moment, so every job is read as of now, and one that has left the list since the
index was written gives its room to the next.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from typing import Protocol

from chalicelib.aws import threads
from chalicelib.core.ids import job_id_in
from chalicelib.core.job import Job, Story
from chalicelib.core.states import Kind
from chalicelib.store.job_items import position_of
from chalicelib.store.job_queries import JobQuery, Position, Stream, merged, span_of, streams_of
from chalicelib.store.job_streams import PARALLEL_READS, reading
from chalicelib.store.jobs import JobStore
from chalicelib.store.ledger import ASIDE
from chalicelib.store.search import ENTRIES_MAX, UNSEEN, Row, SearchIndex
from chalicelib.store.table import Table, chunks

WINDOW = 10_000  # what is counted exactly, and what an unindexed filter looks at
TRACE_MAX_JOBS = 1_000  # of one trace id, what is found at once
READ_CHUNK = 100
PER_PAGE_MAX = 100  # entries that a client gets at once
OFFSET_MAX = 100_000  # entries that a page number may pass over: all of them are read
STREAM_CHUNK_MAX = 1_000
TYPES_MAX = 16  # that a page over all types reads, whatever the counters say of them
ROWS_AT_ONCE = 40_000  # of the first pages of all streams
_Rank = tuple[str, str]  # what a job is sorted by, then its position


@dataclass(frozen=True, slots=True)
class CursorPage:
    """Some consecutive jobs of a list, and where it goes on; ``None`` at its end.

    ``looked``: how many entries were looked at for a filter or an order that no index answers. ``complete`` is false
    where those were the 10,000 that are looked at, and there are more.
    """

    jobs: list[Job]
    next: Position | None
    looked: int | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page; ``total`` counts all that match, ``exact`` is false where only the newest 10,000 were looked at."""

    jobs: list[Job]
    total: int
    exact: bool
    next: Position | None = None


class TypesKnown(Protocol):
    """Which types of jobs there are."""

    def of(self, kind: Kind, *, most: int | None) -> Sequence[str]:
        """All; where they are more than ``most``, those of which the counters do not say that nothing is on its way."""


@dataclass(frozen=True, slots=True)
class JobLists:
    """The lists of the ledger."""

    table: Table
    jobs: JobStore
    search: SearchIndex
    types: TypesKnown

    # -- pages --------------------------------------------------------------------------------

    def page(self, query: JobQuery, offset: int, limit: int) -> JobPage:
        """The jobs ``offset`` to ``offset + limit`` of a list, and how many it has."""
        if not query.indexed:
            found, unseen, _ = self._searched(query)
            cut = _cut(query, found[offset:], limit, unseen)
            return JobPage(cut.jobs, len(found), unseen is None, cut.next)
        if query.words:
            return self._page_found(query, offset, limit)
        streams, lengths = self._opened(query, None, offset + limit + 1)
        with threads(1) as beside:
            counting = beside.submit(self._total, lengths)
            filled = self._filled(query, islice(merged(streams, query), offset, None), limit)
            total = counting.result()
        return JobPage(filled.jobs, min(total, WINDOW), total <= WINDOW, filled.next)

    def cursor_page(self, query: JobQuery, limit: int, position: Position | None = None) -> CursorPage:
        """At most ``limit`` jobs from a list's beginning, or behind a place that an answer for the same list named.

        The number of requests depends on the list's labels and shards alone, not on how deep the place is. With a
        filter that no index answers, fewer than ``limit`` may be found among the 10,000 that are looked at, and the
        list still goes on.
        """
        if query.order is None:
            page = self._filled(query, self._read(query, position, limit + 2), limit)
            return replace(page, looked=None) if query.indexed else page
        found, unseen, looked = self._searched(query)
        if position is not None:
            behind = _rank_at(position)
            found = [entry for entry in found if (entry[0] < behind if query.descending else entry[0] > behind)]
        return replace(_cut(query, found, limit, unseen), looked=looked, complete=unseen is None)

    def part(self, query: JobQuery, offset: int, limit: int) -> list[Job]:
        """The jobs ``offset`` to ``offset + limit`` of a list by age, which is not counted.

        With a filter that no index answers, of the first 10,000.
        """
        rows = self._read(query, None, offset + limit + 1)
        if query.indexed:
            return self._filled(query, islice(rows, offset, None), limit).jobs
        return self._filled(query, rows, offset + limit).jobs[offset:]

    def walk(
        self, query: JobQuery, behind: str | None = None, chunk: int = READ_CHUNK
    ) -> Iterator[tuple[str, Job | None]]:
        """Every position of a list in turn, with its job, or ``None`` where that has left the list.

        Records are read ``chunk`` at a time (1 to 100), as they are consumed.
        """
        rows = self._read(query, behind, chunk + 2)
        while found := list(islice(rows, chunk)):
            yield from self._current(query, found)

    def stories(
        self, query: JobQuery, behind: str | None = None, chunk: int = READ_CHUNK
    ) -> Iterator[tuple[str, Story | None]]:
        """As ``walk``, with stories in place of jobs; ``query.index_keys`` may be ``STORY_INDEX_KEYS``.

        What has left the list meanwhile is told, too: what a story says does not depend on where it is listed.
        """
        rows = self._read(query, behind, chunk + 2)
        while found := list(islice(rows, chunk)):
            by_id = {story.id: story for story in self.jobs.stories([job_id for _, job_id in found])}
            yield from ((position, by_id.get(job_id)) for position, job_id in found)

    def ids(self, query: JobQuery, page_size: int = READ_CHUNK, types_most: int | None = None) -> Iterator[int]:
        """The ids of a list without ``words``, read as they are consumed, in pages of at most ``page_size``.

        Of all types every one is looked at, however many they are; with ``types_most`` as for a page.
        """
        size = max(1, min(page_size, STREAM_CHUNK_MAX))
        streams = list(dict.fromkeys(chain.from_iterable(self._stages(query, types_most))))
        with reading(self.table) as reader:
            begun = reader.begun(streams, query, size)
        return (job_id for _, job_id in merged([chain(first, others) for first, others in begun], query))

    def count(self, query: JobQuery) -> int:
        """How many jobs the indexes show of a list; 10,001 for more than 10,000."""
        return self._total(dict.fromkeys(chain.from_iterable(self._stages(query, TYPES_MAX))))

    def counts(self, query: JobQuery, enough: int) -> Counter[str]:
        """How many jobs a list has under each index key; counting ends beyond ``enough`` a partition."""
        streams = list(dict.fromkeys(chain.from_iterable(self._stages(query, None))))
        found: Counter[str] = Counter()
        with reading(self.table) as reader:
            for stream, length in zip(streams, reader.lengths(streams, enough + 1), strict=True):
                found[stream.index_key] += length
        return found

    def _total(self, lengths: Mapping[Stream, int | None]) -> int:
        """The sum of the lengths of streams, those counted that are ``None``; 10,001 for more than 10,000."""
        with reading(self.table) as reader:
            return reader.total(lengths, WINDOW)

    # -- other finds --------------------------------------------------------------------------

    def with_trace(self, trace_id: str) -> list[int]:
        """The ids of the first 1,000 jobs that were published with a trace id of the client's, oldest first.

        Those of deleted messages are among them for as long as their tombstones stand.
        """
        rows = self.table.query_all("{trace_key} = :trace", {":trace": trace_id}, index="by_trace")
        return [row["job"] for row in islice(rows, TRACE_MAX_JOBS)]

    def due(self, now_ms: int) -> Iterator[int]:
        """The ids of the jobs whose wake-up call has come, the longest overdue first, whatever shard they are in."""
        shards = (self._woken(f"due#{shard}", now_ms) for shard in range(self.jobs.shards))
        return (job_id for _, job_id in heapq.merge(*shards))

    def due_again(self, now_ms: int) -> Iterator[int]:
        """The same of the jobs that were set aside."""
        return (job_id for _, job_id in self._woken(ASIDE, now_ms))

    def _woken(self, key: str, now_ms: int) -> Iterator[tuple[int, int]]:
        """When the jobs under a key of the index were to be woken, and their ids."""
        rows = self.table.query_all(
            "{wake_key} = :key AND {wake_at_ms} <= :now", {":key": key, ":now": now_ms}, index="due"
        )
        return ((row["wake_at_ms"], row["job"]) for row in rows)

    # -- steps --------------------------------------------------------------------------------

    def _page_found(self, query: JobQuery, offset: int, limit: int) -> JobPage:
        """A page of what words alone find, all of which is read to be counted: 10,000 entries at most."""
        rows = list(self._read(query, None, ENTRIES_MAX))
        total = sum(job_id != UNSEEN for _, job_id in rows)
        filled = self._filled(query, iter(rows[offset:]), limit)
        return JobPage(filled.jobs, total, total == len(rows), filled.next)

    def _filled(self, query: JobQuery, rows: Iterator[Row], limit: int) -> CursorPage:
        """The first ``limit`` jobs of ``rows`` that belong to the list; looks at 10,000 rows at most."""
        jobs: list[Job] = []
        position: str | None = None
        looked = 0
        while len(jobs) < limit and looked < WINDOW:
            chunk = list(islice(rows, limit - len(jobs) if query.indexed else READ_CHUNK))
            if not chunk:
                return CursorPage(jobs, None, looked)
            looked += len(chunk)
            found = [(position, job) for position, job in self._current(query, chunk) if job is not None]
            chosen = found[: limit - len(jobs)]
            jobs += [job for _, job in chosen]
            if len(chosen) < len(found):
                return CursorPage(jobs, chosen[-1][0], looked)
            position = chunk[-1][0]
            if chunk[-1][1] == UNSEEN:
                return CursorPage(jobs, position, looked, complete=False)
        goes_on = next(rows, None) is not None
        return CursorPage(jobs, position if goes_on else None, looked, len(jobs) >= limit or not goes_on)

    def _searched(self, query: JobQuery) -> tuple[list[tuple[_Rank, Job]], str | None, int]:
        """What no index answers, filtered and in order: of the newest 10,000, and the position that ends those.

        And how many were looked at.
        """
        newest = replace(query, descending=True)
        rows = list(islice(self._read(newest, None, STREAM_CHUNK_MAX), WINDOW + 1))
        key = (lambda _: "") if query.order is None else query.order.key
        with threads(PARALLEL_READS) as readers:
            read = readers.map(partial(self._current, query), chunks(rows[:WINDOW], READ_CHUNK))
            found = [((key(job), position), job) for some in read for position, job in some if job is not None]
        found.sort(key=itemgetter(0), reverse=query.descending)
        goes_on = len(rows) > WINDOW or UNSEEN in (job_id for _, job_id in rows[-1:])
        return found, rows[:WINDOW][-1][0] if goes_on else None, min(len(rows), WINDOW)

    def _current(self, query: JobQuery, rows: Sequence[Row]) -> list[tuple[str, Job | None]]:
        """The rows with their jobs as of now, ``None`` for those that do not belong to the list (any more)."""
        found = {job.id: job for job in self.jobs.find_many([job_id for _, job_id in rows if job_id != UNSEEN])}
        return [
            (position, job if (job := found.get(job_id)) is not None and query.includes(job) else None)
            for position, job_id in rows
        ]

    def _read(self, query: JobQuery, behind: str | None, rows: int) -> Iterator[Row]:
        """The list's rows behind a position, once each; ``rows`` of them need no second look at any stream."""
        if query.words:
            return self._read_found(query, behind, rows)
        streams, _ = self._opened(query, behind, rows)
        return merged(streams, query, behind)

    def _opened(
        self, query: JobQuery, behind: str | None, rows: int
    ) -> tuple[list[Iterable[Row]], dict[Stream, int | None]]:
        """The rows of each stream, and how long those are that a first page holds whole; ``None``: not known."""
        streams: list[Iterable[Row]] = [self._own(query, behind)] if query.trace_id is not None else []
        lengths: dict[Stream, int | None] = {}
        with reading(self.table) as reader:
            for stage in self._stages(query, TYPES_MAX, behind):
                size = max(1, min(rows, STREAM_CHUNK_MAX, max(READ_CHUNK, ROWS_AT_ONCE // len(stage))))
                for stream, (first, others) in zip(stage, reader.begun(stage, query, size), strict=True):
                    # A second look adds what has come; going on is left to the first.
                    streams.append(first if stream in lengths else chain(first, others))
                    lengths.setdefault(stream, len(first) if stream.ends_within(size, len(first)) else None)
        return streams, lengths

    def _stages(self, query: JobQuery, types_most: int | None, behind: str | None = None) -> Iterator[list[Stream]]:
        """The streams that the list merges, in the order in which they are to be read; none for an empty span."""
        types: Mapping[Kind, Sequence[str]] = dict.fromkeys(query.kinds, () if query.type is None else (query.type,))
        if query.merges_types:
            types = {kind: self.types.of(kind, most=types_most) for kind in query.kinds}
        return filter(None, streams_of(query, types, self.jobs.shards, behind))

    def _read_found(self, query: JobQuery, behind: str | None, rows: int) -> Iterator[Row]:
        since, until = span_of(query, behind)
        first, last = (until, since) if query.descending else (since, until)
        found = self.search.find(query.words, first, last, rows, descending=query.descending)
        return (row for row in found if row[0] != behind)

    def _own(self, query: JobQuery, behind: str | None) -> list[Row]:
        """The job that a trace id made here names; the index does not hold it."""
        job_id = job_id_in(query.trace_id or "")
        job = self.jobs.find(job_id) if job_id is not None else None
        if job is None or job.trace_id != query.trace_id:
            return []
        since, until = span_of(query, behind)
        return [(position_of(job), job.id)] if since <= position_of(job) <= until else []


def _cut(query: JobQuery, found: Sequence[tuple[_Rank, Job]], limit: int, unseen: str | None) -> CursorPage:
    """The first ``limit`` of what was found; by age, a list goes on behind what was looked at."""
    jobs = [job for _, job in found[:limit]]
    if len(found) > limit:
        order, position = found[limit - 1][0]
        return CursorPage(jobs, position if query.order is None else f"{position}/{order}")
    return CursorPage(jobs, unseen if query.order is None and query.descending else None)


def _rank_at(position: Position) -> _Rank:
    position, _, order = position.partition("/")
    return order, position

"""Reading the index partitions that a list merges: many at once, by pages, or only how long they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain

from chalicelib.aws import threads
from chalicelib.store.job_queries import JobQuery, Stream
from chalicelib.store.search import Row
from chalicelib.store.table import Table

PARALLEL_READS = 12  # of the 32 connections that a client keeps


@contextmanager
def reading(table: Table) -> Iterator[StreamReader]:
    """A reader of streams, and the end of its threads."""
    with threads(PARALLEL_READS) as readers:
        yield StreamReader(table, readers)


@dataclass(frozen=True, slots=True)
class StreamReader:
    """Reads streams of the ledger's indexes, with the threads of ``readers``."""

    table: Table
    readers: Executor

    def begun(self, streams: Sequence[Stream], query: JobQuery, size: int) -> list[tuple[list[Row], Iterator[Row]]]:
        """The first page of each stream, all read at once, and what is behind it, read as it is consumed.

        ``size``: how many entries a page has at most.
        """
        pages = [self._pages(stream, query, size) for stream in streams]
        first_pages = self.readers.map(next, pages)
        return [(first, chain.from_iterable(others)) for first, others in zip(first_pages, pages, strict=True)]

    def lengths(self, streams: Sequence[Stream], enough: int) -> list[int]:
        """How many entries each stream has, all counted at once; ``enough`` for that many or more."""
        return list(self.readers.map(partial(self._length, enough=enough), streams))

    def total(self, lengths: Mapping[Stream, int | None], most: int) -> int:
        """The sum of the lengths of streams, those counted that are ``None``; ``most + 1`` for more than ``most``.

        The partitions share out what is to be counted, so that a long list costs no more than ``most`` entries and
        what the first rounds saw of them.
        """
        uncounted = [stream for stream, length in lengths.items() if length is None]
        total, share = sum(length or 0 for length in lengths.values()), 0
        if total > most:
            return most + 1
        while uncounted:
            share = max(2 * share, -(-(most + 1 - total) // len(uncounted)))
            counts = self.lengths(uncounted, share)
            if total + sum(counts) > most:
                return most + 1
            total += sum(count for count in counts if count < share)
            uncounted = [stream for stream, count in zip(uncounted, counts, strict=True) if count == share]
        return total

    def _pages(self, stream: Stream, query: JobQuery, size: int) -> Iterator[list[Row]]:
        """A stream's rows, page by page as they are consumed."""
        pages = self.table.pages(
            stream.condition, stream.values, index=stream.index, ascending=not query.descending, page_size=size
        )
        return ([(row["position"], row["job"]) for row in page] for page in pages)

    def _length(self, stream: Stream, enough: int) -> int:
        return self.table.count(stream.condition, stream.values, index=stream.index, enough=enough)

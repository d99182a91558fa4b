"""The search index: under each word the tasks that have it. In the table of ``store/insights.py``.

Key layout::

    view                     key          what
    word#<digest>#<shard>    <position>   nothing more: a task's position (``store/ledger.py``) names it
    searched#<shard>         <position>   words: the digests that the task was indexed by, one after the other

A task's shard follows from its id, so that a word that every task has takes 4,000 new tasks a second. The entries of a
task are written before its row ``searched``, and deleted before it: where there is none, there may be entries, and
where there is one, there are all. Writes may be repeated.

A search joins the sorted entries of its words, shard by shard: whichever word has the next one furthest away says where
the others go on, by a query of its own. So a rare word beside a common one costs what the rare one does.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from chalicelib.aws import threads
from chalicelib.store.table import BATCH_WRITE_MAX_ITEMS, Table, chunks

SHARDS = 4  # not to be changed: by it, entries are found
ENTRIES_MAX = 10_000  # that a search looks at, of all its words
PAGE_MIN, PAGE_MAX = 25, 1_000  # entries read at once
PARALLEL = 8  # requests
LOCAL_PARALLEL = 2  # of an emulator, which answers one after the other: so few that others get in between
DIGEST_CHARS = 16
UNSEEN = 0
"""In place of a job's id, as the last of what a search finds: what is behind this position was not looked at."""

Row = tuple[str, int]  # a position and the job's id


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """The entries, by the positions of tasks."""

    table: Table
    parallel: int = PARALLEL  # requests of a write

    # -- writing ------------------------------------------------------------------------------

    def add(self, words_of: Mapping[str, Sequence[str]]) -> None:
        """Index tasks, each by its words; one without words is not indexed.

        Raises ``Unavailable``, or what botocore raises, unless all are written.
        """
        digests = {position: list(dict.fromkeys(map(_digest, words))) for position, words in words_of.items() if words}
        entries = [_entry(digest, position) for position, found in digests.items() for digest in found]
        self._at_once(self.table.put_many, entries)
        self.table.put_many([{**_searched(position), "words": "".join(found)} for position, found in digests.items()])

    def remove(self, positions: Sequence[str]) -> None:
        """Delete every entry of tasks, indexed or not. Raises as ``add`` does."""
        rows = self._rows(positions)
        self._at_once(
            self.table.delete_many, [_entry(digest, row["key"]) for row in rows for digest in _digests_in(row)]
        )
        self.table.delete_many([_searched(row["key"]) for row in rows])

    def _at_once(self, write: Callable[[Sequence[Any]], None], rows: Sequence[Any]) -> None:
        """Write many rows in requests side by side."""
        with threads(self.parallel) as writers:
            for _ in writers.map(write, chunks(rows, BATCH_WRITE_MAX_ITEMS)):
                continue

    def indexed(self, positions: Sequence[str]) -> set[str]:
        """Which of these are indexed, with all their words."""
        return {row["key"] for row in self._rows(positions)}

    def positions(self) -> Iterator[str]:
        """Everything that is indexed."""
        for shard in range(SHARDS):
            rows = self.table.query_all("{view} = :view", {":view": f"searched#{shard}"}, consistent=True)
            yield from (row["key"] for row in rows)

    def _rows(self, positions: Sequence[str]) -> list[dict[str, Any]]:
        return self.table.get_many([_searched(position) for position in positions])

    # -- finding ------------------------------------------------------------------------------

    def find(self, words: Sequence[str], first: str, last: str, rows: int, *, descending: bool) -> Iterator[Row]:
        """The tasks that have all ``words``, from position ``first`` to ``last`` in the list's order, both included.

        Looks at 10,000 entries; a row ``UNSEEN`` ends what was found if there may be more. The first ``rows`` are read
        side by side, the others as they are consumed.
        """
        share = rows // SHARDS + 1
        shards = []
        for shard in range(SHARDS):
            views = [f"word#{_digest(word)}#{shard}" for word in words]
            wanted = share if len(words) == 1 else PAGE_MIN
            shards.append(_joined([_Entries(self.table, view, last, descending, wanted) for view in views], first))
        with threads(SHARDS) as readers:
            begun = list(readers.map(lambda found: list(islice(found, share)), shards))
        found = (chain(rows, others) for rows, others in zip(begun, shards, strict=True))
        for row in heapq.merge(*found, key=itemgetter(0), reverse=descending):
            yield row
            if row[1] == UNSEEN:
                return


@dataclass(slots=True)
class _Entries:
    """The entries of a word in a shard, read as they are sought."""

    table: Table
    view: str
    last: str
    descending: bool
    wanted: int  # how many are read next: twice as many as those before were gone through, 25 to 1,000
    looked_at: int = 0
    _passed: int = 0  # of those read last
    _read: deque[str] = field(default_factory=deque)
    _ended: bool = False

    def seek(self, position: str) -> str | None:
        """The first entry at ``position`` or behind it, ``None`` if there is none. Never goes back."""
        while True:
            while self._read and self._is_before(self._read[0], position):
                self._read.popleft()
                self.looked_at += 1
                self._passed += 1
            if self._read:
                self.wanted = 2 * (self._passed + 1)
                return self._read[0]
            if self._ended or self._is_before(self.last, position):
                return None
            self._fetch(position)

    def _fetch(self, position: str) -> None:
        most = max(PAGE_MIN, min(self.wanted, PAGE_MAX))
        found = self.table.first(
            "{view} = :view AND {key} BETWEEN :low AND :high",
            {":view": self.view, ":low": min(position, self.last), ":high": max(position, self.last)},
            most,
            ascending=not self.descending,
        )
        self._read.extend(row["key"] for row in found)
        self._ended = len(found) < most
        self.wanted = self._passed = 0

    def _is_before(self, position: str, other: str) -> bool:
        return position > other if self.descending else position < other


def _joined(words: Sequence[_Entries], first: str) -> Iterator[Row]:
    """What all words have in a shard, in order; then ``UNSEEN`` if too many entries were looked at."""
    sought = first
    while True:
        seen: list[str] = []
        for word in words:
            found = word.seek(sought)
            if found is None:
                return
            seen.append(sought := found)
        if seen[0] == sought:
            yield sought, job_in(sought)
            sought = _next_to(sought, words[0].descending)
        if sum(word.looked_at for word in words) >= ENTRIES_MAX // SHARDS:
            yield seen[0], UNSEEN
            return


def _next_to(position: str, descending: bool) -> str:
    """The position right behind one."""
    at_ms, _, job_id = position.partition("-")
    return f"{at_ms}-{int(job_id) + (-1 if descending else 1):016d}"


def job_in(position: str) -> int:
    """The id of the job at a position."""
    return int(position.partition("-")[2])


def _entry(digest: str, position: str) -> dict[str, Any]:
    return {"view": f"word#{digest}#{job_in(position) % SHARDS}", "key": position}


def _searched(position: str) -> dict[str, Any]:
    return {"view": f"searched#{job_in(position) % SHARDS}", "key": position}


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()[:DIGEST_CHARS]


def _digests_in(row: Mapping[str, Any]) -> list[str]:
    return ["".join(digest) for digest in zip(*[iter(row["words"])] * DIGEST_CHARS, strict=True)]

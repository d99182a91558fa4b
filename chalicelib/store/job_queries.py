"""Which jobs a list has, and which streams of the ledger's indexes show them (``ledger.py`` has the key layout).

A list merges one index stream per index key and shard; of all types, those of pending and running jobs per type, too;
of both kinds, those of each.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.store.ledger import BY_TYPE_ALONE, DELETED_INDEX_KEYS, REPLAYED
from chalicelib.store.search import Row

PAGE_MAX_BYTES = 1_000_000  # of a query
ENTRY_BYTES = 200  # of an entry of an index beside its partition key, generously
INDEX_KEYS = (*(state.value for state in State), REPLAYED)
STORY_INDEX_KEYS = (*INDEX_KEYS, *DELETED_INDEX_KEYS.values())  # of all messages whose story can be told
# A list over several labels reads them in the order of a job's life, so that one that moves on meanwhile is met
# before or after its move; pending comes again in the end, for what went back there.
LIFE: tuple[tuple[str, ...], ...] = (
    (State.PENDING,),
    (State.RUNNING, State.WAITING),
    (State.SUCCESS, State.FAILED, State.CANCELED),
    (REPLAYED, State.PENDING),
    tuple(DELETED_INDEX_KEYS.values()),
)
FIRST_POSITION = "0"
LAST_POSITION = "9"
KEY_OF = {"by_state": "state_key", "by_type": "type_key", "by_trace": "trace_key", "by_target": "target_id"}

POSITION = re.compile(r"[0-9]{13}-[0-9]{16}")
POSITION_IN_ORDER = re.compile(rf"{POSITION.pattern}/.*", re.DOTALL)

Position = str
"""Behind which job a walk goes on: its position, and in another order ``<position>/<what it is sorted by>``."""


@dataclass(frozen=True, slots=True)
class Order:
    """Another order than by age: by the text that ``key`` makes of a job, and where that is the same, by age."""

    name: str
    key: Callable[[Job], str]


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs: of a kind or both, perhaps of one type, under some labels, created in a span (``position`` strings).

    ``trace_id`` finds those that share it, ``target_id`` those that are about it, ``words`` the tasks that have all of
    them: the index of each answers that alone, and what else is asked for is looked up in the records. ``matches`` is a
    filter that no index answers.
    """

    kind: Kind | None
    type: str | None = None
    index_keys: tuple[str, ...] = INDEX_KEYS
    since_ms: int | None = None
    until_ms: int | None = None
    trace_id: str | None = None
    target_id: str | None = None
    words: tuple[str, ...] = ()
    matches: Callable[[Job], bool] | None = None
    order: Order | None = None
    descending: bool = True

    def includes(self, job: Job) -> bool:
        """Whether a job belongs to the list as it stands."""
        return (
            self.kind in (None, job.kind)
            and self.type in (None, job.type)
            and self.trace_id in (None, job.trace_id)
            and self.target_id in (None, job.target_id)
            and index_key_of(job) in self.index_keys
            and (self.matches is None or self.matches(job))
        )

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds whose lists are merged."""
        return tuple(Kind) if self.kind is None else (self.kind,)

    @property
    def indexed(self) -> bool:
        """Whether the indexes alone say what belongs to the list, and in what order."""
        if self.matches is not None or self.order is not None or self.trace_id is not None:
            return False
        if self.words and self.target_id is not None:
            return False
        by_itself = bool(self.words) or self.target_id is not None
        return not by_itself or (self.type is None and self.index_keys == INDEX_KEYS)

    @property
    def merges_types(self) -> bool:
        """Whether the list is merged from those of all types, as no index holds all types together."""
        has_index = bool(self.words) or self.trace_id is not None or self.target_id is not None
        return self.type is None and not has_index and not BY_TYPE_ALONE.isdisjoint(self.index_keys)

    @property
    def positions(self) -> re.Pattern[str]:
        """The form of the places in the list."""
        return POSITION if self.order is None else POSITION_IN_ORDER


def index_key_of(job: Job) -> str:
    """Under which label the indexes hold a job."""
    return REPLAYED if job.state is State.FAILED and job.replayed_at_ms is not None else job.state.value


def index_keys_of(*states: State) -> tuple[str, ...]:
    """The labels of some states: a failed job may have been replayed."""
    return (*(state.value for state in states), *((REPLAYED,) if State.FAILED in states else ()))


def span_of(query: JobQuery, behind: str | None) -> tuple[str, str]:
    """The first and the last position that belong to the list, or to what is left of it ``behind`` a position."""
    since = FIRST_POSITION if query.since_ms is None else f"{query.since_ms:013d}-"
    until = LAST_POSITION if query.until_ms is None else f"{query.until_ms:013d}-{LAST_POSITION}"
    if behind is None:
        return since, until
    return (since, min(until, behind)) if query.descending else (max(since, behind), until)


def streams_of(
    query: JobQuery, types: Mapping[Kind, Sequence[str]], shards: int, behind: str | None
) -> Iterator[list[Stream]]:
    """The streams that the list merges, in the order in which they are to be read; some stages may have none.

    ``types`` are those that are read one by one, of each of the list's kinds.
    """
    since, until = span_of(query, behind)
    if since > until:  # DynamoDB refuses such a range
        return
    if query.trace_id is not None:
        yield [Stream("by_trace", query.trace_id, since, until)]
        return
    if query.target_id is not None:
        yield [Stream("by_target", query.target_id, since, until)]
        return
    for stage in LIFE if len(query.index_keys) > 1 else (query.index_keys,):
        yield [
            Stream(index, f"{head}#{index_key}#{shard}", since, until)
            for index_key in map(str, stage)
            if index_key in query.index_keys
            for index, head in _heads(query, types, index_key)
            for shard in range(shards)
        ]


def _heads(query: JobQuery, types: Mapping[Kind, Sequence[str]], index_key: str) -> list[tuple[str, str]]:
    """The indexes that show a list's jobs under an index key, each with what its keys begin with."""
    if query.type is None and index_key not in BY_TYPE_ALONE:
        return [("by_state", kind) for kind in query.kinds]
    return [("by_type", f"{kind}#{type_}") for kind in query.kinds for type_ in types[kind]]


def merged(streams: Sequence[Iterable[Row]], query: JobQuery, behind: str | None = None) -> Iterator[Row]:
    """The rows of all streams in the list's order, once each, without the one at ``behind``."""
    last = behind
    for position, job_id in heapq.merge(*streams, reverse=query.descending):
        if position != last:
            yield position, job_id
        last = position


@dataclass(frozen=True, slots=True)
class Stream:
    """One index partition of a list, between two positions (both included)."""

    index: str
    key: str
    since: str
    until: str

    @property
    def condition(self) -> str:
        return f"{{{KEY_OF[self.index]}}} = :key AND {{position}} BETWEEN :since AND :until"

    @property
    def index_key(self) -> str:
        """Of one that shows jobs under an index key, that."""
        return self.key.split("#")[-2]

    def ends_within(self, page_size: int, rows: int) -> bool:
        """Whether a page with ``rows`` of ``page_size`` entries is the whole stream, and not cut off for its bytes."""
        return rows < page_size and page_size * (len(self.key.encode()) + ENTRY_BYTES) < PAGE_MAX_BYTES

    @property
    def values(self) -> dict[str, Any]:
        return {":key": self.key, ":since": self.since, ":until": self.until}

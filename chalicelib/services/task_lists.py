"""Which tasks a list shows, and in what order: the filters and sort keys of fastify-task, for HTTP and Python alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.core.job import Job
from chalicelib.core.search import query_words
from chalicelib.core.states import Kind, State
from chalicelib.engine.job_filters import expect_search, words_asked_for
from chalicelib.engine.projections.search import words_in
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.job_items import position_of
from chalicelib.store.job_lists import JobPage
from chalicelib.store.job_queries import INDEX_KEYS, JobQuery, Order, index_keys_of
from chalicelib.store.payloads import PayloadLost, PayloadUnread

Test = Callable[[Job], bool]

SORT_KEYS: Mapping[str, Callable[[Job], str]] = {
    "id": lambda job: _sortable(job.id),
    "targetId": lambda job: job.target_id or "",
    "targetType": lambda job: job.target_type or "",
    "type": lambda job: job.type,
    "status": lambda job: job.state.value,
    "runnerType": lambda job: job.runner,
    "createdAt": position_of,
    "updatedAt": lambda job: _sortable(job.updated_at_ms),
    "startTime": lambda job: _sortable(job.created_at_ms if job.start_at_ms is None else job.start_at_ms),
    "completedAt": lambda job: _sortable(job.completed_at_ms or 0),
}
NEWEST_FIRST = (("createdAt", True),)


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time in milliseconds since 1970, both ends included; ``None`` is no end."""

    since_ms: int | None = None
    until_ms: int | None = None

    def includes(self, at_ms: int | None) -> bool:
        """Whether a point in time lies in it; none does not."""
        if at_ms is None:
            return False
        return (self.since_ms is None or self.since_ms <= at_ms) and (self.until_ms is None or at_ms <= self.until_ms)


EVER = Span()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilters:
    """Which tasks; all conditions hold together, and ``None`` is no condition."""

    target_id: str | None = None
    target_type: str | None = None
    target_name: str | None = None  # a part of input.name, upper and lower case alike
    type: str | None = None
    status: State | None = None
    runner: str | None = None
    search: str | None = None  # words, all of which are in what core/search.py says of the input
    created: Span = EVER
    completed: Span | None = None  # of what is done


def task_query(yard: Yard, filters: TaskFilters, order: Sequence[tuple[str, bool]] = NEWEST_FIRST) -> JobQuery:
    """The list that ``filters`` describe: what an index answers, and a test for what none does.

    ``order`` is one or more of ``SORT_KEYS``, each with whether the largest comes first; a later one decides where
    those before are the same.
    """
    tests = _tests(yard, filters)
    return JobQuery(
        Kind.TASK,
        filters.type,
        INDEX_KEYS if filters.status is None else index_keys_of(filters.status),
        since_ms=filters.created.since_ms,
        until_ms=filters.created.until_ms,
        target_id=filters.target_id,
        words=() if filters.search is None else words_asked_for(yard, filters.search, "search"),
        matches=(lambda job: all(test(job) for test in tests)) if tests else None,
        order=_order(order),
        descending=order[0][1],
    )


def search_ids(yard: Yard, text: str, limit: int = 1_000) -> list[int]:
    """The ids of the tasks that have every word of ``text``, newest first, at most ``limit``; none for no word.

    Of more than 10,000 index entries, those that were looked at. Raises ``InvalidInput`` where search is off, and for
    more than 32 words.
    """
    expect_search(yard, "search")
    words = query_words(text)
    return [job.id for job in yard.lists.cursor_page(JobQuery(Kind.TASK, words=words), limit).jobs] if words else []


def _order(keys: Sequence[tuple[str, bool]]) -> Order | None:
    """The order by one key, or by several, in the direction of the first."""
    (first, descending), *others = keys
    if not others:
        return None if first == "createdAt" else Order(first, SORT_KEYS[first])

    def key(job: Job) -> str:
        texts = [(SORT_KEYS[name](job), direction is descending) for name, direction in keys]
        return "".join(_ended(text) if same else _opposite(text) for text, same in texts)

    return Order(",".join(f"{name} {'DESC' if largest_first else 'ASC'}" for name, largest_first in keys), key)


def _ended(text: str) -> str:
    """A text that sorts as it did, whatever is written behind it; names have no such character."""
    return f"{text}\0"


def _opposite(text: str) -> str:
    """A text that sorts the other way round, whatever is written behind it."""
    return bytes(255 - byte for byte in _ended(text).encode("utf-8", "surrogatepass")).hex()


def page_of_one(yard: Yard, job_id: int | None, query: JobQuery, offset: int = 0) -> JobPage:
    """The list ``query`` cut down to one task, read by its id, however old it is."""
    job = None if job_id is None else yard.jobs.find(job_id)
    span = Span(query.since_ms, query.until_ms)
    if job is None or not query.includes(job) or not span.includes(job.created_at_ms):
        return JobPage([], 0, exact=True)
    found = [job] if not query.words or set(query.words) <= set(words_in(yard, job)) else []
    return JobPage(found[offset:], len(found), exact=True)


def _sortable(number: int) -> str:
    """An id or a time (0 to 2^53) as a text that sorts like it."""
    return f"{number:016d}"


def _tests(yard: Yard, filters: TaskFilters) -> list[Test]:
    tests: list[Test] = []
    if filters.target_type is not None:
        tests.append(lambda job: job.target_type == filters.target_type)
    if filters.runner is not None:
        tests.append(lambda job: job.runner == filters.runner)
    if filters.completed is not None:
        completed = filters.completed
        tests.append(lambda job: completed.includes(job.completed_at_ms))
    if filters.target_name is not None:
        part = filters.target_name.casefold()
        tests.append(lambda job: part in _target_name(yard, job).casefold())
    return tests


def _target_name(yard: Yard, job: Job) -> str:
    try:
        given = yard.payloads.body(job).get("input")
    except (PayloadLost, PayloadUnread) as error:
        logger.error("not searched", extra={"job_id": job.id, "error": str(error)})
        return ""
    name = given.get("name") if isinstance(given, dict) else None
    return name if isinstance(name, str) else ""

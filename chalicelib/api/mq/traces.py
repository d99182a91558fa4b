"""What happened to messages: ``/mq/trace``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from chalicelib.api.models import ApiModel, Id, Name, Topic
from chalicelib.api.mq.records import EVENT_OF, TraceRecord, trace_record, with_trace
from chalicelib.api.paging import Cursor, ListAnswer, Paging, cursor_in
from chalicelib.api.routes import Router
from chalicelib.core.errors import NotFound
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.core.trace import TraceEvent
from chalicelib.store.job_lists import READ_CHUNK, Wanted
from chalicelib.store.jobs import position_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

WINDOW = 500  # messages that one answer looks at: their events are in their records, which no index shows
PLACE = re.compile(r"([0-9]{13}-[0-9]{16})/([0-9]{1,3})")  # a message's position, and how many older events it has
EventWord = Literal[
    "PUBLISHED",
    "PROCESSING",
    "COMPLETED",
    "FAILED",
    "MOVED_TO_DLQ",
    "REPLAYED",
    "LOCK_RECOVERED",
    "CANCELED",
    "RETRIED",
    "REQUEUED",
]

router = Router("Traces", "What happened to messages, event by event.")


class TracePath(ApiModel):
    """A trace by its id."""

    trace_id: Name


class TraceQuery(ApiModel):
    """A trace by its id."""

    trace_id: Name


class EventQuery(Paging):
    """Which events to list; all conditions hold together."""

    topic: Topic | None = None
    message_id: Id | None = None
    event: EventWord | None = None


class EventPage(ListAnswer):
    """A page of events: the newest message first, and of a message the newest event."""

    page_data: list[TraceRecord]
    total_is_exact: bool = Field(description="false: only the events of the newest 500 messages were counted")


class Told(NamedTuple):
    """An event of a message, and its place in the list."""

    job: Job
    event: TraceEvent
    place: str


@router.get("/mq/trace/detail", scope="trace")
def trace_detail(yard: Yard, query: TraceQuery) -> list[TraceRecord]:
    """What happened to the message, or messages, with a trace id, oldest first.

    Of more than 1,000 messages with one trace id, the first 1,000 are told of.
    """
    return _story(yard, query.trace_id)


@router.get("/mq/trace/list", scope="trace")
def list_events(yard: Yard, query: EventQuery) -> EventPage:
    """List events, the newest message first, and of a message the newest event.

    A message keeps its newest 20 events. Page numbers cover the newest 500 messages, and totalIsExact is false
    where there are more; nextCursor goes on through all of them, 500 messages at most for one answer: with a
    filter it may be short, even empty, before the end.
    """
    if query.cursor is None:
        return _numbered(yard, query)
    cursor = cursor_in(query.cursor, query.filters, PLACE)
    told, place = _behind(yard, query, str(cursor.place))
    return _page(query, told, cursor.total, cursor.exact, place)


@router.get("/mq/trace/{traceId}", scope="trace")
def trace_by_path(yard: Yard, path: TracePath) -> list[TraceRecord]:
    """What happened to the message, or messages, with a trace id, oldest first."""
    return _story(yard, path.trace_id)


def _story(yard: Yard, trace_id: str) -> list[TraceRecord]:
    jobs = [job for job in with_trace(yard, trace_id) if job.kind is Kind.MESSAGE]
    if not jobs:
        raise NotFound("there is no trace with this id", field="traceId", got=trace_id)
    told = [(event, job) for job in jobs for event in job.events]
    return [trace_record(job, event) for event, job in sorted(told, key=lambda entry: entry[0].at_ms)]


def _numbered(yard: Yard, query: EventQuery) -> EventPage:
    """A page by its number, of the events of the newest 500 messages."""
    messages = list(islice(_messages(yard, query, None, READ_CHUNK), WINDOW + 1))
    looked, more = messages[:WINDOW], len(messages) > WINDOW
    told = [entry for _, job in looked for entry in _told(job, query)]
    end = query.offset + query.per_page
    page = told[query.offset : end]
    place = page[-1].place if told[end:] else f"{looked[-1][0]}/0" if more else None
    return _page(query, page, len(told), not more, place)


def _behind(yard: Yard, query: EventQuery, place: str) -> tuple[list[Told], str | None]:
    """The events behind a place, and the place where the list goes on."""
    position, _, older = place.partition("/")
    told: list[Told] = []
    for looked, (at, job) in enumerate(_messages(yard, query, place, min(query.per_page + 1, READ_CHUNK)), start=1):
        told += _told(job, query, int(older) if at == position else None)
        if len(told) > query.per_page:
            return told[: query.per_page], told[query.per_page - 1].place
        if looked == WINDOW:
            return told, f"{at}/0"
    return told, None


def _messages(yard: Yard, query: EventQuery, place: str | None, chunk: int) -> Iterable[tuple[str, Job | None]]:
    """The messages that the query may be about, newest first, from ``place`` on, with their positions."""
    if query.message_id is not None:
        return _only(yard, query, place)
    return _all(yard, query, place, chunk)


def _only(yard: Yard, query: EventQuery, place: str | None) -> Iterator[tuple[str, Job | None]]:
    job_id = parse_job_id(query.message_id or "")
    job = yard.jobs.find(job_id) if job_id is not None else None
    if job is not None and job.kind is Kind.MESSAGE and query.topic in (None, job.type):
        position = position_of(job)
        if place is None or place.startswith(f"{position}/"):
            yield position, job


def _all(yard: Yard, query: EventQuery, place: str | None, chunk: int) -> Iterator[tuple[str, Job | None]]:
    wanted = Wanted(Kind.MESSAGE, query.topic)
    if place is None:
        yield from yard.lists.walk(wanted, chunk=chunk)
        return
    position, _, older = place.partition("/")
    if int(older) > 0:  # the answer before ended within this message
        job = yard.jobs.find(int(position.partition("-")[2]))
        yield position, job if job is not None and wanted.holds(job) else None
    yield from yard.lists.walk(wanted, position, chunk)


def _told(job: Job | None, query: EventQuery, older_than: int | None = None) -> list[Told]:
    """The events of a message that the query is about, the newest first; of its first ``older_than`` where told."""
    if job is None:
        return []
    position = position_of(job)
    told = [Told(job, event, f"{position}/{number}") for number, event in enumerate(job.events[:older_than])]
    return [entry for entry in reversed(told) if query.event in (None, EVENT_OF[entry.event.event])]


def _page(query: EventQuery, told: list[Told], total: int, exact: bool, place: str | None) -> EventPage:
    return EventPage(
        page_data=[trace_record(entry.job, entry.event) for entry in told],
        total_count=total,
        total_is_exact=exact,
        next_cursor=None if place is None else Cursor(place, total, exact).to_text(query.filters),
    )

"""What happened to messages, those included that were deleted lately: ``/mq/trace``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from chalicelib.api.models import ApiModel, Id, Name, Topic
from chalicelib.api.mq.records import EVENT_OF, TraceRecord, trace_record
from chalicelib.api.paging import Cursor, ListAnswer, Paging, cursor_in
from chalicelib.api.routes import Router
from chalicelib.core.errors import NotFound
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import Story
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import TraceEvent
from chalicelib.engine.stories import with_trace
from chalicelib.store.job_lists import READ_CHUNK, TOLD_LABELS, Wanted
from chalicelib.store.job_lists import WINDOW as COUNTED_MAX
from chalicelib.store.ledger import DELETED_LABELS, REPLAYED, position_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

WINDOW = 500  # messages that a numbered page looks at in any case, to count their events
LOOKED_MAX = 10_000  # messages that an answer looks at for a page that is not full: no index shows their events
BUDGET_MS = 10_000  # for how long it does so; API Gateway ends every request after 29 s
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
    "INTERRUPTED",
    "PROMOTED",
]
# Events that end a message's life: who has such a one stands under these labels, and has one of it.
ENDS: Mapping[str, tuple[str, ...]] = {
    "COMPLETED": (State.SUCCESS.value, DELETED_LABELS[State.SUCCESS]),
    "MOVED_TO_DLQ": (State.FAILED.value, REPLAYED, DELETED_LABELS[State.FAILED]),
    "CANCELED": (State.CANCELED.value, DELETED_LABELS[State.CANCELED]),
}
NO_TRACE = {404: "There is no trace with this id"}

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
    total_is_exact: bool = Field(
        description="false: only the events of the messages that were looked at were counted, or 10,000 that are an end"
    )


class Told(NamedTuple):
    """An event of a message, and its place in the list."""

    story: Story
    event: TraceEvent
    place: str


@router.get("/mq/trace/detail", scope="trace", answers=NO_TRACE)
def trace_detail(yard: Yard, query: TraceQuery) -> list[TraceRecord]:
    """What happened to the message, or messages, with a trace id, oldest first.

    Of more than 1,000 messages with one trace id, the first 1,000 are told of.
    """
    return _story(yard, query.trace_id)


@router.get("/mq/trace/list", scope="trace")
def list_events(yard: Yard, query: EventQuery) -> EventPage:
    """List events, the newest message first, and of a message the newest event.

    A message keeps its newest 20 events, and they are told for 15 days after it was deleted. An answer looks at 500
    messages, and with a filter at up to 10,000, for up to 10 seconds, until its page is full; totalIsExact is false
    where there are more. nextCursor goes on through all of them: after 10,000 in vain a page may be short, even empty,
    before the end. COMPLETED, MOVED_TO_DLQ and CANCELED are looked for only where messages have ended so, and counted
    up to 10,000.
    """
    if query.cursor is None:
        return _numbered(yard, query)
    cursor = cursor_in(query.cursor, query.filters, PLACE)
    told, place = _behind(yard, query, cursor.place)
    return _page(query, told, cursor.total, cursor.exact, place)


@router.get("/mq/trace/{traceId}", scope="trace", answers=NO_TRACE)
def trace_by_path(yard: Yard, path: TracePath) -> list[TraceRecord]:
    """What happened to the message, or messages, with a trace id, oldest first."""
    return _story(yard, path.trace_id)


def _story(yard: Yard, trace_id: str) -> list[TraceRecord]:
    stories = with_trace(yard, trace_id)
    if not stories:
        raise NotFound("there is no trace with this id", field="traceId", got=trace_id)
    told = [(event, story) for story in stories for event in story.events]
    return [trace_record(story, event) for event, story in sorted(told, key=lambda entry: entry[0].at_ms)]


@dataclass(slots=True)
class _Look:
    """How far one answer has looked, and when it gives up on a page that is not full (milliseconds since 1970)."""

    yard: Yard
    gives_up_at_ms: int
    looked: int = 0

    @classmethod
    def begin(cls, yard: Yard) -> _Look:
        """Nothing is looked at yet."""
        return cls(yard, yard.now_ms() + BUDGET_MS)

    @property
    def spent(self) -> bool:
        """Whether it has looked at enough; the time is asked for once for each chunk that is read."""
        late = self.looked % READ_CHUNK == 0 and self.yard.now_ms() >= self.gives_up_at_ms
        return self.looked >= LOOKED_MAX or late


def _numbered(yard: Yard, query: EventQuery) -> EventPage:
    """A page by its number."""
    end = query.offset + query.per_page
    told: list[Told] = []
    look, last, more = _Look.begin(yard), "", False
    for at, story in _messages(yard, query, None, READ_CHUNK):
        if look.looked >= WINDOW and (len(told) > end or look.spent):
            more = True
            break
        told += _told(story, query)
        look.looked, last = look.looked + 1, at
    page = told[query.offset : end]
    place = page[-1].place if told[end:] else f"{last}/0" if more else None
    total, exact = (len(told), True) if not more else _counted(yard, query, len(told))
    return _page(query, page, total, exact, place)


def _counted(yard: Yard, query: EventQuery, told: int) -> tuple[int, bool]:
    """How many events there are where not all messages were looked at: as many as the index tells, if it can."""
    if query.event not in ENDS:
        return told, False
    count = yard.lists.count(_wanted(query))
    return max(told, min(count, COUNTED_MAX)), count <= COUNTED_MAX


def _behind(yard: Yard, query: EventQuery, place: str) -> tuple[list[Told], str | None]:
    """The events behind a place, and the place where the list goes on."""
    position, _, older = place.partition("/")
    told: list[Told] = []
    look = _Look.begin(yard)
    for at, story in _messages(yard, query, place, min(query.per_page + 1, READ_CHUNK)):
        told += _told(story, query, int(older) if at == position else None)
        look.looked += 1
        if len(told) > query.per_page:
            return told[: query.per_page], told[query.per_page - 1].place
        if look.spent:
            return told, f"{at}/0"
    return told, None


def _messages(yard: Yard, query: EventQuery, place: str | None, chunk: int) -> Iterable[tuple[str, Story | None]]:
    """The messages that the query may be about, newest first, from ``place`` on, with their positions."""
    if query.message_id is not None:
        return _only(yard, query, place)
    return _all(yard, query, place, chunk)


def _only(yard: Yard, query: EventQuery, place: str | None) -> Iterator[tuple[str, Story | None]]:
    job_id = parse_job_id(query.message_id or "")
    for story in yard.jobs.stories([job_id] if job_id is not None else []):
        position = position_of(story)
        if _is_of(query, story) and (place is None or place.startswith(f"{position}/")):
            yield position, story


def _all(yard: Yard, query: EventQuery, place: str | None, chunk: int) -> Iterator[tuple[str, Story | None]]:
    wanted = _wanted(query)
    if place is None:
        yield from yard.lists.stories(wanted, chunk=chunk)
        return
    position, _, older = place.partition("/")
    if int(older) > 0:  # the answer before ended within this message
        found = yard.jobs.stories([int(position.partition("-")[2])])
        yield position, next((story for story in found if _is_of(query, story)), None)
    yield from yard.lists.stories(wanted, position, chunk)


def _wanted(query: EventQuery) -> Wanted:
    """Where messages are listed that may have what is asked for."""
    return Wanted(Kind.MESSAGE, query.topic, ENDS.get(query.event or "", TOLD_LABELS))


def _is_of(query: EventQuery, story: Story) -> bool:
    return story.kind is Kind.MESSAGE and query.topic in (None, story.type)


def _told(story: Story | None, query: EventQuery, older_than: int | None = None) -> list[Told]:
    """The events of a message that the query is about, the newest first; of its first ``older_than`` where told."""
    if story is None:
        return []
    position = position_of(story)
    told = [Told(story, event, f"{position}/{number}") for number, event in enumerate(story.events[:older_than])]
    return [entry for entry in reversed(told) if query.event in (None, EVENT_OF[entry.event.event])]


def _page(query: EventQuery, told: list[Told], total: int, exact: bool, place: str | None) -> EventPage:
    return EventPage(
        page_data=[trace_record(entry.story, entry.event) for entry in told],
        total_count=total,
        total_is_exact=exact,
        next_cursor=None if place is None else Cursor(place, total, exact).to_text(query.filters),
    )

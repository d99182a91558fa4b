"""What happened to messages, those included that were deleted lately: ``/mq/trace``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from chalicelib.api.mq.records import EVENT_OF, TraceRecord, trace_records
from chalicelib.api.paging import ListAnswer, Paging, cursor_in
from chalicelib.api.shapes import FASTIFY
from chalicelib.core.cursors import Cursor
from chalicelib.core.errors import NotFound
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import Story
from chalicelib.core.states import Kind, State
from chalicelib.engine.projections.stories import WINDOW, StoryEvent, newest_first
from chalicelib.http.models import ApiModel, Id, Name, Topic
from chalicelib.http.routes import Router
from chalicelib.services.records import trace_event_of
from chalicelib.services.traces import events_of
from chalicelib.store.job_items import position_of
from chalicelib.store.job_lists import WINDOW as COUNTED_MAX
from chalicelib.store.job_queries import STORY_INDEX_KEYS, JobQuery
from chalicelib.store.ledger import DELETED_INDEX_KEYS, REPLAYED

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

LOOKED_MAX = 10_000  # messages that an answer looks at for a page that is not full: no index shows their events
BUDGET_MS = 10_000  # for how long it does so; API Gateway ends every request after 29 s
# A message's position, behind which the list goes on; or the positions around a window, and an event's place within.
PLACE = re.compile(r"\d{13}-\d{16}|(\d{13}-\d{16})?/\d{13}-\d{16}/\d{13}-\d{16}-\d{3}", re.ASCII)
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
    "COMPLETED": (State.SUCCESS.value, DELETED_INDEX_KEYS[State.SUCCESS]),
    "MOVED_TO_DLQ": (State.FAILED.value, REPLAYED, DELETED_INDEX_KEYS[State.FAILED]),
    "CANCELED": (State.CANCELED.value, DELETED_INDEX_KEYS[State.CANCELED]),
}
NO_TRACE = {404: "There is no trace with this id"}

router = Router("Traces", "What happened to messages, event by event.", style=FASTIFY)


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
    """A page of events, the newest first among those of the newest 500 messages, then of the 500 before, and so on."""

    page_data: list[TraceRecord]
    total_is_exact: bool = Field(
        description="false: only the events of the messages that were looked at were counted, or 10,000 that are an end"
    )


class Window(NamedTuple):
    """Some messages that follow each other in the list of messages, and what is told of them, the newest first.

    They stand behind position ``start``, up to and including position ``end``. ``last``: no message follows.
    """

    start: str
    end: str
    told: list[StoryEvent]
    last: bool

    def position_of(self, told: StoryEvent) -> str:
        """Where the list goes on behind an event."""
        return f"{self.start}/{self.end}/{told.position}"


@router.get("/mq/trace/detail", scope="trace", answers=NO_TRACE)
def trace_detail(yard: Yard, query: TraceQuery) -> list[TraceRecord]:
    """What happened to the message, or messages, with a trace id, oldest first.

    Of more than 1,000 messages with one trace id, the first 1,000 are told of.
    """
    return _story(yard, query.trace_id)


@router.get("/mq/trace/list", scope="trace")
def list_events(yard: Yard, query: EventQuery) -> EventPage:
    """List events by their time, the newest first: those of the newest 500 messages, then of the 500 before, and so on.

    A message keeps its newest 20 events, and they are told for 15 days after it was deleted. An answer looks at 500
    messages, and with a filter at up to 10,000, for up to 10 seconds, until its page is full; totalIsExact is false
    where there are more. nextCursor goes on through all of them: after 10,000 in vain a page may be short, even empty,
    before the end. COMPLETED, MOVED_TO_DLQ and CANCELED are looked for only where messages have ended so, and counted
    up to 10,000.
    """
    if query.cursor is None:
        return _numbered(yard, query)
    cursor = cursor_in(query.cursor, query.filters, PLACE)
    told, position, _ = _read(_Reading.begin(yard, query), cursor.position, query.per_page)
    return _page(query, told[: query.per_page], cursor.total, cursor.exact, position)


@router.get("/mq/trace/{traceId}", scope="trace", answers=NO_TRACE)
def trace_by_path(yard: Yard, path: TracePath) -> list[TraceRecord]:
    """What happened to the message, or messages, with a trace id, oldest first."""
    return _story(yard, path.trace_id)


def _story(yard: Yard, trace_id: str) -> list[TraceRecord]:
    told = events_of(yard, trace_id)
    if not told:
        raise NotFound("there is no trace with this id", field="traceId", got=trace_id)
    return trace_records(told)


@dataclass(slots=True)
class _Reading:
    """How far one answer has looked, and when it ends a page that is not full (milliseconds since 1970)."""

    yard: Yard
    query: EventQuery
    gives_up_at_ms: int
    looked: int = 0

    @classmethod
    def begin(cls, yard: Yard, query: EventQuery) -> _Reading:
        """Nothing is looked at yet."""
        return cls(yard, query, yard.now_ms() + BUDGET_MS)

    @property
    def spent(self) -> bool:
        """Whether it has looked at enough."""
        return self.looked >= LOOKED_MAX or self.yard.now_ms() >= self.gives_up_at_ms

    def windows(self, start: str, end: str | None) -> Iterator[Window]:
        """The windows behind ``start``; the first one goes to ``end``, if that is given."""
        if end is not None:
            yield self._window(start, takewhile(lambda at: at[0] >= end, _messages(self.yard, self.query, start)), end)
            start = end
        messages = iter(_messages(self.yard, self.query, start))
        while True:
            window = self._window(start, islice(messages, WINDOW))
            yield window
            if window.last:
                return
            start = window.end

    def _window(self, start: str, messages: Iterable[tuple[str, Story | None]], end: str | None = None) -> Window:
        seen = list(messages)
        self.looked += len(seen)
        told = [
            entry
            for entry in newest_first(story for _, story in seen if story is not None)
            if self.query.event in (None, EVENT_OF[entry.event.event])
        ]
        if end is not None:
            return Window(start, end, told, last=False)
        return Window(start, seen[-1][0] if seen else start, told, last=len(seen) < WINDOW)


def _numbered(yard: Yard, query: EventQuery) -> EventPage:
    """A page by its number."""
    told, position, is_all = _read(_Reading.begin(yard, query), "", query.offset + query.per_page)
    total, exact = (len(told), True) if is_all else _counted(yard, query, len(told))
    return _page(query, told[query.offset :][: query.per_page], total, exact, position)


def _counted(yard: Yard, query: EventQuery, told: int) -> tuple[int, bool]:
    """How many events there are where not all messages were looked at: as many as the index tells, if it can."""
    if query.event not in ENDS:
        return told, False
    count = yard.lists.count(_wanted(query))
    return max(told, min(count, COUNTED_MAX)), count <= COUNTED_MAX


def _read(reading: _Reading, position: str, most: int) -> tuple[list[StoryEvent], str | None, bool]:
    """The events behind a place (empty: all), window by window until there are more than ``most``.

    Also the place behind the first ``most``, ``None`` at the list's end, and whether all there are were read.
    """
    start, _, rest = position.partition("/")
    end, _, shown = rest.partition("/")
    told: list[tuple[Window, StoryEvent]] = []
    for window in reading.windows(start, end or None):
        told += [(window, entry) for entry in window.told if window.end != end or entry.position < shown]
        if len(told) > most or window.last or reading.spent:
            break
    if len(told) > most:
        last_shown = told[most - 1]
        goes_on: str | None = last_shown[0].position_of(last_shown[1])
    else:
        goes_on = None if window.last else window.end
    return [entry for _, entry in told], goes_on, window.last


def _messages(yard: Yard, query: EventQuery, start: str) -> Iterable[tuple[str, Story | None]]:
    """The messages behind a position (empty: all) that the query may be about, newest first, with their positions."""
    if query.message_id is None:
        return yard.lists.stories(_wanted(query), start or None)
    job_id = parse_job_id(query.message_id)
    found = yard.jobs.stories([job_id] if job_id is not None else [])
    of_it = [(position_of(story), story) for story in found if _is_of(query, story)]
    return [(position, story) for position, story in of_it if not start or position < start]


def _wanted(query: EventQuery) -> JobQuery:
    """Where messages are listed that may have what is asked for."""
    return JobQuery(Kind.MESSAGE, query.topic, ENDS.get(query.event or "", STORY_INDEX_KEYS))


def _is_of(query: EventQuery, story: Story) -> bool:
    return story.kind is Kind.MESSAGE and query.topic in (None, story.type)


def _page(query: EventQuery, told: list[StoryEvent], total: int, exact: bool, position: str | None) -> EventPage:
    return EventPage(
        page_data=trace_records(trace_event_of(entry.story, entry.event) for entry in told),
        total_count=total,
        total_is_exact=exact,
        next_cursor=None if position is None else Cursor(position, total, exact).to_text(query.filters),
    )

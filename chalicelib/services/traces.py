"""What happened to messages. A message keeps its newest 20 events; they are told for 15 days after it was deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from chalicelib.core.errors import NotFound, unknown
from chalicelib.core.job import Story
from chalicelib.core.states import Kind
from chalicelib.engine.projections.stories import WINDOW, newest_first, with_trace
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.records import TraceEvent, trace_event_of
from chalicelib.services.words import TraceEventType
from chalicelib.store.job_queries import STORY_INDEX_KEYS, JobQuery


def get(trace_id: str) -> tuple[TraceEvent, ...]:
    """What happened to the message, or messages, with a trace id, oldest first.

    Of more than 1,000 messages with one trace id, the first 1,000 are told of. Raises ``NotFound``.
    """
    told = events_of(installation.yard(), checks.name("trace_id", trace_id))
    if not told:
        raise NotFound("there is no trace with this id", field="trace_id", got=trace_id)
    return told


def list(  # noqa: A001  # fastify-mq's word for it
    *, topic: str | None = None, message_id: int | str | None = None, event: TraceEventType | str | None = None
) -> Iterator[TraceEvent]:
    """Events by their time, the newest first: those of the newest 500 messages, then of the 500 before, and so on.

    All conditions hold together. Events are read as they are asked for (``itertools.islice`` ends it). Raises
    ``InvalidInput``, and ``NotFound`` for a message id that there is none of.
    """
    yard = installation.yard()
    wanted = JobQuery(Kind.MESSAGE, checks.maybe_topic(topic), STORY_INDEX_KEYS)
    asked = None if event is None else checks.word("event", event, TraceEventType)
    windows: Iterable[Sequence[Story]] = _windows(yard, wanted) if message_id is None else [[_story(yard, message_id)]]
    told = (
        trace_event_of(each.story, each.event)
        for stories in windows
        for each in newest_first(story for story in stories if wanted.type in (None, story.type))
    )
    return (each for each in told if asked in (None, each.event))


def events_of(yard: Yard, trace_id: str) -> tuple[TraceEvent, ...]:
    """What ``get`` returns; nothing where there is no such trace."""
    told = [(event, story) for story in with_trace(yard, trace_id) for event in story.events]
    return tuple(trace_event_of(story, event) for event, story in sorted(told, key=lambda entry: entry[0].at_ms))


def _windows(yard: Yard, wanted: JobQuery) -> Iterator[Sequence[Story]]:
    stories = (story for _, story in yard.lists.stories(wanted) if story is not None)
    while window := tuple(islice(stories, WINDOW)):
        yield window


def _story(yard: Yard, message_id: int | str) -> Story:
    job_id = checks.job_id(message_id, "message")
    for story in yard.jobs.stories([job_id]):
        if story.kind is Kind.MESSAGE:
            return story
    raise unknown("message", job_id)

"""What happened to messages. A message keeps its newest 20 events; they are told for 15 days after it was deleted."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.core.job import Story
from chalicelib.core.states import Kind
from chalicelib.engine.stories import with_trace
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.records import TraceEvent, trace_event_of
from chalicelib.services.words import TraceEventType
from chalicelib.store.job_lists import TOLD_LABELS, Wanted

READ_CHUNK = 20


def get(trace_id: str) -> tuple[TraceEvent, ...]:
    """What happened to the message, or messages, with a trace id, oldest first.

    Of more than 1,000 messages with one trace id, the first 1,000 are told of. Raises ``NotFound``.
    """
    stories = with_trace(installation.yard(), checks.name("trace_id", trace_id))
    if not stories:
        raise NotFound("there is no trace with this id", field="trace_id", got=trace_id)
    told = [(event, story) for story in stories for event in story.events]
    return tuple(trace_event_of(story, event) for event, story in sorted(told, key=lambda entry: entry[0].at_ms))


def list(  # noqa: A001  # fastify-mq's word for it
    *, topic: str | None = None, message_id: int | str | None = None, event: TraceEventType | str | None = None
) -> Iterator[TraceEvent]:
    """Events, the newest message first, and of a message the newest event; all conditions hold together.

    They are read as they are asked for (``itertools.islice`` ends it), however many there are. Raises
    ``InvalidInput``, and ``NotFound`` for a message id that there is none of.
    """
    yard = installation.yard()
    wanted = Wanted(Kind.MESSAGE, checks.maybe_topic(topic), TOLD_LABELS)
    wished = None if event is None else _event_type(event)
    stories = _walked(yard, wanted) if message_id is None else iter([_story(yard, message_id)])
    return (
        told
        for story in stories
        if wanted.type in (None, story.type)
        for told in (trace_event_of(story, event) for event in reversed(story.events))
        if wished in (None, told.event)
    )


def _walked(yard: Yard, wanted: Wanted) -> Iterator[Story]:
    return (story for _, story in yard.lists.stories(wanted, chunk=READ_CHUNK) if story is not None)


def _story(yard: Yard, message_id: int | str) -> Story:
    job_id = checks.job_id(message_id, "message")
    for story in yard.jobs.stories([job_id]):
        if story.kind is Kind.MESSAGE:
            return story
    raise NotFound(f"there is no message {job_id}", field="id", got=str(job_id))


def _event_type(given: TraceEventType | str) -> TraceEventType:
    try:
        return TraceEventType(given)
    except ValueError as error:
        raise InvalidInput(
            "there is no such event", field="event", expected=" or ".join(TraceEventType), got=given
        ) from error

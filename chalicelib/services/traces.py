"""What happened to messages. A message keeps its newest 20 events."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.lifecycle import find
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.records import TraceEvent, trace_event_of
from chalicelib.services.words import TraceEventType
from chalicelib.store.job_lists import TRACE_MAX_JOBS, Wanted

READ_CHUNK = 20


def get(trace_id: str) -> tuple[TraceEvent, ...]:
    """What happened to the message, or messages, with a trace id, oldest first.

    Of more than 1,000 messages with one trace id, the first 1,000 are told of. Raises ``NotFound``.
    """
    wanted = Wanted(Kind.MESSAGE, trace_id=checks.name("trace_id", trace_id), descending=False)
    jobs = installation.yard().lists.stretch(wanted, TRACE_MAX_JOBS).jobs
    if not jobs:
        raise NotFound("there is no trace with this id", field="trace_id", got=trace_id)
    told = [(event, job) for job in jobs for event in job.events]
    return tuple(trace_event_of(job, event) for event, job in sorted(told, key=lambda entry: entry[0].at_ms))


def list(  # noqa: A001  # fastify-mq's word for it
    *, topic: str | None = None, message_id: int | str | None = None, event: TraceEventType | str | None = None
) -> Iterator[TraceEvent]:
    """Events, the newest message first, and of a message the newest event; all conditions hold together.

    They are read as they are asked for (``itertools.islice`` ends it), however many there are. Raises
    ``InvalidInput``, and ``NotFound`` for a message id that there is none of.
    """
    yard = installation.yard()
    wanted = Wanted(Kind.MESSAGE, checks.maybe_topic(topic))
    wished = None if event is None else _event_type(event)
    messages = (
        _walked(yard, wanted)
        if message_id is None
        else iter([find(yard, checks.job_id(message_id, "message"), Kind.MESSAGE)])
    )
    return (
        told
        for job in messages
        if wanted.holds(job)
        for told in (trace_event_of(job, event) for event in reversed(job.events))
        if wished in (None, told.event)
    )


def _walked(yard: Yard, wanted: Wanted) -> Iterator[Job]:
    return (job for _, job in yard.lists.walk(wanted, chunk=READ_CHUNK) if job is not None)


def _event_type(given: TraceEventType | str) -> TraceEventType:
    try:
        return TraceEventType(given)
    except ValueError as error:
        raise InvalidInput(
            "there is no such event", field="event", expected=" or ".join(TraceEventType), got=given
        ) from error

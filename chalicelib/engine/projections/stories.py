"""What happened to messages; of a deleted one, too, for as long as its tombstone stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from chalicelib.core.ids import job_id_in
from chalicelib.core.job import Story
from chalicelib.core.states import Kind
from chalicelib.core.trace import TraceEvent
from chalicelib.engine.yard import Yard

WINDOW = 500  # messages whose events are put in order together: no index shows events


class StoryEvent(NamedTuple):
    """An event of a message, and what it is sorted by: its time, then its message, then which of its events it is."""

    position: str
    story: Story
    event: TraceEvent


def newest_first(stories: Iterable[Story]) -> list[StoryEvent]:
    """What happened to messages, in the order of time, the newest event first."""
    told = (
        StoryEvent(f"{event.at_ms:013d}-{story.id:016d}-{number:03d}", story, event)
        for story in stories
        for number, event in enumerate(story.events)
    )
    return sorted(told, key=lambda entry: entry.position, reverse=True)


def with_trace(yard: Yard, trace_id: str) -> list[Story]:
    """The messages with a trace id, oldest first: of more than 1,000, the first 1,000.

    A trace id made here names its message; those that clients chose are indexed.
    """
    own = job_id_in(trace_id)
    ids = dict.fromkeys([*([own] if own is not None else []), *yard.lists.with_trace(trace_id)])
    found = [s for s in yard.jobs.stories(list(ids)) if s.trace_id == trace_id and s.kind is Kind.MESSAGE]
    return sorted(found, key=lambda story: (story.created_at_ms, story.id))

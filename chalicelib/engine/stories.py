"""What happened to messages; of a deleted one, too, for as long as its tombstone stands."""

from __future__ import annotations

from chalicelib.core.ids import job_id_in
from chalicelib.core.job import Story
from chalicelib.core.states import Kind
from chalicelib.engine.yard import Yard


def with_trace(yard: Yard, trace_id: str) -> list[Story]:
    """The messages with a trace id, oldest first: of more than 1,000, the first 1,000.

    A trace id made here names its message; those that clients chose are indexed.
    """
    own = job_id_in(trace_id)
    ids = dict.fromkeys([*([own] if own is not None else []), *yard.lists.with_trace(trace_id)])
    found = [s for s in yard.jobs.stories(list(ids)) if s.trace_id == trace_id and s.kind is Kind.MESSAGE]
    return sorted(found, key=lambda story: (story.created_at_ms, story.id))

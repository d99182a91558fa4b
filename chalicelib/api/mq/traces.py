"""What happened to messages: ``/mq/trace``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.api.models import ApiModel, Name
from chalicelib.api.mq.records import (
    TraceRecord,
    trace_record,
    with_trace,
)
from chalicelib.api.routes import Router
from chalicelib.core.errors import NotFound
from chalicelib.core.states import Kind

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Traces", "What happened to messages, event by event.")


class TracePath(ApiModel):
    """A trace by its id."""

    trace_id: Name


@router.get("/mq/trace/{traceId}", scope="trace")
def trace_by_path(yard: Yard, path: TracePath) -> list[TraceRecord]:
    """What happened to the message, or messages, with a trace id, oldest first."""
    jobs = [job for job in with_trace(yard, path.trace_id) if job.kind is Kind.MESSAGE]
    if not jobs:
        raise NotFound("there is no trace with this id", field="traceId", got=path.trace_id)
    told = [(event, job) for job in jobs for event in job.events]
    return [trace_record(job, event) for event, job in sorted(told, key=lambda entry: entry[0].at_ms)]

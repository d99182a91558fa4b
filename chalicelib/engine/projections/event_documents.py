"""What a webhook is sent of an event: Taskyard's own document, or that as the data of a CloudEvent."""

from __future__ import annotations

from typing import Any

from chalicelib.core.documents import sent_json
from chalicelib.core.job_events import EventType, JobEvent
from chalicelib.core.trace import iso
from chalicelib.core.webhooks import Format
from chalicelib.store.ledger import OBJECT_PLACE
from chalicelib.store.payloads import PayloadLost

TYPE_PREFIX = "taskyard.job."


def written(event: JobEvent, body_format: Format, installation: str) -> bytes:
    """The body of a request that tells of an event, as a webhook wants it."""
    document = document_of(event)
    whole = document if body_format is Format.TASKYARD else cloud_event(event, document, installation)
    return sent_json(whole, ascii_only=True).encode()


def cloud_event(event: JobEvent, document: dict[str, Any], installation: str) -> dict[str, Any]:
    """An event as CloudEvents 1.0 writes it in JSON; a job's subject is its id."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/{installation}",
        "type": TYPE_PREFIX + event.what.replace(" ", "-"),
        "subject": str(event.job_id),
        "time": iso(event.at_ms),
        "datacontenttype": "application/json",
        "data": document,
    }


def document_of(event: JobEvent) -> dict[str, Any]:
    """What a webhook is told. Times are in milliseconds since 1970."""
    job = event.job
    notify_of: dict[str, Any] = {
        "id": event.id,
        "event": event.what.value,
        "atMs": event.at_ms,
        "attempt": event.attempt,
        "detail": dict(event.detail),
        "job": {
            "id": str(job.id),
            "kind": job.kind.value,
            "type": job.type,
            "queue": job.queue,
            "state": job.state.value,
            "priority": job.priority,
            "targetId": job.target_id,
            "targetType": job.target_type,
            "parentId": None if job.parent_id is None else str(job.parent_id),
            "traceId": job.trace_id,
            "maxAttempts": job.max_attempts,
            "createdBy": job.created_by,
            "createdAtMs": job.created_at_ms,
            "dueAtMs": job.due_at_ms,
            "startedAtMs": job.started_at_ms,
            "completedAtMs": job.completed_at_ms,
        },
    }
    return {**notify_of, **_output(event)} if event.what is EventType.COMPLETE else notify_of


def _output(event: JobEvent) -> dict[str, Any]:
    """The output, where the ledger itself holds it (up to 256 KB); for a larger or deleted one, that it is left out."""
    if (event.job.output_at or "").startswith(OBJECT_PLACE):
        return {"output": None, "outputLeftOut": True}
    try:
        return {"output": event.output(), "outputLeftOut": False}
    except PayloadLost:
        return {"output": None, "outputLeftOut": True}

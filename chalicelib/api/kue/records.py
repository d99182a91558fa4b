"""A job as kue shows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from chalicelib.api.kue.words import KueState, state_of
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.core.trace import Event
from chalicelib.engine import logbook
from chalicelib.engine.failures import log_failure
from chalicelib.services.kue_words import error_of, failure_line
from chalicelib.store.payloads import PayloadLost, PayloadUnread

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

LEFT_OUT = {"omitted": "the value is kept elsewhere: ask for the job by its id"}
UNREAD = {"omitted": "the value cannot be read now"}


def whole(yard: Yard, job: Job) -> dict[str, Any]:
    """A job with all its data, its id as text."""
    try:
        body = yard.payloads.body(job)
        result = yard.payloads.output(job) if job.state is State.SUCCESS else None
    except (PayloadLost, PayloadUnread) as error:
        log_failure("a job is shown without its data", error, job_id=job.id)
        body, result = {"input": UNREAD}, None
    return {**_fields(yard, job, body, result), "id": str(job.id)}


def listed(yard: Yard, job: Job, body: dict[str, Any] | None) -> dict[str, Any]:
    """A job as lists show it, its id as a number; what is large and kept elsewhere is left out."""
    result = yard.payloads.inline_output(job) if job.state is State.SUCCESS else None
    return _fields(yard, job, {"input": LEFT_OUT} if body is None else body, result)


def log_lines(yard: Yard, job: Job) -> list[str]:
    """What was logged of a job, oldest first, and why attempts of it failed."""
    logged = [(entry.time_ms, _line(entry.message, entry.data)) for entry in logbook.read(yard, job.id)]
    failed = [
        (event.at_ms, failure_line(job, event)) for event in job.events if event.event in (Event.FAILED, Event.DEAD)
    ]
    return [line for _, line in sorted([*reversed(logged), *failed], key=lambda entry: entry[0])]


def _line(message: str, data: Any) -> str:
    return " ".join(filter(None, [message, "" if data is None else json.dumps(data, ensure_ascii=False)]))


def _fields(yard: Yard, job: Job, body: dict[str, Any], result: Any) -> dict[str, Any]:
    """kue's fields in kue's order; what a job does not have is left out."""
    state = state_of(job, yard.now_ms())
    failures = [event.at_ms for event in job.events if event.event in (Event.FAILED, Event.DEAD)]
    data = body.get("input")
    fields: dict[str, Any] = {
        "id": job.id,
        "type": job.type,
        "data": {} if data is None else data,
        "result": result if result or isinstance(result, list | dict) else None,
        "priority": -job.priority,
        "progress": _progress(job),
        "progress_data": json.loads(job.progress.data) if job.progress and job.progress.data else None,
        "state": state,
        "error": error_of(job),
        "created_at": str(job.created_at_ms),
        "promote_at": str(max(job.due_at_ms, job.created_at_ms)),
        "updated_at": str(job.updated_at_ms),
        "failed_at": str(failures[-1]) if failures else None,
        "started_at": _text(job.started_at_ms),
        "duration": _duration(job) if state is KueState.COMPLETE else None,
        "delay": None if job.start_at_ms is None else str(max(0, job.start_at_ms - job.created_at_ms)),
        "workerId": job.worker,
        "ttl": _text(job.timeout_ms or None),
        "tenant": job.tenant,
        "attempts": _attempts(job),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _progress(job: Job) -> str | int:
    if job.state is State.SUCCESS:
        return "100"
    return 0 if job.progress is None else str(int(job.progress.percent))


def _duration(job: Job) -> str | None:
    if job.started_at_ms is None or job.completed_at_ms is None:
        return None
    return str(job.completed_at_ms - job.started_at_ms)


def _attempts(job: Job) -> dict[str, int]:
    """How many attempts have ended, how many are left, and how many there are."""
    made = min(max(0, job.tries - (job.state is State.RUNNING)), job.max_attempts)
    return {"made": made, "remaining": job.max_attempts - made, "max": job.max_attempts}


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)

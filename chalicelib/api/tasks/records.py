"""What the task service shows over HTTP, in fastify-task's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic.alias_generators import to_camel

from chalicelib.api.shapes import iso
from chalicelib.core.causes import Cause
from chalicelib.core.job import Job
from chalicelib.core.signature import without_secret, without_secrets
from chalicelib.core.states import State
from chalicelib.engine import logbook
from chalicelib.engine.handlers.declare import DEFAULT_SCRIPT
from chalicelib.engine.worker import console
from chalicelib.http.exchange import ANSWER_MAX_BYTES, json_text
from chalicelib.http.models import AnswerModel, ApiModel, Id
from chalicelib.logger import logger
from chalicelib.services.records import context_of
from chalicelib.store.payloads import PayloadLost, PayloadUnread

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard
    from chalicelib.store.job_details import LogEntry

LISTS = ("poll_results", "log", "console")
LARGE = ("input", "output", "context", "options", "next", *LISTS)
SMALL_MAX_BYTES = 128 * 1024  # what all other fields of a task, its names and its remarks, come to at most
LARGE_MAX_BYTES = ANSWER_MAX_BYTES - SMALL_MAX_BYTES


NO_TASK = {404: "There is no such task"}


@dataclass(slots=True)
class LeftOut:
    """The names of the fields of a task whose values could not be read."""

    names: list[str] = field(default_factory=list)

    def unless_read(self, names: Sequence[str], read: Callable[[], Any]) -> Any:
        """What ``read`` answers; ``None`` where AWS does not have it, or does not hand it out now."""
        try:
            return read()
        except (PayloadLost, PayloadUnread) as error:
            logger.error("left out of an answer", extra={"fields": names, "error": str(error)})
            self.names += names
            return None


class TaskBody(ApiModel):
    """A task by its id."""

    id: Id


class TaskQuery(ApiModel):
    """A task by its id."""

    id: str


class Done(AnswerModel):
    """Nothing more to say."""


class TaskError(AnswerModel):
    """Why a task failed."""

    type: str
    message: str
    where: str | None


class TaskProgress(AnswerModel):
    """What the handler last said of its progress."""

    current: float
    total: float
    message: str


class LogRecord(AnswerModel):
    """One entry of a task's log."""

    data: Any
    message: str | None
    time: str


class ConsoleRecord(AnswerModel):
    """A line that a task's handler printed or logged."""

    attempt: int = Field(description="In which run, from 1")
    source: str = Field(description="stdout, stderr or log")
    text: str
    time: str


class TaskRecord(AnswerModel):
    """A task as it stands."""

    id: str = Field(examples=["1024"])
    type: str
    script_name: str
    target_id: str | None
    target_type: str | None
    runner_type: str
    status: State
    progress: float = Field(description="0 to 100")
    progress_detail: TaskProgress | None
    msg: str | None = Field(description="What who completed it said, or else its handler with its progress")
    input: Any
    output: Any = Field(description="null in lists where it is not small")
    error: TaskError | None
    cause: Cause | None = Field(description="Of a failed task: what made that failure the last")
    context: Any = Field(description="Without its secret")
    options: Any = Field(description="In the detail of a task with a log: `logs` is that log")
    priority: int
    max_retries: int
    retry_count: int = Field(description="How often it was tried again, a retry that waits included")
    attempts: int = Field(description="How many runs were started, those that polled included")
    poll_count: int = Field(description="How often it was polled since it was created or retried")
    poll_results: list[Any] | None = Field(description="What the polls found, oldest first; null in lists")
    timeout: int | None
    parent_task_id: str | None
    remove_on_complete: bool = Field(description="It is deleted once it has succeeded")
    next: Any = Field(description="The task that its success creates, without secrets")
    trace_id: str
    recoverable: bool = Field(description="Its worker fell silent; it will be run again")
    created_user_id: str | None
    completed_user_id: str | None
    schedule: str | None = Field(description="The schedule that made it")
    slot_time: str | None = Field(description="For which of its times; null: by request")
    graph_id: str | None = Field(description="The graph of which it is a node")
    node: str | None = Field(description="The name that it has there")
    start_time: str | None = Field(description="Not before this time")
    started_at: str | None = Field(description="When its first attempt began")
    completed_at: str | None
    created_at: str
    updated_at: str
    omitted: list[str] = Field(
        default_factory=list,
        description="The fields whose values could not be read, and those that did not fit into one answer (6 MB), "
        "largest first",
    )


class TaskDetail(TaskRecord):
    """A task as it stands, with its log and what its handler printed."""

    log: list[LogRecord] = Field(description="The 100 newest entries, newest first")
    console: list[ConsoleRecord] = Field(
        description="What its handler printed and logged: the newest 8 KB of each of the newest attempts, oldest first"
    )


def whole_record(yard: Yard, job: Job) -> TaskRecord:
    """All of a task but its log and what its handler printed."""
    return TaskRecord(**_fitting(_whole(yard, job)))


def detail_record(yard: Yard, job: Job) -> TaskDetail:
    """All of a task. Its log is at ``options.logs``, too, where users of fastify-task look for it."""
    fields, log = _whole(yard, job), log_records(logbook.read(yard, job.id))
    options = {**(fields["options"] or {}), "logs": log} if log else fields["options"]
    return TaskDetail(**_fitting({**fields, "options": options, "log": log, "console": _console(yard, job)}))


def listed_record(yard: Yard, job: Job, body: dict[str, Any] | None) -> TaskRecord:
    """A task as lists show it: with what its record and its ``body`` hold, if that was read.

    Without a body its fields are null and named.
    """
    left_out = LeftOut([] if body is not None else _of_body(job))
    content = body or {}
    context = left_out.unless_read(("context",), lambda: context_of(yard.payloads, job, content, in_list=True))
    output = left_out.unless_read(("output",), lambda: yard.payloads.inline_output(job))
    fields = _fields(yard, job, content, context, output)
    return TaskRecord(**fields, poll_results=None, omitted=[to_camel(name) for name in left_out.names])


def log_records(entries: list[LogEntry]) -> list[LogRecord]:
    """A log, as it is shown."""
    return [LogRecord(data=entry.data, message=entry.message, time=iso(entry.time_ms) or "") for entry in entries]


def _console(yard: Yard, job: Job) -> list[ConsoleRecord]:
    return [
        ConsoleRecord(attempt=line.attempt, source=line.source, text=line.text, time=iso(line.time_ms) or "")
        for line in console.read(yard, job)
    ]


def _of_body(job: Job) -> list[str]:
    """The fields that a task's body tells: its context only until another has replaced it."""
    replaced = job.context is not None or job.context_at is not None
    return ["input", "options", "next", *([] if replaced else ["context"])]


def _whole(yard: Yard, job: Job) -> dict[str, Any]:
    left_out = LeftOut()
    body = left_out.unless_read(_of_body(job), lambda: yard.payloads.body(job)) or {}
    context = left_out.unless_read(("context",), lambda: context_of(yard.payloads, job, body))
    output = left_out.unless_read(("output",), lambda: yard.payloads.output(job))
    fields = {**_fields(yard, job, body, context, output), "omitted": left_out.names}
    polls = yard.job_details.poll_results(job) if job.poll_count else []
    return {**fields, "poll_results": [{**found, "time": iso(found["time"])} for found in polls]}


def _fitting(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a task without what one answer cannot hold, largest first; what is missing is named.

    In place of a value stands its size; of a list, nothing does. What could not be read was left out before.
    """
    sizes_bytes = {name: _sent_bytes(fields[name]) for name in LARGE if name in fields}
    left_bytes = sum(sizes_bytes.values())
    omitted: dict[str, Any] = dict.fromkeys(fields["omitted"])
    for name in sorted(sizes_bytes, key=sizes_bytes.__getitem__, reverse=True):
        if left_bytes <= LARGE_MAX_BYTES:
            break
        left_bytes -= sizes_bytes[name]
        omitted[name] = [] if name in LISTS else {"omitted": f"{len(json_text(fields[name]))} bytes"}
    return {**fields, **omitted, "omitted": [to_camel(name) for name in omitted]}


def _sent_bytes(value: Any) -> int:
    return len(json.dumps(json_text(value)))  # Lambda sends an answer as a text within JSON


def _fields(yard: Yard, job: Job, body: dict[str, Any], context: Any, output: Any) -> dict[str, Any]:
    progress = job.progress
    return {
        "id": str(job.id),
        "type": job.type,
        "script_name": job.script or DEFAULT_SCRIPT,
        "target_id": job.target_id,
        "target_type": job.target_type,
        "runner_type": job.runner,
        "status": job.state,
        "progress": 100.0 if job.state is State.SUCCESS else progress.percent if progress else 0.0,
        "progress_detail": TaskProgress(current=progress.current, total=progress.total, message=progress.message)
        if progress
        else None,
        "msg": job.msg if job.msg is not None else progress.message if progress else None,
        "input": body.get("input"),
        "output": output,
        "error": TaskError(type=job.error.type, message=job.error.message, where=job.error.where)
        if job.error
        else None,
        "cause": job.cause,
        "context": without_secret(context),
        "options": body.get("options"),
        "next": without_secrets(body.get("next")),
        "priority": job.priority,
        "max_retries": job.max_attempts - 1,
        "retry_count": job.retries,
        "attempts": job.attempts,
        "poll_count": job.poll_count,
        "timeout": job.timeout_ms,
        "parent_task_id": str(job.parent_id) if job.parent_id is not None else None,
        "remove_on_complete": job.remove_on_complete,
        "trace_id": job.trace_id,
        "recoverable": job.lease_expired(yard.now_ms()),
        "created_user_id": job.created_by,
        "completed_user_id": job.completed_by,
        "schedule": job.schedule,
        "slot_time": iso(job.slot_at_ms),
        "graph_id": None if job.graph is None else str(job.graph),
        "node": job.node,
        "start_time": iso(job.start_at_ms),
        "started_at": iso(job.first_started_at_ms),
        "completed_at": iso(job.completed_at_ms),
        "created_at": iso(job.created_at_ms) or "",
        "updated_at": iso(job.updated_at_ms) or "",
    }

"""What the task service shows over HTTP, in fastify-task's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from pydantic.alias_generators import to_camel

from chalicelib.api.shapes import ShownId, ShownTime, fields_of
from chalicelib.core import trace
from chalicelib.core.causes import Cause
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.http.exchange import ANSWER_MAX_BYTES, json_text
from chalicelib.http.models import IF_SET, AnswerModel, ApiModel, Id
from chalicelib.logger import logger
from chalicelib.services import task_records
from chalicelib.services.records import LogEntry, Task, ms_of
from chalicelib.store.payloads import PayloadLost, PayloadUnread

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

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
    time: ShownTime


class ConsoleRecord(AnswerModel):
    """A line that a task's handler printed or logged."""

    attempt: int = Field(description="In which run, from 1")
    source: str = Field(description="stdout, stderr or log")
    text: str
    time: ShownTime


class TaskRecord(AnswerModel):
    """A task as it stands."""

    id: ShownId = Field(examples=["1024"])
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
    parent_task_id: ShownId | None
    remove_on_complete: bool = Field(description="It is deleted once it has succeeded")
    next: Any = Field(description="The task that its success creates, without secrets")
    trace_id: str
    recoverable: bool = Field(description="Its worker fell silent; it will be run again")
    created_user_id: str | None
    completed_user_id: str | None
    schedule: str | None = Field(description="The schedule that made it")
    slot_time: ShownTime | None = Field(description="For which of its times; null: by request")
    graph_id: ShownId | None = Field(description="The graph of which it is a node")
    node: str | None = Field(description="The name that it has there")
    tenant: Annotated[str | None, IF_SET] = Field(default=None, description="On whose behalf; left out if nobody's")
    flow_key: Annotated[str | None, IF_SET] = Field(
        default=None, description="What it has in common with others; left out if it has no key"
    )
    start_time: ShownTime | None = Field(description="Not before this time")
    started_at: ShownTime | None = Field(description="When its first attempt began")
    completed_at: ShownTime | None
    created_at: ShownTime
    updated_at: ShownTime
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
    left_out = LeftOut()
    fields = _fields(yard, job, task_records.whole(yard, job, left_out.unless_read))
    polls = _poll_results(task_records.poll_results(yard, job))
    return TaskRecord(**_fitting({**fields, "poll_results": polls, "omitted": left_out.names}))


def detail_record(yard: Yard, job: Job) -> TaskDetail:
    """All of a task. Its log is at ``options.logs``, too, where users of fastify-task look for it."""
    left_out = LeftOut()
    task = task_records.detailed(yard, job, left_out.unless_read)
    fields, log = _fields(yard, job, task), log_records(task.log or ())
    lists = {
        "poll_results": _poll_results(task.poll_results or ()),
        "log": log,
        "console": [ConsoleRecord.model_validate(line) for line in task.console or ()],
    }
    options = {**(task.options or {}), "logs": log} if log else task.options
    return TaskDetail(**_fitting({**fields, "options": options, **lists, "omitted": left_out.names}))


def listed_record(yard: Yard, job: Job, body: dict[str, Any] | None) -> TaskRecord:
    """A task as lists show it: with what its record and its ``body`` hold, if that was read.

    Without a body its fields are null and named.
    """
    left_out = LeftOut([] if body is not None else task_records.fields_in_body(job))
    fields = _fields(yard, job, task_records.listed(yard, job, body, left_out.unless_read))
    return TaskRecord(**fields, poll_results=None, omitted=[to_camel(name) for name in left_out.names])


def log_records(entries: Sequence[LogEntry]) -> list[LogRecord]:
    """A log, as it is shown."""
    return [LogRecord.model_validate(entry) for entry in entries]


def _poll_results(polls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**found, "time": trace.iso(ms_of(found["time"]))} for found in polls]


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


def _fields(yard: Yard, job: Job, task: Task) -> dict[str, Any]:
    """The fields of a task but its lists, by what they are called here."""
    return {
        **{name: value for name, value in fields_of(task).items() if name not in LISTS},
        "progress_detail": job.progress,
        "timeout": task.timeout_ms,
        "parent_task_id": task.parent_id,
        "recoverable": job.lease_expired(yard.now_ms()),
    }

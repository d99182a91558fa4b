"""Tasks of an application: ``/task/create``, ``/task/cancel``, ``/task/detail`` and ``/nsq/publish``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, WithJsonSchema

from chalicelib.api.serendipity.signed import HEADERS, signer
from chalicelib.api.serendipity.words import SIGNED, STATUS_OF, Ok, Refusal, Status, refused
from chalicelib.core.errors import Conflict, NotFound
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.core.trace import iso
from chalicelib.engine.commands import applications
from chalicelib.engine.failures import log_failure
from chalicelib.engine.handlers.signatures import place_of as declared_at
from chalicelib.engine.policy import handlers_of
from chalicelib.engine.publish.publish import AliasTaken, publish
from chalicelib.engine.worker.deliver import DELIVER
from chalicelib.http.exchange import Answer, Caller
from chalicelib.http.models import AnswerModel, Id
from chalicelib.http.routes import Router
from chalicelib.services.serendipity_orders import Lenient, TaskOrder, new_job
from chalicelib.store.payloads import PayloadLost, PayloadUnread

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Serendipity", style=SIGNED)

Ignored = Annotated[Any, WithJsonSchema({"type": ["string", "integer", "null"]})]


class TaskBody(Lenient):
    """A task by its id."""

    id: Id = Field(description="The task", examples=[18])
    coroutine_id: Ignored = Field(default=None, alias="coroutine_id", description="Passed over: the id is enough")
    service_id: Ignored = Field(default=None, alias="service_id", description="Passed over, too")


class PublishBody(Lenient):
    """A task by its id."""

    task_id: Id = Field(alias="task_id", description="The task", examples=[1])


class Created(AnswerModel):
    """The task is accepted."""

    task_id: int = Field(examples=[81])


class Caught(AnswerModel):
    """What was canceled."""

    task_id: int
    caught: str = Field(description="waiting: it never ran; running: its run learns of it at its next heartbeat")


class Nothing(AnswerModel):
    """Nothing more to say."""


class Resting(AnswerModel):
    """It is sent, but its application rests, and nothing is delivered before."""

    resting_until: str


class Detail(AnswerModel):
    """A task, and where its run is as of its newest heartbeat."""

    state: str = Field(description="waiting, running, done, canceled or failed")
    trace_list: str = Field(alias="trace_list", description="JSON text: {file, line, function, args}, the newest first")
    executed_file_name: str = Field(alias="executed_file_name")
    executed_function_name: str = Field(alias="executed_function_name")
    executed_function_line: int = Field(alias="executed_function_line")
    vars: list[Any] = Field(description="Always empty: what a handler works on may be secret")
    round: int = Field(description="How many runs were begun")
    elapsed: int = Field(description="Of the run that goes on, or of the last one, in milliseconds")
    status: Status = Field(description="0 waiting, 1 running, 2 done, 3 canceled, 4 failed")
    task_id: int
    task_no: str | None
    retries: int = Field(description="How often it was tried again, or is to be by now")
    runtime: str = Field(description="When it runs next, or ran")
    error: str | None = Field(description="Why the newest run failed")
    result: Any = Field(description="Of a task that is done: what linkUrl answered, or its handler returned")


@router.post("/task/create", scope=None, verify=signer, headers=HEADERS, answer=Ok[Created] | Refusal)
def create_task(yard: Yard, body: TaskOrder, caller: Caller) -> Answer:
    """Create a task of the application that signs. A `taskNo` that it has used is code 1, with that task's id."""
    try:
        job = publish(yard, new_job(yard, caller.signer, body))
    except AliasTaken as taken:
        return refused(f"Duplicate taskNo: task {taken.holder} has it", taskId=taken.holder)
    return Answer(body=Ok(msg="ok!", data=Created(task_id=job.id)))


@router.post("/task/cancel", scope=None, verify=signer, headers=HEADERS, answer=Ok[Caught] | Refusal)
def cancel_task(yard: Yard, body: TaskBody, caller: Caller) -> Answer:
    """Cancel a task that is not done. The answer says whether it was caught before it ran, while it ran, or not."""
    seen = applications.task_of(yard, caller.signer, parse_job_id(body.id))
    after, caught = applications.cancel(yard, seen)
    if not caught:
        return refused(f"Too late: the task is {_word(after)}", taskId=after.id, status=STATUS_OF[after.state])
    return Answer(body=Ok(msg="ok!", data=Caught(task_id=after.id, caught=_word(seen))))


@router.get("/task/detail", scope=None, verify=signer, headers=HEADERS, answer=Ok[Detail] | Refusal)
def task_detail(yard: Yard, query: TaskBody, caller: Caller) -> Ok[Detail]:
    """Show a task of the application that signs."""
    return Ok(msg="ok!", data=_detail(yard, applications.task_of(yard, caller.signer, parse_job_id(query.id))))


@router.post("/nsq/publish", scope=None, verify=signer, headers=HEADERS, answer=Ok[Nothing | Resting] | Refusal)
def publish_task(yard: Yard, body: PublishBody, caller: Caller) -> Answer:
    """Send a task again: one that is to run later runs now, one that failed or was canceled runs once more.

    While its application rests, it is delivered afterwards: the answer says when.
    """
    try:
        seen = applications.task_of(yard, caller.signer, parse_job_id(body.task_id))
    except NotFound:
        return refused(f"Unknown Task [{str(body.task_id)[:40]}]#")
    try:
        applications.send_again(yard, seen)
    except Conflict:
        return refused(f"The task is {_word(seen)}, and is not sent again", status=STATUS_OF[seen.state])
    rests_until_ms = caller.signer.resting_until_ms if seen.delivers else 0
    rests = rests_until_ms > yard.now_ms()
    return Answer(body=Ok(msg="ok!", data=Resting(resting_until=iso(rests_until_ms)) if rests else Nothing()))


def _word(job: Job) -> str:
    return STATUS_OF[job.state].name.lower()


def _detail(yard: Yard, job: Job) -> Detail:
    lines = list(_lines(yard, job)) if job.state is State.RUNNING else []
    newest: dict[str, Any] = lines[0] if lines else {"file": "", "function": "", "line": 0}
    ended_ms = yard.now_ms() if job.state is State.RUNNING else job.completed_at_ms or job.started_at_ms or 0
    return Detail(
        state=_word(job),
        trace_list=json.dumps(lines, separators=(",", ":")),
        executed_file_name=newest["file"],
        executed_function_name=newest["function"],
        executed_function_line=newest["line"],
        vars=[],
        round=job.attempts,
        elapsed=max(0, ended_ms - (job.started_at_ms or ended_ms)),
        status=STATUS_OF[job.state],
        task_id=job.id,
        task_no=job.target_id,
        retries=job.retries,
        runtime=iso(job.due_at_ms),
        error=None if job.error is None else job.error.message,
        result=_result(yard, job),
    )


def _lines(yard: Yard, job: Job) -> Iterator[dict[str, Any]]:
    """Where a run is: as of its newest heartbeat, and before the first where its handler begins."""
    handlers = (DELIVER,) if job.delivers else handlers_of(yard, job)
    begins_at = (f"{declared_at(each.function)} {each.label.rpartition('.')[2]}" for each in handlers)
    for line in (job.running_at or "\n".join(begins_at)).splitlines():
        place, _, function = line.rpartition(" ")
        file, _, number = place.rpartition("/")[2].rpartition(":")
        yield {"file": file, "line": int(number or 0), "function": function, "args": []}


def _result(yard: Yard, job: Job) -> Any:
    try:
        return yard.payloads.output(job) if job.state is State.SUCCESS else None
    except (PayloadLost, PayloadUnread) as error:
        log_failure("a task is shown without its result", error, job_id=job.id)
        return None

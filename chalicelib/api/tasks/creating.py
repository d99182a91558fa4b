"""Creating tasks: ``/api/task/create`` and ``create-batch``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from chalicelib.api.backoffs import BackoffRequest, backoff_of
from chalicelib.api.entries import (
    BATCH_MAX,
    Entry,
    entries_of,
    publish_entries,
    require_room_in_answer,
)
from chalicelib.api.shapes import FASTIFY, TENANT_HEADERS, idempotency_key_of, request_tenant_of
from chalicelib.api.tasks.records import TaskRecord, listed_record, whole_record
from chalicelib.core.errors import InvalidInput, TaskyardError, within
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import ATTEMPTS_MAX, MANUAL, SYSTEM, Job
from chalicelib.core.signature import check_secret_in
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.http.exchange import Caller
from chalicelib.http.models import NOT_BOOLEAN, AnswerModel, ApiModel, Id, Name, Priority, Target, Tenant
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

DELAY_MAX_S = 10 * 365 * 86_400
TIMEOUT_MAX_MS = 86_400_000
RECORD_MAX_BYTES = 20_000  # of a task in an answer beside what its client wrote: remarks, an error, names of fields

router = Router("Tasks", "Create tasks and follow how they go, as fastify-task does.", style=FASTIFY)

ScriptName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Retries = Annotated[int, Field(ge=0, le=ATTEMPTS_MAX - 1), NOT_BOOLEAN]
TimeoutMs = Annotated[int, Field(ge=0, le=TIMEOUT_MAX_MS), NOT_BOOLEAN]


class Order(ApiModel):
    """What every task may be told."""

    ELSEWHERE: ClassVar = {
        "targetName": "input.name, where filter.targetName looks for it",
        "attempts": "maxRetries, which does not count the first attempt",
        "ttl": "timeout",
    }

    type: Name = Field(description="What kind of work", examples=["text.statistics"])
    runner_type: Literal["manual", "system"] = Field(default="manual", description="system: a handler runs it")
    input: Any = Field(default=None, description="What the handler gets", examples=[{"text": "to be or not to be"}])
    delay: float = Field(default=0, ge=0, le=DELAY_MAX_S, description="Not before so many seconds from now")
    script_name: ScriptName | None = Field(default=None, description="Which of the type's handlers; default index")
    max_retries: Retries | None = Field(default=None, description="How often it is tried again after the first failure")
    timeout: TimeoutMs | None = Field(
        default=None, description="Milliseconds an attempt, or the wait of a parked task, may take; 0: no limit"
    )
    context: dict[str, Any] | None = Field(default=None, description="Kept with the task; its secret is never shown")
    options: dict[str, Any] | None = None
    tenant: Tenant | None = Field(default=None, description="On whose behalf: tenants share a lane", examples=["acme"])
    flow_key: Target | None = Field(
        default=None, description="What it has in common with others; default: its handler's key", examples=["c-7"]
    )
    next: FollowUp | None = Field(default=None, description="What is created once it has succeeded")


class FollowUp(Order):
    """A task that is created once another has succeeded; without an input of its own it gets the other's output."""

    target_id: Target | None = Field(default=None, description="Default: that of the task before")
    target_type: Name | None = Field(default=None, description="Default: that of the task before")
    priority: Priority | None = Field(default=None, description="Default: that of the task before")
    tenant: Tenant | None = Field(default=None, description="Default: that of the task before")
    runner_type: Literal["manual", "system"] = Field(default="system", description="system: a handler runs it")


class CreateBody(Order):
    """A task to be created."""

    target_id: Target = Field(description="What it is about; a number is kept as its digits", examples=["readme"])
    target_type: Name = Field(description="What sort of thing that is", examples=["document"])
    priority: Priority = Field(default=0, description="Larger is sooner")
    user_id: Name | None = Field(default=None, description="Who asks for it: createdUserId")
    trace_id: Name | None = Field(default=None, description="Your own trace id; default: a new one")
    backoff: BackoffRequest | None = None
    remove_on_complete: bool = Field(default=False, description="Delete it once it has succeeded")
    parent_task_id: Id | None = Field(default=None, description="Start only after this task has succeeded")
    idempotency_key: Name | None = Field(default=None, description="Two requests with one key are one task")


class CreateBatchBody(ApiModel):
    """Tasks to be created together."""

    tasks: list[Entry[CreateBody]] = Field(min_length=1, max_length=BATCH_MAX)


class CreateResult(AnswerModel):
    """What became of one task of a batch."""

    success: bool
    task: TaskRecord | None = None
    error: str | None = None


class CreateResults(AnswerModel):
    """What became of each task of a batch, in order."""

    results: list[CreateResult]


@router.post(
    "/api/task/create",
    scope="task",
    answers={
        409: "The idempotency key was used with another request",
        413: "The input is too large",
        429: "As many tasks of the type are unfinished as may be",
    },
    headers={"Idempotency-Key": "Two requests with one key are one task", **TENANT_HEADERS},
)
def create_task(yard: Yard, body: CreateBody, caller: Caller) -> TaskRecord:
    """Create a task.

    A system task is run by the handler of its type; a manual one waits for a person, and may be of any type.
    """
    key = idempotency_key_of(body.idempotency_key, caller.headers)
    return whole_record(yard, publish(yard, _new_job(body, key, request_tenant_of(body.tenant, caller.headers))))


@router.post(
    "/api/task/create-batch",
    scope="task",
    answers={413: "The tasks together are too large"},
    headers={
        "Idempotency-Key": "Two requests with one key are one batch: its entries have the keys key#0, key#1, ...",
        **TENANT_HEADERS,
    },
)
def create_tasks(yard: Yard, body: CreateBatchBody, caller: Caller) -> CreateResults:
    """Create up to 100 tasks at once, each accepted or not for itself.

    An entry that is wrong is told in its result and costs the others nothing. Each entry may have an idempotencyKey of
    its own; the others get one of the Idempotency-Key header, if there is one: `key#0` is that of the first entry.
    """
    entries = entries_of(body.tasks)
    require_room_in_answer("tasks", [each for each in entries if isinstance(each, CreateBody)], RECORD_MAX_BYTES)
    published = publish_entries(yard, entries, caller.headers, _new_job)
    return CreateResults(results=[_result(yard, *each) for each in published])


def _result(yard: Yard, asked: NewJob | TaskyardError, outcome: Job | TaskyardError) -> CreateResult:
    if isinstance(outcome, TaskyardError) or isinstance(asked, TaskyardError):
        return CreateResult(success=False, error=str(outcome))
    body = {"input": asked.input, "options": asked.options, "context": asked.context, "next": asked.next}
    return CreateResult(success=True, task=listed_record(yard, outcome, body))


def _new_job(body: CreateBody, idempotency_key: str | None, tenant: str | None) -> NewJob:
    check_secrets(body)
    delay_ms = round(body.delay * 1_000)
    return NewJob(
        kind=Kind.TASK,
        type=body.type,
        input=body.input,
        options=body.options,
        context=body.context,
        priority=body.priority,
        delay_ms=delay_ms or None,
        max_attempts=None if body.max_retries is None else body.max_retries + 1,
        timeout_ms=body.timeout,
        backoff=backoff_of(body.backoff, delay_ms),
        runner=SYSTEM if body.runner_type == "system" else MANUAL,
        script=body.script_name,
        target_id=body.target_id,
        target_type=body.target_type,
        parent_id=_parent_id(body.parent_task_id),
        next=None if body.next is None else next_request(body.next),
        created_by=body.user_id,
        trace_id=body.trace_id,
        remove_on_complete=body.remove_on_complete,
        idempotency_key=idempotency_key,
        tenant=tenant,
        flow_key=body.flow_key,
    )


def next_request(follow_up: FollowUp) -> dict[str, Any]:
    """What was told of a follow-up. An input of null is told, too; any other null is as good as nothing."""
    told = follow_up.model_dump(by_alias=True, exclude_unset=True, exclude={"next"})
    request = {name: value for name, value in told.items() if value is not None or name == "input"}
    return request if follow_up.next is None else {**request, "next": next_request(follow_up.next)}


def check_secrets(order: Order) -> None:
    """Raise ``InvalidInput`` for a secret that nobody could sign with, of the task or of what follows it."""
    check_secret_in(order.context)
    if order.next is not None:
        with within("next"):
            check_secrets(order.next)


def _parent_id(text: Id | None) -> int | None:
    if text is None:
        return None
    parent_id = parse_job_id(text)
    if parent_id is None:
        raise InvalidInput("this is no task id", field="parentTaskId", expected="the id of a task", got=text)
    return parent_id

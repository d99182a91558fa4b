"""Creating tasks: ``/api/task/create``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from chalicelib.api.backoffs import BackoffRequest, backoff_of
from chalicelib.api.shapes import FASTIFY, idempotency_key_of
from chalicelib.api.tasks.records import TaskRecord, whole_record
from chalicelib.core.errors import InvalidInput, within
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import ATTEMPTS_MAX, MANUAL, SYSTEM
from chalicelib.core.signature import check_secret_in
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.http.exchange import Caller
from chalicelib.http.models import NOT_BOOLEAN, ApiModel, Id, Name, Priority, Target
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

DELAY_MAX_S = 10 * 365 * 86_400
TIMEOUT_MAX_MS = 86_400_000

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
    next: FollowUp | None = Field(default=None, description="What is created once it has succeeded")


class FollowUp(Order):
    """A task that is created once another has succeeded; without an input of its own it gets the other's output."""

    target_id: Target | None = Field(default=None, description="Default: that of the task before")
    target_type: Name | None = Field(default=None, description="Default: that of the task before")
    priority: Priority | None = Field(default=None, description="Default: that of the task before")
    runner_type: Literal["manual", "system"] = Field(default="system", description="system: a handler runs it")


class CreateBody(Order):
    """A task to be created."""

    target_id: Target = Field(description="What it is about; a number is kept as its digits", examples=["readme"])
    target_type: Name = Field(description="What sort of thing that is", examples=["document"])
    priority: Priority = Field(default=0, description="Larger is sooner")
    user_id: Name | None = Field(default=None, description="Who asks for it: createdUserId")
    backoff: BackoffRequest | None = None
    remove_on_complete: bool = Field(default=False, description="Delete it once it has succeeded")
    parent_task_id: Id | None = Field(default=None, description="Start only after this task has succeeded")
    idempotency_key: Name | None = Field(default=None, description="Two requests with one key are one task")


@router.post(
    "/api/task/create",
    scope="task",
    answers={
        409: "The idempotency key was used with another request",
        413: "The input is too large",
        429: "As many tasks of the type are unfinished as may be",
    },
    headers={"Idempotency-Key": "Two requests with one key are one task"},
)
def create_task(yard: Yard, body: CreateBody, caller: Caller) -> TaskRecord:
    """Create a task.

    A system task is run by the handler of its type; a manual one waits for a person, and may be of any type.
    """
    return whole_record(yard, publish(yard, _new_job(body, caller.headers)))


def _new_job(body: CreateBody, headers: Mapping[str, str]) -> NewJob:
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
        remove_on_complete=body.remove_on_complete,
        idempotency_key=idempotency_key_of(body.idempotency_key, headers),
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

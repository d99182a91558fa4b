"""The task service, as users of fastify-task know it: ``/api/task``.

Shapes and words follow spec/fastify-task. A task's states have the engine's own names here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from chalicelib.api.exchange import Caller
from chalicelib.api.models import NOT_BOOLEAN, AnswerModel, ApiModel, Id, Name, Whole
from chalicelib.api.paging import ListAnswer, Paging, bodies_of, listed
from chalicelib.api.routes import Router
from chalicelib.api.shapes import Moment, idempotency_key_of, iso, job_id_of, to_ms, without_secret
from chalicelib.core.errors import Conflict, InvalidInput, TaskyardError
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import ATTEMPTS_MAX, MANUAL, SYSTEM, Job
from chalicelib.core.lanes import PRIORITY_MAX, PRIORITY_MIN
from chalicelib.core.states import Kind, State
from chalicelib.engine import lifecycle
from chalicelib.engine.publish import Draft, publish
from chalicelib.store.job_lists import LABELS, Wanted, labels_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

BULK_MAX = 100
DELAY_MAX_S = 10 * 365 * 86_400
TIMEOUT_MAX_MS = 86_400_000

router = Router("Tasks", "Create tasks and follow how they go, as fastify-task does.")

SORT_KEYS: dict[str, Callable[[Job], Any]] = {
    "id": lambda job: job.id,
    "targetId": lambda job: job.target_id or "",
    "targetType": lambda job: job.target_type or "",
    "type": lambda job: job.type,
    "status": lambda job: job.state.value,
    "runnerType": lambda job: job.runner,
    "createdAt": lambda job: (job.created_at_ms, job.id),
    "updatedAt": lambda job: job.updated_at_ms,
    "startTime": lambda job: job.due_at_ms,
    "completedAt": lambda job: job.completed_at_ms or 0,
}

# -- shapes -------------------------------------------------------------------------------------------

ScriptName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Retries = Annotated[int, Field(ge=0, le=ATTEMPTS_MAX - 1), NOT_BOOLEAN]
TimeoutMs = Annotated[int, Field(ge=0, le=TIMEOUT_MAX_MS), NOT_BOOLEAN]


class CreateBody(ApiModel):
    """A task to be created."""

    type: Name = Field(description="What kind of work", examples=["text.statistics"])
    target_id: Name = Field(description="What it is about", examples=["readme"])
    target_type: Name = Field(description="What sort of thing that is", examples=["document"])
    input: Any = Field(default=None, description="What the handler gets", examples=[{"text": "to be or not to be"}])
    runner_type: Literal["manual", "system"] = Field(default="manual", description="system: a handler runs it")
    delay: float = Field(default=0, ge=0, le=DELAY_MAX_S, description="Not before so many seconds from now")
    script_name: ScriptName | None = None
    priority: Whole = Field(default=0, ge=PRIORITY_MIN, le=PRIORITY_MAX, description="Larger is sooner")
    max_retries: Retries | None = Field(default=None, description="How often it is tried again after the first failure")
    timeout: TimeoutMs | None = Field(
        default=None, description="Milliseconds an attempt may take; 0: no limit of its own"
    )
    context: dict[str, Any] | None = Field(default=None, description="Kept with the task; its secret is never shown")
    options: dict[str, Any] | None = None
    parent_task_id: Id | None = Field(default=None, description="Start only after this task has succeeded")
    idempotency_key: Name | None = Field(default=None, description="Two requests with one key are one task")


class TaskQuery(ApiModel):
    """A task by its id."""

    id: str


class Span(ApiModel):
    """A span of time, both ends included."""

    start_time: Moment | None = None
    end_time: Moment | None = None

    @model_validator(mode="after")
    def _forwards(self) -> Span:
        if self.start_time is not None and self.end_time is not None and self.end_time < self.start_time:
            raise ValueError("an endTime that is not before startTime")
        return self


class TaskFilter(ApiModel):
    """Which tasks; all conditions hold together."""

    id: str | None = None
    target_id: Name | None = None
    target_type: Name | None = None
    target_name: Name | None = Field(default=None, description="Part of input.name, upper and lower case alike")
    type: Name | None = None
    status: State | None = None
    runner_type: Literal["manual", "system"] | None = None
    created_at: Span | None = None
    completed_at: Span | None = None


class ListQuery(Paging):
    """Which tasks to list, and in what order."""

    filter: TaskFilter = Field(default_factory=TaskFilter)
    sort: dict[str, Literal["ASC", "DESC"]] = Field(
        default_factory=dict, max_length=1, description=f"One of {', '.join(SORT_KEYS)}: ASC or DESC"
    )


class TaskBody(ApiModel):
    """A task by its id."""

    id: Id


class RetryBody(ApiModel):
    """One task, or several."""

    id: Id | None = None
    task_ids: list[Id] | None = Field(default=None, min_length=1, max_length=BULK_MAX)

    @model_validator(mode="after")
    def _one_way(self) -> RetryBody:
        if (self.id is None) == (self.task_ids is None):
            raise ValueError("either id or taskIds, and not both")
        return self


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
    msg: str | None
    input: Any
    output: Any
    error: TaskError | None
    context: Any
    options: Any
    priority: int
    max_retries: int
    retry_count: int = Field(description="How many attempts failed")
    attempts: int = Field(description="How many attempts were started")
    timeout: int | None
    parent_task_id: str | None
    trace_id: str
    recoverable: bool = Field(description="Its worker fell silent; it will be run again")
    start_time: str | None
    started_at: str | None
    completed_at: str | None
    created_at: str
    updated_at: str


class TaskPage(ListAnswer):
    """A page of tasks."""

    page_data: list[TaskRecord]


# -- routes -------------------------------------------------------------------------------------------


@router.post(
    "/api/task/create",
    scope="task",
    answers={409: "The idempotency key was used with another request", 413: "The input is too large"},
    headers={"Idempotency-Key": "Two requests with one key are one task"},
)
def create_task(yard: Yard, body: CreateBody, caller: Caller) -> TaskRecord:
    """Create a task.

    A system task is run by the handler of its type; a manual one waits for a person, and may be of any type.
    """
    return _whole_record(yard, publish(yard, _draft(body, caller.headers)))


@router.get("/api/task/detail", scope="task")
def task_detail(yard: Yard, query: TaskQuery) -> TaskRecord:
    """Show one task."""
    return _whole_record(yard, lifecycle.find(yard, job_id_of(query.id, "task"), Kind.TASK))


@router.get("/api/task/list", scope="task")
def list_tasks(yard: Yard, query: ListQuery) -> TaskPage:
    """List tasks, newest first unless another order is asked for.

    Type, status and creation time are answered by an index; other filters and orders look at the newest 10,000.
    """
    page = listed(yard.lists, _wanted(yard, query), query)
    bodies = bodies_of(yard.payloads, page.jobs)
    records = [_record(yard, job, bodies[job.id], yard.payloads.inline_output(job)) for job in page.jobs]
    return TaskPage(page_data=records, total_count=page.total, total_is_exact=page.exact, next_cursor=page.next_cursor)


@router.post("/api/task/cancel", scope="task")
def cancel_task(yard: Yard, body: TaskBody) -> Done:
    """Cancel a task that is not done; one that is done stays as it is."""
    lifecycle.cancel(yard, job_id_of(str(body.id), "task"), Kind.TASK)
    return Done()


@router.post("/api/task/retry", scope="task", answers={409: "A task is neither failed nor canceled"})
def retry_task(yard: Yard, body: RetryBody) -> Done:
    """Run failed or canceled tasks again. Of several, those that can be retried are, even where others cannot."""
    if body.task_ids is None:
        lifecycle.retry(yard, job_id_of(str(body.id), "task"), Kind.TASK)
        return Done()
    refused = [reason for text in body.task_ids if (reason := _retry_refused(yard, str(text)))]
    if refused:
        raise Conflict(f"{len(refused)} of {len(body.task_ids)} tasks were not retried: {'; '.join(refused[:5])}")
    return Done()


# -- steps --------------------------------------------------------------------------------------------


def _draft(body: CreateBody, headers: Mapping[str, str]) -> Draft:
    return Draft(
        kind=Kind.TASK,
        type=body.type,
        input=body.input,
        options=body.options,
        context=body.context,
        priority=body.priority,
        delay_ms=round(body.delay * 1_000) if body.delay else None,
        max_attempts=None if body.max_retries is None else body.max_retries + 1,
        timeout_ms=body.timeout,
        runner=SYSTEM if body.runner_type == "system" else MANUAL,
        script=body.script_name,
        target_id=body.target_id,
        target_type=body.target_type,
        parent_id=_parent_id(body.parent_task_id),
        idempotency_key=idempotency_key_of(body.idempotency_key, headers),
    )


def _parent_id(text: Id | None) -> int | None:
    if text is None:
        return None
    parent_id = parse_job_id(text)
    if parent_id is None:
        raise InvalidInput("this is no task id", field="parentTaskId", expected="the id of a task", got=text)
    return parent_id


def _wanted(yard: Yard, query: ListQuery) -> Wanted:
    """The list that the query describes: what an index answers, and a test for what none does."""
    chosen = query.filter
    key, direction = next(iter(query.sort.items()), ("createdAt", "DESC"))
    if key not in SORT_KEYS:
        raise InvalidInput("this is no sort key", field="sort", expected=" or ".join(SORT_KEYS), got=key)
    created = chosen.created_at or Span()
    tests = _tests(yard, chosen)
    return Wanted(
        Kind.TASK,
        chosen.type,
        labels_of(chosen.status) if chosen.status is not None else LABELS,
        since_ms=to_ms(created.start_time) if created.start_time else None,
        until_ms=to_ms(created.end_time) if created.end_time else None,
        matches=(lambda job: all(test(job) for test in tests)) if tests else None,
        order=None if key == "createdAt" else SORT_KEYS[key],
        descending=direction == "DESC",
    )


def _tests(yard: Yard, chosen: TaskFilter) -> list[Callable[[Job], bool]]:
    tests: list[Callable[[Job], bool]] = []
    if chosen.id is not None:
        wanted_id = parse_job_id(chosen.id)
        tests.append(lambda job: job.id == wanted_id)
    if chosen.target_id is not None:
        tests.append(lambda job: job.target_id == chosen.target_id)
    if chosen.target_type is not None:
        tests.append(lambda job: job.target_type == chosen.target_type)
    if chosen.runner_type is not None:
        tests.append(lambda job: job.runner == chosen.runner_type)
    if chosen.completed_at is not None:
        tests.append(_within(chosen.completed_at))
    if chosen.target_name is not None:
        part = chosen.target_name.casefold()
        tests.append(lambda job: part in _target_name(yard, job).casefold())
    return tests


def _within(span: Span) -> Callable[[Job], bool]:
    since_ms = to_ms(span.start_time) if span.start_time else 0
    until_ms = to_ms(span.end_time) if span.end_time else None

    def within(job: Job) -> bool:
        at_ms = job.completed_at_ms
        return at_ms is not None and since_ms <= at_ms and (until_ms is None or at_ms <= until_ms)

    return within


def _target_name(yard: Yard, job: Job) -> str:
    given = yard.payloads.body(job).get("input")
    name = given.get("name") if isinstance(given, dict) else None
    return name if isinstance(name, str) else ""


def _retry_refused(yard: Yard, text: str) -> str | None:
    try:
        lifecycle.retry(yard, job_id_of(text, "task"), Kind.TASK)
    except TaskyardError as error:
        return f"{text[:40]}: {error.message}"
    return None


def _whole_record(yard: Yard, job: Job) -> TaskRecord:
    return _record(yard, job, yard.payloads.body(job), yard.payloads.output(job))


def _record(yard: Yard, job: Job, body: dict[str, Any] | None, output: Any) -> TaskRecord:
    content = body or {}
    progress = job.progress
    return TaskRecord(
        id=str(job.id),
        type=job.type,
        script_name=job.script or "index",
        target_id=job.target_id,
        target_type=job.target_type,
        runner_type=job.runner,
        status=job.state,
        progress=100.0 if job.state is State.SUCCESS else progress.percent if progress else 0.0,
        progress_detail=TaskProgress(current=progress.current, total=progress.total, message=progress.message)
        if progress
        else None,
        msg=progress.message if progress else None,
        input=content.get("input"),
        output=output,
        error=TaskError(type=job.error.type, message=job.error.message, where=job.error.where) if job.error else None,
        context=without_secret(content.get("context")),
        options=content.get("options"),
        priority=job.priority,
        max_retries=job.max_attempts - 1,
        retry_count=job.failures,
        attempts=job.attempts,
        timeout=job.timeout_ms,
        parent_task_id=str(job.parent_id) if job.parent_id is not None else None,
        trace_id=job.trace_id,
        recoverable=job.lease_expired(yard.now_ms()),
        start_time=iso(job.start_at_ms),
        started_at=iso(job.first_started_at_ms),
        completed_at=iso(job.completed_at_ms),
        created_at=iso(job.created_at_ms) or "",
        updated_at=iso(job.updated_at_ms) or "",
    )

"""What Serendipity-Job's users ask for, an application or a task of one, as the engine has it: for HTTP and Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from chalicelib.core import retry
from chalicelib.core.applications import (
    CONCURRENCY,
    CONCURRENCY_MAX,
    DELIVERY,
    RETRIES,
    RETRIES_MAX,
    STEP_MAX_S,
    STEP_S,
    TARGET,
    Application,
    moment_ms,
)
from chalicelib.core.errors import InvalidInput, TaskyardError, within
from chalicelib.core.graph_order import NODES_MAX, arranged
from chalicelib.core.graphs import OnFailure, Plan
from chalicelib.core.retry import Linear
from chalicelib.core.states import Kind
from chalicelib.core.webhooks import URL_MAX_CHARS
from chalicelib.engine.graphs.accept import NewGraph
from chalicelib.engine.new_job import NewJob
from chalicelib.http.body import parsed
from chalicelib.http.models import NOT_BOOLEAN, ApiModel, Name, Target, Tenant, Text

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

TIMEOUT_MAX_MS = 86_400_000
RUNTIME = "2021-07-27 17:30:30, unix seconds, or ISO 8601"
CLASS = "\\"  # what the name of a handler begins with that is to run what names it as its class


def _content(value: Any) -> Any:
    """A content as JSON has it: text is JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return parsed(value.encode(), None)
    except (TaskyardError, UnicodeEncodeError):
        raise ValueError("JSON, or JSON text") from None


class Lenient(ApiModel):
    """A request in which a field that there is not is passed over, as Serendipity-Job does."""

    model_config = ConfigDict(extra="ignore")


class ApplicationOrder(Lenient):
    """An application to be."""

    app_name: Name = Field(examples=["billing"])
    link_url: str = Field(min_length=1, max_length=URL_MAX_CHARS, examples=["https://billing.example.com/tasks"])
    step: Annotated[int, Field(ge=0, le=STEP_MAX_S), NOT_BOOLEAN] = Field(
        default=STEP_S, description="Retry n of a task comes n times so many seconds after the failure before it"
    )
    retry_total: Annotated[int, Field(ge=0, le=RETRIES_MAX), NOT_BOOLEAN] = Field(
        default=RETRIES, description="How often a task is tried again"
    )
    remark: Annotated[Text, Field(max_length=1_000)] | None = Field(default=None, description="Default: the time")
    replay_protection: bool = Field(
        default=True,
        description="false: the headers of refresh-signature are taken with any body, for 300 s, as often as they come",
    )
    concurrency: Annotated[int, Field(ge=1, le=CONCURRENCY_MAX), NOT_BOOLEAN] = Field(
        default=CONCURRENCY, description="How many of its tasks are delivered at the same time, each by a worker"
    )
    timezone: Name = Field(default="UTC", description="Of the times that it writes without an offset")

    def definition(self, remark: str) -> dict[str, Any]:
        """What the engine makes of it."""
        return {
            "name": self.app_name,
            "link_url": self.link_url,
            "step_s": self.step,
            "retry_total": self.retry_total,
            "remark": remark if self.remark is None else self.remark,
            "replay_protection": self.replay_protection,
            "concurrency": self.concurrency,
            "zone": self.timezone,
        }


class TaskOrder(Lenient):
    """A task to be."""

    task_no: Target = Field(description="The application's own; no other task of it has it")
    content: Annotated[Any, BeforeValidator(_content)] = Field(
        description="What is delivered, JSON or its text. Of {class, _params}: see docs/serendipity.md",
        examples=[{"class": "\\Serendipity\\Job\\Job\\SimpleJob", "_params": {"startDate": "2021-07-27 17:50:50"}}],
    )
    name: Name = Field(examples=["name"])
    timeout: Annotated[int, Field(ge=1, le=TIMEOUT_MAX_MS), NOT_BOOLEAN] = Field(
        description="Of a run, in milliseconds", examples=[60_000]
    )
    runtime: Annotated[str | int, NOT_BOOLEAN] | None = Field(
        default=None, description=f"When to run, default now: {RUNTIME}", examples=["2021-07-27 17:30:30"]
    )
    tenant: Tenant | None = Field(default=None, description="On whose behalf: tenants share a lane", examples=["acme"])
    flow_key: Target | None = Field(default=None, description="What it has in common with others", examples=["c-7"])


class NodeOrder(TaskOrder):
    """A task of a graph, by its ``taskNo``, which no other of the graph has."""

    after: list[Target] = Field(default_factory=list, description="The taskNo of the tasks that must be done before")


class GraphOrder(Lenient):
    """A graph to be."""

    name: Name = Field(examples=["nightly"])
    tasks: list[NodeOrder] = Field(min_length=1, max_length=NODES_MAX)
    on_failure: OnFailure = Field(
        default=OnFailure.STOP,
        description="stop: after a task has failed none is started any more; continue: those after it start all the "
        "same; compensate: as stop, and then the compensation runs",
    )
    compensation: TaskOrder | None = Field(default=None, description="With onFailure compensate: what undoes the work")
    workflow_no: Target | None = Field(default=None, description="Asked for twice under one number, it is made once")


def new_graph(yard: Yard, application: Application, order: GraphOrder) -> NewGraph:
    """The graph that an application asks for. Raises ``InvalidInput``."""
    backoff = retry.to_document(Linear(application.step_s * 1_000, STEP_MAX_S * 1_000))
    nodes = [(task.task_no, _request(yard, application, task), task.after) for task in order.tasks]
    plan = Plan(
        arranged(nodes),
        order.on_failure,
        None if order.compensation is None else _request(yard, application, order.compensation),
        {"application": application.app_key, "backoff": backoff},
    )
    number = order.workflow_no
    return NewGraph(
        plan=plan,
        name=order.name,
        created_by=application.app_key,
        idempotency_key=None if number is None else f"{application.app_key}/{number}",
    )


def _request(yard: Yard, application: Application, order: TaskOrder) -> dict[str, Any]:
    """A task of a graph, in fastify-task's words. Raises ``InvalidInput`` for one with a time of its own."""
    if order.runtime not in (None, ""):
        with within(f"tasks.{order.task_no}"):
            expected = "nothing: it runs once those before it are done"
            raise InvalidInput("a task of a graph has no time", field="runtime", expected=expected, got=order.runtime)
    made = new_job(yard, application, order)
    return {
        "type": made.type,
        "input": made.input,
        "options": made.options,
        "maxRetries": application.retry_total,
        "timeout": made.timeout_ms,
        "targetId": made.target_id,
        "targetType": made.target_type,
        **({} if made.tenant is None else {"tenant": made.tenant}),
        **({} if made.flow_key is None else {"flowKey": made.flow_key}),
    }


def new_job(yard: Yard, application: Application, order: TaskOrder) -> NewJob:
    """The task that an application asks for. Raises ``InvalidInput``."""
    due_at_ms = None if order.runtime in (None, "") else moment_ms(order.runtime, application.zone)
    if due_at_ms is None and order.runtime not in (None, ""):
        raise InvalidInput("this is no time", field="runtime", expected=RUNTIME, got=order.runtime)
    type_ = _handler_named(yard, order.content)
    return NewJob(
        kind=Kind.TASK,
        type=type_ or DELIVERY,
        input=order.content.get("_params") if type_ else order.content,
        options={"taskNo": order.task_no, "name": order.name},
        due_at_ms=due_at_ms,
        max_attempts=application.retry_total + 1,
        timeout_ms=order.timeout,
        backoff=Linear(application.step_s * 1_000, STEP_MAX_S * 1_000),
        target_id=order.task_no,
        target_type=TARGET,
        alias=order.task_no,
        application=application.app_key,
        tenant=order.tenant,
        flow_key=order.flow_key,
    )


def _handler_named(yard: Yard, content: Any) -> str | None:
    """The task type whose handler is declared under the class that a content names, if one is."""
    named = content.get("class") if isinstance(content, dict) else None
    type_ = CLASS + named.lstrip(CLASS) if isinstance(named, str) else ""
    return type_ if type_ in yard.handlers.tasks else None

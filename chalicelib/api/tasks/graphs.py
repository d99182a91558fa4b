"""Graphs of tasks: ``/api/task/graph``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from chalicelib.api.acts import record
from chalicelib.api.scopes import ACTS, READS
from chalicelib.api.shapes import (
    FASTIFY,
    TENANT_HEADERS,
    ShownId,
    ShownTime,
    idempotency_key_of,
    request_tenant_of,
)
from chalicelib.api.tasks.creating import FollowUp, check_secrets, next_request
from chalicelib.api.tasks.records import TaskBody, TaskQuery
from chalicelib.core.errors import within
from chalicelib.core.graph_order import NODE_NAME_MAX_CHARS, NODES_MAX
from chalicelib.core.graphs import GraphState, OnFailure
from chalicelib.core.states import Kind
from chalicelib.engine.commands import graphs as commands
from chalicelib.engine.graphs.accept import accept
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel, ApiModel, Name, Priority, Target, Tenant
from chalicelib.http.routes import Router
from chalicelib.services import graphs as services
from chalicelib.services.checks import job_id as job_id_of
from chalicelib.services.graph_orders import batch_order, node_request, order
from chalicelib.store.graphs import Graph

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

PER_PAGE_MAX = 1_000
NO_GRAPH = {404: "There is no such graph"}
ACCEPTS: Mapping[int, Any] = {
    409: "The idempotency key was used with another request",
    413: "The graph is too large",
}
HEADERS = {"Idempotency-Key": "Two requests with one key are one graph", **TENANT_HEADERS}

router = Router("Graphs", "Tasks that start when others have succeeded.", style=FASTIFY)


class NodeTask(FollowUp):
    """A task of a graph; without an input of its own it gets the output of the one before it, or of several by name."""

    ELSEWHERE: ClassVar = {"next": "a node that comes after this one", "dependsOn": "after", "depends": "after"}


class Node(NodeTask):
    """A node of a graph."""

    name: str = Field(min_length=1, max_length=NODE_NAME_MAX_CHARS, examples=["resize"])
    after: list[str] = Field(default_factory=list, description="The names of the nodes that must have succeeded before")


class Common(ApiModel):
    """What may be said of any graph."""

    priority: Priority = Field(default=0, description="Of every task that names none")
    target_id: Target | None = Field(default=None, description="Of every task that names none")
    target_type: Name | None = Field(default=None, description="Of every task that names none")
    tenant: Tenant | None = Field(default=None, description="Of every task that names none")
    user_id: Name | None = Field(default=None, description="Who asks for it")
    trace_id: Name | None = Field(default=None, description="Of all its tasks; by default each has one of its own")
    idempotency_key: Name | None = Field(default=None, description="Two requests with one key are one graph")


class GraphBody(Common):
    """A graph to be created."""

    name: Name | None = None
    nodes: list[Node] = Field(min_length=1, max_length=NODES_MAX)
    on_failure: OnFailure = Field(
        default=OnFailure.STOP,
        description="stop: after a failure nothing more starts; continue: what comes after it starts all the same; "
        "compensate: as stop, and then the compensation runs",
    )
    compensation: NodeTask | None = Field(default=None, description="With onFailure compensate: what undoes the work")


class BatchBody(Common):
    """Tasks beside each other, and one when all are done."""

    name: Name | None = None
    tasks: list[NodeTask] = Field(min_length=1, max_length=NODES_MAX - 1)
    then: NodeTask | None = Field(default=None, description="Created once all have succeeded")
    otherwise: NodeTask | None = Field(default=None, description="Created once none runs any more and some have failed")
    always: NodeTask | None = Field(default=None, description="Created once all are done, however; it stands alone")


class GraphQuery(TaskQuery):
    """A graph by its id."""

    counts: bool = Field(default=False, description="Count its nodes even if there are more than 1,000")


class NodesQuery(TaskQuery):
    """A page of a graph's nodes."""

    page: int = Field(default=1, ge=1, le=NODES_MAX)
    per_page: int = Field(default=100, ge=1, le=PER_PAGE_MAX)


class GraphRecord(AnswerModel):
    """A graph as it stands."""

    id: ShownId = Field(examples=["4096"])
    name: str | None
    status: GraphState
    on_failure: OnFailure
    size: int = Field(description="How many nodes it has")
    counts: dict[str, int] | None = Field(
        description="How many are in which status: see GraphNode; null: it has more than 1,000 nodes, see the detail"
    )
    stopped_by: str | None = Field(description="The node whose failure stopped it")
    compensated: bool | None = Field(description="Whether its compensation has succeeded, once that is over")
    trace_id: str | None
    user_id: str | None
    created_at: ShownTime
    updated_at: ShownTime
    completed_at: ShownTime | None


class GraphNode(AnswerModel):
    """A node of a graph."""

    name: str
    type: str
    after: list[str]
    status: str = Field(description="Its task's, or: blocked (it waits), skipped (it was not started), removed")
    task_id: ShownId | None = Field(description="null: it was not started")
    error: str | None


class GraphNodes(AnswerModel):
    """A page of nodes, each after those that it comes after."""

    page_data: list[GraphNode]
    total_count: int


class Drawing(AnswerModel):
    """A graph as Mermaid text."""

    mermaid: str


@router.post("/api/task/graph", scope="task", answers=ACCEPTS, headers=HEADERS)
def create_graph(yard: Yard, body: GraphBody, caller: Caller) -> GraphRecord:
    """Create a graph of tasks: each starts when those before it have succeeded, and gets what they returned.

    It is checked and accepted as a whole, or refused. A circle, or a name that no node has, is refused and shown.
    """
    given = [(node.name, _request(f"nodes.{node.name}", node), node.after) for node in body.nodes]
    compensation = None if body.compensation is None else _request("compensation", body.compensation)
    new_graph = order(given, on_failure=body.on_failure, compensation=compensation, **_common(body, caller))
    return _record(yard, accept(yard, new_graph))


@router.post("/api/task/graph/batch", scope="task", answers=ACCEPTS, headers=HEADERS)
def create_batch(yard: Yard, body: BatchBody, caller: Caller) -> GraphRecord:
    """Create many tasks and one that follows when all are done: a graph whose nodes are named `0`, `1`, ..., `then`."""
    tasks = [_request(f"tasks.{place}", task) for place, task in enumerate(body.tasks)]
    follow_ups = {"then": body.then, "otherwise": body.otherwise, "always": body.always}
    told = {word: _request(word, task) for word, task in follow_ups.items() if task is not None}
    return _record(yard, accept(yard, batch_order(tasks, **told, **_common(body, caller))))


@router.get("/api/task/graph", scope=READS[Kind.TASK], answers=NO_GRAPH)
def graph_detail(yard: Yard, query: GraphQuery) -> GraphRecord:
    """A graph as it stands, with how many of its nodes are in which status; of a large one, if that is asked for."""
    return _record(yard, commands.find(yard, job_id_of(query.id, "graph")), counts=query.counts)


@router.get("/api/task/graph/nodes", scope=READS[Kind.TASK], answers=NO_GRAPH)
def graph_nodes(yard: Yard, query: NodesQuery) -> GraphNodes:
    """A graph's nodes, page by page, each after those that it comes after."""
    graph = commands.find(yard, job_id_of(query.id, "graph"))
    first = (query.page - 1) * query.per_page
    numbers = range(min(first, graph.size), min(first + query.per_page, graph.size))
    return GraphNodes(
        page_data=[GraphNode.model_validate(node) for node in services.nodes_of(yard, graph, numbers)],
        total_count=graph.size,
    )


@router.get("/api/task/graph/mermaid", scope=READS[Kind.TASK], answers=NO_GRAPH)
def draw_graph(yard: Yard, query: TaskQuery) -> Drawing:
    """A graph as Mermaid text, its nodes with their status; many alike are drawn as one."""
    return Drawing(mermaid=services.drawing_of(yard, commands.find(yard, job_id_of(query.id, "graph"))))


@router.post("/api/task/graph/cancel", scope=ACTS[Kind.TASK], answers=NO_GRAPH)
def cancel_graph(yard: Yard, body: TaskBody, caller: Caller) -> GraphRecord:
    """Cancel a graph: nothing more of it starts, and what is not done is canceled; one that is done stays as it is.

    Of a large graph the clock cancels what 10 seconds do not suffice for; until then its status is `canceling`.
    """
    canceled = commands.cancel(yard, job_id_of(str(body.id), "graph"), commands.within_a_request(yard))
    record(yard, caller, "cancel", {"graph": str(canceled.id)})
    return _record(yard, canceled)


@router.post(
    "/api/task/graph/retry",
    scope=ACTS[Kind.TASK],
    answers={**NO_GRAPH, 409: "The graph is not done, has succeeded, or was compensated"},
)
def retry_graph(yard: Yard, body: TaskBody, caller: Caller) -> GraphRecord:
    """Run what has failed of a graph, or was canceled, again, and go on from there; what has succeeded is kept."""
    retried = commands.retry(yard, job_id_of(str(body.id), "graph"), commands.within_a_request(yard))
    record(yard, caller, "retry", {"graph": str(retried.id)})
    return _record(yard, retried)


def _request(place: str, task: NodeTask) -> Mapping[str, Any]:
    """The task of a node, as the engine keeps it."""
    with within(place):
        check_secrets(task)
    told = next_request(task)
    return node_request(place, {word: value for word, value in told.items() if word not in ("name", "after")})


def _common(body: GraphBody | BatchBody, caller: Caller) -> dict[str, Any]:
    return {
        "name": body.name,
        "priority": body.priority,
        "target_id": body.target_id,
        "target_type": body.target_type,
        "tenant": request_tenant_of(body.tenant, caller.headers),
        "user_id": body.user_id,
        "trace_id": body.trace_id,
        "idempotency_key": idempotency_key_of(body.idempotency_key, caller.headers),
    }


def _record(yard: Yard, graph: Graph, *, counts: bool = False) -> GraphRecord:
    return GraphRecord.model_validate(services.record_of(yard, graph, counts=counts))

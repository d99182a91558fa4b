"""Graphs of an application's tasks: ``/task/dag``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from chalicelib.api.serendipity.signed import HEADERS, signer
from chalicelib.api.serendipity.words import SIGNED, Ok, Refusal
from chalicelib.core.errors import NotFound
from chalicelib.core.graphs import GraphState
from chalicelib.core.ids import parse_job_id
from chalicelib.engine.commands import graphs as commands
from chalicelib.engine.graphs.accept import accept
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel, Id
from chalicelib.http.routes import Router
from chalicelib.services.graphs import AT_ONCE_MAX, counts_of, nodes_of
from chalicelib.services.serendipity_orders import GraphOrder, Lenient, new_graph
from chalicelib.store.graphs import Graph

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Serendipity", style=SIGNED)


class WorkflowBody(Lenient):
    """A graph by its id."""

    workflow_id: Id = Field(alias="workflow_id", description="The graph", examples=[7])


class WorkflowTask(AnswerModel):
    """A task of a graph."""

    task_no: str
    task_id: int | None = Field(description="null: it was not started")
    state: str = Field(description="pending, running, waiting, success, failed, canceled, blocked, skipped or removed")


class Workflow(AnswerModel):
    """A graph as it stands."""

    workflow_id: int = Field(examples=[7])
    state: GraphState
    counts: dict[str, int] | None = Field(
        description="How many tasks are in which state; blocked: they wait for others; null: there are more than 1,000"
    )
    stopped_by: str | None = Field(description="The taskNo of the task whose failure stopped it")
    tasks: list[WorkflowTask] = Field(description="The first 1,000, each after those that it comes after")


@router.post("/task/dag", scope=None, verify=signer, headers=HEADERS, answer=Ok[Workflow] | Refusal)
def create_graph(yard: Yard, body: GraphOrder, caller: Caller) -> Ok[Any]:
    """Create a graph of tasks: each starts when those before it are done, and gets what they have come to."""
    return Ok(msg="ok!", data=_workflow(yard, accept(yard, new_graph(yard, caller.signer, body))))


@router.get("/task/dag", scope=None, verify=signer, headers=HEADERS, answer=Ok[Workflow] | Refusal)
def show_graph(yard: Yard, query: WorkflowBody, caller: Caller) -> Ok[Any]:
    """Show a graph of the application that signs."""
    return Ok(msg="ok!", data=_workflow(yard, _own(yard, query, caller)))


@router.post("/task/dag/cancel", scope=None, verify=signer, headers=HEADERS, answer=Ok[Workflow] | Refusal)
def cancel_graph(yard: Yard, body: WorkflowBody, caller: Caller) -> Ok[Any]:
    """Cancel a graph: none of its tasks starts any more, and those that are not done are canceled."""
    graph = _own(yard, body, caller)
    return Ok(msg="ok!", data=_workflow(yard, commands.cancel(yard, graph.id, commands.within_a_request(yard))))


@router.post("/task/dag/retry", scope=None, verify=signer, headers=HEADERS, answer=Ok[Workflow] | Refusal)
def retry_graph(yard: Yard, body: WorkflowBody, caller: Caller) -> Ok[Any]:
    """Run what has failed of a graph, or was canceled, again, and go on from there."""
    graph = _own(yard, body, caller)
    return Ok(msg="ok!", data=_workflow(yard, commands.retry(yard, graph.id, commands.within_a_request(yard))))


def _own(yard: Yard, body: WorkflowBody, caller: Caller) -> Graph:
    """A graph of the application that signs; raises ``NotFound`` for any other."""
    graph = yard.graphs.find(parse_job_id(body.workflow_id) or 0)
    if graph is None or graph.created_by != caller.signer.app_key:
        raise NotFound("Unknown Workflow", field="workflow_id", got=str(body.workflow_id)[:40])
    return graph


def _workflow(yard: Yard, graph: Graph) -> Workflow:
    nodes = nodes_of(yard, graph, range(min(graph.size, AT_ONCE_MAX)))
    return Workflow(
        workflow_id=graph.id,
        state=graph.state,
        counts=counts_of(yard, graph),
        stopped_by=graph.stopped_by,
        tasks=[WorkflowTask(task_no=node.name, task_id=node.task_id, state=node.status) for node in nodes],
    )

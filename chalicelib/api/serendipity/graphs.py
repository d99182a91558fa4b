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
from chalicelib.services.graphs import counts_of
from chalicelib.services.serendipity_orders import GraphOrder, Lenient, new_graph
from chalicelib.store.graphs import Graph

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Serendipity", style=SIGNED)


class WorkflowBody(Lenient):
    """A graph by its id."""

    workflow_id: Id = Field(alias="workflow_id", description="The graph", examples=[7])


class Workflow(AnswerModel):
    """A graph as it stands. Its task number ``n``, from 0 in ``order``, has the id ``workflowId + 1 + n``."""

    workflow_id: int = Field(examples=[7])
    state: GraphState
    counts: dict[str, int] = Field(description="How many tasks are in which state; blocked: they wait for others")
    stopped_by: str | None = Field(description="The taskNo of the task whose failure stopped it")


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
    return Ok(msg="ok!", data=_workflow(yard, commands.cancel(yard, _own(yard, body, caller).id)))


def _own(yard: Yard, body: WorkflowBody, caller: Caller) -> Graph:
    """A graph of the application that signs; raises ``NotFound`` for any other."""
    graph = yard.graphs.find(parse_job_id(body.workflow_id) or 0)
    if graph is None or graph.created_by != caller.signer.app_key:
        raise NotFound("Unknown Workflow", field="workflow_id", got=str(body.workflow_id)[:40])
    return graph


def _workflow(yard: Yard, graph: Graph) -> Workflow:
    return Workflow(workflow_id=graph.id, state=graph.state, counts=counts_of(yard, graph), stopped_by=graph.stopped_by)

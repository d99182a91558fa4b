"""What a graph is told when it is created, for HTTP and Python: its nodes are tasks in fastify-task's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.core.errors import InvalidInput, within
from chalicelib.core.graph_order import arranged
from chalicelib.core.graphs import OnFailure, Plan
from chalicelib.engine.graphs.accept import NewGraph

JOIN = "then"  # the node of a batch that comes after the others


def order(
    given: Sequence[tuple[str, Mapping[str, Any], Sequence[str]]],
    *,
    on_failure: OnFailure | str = OnFailure.STOP,
    compensation: Mapping[str, Any] | None = None,
    name: str | None = None,
    priority: int = 0,
    target_id: str | None = None,
    target_type: str | None = None,
    tenant: str | None = None,
    user_id: str | None = None,
    trace_id: str | None = None,
    idempotency_key: str | None = None,
) -> NewGraph:
    """What is asked for, from tasks in fastify-task's words. Raises ``InvalidInput``."""
    if on_failure not in list(OnFailure):
        expected = ", ".join(OnFailure)
        raise InvalidInput("nothing of this name follows", field="on_failure", expected=expected, got=on_failure)
    told = {"priority": priority or None, "target_id": target_id, "target_type": target_type, "tenant": tenant}
    plan = Plan(
        arranged(given),
        OnFailure(on_failure),
        None if compensation is None else node_request("compensation", compensation),
        {default: value for default, value in told.items() if value is not None},
    )
    return NewGraph(plan=plan, name=name, trace_id=trace_id, created_by=user_id, idempotency_key=idempotency_key)


def batch_order(
    tasks: Sequence[Mapping[str, Any]],
    *,
    then: Mapping[str, Any] | None = None,
    otherwise: Mapping[str, Any] | None = None,
    always: Mapping[str, Any] | None = None,
    **more: Any,
) -> NewGraph:
    """What is asked for with a batch. Raises ``InvalidInput``."""
    if always is not None and (then is not None or otherwise is not None):
        raise InvalidInput("always stands alone", field="always", expected="it, or then and otherwise", got="both")
    names = [str(place) for place in range(len(tasks))]
    made: list[tuple[str, Mapping[str, Any], Sequence[str]]] = [
        (name, task, ()) for name, task in zip(names, tasks, strict=True)
    ]
    follow_up, word = (always, "always") if always is not None else (then, "then")
    if follow_up is not None:
        made.append((JOIN, node_request(word, follow_up), names))
    on_failure = OnFailure.CONTINUE if always is not None else OnFailure.STOP
    if otherwise is not None:
        on_failure = OnFailure.COMPENSATE
    return order(made, on_failure=on_failure, compensation=otherwise, **more)


def node_request(field_name: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A task as a node of a graph may be. Raises ``InvalidInput`` for one that has a chain of its own."""
    if "next" in request:
        with within(field_name):
            raise InvalidInput(
                "a node starts others by the graph", field="next", expected="a node that comes after it", got="next"
            )
    return request

"""Accepting a graph: its plan is checked and written whole, in one transaction; then its first nodes are started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core.errors import Conflict, InvalidInput, TaskyardError, TooLarge, within
from chalicelib.core.graphs import OnFailure, Plan
from chalicelib.core.waking import wake_for_wait
from chalicelib.engine.graphs.advance import go_on
from chalicelib.engine.graphs.start import node_job
from chalicelib.engine.publish.prepare import check
from chalicelib.engine.publish.publish import answering, fingerprint_of
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.directory import IdempotencyKey
from chalicelib.store.graphs import Graph, GraphRefused
from chalicelib.store.table import TransactionRefused

SCOPE = "graph"
BEGIN_MS = 5_000  # of a request, for its first nodes; what is left then, the clock starts


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGraph:
    """What a client asks for. ``trace_id``: of all its tasks; by default each has one of its own."""

    plan: Plan
    name: str | None = None
    trace_id: str | None = None
    created_by: str | None = None
    idempotency_key: str | None = None


def accept(yard: Yard, new_graph: NewGraph) -> Graph:
    """Accept a graph; returns it as it was accepted. Its first nodes are on their way then, or the clock starts them.

    Raises ``InvalidInput`` naming the first node that can never run, ``TooLarge`` for its plan, ``Conflict`` for an
    idempotency key used with another graph, and ``Unavailable`` where AWS does not answer (it may or may not be
    accepted).
    """
    plan = new_graph.plan
    with answering():
        now_ms = yard.now_ms()
        graph = Graph(
            id=yard.directory.take_id_block(plan.end + 2),
            uid=yard.token(),
            size=plan.end,
            trace_id=new_graph.trace_id,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            name=new_graph.name,
            created_by=new_graph.created_by,
            on_failure=plan.on_failure,
            wake_at_ms=wake_for_wait(now_ms, now_ms),
        )
        _check(yard, graph, plan)
        graph, first = _written(yard, graph, new_graph)
    if first:
        _begin(yard, graph)
    return graph


def _check(yard: Yard, graph: Graph, plan: Plan) -> None:
    """Raise ``InvalidInput`` for a task that can never run."""
    if (plan.compensation is None) is (plan.on_failure is OnFailure.COMPENSATE):
        raise InvalidInput(
            "a task compensates where onFailure says so, and only there",
            field="compensation",
            expected="a task with onFailure compensate, and none with any other",
            got=plan.on_failure.value,
        )
    for number, node in enumerate(plan.nodes):
        with within(f"nodes.{node.name}"):
            new_job = node_job(graph, plan, number)
            check(yard, replace(new_job, input_follows=bool(node.after) and new_job.input_follows))
    if plan.compensation is not None:
        with within("compensation"):
            check(yard, node_job(graph, plan, plan.end))


def _written(yard: Yard, graph: Graph, new_graph: NewGraph) -> tuple[Graph, bool]:
    """The graph on the ledger, and whether that is this one: else it is the first one under its idempotency key."""
    text = new_graph.plan.to_text()
    try:
        body = yard.payloads.place_body(graph.id, graph.uid, text)
    except TooLarge as error:
        raise TooLarge(
            "this graph is too large", field="nodes", expected=error.expected, got=error.got, remedy=error.remedy
        ) from error
    in_bucket = body.text is None
    graph = replace(graph, plan_at=body.place if in_bucket else None)
    actions = yard.graphs.accepting(graph, None if in_bucket else text)
    key = _key_of(new_graph, text)
    if key is not None:
        actions.append(yard.directory.reserving(key, graph, yard.now_ms() // 1_000, yard.settings.idempotency_ttl_s))
    try:
        yard.graphs.table.transact(actions)
    except TransactionRefused as refused:
        if key is None or not refused.refused[-1]:
            raise
        return _first_of(yard, key, refused.old[-1] or {}, graph), False
    return graph, True


def _key_of(new_graph: NewGraph, text: str) -> IdempotencyKey | None:
    if new_graph.idempotency_key is None:
        return None
    request = {"plan": text, "name": new_graph.name, "trace": new_graph.trace_id, "by": new_graph.created_by}
    return IdempotencyKey(SCOPE, new_graph.idempotency_key, fingerprint_of(request))


def _first_of(yard: Yard, key: IdempotencyKey, binding: Mapping[str, Any], again: Graph) -> Graph:
    """The graph that an idempotency key stands for; one that was removed since, as it was accepted."""
    if binding.get("fingerprint") != key.fingerprint:
        raise Conflict(
            "this idempotency key was used with another graph",
            field="idempotency_key",
            expected="the same request as the first time",
            remedy="use a new key for a new request",
        )
    first = yard.graphs.find(binding["job"])
    return first or replace(again, id=binding["job"], created_at_ms=binding.get("created_at_ms", again.created_at_ms))


def _begin(yard: Yard, graph: Graph) -> None:
    """Start the first nodes. The graph is accepted in any case."""
    ends_ms = graph.created_at_ms + BEGIN_MS
    try:
        go_on(yard, graph, lambda: yard.now_ms() < ends_ms)
        if yard.now_ms() >= ends_ms:
            yard.graphs.wake_later(graph, yard.now_ms())
    except GraphRefused:
        return  # it was canceled, or has ended, at once
    except (*AWS_FAILURES, TaskyardError) as error:
        logger.warning("a new graph is left to the clock", extra={"graph": graph.id, "error": str(error)})

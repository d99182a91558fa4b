"""Graphs: what starts when, what is handed on, what a failure means, canceling and running again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from chalicelib.core.causes import Cause
from chalicelib.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from chalicelib.core.graph_order import arranged
from chalicelib.core.graphs import GraphState, OnFailure, Plan
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.complete import Completion, complete
from chalicelib.engine.commands.graphs import cancel, retry
from chalicelib.engine.graphs.accept import NewGraph, accept
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.worker.context import Context
from chalicelib.store.graphs import Graph
from tests.support.steps import using, work
from tests.support.worlds import World

DIAMOND: dict[str, Sequence[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
BROKEN: set[str] = set()
SEEN: list[tuple[str, Any, dict[str, Any]]] = []


@task("step", max_attempts=1)
def step(given: Any, context: Context) -> Any:
    name = context.job.node or ""
    SEEN.append((name, given, dict(context.results)))
    if name in BROKEN:
        raise ValueError("broken")
    return name.upper()


@pytest.fixture(autouse=True)
def _forgotten(w: World) -> None:
    BROKEN.clear()
    SEEN.clear()
    using(w, step)


def plan(
    on_failure: OnFailure = OnFailure.STOP,
    compensation: dict[str, Any] | None = None,
    tasks: dict[str, dict[str, Any]] | None = None,
    **after: Sequence[str],
) -> Plan:
    told = tasks or {}
    nodes = [(name, {"type": "step", **told.get(name, {})}, list(names)) for name, names in after.items()]
    return Plan(arranged(nodes), on_failure, compensation)


def begun(w: World, made: Plan, **more: Any) -> Graph:
    return accept(w.yard, NewGraph(plan=made, **more))


def standing(w: World, graph: Graph) -> Graph:
    (found,) = [each for each in w.graphs() if each.id == graph.id]
    return found


def states(w: World) -> dict[str, State]:
    return {job.node or "": job.state for job in w.jobs()}


# -- success ------------------------------------------------------------------------------------------


def test_a_node_starts_when_those_before_it_have_succeeded_and_gets_what_they_returned(w: World) -> None:
    graph = begun(w, plan(**DIAMOND))
    assert states(w) == {"a": State.PENDING}
    work(w)
    assert states(w) == {"a": State.SUCCESS, "b": State.PENDING, "c": State.PENDING}
    w.go_on()
    assert set(states(w).values()) == {State.SUCCESS}
    both = {"b": "B", "c": "C"}
    assert sorted(SEEN) == [("a", None, {}), ("b", "A", {"a": "A"}), ("c", "A", {"a": "A"}), ("d", both, both)]
    done = standing(w, graph)
    assert (done.state, done.completed_at_ms, done.wake_at_ms) == (GraphState.SUCCESS, w.clock.ms, None)


def test_a_node_that_names_an_input_gets_it_and_finds_the_results_beside_it(w: World) -> None:
    begun(w, plan(tasks={"b": {"input": {"n": 1}}, "c": {"input": None}}, a=[], b=["a"], c=["a"]))
    w.go_on()
    assert SEEN[1:] == [("b", {"n": 1}, {"a": "A"}), ("c", None, {"a": "A"})]


def test_ids_follow_from_the_graphs_and_a_task_says_which_node_it_is(w: World) -> None:
    graph = begun(w, plan(**DIAMOND), created_by="ann", trace_id="t-1")
    w.go_on()
    assert [(job.id - graph.id, job.graph, job.node) for job in w.jobs()] == [
        (1, graph.id, "a"), (2, graph.id, "b"), (3, graph.id, "c"), (4, graph.id, "d"),
    ]  # fmt: skip
    assert {(job.created_by, job.trace_id) for job in w.jobs()} == {("ann", "t-1")}


def test_tasks_have_what_the_graph_says_where_they_say_nothing_themselves(w: World) -> None:
    made = plan(tasks={"b": {"priority": 10}}, a=[], b=["a"])
    begun(w, Plan(made.nodes, defaults={"priority": 5, "target_id": "7", "target_type": "order"}))
    w.go_on()
    told = [(job.priority, job.target_id, job.target_type) for job in w.jobs()]
    assert told == [(5, "7", "order"), (10, "7", "order")]
    assert len({job.trace_id for job in w.jobs()}) == 2


def test_a_graph_of_one_node_and_one_without_edges(w: World) -> None:
    alone, apart = begun(w, plan(a=[])), begun(w, plan(a=[], b=[], c=[]))
    w.go_on()
    assert {standing(w, each).state for each in (alone, apart)} == {GraphState.SUCCESS}
    assert len(w.jobs()) == 4


def test_more_leaves_than_a_transaction_holds_are_joined_once(w: World) -> None:
    leaves = {f"leaf{each}": ["root"] for each in range(105)}
    graph = begun(w, plan(root=[], **leaves, join=list(leaves)))
    w.go_on()
    assert standing(w, graph).state is GraphState.SUCCESS
    assert [name for name, _, _ in SEEN].count("join") == 1
    assert len(w.jobs()) == 107
    (join,) = [given for name, given, _ in SEEN if name == "join"]
    assert join == {name: name.upper() for name in leaves}


def test_a_person_and_a_delay_may_stand_in_a_graph(w: World) -> None:
    tasks = {"b": {"runnerType": "manual"}, "c": {"delay": 3_600}}
    graph = begun(w, plan(tasks=tasks, a=[], b=["a"], c=["b"]))
    work(w)
    w.clock.ms += 10 * 60_000
    w.tick()
    assert states(w) == {"a": State.SUCCESS, "b": State.PENDING}
    complete(w.yard, graph.id + 2, Completion(success=True, output="signed"))
    w.go_on()
    assert SEEN[-1] == ("c", "signed", {"b": "signed"})
    assert w.job(graph.id + 3).started_at_ms == w.job(graph.id + 2).completed_at_ms + 3_600_000  # type: ignore[operator]


def test_large_results_are_handed_on_and_what_is_too_large_together_is_told(w: World) -> None:
    @task("large")
    def large(_: Any) -> str:
        return "x" * (w.yard.settings.payload_max_bytes // 2 - 1_000)

    using(w, step, large)
    tasks = {name: {"type": "large"} for name in "abc"}
    two = begun(w, plan(tasks=tasks, a=[], b=[], both=["a", "b"]))
    three = begun(w, plan(tasks=tasks, a=[], b=[], c=[], all=["a", "b", "c"]))
    w.go_on()
    assert [len(given["a"]) for name, given, _ in SEEN if name == "both"] == [
        w.yard.settings.payload_max_bytes // 2 - 1_000
    ]
    assert [standing(w, each).state for each in (two, three)] == [GraphState.SUCCESS, GraphState.FAILED]
    rejected = w.job(three.id + 4)
    assert (rejected.state, rejected.cause, rejected.attempts) == (State.FAILED, Cause.REJECTED, 0)
    assert rejected.error is not None
    assert rejected.error.message.startswith("the results before this node are too large together")


# -- what is no graph ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (plan(tasks={"b": {"type": "nobody"}}, a=[], b=["a"]), "nodes.b.type"),
        (plan(OnFailure.COMPENSATE, a=[]), "compensation"),
        (plan(OnFailure.STOP, {"type": "step"}, a=[]), "compensation"),
        (plan(OnFailure.COMPENSATE, {"type": "nobody"}, a=[]), "compensation.type"),
        (plan(tasks={"a": {"maxRetries": 1_000}}, a=[]), "nodes.a.max_attempts"),
    ],
)
def test_what_can_never_run_is_refused_and_nothing_of_it_is_kept(w: World, made: Plan, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        begun(w, made)
    assert refused.value.field == field
    assert (w.graphs(), w.jobs()) == ([], [])


def test_a_plan_that_is_too_large_is_refused(w: World) -> None:
    with pytest.raises(TooLarge) as refused:
        begun(w, plan(tasks={"a": {"input": "x" * w.yard.settings.payload_max_bytes}}, a=[]))
    assert refused.value.field == "nodes"


# -- failures -----------------------------------------------------------------------------------------


def test_after_a_failure_nothing_more_is_started_and_what_runs_goes_on(w: World) -> None:
    BROKEN.add("b")
    graph = begun(w, plan(a=[], b=["a"], c=["a"], d=["c"], e=["b", "d"]))
    w.go_on()
    done = standing(w, graph)
    assert (done.state, done.stopped_by) == (GraphState.FAILED, "b")
    assert states(w) == {"a": State.SUCCESS, "b": State.FAILED, "c": State.SUCCESS}


def test_a_graph_may_go_on_in_spite_of_failures(w: World) -> None:
    BROKEN.add("b")
    graph = begun(w, plan(OnFailure.CONTINUE, **DIAMOND))
    w.go_on()
    assert standing(w, graph).state is GraphState.FAILED
    assert states(w) == {"a": State.SUCCESS, "b": State.FAILED, "c": State.SUCCESS, "d": State.SUCCESS}
    assert SEEN[-1] == ("d", {"c": "C"}, {"c": "C"})


def test_a_failure_may_be_compensated_once_nothing_runs_any_more(w: World) -> None:
    BROKEN.add("d")
    graph = begun(w, plan(OnFailure.COMPENSATE, {"type": "step"}, **DIAMOND))
    w.go_on()
    done = standing(w, graph)
    assert (done.state, done.stopped_by, done.compensated) == (GraphState.FAILED, "d", True)
    name, given, results = SEEN[-1]
    assert name == "(compensation)"
    assert given == {"graphId": str(graph.id), "stoppedBy": "d", "failed": ["d"], "succeeded": ["c", "b", "a"]}
    assert results == {"a": "A", "b": "B", "c": "C"}
    with pytest.raises(Conflict, match="compensated"):
        retry(w.yard, graph.id)


def test_a_compensation_that_fails_is_told(w: World) -> None:
    BROKEN.update({"a", "(compensation)"})
    graph = begun(w, plan(OnFailure.COMPENSATE, {"type": "step", "input": "undo"}, a=[], b=["a"]))
    w.go_on()
    assert (standing(w, graph).state, standing(w, graph).compensated) == (GraphState.FAILED, False)
    assert SEEN[-1] == ("(compensation)", "undo", {})


def test_what_has_succeeded_needs_no_compensation(w: World) -> None:
    graph = begun(w, plan(OnFailure.COMPENSATE, {"type": "step"}, **DIAMOND))
    w.go_on()
    assert (standing(w, graph).state, len(w.jobs())) == (GraphState.SUCCESS, 4)


@pytest.mark.parametrize("end", ["cancel", "complete"])
def test_whoever_ends_a_task_as_failed_stops_the_graph(w: World, end: str) -> None:
    graph = begun(w, plan(**DIAMOND))
    if end == "cancel":
        lifecycle.cancel(w.yard, graph.id + 1, Kind.TASK)
    else:
        complete(w.yard, graph.id + 1, Completion(success=False, error="no"))
    assert (standing(w, graph).state, standing(w, graph).stopped_by) == (GraphState.FAILED, "a")


# -- by request ---------------------------------------------------------------------------------------


def test_canceling_cancels_all_that_is_not_done_and_starts_nothing_more(w: World) -> None:
    graph = begun(w, plan(**DIAMOND))
    work(w)
    canceled = cancel(w.yard, graph.id)
    assert canceled.state is GraphState.CANCELED
    assert states(w) == {"a": State.SUCCESS, "b": State.CANCELED, "c": State.CANCELED}
    w.go_on()
    assert len(SEEN) == 1
    assert cancel(w.yard, graph.id) == canceled


def test_what_there_is_no_time_to_cancel_the_clock_cancels(w: World) -> None:
    graph = begun(w, plan(**DIAMOND))
    assert cancel(w.yard, graph.id, lambda: False).state is GraphState.CANCELING
    w.clock.ms += 60_001
    w.tick()
    assert (standing(w, graph).state, states(w)) == (GraphState.CANCELED, {"a": State.CANCELED})


def test_a_graph_goes_on_from_what_has_failed(w: World) -> None:
    BROKEN.update({"b", "c"})
    graph = begun(w, plan(**DIAMOND))
    w.go_on()
    BROKEN.clear()
    again = retry(w.yard, graph.id)
    assert (again.state, again.epoch, again.stopped_by, again.completed_at_ms) == (GraphState.RUNNING, 1, None, None)
    w.go_on()
    assert (standing(w, graph).state, set(states(w).values())) == (GraphState.SUCCESS, {State.SUCCESS})
    assert [name for name, _, _ in SEEN].count("a") == 1
    with pytest.raises(Conflict, match="got success"):
        retry(w.yard, graph.id)


def test_it_goes_on_with_what_was_not_started_when_it_stopped(w: World) -> None:
    """``c`` succeeds after ``b`` has stopped the graph: nobody has started ``d`` then."""
    BROKEN.add("b")
    graph = begun(w, plan(a=[], b=["a"], c=["a"], d=["c"]))
    w.go_on()
    assert "d" not in states(w)
    BROKEN.clear()
    retry(w.yard, graph.id)
    w.go_on()
    assert (standing(w, graph).state, states(w)["d"]) == (GraphState.SUCCESS, State.SUCCESS)


def test_a_canceled_graph_may_go_on_and_fail_and_go_on_again(w: World) -> None:
    graph = begun(w, plan(**DIAMOND))
    cancel(w.yard, graph.id)
    BROKEN.add("d")
    retry(w.yard, graph.id)
    w.go_on()
    assert (standing(w, graph).state, standing(w, graph).stopped_by) == (GraphState.FAILED, "d")
    BROKEN.clear()
    retry(w.yard, graph.id, lambda: False)
    assert standing(w, graph).state is GraphState.RESTARTING
    w.go_on()
    assert (standing(w, graph).state, standing(w, graph).epoch) == (GraphState.SUCCESS, 2)


def test_without_the_task_that_stopped_it_a_graph_cannot_go_on(w: World) -> None:
    BROKEN.add("a")
    graph = begun(w, plan(**DIAMOND))
    w.go_on()
    lifecycle.delete(w.yard, graph.id + 1, Kind.TASK)
    with pytest.raises(Conflict, match="were deleted"):
        retry(w.yard, graph.id)
    assert standing(w, graph).state is GraphState.FAILED


def test_a_join_starts_at_once_after_a_retry_though_what_it_watched_is_over(w: World) -> None:
    BROKEN.add("a")
    stopped = begun(w, plan(a=[], b=[], join=["a", "b"]))
    spite = begun(w, plan(OnFailure.CONTINUE, a=[], b=[], join=["a", "b"]))
    w.go_on()
    BROKEN.clear()
    for graph in (stopped, spite):
        retry(w.yard, graph.id)
    work(w)
    assert w.job(stopped.id + 3).state is State.PENDING
    assert standing(w, spite).state is GraphState.SUCCESS
    work(w)
    assert standing(w, stopped).state is GraphState.SUCCESS


def test_what_was_compensated_even_in_part_cannot_go_on(w: World) -> None:
    BROKEN.add("b")
    by_hand = {"type": "step", "runnerType": "manual"}
    graph = begun(w, plan(OnFailure.COMPENSATE, by_hand, a=[], b=["a"], c=["b"]))
    w.go_on()
    assert standing(w, graph).state is GraphState.COMPENSATING
    cancel(w.yard, graph.id)
    assert (standing(w, graph).state, states(w)["(compensation)"]) == (GraphState.CANCELED, State.CANCELED)
    with pytest.raises(Conflict, match="compensated"):
        retry(w.yard, graph.id)
    w.go_on()
    assert states(w)["(compensation)"] is State.CANCELED


def test_no_task_of_a_graph_is_deleted_before_it_is_done(w: World) -> None:
    w.yard = replace(w.yard, settings=replace(w.yard.settings, retention_completed_s=60))
    graph = begun(w, plan(tasks={"b": {"runnerType": "manual"}}, a=[], b=[], join=["a", "b"]))
    work(w)
    for force in (False, True):
        with pytest.raises(Conflict, match="its graph is not done"):
            lifecycle.delete(w.yard, graph.id + 1, Kind.TASK, force=force)
    with pytest.raises(Conflict, match="its graph is not done"):
        lifecycle.delete(w.yard, graph.id + 2, Kind.TASK, force=True)
    assert (states(w)["b"], standing(w, graph).state) == (State.PENDING, GraphState.RUNNING)
    w.clock.ms += 120_000
    w.tick()
    assert states(w)["a"] is State.SUCCESS
    complete(w.yard, graph.id + 2, Completion(success=True, output=5))
    w.go_on()
    assert SEEN[-1] == ("join", {"a": "A", "b": 5}, {"a": "A", "b": 5})
    w.clock.ms += 120_000
    w.tick()
    assert w.jobs() == []


def test_what_a_request_has_no_time_to_begin_the_clock_begins(w: World) -> None:
    with patch("chalicelib.engine.graphs.accept.BEGIN_MS", 0):
        graph = begun(w, plan(**{f"n{each}": [] for each in range(120)}))
    assert len(w.jobs()) == 98
    assert standing(w, graph).wake_at_ms == w.clock.ms
    w.tick()
    assert len(w.jobs()) == 120


def test_of_a_graph_that_there_is_not_nothing_can_be_asked(w: World) -> None:
    asked: list[Callable[..., Graph]] = [cancel, retry]
    for ask in asked:
        with pytest.raises(NotFound, match="there is no graph 77"):
            ask(w.yard, 77)


def test_two_requests_under_one_key_are_one_graph(w: World) -> None:
    first = begun(w, plan(**DIAMOND), idempotency_key="k")
    assert begun(w, plan(**DIAMOND), idempotency_key="k").id == first.id
    assert len(w.graphs()) == 1
    with pytest.raises(Conflict, match="another graph"):
        begun(w, plan(a=[]), idempotency_key="k")
    w.go_on()
    assert len(w.jobs()) == 4


# -- what is kept -------------------------------------------------------------------------------------


def test_a_graph_is_kept_as_long_as_the_settings_say_and_its_plan_with_it(w: World) -> None:
    w.yard = replace(w.yard, settings=replace(w.yard.settings, retention_completed_s=3_600))
    graph = begun(w, plan(tasks={"b": {"input": "x" * 300_000}}, a=[], b=["a"]))
    w.go_on()
    assert standing(w, graph).wake_at_ms == w.clock.ms + 3_600_000
    assert f"bodies/{graph.id}/{graph.uid}.json" in w.objects()
    w.clock.ms += 3_600_000
    w.tick()
    assert w.graphs() == []
    assert [item for item in w.items("jobs") if item["job"] == graph.id] == []
    assert f"bodies/{graph.id}/{graph.uid}.json" not in w.objects()

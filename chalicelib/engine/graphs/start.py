"""Starting nodes: each becomes a task in a transaction with a look at its graph, which must start tasks still.

So whoever stops a graph, or cancels it, has only to look once at what is there. Two that start the same node make one
task: its id is the node's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from chalicelib.core import retry
from chalicelib.core.causes import Cause
from chalicelib.core.errors import TooLarge
from chalicelib.core.graph_progress import Standing
from chalicelib.core.graphs import Plan
from chalicelib.core.job import Job, JobError
from chalicelib.core.states import Kind, State
from chalicelib.core.waking import beyond_sqs
from chalicelib.engine.graphs.plans import all_standings, results_of
from chalicelib.engine.new_job import NewJob, task_in
from chalicelib.engine.publish.bulk import MAX_ACTIONS, empty_outbox, new_outbox, transactions, weight_of
from chalicelib.engine.publish.prepare import Prepared, prepare_unchecked
from chalicelib.engine.publish.send import send_marked
from chalicelib.engine.sweeping import always
from chalicelib.engine.yard import Yard
from chalicelib.store.concurrency import Action
from chalicelib.store.graphs import Graph, GraphRefused
from chalicelib.store.table import TransactionRefused

COMPENSATION = "(compensation)"  # in the place of a node's name


def start(
    yard: Yard, graph: Graph, plan: Plan, numbers: Sequence[int], enough_time: Callable[[], bool] = always
) -> list[Job]:
    """Start nodes while there is ``enough_time``; those that somebody else has started are left.

    Returns the tasks of the others. What a crash leaves undone, the clock does. One whose results before it are too
    large together has failed at once. Raises ``GraphRefused`` once the graph is no longer as it was seen.
    """
    started: list[Job] = []
    for group in transactions(_prepared(yard, graph, plan, numbers), weight_of, MAX_ACTIONS - 1):
        started += _start_together(yard, graph, group)
        if not enough_time():
            break
    return started


def node_job(graph: Graph, plan: Plan, number: int) -> NewJob:
    """The task that a node, or the compensation, is; its input follows unless it names one."""
    is_end = number == plan.end
    request = plan.compensation if is_end else plan.nodes[number].request
    told = {**plan.defaults}
    backoff = None if "backoff" not in told else retry.from_document(told.pop("backoff"))
    defaults = NewJob(kind=Kind.TASK, type="", trace_id=graph.trace_id, created_by=graph.created_by, **told)
    return replace(
        task_in(request or {}, defaults, None),
        backoff=backoff,
        application=defaults.application,
        id=graph.job_id(number),
        graph=graph.id,
        node=COMPENSATION if is_end else plan.nodes[number].name,
        edges="" if is_end else plan.edges_text(number),
    )


def _prepared(yard: Yard, graph: Graph, plan: Plan, numbers: Sequence[int]) -> Iterator[Prepared]:
    """The tasks of nodes, each with its input: as it names it, or the results before it."""
    new_jobs = {number: node_job(graph, plan, number) for number in numbers}
    following = [number for number, new_job in new_jobs.items() if new_job.input_follows and number != plan.end]
    before = sorted({each for number in following for each in plan.before(number)})
    results = results_of(yard, graph, before) if before else {}
    for number, new_job in new_jobs.items():
        if not new_job.input_follows:
            yield prepare_unchecked(yard, new_job)
        elif number == plan.end:
            yield prepare_unchecked(yard, replace(new_job, input=_what_happened(yard, graph, plan)))
        else:
            yield _with_results(yard, new_job, _input_of(plan, number, results))


def _input_of(plan: Plan, number: int, results: dict[int, Any]) -> Any:
    """The output of the one node before, or of several by name; of those that have one."""
    before = plan.before(number)
    if len(before) == 1:
        return results.get(before[0])
    return {plan.nodes[each].name: results[each] for each in before if each in results} or None


def _with_results(yard: Yard, new_job: NewJob, results: Any) -> Prepared:
    try:
        return prepare_unchecked(yard, replace(new_job, input=results))
    except TooLarge as error:
        rejected = prepare_unchecked(yard, new_job)
        reason = JobError(
            type(error).__name__, f"the results before this node are too large together; {error}; or name an input"
        )
        now_ms = yard.now_ms()
        job = replace(rejected.job, state=State.FAILED, cause=Cause.REJECTED, error=reason, completed_at_ms=now_ms)
        return replace(rejected, job=job)


def _what_happened(yard: Yard, graph: Graph, plan: Plan) -> dict[str, Any]:
    """What a compensation is told: which node stopped the graph, which have failed, which succeeded, the last first."""
    found = list(zip(plan.nodes, all_standings(yard, graph)[: plan.end], strict=True))
    return {
        "graphId": str(graph.id),
        "stoppedBy": graph.stopped_by,
        "failed": [node.name for node, standing in found if standing.unsuccessful],
        "succeeded": [node.name for node, standing in reversed(found) if standing is Standing.SUCCEEDED],
    }


def _start_together(yard: Yard, graph: Graph, group: Sequence[Prepared]) -> list[Job]:
    """Record nodes and send them; returns the tasks of those that nobody had started before."""
    waiting = list(group)
    while waiting:
        there = _record(yard, graph, waiting)
        if not there:
            return [prepared.job for prepared in waiting]
        waiting = [prepared for place, prepared in enumerate(waiting) if place not in there]
    return []


def _record(yard: Yard, graph: Graph, waiting: Sequence[Prepared]) -> set[int]:
    """Record nodes and send them, or nothing; returns the places of those that are there already, and stand in the way.

    Of those that SQS takes now, if they are several, one marker tells the clock; each of the others has its own.
    """
    now_ms = yard.now_ms()
    at_once = [prepared for prepared in waiting if _goes_at_once(prepared.job, now_ms)]
    together = at_once if len(at_once) > 1 else []
    recorded = [each if together and _goes_at_once(each.job, now_ms) else _unsent(each, now_ms) for each in waiting]
    outbox = new_outbox(yard, [prepared.job for prepared in together])
    actions: list[Action] = [yard.graphs.requiring(graph)]
    actions += [yard.directory.opening_outbox(outbox)] if together else []
    owners: list[int | None] = [None] * len(actions)
    for place, prepared in enumerate(recorded):
        recording = yard.jobs.recording(prepared.job, prepared.body)
        actions += recording
        owners += [place] * len(recording)
    try:
        yard.concurrency.transact(actions)
    except TransactionRefused as refused:
        if refused.refused[0]:
            raise GraphRefused from refused
        return {place for place, bad in zip(owners, refused.refused, strict=True) if bad and place is not None}
    if together:
        empty_outbox(yard, outbox, [prepared.travelling for prepared in together])
    for prepared in recorded:
        if prepared.job.wake_at_ms is not None:
            send_marked(yard, prepared.travelling)
    return set()


def _goes_at_once(job: Job, now_ms: int) -> bool:
    return job.state is State.PENDING and job.travels and not beyond_sqs(job.due_at_ms, now_ms)


def _unsent(prepared: Prepared, now_ms: int) -> Prepared:
    return prepared.unsent(now_ms) if prepared.job.state is State.PENDING else prepared

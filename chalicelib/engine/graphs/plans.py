"""What a graph is made of, and how its nodes stand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from chalicelib.aws import threads
from chalicelib.core.graph_progress import Standing, standing_of
from chalicelib.core.graphs import Plan
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.states import State
from chalicelib.engine.yard import Yard
from chalicelib.store.graphs import Graph, Graphs
from chalicelib.store.payloads import PayloadLost, PayloadStore
from chalicelib.store.table import chunks

PLANS_REMEMBERED = 4  # a plan never changes
READ_AT_ONCE = 500  # records; beyond that, several threads read
PARALLEL_READS = 4


def plan_of(yard: Yard, graph: Graph) -> Plan:
    """The plan of a graph. Raises ``PayloadLost`` where it is gone, and what botocore raises."""
    return _plan(yard.graphs, yard.payloads, graph.id, graph.uid, graph.plan_at)


@lru_cache(maxsize=PLANS_REMEMBERED)
def _plan(graphs: Graphs, payloads: PayloadStore, graph_id: int, uid: str, plan_at: str | None) -> Plan:
    del uid  # tells it from a graph of another installation with its id
    text = graphs.plan_text(graph_id) if plan_at is None else payloads.object_text(plan_at)
    if text is None:
        raise PayloadLost(f"the plan of graph {graph_id} is gone", remedy="restore it, if you can")
    return Plan.from_text(text)


def records(yard: Yard, graph: Graph, numbers: Sequence[int]) -> list[Job | Tombstone | None]:
    """The tasks of nodes, or what remains of them, in order, as of the last write; ``None``: it was not started."""
    ids = [graph.job_id(number) for number in numbers]
    if len(ids) <= READ_AT_ONCE:
        found = yard.jobs.records(ids)
    else:
        with threads(PARALLEL_READS) as readers:
            found = [*chain.from_iterable(readers.map(yard.jobs.records, chunks(ids, READ_AT_ONCE)))]
    by_id = {record.id: record for record in found}
    return [by_id.get(job_id) for job_id in ids]


def standings(yard: Yard, graph: Graph, numbers: Sequence[int]) -> list[Standing]:
    """How nodes stand, in order, as of the last write."""
    return [_standing(record) for record in records(yard, graph, numbers)]


def _standing(record: Job | Tombstone | None) -> Standing:
    if record is None:
        return Standing.ABSENT
    return standing_of(record.state) if isinstance(record, Job) else Standing.REMOVED


def all_standings(yard: Yard, graph: Graph) -> list[Standing]:
    """How all nodes stand, and last the compensation."""
    return standings(yard, graph, range(graph.size + 1))


def results_of(yard: Yard, graph: Graph, numbers: Sequence[int]) -> dict[int, Any]:
    """The outputs of those among the nodes that have succeeded and are still there, by number."""
    jobs = [record for record in records(yard, graph, numbers) if isinstance(record, Job)]
    outputs = yard.payloads.outputs([job for job in jobs if job.state is State.SUCCESS])
    return {graph.number_of(job_id): output for job_id, output in outputs.items()}


def results_before(yard: Yard, job: Job) -> dict[str, Any]:
    """The outputs of the nodes that a node comes after, by name, in the plan's order; none for any other job."""
    graph = None if job.graph is None else yard.graphs.find(job.graph)
    if graph is None:
        return {}
    plan, number = plan_of(yard, graph), graph.number_of(job.id)
    before = plan.before(number) if number != plan.end else range(plan.end)
    return {plan.nodes[each].name: output for each, output in results_of(yard, graph, before).items()}

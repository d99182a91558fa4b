"""How many AWS requests and DynamoDB units a job costs, against the budgets.

    python -m tests.benchmarks.aws_calls

Starts an embedded emulator of its own, counts every request at the client and adds up the capacity that the tables
report (the emulator counts writes as DynamoDB does: by size, index entry and transaction). Prints figures; asserts
nothing. ``taskyard cost`` computes with the same figures, written down in ``engine/cost_figures.py``; a test
measures them again with the functions here.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from chalicelib import aws
from chalicelib.core.graph_order import arranged
from chalicelib.core.graphs import Plan
from chalicelib.core.job import Job
from chalicelib.core.kafka import Inward, Record
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.schedules import Schedule
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock.tick import tick
from chalicelib.engine.commands import schedules
from chalicelib.engine.graphs.accept import NewGraph, accept
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling import poll
from chalicelib.engine.projections.project import Change, project, report_nothing
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.lanes import lanes_to_poll
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.publish.records import AT_ONCE, accept_each
from chalicelib.engine.worker.consume import consume
from chalicelib.engine.worker.context import Context
from chalicelib.functions.metrics import report as telling
from chalicelib.local.emulator import Emulator
from chalicelib.logger import logger
from chalicelib.store.settled import StoredOutput
from chalicelib.store.transitions.running import Lease
from infra.storage import JOBS_INDEXES
from tests.support.yards import Bench, endpoint_bench

JOBS = 100
BULK = 100  # as many as one request over HTTP may bring
BATCH = 10
BODY = {"orderId": "123", "amount": 99.9}
POLLED_TOPIC = "bench.polled"
LANE = Lane("default", Band.NORMAL)
CAPACITY_CALLS = {
    "GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "TransactWriteItems", "BatchWriteItem",
}  # fmt: skip
READS = {"GetItem", "BatchGetItem", "Query"}
RETRY_MS = 3_600_000  # beyond the longest backoff
WAIT_MS, RUN_MS = 1_250, 100  # of the jobs whose changes are projected
NO_SHARD = "the only shard"


@task("bench.task")
def bench_task(value: Any, context: Context) -> None:
    if isinstance(value, dict) and value.get("failures", 0) >= context.attempt:
        raise RuntimeError("as asked")


@task("bench.light", light=True)
def bench_light(value: Any) -> None:
    del value


@subscribe("bench.topic")
def bench_subscriber(value: Any) -> None:
    del value


FUNCTIONS = (bench_task, bench_light, bench_subscriber)


@dataclass
class Measured:
    """What ``jobs`` pieces of work took."""

    jobs: int
    calls: Counter[str] = field(default_factory=Counter)  # by service and operation
    units: Counter[str] = field(default_factory=Counter)  # "read" and "write", as DynamoDB reports them
    sent_bytes: int = 0  # of the messages sent
    logged_bytes: int = 0  # of what went to the log

    def each(self, prefix: str) -> float:
        """Requests a job, of all operations whose name begins with ``prefix``."""
        return sum(n for name, n in self.calls.items() if name.startswith(prefix)) / self.jobs

    @property
    def write_units(self) -> float:
        """Write units a job."""
        return self.units["write"] / self.jobs

    @property
    def read_units(self) -> float:
        """Read units a job."""
        return self.units["read"] / self.jobs


@dataclass
class Meter:
    """Counts requests by service and operation, and the write and read units that DynamoDB reports."""

    now: Measured = field(default_factory=lambda: Measured(1))

    def install(self) -> None:
        """Count what the clients of the current bench ask for."""
        for service in ("dynamodb", "sqs", "s3"):
            client = aws.client(service)
            events = client.meta.events
            events.register("provide-client-params.dynamodb", self._ask_for_capacity)
            events.register("provide-client-params.sqs", self._weigh)
            events.register("before-call", self._count)
            events.register("after-call.dynamodb", self._add_capacity)

    def _ask_for_capacity(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if model.name in CAPACITY_CALLS:
            params["ReturnConsumedCapacity"] = "TOTAL"

    def _weigh(self, params: dict[str, Any], **_: Any) -> None:
        entries = params.get("Entries", [params])
        self.now.sent_bytes += sum(len(entry.get("MessageBody", "")) for entry in entries)

    def _count(self, model: Any, **_: Any) -> None:
        self.now.calls[f"{model.service_model.service_name}.{model.name}"] += 1

    def _add_capacity(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        found = parsed.get("ConsumedCapacity", [])
        for entry in found if isinstance(found, list) else [found]:
            self.now.units["read" if model.name in READS else "write"] += entry.get("CapacityUnits", 0)

    @contextmanager
    def measuring(self, jobs: int) -> Iterator[Measured]:
        """What the block takes, for ``jobs`` pieces of work; what it logs is counted, not shown."""
        measured = self.now = Measured(jobs)
        logged = io.StringIO()
        with redirect_stdout(logged), _logging_to(logged):
            yield measured
        measured.logged_bytes = len(logged.getvalue().encode())
        self.now = Measured(1)  # what comes in between is counted nowhere


@contextmanager
def _logging_to(stream: io.StringIO) -> Iterator[None]:
    handlers = [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]
    before = [handler.setStream(stream) for handler in handlers]
    try:
        yield
    finally:
        for handler, old in zip(handlers, before, strict=True):
            handler.setStream(old)


@contextmanager
def metered_bench(emulator: Emulator) -> Iterator[tuple[Bench, Meter]]:
    """A bench whose requests are counted; it has its id block and knows its queues."""
    with endpoint_bench(emulator.endpoint_url, FUNCTIONS) as bench:
        meter = Meter()
        meter.install()
        publish(bench.yard, NewJob(kind=Kind.TASK, type="bench.task"))
        bench.work(LANE)
        publish(bench.yard, NewJob(kind=Kind.MESSAGE, type=POLLED_TOPIC, input=BODY))
        for job in poll.poll(bench.yard, POLLED_TOPIC, 1, 30_000, "bench"):
            poll.complete(bench.yard, job.id)
        yield bench, meter


def task_draft(body: Any = BODY) -> NewJob:
    """A job that a worker runs."""
    return NewJob(kind=Kind.TASK, type="bench.task", input=body)


def publishing(bench: Bench, meter: Meter, body: Any = BODY, jobs: int = JOBS) -> Measured:
    """Publish one by one."""
    with meter.measuring(jobs) as measured:
        for _ in range(jobs):
            publish(bench.yard, task_draft(body))
    return measured


def publishing_in_bulk(bench: Bench, meter: Meter, body: Any = BODY, jobs: int = BULK) -> Measured:
    """Publish all at once: transactions of up to 99, and batches of ten."""
    with meter.measuring(jobs) as measured:
        publish_many(bench.yard, [task_draft(body)] * jobs)
    return measured


def bringing_in(bench: Bench, meter: Meter) -> Measured:
    """Records of Kafka, as many as are accepted at once: each with the key that makes it one job."""
    topic = Inward(topic=POLLED_TOPIC, source="orders.v1", cluster="kafka", group="bench")
    value = json.dumps(BODY).encode()
    arrived = [Record("orders.v1", 0, 4_711 + n, 1_790_000_000_000, None, value) for n in range(AT_ONCE)]
    with meter.measuring(AT_ONCE) as measured:
        assert accept_each(bench.yard, topic, arrived) == [None] * AT_ONCE
    return measured


def working(bench: Bench, meter: Meter, jobs: int = JOBS) -> Measured:
    """Run what was published in batches of ten; the receives and deletes are the event source mapping's."""
    with meter.measuring(jobs) as measured:
        for _ in range(jobs // BATCH):
            bench.work(LANE)
    return measured


def stepping(bench: Bench, meter: Meter, jobs: int) -> dict[str, float]:
    """The write units of each step of a job's way, and in all: one job alone, or so many published at once."""
    with meter.measuring(jobs) as published:
        accepted = publish_many(bench.yard, [task_draft()] * jobs) if jobs > 1 else [publish(bench.yard, task_draft())]
    envelopes = [job for job in accepted if isinstance(job, Job)]
    now_ms = bench.clock()
    lease = Lease("bench", now_ms + RETRY_MS, "bench")
    with meter.measuring(jobs) as claimed:
        running = [bench.yard.jobs.claim(envelope, lease, now_ms) for envelope in envelopes]
    with meter.measuring(jobs) as settled:
        for job in running:
            bench.yard.jobs.succeed(job, StoredOutput(), now_ms)
    found = {"publish": published, "claim": claimed, "settle": settled, "in all": together(published, claimed, settled)}
    return {step: measured.write_units for step, measured in found.items()}


def fanning(bench: Bench, meter: Meter) -> tuple[Measured, Measured]:
    """A graph of a root, a hundred leaves and a join, and as many jobs that are published at once and know no graph."""
    leaves = [f"leaf {number}" for number in range(JOBS)]
    leaf = {"type": "bench.task", "input": BODY}
    plan = Plan(arranged([("root", leaf, []), *((name, leaf, ["root"]) for name in leaves), ("join", leaf, leaves)]))
    with meter.measuring(JOBS + 2) as graph:
        accept(bench.yard, NewGraph(plan=plan))
        for _ in range(JOBS // BATCH + 2):
            bench.work(LANE)
    with meter.measuring(JOBS + 2) as alike:
        publish_many(bench.yard, [task_draft()] * (JOBS + 2))
        for _ in range(JOBS // BATCH + 1):
            bench.work(LANE)
    return graph, alike


def retrying(bench: Bench, meter: Meter) -> tuple[Measured, Measured]:
    """A batch whose jobs fail, and the same batch when they are due again and succeed."""
    for _ in range(BATCH):
        publish(bench.yard, task_draft({"failures": 1}))
    with meter.measuring(BATCH) as failed:
        messages = bench.receive(LANE)
        consume(bench.yard, messages, lambda: 300_000)
    bench.clock.move(RETRY_MS)
    with meter.measuring(BATCH) as succeeded:
        consume(bench.yard, messages, lambda: 300_000)
        bench.yard.transport.delete(messages)
    return failed, succeeded


def polling_once(bench: Bench, meter: Meter, body: Any = BODY) -> tuple[Measured, list[int]]:
    """One poll that brings ten messages, their payloads read as the API does; also the ids of the messages."""
    lanes_to_poll(bench.yard, POLLED_TOPIC)  # a process remembers them for a while
    for _ in range(BATCH):
        publish(bench.yard, NewJob(kind=Kind.MESSAGE, type=POLLED_TOPIC, input=body))
    with meter.measuring(BATCH) as measured:
        jobs = poll.poll(bench.yard, POLLED_TOPIC, BATCH, 30_000, "bench")
        for job in jobs:
            bench.yard.payloads.body(job)
    return measured, [job.id for job in jobs]


def reporting(bench: Bench, meter: Meter, ids: Sequence[int], report: Callable[[int], Job]) -> Measured:
    """Tell of each message in hand how it went; its payload is read for the answer, as the API does."""
    with meter.measuring(len(ids)) as measured:
        for job_id in ids:
            bench.yard.payloads.body(report(job_id))
    return measured


def ticking(bench: Bench, meter: Meter) -> Measured:
    """One run of the clock with nothing to do."""
    with meter.measuring(1) as measured:
        tick(bench.yard, lambda: True)
    return measured


def handing_over(bench: Bench, meter: Meter) -> Measured:
    """One run of the clock with one slot of a schedule to hand over."""
    now_ms = bench.clock()
    work = {"type": "bench.task", "input": 1}
    every_minute = Schedule(
        name="bench", uid="bench", every_ms=60_000, work=work, created_at_ms=now_ms, updated_at_ms=now_ms
    )
    schedules.create(bench.yard, every_minute)
    tick(bench.yard, lambda: True)  # what it does once an hour is done
    bench.clock.move(60_000)
    with meter.measuring(1) as measured:
        tick(bench.yard, lambda: True)
    schedules.remove(bench.yard, "bench")
    return measured


def projecting(bench: Bench, meter: Meter, metrics: str = "off") -> Measured:
    """A hundred changes of the change stream: jobs of one type that are published, run and done within one minute."""
    job = publish(bench.yard, task_draft())
    started_ms, done_ms = job.created_at_ms + WAIT_MS, job.created_at_ms + WAIT_MS + RUN_MS
    claimed = replace(
        job, state=State.RUNNING, attempts=1, lease="bench", started_at_ms=started_ms, updated_at_ms=started_ms
    )
    done = replace(claimed, state=State.SUCCESS, completed_at_ms=done_ms, updated_at_ms=done_ms)
    steps = itertools.cycle(((None, job), (job, claimed), (claimed, done)))
    watermark = bench.yard.insights.watermark(NO_SHARD)
    if watermark is None:
        project(bench.yard, NO_SHARD, [Change("0", None, job)])
    first = int(watermark or 0) + 1
    changes = [Change(str(first + number), *next(steps)) for number in range(JOBS)]
    report = report_nothing if metrics == "off" else partial(telling, replace(bench.yard.settings, metrics=metrics))
    with meter.measuring(1) as measured:
        project(bench.yard, NO_SHARD, changes, report)
    return measured


def stored_bytes(bench: Bench, job_id: int) -> dict[str, int]:
    """What a job takes in the jobs table: each of its items by part, and the entry of each index that has one.

    By the rules of the Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats".
    """
    found = aws.client("dynamodb").query(
        TableName=bench.yard.settings.jobs_table,
        KeyConditionExpression="job = :job",
        ExpressionAttributeValues={":job": {"N": str(job_id)}},
    )["Items"]
    sizes = {item["part"]["S"]: _item_bytes(item) for item in found}
    for name, keys in JOBS_INDEXES.items():
        attributes = {"job", "part", *(key for key, _ in keys)}
        for item in found:
            if attributes <= item.keys():
                sizes[name] = _item_bytes({attribute: item[attribute] for attribute in attributes})
    return sizes


def _item_bytes(item: Mapping[str, Any]) -> int:
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return (len(content.strip("-").rstrip("0")) + 1) // 2 + 1
        case "L":
            return 3 + sum(1 + _value_bytes(entry) for entry in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_bytes(entry) for name, entry in content.items())
        case "BOOL" | "NULL":
            return 1
    raise ValueError(f"no attribute of a job is of DynamoDB's type {kind}")


def together(*parts: Measured) -> Measured:
    """What parts of the work of the same jobs took in all."""
    whole = Measured(parts[0].jobs)
    for part in parts:
        whole.calls += part.calls
        whole.units += part.units
    return whole


def out(line: str) -> None:
    """A line of the report."""
    sys.stdout.write(line + "\n")


def show(title: str, budget: str, measured: Measured) -> None:
    """The figures of a scenario."""
    jobs = measured.jobs
    sqs, dynamodb = measured.each("sqs."), measured.each("dynamodb.")
    out(f"\n{title} ({jobs} jobs; budget: {budget})")
    out(f"  requests a job: {sqs + dynamodb:.2f}  (SQS {sqs:.2f}, DynamoDB {dynamodb:.2f})")
    out(f"  units a job: {measured.write_units:.2f} write, {measured.read_units:.2f} read")
    out("  " + ", ".join(f"{name} {n / jobs:.2f}" for name, n in sorted(measured.calls.items())))


def main() -> None:
    """Print the figures of each scenario."""
    with Emulator.start() as emulator, metered_bench(emulator) as (bench, meter):
        alone = publishing(bench, meter)
        done = together(alone, working(bench, meter))
        show("single, publish to done", "0.4 SQS + 1 send, 3 DynamoDB, 9 write units", done)
        show("single, publish alone", "2 requests", alone)
        show("bulk publish", "0.2 requests", publishing_in_bulk(bench, meter))
        working(bench, meter, BULK)
        graph, alike = fanning(bench, meter)
        show("a graph: root, 100 leaves, join; 200 edges", "2 write units an edge beyond the same jobs in bulk", graph)
        show("the same jobs in bulk", "none", alike)
        edge = (graph.units["write"] - alike.units["write"]) / (2 * JOBS)
        out(f"  an edge takes {edge:.2f} write units")
        failed, succeeded = retrying(bench, meter)
        show("an attempt that fails", "none", failed)
        show("the attempt after it", "none", succeeded)
        polled, ids = polling_once(bench, meter)
        show("poll of 10", "0.1 + 1 requests", polled)
        completed = reporting(bench, meter, ids, lambda job_id: poll.complete(bench.yard, job_id))
        show("complete", "2 requests and a delete", completed)
        _, ids = polling_once(bench, meter)
        refused = reporting(bench, meter, ids, lambda job_id: poll.fail(bench.yard, job_id, "as asked"))
        show("fail", "2 requests and a hide", refused)
        show("a tick of the clock", "none", ticking(bench, meter))
        show("a batch of 100 changes projected", "none", projecting(bench, meter))
        for title, jobs in (("a job alone", 1), (f"a job of {BULK} in bulk", BULK)):
            steps = ", ".join(f"{step} {units:.2f}" for step, units in stepping(bench, meter, jobs).items())
            out(f"\nwrite units of {title}, with all indexes: {steps}")
        out(f"\n  told CloudWatch in {projecting(bench, meter, 'total').logged_bytes} bytes")


if __name__ == "__main__":
    main()

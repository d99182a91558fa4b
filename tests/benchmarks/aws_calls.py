"""How many AWS requests and DynamoDB units a job costs, against the budgets.

    python -m tests.benchmarks.aws_calls

Starts an embedded emulator of its own, counts every request at the client and adds up the capacity that the
tables report. Prints figures; asserts nothing.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from chalicelib import aws
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.states import Kind
from chalicelib.engine import polling
from chalicelib.engine.handlers import subscribe, task
from chalicelib.engine.publish import Draft, publish, publish_many
from chalicelib.local.emulator import Emulator
from tests.support.yards import Bench, endpoint_bench

JOBS = 100
BULK = 990
BODY = {"orderId": "123", "amount": 99.9}
CAPACITY_CALLS = {
    "GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "TransactWriteItems", "BatchWriteItem",
}  # fmt: skip


@task("bench.task")
def bench_task(value: Any) -> Any:
    return value


@subscribe("bench.topic")
def bench_subscriber(value: Any) -> None:
    del value


@dataclass
class Meter:
    """Counts requests by service and operation, and the write and read units that DynamoDB reports."""

    calls: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)

    def install(self) -> None:
        for service in ("dynamodb", "sqs"):
            timeout_s = aws.LONG_POLL_READ_TIMEOUT_S if service == "sqs" else aws.READ_TIMEOUT_S
            client = aws.client(service, read_timeout_s=timeout_s) if service == "sqs" else aws.client(service)
            events = client.meta.events
            events.register("provide-client-params.dynamodb", self._ask_for_capacity)
            events.register("before-call", self._count)
            events.register("after-call.dynamodb", self._add_capacity)

    def _ask_for_capacity(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if model.name in CAPACITY_CALLS:
            params["ReturnConsumedCapacity"] = "TOTAL"

    def _count(self, model: Any, **_: Any) -> None:
        self.calls[f"{model.service_model.service_name}.{model.name}"] += 1

    def _add_capacity(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        found = parsed.get("ConsumedCapacity", [])
        for entry in found if isinstance(found, list) else [found]:
            kind = "read" if model.name in {"GetItem", "BatchGetItem", "Query"} else "write"
            self.units[kind] += entry.get("CapacityUnits", 0)

    @contextmanager
    def measuring(self, title: str, jobs: int, budget: str) -> Iterator[None]:
        self.calls.clear()
        self.units.clear()
        yield
        sqs = sum(n for name, n in self.calls.items() if name.startswith("sqs."))
        dynamodb = sum(n for name, n in self.calls.items() if name.startswith("dynamodb."))
        out(f"\n{title} ({jobs} jobs; budget: {budget})")
        out(f"  requests a job: {(sqs + dynamodb) / jobs:.2f}  (SQS {sqs / jobs:.2f}, DynamoDB {dynamodb / jobs:.2f})")
        out(f"  units a job: {self.units['write'] / jobs:.1f} write, {self.units['read'] / jobs:.1f} read")
        out("  " + ", ".join(f"{name} {n / jobs:.2f}" for name, n in sorted(self.calls.items())))


def out(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> None:
    with Emulator.start() as emulator, endpoint_bench(emulator.endpoint_url, [bench_task, bench_subscriber]) as bench:
        meter = Meter()
        meter.install()
        lane = Lane("default", Band.NORMAL)
        publish(bench.yard, Draft(kind=Kind.TASK, type="bench.task"))  # takes the id block, finds the queue
        bench.work(lane)
        single(bench, meter, lane)
        bulk(bench, meter, lane)
        polled(bench, meter)


def single(bench: Bench, meter: Meter, lane: Lane) -> None:
    """Publish one by one, work in batches of ten; the receives and deletes are the event source mapping's."""
    with meter.measuring("single, publish to done", JOBS, "0.4 SQS + 1 send, 3 DynamoDB, 14 write units"):
        for _ in range(JOBS):
            publish(bench.yard, Draft(kind=Kind.TASK, type="bench.task", input=BODY))
        repeat(JOBS // 10, lambda: bench.work(lane))
    with meter.measuring("single, publish alone", JOBS, "2 requests"):
        for _ in range(JOBS):
            publish(bench.yard, Draft(kind=Kind.TASK, type="bench.task", input=BODY))
    repeat(JOBS // 10, lambda: bench.work(lane))


def bulk(bench: Bench, meter: Meter, lane: Lane) -> None:
    """Publish 990 at once: ten transactions of 99 and 99 batches of ten."""
    with meter.measuring("bulk publish", BULK, "0.2 requests"):
        publish_many(bench.yard, [Draft(kind=Kind.TASK, type="bench.task", input=BODY)] * BULK)
    repeat(BULK // 10 + 5, lambda: bench.work(lane))


def polled(bench: Bench, meter: Meter) -> None:
    """Poll ten and complete each."""
    for _ in range(10):
        publish(bench.yard, Draft(kind=Kind.MESSAGE, type="bench.polled", input=BODY))
    polling.poll(bench.yard, "bench.polled", 1, 30_000, "bench")  # reads which lanes there are
    publish(bench.yard, Draft(kind=Kind.MESSAGE, type="bench.polled", input=BODY))
    with meter.measuring("poll of 10, for the whole poll", 1, "1 + 10 requests"):
        jobs = polling.poll(bench.yard, "bench.polled", 10, 30_000, "bench")
    with meter.measuring("complete", len(jobs), "2 requests and a delete"):
        for job in jobs:
            polling.complete(bench.yard, job.id)


def repeat(times: int, action: Callable[[], object]) -> None:
    for _ in range(times):
        action()


if __name__ == "__main__":
    main()

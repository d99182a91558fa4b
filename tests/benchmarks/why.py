"""What it takes to say why a job is not running, with many jobs stored, on the embedded emulator.

    python -m tests.benchmarks.why              100,000 tasks stored, and lines of 100 to 10,000 that wait
    python -m tests.benchmarks.why 1000 20000   other numbers of tasks, one after the other

Tasks are stored by BatchWriteItem in the ledger's own form, entries of wait lists by transactions. Of each reason that
takes reads beside the record, and of one that takes none: the median and the slowest of 31 answers as
``GET /api/job/{id}/why`` gives them, without HTTP, and their requests. Prints figures; asserts nothing.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from chalicelib.api.why import JobPath, why_not_running
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.limits import Concurrency
from chalicelib.core.states import Kind, State
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.pause import pause, type_target
from chalicelib.engine.yard import Yard
from chalicelib.http.exchange import Caller
from chalicelib.settings import DEFAULTS
from chalicelib.store.concurrency import Count
from chalicelib.store.table import TRANSACTION_MAX_ITEMS, chunks
from chalicelib.store.wait_lists import of_pause, of_type
from tests.benchmarks.aws_calls import Meter, out
from tests.benchmarks.lists import Store
from tests.support import backends
from tests.support.ledger import job_of
from tests.support.yards import SETTINGS

STORED = (100_000,)
IN_LINE = (100, 1_000, 10_000)
REPEATS = 31
LIMIT = 2
ANYBODY = Caller(
    name="bench", scopes=frozenset("*"), headers={}, request_id="bench", raw_body=b"", url_path="/api/job/1/why"
)


@task("bench.plain")
def plain(_: Any) -> None: ...


@task("bench.paused")
def paused(_: Any) -> None: ...


@task("bench.limited", concurrency=LIMIT)
def limited(_: Any) -> None: ...


def main() -> None:
    """Print the figures for each number of stored tasks."""
    numbers = [int(text) for text in sys.argv[1:]] or list(STORED)
    chosen = replace(SETTINGS, index_shards=DEFAULTS.index_shards)
    with backends.embedded_emulator() as emulator, backends.ground("ministack", emulator, chosen) as ground:
        yard = ground.bench(plain, paused, limited).yard
        store, meter = Store(yard, Kind.TASK), Meter()
        meter.install()
        for number in numbers:
            began_s = time.monotonic()
            store.fill(number)
            out(f"{number} tasks stored after {time.monotonic() - began_s:.0f} s")
            for name, job in _asked_about(yard, store.listed[0]):
                out(_row(name, yard, job, meter))


def _asked_about(yard: Yard, stored: Job) -> Iterator[tuple[str, Job]]:
    """A job for each reason, each made when the one before was asked about; the last in line where there is a line."""
    yield f"stored long ago ({stored.state})", stored
    yield "not due", _publish(yard, "bench.plain", delay_ms=60_000)
    parent = _publish(yard, "bench.by.hand", runner=MANUAL)
    yield "waits for its parent", _publish(yard, "bench.plain", parent_id=parent.id)
    yield "on its way", _publish(yard, "bench.plain")
    pause(yard, type_target("bench.paused"))
    if not yard.concurrency.of("bench.limited").running:
        yard.concurrency.transact([Count("bench.limited", Concurrency(running=LIMIT))])
    for in_line in IN_LINE:
        _put_in_line(yard, of_pause(type_target("bench.paused")), in_line)
        yield f"paused, behind {in_line}", _publish(yard, "bench.paused")
        _put_in_line(yard, of_type("bench.limited"), in_line)
        yield f"limit reached, behind {in_line}", _publish(yard, "bench.limited")


def _publish(yard: Yard, type_: str, **more: Any) -> Job:
    return publish(yard, NewJob(kind=Kind.TASK, type=type_, **more))


def _put_in_line(yard: Yard, wait_list: str, most: int) -> None:
    """Let so many jobs stand in a wait list; those that were put there before are put again."""
    for ids in chunks(range(1, most + 1), TRANSACTION_MAX_ITEMS):
        jobs = [job_of(yard, id=job_id, state=State.PENDING) for job_id in ids]
        yard.concurrency.transact([yard.wait_lists.putting(wait_list, job) for job in jobs])


def _row(name: str, yard: Yard, job: Job, meter: Meter) -> str:
    answer: Callable[[], Any] = lambda: why_not_running(yard, JobPath(id=str(job.id)), ANYBODY)  # noqa: E731
    reason = answer().reason  # and the address of its queue is known
    times_ms = []
    with meter.measuring(REPEATS) as measured:
        for _ in range(REPEATS):
            began_ns = time.perf_counter_ns()
            answer()
            times_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
    requests = measured.each("dynamodb.") + measured.each("sqs.")
    median, slowest = statistics.median(times_ms), max(times_ms)
    return f"{name:40}{reason:20}{median:8.1f} ms{slowest:8.1f} ms at most{requests:6.1f} requests"


if __name__ == "__main__":
    main()

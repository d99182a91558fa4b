"""What a tick of the clock costs, however many schedules are stored, and how long many that are due at once take.

    python -m tests.benchmarks.schedules [stored ...]

First 10,000 that are due in one minute: in how many invocations of the clock, and in what time, all of them are handed
over on the embedded emulator; then a thousand with every write answered as late as AWS does, without the emulator. What
is left is Taskyard's own time, and the emulator's for reads. Then the step of a tick that hands over slots, where ten
are due, with 0, 1,000 and 100,000 schedules (or as many as the command says) stored that are not: its requests, the
units that they read, the time of this process's processor, and the time in all. Asserts nothing.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from botocore.awsrequest import AWSResponse

from chalicelib import aws
from chalicelib.core.schedules import Schedule
from chalicelib.core.states import Kind
from chalicelib.engine.clock.schedules import hand_over_slots
from chalicelib.engine.commands import schedules
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.publish.slots import AHEAD_MS
from chalicelib.functions.clock import RESERVE_MS
from chalicelib.local.emulator import Emulator
from chalicelib.store.table import BATCH_WRITE_MAX_ITEMS, chunks
from tests.benchmarks.aws_calls import Meter, out
from tests.support.yards import Bench, endpoint_bench

STORED = (0, 1_000, 100_000)
DUE = 10
REPEATS = 15
AT_ONCE = 10_000
WRITERS = 4
DAY_MS = 86_400_000
BUDGET_S = 60 - RESERVE_MS / 1_000
LATENCY_S = 0.02  # of a transaction of a hundred actions, or of ten messages, on AWS
WRITES = ("dynamodb.TransactWriteItems", "dynamodb.DeleteItem", "sqs.SendMessageBatch")


@task("bench.scheduled")
def bench_scheduled(_: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Figures:
    """What one tick takes for its schedules."""

    requests: float
    read_units: float
    own_ms: float  # of the processor, for this process
    ms: float


def main() -> None:
    """Print the figures."""
    numbers = [int(text) for text in sys.argv[1:]] or list(STORED)
    with Emulator.start() as emulator:
        with endpoint_bench(emulator.endpoint_url, [bench_scheduled]) as bench:
            at_once(bench, AT_ONCE, "on the emulator")
            with answered_late():
                at_once(bench, AT_ONCE // 10, f"with writes that take {LATENCY_S * 1_000:.0f} ms")
        with endpoint_bench(emulator.endpoint_url, [bench_scheduled]) as bench:
            growing(bench, numbers)


def growing(bench: Bench, numbers: Sequence[int]) -> None:
    """Print what a tick takes, the more schedules are stored."""
    meter = Meter()
    meter.install()
    stored, rows = 0, []
    for number in numbers:
        began_s = time.monotonic()
        fill(bench, range(stored, number), bench.clock.ms + DAY_MS)
        stored = max(stored, number)
        out(f"{number} schedules stored after {time.monotonic() - began_s:.0f} s")
        rows.append(ticks(bench, meter))
    report(numbers, rows)


def fill(bench: Bench, numbers: Sequence[int], due_ms: int) -> None:
    """Store a schedule for each number, whose first slot is due at ``due_ms``."""
    with ThreadPoolExecutor(WRITERS) as writers:
        made = (made_for(bench, number, due_ms) for number in numbers)
        items = [action["Put"]["Item"] for each in made for action in bench.yard.schedules.changing(None, each)]
        for _ in writers.map(partial(write, bench), chunks(items, BATCH_WRITE_MAX_ITEMS)):
            continue


def made_for(bench: Bench, number: int, due_ms: int) -> Schedule:
    work = {"type": "bench.scheduled", "input": {"n": number}}
    new = schedules.new(bench.yard, name=f"due-{due_ms}-{number}", kind=Kind.TASK, work=work, every_ms=DAY_MS)
    return replace(new, next_ms=due_ms, start_ms=due_ms)


def write(bench: Bench, items: Sequence[Any]) -> None:
    table = bench.yard.schedules.table
    wanted: Any = {table.name: [{"PutRequest": {"Item": item}} for item in items]}
    while wanted:
        wanted = table.client.batch_write_item(RequestItems=wanted)["UnprocessedItems"]


def ticks(bench: Bench, meter: Meter) -> Figures:
    """The fastest of some ticks, each with ten schedules that fall due: others use the machine, too."""
    calls, own_ms, times_ms = [], [], []
    for _ in range(REPEATS):
        bench.clock.move(1_000)
        fill(bench, range(DUE), bench.clock.ms + AHEAD_MS)
        with meter.measuring(1) as one:
            began_ns, own_ns = time.perf_counter_ns(), time.process_time_ns()
            made = hand_over_slots(bench.yard, lambda: True)
            own_ms.append((time.process_time_ns() - own_ns) / 1e6)
            times_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
        assert made == DUE
        calls.append(one)
    requests = statistics.median(sum(one.calls.values()) for one in calls)
    return Figures(requests, statistics.median(one.read_units for one in calls), min(own_ms), min(times_ms))


def report(numbers: Sequence[int], rows: Sequence[Figures]) -> None:
    """A row for each number of stored schedules: each figure, and divided by that of the first row."""
    names = [field.name for field in fields(Figures)]
    out(f"\n{'stored':>10}" + "".join(f"{name:>14}{'ratio':>8}" for name in names))
    for number, row in zip(numbers, rows, strict=True):
        pairs = [(getattr(row, name), getattr(rows[0], name)) for name in names]
        out(f"{number:>10}" + "".join(f"{value:>14.1f}{value / first:>8.2f}" for value, first in pairs))


def at_once(bench: Bench, number: int, how: str) -> None:
    """Hand over as many as are due in one minute, invocation after invocation."""
    bench.clock.move(60_000)
    for second in range(60):
        fill(bench, range(number // 60 + (second < number % 60)), bench.clock.ms + AHEAD_MS - second * 1_000)
    made = invocations = 0
    began_s, own_s = time.monotonic(), time.process_time()
    while made < number:
        ends_s = time.monotonic() + BUDGET_S
        made += hand_over_slots(bench.yard, lambda: time.monotonic() < ends_s)  # noqa: B023
        invocations += 1
    took_s, own_s = time.monotonic() - began_s, time.process_time() - own_s
    out(f"\n{made} due in one minute, {how}:")
    out(f"{invocations} invocations, {took_s:.1f} s, of which this process used the processor for {own_s:.1f} s")


@contextmanager
def answered_late() -> Iterator[None]:
    """Answer what a tick writes after AWS's time, without the emulator; its state stays as it is."""
    clients = [aws.client("dynamodb"), aws.client("sqs")]
    for client in clients:
        client.meta.events.register_first("before-send", answer)
    try:
        yield
    finally:
        for client in clients:
            client.meta.events.unregister("before-send", answer)


def answer(request: Any, event_name: str, **_: Any) -> AWSResponse | None:
    if not event_name.endswith(WRITES):
        return None
    time.sleep(LATENCY_S)
    entries = json.loads(request.body).get("Entries", [])
    sent = [{"Id": entry["Id"], "MessageId": entry["Id"], "MD5OfMessageBody": ""} for entry in entries]
    return Answered(request.url, 200, {}, json.dumps({"Successful": sent} if sent else {}).encode())


class Answered(AWSResponse):
    """A response whose body is known."""

    def __init__(self, url: str, status_code: int, headers: dict[str, str], content: bytes) -> None:
        super().__init__(url, status_code, headers, None)
        self._content = content


if __name__ == "__main__":
    main()

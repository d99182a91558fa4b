"""What polls and lists take with few and with many messages stored, on DynamoDB Local or the embedded emulator.

    python -m tests.benchmarks.lists                        1,000 and 200,000 messages
    python -m tests.benchmarks.lists 1000 20000             other numbers
    python -m tests.benchmarks.lists embedded 100 10000     on the embedded emulator, as under `taskyard up`; tasks, too

Uses the DynamoDB Local at TASKYARD_TEST_DYNAMODB_LOCAL_URL, or has one installed and started as docs/emulators.md
says; queues are an embedded emulator's. Messages are stored by BatchWriteItem in the ledger's own form. Each row is
the median of several calls of the route's function; requests and read units are DynamoDB Local's. Prints figures;
asserts nothing.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chalicelib.api.mq import dead_letters, listing, queues, traces
from chalicelib.api.paging import Paging
from chalicelib.api.tasks import listing as tasks_listing
from chalicelib.core.cursors import Cursor
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling import poll as polling
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.yard import Yard
from chalicelib.settings import DEFAULTS
from chalicelib.store.attribute_values import to_attribute_values
from chalicelib.store.job_items import position_of
from chalicelib.store.table import BATCH_WRITE_MAX_ITEMS, chunks
from tests.benchmarks.aws_calls import BATCH, BODY, Measured, Meter, out
from tests.emulators import servers
from tests.emulators.install import cache_folder, install
from tests.support import backends
from tests.support.backends import DYNAMODB_LOCAL_VARIABLE
from tests.support.ledger import job_of
from tests.support.waiting import until
from tests.support.yards import SETTINGS, START_MS, Bench, environment

STORED = (1_000, 200_000)
TOPICS = 5
TARGETS = 20  # that the tasks are about
LISTED = "bench.topic.0"  # one fifth of what is stored
POLLED = "bench.polled"
# Of twenty stored messages. Most of an old installation's are done.
STATES = (State.SUCCESS,) * 15 + (State.FAILED,) * 2 + (State.CANCELED, State.PENDING, State.PENDING)
STORY = (Event.PUBLISHED, Event.STARTED, Event.SUCCEEDED)
REPEATS = 15
WRITERS = 8
DEEP = 0.9  # how far down the list the deep pages begin
PAGE_BY_NUMBER = 10

Scenario = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one call of a scenario takes."""

    median_ms: float
    requests: float
    read_units: float


def main() -> None:
    """Print the figures for each number of stored messages, and how they grow."""
    embedded = sys.argv[1:2] == ["embedded"]
    numbers = [int(text) for text in sys.argv[2 if embedded else 1 :]] or list(STORED)
    with installation(embedded) as (bench, meter):
        store = Store(bench.yard, Kind.TASK if embedded else Kind.MESSAGE)
        found: dict[str, list[Figures]] = {}
        for number in numbers:
            began_s = time.monotonic()
            store.fill(number)
            out(f"{number} messages stored after {time.monotonic() - began_s:.0f} s")
            chosen = of_tasks(bench) if embedded else of_messages(bench, store)
            for name, scenario in chosen.items():
                found.setdefault(name, []).append(measured(meter, scenario))
    report(numbers, found)


@contextmanager
def installation(embedded: bool = False, **settings: Any) -> Iterator[tuple[Bench, Meter]]:
    """An installation whose tables are DynamoDB Local's or the embedded emulator's, and a meter of its requests."""
    chosen = replace(SETTINGS, index_shards=DEFAULTS.index_shards, **settings)
    with (
        nullcontext("") if embedded else dynamodb_local() as url,
        environment({DYNAMODB_LOCAL_VARIABLE: url}),
        backends.embedded_emulator() as emulator,
        backends.ground("ministack" if embedded else "dynamodb_local", emulator, chosen) as ground,
    ):
        meter = Meter()
        bench = ground.bench()
        if not embedded:  # whose capacity figures are not DynamoDB's, and whose counts read nothing unless asked
            meter.install()
        yield bench, meter


@contextmanager
def dynamodb_local() -> Iterator[str]:
    """The address of the DynamoDB Local that the environment names, or of one that ends with the block."""
    given = os.environ.get(DYNAMODB_LOCAL_VARIABLE)
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="taskyard-lists-") as folder:
        server = servers.dynamodb_local(install(cache_folder(), out), Path(folder))
        with servers.running(server):
            yield server.url


class Store:
    """The stored jobs of a kind: how many there are, and where the list of one topic is 90 % read."""

    def __init__(self, yard: Yard, kind: Kind) -> None:
        self._yard = yard
        self._kind = kind
        self.listed: list[Job] = []
        self._states = itertools.cycle(STATES)
        self._stored = 0

    def fill(self, number: int) -> None:
        """Store messages until there are ``number``; each is a second younger than the one before."""
        for topic in range(TOPICS):
            self._yard.job_types.note(self._kind, f"bench.topic.{topic}")
        with ThreadPoolExecutor(WRITERS) as writers:
            wanted = range(self._stored, number)
            for _ in writers.map(self._write, chunks([self._made(n) for n in wanted], BATCH_WRITE_MAX_ITEMS)):
                continue
        self._stored = number

    @property
    def deep_position(self) -> str:
        """The position of the message after which a tenth of the topic's list is left."""
        return position_of(self.listed[round(len(self.listed) * (1 - DEEP))])

    def _made(self, number: int) -> Job:
        topic = f"bench.topic.{number % TOPICS}"
        at_ms = START_MS + number * 1_000
        lines = tuple(TraceEvent(word, at_ms + n).to_line() for n, word in enumerate(STORY))
        job = job_of(
            self._yard,
            kind=self._kind,
            target_id=str(number % TARGETS),
            target_type="order",
            type=topic,
            queue=topic,
            state=next(self._states),
            created_at_ms=at_ms,
            updated_at_ms=at_ms,
            body='{"input":{"orderId":"123","amount":99.9}}',
            trace=lines,
        )
        if topic == LISTED:
            self.listed.append(job)
        return job

    def _write(self, jobs: Sequence[Job]) -> None:
        table = self._yard.jobs.table
        wanted: Any = {
            table.name: [{"PutRequest": {"Item": to_attribute_values(self._yard.jobs.item(job))}} for job in jobs]
        }
        while wanted:
            wanted = table.client.batch_write_item(RequestItems=wanted)["UnprocessedItems"]


def of_tasks(bench: Bench) -> dict[str, Scenario]:
    """What is measured of tasks, by name."""
    yard = bench.yard

    def tasks(**query: Any) -> Scenario:
        return lambda: tasks_listing.list_tasks(yard, tasks_listing.ListQuery(**query))

    return {
        "task/list": tasks(),
        "task/list, a type and a status": tasks(filter={"type": LISTED, "status": "success"}),
        "task/list, a targetId": tasks(filter={"targetId": "7"}),
        "task/list, sorted by targetType": tasks(sort={"targetType": "ASC"}),
    }


def of_messages(bench: Bench, store: Store) -> dict[str, Scenario]:
    """What is measured of messages, by name."""
    yard = bench.yard

    def messages(**query: Any) -> Scenario:
        return lambda: listing.list_messages(yard, listing.MessageQuery(**query))

    def deep(query: Paging, place: str) -> str:
        return Cursor(place, 0, exact=False).to_text(query.filters)

    topic = listing.MessageQuery(topic=LISTED)
    done = listing.MessageQuery(topic=LISTED, status="COMPLETED")
    everything = listing.MessageQuery()
    events = traces.EventQuery(topic=LISTED)
    position = store.deep_position
    return {
        "poll of 10": polling_ten(bench),
        "message/list, all topics": messages(),
        "message/list, a topic": messages(topic=LISTED),
        "message/list, a topic and a status": messages(topic=LISTED, status="COMPLETED"),
        "message/list, a topic, 100 a page": messages(topic=LISTED, perPage=100),
        f"message/list, a topic, page {PAGE_BY_NUMBER}": messages(topic=LISTED, currentPage=PAGE_BY_NUMBER),
        "message/list by cursor, 90 % deep, all topics": messages(cursor=deep(everything, position)),
        "message/list by cursor, 90 % deep, a topic": messages(topic=LISTED, cursor=deep(topic, position)),
        "message/list by cursor, 90 % deep, and a status": messages(
            topic=LISTED, status="COMPLETED", cursor=deep(done, position)
        ),
        "dlq/list, a topic": lambda: dead_letters.list_dead_letters(yard, dead_letters.DeadLetterQuery(topic=LISTED)),
        "trace/list, a topic": lambda: traces.list_events(yard, events),
        "trace/list by cursor, 90 % deep, a topic": lambda: traces.list_events(
            yard, traces.EventQuery(topic=LISTED, cursor=deep(events, position))
        ),
        "queue/depth, a topic": lambda: queues.queue_depth(yard, queues.DepthQuery(topic=LISTED)),
    }


def polling_ten(bench: Bench) -> Scenario:
    """Ten messages wait, and one poll takes them."""
    for _ in range(REPEATS * BATCH):
        publish(bench.yard, NewJob(kind=Kind.MESSAGE, type=POLLED, input=BODY))

    def poll() -> None:
        taken = until(lambda: polling.poll(bench.yard, POLLED, BATCH, 3_600_000, "bench"))
        assert len(taken) == BATCH

    return poll


def measured(meter: Meter, scenario: Scenario) -> Figures:
    """The median of some calls."""
    times_ms: list[float] = []
    calls: list[Measured] = []
    for _ in range(REPEATS):
        with meter.measuring(1) as one:
            began_ns = time.perf_counter_ns()
            scenario()
            times_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
        calls.append(one)
    return Figures(
        statistics.median(times_ms),
        statistics.median(one.each("dynamodb.") for one in calls),
        statistics.median(one.read_units for one in calls),
    )


def report(numbers: Sequence[int], found: dict[str, list[Figures]]) -> None:
    """A row a scenario: the figures for each number of messages, and the last divided by the first."""
    columns = [f"{number} stored: ms  requests  read units" for number in numbers]
    out(f"\n{'':50}" + "".join(f"{column:>42}" for column in columns) + f"{'ms, last / first':>20}")
    for name, rows in found.items():
        cells = [f"{row.median_ms:.1f}{row.requests:>10.0f}{row.read_units:>12.1f}" for row in rows]
        ratio = rows[-1].median_ms / rows[0].median_ms
        out(f"{name:50}" + "".join(f"{cell:>42}" for cell in cells) + f"{ratio:>20.2f}")


if __name__ == "__main__":
    main()

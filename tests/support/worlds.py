"""A small AWS around a yard, on moto: event sources that call the functions, an SQS and a stream that obey the
movable clock, processes that end and begin anew, and the time that passes until everything is quiet.

What AWS does by itself (receive for a mapping, delete what a function has finished) goes by clients of its own,
so a test may disturb the calls of the service and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import botocore.session
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sqs.models import Message

from chalicelib import aws
from chalicelib.core.job import Job, Tombstone, from_envelope
from chalicelib.core.lanes import Lane, sqs_name
from chalicelib.core.states import State
from chalicelib.engine.polling import complete, poll
from chalicelib.engine.registry import Registry
from chalicelib.engine.repairing import LEASE_REPAIR_GRACE_MS, UNSENT_GRACE_MS
from chalicelib.engine.yard import Yard, build
from chalicelib.functions import clock, dead_letters, projector, worker
from chalicelib.settings import Settings
from chalicelib.store.jobs import STATE_PART, decoded
from chalicelib.store.wire import item_from_wire
from tests.support.yards import SETTINGS, START_MS, Exited, MovableClock, moto_bench

REGION = "us-east-1"
STEPS_MAX = 60  # more moves of the clock than any test needs to come to rest
BATCH = 10
MARK_RECEIVED = Message.mark_received
Function = Callable[[Yard, Mapping[str, Any], Any], Any]


@dataclass(frozen=True, slots=True)
class Remaining:
    """The part of Lambda's context object that the functions use."""

    ms: int

    def get_remaining_time_in_millis(self) -> int:
        return self.ms


@dataclass(slots=True)
class World:
    """One installation and all that surrounds it."""

    yard: Yard
    clock: MovableClock
    registry: Registry
    sqs: Any  # AWS's own client
    infra: frozenset[str]  # the queues that were there at first
    exits: list[int] = field(default_factory=list)
    honours_reports: bool = True  # whether the mapping keeps what a function reports in batchItemFailures
    healthy: bool = True  # whether a function that fails, fails the test
    consumes: bool = False  # whether somebody polls the topics without subscribers
    on_restart: Callable[[], None] = lambda: None

    # -- processes ----------------------------------------------------------------------------

    def restart(self, registry: Registry | None = None) -> None:
        """The process ends; the next one has new clients, a new block of ids and empty caches."""
        aws.client.cache_clear()
        self.on_restart()
        self.registry = registry or self.registry
        self.yard = build(self.registry, self.yard.settings, now_ms=self.clock, exit_process=self.exits.append)

    def invoke(self, function: Function, event: Mapping[str, Any] | None = None, remaining_ms: int = 300_000) -> Any:
        """One invocation of a Lambda function; ``None`` if it failed."""
        try:
            return function(self.yard, event or {}, Remaining(remaining_ms))
        except Exited:
            self.restart()
        except Exception:
            if self.healthy:
                raise
        return None

    # -- the event sources --------------------------------------------------------------------

    def queue_of(self, queue: str, band: str = "normal") -> str:
        """The SQS name of a lane."""
        return next(name for name, lane in self._lanes(queue) if lane.band == band)

    def deliver_batch(self, name: str, remaining_ms: int = 300_000) -> list[str] | None:
        """One batch of a queue to its function; answers what came back, ``None`` if the function failed."""
        url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        answer = self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=BATCH, MessageSystemAttributeNames=["ApproximateReceiveCount"]
        )
        messages = answer.get("Messages", [])
        function = dead_letters.handle if name == self.yard.settings.dead_letter_queue else worker.handle
        response = self.invoke(function, sqs_event(name, messages), remaining_ms)
        if response is None:
            return None
        back = [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
        for message in messages:
            if message["MessageId"] not in back or not self.honours_reports:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return back

    def deliver(self) -> None:
        """Deliver until no function's queue shows a message."""
        for _ in range(STEPS_MAX):
            names = [name for name in self._consumed() if self._visible(name)]
            if not names:
                return
            for name in names:
                self.deliver_batch(name)
        raise AssertionError("messages keep showing up")

    def tick(self) -> dict[str, int] | None:
        """One minute's run of the clock function."""
        ticked: dict[str, int] | None = self.invoke(clock.handle)
        return ticked

    def consume(self) -> None:
        """A client polls every topic that it can and completes what it gets."""
        for topic in self.yard.directory.topics():
            if topic not in self.registry.queues:
                for job in poll(self.yard, topic, 10, 30_000, "consumer"):
                    complete(self.yard, job.id)

    def project(self) -> None:
        """The whole change stream to the projector, again if it fails."""
        records = self.stream()
        for start in range(0, len(records), 100):
            event = {"Records": records[start : start + 100]}
            while self.invoke(projector.handle, event) is None:
                continue

    def go_on(self) -> None:
        """Let the world run on, and time pass, until nothing happens any more."""
        for _ in range(STEPS_MAX):
            self.deliver()
            if min(self._clock_times_ms(), default=self.clock.ms) <= self.clock.ms:
                self.tick()
                self.deliver()
            if self.consumes:
                self.consume()
            next_ms = self.next_event_ms()
            if next_ms is None:
                return
            self.clock.ms = max(self.clock.ms, next_ms)
        raise AssertionError(f"the world does not come to rest: {[(j.id, j.state) for j in self.jobs()]}")

    # -- the world as it is, read from the emulator's own memory -------------------------------

    def jobs(self) -> list[Job]:
        """Every job on the ledger, oldest first."""
        return [job for job in self.records() if isinstance(job, Job)]

    def job(self, job_id: int) -> Job:
        """A job as it stands."""
        (found,) = [job for job in self.jobs() if job.id == job_id]
        return found

    def records(self) -> list[Job | Tombstone]:
        """Every job and every tombstone, oldest first."""
        found = [decoded(item) for item in self.items("jobs") if item["part"] == STATE_PART]
        return sorted((record for record in found if record is not None), key=lambda record: record.id)

    def items(self, table: str, kind: str | None = None) -> list[dict[str, Any]]:
        """Everything in a table (``jobs``, ``directory`` or ``insights``); of the directory, perhaps one kind only."""
        rows = _tables()[f"{self.yard.settings.base_name}-{table}"].items
        wires = [item.to_json()["Attributes"] for items in rows.values() for item in items.values()]
        found = [item_from_wire(wire) for wire in wires]
        return [item for item in found if kind is None or item["kind"] == kind]

    def stream(self) -> list[dict[str, Any]]:
        """The records of the jobs table's change stream, oldest first."""
        shard = _tables()[self.yard.settings.jobs_table].stream_shard
        return [record.to_json() for record in shard.items]

    def messages(self, name: str | None = None) -> list[Any]:
        """What SQS holds in one queue, or in all."""
        queues = _queues()
        return [message for queue in ([name] if name else queues) for message in queues[queue]._messages]

    def objects(self) -> list[str]:
        """The keys in the bucket."""
        buckets = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"].buckets
        return list(buckets[self.yard.settings.objects_bucket].keys)

    def forget_messages(self) -> None:
        """SQS loses everything, as it does with messages older than 14 days."""
        for queue in _queues().values():
            queue._messages = []

    def lose_records(self) -> None:
        """The ledger has none of the jobs, as if their publishers had died before writing them."""
        _tables()[self.yard.settings.jobs_table].items.clear()
        _tables()[self.yard.settings.jobs_table].stream_shard.items.clear()

    def lose_record(self, job: Job) -> None:
        """The same for one job."""
        rows = _tables()[self.yard.settings.jobs_table].items
        del rows[next(key for key in rows if key.value == str(job.id))]

    def next_event_ms(self) -> int | None:
        """When something will happen next, ``None`` if nothing will."""
        names = _queues() if self.consumes else self._consumed()
        shown = [_shown_at_ms(message) for name in names for message in self.messages(name)]
        return min([*shown, *self._clock_times_ms()], default=None)

    def _clock_times_ms(self) -> list[int]:
        """When the clock function will have something to do."""
        jobs = {job.id: job for job in self.jobs()}
        times = [int(item["name"][:13]) + UNSENT_GRACE_MS + 1 for item in self.items("directory", "outbox")]
        for job in jobs.values():
            parent = jobs.get(job.parent_id or 0)
            if job.wake_at_ms is not None and not (job.held and (parent is None or parent.state is not State.SUCCESS)):
                times.append(job.wake_at_ms)
            if job.state is State.RUNNING:
                times.append((job.lease_until_ms or 0) + LEASE_REPAIR_GRACE_MS + 1)
        return times

    def counts(self) -> Counter[tuple[str, str, str, State]]:
        """How many jobs of each kind, queue, type and state are on the ledger."""
        return Counter((job.kind.value, job.queue, job.type, job.state) for job in self.jobs())

    def counted(self) -> Counter[tuple[str, str, str, State]]:
        """The same as the counters have it."""
        return +Counter(
            {
                (group.kind, group.queue, group.type, state): number
                for group, states in self.yard.insights.counters().items()
                for state, number in states.items()
            }
        )

    def _lanes(self, *only: str) -> list[tuple[str, Lane]]:
        base = self.yard.settings.base_name
        lanes = [Lane(queue, band) for queue, bands in self.registry.queues.items() for band in bands]
        return [(sqs_name(base, lane), lane) for lane in lanes if not only or lane.queue in only]

    def _consumed(self) -> list[str]:
        return [*(name for name, _ in self._lanes()), self.yard.settings.dead_letter_queue]

    def _visible(self, name: str) -> bool:
        return any(_shown_at_ms(message) <= self.clock.ms for message in self.messages(name))


@contextmanager
def world(functions: Sequence[Any] = (), chosen: Settings = SETTINGS) -> Iterator[World]:
    """A world with the given handlers, everything empty and all clocks at ``START_MS``."""
    with moto_bench(functions, chosen) as bench:
        bench.clock.ms = START_MS
        with (
            patch("moto.sqs.models.unix_time_millis", lambda: float(bench.clock.ms)),
            patch("moto.sqs.models.unix_time", lambda: bench.clock.ms / 1_000),
            patch.object(Message, "mark_received", _mark_received),
        ):
            sqs = botocore.session.get_session().create_client("sqs", region_name=REGION)
            yield World(bench.yard, bench.clock, bench.yard.handlers, sqs, frozenset(_queues()), bench.exits)


def wiped(used: World) -> World:
    """``used`` as on its first day: nothing stored, nothing sent, a new process."""
    for table in _tables().values():
        table.items.clear()
        if table.stream_shard is not None:
            table.stream_shard.items.clear()
    queues = _queues()
    for name in list(queues):
        if name in used.infra:
            queues[name]._messages = []
            queues[name].pending_messages.clear()
            queues[name].deleted_messages.clear()
        else:
            del queues[name]
    for bucket in get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"].buckets.values():
        bucket.keys.clear()
    used.clock.ms = START_MS
    used.exits.clear()
    fresh = World(used.yard, used.clock, used.registry, used.sqs, used.infra, used.exits, on_restart=used.on_restart)
    fresh.restart()
    return fresh


def sqs_event(name: str, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Messages as an event source mapping hands them to a function."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": dict(message.get("Attributes", {})),
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:{name}",
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }


def envelopes(used: World, name: str | None = None) -> list[Job]:
    """The travelling jobs in SQS, in the order in which they were sent."""
    return [from_envelope(message.body) for message in used.messages(name)]


def _mark_received(message: Any, visibility_timeout: int | None = None) -> None:
    """As moto does it. SQS lets a message be hidden for 12 hours from each receive; moto counts from the sending."""
    MARK_RECEIVED(message, visibility_timeout)
    message.sent_timestamp = message.visible_at - 1_000 * int(visibility_timeout or 0)


def _tables() -> Any:
    return get_backend("dynamodb")[DEFAULT_ACCOUNT_ID][REGION].tables


def _queues() -> Any:
    return get_backend("sqs")[DEFAULT_ACCOUNT_ID][REGION].queues


def _shown_at_ms(message: Any) -> int:
    """From when on a message can be received."""
    return max(int(message.visible_at) + 1 if message.visible_at else 0, int(message.delayed_until))

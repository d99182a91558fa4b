"""Worlds for tests of the engine: the test kit's, with what may happen to one beyond that.

What AWS does by itself (receive for a mapping, delete what a function has finished) goes by clients of its own,
so a test may disturb the calls of the service and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import botocore.session

from chalicelib import aws
from chalicelib.core.job import Job
from chalicelib.core.job_documents import from_envelope
from chalicelib.core.lanes import Lane, sqs_name
from chalicelib.core.states import State
from chalicelib.engine.clock.tick import STEPS
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.polling.poll import complete, poll
from chalicelib.engine.projections import events
from chalicelib.engine.projections.statistics import CONDENSED_AFTER_DAYS, DAY_MS
from chalicelib.engine.yard import build
from chalicelib.functions import projector
from chalicelib.local import lambda_events
from chalicelib.settings import Settings
from chalicelib.store.attribute_values import to_attribute_values
from chalicelib.store.directory import CLOCK
from chalicelib.store.task_statistics import CONDENSED_UNTIL
from chalicelib.testing import cloud
from chalicelib.testing import world as kit
from chalicelib.testing.clock import START_MS, MovableClock
from chalicelib.testing.world import QUEUE_ARN, Function, Remaining
from tests.support.yards import SETTINGS, InOrder, forget_clients

__all__ = ["Remaining", "World", "envelopes", "sqs_event", "wiped", "world"]

STEPS_MAX = 60  # more moves of the clock than any test needs to come to rest


@dataclass(slots=True)
class World(kit.World):
    """One installation and all that surrounds it, and what goes wrong there."""

    honours_reports: bool = True  # whether the mapping keeps what a function reports in batchItemFailures
    healthy: bool = True  # whether a function that fails, fails the test
    consumes: bool = False  # whether somebody polls the topics without subscribers
    on_restart: Callable[[], None] = lambda: None

    def restart(self, registry: Registry | None = None) -> None:
        """The process ends; the next one has a new block of ids and empty caches."""
        self.on_restart()
        kit.World.restart(self, registry)

    def invoke(self, function: Function, event: Mapping[str, Any] | None = None, remaining_ms: int = 300_000) -> Any:
        """One invocation of a Lambda function; ``None`` if it failed."""
        try:
            return kit.World.invoke(self, function, event or {}, remaining_ms)
        except Exception:
            if self.healthy:
                raise
        return None

    def settle(self, url: str, messages: Sequence[Any], back: set[str]) -> None:
        """The mapping deletes what need not come back, or everything if it ignores what is reported."""
        kit.World.settle(self, url, messages, back if self.honours_reports else set())

    def queue_of(self, queue: str, band: str = "normal") -> str:
        """The SQS name of a lane."""
        bands = self.registry.queues[queue]
        return sqs_name(self.yard.settings.base_name, Lane(queue, next(each for each in bands if each == band)))

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
            if min(self.clock_times_ms(), default=self.clock.ms) <= self.clock.ms:
                self.tick()
                self.deliver()
            if self.consumes:
                self.consume()
            next_ms = self.next_event_ms()
            if next_ms is None:
                return
            self.clock.ms = max(self.clock.ms, next_ms)
        raise AssertionError(f"the world does not come to rest: {[(j.id, j.state) for j in self.jobs()]}")

    def next_event_ms(self, *, slots: bool = True) -> int | None:
        """When something will happen next, ``None`` if nothing will."""
        polled = [at_ms for name in cloud.queues() for at_ms in cloud.shown_at_ms(name)] if self.consumes else []
        return min([*polled, *filter(None, [kit.World.next_event_ms(self, slots=slots)])], default=None)

    def forget_messages(self) -> None:
        """SQS loses everything, as it does with messages older than 14 days."""
        for queue in cloud.queues().values():
            queue._messages = []

    def lose_records(self) -> None:
        """The ledger has none of the jobs, as if their publishers had died before writing them."""
        table = cloud.tables()[self.yard.settings.jobs_table]
        table.items.clear()
        table.stream_shard.items.clear()

    def lose_record(self, job: Job) -> None:
        """The same for one job."""
        rows = cloud.tables()[self.yard.settings.jobs_table].items
        del rows[next(key for key in rows if key.value == str(job.id))]

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


@contextmanager
def world(functions: Sequence[Any] = (), chosen: Settings = SETTINGS) -> Iterator[World]:
    """A world with the given handlers, everything empty and all clocks at ``START_MS``."""
    clock, registry, exits = MovableClock(), Registry.of(functions), []
    with (
        cloud.cloud(chosen, registry.queues, clock, late_ms=1),  # as moto is by itself
        patch.object(aws, "ThreadPoolExecutor", InOrder),
    ):
        yard = build(registry, chosen, now_ms=clock, exit_process=exits.append)
        sqs = botocore.session.get_session().create_client("sqs", region_name=cloud.REGION)
        try:
            yield World(yard, clock, registry, sqs, dict(cloud.queues()), exits)
        finally:
            forget_clients()  # a test may have attached something to them


def wiped(used: World, *, same_clients: bool = False) -> World:
    """``used`` as on its first day: nothing stored, nothing sent, a new process, with clients without hooks.

    What the clock does once an hour has just been done: its first time is work that no test but its own needs.
    """
    if not same_clients:
        aws.client.cache_clear()
    events._remembered.cache_clear()  # what webhooks there were: the clock stands at the same moment again
    cloud.empty(used.lasting)
    used.clock.ms = START_MS
    used.exits.clear()
    fresh = World(used.yard, used.clock, used.registry, used.sqs, used.lasting, used.exits, on_restart=used.on_restart)
    fresh.restart()
    hourly = {step.name: START_MS for step in STEPS if step.every_ms}
    _put(fresh, "directory", {**CLOCK, **hourly})
    _put(fresh, "insights", {**CONDENSED_UNTIL, "day_ms": START_MS - CONDENSED_AFTER_DAYS[0] * DAY_MS})
    return fresh


def _put(used: World, table: str, item: Mapping[str, Any]) -> None:
    """An item into moto's own memory, which takes a tenth of a request's time."""
    cloud.tables()[f"{used.yard.settings.base_name}-{table}"].put_item(to_attribute_values(item))


def sqs_event(name: str, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Messages as an event source mapping hands them to a function."""
    return lambda_events.sqs_event(messages, f"{QUEUE_ARN}:{name}")


def envelopes(used: World, name: str | None = None) -> list[Job]:
    """The travelling jobs in SQS, in the order in which they were sent."""
    return [from_envelope(message.body) for message in used.messages(name)]

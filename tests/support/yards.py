"""Yards for tests: on moto in process or on a running emulator, with a clock that the test moves."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from moto import mock_aws

from chalicelib import aws
from chalicelib.core.job import Job
from chalicelib.core.lanes import Lane
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.worker.consume import consume
from chalicelib.engine.yard import Yard, build
from chalicelib.queue.contract import Received
from chalicelib.settings import Settings
from chalicelib.testing.clock import START_MS, MovableClock
from chalicelib.testing.world import WorkerDied as Exited
from infra.deploy import stack
from infra.template import template
from tests.support.lanes import lane_of

__all__ = ["FAR_MS", "START_MS", "Bench", "Exited", "MovableClock", "endpoint_bench", "environment", "moto_bench"]

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
FAR_MS = 4_000_000_000_000  # 2096-10-02: what expires soon after it, no emulator with a time of its own deletes
SETTINGS = Settings(index_shards=2, lease_s=60, search="off")  # what searches, switches it on
_numbers = itertools.count()


@dataclass(slots=True)
class Bench:
    """A yard with its clock, and a worker that is driven by hand."""

    yard: Yard
    clock: MovableClock
    exits: list[int] = field(default_factory=list)

    def receive(self, lane: Lane, most: int = 10) -> list[Received]:
        """What SQS hands out of a lane now."""
        return self.yard.transport.receive(self.yard.transport.source_of(lane), most, hide_s=330, wait_s=0)

    def work(self, lane: Lane, remaining_ms: int = 300_000) -> list[str]:
        """One invocation of the worker on what the lane holds, then what the event source mapping does."""
        messages = self.receive(lane)
        come_back = consume(self.yard, messages, lambda: remaining_ms)
        self.yard.transport.delete([message for message in messages if message.message_id not in come_back])
        return come_back

    def lane(self, job: Job) -> Lane:
        return lane_of(self.yard, job.queue, job.priority)

    def job(self, job_id: int) -> Job:
        found = self.yard.jobs.find(job_id)
        assert found is not None
        return found


def events_of(job: Job) -> list[str]:
    """The names of a job's events, oldest first."""
    return [event.event.value for event in job.events]


class InOrder(Executor):
    """Threads that never meet: what they are given is done at once, one after the other, as moto has no locks anyway.

    A tenth of the time of tests that make many short calls would go into starting threads for them.
    """

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def submit(self, call: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        """What ``call`` did, be it to raise."""
        done: Future[Any] = Future()
        try:
            done.set_result(call(*given, **named))
        except BaseException as error:  # a process that ends, too
            done.set_exception(error)
        return done


@contextmanager
def moto_bench(functions: Sequence[Any] = (), chosen: Settings = SETTINGS) -> Iterator[Bench]:
    """A bench on moto, its resources made by infra's own template."""
    with environment(CREDENTIALS), mock_aws(), patch.object(aws, "ThreadPoolExecutor", InOrder):
        forget_clients()
        registry = Registry.of(functions)
        stack.apply(chosen, template(chosen, registry.queues))
        yield _bench(registry, chosen)
    forget_clients()


@contextmanager
def endpoint_bench(endpoint_url: str, functions: Sequence[Any] = (), chosen: Settings = SETTINGS) -> Iterator[Bench]:
    """A bench on a running emulator, under names of its own."""
    own = replace(chosen, prefix=f"t{os.getpid() % 100_000}x{next(_numbers)}")
    with environment({**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint_url}):
        forget_clients()
        registry = Registry.of(functions)
        stack.apply(own, template(own, registry.queues))
        yield _bench(registry, own, FAR_MS)
    forget_clients()


def _bench(registry: Registry, chosen: Settings, start_ms: int = START_MS) -> Bench:
    clock = MovableClock(start_ms)
    exits: list[int] = []
    return Bench(build(registry, chosen, now_ms=clock, exit_process=exits.append), clock, exits)


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """The process environment with ``values`` in it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def forget_clients() -> None:
    """Make new AWS clients at the next use: the environment has changed."""
    aws.client.cache_clear()
    aws._session.cache_clear()

"""The backends of the contract suite: where the tables, queues and objects of a test may live.

moto (in this process) and the embedded emulator are always there. Two more take part when the environment says
where they run; ``python -m tests.emulators`` starts both and says so:

    TASKYARD_TEST_DYNAMODB_LOCAL_URL=http://127.0.0.1:8001    DynamoDB Local, started with -sharedDb
    LOCALSTACK_HOST=127.0.0.1:4566                            LocalStack (with USE_SSL, as its client library has it)
    TASKYARD_TEST_LOCALSTACK_URL=http://127.0.0.1:4566        LocalStack, whatever the shell's own variables say

DynamoDB Local has nothing but tables and their streams; queues and objects are then the embedded emulator's.
Every run uses names of its own and wipes nothing, so an emulator may be in other use at the same time.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from unittest.mock import patch

from moto import mock_aws

from chalicelib import aws
from chalicelib.core.lanes import Lane
from chalicelib.engine.handlers.declare import DEFAULT_POOL
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.yard import build
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from infra.deploy import localstack, stack
from infra.template import template
from tests.support.yards import CREDENTIALS, FAR_MS, SETTINGS, Bench, InOrder, MovableClock, environment, forget_clients

DYNAMODB_LOCAL_VARIABLE = "TASKYARD_TEST_DYNAMODB_LOCAL_URL"
LOCALSTACK_VARIABLE = "TASKYARD_TEST_LOCALSTACK_URL"
STARTS_BOTH = "run `python -m tests.emulators`"
# moto's streams do not know the endpoints that botocore makes of account ids.
VARIABLES = {**CREDENTIALS, "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}
THREADS = 8
_numbers = itertools.count()


class Difference(StrEnum):
    """What a backend may do otherwise than AWS, as far as Taskyard would notice."""

    STALE_DELETE = "stale delete"
    LONG_HIDE = "long hide"
    NO_LOCKS = "no locks"


_DELETES_BY_STALE_HANDLE = "a delete with a stale receipt handle deletes the message that a newer receiver holds"
# What is declared is tested for, too, except what shows by chance only (no locks): a backend that has learned better
# fails the suite until its entry goes.
DIFFERENCES: Mapping[str, Mapping[Difference, str]] = {
    "moto": {
        Difference.STALE_DELETE: _DELETES_BY_STALE_HANDLE,
        Difference.LONG_HIDE: "counts the 12 hours of hiding from the sending, and refuses the whole batch beyond",
        Difference.NO_LOCKS: "requests of several threads interleave: a failing transaction undoes what others wrote",
    },
    "ministack": {},
    "dynamodb_local": {},
    "localstack": {Difference.STALE_DELETE: _DELETES_BY_STALE_HANDLE},
}
NAMES = tuple(DIFFERENCES)


def missing(backend: str) -> str | None:
    """Why a backend cannot take part, ``None`` if it can."""
    if backend == "dynamodb_local" and dynamodb_local_url() is None:
        return f"no DynamoDB Local: {STARTS_BOTH}, or set {DYNAMODB_LOCAL_VARIABLE} to the URL of one that runs"
    if backend == "localstack" and localstack_url() is None:
        return f"no LocalStack: {STARTS_BOTH}, or set LOCALSTACK_HOST to the host:port of one that runs"
    return None


def dynamodb_local_url() -> str | None:
    """Where DynamoDB Local runs."""
    return os.environ.get(DYNAMODB_LOCAL_VARIABLE)


def localstack_url() -> str | None:
    """Where LocalStack runs, if anybody says so; raises ``Unavailable`` when it does not answer there."""
    if url := os.environ.get(LOCALSTACK_VARIABLE):
        return url
    return localstack.endpoint_url() if os.environ.get("LOCALSTACK_HOST") else None


@dataclass(frozen=True, slots=True)
class Ground:
    """The resources of one installation on a backend; benches on it share them, and little else."""

    backend: str
    settings: Settings
    _starts_ms: Iterator[int] = field(default_factory=lambda: itertools.count(FAR_MS, 86_400_000))

    def bench(self, *functions: Callable[..., Any]) -> Bench:
        """A yard with handlers and a clock of its own, a day after the one before; its lanes are open."""
        clock = MovableClock(next(self._starts_ms))
        exits: list[int] = []
        registry = Registry.of(functions)
        yard = build(registry, self.settings, now_ms=clock, exit_process=exits.append)
        for queue, bands in registry.queues.items():
            for band in bands if queue != DEFAULT_POOL else ():  # whose lanes infra has made
                yard.transport.open_lane(Lane(queue, band))
        return Bench(yard, clock, exits)

    def another(self) -> Ground:
        """Another installation on the same backend, whose tables hold nothing yet."""
        return _made(self.backend, replace(self.settings, prefix=_prefix()))

    def threads(self, most: int = THREADS) -> int:
        """How many threads may use the backend at once, of ``most``."""
        return 1 if self.differs(Difference.NO_LOCKS) else most

    def differs(self, difference: Difference) -> bool:
        """Whether the backend is declared to do so."""
        return difference in DIFFERENCES[self.backend]


@contextmanager
def embedded_emulator() -> Iterator[Callable[[], Emulator]]:
    """Returns the one embedded emulator of the block, started on a free port at the first call."""
    started: list[Emulator] = []

    def emulator() -> Emulator:
        if not started:
            started.append(Emulator.start())
        return started[0]

    try:
        yield emulator
    finally:
        for running in started:
            running.stop()


@contextmanager
def ground(backend: str, emulator: Callable[[], Emulator], chosen: Settings = SETTINGS) -> Iterator[Ground]:
    """Everything that infra's template describes, on a backend, as the process's AWS until the block ends.

    ``emulator`` starts the embedded emulator, or answers the one that runs.
    """
    with connected(backend, emulator, chosen) as own:
        yield _made(backend, own)


def _made(backend: str, own: Settings) -> Ground:
    if backend == "dynamodb_local":
        _make_tables(own)
    stack.apply(own, template(own, {}))
    return Ground(backend, own)


@contextmanager
def connected(backend: str, emulator: Callable[[], Emulator], chosen: Settings = SETTINGS) -> Iterator[Settings]:
    """A backend as the process's AWS until the block ends; ``chosen`` with a prefix that nothing there has yet."""
    own = replace(chosen, prefix=_prefix())
    with CONNECTIONS[backend](emulator):
        forget_clients()
        yield own
    forget_clients()


def _prefix() -> str:
    return f"t{os.getpid() % 100_000}x{next(_numbers)}"


@contextmanager
def _to_moto(_emulator: Callable[[], Emulator]) -> Iterator[None]:
    with environment(VARIABLES), mock_aws(), patch.object(aws, "ThreadPoolExecutor", InOrder):
        yield


@contextmanager
def _to_ministack(emulator: Callable[[], Emulator]) -> Iterator[None]:
    with environment({**VARIABLES, "AWS_ENDPOINT_URL": emulator().endpoint_url}):
        yield


@contextmanager
def _to_localstack(_emulator: Callable[[], Emulator]) -> Iterator[None]:
    with environment({**VARIABLES, "AWS_ENDPOINT_URL": str(localstack_url())}):
        yield


@contextmanager
def _to_dynamodb_local(emulator: Callable[[], Emulator]) -> Iterator[None]:
    url = str(dynamodb_local_url())
    own = {"AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": url}
    with _to_ministack(emulator), environment(own):
        yield


CONNECTIONS = {
    "moto": _to_moto,
    "ministack": _to_ministack,
    "dynamodb_local": _to_dynamodb_local,
    "localstack": _to_localstack,
}


def _make_tables(own: Settings) -> None:
    """The template's tables, made by API: DynamoDB Local knows no CloudFormation."""
    dynamodb = aws.client("dynamodb")
    for resource in template(own, {})["Resources"].values():
        if resource["Type"] == "AWS::DynamoDB::Table":
            wanted = dict(resource["Properties"])
            expiry = wanted.pop("TimeToLiveSpecification")
            if "StreamSpecification" in wanted:
                wanted["StreamSpecification"] = {"StreamEnabled": True, **wanted["StreamSpecification"]}
            dynamodb.create_table(**wanted)
            dynamodb.update_time_to_live(TableName=wanted["TableName"], TimeToLiveSpecification=expiry)

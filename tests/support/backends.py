"""The backends of the contract suite: where the tables, queues and objects of a test may live.

moto (in this process) and the embedded emulator are always there. Two more take part when the environment says
where they run; EMULATORS in docs/ has the commands that start them:

    TASKYARD_TEST_DYNAMODB_LOCAL_URL=http://127.0.0.1:8001    DynamoDB Local, started with -sharedDb
    TASKYARD_TEST_LOCALSTACK_URL=http://127.0.0.1:4566        LocalStack; without it, LOCALSTACK_HOST (and USE_SSL)
                                                              as LocalStack's own client library reads them

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

from localstack_client.config import get_service_endpoint
from moto import mock_aws

from chalicelib import aws
from chalicelib.engine.handlers import Registry
from chalicelib.engine.yard import build
from chalicelib.local import stack
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from infra.template import template
from tests.support.yards import CREDENTIALS, SETTINGS, START_MS, Bench, MovableClock, environment, forget_clients

DYNAMODB_LOCAL_VARIABLE = "TASKYARD_TEST_DYNAMODB_LOCAL_URL"
LOCALSTACK_VARIABLE = "TASKYARD_TEST_LOCALSTACK_URL"
# moto's streams do not know the endpoints that botocore makes of account ids.
VARIABLES = {**CREDENTIALS, "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}
TABLES_READY_S = 30
_numbers = itertools.count()


class Difference(StrEnum):
    """What a backend may do otherwise than AWS."""

    STALE_DELETE = "a delete with a stale receipt handle deletes the message"


# Each entry is tested for, too: a backend that has learned better fails the suite until its entry goes.
DIFFERENCES: Mapping[str, Mapping[Difference, str]] = {
    "moto": {},
    "ministack": {},
    "dynamodb_local": {},
    "localstack": {},
}
NAMES = tuple(DIFFERENCES)
TRANSPORTS = ("moto", "ministack", "localstack")  # DynamoDB Local has no queues


class NotInstalled(Exception):
    """The backend does not run here; the text says how to have it."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The resources of one installation on a backend; benches on it share them, and little else."""

    backend: str
    settings: Settings
    _starts_ms: Iterator[int] = field(default_factory=lambda: itertools.count(START_MS, 86_400_000))

    def bench(self, *functions: Callable[..., Any]) -> Bench:
        """A yard with handlers and a clock of its own, a day after the one before; no queue is declared to infra."""
        clock = MovableClock(next(self._starts_ms))
        exits: list[int] = []
        yard = build(Registry.of(functions), self.settings, now_ms=clock, exit_process=exits.append)
        return Bench(yard, clock, exits)

    def differs(self, difference: Difference) -> bool:
        """Whether the backend is declared to do so."""
        return difference in DIFFERENCES[self.backend]


@contextmanager
def ground(backend: str, emulator: Callable[[], Emulator], chosen: Settings = SETTINGS) -> Iterator[Ground]:
    """Everything that infra's template describes, on a backend, as the process's AWS until the block ends.

    ``emulator`` starts the embedded emulator, or answers the one that runs. Raises ``NotInstalled``.
    """
    own = replace(chosen, prefix=f"t{os.getpid() % 100_000}x{next(_numbers)}")
    with BACKENDS[backend](own, emulator):
        yield Ground(backend, own)
    forget_clients()


@contextmanager
def _on_moto(own: Settings, _emulator: Callable[[], Emulator]) -> Iterator[None]:
    with environment(VARIABLES), mock_aws():
        _apply(own)
        yield


@contextmanager
def _on_ministack(own: Settings, emulator: Callable[[], Emulator]) -> Iterator[None]:
    with environment({**VARIABLES, "AWS_ENDPOINT_URL": emulator().endpoint_url}):
        _apply(own)
        yield


@contextmanager
def _on_localstack(own: Settings, _emulator: Callable[[], Emulator]) -> Iterator[None]:
    url = os.environ.get(LOCALSTACK_VARIABLE)
    if url is None and "LOCALSTACK_HOST" in os.environ:
        url = get_service_endpoint("dynamodb")
    if url is None:
        raise NotInstalled(f"LocalStack does not run here: {LOCALSTACK_VARIABLE} or LOCALSTACK_HOST says where it does")
    with environment({**VARIABLES, "AWS_ENDPOINT_URL": url}):
        _apply(own)
        yield


@contextmanager
def _on_dynamodb_local(own: Settings, emulator: Callable[[], Emulator]) -> Iterator[None]:
    url = os.environ.get(DYNAMODB_LOCAL_VARIABLE)
    if url is None:
        raise NotInstalled(f"DynamoDB Local does not run here: {DYNAMODB_LOCAL_VARIABLE} says where it does")
    with _on_ministack(own, emulator):
        elsewhere = {"AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": url}
        with environment(elsewhere):
            forget_clients()
            _make_tables(own)
            yield


BACKENDS = {
    "moto": _on_moto,
    "ministack": _on_ministack,
    "dynamodb_local": _on_dynamodb_local,
    "localstack": _on_localstack,
}


def _apply(own: Settings) -> None:
    forget_clients()
    stack.apply(own, template(own, {}))


def _make_tables(own: Settings) -> None:
    """The template's tables, made by API: DynamoDB Local knows no CloudFormation."""
    dynamodb = aws.client("dynamodb")
    for resource in template(own, {})["Resources"].values():
        if resource["Type"] == "AWS::DynamoDB::Table":
            wanted = {name: value for name, value in resource["Properties"].items() if name != "TimeToLiveSpecification"}
            if "StreamSpecification" in wanted:
                wanted["StreamSpecification"] = {"StreamEnabled": True, **wanted["StreamSpecification"]}
            dynamodb.create_table(**wanted)
            dynamodb.update_time_to_live(
                TableName=wanted["TableName"],
                TimeToLiveSpecification=resource["Properties"]["TimeToLiveSpecification"],
            )

"""The one place that makes AWS clients: every call has a bounded time and bounded, adaptive retries.

botocore is used without boto3 around it: the clients are the same, and a cold start is some 20 ms shorter. What is
called all the time goes a leaner way (``chalicelib/lean``), unless ``TASKYARD_AWS_CLIENT`` is ``boto3``; most of
botocore is loaded by what goes another way, when that is called first.
Endpoints and credentials come from the standard variables (``AWS_ENDPOINT_URL`` for an emulator).

A request that somebody waits for has a budget beside: within ``answering_within`` no try of a call begins that might
end too late, in the threads of ``threads`` neither.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from chalicelib import settings
from chalicelib.actor import act_for, actor
from chalicelib.clocks import TIMEKEEPERS, ledger_clock
from chalicelib.lean.access import credentials
from chalicelib.lean.client import LeanClient
from chalicelib.lean.services import SERVICES

if TYPE_CHECKING:
    from botocore.session import Session

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 5  # beyond the 2 s for which a poll lets SQS hold a ReceiveMessage
LONG_POLL_READ_TIMEOUT_S = 30  # beyond the 20 s that SQS may hold one
ATTEMPTS = 4
KEPT_ALIVE = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
POOL_CONNECTIONS = 512  # more than the threads of a process that call at a time; an unused one costs nothing

FAILURES = (ClientError, BotoCoreError)  # what a call raises once botocore has given up
OUR_MISTAKES = frozenset(  # what AWS says of a request that is wrong, whenever it is sent
    {
        "ConditionalCheckFailedException",
        "IdempotentParameterMismatchException",
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "MissingParameter",
        "SerializationException",
        "ValidationException",
    }
)

_ends_at_s: ContextVar[float | None] = ContextVar("_ends_at_s", default=None)  # by the monotonic clock


class OutOfTime(BotoCoreError):
    """A call was not made, or not repeated, as its answer would come too late."""

    fmt = "no time is left for another call to AWS"


def is_outage(error: BaseException) -> bool:
    """Whether a call failed because AWS, or what this process has there, does not serve now."""
    if isinstance(error, ClientError):
        return code_of(error) not in OUR_MISTAKES
    return isinstance(error, BotoCoreError) and not isinstance(error, ParamValidationError)


def code_of(error: BaseException) -> str:
    """A failure in one word: AWS's code for it, or botocore's or Python's name."""
    code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
    return code or type(error).__name__


@contextmanager
def answering_within(budget_s: float) -> Iterator[None]:
    """Let calls within the block end at most ``budget_s`` seconds from now; raises ``OutOfTime`` instead of others."""
    token = _ends_at_s.set(time.monotonic() + budget_s)
    try:
        yield
    finally:
        _ends_at_s.reset(token)


def threads(most: int) -> ThreadPoolExecutor:
    """Up to ``most`` threads that call AWS beside each other, within the same time as their maker, and as it."""

    def begin(ends_at_s: float | None, name: str | None) -> None:
        _ends_at_s.set(ends_at_s)
        act_for(name)

    return ThreadPoolExecutor(most, initializer=begin, initargs=(_ends_at_s.get(), actor()))


def _is_late(call_s: float) -> bool:
    ends_at_s = _ends_at_s.get()
    return ends_at_s is not None and time.monotonic() + call_s > ends_at_s


def _not_too_late(call_s: float, **_: Any) -> None:
    """Before a try: its answer must be able to come in time."""
    if _is_late(call_s):
        raise OutOfTime


def _no_wait_too_late(call_s: float, response: Any, caught_exception: Any, **_: Any) -> None:
    """After a try that failed: botocore would wait, and then not be let try again."""
    if _is_late(call_s) and (caught_exception is not None or (response and response[0].status_code >= 500)):
        raise caught_exception or OutOfTime


@lru_cache(maxsize=1)
def _session() -> Session:
    from botocore.session import get_session

    return get_session()


def has_credentials() -> bool:
    """Whether anything here says who this process is to AWS."""
    return credentials(_session) is not None


@lru_cache(maxsize=16)
def client(
    service: str,
    *,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    read_timeout_s: float = READ_TIMEOUT_S,
    attempts: int = ATTEMPTS,
) -> Any:
    """The process's client of an AWS service, made at first use.

    Raises what botocore raises; a call takes at most ``attempts`` tries of ``connect_timeout_s`` and
    ``read_timeout_s`` seconds each, with waits of together at most 7 s between four of them.
    """
    limits = Limits(connect_timeout_s, read_timeout_s, attempts)
    whole = partial(_botocore_client, service, limits)
    if service not in SERVICES or settings.current().aws_client == "boto3":
        return whole()
    lean = LeanClient(
        _session,
        SERVICES[service],
        settings.current().region,
        ledger_clock,
        whole,
        connect_timeout_s=connect_timeout_s,
        read_timeout_s=read_timeout_s,
        attempts=attempts,
        connections=POOL_CONNECTIONS,
        socket_options=KEPT_ALIVE,
    )
    _watch(lean.events, service, limits)
    return lean


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a try of a call may take, in seconds, and how many there may be."""

    connect_s: float
    read_s: float
    attempts: int

    @property
    def call_s(self) -> float:
        """How long a try takes at most."""
        return self.connect_s + self.read_s


def _botocore_client(service: str, limits: Limits) -> Any:
    from botocore.config import Config

    made = _session().create_client(
        service,
        region_name=settings.current().region,
        config=Config(
            connect_timeout=limits.connect_s,
            read_timeout=limits.read_s,
            retries={"mode": "standard", "total_max_attempts": limits.attempts},
            max_pool_connections=POOL_CONNECTIONS,
            # DynamoDB checks again; of a transaction of a hundred actions, to check it here takes longer than all else.
            parameter_validation=service != "dynamodb",
            tcp_keepalive=True,
            # A checksum of what boto itself just serialised buys nothing and some emulators refuse it.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    _watch(made.meta.events, made.meta.service_model.service_id.hyphenize(), limits)
    return made


def _watch(events: Any, name: str, limits: Limits) -> None:
    """Keep a client's calls within the time that a request has, and let the clock hear what they are answered."""
    events.register_first(f"before-send.{name}", partial(_not_too_late, limits.call_s))
    events.register_first(f"needs-retry.{name}", partial(_no_wait_too_late, limits.call_s))
    if name in TIMEKEEPERS:
        ledger_clock.watch(events, name)


class LazyClient:
    """A client that is made when it is first called: what few requests need costs a cold start nothing."""

    def __init__(self, service: str, **limits: float) -> None:
        self._service = service
        self._limits = limits

    def __getattr__(self, operation: str) -> Any:
        return getattr(client(self._service, **self._limits), operation)

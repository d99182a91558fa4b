"""The one place that makes AWS clients: every call has a bounded time and bounded, adaptive retries.

botocore is used without boto3 around it: the clients are the same, and a cold start is some 20 ms shorter.
Endpoints and credentials come from the standard variables (``AWS_ENDPOINT_URL`` for an emulator).

A request that somebody waits for has a budget beside: within ``answering_within`` no try of a call begins that might
end too late, in the threads of ``threads`` neither.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from chalicelib import settings
from chalicelib.clocks import TIMEKEEPERS, ledger_clock

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 5  # beyond the 2 s for which a poll lets SQS hold a ReceiveMessage
LONG_POLL_READ_TIMEOUT_S = 30  # beyond the 20 s that SQS may hold one
ATTEMPTS = 4
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
    """Up to ``most`` threads that call AWS beside each other, within the same time as their maker."""
    return ThreadPoolExecutor(most, initializer=_ends_at_s.set, initargs=(_ends_at_s.get(),))


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
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


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
    made = _session().create_client(
        service,
        region_name=settings.current().region,
        config=Config(
            connect_timeout=connect_timeout_s,
            read_timeout=read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=POOL_CONNECTIONS,
            # DynamoDB checks again; of a transaction of a hundred actions, to check it here takes longer than all else.
            parameter_validation=service != "dynamodb",
            tcp_keepalive=True,
            # A checksum of what boto itself just serialised buys nothing and some emulators refuse it.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    call_s = connect_timeout_s + read_timeout_s
    made.meta.events.register_first(f"before-send.{service}", partial(_not_too_late, call_s))
    made.meta.events.register_first(f"needs-retry.{service}", partial(_no_wait_too_late, call_s))
    if service in TIMEKEEPERS:
        ledger_clock.watch(made, service)
    return made


class LazyClient:
    """A client that is made when it is first called: what few requests need costs a cold start nothing."""

    def __init__(self, service: str, **limits: float) -> None:
        self._service = service
        self._limits = limits

    def __getattr__(self, operation: str) -> Any:
        return getattr(client(self._service, **self._limits), operation)

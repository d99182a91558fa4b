"""What AWS bills an amount of, and what every invocation of a function takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.core.prices import GB_BYTES, Item
from infra.cost.load import Deployment
from infra.functions import LOG_RETENTION_DAYS, Function

MONTH_HOURS = 730  # what AWS's own calculator takes for a month
MONTH_DAYS = MONTH_HOURS / 24
MB_A_GB = 1_024  # of a function's memory

# The lines START, END and REPORT that Lambda writes of each invocation, with the 26 bytes that CloudWatch adds to each
# (CloudWatch Logs API Reference, "PutLogEvents").
INVOCATION_LOG_BYTES = 350

SHORTER_LOGS = "a higher TASKYARD_LOG_LEVEL, shorter retention"


@dataclass(frozen=True, slots=True)
class Usage:
    """An amount of something that AWS bills: what for, and what makes it smaller."""

    item: Item
    amount: float
    what: str
    smaller: str = ""


def api_calls(deployed: Deployment, calls: float, requests: float, what: str, smaller: str = "") -> Iterator[Usage]:
    """Calls over HTTP that make so many requests to AWS in all."""
    yield Usage(Item.API_REQUEST, calls, what, smaller)
    yield from invocations(deployed, Function.API, calls, requests, 0, what, smaller)


def invocations(
    deployed: Deployment,
    function: Function,
    count: float,
    requests: float,
    log_bytes: float,
    what: str,
    smaller: str = "",
    handlers_ms: float = 0.0,
) -> Iterator[Usage]:
    """``count`` invocations that make ``requests`` to AWS one after the other, and log ``log_bytes``, all in all."""
    pace = deployed.pace
    time_ms = count * pace.invocation_ms + requests * pace.request_ms + handlers_ms
    gb_seconds = time_ms / 1_000 * deployed.memory_mb[function] / MB_A_GB
    logged_gb = (count * INVOCATION_LOG_BYTES + log_bytes) / GB_BYTES
    if deployed.settings.tracing == "on":
        yield Usage(Item.TRACE, count, "invocations, at most: X-Ray samples them", "TASKYARD_TRACING=off")
    yield Usage(Item.FUNCTION_REQUEST, count, what, smaller)
    yield Usage(Item.FUNCTION_TIME, gb_seconds, what, "less lambda_memory_size, arm64")
    yield Usage(Item.LOG_INGESTION, logged_gb, "logs", SHORTER_LOGS)
    yield Usage(Item.LOG_STORAGE, logged_gb * LOG_RETENTION_DAYS / MONTH_DAYS, "logs", SHORTER_LOGS)

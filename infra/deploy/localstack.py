"""Where LocalStack runs, as its own client library finds it: what ``--endpoint-url localstack`` stands for.

``localstack-client`` reads, the first that is set: ``AWS_ENDPOINT_URL``; ``LOCALSTACK_HOST`` (``host`` or
``host:port``) with ``USE_SSL=1`` for https; else it is http://localhost:4566. It reads ``EDGE_PORT`` no more, which
LocalStack itself has given up.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from chalicelib.core.errors import InvalidInput, Unavailable

WORD = "localstack"  # said instead of a URL
HEALTH_PATH = "/_localstack/health"
ANSWER_TIMEOUT_S = 5.0
ONE_FOR_ALL = "sqs"  # LocalStack serves every service at one endpoint; the client library wants a name


def resolved(given: str | None) -> str | None:
    """``given``, unless it is the word ``localstack``: then where LocalStack answers (raises as ``endpoint_url``)."""
    return endpoint_url() if given == WORD else given


def endpoint_url() -> str:
    """Where LocalStack answers.

    Raises ``InvalidInput`` when ``LOCALSTACK_HOST`` is none, and ``Unavailable`` when there is no LocalStack there.
    """
    url = _configured_url()
    _expect_answer(url)
    return url


def _configured_url() -> str:
    # Imported late: it brings boto3, which no other command needs to start.
    from localstack_client.config import get_service_endpoint  # type: ignore[import-untyped]

    try:
        url = get_service_endpoint(ONE_FOR_ALL)
    except RuntimeError as error:  # the library's word for a port that is no number
        raise InvalidInput(
            str(error), field="LOCALSTACK_HOST", expected="host or host:port", remedy="correct it, or unset it"
        ) from error
    return str(url).rstrip("/")


def _expect_answer(url: str) -> None:
    try:
        health = _health(url)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _absent(url, _reason(error)) from error
    if not isinstance(health, dict) or "services" not in health:
        raise _absent(url, "an answer of something else")


def _health(url: str) -> Any:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy's localhost is another machine
    with direct.open(f"{url}{HEALTH_PATH}", timeout=ANSWER_TIMEOUT_S) as answer:
        return json.load(answer)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"status {error.code}"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "an answer of something else"
    return str(error.reason if isinstance(error, urllib.error.URLError) else error)


def _absent(url: str, got: str) -> Unavailable:
    return Unavailable(
        "LocalStack was not found",
        expected=f"{url}{HEALTH_PATH} to tell its services",
        got=got,
        remedy="start LocalStack, or say where it runs with LOCALSTACK_HOST=host:port",
    )

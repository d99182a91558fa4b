"""The one place that makes AWS clients: every call has a bounded time and bounded, adaptive retries.

botocore is used without boto3 around it: the clients are the same, and a cold start is some 20 ms shorter.
Endpoints and credentials come from the standard variables (``AWS_ENDPOINT_URL`` for an emulator).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import botocore.session
from botocore.config import Config

from chalicelib import settings

CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 10
LONG_POLL_READ_TIMEOUT_S = 30  # beyond the 20 s that SQS may hold a ReceiveMessage
ATTEMPTS = 4
POOL_CONNECTIONS = 32


@lru_cache(maxsize=1)
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


@lru_cache(maxsize=16)
def client(service: str, *, read_timeout_s: int = READ_TIMEOUT_S) -> Any:
    """The process's client of an AWS service, made at first use.

    Raises what botocore raises; a call takes at most ``ATTEMPTS`` tries of ``read_timeout_s`` seconds each.
    """
    return _session().create_client(
        service,
        region_name=settings.current().region,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=POOL_CONNECTIONS,
            tcp_keepalive=True,
            # A checksum of what boto itself just serialised buys nothing and some emulators refuse it.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


class LazyClient:
    """A client that is made when it is first called: what few requests need costs a cold start nothing."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, operation: str) -> Any:
        return getattr(client(self._service), operation)

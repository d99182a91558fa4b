"""What the embedded emulator forgets, so that it grows with what is stored and not with the work done.

MiniStack keeps for 24 hours each stream record, with the item before and after, read or not; for ten minutes each
transaction that had a client token, whole; and for ever a log stream for each call of a function. A thousand jobs left
24 MB of records and 11 MB of transactions behind, beside 9 MB of their own.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

KEPT_READ_RECORDS = 1_000  # the newest of a stream that a reader is past: for another one, close behind
KEPT_LOG_STREAMS = 500  # the newest of a log group


def limit() -> None:
    """Bound what MiniStack keeps in this process; once."""
    from ministack.services import cloudwatch_logs, dynamodb, lambda_svc

    dynamodb.stream_records_since = _forgetting_read_records(dynamodb)
    dynamodb._txn_token_store = _keeping_digests(dynamodb._txn_token_store)
    lambda_svc._emit_lambda_logs = _forgetting_old_logs(lambda_svc._emit_lambda_logs, cloudwatch_logs)


def _forgetting_read_records(dynamodb: Any) -> Callable[..., list[Any]]:
    """Reading a stream, where whoever reads from a position on is done with what is before it.

    That holds for event source mappings, which move their position once a batch has succeeded, and for iterators.
    """
    read = dynamodb.stream_records_since
    one_at_a_time = threading.Lock()  # positions are counted from the records that are gone, by readers of all threads

    def stream_records_since(
        table: str, position: int, limit: int, *, account_id: str | None = None, region: str | None = None
    ) -> list[Any]:
        scope = {"account_id": account_id, "region": region}
        with one_at_a_time:
            page: list[Any] = read(table, position, limit, **scope)
            before = position - dynamodb._trimmed_count(table, **scope)
            surplus = min(before, len(dynamodb._live_stream_records(table, **scope))) - KEPT_READ_RECORDS
            if surplus > 0:
                _trim(dynamodb, table, surplus, account_id, region)
        return page

    return stream_records_since


def _trim(dynamodb: Any, table: str, surplus: int, account_id: str | None, region: str | None) -> None:
    del dynamodb._live_stream_records(table, account_id, region)[:surplus]
    trimmed = dynamodb._trimmed_count(table, account_id, region) + surplus
    if account_id is None or region is None:
        dynamodb._stream_trimmed[table] = trimmed
    else:
        dynamodb._stream_trimmed.set_scoped(account_id, region, table, trimmed)


def _keeping_digests(store: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    """Remembering a transaction by its token, with a digest of the request in place of the request."""

    def store_digest(token: str, entry: dict[str, Any]) -> None:
        store(token, {**entry, "signature": _Digest(entry["signature"])})

    return store_digest


class _Digest:
    """Equal to the requests that it was made of."""

    __slots__ = ("_digest",)
    __hash__ = None  # type: ignore[assignment]  # it is compared only

    def __init__(self, request: object) -> None:
        self._digest = _digest(request)

    def __eq__(self, request: object) -> bool:
        return self._digest == _digest(request)


def _digest(request: object) -> bytes:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).digest()


def _forgetting_old_logs(emit: Callable[..., None], logs: Any) -> Callable[..., None]:
    """Writing what a function printed, with the oldest log streams of its group going."""

    def emit_lambda_logs(*arguments: Any, **named: Any) -> None:
        emit(*arguments, **named)
        for group in list(logs._log_groups.values()):
            for name in list(group["streams"])[:-KEPT_LOG_STREAMS]:
                group["streams"].pop(name, None)

    return emit_lambda_logs

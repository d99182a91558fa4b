"""What comes back, as botocore tells it."""

from __future__ import annotations

import json
from typing import Any


def parsed(http: Any) -> dict[str, Any]:
    """The document of an answer; of an error, what ``ClientError`` tells."""
    try:
        document: Any = json.loads(str(http.content, "utf-8") or "{}")
    except ValueError:  # of something between us and AWS
        document = {"message": http.content.decode(errors="replace")}
    whole: dict[str, Any] = document if http.status_code < 300 else _error_of(document, http)
    whole["ResponseMetadata"] = {
        "RequestId": http.headers.get("x-amzn-requestid"),
        "HTTPStatusCode": http.status_code,
        "HTTPHeaders": http.headers,
    }
    return whole


def _error_of(document: Any, http: Any) -> dict[str, Any]:
    """An error, and beside it what else the answer has (``Item``, ``CancellationReasons``).

    The code is the name behind ``#`` in ``__type``; for clients that know SQS's older protocol, the one in a header.
    """
    told = document if isinstance(document, dict) else {}
    code = str(told.get("__type") or http.status_code).partition(":")[0].rpartition("#")[2]
    error = {"Code": code, "Message": told.get("message") or told.get("Message") or ""}
    if older := http.headers.get("x-amzn-query-error"):
        error["Code"], _, kind = older.partition(";")
        error |= {"QueryErrorCode": code, "Type": kind}
    beside = {name: value for name, value in told.items() if name not in ("__type", "message", "Message")}
    return {**beside, "Error": error}

"""AWS's signature, version 4, of a call that is a POST with a JSON body.

The rules are those of the IAM User Guide, "Create a signed AWS API request"; tests compare with botocore's signer. What
of it is the same for every call of a day is worked out once.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime
from typing import Any
from urllib.parse import quote, urlsplit

TIMESTAMP = "%Y%m%dT%H%M%SZ"
DATE = "x-amz-date"
SIGNED_PREFIX = "x-amz-"  # headers that must be signed, beside content-type and host


class Signer:
    """Signs the calls to one endpoint."""

    def __init__(self, url: str, service: str, region: str) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc.rpartition("@")[2]
        self._path = quote(_normalized(parts.path), safe="/~")
        self._service, self._region = service, region

    def signed(self, headers: Mapping[str, str], body: bytes, credentials: Any, now_ms: int) -> dict[str, str]:
        """``headers`` with those that sign them and ``body``, by frozen ``credentials`` of botocore."""
        timestamp = _timestamp(now_ms // 1_000)
        complete = {**headers, "X-Amz-Date": timestamp}
        if credentials.token:
            complete["X-Amz-Security-Token"] = credentials.token
        before, behind, names = _around_date(self.host, tuple(headers.items()), credentials.token)
        request = f"POST\n{self._path}\n\n{before}{timestamp}{behind}{sha256(body).hexdigest()}"
        scope = f"{timestamp[:8]}/{self._region}/{self._service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        key = _signing_key(credentials.secret_key, timestamp[:8], self._region, self._service)
        complete["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={hmac.digest(key, text.encode(), 'sha256').hex()}"
        )
        return complete


@lru_cache(maxsize=256)  # a client's calls of an operation have the same headers, but for the date
def _around_date(host: str, headers: tuple[tuple[str, str], ...], token: str | None) -> tuple[str, str, str]:
    """What is signed of the headers before and behind the date, and the names of them all."""
    signed = {"host": host, DATE: ""}
    for name, value in (*headers, *([("X-Amz-Security-Token", token)] if token else [])):
        lowered = name.lower()
        if lowered == "content-type" or lowered.startswith(SIGNED_PREFIX):
            signed[lowered] = " ".join(value.split())
    names = sorted(signed)
    lines = [f"{name}:{signed[name]}" for name in names]
    place, joined = names.index(DATE) + 1, ";".join(names)
    return "\n".join(lines[:place]), "\n".join(["", *lines[place:], "", joined, ""]), joined


def _normalized(path: str) -> str:
    """The path of an endpoint as it is signed; seldom is it more than the root."""
    if path in ("", "/"):
        return "/"
    from botocore.utils import normalize_url_path

    return str(normalize_url_path(path))


@lru_cache(maxsize=4)
def _timestamp(at_s: int) -> str:
    return strftime(TIMESTAMP, gmtime(at_s))


@lru_cache(maxsize=16)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key

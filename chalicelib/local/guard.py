"""ASGI middleware for the embedded emulator: who may talk to it, and whether a request may change it.

The emulator runs code as the user and asks nobody for a password, so listening on loopback only is not
enough: every web page the user opens can send requests to 127.0.0.1, across origins or, with a DNS name
that it re-points (DNS rebinding), as its own origin. A browser betrays itself in both cases, by its
Origin or Sec-Fetch-Site header or by a foreign Host header. AWS SDKs, curl and functions send none of these;
the pages that the emulator serves itself, such as a deployed console, send those of its own address.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

SHOWN_HEADER_CHARS = 200
_OWN_SITES = ("none", "same-origin")  # an address that was typed in, and what its page asks for then
_GUARDED = frozenset({b"origin", b"sec-fetch-site", b"upgrade", b"host"})
_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_READ_ACTIONS = ("Get", "BatchGet", "TransactGet", "Query", "Scan", "List", "Describe")
_EMPTY_JSON_BYTES = len(b"{}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned away, in the three parts that every error of Taskyard has."""

    expected: str
    got: str
    remedy: str


class LoopbackGuard:
    """Passes `app` only what a program on this machine, or a page of `app` itself, asked of http://127.0.0.1:`port`.

    Any other HTTP request, and every handshake of a WebSocket, is answered 403 with a Refusal as JSON; the lifespan
    protocol passes through.
    """

    def __init__(self, app: AsgiApp, port: int) -> None:
        self._app = app
        self._hosts = tuple(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = find_refusal(scope["headers"], self._hosts) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _send_refusal(refusal, send)


def find_refusal(headers: Headers, hosts: tuple[str, ...]) -> Refusal | None:
    """The first reason to turn away a request with these headers, or None when there is none.

    `hosts` are the accepted values of the Host header, in lower case.
    """
    told: dict[bytes, list[str]] = {}
    for key, value in headers:
        if (name := key.lower()) in _GUARDED:
            told.setdefault(name, []).append(value.decode("latin-1"))
    origins = told.get(b"origin", [])
    if origins and (len(origins) != 1 or origins[0].lower() not in {f"http://{host}" for host in hosts}):
        return Refusal(
            expected=f"no Origin header, or that of a page of http://{hosts[0]}",
            got=f"Origin: {_shown(origins)}",
            remedy="Other web pages may not drive the emulator; use an AWS SDK or curl.",
        )
    sites = told.get(b"sec-fetch-site", [])
    if sites and (len(sites) != 1 or sites[0] not in _OWN_SITES):
        return Refusal(
            expected=f"no Sec-Fetch-Site header, or one of the values {' and '.join(_OWN_SITES)}",
            got=f"Sec-Fetch-Site: {_shown(sites)}",
            remedy="Other web pages may not drive the emulator; open the address itself, or use an AWS SDK.",
        )
    protocols = told.get(b"upgrade", [])
    if "websocket" in ", ".join(protocols).lower():
        return Refusal(
            expected="no Upgrade header that asks for a WebSocket",
            got=f"Upgrade: {_shown(protocols)}",
            remedy="The emulator serves none; ask for what is to be had over HTTP.",
        )
    named = told.get(b"host", [])
    if len(named) != 1 or named[0].lower() not in hosts:
        return Refusal(
            expected=f"exactly one Host header, one of {', '.join(hosts)}",
            got=f"Host: {_shown(named)}" if named else "no Host header",
            remedy=f"Set AWS_ENDPOINT_URL to http://{hosts[0]}.",
        )
    return None


class WriteCounter:
    """Counts in `writes` the finished requests to `app` that may have changed its state.

    A request counts when the end of its answer is about to leave, not when it arrives: who reads the number has seen
    every change that is counted in it, and who has its answer finds its change counted. When in doubt a request counts
    as a write, except an SQS receive that returned nothing: idle consumers poll for ever, and what they change (the
    visibility of nothing) is nothing.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self.writes = 0
        self.written = asyncio.Event()  # set by every write; who waits for the next one clears it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_read(scope):
            await self._app(scope, receive, send)
            return
        answered_bytes = 0
        is_answered = False

        async def count_and_send(message: Message) -> None:
            nonlocal answered_bytes, is_answered
            answered_bytes += len(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body", False) and not is_answered:
                is_answered = True
                self._count(scope, answered_bytes)
            await send(message)

        try:
            await self._app(scope, receive, count_and_send)
        finally:
            if not is_answered:
                self._count(scope, answered_bytes)

    def _count(self, scope: Scope, answered_bytes: int) -> None:
        if not (action_of(scope) == "ReceiveMessage" and answered_bytes <= _EMPTY_JSON_BYTES):
            self.writes += 1
            self.written.set()


def is_read(scope: Scope) -> bool:
    """Whether a request changes nothing; when in doubt it does."""
    action = action_of(scope)
    if action:
        return action.startswith(_READ_ACTIONS)
    # A GET of the query protocol (?Action=DeleteQueue) writes all the same.
    return scope["method"] in _READ_METHODS and b"Action=" not in scope["query_string"]


def action_of(scope: Scope) -> str:
    """The operation that a JSON protocol request names ("DynamoDB_20120810.PutItem": PutItem), or ""."""
    for name, value in scope["headers"]:
        if name == b"x-amz-target":  # the server has put it in lower case
            return str(value, "latin-1").rpartition(".")[2]
    return ""


def _shown(values: list[str]) -> str:
    return ", ".join(values)[:SHOWN_HEADER_CHARS]


async def _send_refusal(refusal: Refusal, send: Send) -> None:
    message = f"Expected {refusal.expected}; got {refusal.got}. {refusal.remedy}"
    await send_json(403, {"message": message, **asdict(refusal)}, send)


async def send_json(status: int, document: Mapping[str, Any], send: Send) -> None:
    """Answer a request with a JSON document."""
    body = json.dumps(document).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

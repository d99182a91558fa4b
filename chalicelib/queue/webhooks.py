"""Posting to a URL of somebody else's: to an address that was looked up once and may be called, in a bounded time.

The name is resolved here and the connection made to an address of that very answer, so that no second look-up can lead
elsewhere (DNS rebinding); a kept connection is used only while the name still has its address. No redirect is followed.
Whatever the receiver answers is a ``Reply``; whoever calls decides what it means.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from ipaddress import IPv6Address, ip_address

from chalicelib.core.errors import InvalidInput
from chalicelib.core.version import VERSION
from chalicelib.core.webhooks import checked_url, is_public, retry_after_s, split_url
from chalicelib.queue.connections import Connection, Origin, kept
from chalicelib.queue.lookups import Resolve, lookups

TIMEOUT_S = 10.0  # for the look-up, connecting, proving, sending, and the head of the answer together
HEAD_BYTES = 1_024
USER_AGENT = f"Taskyard/{VERSION}"
PORTS = {"http": 80, "https": 443}
CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)  # what a connection ends with that the other closed


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver answered: any status, a redirect, too."""

    status: int
    head: bytes = b""  # the first 1,024 bytes of the body
    retry_after_s: int | None = None  # what it asks to wait, 0 to 3,600
    whole: bool = True  # whether ``head`` is all of the body, and its end was seen to be the end

    @property
    def ok(self) -> bool:
        """Whether it has taken the request: 2xx."""
        return 200 <= self.status < 300


class NotTaken(Exception):
    """There is no answer. The text says why, and tells neither path nor query of the URL, nor a header.

    ``refused`` says that the URL may not be called, for its form or for where its name leads, so nobody was.
    Otherwise there was no answer this time.
    """

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    local: bool,
    timeout_s: float = TIMEOUT_S,
    resolve: Resolve = socket.getaddrinfo,
) -> Reply:
    """Post ``body`` and return the answer; raises ``NotTaken`` if within ``timeout_s`` none came, or one cut off.

    Unless ``local``, only https URLs and public addresses are called: a name of which one address is not public is
    refused. The time is for all of it, from the look-up to the first 1,024 bytes of the answer's body.
    """
    ends_s = time.monotonic() + timeout_s
    parts = split_url(_allowed(url, local))
    origin = Origin(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme])
    addresses = _addresses(origin, local, resolve, ends_s)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    every_header = {**headers, "User-Agent": USER_AGENT, "Host": _host_header(origin.host, parts.port)}

    def exchange(connection: Connection) -> Reply:
        return _exchange(connection, target, body, every_header, ends_s)

    try:
        reused = kept.take(origin, addresses)
        if reused is not None:
            with suppress(_ClosedIdle):
                return exchange(reused)
        return exchange(Connection(origin, addresses))
    except (HTTPException, OSError, ValueError) as error:
        raise NotTaken(_why(error, timeout_s)) from None


class _ClosedIdle(OSError):
    """A kept connection ended without a byte of an answer, as one does that the receiver closed idle meanwhile.

    A receiver that died of the request looks the same; it then gets it twice, as after any answer that was lost.
    """


def _exchange(connection: Connection, target: str, body: bytes, headers: Mapping[str, str], ends_s: float) -> Reply:
    """One request and its answer. The connection is kept if the answer was read to its end, and closed otherwise."""
    was_kept, reusable = connection.sock is not None, False
    try:
        timed = connection.begin(ends_s)
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        head = response.read(HEAD_BYTES)
        if response.length and len(head) < HEAD_BYTES:  # of chunks, ``read`` sees it itself
            raise IncompleteRead(head, response.length)
        whole = _is_whole(response, head, timed.ended)
        reusable = response.isclosed() and connection.sock is not None and response.status >= 200
    except CLOSED as error:
        if was_kept and not timed.answered:
            raise _ClosedIdle from error
        raise
    finally:
        if reusable:
            kept.keep(connection)
        else:
            connection.close()
    return Reply(response.status, head, retry_after_s(response.headers["Retry-After"], time.time()), whole)


def _is_whole(response: HTTPResponse, head: bytes, ended: bool) -> bool:
    """Whether ``head`` is all of a body: where the answer does not say its length, by the connection's proper end.

    RFC 9112, 6.3 and 8. A length that cannot be understood is none that was kept.
    """
    if len(head) >= HEAD_BYTES and not response.isclosed():
        return False
    if response.chunked or response.length is not None:
        return True
    return ended and not any(name in response.headers for name in ("Content-Length", "Transfer-Encoding"))


def _why(error: Exception, timeout_s: float) -> str:
    """Why there is no answer, without an address or what was sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not verified: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, OSError):
        return f"no connection, or one that was lost: {type(error).__name__}"
    if isinstance(error, IncompleteRead):
        return "its answer was cut off"
    return f"its answer is no HTTP: {type(error).__name__}"


def _allowed(url: str, local: bool) -> str:
    """``url``, if its form lets it be called; raises ``NotTaken``."""
    try:
        return checked_url(url, local=local)
    except InvalidInput as error:
        raise NotTaken(f"its URL may not be called: expected {error.expected}", refused=True) from None


def _addresses(origin: Origin, local: bool, resolve: Resolve, ends_s: float) -> list[str]:
    """The addresses of a host; raises ``NotTaken`` where none is found in time, or one that may not be called."""
    try:
        found = lookups.addresses(resolve, origin.host, origin.port, ends_s)
    except TimeoutError:
        raise NotTaken("its name is not being resolved") from None
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise NotTaken("its host has no address")
    closed = [] if local else [address for address in found if not is_public(address)]
    if closed:
        raise NotTaken(f"its host has an address that is not public: {closed[0]}", refused=True)
    return found


def _host_header(host: str, port: int | None) -> str:
    try:
        shown = f"[{host}]" if isinstance(ip_address(host), IPv6Address) else host
    except ValueError:
        shown = host
    return shown if port is None else f"{shown}:{port}"

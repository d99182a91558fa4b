"""Posting to a webhook: to an address that was looked up once and may be called, in a bounded time.

The name is resolved here and the connection made to that very address, so that no second look-up can lead elsewhere
(DNS rebinding). Redirects are not followed, and no proxy of the environment is asked. One deadline holds for the whole
exchange: each read waits only for what is left of it, so a receiver that sends a byte now and then gains nothing. The
body of the answer is not read.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv6Address, ip_address
from typing import Any

from chalicelib.core.webhooks import is_public, split_url

CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 10.0  # for connecting, proving, sending, and the head of the answer together
PORTS = {"http": 80, "https": 443}

Resolve = Callable[..., list[Any]]  # socket.getaddrinfo


class NotTaken(Exception):
    """The webhook has not taken the request; the text says why, and tells neither its URL nor its secret."""


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, local: bool, resolve: Resolve = socket.getaddrinfo
) -> None:
    """Post ``body`` and return once it was answered 2xx; raises ``NotTaken``.

    Unless ``local``, only public addresses are called: a name of which one address is not public is refused.
    """
    ends_s = time.monotonic() + TIMEOUT_S
    parts = split_url(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    address = _address(host, port, local, resolve)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    connection = HTTPConnection(host, port)
    try:
        connection.sock = _connected(parts.scheme, address, host, port, ends_s)
        connection.request("POST", target, body, {**headers, "Host": _host_header(host, parts.port)})
        status = connection.getresponse().status
    except (HTTPException, OSError, ValueError) as error:
        raise NotTaken(f"no answer within {TIMEOUT_S:g} s, or none that is HTTP: {type(error).__name__}") from None
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise NotTaken(f"it answered {status}")


class _Plain(socket.socket):
    """A socket whose reads end at ``ends_s`` (of the monotonic clock), however often something comes."""

    ends_s: float

    def recv_into(self, *arguments: Any) -> int:
        """Read what comes before the end; raises ``TimeoutError`` then."""
        self.settimeout(_left_s(self.ends_s))
        return super().recv_into(*arguments)


class _Secure(ssl.SSLSocket):
    """The same over TLS."""

    ends_s: float

    def recv_into(self, *arguments: Any) -> int:
        """Read what comes before the end; raises ``TimeoutError`` then."""
        self.settimeout(_left_s(self.ends_s))
        return super().recv_into(*arguments)


def _connected(scheme: str, address: str, host: str, port: int, ends_s: float) -> socket.socket:
    """A connection to an address, which must prove over TLS to be the host's. What is sent has the same end."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    plain = _Plain(family, socket.SOCK_STREAM)
    plain.ends_s = ends_s
    try:
        plain.settimeout(min(CONNECT_TIMEOUT_S, _left_s(ends_s)))
        plain.connect((address, port))
        plain.settimeout(_left_s(ends_s))
        if scheme == "http":
            return plain
        context = ssl.create_default_context()
        context.sslsocket_class = _Secure
        secure: Any = context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
    secure.ends_s = ends_s
    secure.settimeout(_left_s(ends_s))
    connected: socket.socket = secure
    return connected


def _left_s(ends_s: float) -> float:
    """Seconds until the end. Raises ``TimeoutError`` once there are none."""
    left_s = ends_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the time for the exchange is over")
    return left_s


def _address(host: str, port: int, local: bool, resolve: Resolve) -> str:
    """The address to call for a host; raises ``NotTaken`` where there is none that may be called."""
    try:
        found = [entry[4][0] for entry in resolve(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise NotTaken("its host has no address")
    if not local and not all(is_public(address) for address in found):
        raise NotTaken("its host has an address that is not public")
    return str(found[0])


def _host_header(host: str, port: int | None) -> str:
    try:
        shown = f"[{host}]" if isinstance(ip_address(host), IPv6Address) else host
    except ValueError:
        shown = host
    return shown if port is None else f"{shown}:{port}"

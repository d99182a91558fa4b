"""Connections to those who are told over HTTP: each to one address, each exchange with one deadline, a few kept.

Where a host has several addresses, it is the first that accepts a connection.

The deadline holds for everything that an exchange does: each read and each write waits only for what is left of it, so
a receiver that sends a byte now and then gains nothing. A connection whose last answer was read whole is kept for a few
seconds, for the next request to the same host at the same address. No proxy of the environment is asked.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import sys
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPConnection
from typing import Any

CONNECT_TIMEOUT_S = 5.0  # for all addresses of a host together
KEPT_MAX = 8  # in a process, whoever they lead to
IDLE_MAX_S = 4.0  # less than the 5 s after which Node and uvicorn close one


@dataclass(frozen=True, slots=True)
class Origin:
    """Who is called. ``scheme`` is http or https."""

    scheme: str
    host: str
    port: int


class ConnectTimeout(OSError):
    """An address has not accepted a connection in its time."""


class Connection(HTTPConnection):
    """A connection to one of an origin's addresses, which must prove over TLS to be the host's, not the address's."""

    auto_open = 0  # http.client itself would look the host up
    sock: Any

    def __init__(self, origin: Origin, addresses: Sequence[str]) -> None:
        super().__init__(origin.host, origin.port)
        self.origin = origin
        self.addresses = addresses  # at least one; once it is connected, that one
        self.idle_since_s = 0.0  # since 1970: a frozen Lambda environment counts, too

    def begin(self, ends_s: float) -> Timed:
        """Connect where need be; what follows ends at ``ends_s`` (of the monotonic clock). Returns what it goes over.

        Raises ``OSError`` where there is no connection, ``ValueError`` for a host that TLS cannot name.
        """
        if self.sock is None:
            address, plain = _first_open(self.addresses, self.origin.port, ends_s)
            self.sock = _proven(plain, self.origin, ends_s)
            self.addresses = [address]
        timed: Timed = self.sock
        timed.ends_s, timed.answered, timed.ended = ends_s, False, False
        return timed

    @property
    def usable(self) -> bool:
        """Whether a request may be sent on it: it was idle for a moment only, and nothing came, nor its end."""
        if not 0 <= time.time() - self.idle_since_s <= IDLE_MAX_S:
            return False
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.sock, selectors.EVENT_READ)
            return not waiting.select(0)


class Kept:
    """Idle connections of a process: ``KEPT_MAX`` at most, the newest first. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    def take(self, origin: Origin, addresses: Collection[str]) -> Connection | None:
        """One to an origin at one of these addresses, which nobody else gets; ``None`` where there is none."""
        with self._lock:
            fitting = [each for each in self._idle if each.origin == origin and each.addresses[0] in addresses]
            if not fitting:
                return None
            self._idle.remove(fitting[-1])
        if fitting[-1].usable:
            return fitting[-1]
        fitting[-1].close()
        return None

    def keep(self, connection: Connection) -> None:
        """Keep one whose last answer was read whole, instead of the oldest if there are many."""
        connection.idle_since_s = time.time()
        with self._lock:
            self._idle.append(connection)
            oldest = self._idle.pop(0) if len(self._idle) > KEPT_MAX else None
        if oldest is not None:
            oldest.close()

    def forget(self) -> None:
        """Keep none, whoever has the lock: after a fork, that is nobody here, and the connections are the parent's."""
        idle, self._idle, self._lock = self._idle, [], threading.Lock()
        for connection in idle:
            connection.close()


kept = Kept()
if sys.platform != "win32":  # which has no fork
    os.register_at_fork(after_in_child=kept.forget)


class Timed(socket.socket):
    """A socket whose reads and writes end at ``ends_s``, however often something comes."""

    ends_s: float
    answered: bool  # whether any byte has come since the exchange began
    # Whether the other has said that nothing more comes; over TLS a bare end of the connection says nothing.
    ended: bool

    def recv_into(self, *arguments: Any) -> int:
        """Read what comes before the end; raises ``TimeoutError`` then."""
        self.settimeout(_left_s(self.ends_s))
        try:
            count = super().recv_into(*arguments)
        except ssl.SSLEOFError:
            return 0
        self.answered, self.ended = self.answered or count > 0, count == 0
        return count

    def send(self, *arguments: Any) -> int:
        """Write some of it before the end, which over TLS is a part of ``sendall``; raises as ``recv_into`` does."""
        self.settimeout(_left_s(self.ends_s))
        return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        """Write before the end; raises as ``recv_into`` does."""
        self.settimeout(_left_s(self.ends_s))
        super().sendall(*arguments)


class _Secure(Timed, ssl.SSLSocket):
    """The same over TLS."""


@lru_cache(maxsize=1)
def trust() -> ssl.SSLContext:
    """Whom this machine trusts, read once: that takes longer than a handshake."""
    context = ssl.create_default_context()
    context.sslsocket_class = _Secure
    return context


def _first_open(addresses: Sequence[str], port: int, ends_s: float) -> tuple[str, Timed]:
    """The first address that accepts a connection, and that; raises the ``OSError`` of the last one.

    Each has an equal share of the time that those before it have left.
    """
    connect_ends_s = min(ends_s, time.monotonic() + CONNECT_TIMEOUT_S)
    for count, address in zip(range(len(addresses), 1, -1), addresses, strict=False):
        with suppress(OSError):
            return address, _opened(address, port, _left_s(connect_ends_s) / count)
    return addresses[-1], _opened(addresses[-1], port, _left_s(connect_ends_s))


def _opened(address: str, port: int, within_s: float) -> Timed:
    plain = Timed(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        plain.settimeout(within_s)
        plain.connect((address, port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException as error:
        plain.close()
        if isinstance(error, TimeoutError):
            raise ConnectTimeout(f"no connection within {within_s:g} s") from error
        raise
    return plain


def _proven(plain: Timed, origin: Origin, ends_s: float) -> socket.socket:
    """The connection, proven over TLS where the scheme asks for it."""
    if origin.scheme == "http":
        return plain
    try:
        plain.settimeout(_left_s(ends_s))
        return trust().wrap_socket(plain, server_hostname=origin.host, suppress_ragged_eofs=False)
    except BaseException:
        plain.close()
        raise


def _left_s(ends_s: float) -> float:
    """Seconds until the end. Raises ``TimeoutError`` once there are none."""
    left_s = ends_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the time for the exchange is over")
    return left_s

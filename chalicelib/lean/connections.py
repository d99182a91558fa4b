"""HTTP/1.1 over kept connections to one endpoint: a request goes out in one piece, an answer has a length or chunks."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)

BUFFER_BYTES = 65_536
HEAD_MAX_BYTES = 65_536
FRESH_S = 1.0  # a connection that has answered since is taken to be open: to ask costs as much as to send
NO_BODY = (204, 304)
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came over HTTP; the names of the headers are in lower case."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class Connections:
    """Connections to the endpoint ``url``, of which up to ``most`` are kept; a thread that finds none makes one.

    TLS is verified, by botocore's certificates or the file ``verify``. ``timeout`` is that of a connect and of a read,
    in seconds.
    """

    def __init__(self, url: str, verify: Any, timeout: tuple[float, float], most: int, socket_options: Any) -> None:
        parts = urlsplit(url)
        self._url, self._host = url, parts.hostname or ""
        self._port = parts.port or PORTS.get(parts.scheme, 80)
        self._start = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
        self._connect_s, self._read_s = timeout
        self._options = socket_options
        self._verify = verify if parts.scheme == "https" else None
        self._kept: deque[_Connection] = deque(maxlen=most)

    def send(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to a request; raises botocore's errors of connections."""
        connection = self._kept_one() or self._made()
        is_kept = False
        try:
            connection.send(self._request(headers, body))
            answer, is_kept = connection.receive()
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=self._url, error=error) from error
        except (OSError, EOFError) as error:
            raise ConnectionClosedError(endpoint_url=self._url, error=error) from error
        except ValueError as error:
            raise HTTPClientError(error=error) from error
        finally:
            if not is_kept:
                connection.close()
        if is_kept:
            self._kept.append(connection)
        return answer

    def _request(self, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if lines.count("\n") != len(headers):
            raise ValueError("a header has a line break")
        return f"{self._start}Content-Length: {len(body)}\r\n{lines}\r\n".encode("latin-1") + body

    def _kept_one(self) -> _Connection | None:
        """A connection that the other end has not closed meanwhile."""
        while True:
            try:
                connection = self._kept.pop()
            except IndexError:
                return None
            if not connection.is_dropped():
                return connection
            connection.close()

    def _made(self) -> _Connection:
        try:
            return _Connection(self._connected(), self._read_s)
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=self._url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=self._url, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=self._url, error=error) from error

    def _connected(self) -> socket.socket:
        connected = socket.create_connection((self._host, self._port), self._connect_s)
        for option in self._options:
            connected.setsockopt(*option)
        if self._verify is None:
            return connected
        return _tls_context(self._verify).wrap_socket(connected, server_hostname=self._host)


class _Connection:
    """One connection, for one request at a time."""

    def __init__(self, connected: socket.socket, read_s: float) -> None:
        connected.settimeout(read_s)
        self._socket = connected
        self._came = b""  # and was not read yet
        self._answered_at_s = time.monotonic()

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def receive(self) -> tuple[Answer, bool]:
        """The answer, and whether the connection can serve again."""
        version, status, headers = self._head()
        while status < 200:  # it only says that another is to come
            version, status, headers = self._head()
        content, has_end = self._content(status, headers)
        closes = version != "HTTP/1.1" or headers.get("connection", "").lower() == "close"
        self._answered_at_s = time.monotonic()
        return Answer(status, headers, content), has_end and not closes and not self._came

    def is_dropped(self) -> bool:
        """Whether there is something to read, which is but the end, before anything was asked."""
        return time.monotonic() - self._answered_at_s >= FRESH_S and bool(_readable(self._socket))

    def close(self) -> None:
        self._socket.close()

    def _head(self) -> tuple[str, int, dict[str, str]]:
        """The version and the status, and the headers behind them."""
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in [line.partition(":") for line in lines]}
        version, _, rest = first.partition(" ")
        return version, int(rest[:3]), headers

    def _content(self, status: int, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        """The body, and whether it has an end other than the connection's."""
        if status in NO_BODY:
            return b"", True
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b"")), self._until(b"\r\n") == b""  # no headers behind it
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"])), True
        return b"".join((self._came, *iter(lambda: self._socket.recv(BUFFER_BYTES), b""))), False

    def _chunk(self) -> bytes:
        length = int(self._until(b"\r\n").partition(b";")[0], 16)
        if length == 0:
            return b""
        chunk = self._exactly(length)
        self._until(b"\r\n")
        return chunk

    def _until(self, mark: bytes) -> bytes:
        """What comes before a mark; that is read, too."""
        while mark not in self._came:
            if len(self._came) > HEAD_MAX_BYTES:
                raise ValueError(f"the head of an answer is longer than {HEAD_MAX_BYTES} bytes")
            self._came += self._more()
        before, _, self._came = self._came.partition(mark)
        return before

    def _exactly(self, length: int) -> bytes:
        pieces, missing = [self._came], length - len(self._came)
        while missing > 0:
            pieces.append(self._more())
            missing -= len(pieces[-1])
        content = b"".join(pieces)
        self._came = content[length:]
        return content[:length]

    def _more(self) -> bytes:
        came = self._socket.recv(BUFFER_BYTES)
        if not came:
            raise EOFError("the connection was closed before the answer was complete")
        return came


def _readable(connected: socket.socket) -> list[Any]:
    """Something if a socket can be read without a wait, or has failed."""
    if not hasattr(select, "poll"):  # Windows
        return select.select([connected], [], [], 0)[0]
    poll = select.poll()
    poll.register(connected, select.POLLIN)
    return poll.poll(0)


@lru_cache(maxsize=4)
def _tls_context(verify: Any) -> ssl.SSLContext:
    """What verifies the other end; to read the certificates takes as long as a third of an import of botocore."""
    return ssl.create_default_context(cafile=_certificates() if verify is True else verify)


def _certificates() -> str:
    """The certificates that botocore trusts."""
    try:
        from certifi import where
    except ImportError:
        return str(Path(botocore.__file__).with_name("cacert.pem"))
    return where()

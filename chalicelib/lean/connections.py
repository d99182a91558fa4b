"""HTTP/1.1 over kept connections to one endpoint: a request goes out in one piece, an answer has a length or chunks."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import get_cert_path
from urllib3.util import wait_for_read

BUFFER_BYTES = 65_536
LINE_MAX_BYTES = 65_536
HEADERS_MAX = 100
NO_BODY = (204, 304)


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
        self._url, self._host, self._port = url, parts.hostname or "", parts.port
        self._start = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
        self._connect_s, self._read_s = timeout
        self._options = socket_options
        self._tls = ssl.create_default_context(cafile=get_cert_path(verify)) if parts.scheme == "https" else None
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
        self._kept.append(connection)
        return answer

    def _request(self, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
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
        http = (
            HTTPConnection(self._host, self._port, self._connect_s)
            if self._tls is None
            else HTTPSConnection(self._host, self._port, timeout=self._connect_s, context=self._tls)
        )
        http.connect()
        for option in self._options:
            http.sock.setsockopt(*option)
        connected: socket.socket = http.sock
        return connected


class _Connection:
    """One connection, for one request at a time."""

    def __init__(self, connected: socket.socket, read_s: float) -> None:
        connected.settimeout(read_s)
        self._socket = connected
        self._file = connected.makefile("rb", BUFFER_BYTES)

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def receive(self) -> tuple[Answer, bool]:
        """The answer, and whether the connection can serve again."""
        version, status = self._status()
        headers = self._headers()
        content, has_end = self._content(status, headers)
        closes = version != b"HTTP/1.1" or headers.get("connection", "").lower() == "close"
        return Answer(status, headers, content), has_end and not closes

    def is_dropped(self) -> bool:
        """Whether there is something to read, which is but the end, before anything was asked."""
        return wait_for_read(self._socket, 0)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _status(self) -> tuple[bytes, int]:
        while True:
            version, _, rest = self._line().partition(b" ")
            status = int(rest[:3])
            if status >= 200:
                return version, status
            self._headers()  # of an answer that only says that another is to come

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(HEADERS_MAX):
            line = self._line()
            if not line:
                return headers
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        raise ValueError(f"an answer has more than {HEADERS_MAX} headers")

    def _content(self, status: int, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        """The body, and whether it has an end other than the connection's."""
        if status in NO_BODY:
            return b"", True
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b"")), not self._headers()
        if "content-length" not in headers:
            return self._file.read(), False
        return self._exactly(int(headers["content-length"])), True

    def _chunk(self) -> bytes:
        length = int(self._line().partition(b";")[0], 16)
        if length == 0:
            return b""
        chunk = self._exactly(length)
        self._line()
        return chunk

    def _exactly(self, length: int) -> bytes:
        content: bytes = self._file.read(length)
        if len(content) < length:
            raise EOFError("the connection was closed in the middle of an answer")
        return content

    def _line(self) -> bytes:
        line = self._file.readline(LINE_MAX_BYTES)
        if not line.endswith(b"\n"):
            raise EOFError("the connection was closed before the answer was complete")
        return line.rstrip(b"\r\n")

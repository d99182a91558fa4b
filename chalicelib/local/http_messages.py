"""HTTP/1.1 as bytes: a request's head and body out of what has come, an answer's head (RFC 9112); no I/O.

What could be read in two ways is refused, not repaired: whoever shares a connection, or writes a body that a browser
sends for them, must not be able to pass off a part of it as another request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

HEAD_MAX_BYTES = 65_536
BODY_MAX_BYTES = 5 * 1024**3  # the largest single upload of S3, which is the largest request that AWS takes
CHUNK_LINE_MAX_BYTES = 1_024  # the size of a chunk and its extensions, or a line of the trailer
TRAILER_MAX_BYTES = 8_192

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/1\.([01])")
_FIELD = re.compile(rb"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0A-\x1F\x7F]*)\r\n", re.MULTILINE)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0A-\x1F\x7F]*)?")
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})

Headers = Sequence[tuple[bytes, bytes]]


class BadRequest(Exception):
    """A request that is not served, and the status that says why."""

    def __init__(self, status: HTTPStatus, expected: str) -> None:
        super().__init__(expected)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body. Header names are in lower case; ``target`` is as it was sent."""

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    length: int | None  # of the body in bytes; None where it comes in chunks
    is_last: bool  # of its connection
    awaits_continue: bool


def take_head(buffer: bytearray) -> Head | None:
    """Take a request's head off the front of what has come, or return None while there is only a part of it.

    Raises BadRequest: 431 above 64 KiB, 501 for a transfer coding other than chunked, 400 for what is no request.
    """
    while buffer.startswith(b"\r\n"):  # after the body of a request before it (RFC 9112, 2.2)
        del buffer[:2]
    end = buffer.find(b"\r\n\r\n", 0, HEAD_MAX_BYTES)
    if end < 0:
        if len(buffer) >= HEAD_MAX_BYTES:
            raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a head below {HEAD_MAX_BYTES} bytes")
        return None
    line, _, fields = bytes(buffer[: end + 2]).partition(b"\r\n")
    del buffer[: end + 4]
    request = _REQUEST_LINE.fullmatch(line)
    if request is None:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "a request line of HTTP/1.1 or 1.0")
    found = _FIELD.findall(fields)
    if len(found) != fields.count(b"\n"):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "header fields of a name, a colon and a value, a line each")
    method, target, minor = request.groups()
    headers = [(name.lower(), value.strip()) for name, value in found]
    return _head(method.decode(), target, f"1.{minor.decode()}", headers)


def _head(method: str, target: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> Head:
    lengths, codings, options, expected = set(), [], b"", b""
    for name, value in headers:
        if name == b"content-length":
            lengths.add(value)
        elif name == b"transfer-encoding":
            codings.append(value.lower())
        elif name == b"connection":
            options += value.lower() + b","
        elif name == b"expect":
            expected = value.lower()
    return Head(
        method,
        target,
        version,
        headers,
        length=_length(lengths, codings),
        is_last=version == "1.0" or b"close" in options,
        awaits_continue=expected == b"100-continue" and version == "1.1",
    )


def _length(lengths: set[bytes], codings: list[bytes]) -> int | None:
    if codings:
        if codings != [b"chunked"]:
            raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "no transfer coding but chunked")
        if lengths:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "a Content-Length or a Transfer-Encoding, not both")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _LENGTH.fullmatch(text := lengths.pop()):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "one Content-Length, a number of bytes")
    return _within_limit(int(text))


def _within_limit(body_bytes: int) -> int:
    if body_bytes > BODY_MAX_BYTES:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of {BODY_MAX_BYTES} bytes at most")
    return body_bytes


class Body:
    """A request's body while it comes in; ``is_whole`` says that it is there."""

    def __init__(self, length: int | None) -> None:
        self.content = bytearray()
        self.is_whole = length == 0
        self._is_chunked = length is None
        self._left = length or 0  # of the body, or of the chunk with the line end behind it
        self._trailer_bytes: int | None = None  # once the last chunk has come

    def take(self, buffer: bytearray) -> None:
        """Take off the front of what has come as much as belongs to it. Raises BadRequest."""
        if not self._is_chunked:
            self._take_content(buffer)
            self.is_whole = self._left == 0
            return
        while not self.is_whole and self._take_part(buffer):
            pass

    def _take_content(self, buffer: bytearray) -> None:
        if len(buffer) <= self._left:
            self.content += buffer
            self._left -= len(buffer)
            buffer.clear()
        else:
            self.content += buffer[: self._left]
            del buffer[: self._left]
            self._left = 0

    def _take_part(self, buffer: bytearray) -> bool:
        """Take a line, or what there is of a chunk; False when more has to come."""
        if self._left:
            self._take_content(buffer)
            if self._left:
                return False
            if not self.content.endswith(b"\r\n"):
                raise BadRequest(HTTPStatus.BAD_REQUEST, "a line end behind each chunk")
            del self.content[-2:]
        line = _take_line(buffer)
        if line is None:
            return False
        if self._trailer_bytes is None:
            self._begin_chunk(line)
        else:
            self._skip_trailer(line)
        return True

    def _begin_chunk(self, line: bytes) -> None:
        form = _CHUNK_LINE.fullmatch(line)
        if form is None:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "the size of a chunk, in hexadecimal digits")
        size = int(form[1], 16)
        _within_limit(len(self.content) + size)
        if size:
            self._left = size + 2
        else:
            self._trailer_bytes = 0

    def _skip_trailer(self, line: bytes) -> None:
        self._trailer_bytes = (self._trailer_bytes or 0) + len(line)
        if self._trailer_bytes > TRAILER_MAX_BYTES:
            raise BadRequest(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a trailer of {TRAILER_MAX_BYTES} bytes at most"
            )
        self.is_whole = not line


def _take_line(buffer: bytearray) -> bytes | None:
    end = buffer.find(b"\r\n", 0, CHUNK_LINE_MAX_BYTES)
    if end < 0:
        if len(buffer) >= CHUNK_LINE_MAX_BYTES:
            raise BadRequest(HTTPStatus.BAD_REQUEST, f"lines below {CHUNK_LINE_MAX_BYTES} bytes between chunks")
        return None
    line = bytes(buffer[:end])
    del buffer[: end + 2]
    return line


def answer_head(status: int, headers: Headers) -> bytes:
    """The head of an answer. Raises ValueError for a header with a line end in it: it would be another one."""
    lines = [_status_line(status), *[b"%b: %b" % header for header in headers], b"", b""]
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1:
        raise ValueError(f"expected headers without line ends; got {headers!r}")
    return head


@lru_cache(maxsize=128)
def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:  # one that a user's own function made up
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode()


def has_content(method: str, status: int) -> bool:
    """Whether an answer of this status to this method may carry content (RFC 9110, 6.4.1)."""
    return method != "HEAD" and status not in _BODILESS

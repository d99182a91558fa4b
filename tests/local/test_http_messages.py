"""Requests out of bytes, however they come in pieces, and what could be read in two ways refused."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.local import http_messages
from chalicelib.local.http_messages import BadRequest, Body, Head, answer_head, has_content, take_head

TOKENS = st.text("abcXYZ019-_.~!#$%&'*+^`|", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)


def head_of(text: bytes) -> Head | None:
    return take_head(bytearray(text))


def refusal(text: bytes) -> HTTPStatus:
    with pytest.raises(BadRequest) as raised:
        head_of(text)
    return raised.value.status


def read(body: Body, *parts: bytes) -> bytes:
    """What is left over when the parts have come one after the other."""
    buffer = bytearray()
    for part in parts:
        buffer += part
        body.take(buffer)
    return bytes(buffer)


class TestHead:
    def test_has_all_that_a_request_says_before_its_body(self) -> None:
        buffer = bytearray(
            b"POST /a%20b?c=d HTTP/1.1\r\nHost: one\r\nX-Many:  a b \t\r\nContent-Length: 2\r\n\r\n{}GET"
        )
        assert take_head(buffer) == Head(
            method="POST",
            target=b"/a%20b?c=d",
            version="1.1",
            headers=[(b"host", b"one"), (b"x-many", b"a b"), (b"content-length", b"2")],
            length=2,
            is_last=False,
            awaits_continue=False,
        )
        assert buffer == b"{}GET"

    @given(st.lists(st.tuples(TOKENS, VALUES.map(str.strip)), max_size=5), st.integers(0, 60))
    def test_is_the_same_in_pieces(self, fields: list[tuple[str, str]], cut: int) -> None:
        named = [("x-" + name, value) for name, value in fields]
        text = "".join(f"{name}: {value}\r\n" for name, value in named).encode("latin-1")
        whole = b"GET / HTTP/1.1\r\n" + text + b"\r\n"
        buffer = bytearray(whole[: min(cut, len(whole) - 1)])
        assert take_head(buffer) is None
        buffer += whole[len(buffer) :]
        head = take_head(buffer)
        assert head is not None
        expected = [(name.lower().encode(), value.encode("latin-1").strip()) for name, value in named]
        assert (head.headers, bytes(buffer)) == (expected, b"")

    @pytest.mark.parametrize(
        ("fields", "is_last"),
        [(b"", False), (b"Connection: close\r\n", True), (b"Connection: x, Close\r\n", True)],
    )
    def test_says_whether_the_connection_ends(self, fields: bytes, is_last: bool) -> None:
        head = head_of(b"GET / HTTP/1.1\r\n" + fields + b"\r\n")
        assert head is not None
        assert head.is_last is is_last

    def test_of_http_1_0_is_the_last(self) -> None:
        head = head_of(b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")
        assert head is not None
        assert (head.is_last, head.version, head.awaits_continue) == (True, "1.0", False)

    def test_may_follow_an_empty_line(self) -> None:
        head = head_of(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        assert head is not None
        assert head.method == "GET"

    @pytest.mark.parametrize(
        "text",
        [
            b"GET /\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET /\xe9 HTTP/1.1\r\n\r\n",
            b"G(T / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : one\r\n\r\n",
            b"GET / HTTP/1.1\r\n host: one\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: one\r\n two\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\n: no name\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: one\nOrigin: two\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: one\rtwo\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: one\x00\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ],
    )
    def test_that_could_be_read_in_two_ways_is_refused(self, text: bytes) -> None:
        assert refusal(text) is HTTPStatus.BAD_REQUEST

    @pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked\r\nTransfer-Encoding: chunked"])
    def test_with_another_transfer_coding_is_refused(self, coding: bytes) -> None:
        text = b"POST / HTTP/1.1\r\nTransfer-Encoding: " + coding + b"\r\n\r\n"
        assert refusal(text) is HTTPStatus.NOT_IMPLEMENTED

    def test_is_bounded(self) -> None:
        begun = b"GET / HTTP/1.1\r\nx: "
        assert head_of(begun + b"y" * (http_messages.HEAD_MAX_BYTES - len(begun) - 1)) is None
        too_large = begun + b"y" * (http_messages.HEAD_MAX_BYTES - len(begun))
        assert refusal(too_large) is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        assert refusal(too_large + b"\r\n\r\n") is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

    def test_of_a_body_that_is_too_large_is_refused(self) -> None:
        head = b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
        allowed = head_of(head % http_messages.BODY_MAX_BYTES)
        assert allowed is not None
        assert allowed.length == 5_368_709_120
        assert refusal(head % (http_messages.BODY_MAX_BYTES + 1)) is HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class TestBody:
    @given(st.binary(max_size=40), st.binary(max_size=5), st.data())
    def test_of_a_length_ends_there(self, content: bytes, behind: bytes, data: st.DataObject) -> None:
        text = content + behind
        cut = data.draw(st.integers(0, len(text)))
        body = Body(len(content))
        assert read(body, text[:cut], text[cut:]) == behind
        assert (bytes(body.content), body.is_whole) == (content, True)

    @given(st.lists(st.binary(min_size=1, max_size=20), max_size=4), st.binary(max_size=5), st.data())
    def test_in_chunks_ends_with_the_empty_one(self, chunks: list[bytes], behind: bytes, data: st.DataObject) -> None:
        coded = b"".join(b"%X;ext=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        text = coded + b"0\r\nTrailer: one\r\n\r\n" + behind
        cut = data.draw(st.integers(0, len(text)))
        body = Body(None)
        assert read(body, text[:cut], text[cut:]) == behind
        assert (bytes(body.content), body.is_whole) == (b"".join(chunks), True)

    @given(st.integers(0, 23))
    def test_is_not_whole_before_its_end(self, cut: int) -> None:
        text = b"3\r\nabc\r\n1\r\nd\r\n0\r\nx: y\r\n\r\n"
        body = Body(None)
        read(body, text[:cut])
        assert not body.is_whole

    @pytest.mark.parametrize(
        "text", [b"x\r\n", b"-1\r\n", b"0x1\r\n", b" 1\r\n", b"\r\n", b"1\r\nabc", b"1" * 16 + b"\r\n", b"1;\x00\r\n"]
    )
    def test_in_chunks_that_could_be_read_in_two_ways_is_refused(self, text: bytes) -> None:
        with pytest.raises(BadRequest) as raised:
            read(Body(None), text)
        assert raised.value.status is HTTPStatus.BAD_REQUEST

    @pytest.mark.parametrize(
        ("text", "status"),
        [
            (b"1" * http_messages.CHUNK_LINE_MAX_BYTES, HTTPStatus.BAD_REQUEST),
            (b"0\r\n" + b"x: y\r\n" * 2_049, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
            (b"140000001\r\n", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        ],
    )
    def test_in_chunks_is_bounded(self, text: bytes, status: HTTPStatus) -> None:
        with pytest.raises(BadRequest) as raised:
            read(Body(None), text)
        assert raised.value.status is status


class TestAnswer:
    def test_has_the_phrase_that_sdks_expect(self) -> None:
        assert answer_head(200, [(b"A", b"b")]) == b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
        assert answer_head(299, []) == b"HTTP/1.1 299 \r\n\r\n"

    @pytest.mark.parametrize("header", [(b"a", b"b\r\nc: d"), (b"a\n", b""), (b"a", b"\r")])
    def test_has_no_headers_within_headers(self, header: tuple[bytes, bytes]) -> None:
        with pytest.raises(ValueError, match="without line ends"):
            answer_head(200, [header])

    @pytest.mark.parametrize(
        ("method", "status", "has"),
        [("GET", 200, True), ("HEAD", 200, False), ("PUT", 204, False), ("GET", 304, False)],
    )
    def test_has_content_or_not(self, method: str, status: int, has: bool) -> None:
        assert has_content(method, status) is has

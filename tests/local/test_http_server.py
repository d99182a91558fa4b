"""The server as its clients and its application see it, over real sockets in one event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from chalicelib.local import http_server
from chalicelib.local.http_server import serve
from tests.support.waiting import DEADLINE_S

IDLE_S = 60.0
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST /path HTTP/1.1\r\nContent-Length: 5\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class App:
    """Answers each request by ``answer``, and remembers its scope."""

    def __init__(self, answer: Callable[[Any, Any], Awaitable[None]]) -> None:
        self.scopes: list[Any] = []
        self._answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert await receive() == {"type": "lifespan.startup"}
            await send({"type": "lifespan.startup.complete"})
            await receive()
        self.scopes.append(scope)
        await self._answer(receive, send)


async def echo(receive: Any, send: Any) -> None:
    message = await receive()
    assert message["more_body"] is False
    await start(send)
    await send({"type": "http.response.body", "body": message["body"]})


async def start(send: Any, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def part(send: Any, body: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


@asynccontextmanager
async def serving(app: Any, idle_s: float = IDLE_S) -> AsyncIterator[int]:
    """The port of a server, which ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = asyncio.create_task(serve(app, listener, idle_s))
        try:
            yield port
        finally:
            server.cancel()
            with suppress(asyncio.CancelledError):
                await server


def with_client(app: Any, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]) -> Any:
    """What a client gets out of a talk with a server of ``app``."""

    async def run() -> Any:
        async with asyncio.timeout(DEADLINE_S), serving(app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return await talk(reader, writer)
            finally:
                writer.close()

    return asyncio.run(run())


def answer_to(app: Any, *parts: bytes) -> bytes:
    """What comes back when a client sends these, one after the other, the last with ``Connection: close``."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for each in parts:
            writer.write(each)
            await writer.drain()
        return await reader.read()

    answered: bytes = with_client(app, talk)
    return answered


def closing(request: bytes) -> bytes:
    return request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


class TestARequest:
    def test_reaches_the_application_as_asgi_says(self) -> None:
        app = App(echo)
        answer_to(app, closing(b"PUT /a%2Fb/%C3%A9?c=%20 HTTP/1.1\r\nHost: here\r\nX-A: b\r\n\r\n"))
        (scope,) = app.scopes
        told = {name: scope[name] for name in ("type", "method", "path", "raw_path", "query_string", "headers")}
        assert told == {
            "type": "http",
            "method": "PUT",
            "path": "/a/b/é",
            "raw_path": b"/a%2Fb/%C3%A9",
            "query_string": b"c=%20",
            "headers": [(b"connection", b"close"), (b"host", b"here"), (b"x-a", b"b")],
        }
        assert (scope["http_version"], scope["scheme"]) == ("1.1", "http")
        assert (scope["client"][0], scope["server"][0]) == ("127.0.0.1", "127.0.0.1")

    @pytest.mark.parametrize(
        "request_",
        [
            closing(POST) + b"hello",
            closing(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n") + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ],
        ids=["with its length", "in chunks"],
    )
    def test_comes_whole_in_pieces_of_any_size(self, request_: bytes) -> None:
        expected = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
        assert answer_to(App(echo), request_) == expected
        assert answer_to(App(echo), *[bytes([byte]) for byte in request_]) == expected

    def test_is_answered_in_its_turn(self) -> None:
        expected = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello" + EMPTY
        assert answer_to(App(echo), POST + b"hello" + GET + closing(GET)).startswith(expected)

    def test_is_told_to_go_on_once_the_application_wants_its_body(self) -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            writer.write(POST.replace(b"\r\n", b"\r\nExpect: 100-continue\r\n", 1))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hello")
            return await reader.readuntil(b"hello")

        assert with_client(App(echo), talk).startswith(b"HTTP/1.1 200 OK\r\n")

    def test_that_is_refused_before_its_body_has_come_is_the_last(self) -> None:
        async def refuse(_: Any, send: Any) -> None:
            await start(send, status=403)
            await part(send, b"no", more=False)

        answered = answer_to(App(refuse), POST.replace(b"\r\n", b"\r\nExpect: 100-continue\r\n", 1))
        assert answered == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            (b"nonsense\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
            (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"HTTP/1.1 501 Not Implemented"),
            (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, b"HTTP/1.1 431 Request Header Fields Too Large"),
        ],
    )
    def test_that_is_none_reaches_nobody(self, text: bytes, line: bytes) -> None:
        app = App(echo)
        answered = answer_to(app, text + GET)
        assert answered.split(b"\r\n")[0] == line
        assert b"\r\nconnection: close\r\n" in answered
        assert answered.count(b"HTTP/1.1") <= 2, "a second answer"
        assert app.scopes == []

    def test_whose_body_turns_out_to_be_none_is_refused_to_the_application_too(self) -> None:
        received = []

        async def ask(receive: Any, _: Any) -> None:
            received.append(await receive())

        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        answered = answer_to(App(ask), head + b"1\r\n", b"a\r\nnonsense\r\n")
        assert answered.split(b"\r\n")[0] == b"HTTP/1.1 400 Bad Request"
        assert received in ([], [{"type": "http.disconnect"}])

    def test_behind_another_waits_outside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The server reads no further ahead than its bound, and goes on when it has answered."""
        monkeypatch.setattr(http_server, "READ_AHEAD_MAX_BYTES", 100)
        begun, may_go = asyncio.Event(), asyncio.Event()

        async def wait(receive: Any, send: Any) -> None:
            begun.set()
            await may_go.wait()
            await echo(receive, send)

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            writer.write(GET)
            await begun.wait()
            writer.write(GET * 20 + closing(GET))
            await writer.drain()
            may_go.set()
            return await reader.read()

        assert with_client(App(wait), talk).count(b"HTTP/1.1 200 OK") == 22


class TestAnAnswer:
    def test_of_a_known_length_is_one_write(self) -> None:
        async def answer(_: Any, send: Any) -> None:
            await start(send, (b"Content-Length", b"3"), (b"X", b"y"))
            await part(send, b"abc", more=False)

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            writer.write(GET)
            return await reader.read(1_000)

        assert with_client(App(answer), talk) == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nabc"

    def test_of_an_unknown_one_comes_in_chunks_as_it_is_made(self) -> None:
        go_on = asyncio.Event()

        async def answer(_: Any, send: Any) -> None:
            await start(send, (b"Transfer-Encoding", b"chunked"))
            await part(send, b"abc")
            await go_on.wait()
            await part(send, b"")
            await part(send, b"d" * 16, more=False)

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            writer.write(GET)
            first = await reader.readuntil(b"abc\r\n")
            go_on.set()
            return first + await reader.readuntil(b"0\r\n\r\n")

        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        assert with_client(App(answer), talk) == head + b"3\r\nabc\r\n10\r\n" + b"d" * 16 + b"\r\n0\r\n\r\n"

    def test_to_http_1_0_ends_with_its_connection(self) -> None:
        async def answer(_: Any, send: Any) -> None:
            await start(send)
            await part(send, b"abc")
            await part(send, b"def", more=False)

        answered = answer_to(App(answer), b"GET / HTTP/1.0\r\n\r\n")
        assert answered == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabcdef"

    def test_to_head_and_of_no_content_has_a_head_only(self) -> None:
        async def answer(_: Any, send: Any) -> None:
            await start(send, (b"content-length", b"3"))
            await part(send, b"abc", more=False)

        answered = answer_to(App(answer), closing(b"HEAD / HTTP/1.1\r\n\r\n"))
        assert answered == b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\n"

    @pytest.mark.parametrize(("announced", "sent"), [(b"5", b"abc"), (b"3", b"abc")])
    def test_that_is_not_as_long_as_announced_is_the_last(self, announced: bytes, sent: bytes) -> None:
        async def answer(_: Any, send: Any) -> None:
            await start(send, (b"content-length", announced))
            await part(send, b"abc")
            await part(send, b"" if announced == b"5" else b"too much", more=False)

        answered = answer_to(App(answer), GET + closing(GET) if announced == b"3" else GET)
        assert answered.count(b"\r\n\r\n" + sent) == (2 if announced == b"3" else 1)
        assert b"too much" not in answered

    @pytest.mark.parametrize("fails", ["before", "within", "by saying nothing", "by a header in a header"])
    def test_that_is_not_given_is_a_500_or_cut_off(self, fails: str, caplog: pytest.LogCaptureFixture) -> None:
        async def answer(_: Any, send: Any) -> None:
            if fails == "within":
                await start(send, (b"content-length", b"5"))
                await part(send, b"abc")
            if fails == "by a header in a header":
                await start(send, (b"x", b"y\r\nz: 1"))
                await part(send, b"", more=False)
            if fails != "by saying nothing":
                raise LookupError("told in the log")

        answered = answer_to(App(answer), GET)
        if fails == "within":
            assert answered == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc"
        else:
            assert answered.split(b"\r\n")[0] == b"HTTP/1.1 500 Internal Server Error"
        assert ("told in the log" in caplog.text) == (fails in ("before", "within"))

    def test_waits_for_a_client_that_reads_slowly(self) -> None:
        sent = []

        async def answer(_: Any, send: Any) -> None:
            await start(send)
            for number in range(64):
                await part(send, b"x" * 1_000_000)
                sent.append(number)
            await part(send, b"", more=False)

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
            writer.write(closing(GET))
            await reader.readuntil(b"\r\n\r\n")
            waited_for = len(sent)
            while await reader.read(1_000_000):
                pass
            return waited_for

        assert with_client(App(answer), talk) < 64
        assert len(sent) == 64

    def test_is_finished_for_a_client_that_has_gone(self) -> None:
        received: list[Any] = []
        finished = asyncio.Event()

        async def answer(receive: Any, send: Any) -> None:
            received.append(await receive())
            received.append(await receive())
            await start(send)
            await part(send, b"too late", more=False)
            finished.set()

        async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(POST + b"hello")
            await writer.drain()
            writer.close()
            await finished.wait()

        with_client(App(answer), talk)
        assert received == [
            {"type": "http.request", "body": b"hello", "more_body": False},
            {"type": "http.disconnect"},
        ]


class TestTheServer:
    def test_sends_small_answers_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = []
        begun = http_server.Connection.connection_made

        def connection_made(self: Any, transport: Any) -> None:
            begun(self, transport)
            sock = transport.get_extra_info("socket")
            made.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        monkeypatch.setattr(http_server.Connection, "connection_made", connection_made)
        answer_to(App(echo), closing(GET))
        assert made[0]

    def test_closes_connections_that_say_nothing_but_none_at_work(self) -> None:
        may_go = asyncio.Event()

        async def wait(receive: Any, send: Any) -> None:
            await may_go.wait()
            await echo(receive, send)

        async def run() -> list[bytes]:
            async with asyncio.timeout(DEADLINE_S), serving(App(wait), idle_s=0.05) as port:
                silent, halfway, working = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
                halfway[1].write(POST + b"he")
                working[1].write(closing(GET))
                answers = [await silent[0].read(), await halfway[0].read()]
                may_go.set()
                return [*answers, await working[0].read()]

        silence, halfway, work = asyncio.run(run())
        assert (silence, halfway) == (b"", b"")
        assert work.startswith(b"HTTP/1.1 200 OK")

    def test_cuts_its_connections_when_it_ends(self) -> None:
        begun = asyncio.Event()

        async def wait(*_: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        async def run() -> bytes:
            async with asyncio.timeout(DEADLINE_S):
                async with serving(App(wait)) as port:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(GET)
                    await begun.wait()
                with suppress(ConnectionResetError):
                    return await reader.read()
            return b""

        assert asyncio.run(run()) == b""

    @pytest.mark.parametrize("way", ["says so", "raises"])
    def test_does_not_serve_what_does_not_start(self, way: str) -> None:
        async def app(_: Any, __: Any, send: Any) -> None:
            if way == "raises":
                raise RuntimeError("no state")
            await send({"type": "lifespan.startup.failed", "message": "no state"})

        async def run() -> None:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                await serve(app, listener, IDLE_S)

        with pytest.raises(RuntimeError, match="no state"):
            asyncio.run(run())

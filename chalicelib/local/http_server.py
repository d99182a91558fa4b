"""An HTTP/1.1 server for one ASGI application on a loopback address, as cheap as Python lets it be.

The embedded emulator answers some thousand small requests a second on a core that it shares with those who ask.
So a request costs one task, its answer one write, and a connection no timer: idle ones are looked for now and then.

It speaks ASGI's "http" and the start of its "lifespan": the process that it serves in ends without asking the
application to shut down, with its state saved by others. Request bodies are handed over whole. It knows neither TLS nor
upgrades: a request for one (WebSocket) is served as what it is without.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import NoReturn, cast
from urllib.parse import unquote

from chalicelib.local.guard import AsgiApp, Message, Scope
from chalicelib.local.http_messages import BadRequest, Body, Head, answer_head, has_content, take_head

READ_AHEAD_MAX_BYTES = 65_536  # of the requests behind the one that is being answered
IDLE_LOOKS = 4  # for idle connections, in the time that one may be idle
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

logger = logging.getLogger("taskyard.emulator")


async def serve(app: AsgiApp, listener: socket.socket, idle_s: float) -> NoReturn:
    """Start ``app`` and serve it on a listening socket until cancelled; then its connections are cut.

    A connection that says nothing for ``idle_s`` s while nothing is being answered on it is closed. Raises what the
    application raises at its start, and RuntimeError if it says that it failed.
    """
    lifespan = await _started(app)
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(app, connections), sock=listener)
    try:
        while True:
            await asyncio.sleep(idle_s / IDLE_LOOKS)
            for connection in list(connections):
                connection.close_if_idle_since(time.monotonic() - idle_s)
    finally:
        server.close()
        lifespan.cancel()
        for connection in list(connections):
            connection.abort()


async def _started(app: AsgiApp) -> asyncio.Future[None]:
    """The application's lifespan, once it is ready; an application may do without one by returning."""
    told: asyncio.Queue[Message] = asyncio.Queue()
    answers: asyncio.Queue[Message] = asyncio.Queue()
    told.put_nowait({"type": "lifespan.startup"})
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
    lifespan = asyncio.ensure_future(app(scope, told.get, answers.put))
    answered = asyncio.ensure_future(answers.get())
    await asyncio.wait({lifespan, answered}, return_when=asyncio.FIRST_COMPLETED)
    if not answered.done():
        answered.cancel()
        lifespan.result()
    elif answered.result()["type"] == "lifespan.startup.failed":
        raise RuntimeError(f"the application did not start: {answered.result().get('message', '')}")
    return lifespan


class Connection(asyncio.Protocol):
    """One client: its requests are answered one after the other, in the order in which they come."""

    def __init__(self, app: AsgiApp, connections: set[Connection]) -> None:
        self._app = app
        self._connections = connections
        self._buffer = bytearray()
        self._exchange: Exchange | None = None  # the one that is being served
        self._writable = asyncio.Event()
        self._writable.set()
        self._used_at_s = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with the transport that asyncio has made."""
        self._transport = cast(asyncio.Transport, transport)  # which a listening TCP socket makes
        self._client = transport.get_extra_info("peername")
        self._server = transport.get_extra_info("sockname")
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Let the application know, if it asks; it finishes its work all the same."""
        self._connections.discard(self)
        self._writable.set()
        if self._exchange is not None:
            self._exchange.disconnect()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Take what has come as far as possible."""
        self._used_at_s = time.monotonic()
        self._buffer += data
        self._advance()

    def close_if_idle_since(self, then_s: float) -> None:
        """Close it if nothing has come since then, and nobody is at work for it."""
        is_waited_for = self._exchange is None or not self._exchange.body.is_whole
        if is_waited_for and self._used_at_s < then_s:
            self._transport.close()

    def abort(self) -> None:
        """Cut it."""
        self._transport.abort()

    def write(self, data: bytes) -> None:
        """Send to the client."""
        self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has read most of what it was sent, or is gone."""
        if not self._writable.is_set():
            await self._writable.wait()

    def _advance(self) -> None:
        """Go on with the request at hand, or begin the next one."""
        try:
            if self._exchange is None:
                head = take_head(self._buffer)
                if head is None:
                    return
                self._exchange = exchange = Exchange(self, head)
                exchange.take(self._buffer)
                self._task = asyncio.get_running_loop().create_task(self._serve(exchange))
            elif not self._exchange.body.is_whole:
                self._exchange.take(self._buffer)
            elif len(self._buffer) > READ_AHEAD_MAX_BYTES:
                self._transport.pause_reading()
        except BadRequest as refusal:
            self._refuse(refusal)

    def _refuse(self, refusal: BadRequest) -> None:
        """Say what is wrong with a request, and close: where the next one would begin is not known."""
        self._buffer.clear()
        if self._exchange is None or not self._exchange.is_begun:
            message = f"Expected {refusal}.\n".encode()
            headers = [
                (b"content-type", b"text/plain"),
                (b"content-length", str(len(message)).encode()),
                (b"connection", b"close"),
            ]
            self.write(answer_head(refusal.status, headers) + message)
        if self._exchange is not None:
            self._exchange.disconnect()
        self._transport.close()

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await self._app(self._scope(exchange.head), exchange.receive, exchange.send)
        except Exception:
            logger.exception("Expected an answer to %s %r, got an error.", exchange.head.method, exchange.head.target)
        if not exchange.is_over:
            exchange.fail()
        if exchange.is_last:
            self._transport.close()
        elif not self._transport.is_closing():
            self._used_at_s = time.monotonic()
            self._exchange = None
            self._transport.resume_reading()
            self._advance()

    def _scope(self, head: Head) -> Scope:
        path, _, query = head.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "method": head.method,
            "scheme": "http",
            "path": unquote(path.decode("ascii")) if b"%" in path else path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": head.headers,
            "client": self._client,
            "server": self._server,
        }


class Exchange:
    """One request and its answer, as the application has them: ``receive`` and ``send``."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self.head = head
        self.body = Body(head.length)
        self.is_last = head.is_last  # of its connection
        self.is_begun = False  # to be answered
        self.is_over = False
        self._connection = connection
        self._is_received = False
        self._arrived = asyncio.Event()  # the whole body, or no more of it
        self._gone = asyncio.Event()  # the client
        self._start: Message | None = None  # kept, to be sent with the first part of the body
        self._is_chunked = False
        self._left: int | None = None  # bytes of the answer that its head has announced

    def take(self, buffer: bytearray) -> None:
        """Take what has come of the body. Raises BadRequest."""
        self.body.take(buffer)
        if self.body.is_whole:
            self._arrived.set()

    def disconnect(self) -> None:
        """The client is gone, or not listened to any more."""
        self.is_last = True
        self._gone.set()
        self._arrived.set()

    async def receive(self) -> Message:
        """The whole body, once; after it, when the client has gone, that it has."""
        if self._is_received:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        if self.head.awaits_continue and not (self.body.is_whole or self.body.content):
            self._connection.write(CONTINUE)
        await self._arrived.wait()
        self._is_received = True
        if not self.body.is_whole:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": bytes(self.body.content), "more_body": False}

    async def send(self, message: Message) -> None:
        """Send a part of the answer: its start with the first part of its body. Waits for a client that is slow."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        body, is_end = message.get("body", b""), not message.get("more_body", False)
        if self._start is not None:
            head = self._begun(self._start, body, is_end)
            self._start = None
        else:
            head = b""
        data = head + self._framed(body, is_end)
        if data and not self._gone.is_set():
            self._connection.write(data)
            await self._connection.drain()

    def fail(self) -> None:
        """End an answer that the application does not end."""
        if not (self.is_begun or self._gone.is_set()):
            self._connection.write(answer_head(500, [(b"content-length", b"0"), (b"connection", b"close")]))
        self.is_last = True

    def _begun(self, start: Message, body: bytes, is_end: bool) -> bytes:
        """The head of the answer; what it says of its end is made true by ``_framed``."""
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"transfer-encoding"]
        told = {name.lower(): value for name, value in headers}
        if not has_content(self.head.method, start["status"]):
            self._left = 0
        elif b"content-length" in told:
            self._left = int(told[b"content-length"])
        elif is_end:
            self._left = len(body)
            headers.append((b"content-length", b"%d" % self._left))
        elif self.head.version == "1.1":
            self._is_chunked = True
            headers.append((b"transfer-encoding", b"chunked"))
        if told.get(b"connection", b"").lower() == b"close" or not self.body.is_whole:
            self.is_last = True
        if self.is_last and b"connection" not in told:
            headers.append((b"connection", b"close"))
        head = answer_head(start["status"], headers)
        self.is_begun = True
        return head

    def _framed(self, body: bytes, is_end: bool) -> bytes:
        """A part of the answer's body as it is sent: no more than was announced; if it is less, the connection ends."""
        self.is_over = is_end
        if self._is_chunked:
            return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if is_end else b"")
        if self._left is None:
            return body
        body = body[: self._left]
        self._left -= len(body)
        if is_end and self._left:
            self.is_last = True
        return body

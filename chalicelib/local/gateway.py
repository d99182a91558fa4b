"""API Gateway on this machine: HTTP requests become proxy events, what the app answers becomes HTTP.

An ASGI application around a Chalice app, which it tells when a client has gone. It keeps API Gateway's limits (10 MB a
request, 29 s an answer), compresses long answers and, like it, leaves everything else to the app. Where API Gateway
would say "Missing Authentication Token" to a path that leads nowhere, this says 404.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

from chalicelib.core.errors import shown
from chalicelib.http.listener import Listener
from chalicelib.local.compression import FROM_BYTES, compressed, takes_gzip
from chalicelib.local.guard import Receive, Scope, Send
from chalicelib.local.lambda_context import LambdaContext
from chalicelib.local.lambda_events import Event, HttpRequest, http_event

REQUEST_MAX_BYTES = 10 * 1024 * 1024
POLICY_VIOLATION = 1008  # the WebSocket close code for "not allowed here" (RFC 6455, 7.4.1)
THREADS = 256  # requests at a time: a poll that waits has one for up to 20 s, and costs nothing else meanwhile
ABSOLUTE = re.compile(r"https?://(?P<host>[^/]*)(?P<path>/.*)?", re.IGNORECASE | re.DOTALL)
JSON = ("content-type", "application/json")
GZIP = ("content-encoding", "gzip")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back."""

    status: int
    headers: Sequence[tuple[str, str]]  # names in lower case
    body: bytes


class ClientGone(Exception):
    """A client has closed its connection within its request."""


@dataclass(slots=True)
class _Node:
    """A place in the tree of resources."""

    children: dict[str, _Node] = field(default_factory=dict)
    variable: tuple[str, _Node] | None = None
    resource: str | None = None


class Resources:
    """The declared paths. At each level a literal segment is preferred to a variable."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._root = _Node()
        for path in paths:
            self._add(path)

    def find(self, path: str) -> tuple[str, dict[str, str]] | None:
        """The resource that a path leads to, with its variables as written; a slash at the end does not count."""
        trimmed = path[:-1] if path.endswith("/") and path != "/" else path
        return _walk(self._root, trimmed.split("/")[1:], {})

    def _add(self, path: str) -> None:
        node = self._root
        for segment in path.split("/")[1:]:
            if segment.startswith("{"):
                node.variable = node.variable or (segment[1:-1], _Node())
                node = node.variable[1]
            else:
                node = node.children.setdefault(segment, _Node())
        node.resource = path


def _walk(node: _Node, segments: Sequence[str], variables: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
    if not segments:
        return (node.resource, dict(variables)) if node.resource is not None else None
    first, *rest = segments
    if first in node.children:
        found = _walk(node.children[first], rest, variables)
        if found is not None:
            return found
    if node.variable is None or not first:
        return None
    name, child = node.variable
    return _walk(child, rest, {**variables, name: first})


class Gateway:
    """The ASGI application. ``context_of`` makes the context of an invocation from its request id."""

    def __init__(self, app: Any, stage: str, timeout_s: float, context_of: Callable[[str], LambdaContext]) -> None:
        self._app = app
        self._stage = stage
        self._timeout_s = timeout_s
        self._context_of = context_of
        self._resources = Resources(app.routes)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        self._begun = 0  # requests, ever
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._serve(scope, receive, send)
            case "lifespan":
                await _live(receive, send)
            case _:
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})

    async def drain(self, quiet_s: float) -> None:
        """Return when all requests are answered, and none has come for ``quiet_s`` seconds."""
        begun = -1
        while begun != self._begun:
            begun = self._begun
            await self._idle.wait()
            await asyncio.sleep(quiet_s)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._begun += 1
        self._in_flight += 1
        self._idle.clear()
        try:
            await self._attend(scope, receive, send)
        except ClientGone:
            return  # what came of its request is not run: nobody knows what was meant to follow
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()

    async def _attend(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and take back what its answer would have given to a client that did not wait for it."""
        body = await _body(receive)  # whatever the answer is: unread, it would cost the client its connection
        listener = Listener()
        watching = asyncio.create_task(_watch(receive, listener))
        try:
            answer = await self._encoded(await self._answer(scope, body, listener), scope)
            await _send(answer, send, listener, with_body=scope["method"] != "HEAD")
        finally:
            watching.cancel()
        if not listener.is_there():
            await asyncio.get_running_loop().run_in_executor(self._threads, _take_back, listener)

    async def _answer(self, scope: Scope, body: bytes | None, listener: Listener) -> Response:
        if body is None:
            return _problem(413, "Payload Too Large", f"a request holds at most {REQUEST_MAX_BYTES} bytes")
        path, headers = _target(scope)
        found = self._resources.find(path)
        if found is None:
            return _problem(404, "Not Found", f"there is no route {scope['method']} {shown(path)}; see /docs")
        try:
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, errors="strict")
        except UnicodeDecodeError:
            return _problem(400, "Bad Request", "the query is not UTF-8; expected percent-encoded UTF-8")
        request = HttpRequest(
            request_id=str(uuid.uuid4()),
            method=scope["method"],
            path=path,
            resource=found[0],
            path_parameters=found[1],
            query=query,
            headers=headers,
            body=body,
            source_ip=scope["client"][0] if scope["client"] else "",
            received_at_s=time.time(),
        )
        return await self._invoke(request, listener)

    async def _invoke(self, request: HttpRequest, listener: Listener) -> Response:
        event = http_event(request, self._stage, self._app.api.binary_types)
        context = replace(self._context_of(request.request_id), listener=listener)
        calling = asyncio.get_running_loop().run_in_executor(self._threads, self._app, event, context)
        try:
            return _response(await asyncio.wait_for(calling, self._timeout_s))
        except TimeoutError:
            listener.leave()
            return _problem(504, "Gateway Timeout", f"no answer within {self._timeout_s:g} s")
        except Exception:
            logger.exception("request %s failed", request.request_id)
            return _problem(502, "Bad Gateway", "the app gave no answer")

    async def _encoded(self, answer: Response, scope: Scope) -> Response:
        """``answer``, compressed if it is long, its client takes it so, and the app has not encoded it."""
        accepted = b",".join(value for name, value in scope["headers"] if name.lower() == b"accept-encoding")
        is_encoded = any(name == "content-encoding" for name, _ in answer.headers)
        if len(answer.body) < FROM_BYTES or is_encoded or not takes_gzip(accepted.decode("latin-1")):
            return answer
        body = await asyncio.get_running_loop().run_in_executor(self._threads, compressed, answer.body)
        return replace(answer, headers=[*answer.headers, GZIP], body=body)


async def _live(receive: Receive, send: Send) -> None:
    """ASGI's lifespan protocol: there is nothing to prepare and nothing to clean up."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _target(scope: Scope) -> tuple[str, list[tuple[str, str]]]:
    """The path and the headers of a request. Of an absolute target the host stands for the header (RFC 9112, 3.2.2)."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    path = scope["raw_path"].decode("latin-1")
    absolute = ABSOLUTE.fullmatch(path)
    if absolute is None:
        return path, headers
    others = [(name, value) for name, value in headers if name.lower() != "host"]
    return absolute["path"] or "/", [("host", absolute["host"]), *others]


async def _body(receive: Receive) -> bytes | None:
    """The request's body, or None if it is too large. Raises ``ClientGone`` where it does not come whole."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= REQUEST_MAX_BYTES:
            chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks) if size <= REQUEST_MAX_BYTES else None


async def _watch(receive: Receive, listener: Listener) -> None:
    """Wait until the client has gone; after the whole answer that means nothing any more."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.leave()


def _take_back(listener: Listener) -> None:
    try:
        listener.give_back()
    except Exception:  # nobody waits to hear of it, and locks end by themselves
        logger.exception("what a client did not wait for was not taken back")


def _response(answer: Event) -> Response:
    body = answer.get("body") or ""
    content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    single = (answer.get("headers") or {}).items()
    multiple = ((name, value) for name, values in (answer.get("multiValueHeaders") or {}).items() for value in values)
    headers = [(name.lower(), str(value)) for name, value in (*single, *multiple)]
    if content and not any(name == "content-type" for name, _ in headers):
        headers.append(JSON)
    return Response(answer["statusCode"], headers, content)


def _problem(status: int, error: str, message: str) -> Response:
    document = {"statusCode": status, "error": error, "message": message}
    return Response(status, [JSON], json.dumps(document).encode())


async def _send(response: Response, send: Send, listener: Listener, *, with_body: bool) -> None:
    """Answer; to a ``HEAD``, with all but the body.

    Who is gone before the last byte has not got it; who is gone after it, nobody can tell.
    """
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    if response.status != 204:
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    last = response.body if with_body else b""
    if listener.matters:
        await send({"type": "http.response.body", "body": last[:-1], "more_body": True})
        await asyncio.sleep(0)  # the watch sees what the sending met
        last = last[-1:]
    listener.reached()
    await send({"type": "http.response.body", "body": last})

"""The guard lets programs in and keeps browsers out; the counter tells writes from reads."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from chalicelib.local.guard import LoopbackGuard, WriteCounter

PORT = 4321
HOST = ("host", f"127.0.0.1:{PORT}")


class Answering:
    """An ASGI application that answers 200 with `body` and remembers the scopes that reached it."""

    def __init__(self, body: bytes = b"some answer") -> None:
        self.body = body
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.body})


def http(*headers: tuple[str, str], method: str = "POST", query: bytes = b"") -> dict[str, Any]:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "method": method, "query_string": query, "headers": encoded}


def call(app: Any, scope: dict[str, Any]) -> list[Any]:
    """What the application sends when it is called with this scope."""
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("neither the guard nor the counter reads a request")

    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.parametrize("host", ["127.0.0.1:4321", "localhost:4321", "LocalHost:4321", "[::1]:4321"])
def test_lets_programs_in(host: str) -> None:
    app = Answering()
    assert call(LoopbackGuard(app, PORT), http(("Host", host)))[0]["status"] == 200
    assert len(app.scopes) == 1


def test_lets_an_address_in_that_was_typed_into_a_browser() -> None:
    scope = http(HOST, ("sec-fetch-site", "none"), method="GET")
    assert call(LoopbackGuard(Answering(), PORT), scope)[0]["status"] == 200


@pytest.mark.parametrize("host", ["127.0.0.1:4321", "localhost:4321", "[::1]:4321"])
def test_lets_a_page_in_that_it_serves_itself(host: str) -> None:
    script = http(("host", host), ("origin", f"http://{host}"), ("sec-fetch-site", "same-origin"), method="GET")
    style = http(("host", host), ("sec-fetch-site", "same-origin"), method="GET")
    assert [call(LoopbackGuard(Answering(), PORT), each)[0]["status"] for each in (script, style)] == [200, 200]


@pytest.mark.parametrize(
    "headers",
    [
        [HOST, ("origin", "https://example.com")],
        [HOST, ("Origin", "null")],
        [HOST, ("origin", "")],
        [HOST, ("origin", "http://127.0.0.1")],
        [HOST, ("origin", "http://127.0.0.1:1234")],
        [HOST, ("origin", f"https://127.0.0.1:{PORT}")],
        [HOST, ("origin", f"http://127.0.0.2:{PORT}")],
        [HOST, ("origin", f"http://127.0.0.1.example.com:{PORT}")],
        [HOST, ("origin", f"http://example.com:{PORT}")],
        [HOST, ("origin", f"http://127.0.0.1:{PORT}"), ("origin", "https://example.com")],
        [HOST, ("origin", f"http://127.0.0.1:{PORT}"), ("sec-fetch-site", "cross-site")],
        [("host", f"example.com:{PORT}"), ("origin", f"http://127.0.0.1:{PORT}")],
        [("host", f"example.com:{PORT}"), ("origin", f"http://example.com:{PORT}"), ("sec-fetch-site", "same-origin")],
        [HOST, ("sec-fetch-site", "cross-site")],
        [HOST, ("sec-fetch-site", "same-site")],
        [HOST, ("sec-fetch-site", "none"), ("sec-fetch-site", "none")],
        [("host", f"example.com:{PORT}")],
        [("host", f"127.0.0.1.example.com:{PORT}")],
        [("host", f"bucket.localhost:{PORT}")],
        [("host", "127.0.0.1")],
        [("host", "127.0.0.1:1234")],
        [("host", f"127.0.0.2:{PORT}")],
        [("host", "")],
        [],
        [HOST, HOST],
        [HOST, ("Host", "example.com")],
        [HOST, ("upgrade", "WebSocket")],
        [HOST, ("upgrade", "h2c"), ("Upgrade", "websocket")],
    ],
)
def test_refuses_browsers_foreign_hosts_and_websockets(headers: list[tuple[str, str]]) -> None:
    app = Answering()
    assert call(LoopbackGuard(app, PORT), http(*headers))[0]["status"] == 403
    assert app.scopes == []


def test_lets_a_program_in_that_would_rather_speak_http_2() -> None:
    assert call(LoopbackGuard(Answering(), PORT), http(HOST, ("upgrade", "h2c")))[0]["status"] == 200


def test_says_what_it_expected_what_it_got_and_what_to_do() -> None:
    start, body = call(LoopbackGuard(Answering(), PORT), http(("host", "example.com\x1b[31m")))
    told = json.loads(body["body"])
    assert "127.0.0.1:4321" in told["expected"]
    assert "example.com" in told["got"]
    assert "AWS_ENDPOINT_URL" in told["remedy"]
    assert all(told[part] in told["message"] for part in ("expected", "got", "remedy"))
    assert b"\x1b" not in body["body"]
    assert (b"content-type", b"application/json") in start["headers"]


def test_shows_only_the_beginning_of_a_long_header() -> None:
    _, body = call(LoopbackGuard(Answering(), PORT), http(("host", "x" * 10_000)))
    assert len(body["body"]) < 1_500


def test_passes_the_lifespan_through() -> None:
    app = Answering()
    call(LoopbackGuard(app, PORT), {"type": "lifespan"})
    assert app.scopes == [{"type": "lifespan"}]


def writes_counted(scope: dict[str, Any], answer: bytes = b"some answer") -> int:
    counter = WriteCounter(Answering(answer))
    call(counter, scope)
    return counter.writes


@pytest.mark.parametrize(
    "target",
    [
        "DynamoDB_20120810.GetItem",
        "DynamoDB_20120810.BatchGetItem",
        "DynamoDB_20120810.TransactGetItems",
        "DynamoDB_20120810.Query",
        "DynamoDB_20120810.DescribeTable",
        "DynamoDBStreams_20120810.GetRecords",
        "AmazonSQS.GetQueueUrl",
        "AmazonSQS.ListQueues",
    ],
)
def test_does_not_count_reads(target: str) -> None:
    assert writes_counted(http(("x-amz-target", target))) == 0


@pytest.mark.parametrize(
    "target",
    [
        "DynamoDB_20120810.PutItem",
        "DynamoDB_20120810.TransactWriteItems",
        "AmazonSQS.SendMessage",
        "AmazonSQS.ReceiveMessage",
        "AmazonSQS.ChangeMessageVisibility",
    ],
)
def test_counts_writes(target: str) -> None:
    assert writes_counted(http(("x-amz-target", target))) == 1


def test_does_not_count_a_receive_that_returned_nothing() -> None:
    assert writes_counted(http(("x-amz-target", "AmazonSQS.ReceiveMessage")), answer=b"{}") == 0


@pytest.mark.parametrize(
    ("method", "query", "writes"),
    [("GET", b"list-type=2", 0), ("HEAD", b"", 0), ("PUT", b"", 1), ("DELETE", b"", 1), ("POST", b"", 1)],
)
def test_tells_s3_writes_by_the_method(method: str, query: bytes, writes: int) -> None:
    assert writes_counted(http(method=method, query=query)) == writes


def test_counts_a_get_that_names_an_action() -> None:
    assert writes_counted(http(method="GET", query=b"QueueUrl=x&Action=DeleteQueue")) == 1


def test_counts_a_write_when_it_has_ended() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        seen.append(counter.writes)

    counter = WriteCounter(app)
    call(counter, http(("x-amz-target", "DynamoDB_20120810.PutItem")))
    assert (seen, counter.writes) == ([0], 1)


def test_counts_a_write_once_before_the_end_of_its_answer_leaves() -> None:
    """Whoever has the answer finds its change counted, and so waits for a save that has it."""
    counter = WriteCounter(answers_in_parts)
    counted = []

    async def send(_: Any) -> None:
        counted.append(counter.writes)

    asyncio.run(counter(http(method="PUT"), no_body, send))
    assert (counted, counter.writes) == ([0, 0, 1], 1)


async def answers_in_parts(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"1", "more_body": True})
    await send({"type": "http.response.body", "body": b"2"})


async def no_body() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_counts_a_write_that_failed() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        raise RuntimeError("after half of the work")

    counter = WriteCounter(app)
    with pytest.raises(RuntimeError):
        call(counter, http(method="PUT"))
    assert counter.writes == 1

"""The emulator's front answers as MiniStack does, and leaves to it what it does not know."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from ministack import app as ministack
from ministack.core.responses import get_account_id, get_region

from chalicelib.local.emulator_front import Front, known_headers
from chalicelib.local.guard import Message, Receive, Scope, Send

SIGNED = "AWS4-HMAC-SHA256 Credential=111122223333/20261201/eu-west-1/dynamodb/aws4_request, SignedHeaders=host"
OF_EACH = {b"date", b"x-amzn-requestid", b"x-amz-request-id", b"x-amz-id-2"}

Answer = tuple[int, dict[bytes, bytes], bytes]


def scope(target: str = "DynamoDB_20120810.ListTables", **others: Any) -> Scope:
    headers = {"host": "127.0.0.1:4566", "x-amz-target": target, "authorization": SIGNED, **others.pop("headers", {})}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    asked = {"type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "client": None}
    return {**asked, "headers": encoded, **others}


def answered(app: Any, asked: Scope, body: bytes = b"{}") -> Answer:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(asked, receive, send))
    start, *parts = sent
    headers = {name.lower(): b"" if name.lower() in OF_EACH else value for name, value in start["headers"]}
    return start["status"], headers, b"".join(part["body"] for part in parts)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("DynamoDB_20120810.ListTables", b"{}"),
        ("DynamoDB_20120810.GetItem", b'{"TableName": "none", "Key": {}}'),
        ("DynamoDB_20120810.Nothing", b"{}"),
        ("DynamoDB_20120810.ListTables", b"{"),
        ("DynamoDB_20120810.ListTables", b"[]"),
        ("DynamoDBStreams_20120810.ListStreams", b"{}"),
        ("AmazonSQS.ListQueues", b"{}"),
        ("AmazonSQS.GetQueueUrl", b'{"QueueName": "none"}'),
    ],
)
def test_it_answers_as_ministack(target: str, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ministack, "_reset_lock", None)
    expected = answered(ministack.app, scope(target), body)
    monkeypatch.setattr(ministack, "_reset_lock", None)
    status, headers, content = answered(Front(ministack.app), scope(target), body)
    assert (status, content) == (expected[0], expected[2])
    if status != 500:  # a failure of the emulator itself has fewer headers there
        assert headers == expected[1]


def test_a_request_is_of_whoever_signed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(*_: Any) -> tuple[int, dict[str, str], str]:
        return 200, {}, json.dumps([get_account_id(), get_region()])

    monkeypatch.setitem(ministack.SERVICE_HANDLERS, "dynamodb", tell)
    monkeypatch.setattr(ministack, "_reset_lock", None)
    assert json.loads(answered(Front(ministack.app), scope())[2]) == ["111122223333", "eu-west-1"]


@pytest.mark.parametrize(
    "other",
    [
        {"type": "lifespan"},
        {"method": "GET"},
        {"path": "/queue"},
        {"query_string": b"Action=ListQueues"},
        {"target": "AWSEvents.PutRule"},
        {"target": ""},
        {"headers": {"authorization": ""}},
        {"headers": {"content-encoding": "gzip"}},
        {"headers": {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}},
        {"headers": {"x-amz-decoded-content-length": "2"}},
        {"headers": {"user-agent": "é"}},
    ],
)
def test_what_it_does_not_know_goes_ministacks_way(other: dict[str, Any]) -> None:
    passed: list[Scope] = []

    async def app(asked: Scope, _receive: Receive, _send: Send) -> None:
        passed.append(asked)

    asked = scope(**other)
    asyncio.run(Front(app)(asked, None, None))  # type: ignore[arg-type]  # nobody asks or answers
    assert passed == [asked]


def test_headers_that_come_twice_are_left_to_ministack() -> None:
    asked = scope()
    assert known_headers(asked) is not None
    assert known_headers({**asked, "headers": [*asked["headers"], (b"host", b"other")]}) is None


def test_while_it_is_reset_a_request_waits_as_all_do(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[Scope] = []

    async def app(asked: Scope, _receive: Receive, _send: Send) -> None:
        passed.append(asked)

    async def ask() -> None:
        monkeypatch.setattr(ministack, "_reset_lock", asyncio.Lock())
        async with ministack._get_reset_lock():
            await Front(app)(scope(), None, None)  # type: ignore[arg-type]  # nobody asks or answers

    asyncio.run(ask())
    assert len(passed) == 1

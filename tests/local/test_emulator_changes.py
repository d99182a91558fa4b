"""Who waits for a change of the embedded emulator hears of it at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from chalicelib.local import emulator_changes
from chalicelib.local.emulator_changes import CHANGES_PATH, ChangeBell
from chalicelib.local.guard import Receive, Scope, Send, WriteCounter


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await send({"type": "http.response.body", "body": b"done by the emulator"})


class Bell:
    """A bell over an emulator that does nothing, as requests see it."""

    def __init__(self) -> None:
        counter = WriteCounter(answering)
        self._app = ChangeBell(counter, counter)

    async def asks(self, path: str, query: str = "", target: str = "") -> Any:
        sent: list[bytes] = []

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        headers = [(b"x-amz-target", target.encode())] if target else []
        scope = {"type": "http", "path": path, "query_string": query.encode(), "headers": headers, "method": "POST"}
        await self._app(scope, receive, send)
        return b"".join(sent)

    async def changed(self, after: str) -> int:
        writes: int = json.loads(await self.asks(CHANGES_PATH, f"after={after}"))["writes"]
        return writes


def test_one_who_is_behind_is_answered_at_once() -> None:
    async def play() -> list[int]:
        bell = Bell()
        await bell.asks("/", target="DynamoDB_20120810.PutItem")
        return [await bell.changed(after) for after in ("0", "", "nonsense")]

    assert asyncio.run(play()) == [1, 1, 1]


def test_the_others_wait_for_the_next_write_and_no_read_wakes_them() -> None:
    async def play() -> tuple[bool, int, int]:
        bell = Bell()
        first, second = (asyncio.create_task(bell.changed("0")) for _ in range(2))
        await bell.asks("/", target="DynamoDB_20120810.GetItem")
        woken, _ = await asyncio.wait({first}, timeout=0)
        assert await bell.asks("/", target="AmazonSQS.SendMessage") == b"done by the emulator"
        return bool(woken), await first, await second

    assert asyncio.run(play()) == (False, 1, 1)


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator_changes, "WAIT_S", 0.01)
    assert asyncio.run(Bell().changed("0")) == 0

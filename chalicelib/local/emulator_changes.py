"""Telling who waits for it that something in the embedded emulator has changed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import parse_qs

from chalicelib.local.guard import AsgiApp, Receive, Scope, Send, WriteCounter, send_json

CHANGES_PATH = "/_taskyard/changes"
WAIT_S = 20.0


class ChangeBell:
    """ASGI middleware: ``GET /_taskyard/changes?after=N`` is answered once the number of writes is not N.

    The answer, ``{"writes"}``, says what it is then, or after 20 s.
    """

    def __init__(self, app: AsgiApp, counter: WriteCounter) -> None:
        self._app = app
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != CHANGES_PATH:
            await self._app(scope, receive, send)
            return
        after = parse_qs(scope["query_string"].decode("latin-1")).get("after", [""])[0]
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while after == str(self._counter.writes):
                    self._counter.written.clear()
                    await self._counter.written.wait()
        await send_json(200, {"writes": self._counter.writes}, send)

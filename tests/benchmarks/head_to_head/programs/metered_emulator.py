"""The embedded emulator, which counts the requests that it gets and says what it took (see ``meter``).

    python metered_emulator.py --port N

Everything else is ``chalicelib.local.emulator_process``, with its guard.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import meter

from chalicelib.local import emulator_process
from chalicelib.local.guard import AsgiApp, LoopbackGuard, Receive, Scope, Send

TARGET = b"x-amz-target"
JSON = [(b"content-type", b"application/json")]


class Counting:
    """Counts what ``app`` is asked, by operation, in front of the guard."""

    def __init__(self, app: AsgiApp, port: int) -> None:
        self._app = LoopbackGuard(app, port)
        self._requests: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"] == meter.PATH:
                await self._answer(send)
                return
            self._requests[_operation(scope["headers"])] += 1
        await self._app(scope, receive, send)

    async def _answer(self, send: Send) -> None:
        body: dict[str, Any] = {"cpu_s": time.process_time(), "requests": self._requests}
        await send({"type": "http.response.start", "status": 200, "headers": JSON})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def _operation(headers: Any) -> str:
    """The operation's name; of a request that names none in its head, ``other``."""
    target = next((value for name, value in headers if name == TARGET), b"other")
    return str(target.rpartition(b".")[2].decode())


emulator_process.LoopbackGuard = Counting  # type: ignore[assignment,misc]
emulator_process.main()

"""Makes every embedded emulator that is started with this folder on PYTHONPATH count what it is asked (see ``meter``).

Python imports a module of this name first of all, whatever it is to run; in other processes it does nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import Any

EMULATOR = "chalicelib.local.emulator_process"


def _meter() -> None:
    import meter

    from chalicelib.local import guard

    guarded = guard.LoopbackGuard

    class Counting(guarded):  # type: ignore[misc,valid-type]
        """The guard, behind a count of the signed requests by operation: no others are for AWS."""

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self._requests: Counter[str] = Counter()

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"] == meter.PATH:
                body = json.dumps({"cpu_s": time.process_time(), "requests": self._requests}).encode()
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": body})
                return
            if scope["type"] == "http":
                headers = dict(scope["headers"])
                if b"authorization" in headers:
                    self._requests[headers.get(b"x-amz-target", b"others").decode()] += 1
            await super().__call__(scope, receive, send)

    guard.LoopbackGuard = Counting


if EMULATOR in sys.orig_argv:
    _meter()

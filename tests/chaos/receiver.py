"""Who is told by a webhook, and writes down what came. It refuses now and then, or hangs up after it has heard."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

REFUSED = 0.005
HUNG_UP = 0.005


@dataclass(slots=True)
class Receiver:
    """What came: of each job the ids of its events, as they came first."""

    dice: Random
    url: str = ""
    came: dict[int, list[str]] = field(default_factory=dict)
    posts: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block, at ``url``."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                luck = receiver.luck()
                if luck >= REFUSED:
                    receiver.note(json.loads(body))
                if luck < REFUSED:
                    self.send_error(503)
                elif luck < REFUSED + HUNG_UP:
                    self.close_connection = True
                else:
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_address[1]}/in"
            try:
                yield
            finally:
                server.shutdown()
                thread.join()

    def luck(self) -> float:
        with self._lock:
            return self.dice.random()

    def note(self, told: dict[str, Any]) -> None:
        """An event that was heard."""
        with self._lock:
            self.posts += 1
            events = self.came.setdefault(int(told["job"]["id"]), [])
            if told["id"] not in events:
                events.append(told["id"])

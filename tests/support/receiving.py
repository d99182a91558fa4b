"""A server for webhooks, of which a test says how each is answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def receiving(answer: Callable[[bytes], int | None]) -> Iterator[str]:
    """The URL to which bodies are posted; ``answer`` returns the status of each, ``None`` to hang up."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = answer(self.rfile.read(int(self.headers["Content-Length"])))
            if status is None:
                self.close_connection = True
            elif status >= 400:
                self.send_error(status)
            else:
                self.send_response(status)
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/in"
        finally:
            server.shutdown()
            thread.join()

"""A proxy on a free port that hands requests on to an emulator and notes those of interest."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TIMEOUT_S = 60
HOP_HEADERS = {"connection", "content-length", "transfer-encoding", "host", "date", "server"}


@dataclass
class Recording:
    """Where the proxy answers, and what it saw."""

    url: str
    bodies: dict[str, list[bytes]] = field(default_factory=dict)  # by method and path


@contextmanager
def recording(endpoint_url: str) -> Iterator[Recording]:
    """A proxy of ``endpoint_url`` that notes every request's body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.bodies.setdefault(f"{self.command} {self.path}", []).append(body)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS}
            request = urllib.request.Request(  # noqa: S310  # a loopback address of our own
                endpoint_url + self.path, body or None, headers, method=self.command
            )
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                    self._answer(answer.status, dict(answer.headers), answer.read())
            except urllib.error.HTTPError as error:
                self._answer(error.code, dict(error.headers), error.read())

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in HOP_HEADERS:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output readable."""

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seen = Recording(f"http://127.0.0.1:{server.server_address[1]}")
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""What tests of Serendipity-Job's dialect do, in one word each, and a receiver of what is delivered."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlencode

from chalicelib.core.applications import digest_of, sign, signature_of
from tests.support.lambda_shapes import Time, sqs_event
from tests.support.service import HOST, Reply, Service

NAMES = ("app_key", "nonce", "timestamps", "payload", "signature")
TASK = {"content": {"amount": 5}, "timeout": 60_000, "name": "name"}


@dataclass(slots=True)
class Application:
    """A program elsewhere that knows its key and its secret, and signs what it asks for."""

    api: Service
    key: str
    secret: str
    name: str

    def headers(self, body: bytes, **other: str) -> dict[str, str]:
        """The five headers of a request, by the names that the document has; ``other`` replaces some."""
        signed = sign(self.key, self.secret, digest_of(body), self.api.clock.ms, os.urandom).to_send()
        return {**{name: signed[name] for name in NAMES}, **other}

    def post(self, path: str, body: Any) -> Reply:
        """A signed POST."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return sent(self.api, "POST", path, content, self.headers(content))

    def get(self, path: str, query: Mapping[str, Any]) -> Reply:
        """A signed GET."""
        return sent(self.api, "GET", f"{path}?{urlencode(query)}", b"", self.headers(b""))

    def create(self, task_no: str, **more: Any) -> int:
        """The id of a new task."""
        reply = self.post("/task/create", {"taskNo": task_no, **TASK, **more})
        assert (reply.status, reply.json["code"], reply.json["msg"]) == (200, 0, "ok!"), reply.text
        assert list(reply.json["data"]) == ["taskId"]
        assert type(reply.json["data"]["taskId"]) is int
        return int(reply.json["data"]["taskId"])

    def detail(self, task_id: int) -> dict[str, Any]:
        """What is shown of a task."""
        reply = self.get("/task/detail", {"id": task_id})
        assert (reply.status, reply.json["code"], reply.json["msg"]) == (200, 0, "ok!"), reply.text
        return dict(reply.json["data"])


def application(api: Service, link_url: str = "http://127.0.0.1:9/", **options: Any) -> Application:
    """A new application."""
    name = options.pop("appName", "billing")
    reply = api.post("/application/create", {"appName": name, "linkUrl": link_url, **options})
    assert reply.status == 200, reply.text
    assert reply.json["code"] == 0
    return Application(api, reply.json["data"]["appKey"], reply.json["data"]["secretKey"], name)


def sent(api: Service, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
    """One request whose header names are sent as they are, underscores included."""
    every = {"Host": HOST, "Content-Type": "application/json", **api.default_headers, **headers}
    answer = api.client.http.request(method, url, headers=every, body=body)
    found = {name.lower(): value for name, value in answer.headers.items()}
    return Reply(answer.status_code, answer.json_body, found, answer.body.decode())


def work_off(api: Service, most: int = 10, rounds: int = 1_000) -> None:
    """The worker, on all that the default pool's lane shows now, so many messages at a time; what returns is hidden."""
    while rounds and (messages := api.receive("default", most=most)):
        rounds -= 1
        response = api.module.worker(sqs_event(messages), Time())
        back = [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
        api.yard.transport.delete([message for message in messages if message.message_id not in back])


# -- the other side -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivered:
    """A request that came, its header names in lower case."""

    headers: Mapping[str, str]
    body: bytes
    at_s: float = field(default_factory=time.monotonic, compare=False)


@dataclass(slots=True)
class Receiver:
    """A server that notes what comes and gives its answers in turn, the last one for ever."""

    url: str
    answers: list[tuple[int, bytes, dict[str, str]]]
    seen: list[Delivered] = field(default_factory=list)

    def answer(self, status: int = 200, body: bytes = b"success", **headers: str) -> None:
        """What it answers from now on."""
        self.answers[:] = [(status, body, {name.replace("_", "-"): value for name, value in headers.items()})]

    @property
    def newest(self) -> Delivered:
        """The newest request."""
        return self.seen[-1]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of this machine; it answers ``success``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.seen.append(Delivered({name.lower(): value for name, value in self.headers.items()}, body))
            status, text, headers = found.answers[0]
            if len(found.answers) > 1:
                found.answers.pop(0)
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output readable."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Receiver(f"http://127.0.0.1:{server.server_address[1]}/tasks", [(200, b"success", {})])
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def is_signed(delivered: Delivered, secret: str) -> bool:
    """Whether a delivery is signed as the document says."""
    given = {name: delivered.headers[name] for name in NAMES}
    over = signature_of(secret, given["timestamps"], given["nonce"], given["payload"])
    return given["payload"] == digest_of(delivered.body) and given["signature"] == over

"""Hooks and webhooks over `taskyard up`: in order, again after kill -9, and signed."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_up import taskyard, words
from tests.support.handlers.hooked import TOLD
from tests.support.pages import code_of
from tests.support.up import running
from tests.support.waiting import becomes, until

Post = tuple[dict[str, str], bytes]


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Post]]]:
    """The URL of a server that takes what comes, and what came."""
    seen: list[Post] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen.append((headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/in?key=t0ken", seen
        server.shutdown()
        thread.join()


def test_events_arrive_in_order_and_after_kill_9(tmp_path: Path, receiver: tuple[str, list[Post]]) -> None:
    url, seen = receiver
    with running(tmp_path, "--workers", "1", TASKYARD_HANDLERS="tests.support.handlers") as service:
        where = ["--url", service.url]
        added = taskyard("webhooks", "add", url, "--events", "create,complete", "--type", "hooked", "--json", *where)
        made = json.loads(added.stdout)
        assert (made["events"], made["types"]) == ("complete, create", "hooked")
        task_id = service.create("hooked", {"n": 1}, targetId=str(tmp_path))
        told = ["create: None", "enqueue: None", "start: None", "start: None", "progress: None", "complete: {'n': 1}"]
        becomes(told, lambda: lines(tmp_path / TOLD))
        until(lambda: re.search(r"hooks-1 \(pid \d+\) was killed by SIGKILL", words(service.log)))
        until(lambda: len(seen) == 2)
        bodies = [json.loads(body) for _, body in seen]
        assert [(body["event"], body["job"]["id"]) for body in bodies] == [
            ("create", task_id),
            ("complete", task_id),
        ]
        assert bodies[1]["output"] == {"n": 1}
        page: dict[str, Any] = {}
        exec(code_of("hooks.md", "verify"), page)  # noqa: S102  # the page's own example
        headers, body = seen[1]
        assert page["is_from_taskyard"](made["secret"], headers, body, time.time())
        (listed,) = json.loads(taskyard("webhooks", "list", "--json", *where).stdout)
        assert listed == {key: value for key, value in made.items() if key != "secret"}
        assert listed["url"] == url.partition("?")[0]
        assert taskyard("webhooks", "remove", made["id"], *where).returncode == 0
        assert taskyard("webhooks", "remove", made["id"], *where).returncode == 1
        assert json.loads(taskyard("webhooks", "list", "--json", *where).stdout) == []
        for secret in (made["secret"], "t0ken"):
            assert secret not in words(service.log)


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []

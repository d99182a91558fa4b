"""A running Taskyard as its clients see it: over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from tests.support.waiting import DEADLINE_S


class Client:
    """Calls the service at ``url`` with ``headers``."""

    url: str
    endpoint_url: str  # of the AWS emulator below it
    headers: dict[str, str]
    stage: str

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request; returns the status and the parsed body."""
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  # a loopback address of our own
            self.url + path, content, {"Content-Type": "application/json", **self.headers}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def get(self, path: str) -> Any:
        """The body of a GET that must succeed."""
        status, body = self.call("GET", path)
        assert status == 200, body
        return body

    def post(self, path: str, body: Any) -> Any:
        """The body of a POST that must succeed."""
        status, answer = self.call("POST", path, body)
        assert status == 200, answer
        return answer

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/api/task/detail?id={task_id}")
        return found

    def create(self, task_type: str, given: Any, **more: Any) -> str:
        """Create a system task; returns its id."""
        body = {"type": task_type, "targetId": "t", "targetType": "test", "runnerType": "system", "input": given}
        return str(self.post("/api/task/create", body | more)["id"])

    def events(self, trace_id: str) -> list[dict[str, Any]]:
        """The trace's events so far."""
        status, found = self.call("GET", f"/mq/trace/{trace_id}")
        return found if status == 200 else []

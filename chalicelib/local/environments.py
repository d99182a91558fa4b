"""Invoking a Lambda function: in a process of its own, killed when it takes too long, replaced when it dies."""

from __future__ import annotations

import uuid
from typing import Any

from chalicelib.local.children import Child, Output
from chalicelib.local.functions import Limits
from chalicelib.local.lambda_events import Event

START_LIMIT_S = 120.0  # for a process that is being replaced, perhaps more than once


class InvocationFailed(Exception):
    """The function raised, overran its time or died; its text says which."""


class Environment:
    """One execution environment. It does one invocation at a time, for one thread."""

    def __init__(self, function: str, number: int, limits: Limits, output: Output) -> None:
        self.child = Child(f"{function}-{number}", "chalicelib.local.function_process", [function], output)
        self._timeout_s = limits.timeout_s

    @property
    def name(self) -> str:
        """The function's name and the environment's number."""
        return self.child.name

    def await_ready(self, timeout_s: float = START_LIMIT_S) -> bool:
        """Whether the process can be invoked; waits up to ``timeout_s`` for it, but not once it is stopped."""
        return self.child.ready(timeout_s) is not None

    def invoke(self, event: Event) -> Any:
        """What the function returns for ``event``; raises ``InvocationFailed``."""
        incarnation = self.child.ready(START_LIMIT_S)
        if incarnation is None:
            raise InvocationFailed("its process did not start")
        request = {"request_id": str(uuid.uuid4()), "event": event, "timeout_ms": self._timeout_s * 1_000}
        try:
            incarnation.channel.send(request)
            answer = incarnation.channel.receive(self._timeout_s)
        except TimeoutError as error:
            incarnation.kill()
            raise InvocationFailed(f"it took longer than {self._timeout_s} s and was killed") from error
        except (EOFError, OSError) as error:
            raise InvocationFailed("its process ended") from error
        if "error" in answer:
            raise InvocationFailed("it raised {type}: {message}".format_map(answer["error"]))
        return answer["result"]

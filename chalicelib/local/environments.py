"""Invoking a Lambda function: in a process of its own, killed when it takes too long, replaced when it dies."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from chalicelib.local.children import Child, Incarnation
from chalicelib.local.function_process import INTERRUPT, WIND_UP
from chalicelib.local.lambda_events import Event

START_LIMIT_S = 120.0  # for a process that is being replaced, perhaps more than once


class InvocationFailed(Exception):
    """The function raised, overran its time or died; its text says which."""


class Environment:
    """One execution environment: a ``child`` that runs `function_process`. It does one invocation at a time."""

    def __init__(self, child: Child, timeout_s: int) -> None:
        self.child = child
        self._timeout_s = timeout_s
        self._serving: Incarnation | None = None  # what does the present invocation; another may have taken over since

    @property
    def name(self) -> str:
        """The function's name and the environment's number."""
        return self.child.name

    def await_ready(self, timeout_s: float) -> bool:
        """Whether the process can be invoked; waits for it up to ``timeout_s``, but not once it is stopped."""
        return self.child.ready(timeout_s) is not None

    def wind_up(self) -> None:
        """Let the process begin no further job: what it has of a batch and has not begun is handed back."""
        self._order(WIND_UP)

    def interrupt(self) -> None:
        """End the handler that runs, if one does; its job runs again at once, elsewhere or later."""
        self._order(INTERRUPT)

    def _order(self, order: str) -> None:
        incarnation = self._serving or self.child.ready(0)
        if incarnation is not None:
            with suppress(OSError):  # it has just ended, so there is nothing left to wind up
                incarnation.channel.send({"order": order})

    def invoke(self, event: Event) -> Any:
        """What the function returns for ``event``; raises ``InvocationFailed``."""
        request = {"request_id": str(uuid.uuid4()), "event": event, "timeout_ms": self._timeout_s * 1_000}
        try:
            answer = self._answer(request)
        finally:
            self._serving = None
        if "error" in answer:
            raise InvocationFailed("it raised {type}: {message}".format_map(answer["error"]))
        return answer["result"]

    def _answer(self, request: Any) -> Any:
        while True:
            self._serving = incarnation = self.child.ready(START_LIMIT_S)
            if incarnation is None:
                raise InvocationFailed("its process did not start")
            try:
                incarnation.channel.send(request)
                return incarnation.channel.receive(self._timeout_s)
            except TimeoutError as error:
                self.child.abandon(incarnation)
                raise InvocationFailed(f"it took longer than {self._timeout_s} s and was killed") from error
            except (EOFError, OSError) as error:
                if self.child.is_retired(incarnation):  # it was renewed before it could take the event
                    continue
                self.child.abandon(incarnation)
                raise InvocationFailed("its process ended") from error

"""Invoking a Lambda function: in a process of its own, killed when it takes too long, replaced when it dies."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from chalicelib.local.children import Child, Incarnation
from chalicelib.local.function_process import INTERRUPT, WIND_UP
from chalicelib.local.lambda_events import Event

START_LIMIT_S = 120.0  # for a process that is being replaced, perhaps more than once
RECEIVE_LIMIT_S = 60.0  # to delete one batch and to receive another, with all tries: a process that takes longer hangs


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
        with self._serving_one():
            return _result(self._asked({"event": event}, self._timeout_s)[1])

    def work(self, batch: Mapping[str, Any], begun: Callable[[Mapping[str, Any]], None]) -> None:
        """Let the function work on a batch, which its process may have to fetch (see `function_process`).

        ``begun`` hears what that says of the batch, before the function's time begins to run. Raises
        ``InvocationFailed``.
        """
        with self._serving_one():
            incarnation, answer = self._asked(batch, RECEIVE_LIMIT_S)
            begun(answer)
            if answer["begun"]:
                try:
                    _result(self._heard(incarnation, self._timeout_s))
                except (EOFError, OSError) as error:
                    raise self._ended(incarnation) from error

    @contextmanager
    def _serving_one(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._serving = None

    def _asked(self, request: Mapping[str, Any], limit_s: float) -> tuple[Incarnation, Any]:
        """The first answer to a request, and the process that gave it."""
        document = {"request_id": str(uuid.uuid4()), "timeout_ms": self._timeout_s * 1_000, **request}
        while True:
            self._serving = incarnation = self.child.ready(START_LIMIT_S)
            if incarnation is None:
                raise InvocationFailed("its process did not start")
            try:
                incarnation.channel.send(document)
                return incarnation, self._heard(incarnation, limit_s)
            except (EOFError, OSError) as error:
                if not self.child.is_retired(incarnation):  # else it was renewed before it could take the request
                    raise self._ended(incarnation) from error

    def _heard(self, incarnation: Incarnation, limit_s: float) -> Any:
        try:
            return incarnation.channel.receive(limit_s)
        except TimeoutError as error:
            self.child.abandon(incarnation)
            raise InvocationFailed(f"it took longer than {limit_s} s and was killed") from error

    def _ended(self, incarnation: Incarnation) -> InvocationFailed:
        self.child.abandon(incarnation)
        return InvocationFailed("its process ended")


def _result(answer: Mapping[str, Any]) -> Any:
    if "error" in answer:
        raise InvocationFailed("it raised {type}: {message}".format_map(answer["error"]))
    return answer["result"]

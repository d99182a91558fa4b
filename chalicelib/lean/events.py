"""Who follows a call: this project itself, and whoever has added to botocore's handlers."""

from __future__ import annotations

import copy
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.session import Session

BOTOCORES_HANDLERS = "botocore.handlers"


class Events:
    """botocore's events of one service, each for all of its operations: ``before-send.sqs``."""

    def __init__(self) -> None:
        self._handlers: defaultdict[str, list[Callable[..., Any]]] = defaultdict(list)
        self._of_operations: dict[str, list[Callable[..., Any]]] = {}  # the same lists, by the events of operations

    def register(self, event: str, handler: Callable[..., Any]) -> None:
        """Call ``handler`` at an event, after those that are called already."""
        self._handlers[event].append(handler)

    def register_first(self, event: str, handler: Callable[..., Any]) -> None:
        """Call ``handler`` at an event, before those that are called already."""
        self._handlers[event].insert(0, handler)

    def emit(self, event: str, **told: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Tell an event of an operation, ``before-send.sqs.SendMessage``; returns who was told, with their answers."""
        handlers = self._of_operations.get(event)
        if handlers is None:
            handlers = self._of_operations[event] = self._handlers[event.rpartition(".")[0]]
        return [(handler, handler(**told)) for handler in handlers] if handlers else []


def events_for(session: Callable[[], Session]) -> Any:
    """What tells of a client's calls.

    Whoever follows the calls of every client, as moto does, has added to botocore's handlers. Without such there is
    nobody to tell: what botocore's own handlers do to these calls, the client does itself.
    """
    if not _somebody_follows():
        return Events()
    return copy.copy(session().get_component("event_emitter"))


def _somebody_follows() -> bool:
    """Whether among botocore's handlers, if those are loaded, is one that is not botocore's."""
    handlers = getattr(sys.modules.get(BOTOCORES_HANDLERS), "BUILTIN_HANDLERS", ())
    return any(not getattr(handler, "__module__", "").startswith("botocore.") for _, handler, *_ in handlers)

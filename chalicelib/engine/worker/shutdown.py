"""Shutting down in good order: what is not begun is handed back, what runs may end, and in the end is interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chalicelib.engine.interruptions import Interruption, Shutdown

stopping = threading.Event()
"""Set once this process shall begin nothing more."""

_runs: list[Callable[[Interruption], None]] = []
"""What the main thread runs, by how it is ended; a handler may run another task: the last is at work."""


def interrupt() -> None:
    """End the handler that runs, if one does; to be called in the main thread, by a signal's handler.

    Raises ``Shutdown`` in the handler, or cancels what it awaits. Between handlers nothing is interrupted: what is
    being recorded is recorded.
    """
    stopping.set()
    if _runs:
        _runs[-1](Shutdown("the worker shuts down"))


@contextmanager
def interruptible(end: Callable[[Interruption], None]) -> Iterator[None]:
    """The block is a handler's run, which ``interrupt`` may end, by ``end``.

    Only the main thread can be interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _runs.append(end)
    try:
        yield
    finally:
        _runs.pop()

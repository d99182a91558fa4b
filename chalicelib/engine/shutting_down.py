"""Shutting down in good order: what is not begun is handed back, what runs may end, and in the end is interrupted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Shutdown(BaseException):
    """The process ends, and the handler with it. Not an ``Exception``, so that a handler's own does not swallow it."""


stopping = threading.Event()
"""Set once this process shall begin nothing more."""

_running = threading.Event()


def interrupt() -> None:
    """End the handler that runs, if one does; to be called in the main thread, by a signal's handler.

    Raises ``Shutdown`` in the handler. Between handlers nothing is interrupted: what is being recorded is recorded.
    """
    stopping.set()
    if _running.is_set():
        raise Shutdown


@contextmanager
def interruptible() -> Iterator[None]:
    """The block is a handler's run: ``interrupt`` may end it."""
    _running.set()
    try:
        yield
    finally:
        _running.clear()

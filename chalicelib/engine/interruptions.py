"""What ends a run from outside, and is no failure of its handler.

None of these is an ``Exception``, so that a handler's own ``except Exception`` does not swallow it. The run remembers
which one it was (``Context.interrupted_by``), so that a handler that swallows or wraps it all the same changes nothing.
"""

from __future__ import annotations


class Interruption(BaseException):
    """The run ends here."""


class PollAgain(Interruption):
    """Not yet: the handler is called again after ``wait_ms``."""

    def __init__(self, wait_ms: int) -> None:
        super().__init__(f"again in {wait_ms} ms")
        self.wait_ms = wait_ms


class HandlerTimeout(Interruption):
    """The attempt overran its time. ``where``: what was interrupted."""

    def __init__(self, message: str, where: str | None = None) -> None:
        super().__init__(message)
        self.where = where


class Shutdown(Interruption):
    """The process ends, and the handler with it."""

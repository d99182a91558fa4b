"""Whoever sent a request and waits for its answer: whether they still do, and what to take back if they do not.

Only a server that sees the connection can tell; behind API Gateway everybody seems to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

Undo = Callable[[], object]


class Listener:
    """One such, shared by the server and the threads of the app."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_there = True
        self._reached = False
        self._undo: list[Undo] = []

    def is_there(self) -> bool:
        """Whether the answer is still waited for, as far as anybody knows."""
        return self._is_there

    @property
    def matters(self) -> bool:
        """Whether something is to be taken back if the answer reaches nobody."""
        return bool(self._undo)

    def otherwise(self, undo: Undo) -> None:
        """Call ``undo`` once it is known that the answer reaches nobody: now, or when ``give_back`` is called."""
        with self._lock:
            if self._is_there:
                self._undo.append(undo)
                return
        undo()

    def leave(self) -> None:
        """The server has seen that nobody waits any more; nothing happens if the answer was ``reached``."""
        with self._lock:
            self._is_there = self._reached

    def reached(self) -> None:
        """The answer is theirs: from here on nothing is taken back; nothing happens if they have left."""
        with self._lock:
            if self._is_there:
                self._reached = True
                self._undo.clear()

    def give_back(self) -> None:
        """Take back, once, whatever is to be taken back from somebody who has left. Takes as long as that takes."""
        with self._lock:
            undone, self._undo = self._undo, []
        for undo in undone:
            undo()

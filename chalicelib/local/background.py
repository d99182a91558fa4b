"""Something that goes on in a thread of its own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Background(ABC):
    """What goes on, once it has begun, until whoever began it says otherwise. It keeps no process alive."""

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def alive(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    @abstractmethod
    def _run(self) -> None:
        """All of it, in its thread."""

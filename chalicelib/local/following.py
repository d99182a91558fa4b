"""Following `taskyard up`: its workers elsewhere go on with it when its emulator comes back on another port."""

from __future__ import annotations

import threading
from collections.abc import Callable

LOOK_PAUSE_S = 2.0


class Follower:
    """Looks again and again where the emulator is, in a thread of its own, as the answer may take a while.

    ``ask`` returns where it is now, ``None`` while nobody tells; ``endpoint`` is where it was.
    """

    def __init__(self, ask: Callable[[], str | None], endpoint: str, pause_s: float = LOOK_PAUSE_S) -> None:
        self._ask = ask
        self._endpoint = endpoint
        self._pause_s = pause_s
        self._moved_to: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what is being asked is not waited for."""
        self._stopping.set()

    def moved_to(self) -> str | None:
        """Where the emulator is now, if that is somewhere else."""
        return self._moved_to

    def _look(self) -> None:
        while self._moved_to is None and not self._stopping.wait(self._pause_s):
            found = self._ask()
            if found is not None and found != self._endpoint:
                self._moved_to = found

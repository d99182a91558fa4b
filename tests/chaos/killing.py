"""Who dies, and when: processes of ``taskyard up``, by kill -9; what they ran has ended then."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from tests.support.up import Service

ROLES = ("worker", "worker", "worker", "worker", "api_process", "clock", "projector", "dead_letters")


@dataclass(slots=True)
class Killer:
    """Kills one process after the other, every ``pause_s`` on average."""

    service: Service
    dice: Random
    pause_s: float
    killed: dict[int, int] = field(default_factory=dict)  # a process id, and when (milliseconds since 1970)
    counts: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within the block."""
        ended = threading.Event()
        thread = threading.Thread(target=self._kill_on, args=(ended,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _kill_on(self, ended: threading.Event) -> None:
        while not ended.wait(self.dice.uniform(0, 2 * self.pause_s)):
            role = self.dice.choice(ROLES)
            pids = [pid for pid, command in self.service.children().items() if _role(command) == role]
            if not pids:
                continue
            pid = self.dice.choice(sorted(pids))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.killed[pid] = time.time_ns() // 1_000_000
            self.counts[role] += 1


def _role(command: str) -> str:
    words = [word for word in command.split() if not word.startswith("-")]
    module = next((word for word in words if word.startswith("chalicelib.local.")), "")
    last = module.rsplit(".", 1)[-1]
    return words[-1] if last == "function_process" else last

"""Who dies, and when: processes of an installation, by kill -9; what they ran has ended then."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.chaos.installations import Installation
from tests.chaos.progress import Progress

WEIGHTS = {"worker": 8, "api": 2, "clock": 1, "projector": 2, "dead_letters": 1, "hooks": 2}
WHOLE = "all at once"
ALONE = "supervisor alone"
WHOLE_SHARE = 0.03  # of all kills
LOOK_S = 0.1
REST_S = 0.5  # between two kills at least, so that something gets done


@dataclass(slots=True)
class Killer:
    """Kills one process for so many runs that were begun (``runs_per_kill``), whatever time these took."""

    installation: Installation
    progress: Progress
    dice: Random
    runs_per_kill: int
    killed: dict[int, int] = field(default_factory=dict)  # a process id, and when (milliseconds since 1970)
    counts: Counter[str] = field(default_factory=Counter)
    orphans_s: float = 0.0  # of processors, used by whom nobody waits for once its parent is dead
    failures: list[BaseException] = field(default_factory=list)

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
        for failure in self.failures:
            raise failure

    def _kill_on(self, ended: threading.Event) -> None:
        next_kill = self._until_next()
        try:
            while not ended.wait(LOOK_S):
                self.progress.look()
                if self.progress.begun >= next_kill:
                    next_kill = max(next_kill, self.progress.begun - 2 * self.runs_per_kill) + self._until_next()
                    self._kill()
                    ended.wait(REST_S)
        except BaseException as failure:
            self.failures.append(failure)

    def _until_next(self) -> int:
        return self.dice.randint(1, 2 * self.runs_per_kill)

    def _kill(self) -> None:
        if self.installation.restart is not None and self.dice.random() < WHOLE_SHARE:
            alone = self.dice.random() < 0.5
            self.counts[ALONE if alone else WHOLE] += 1
            self.orphans_s += sum(map(_used_s, self.installation.roles()))
            self.killed |= self.installation.restart(alone)
            return
        roles = {pid: role for pid, role in self.installation.roles().items() if role in WEIGHTS}
        if not roles:
            return
        present = sorted({*roles.values()})
        role = self.dice.choices(present, [WEIGHTS[each] for each in present])[0]
        pid = self.dice.choice(sorted(pid for pid, found in roles.items() if found == role))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed[pid] = time.time_ns() // 1_000_000
        self.counts[role] += 1


def _used_s(pid: int) -> float:
    """What a process has used of processors, itself; 0 where it is gone, or nothing tells (macOS)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""A process with all that it has started: what CPU it takes, by role; held still, and ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import descendants
from tests.support.waiting import until

TICKS_A_S = os.sysconf("SC_CLK_TCK")
QUIET_LOOKS = 10
LOOK_PAUSE_S = 0.05
QUIET_SHARE = 0.25  # of a core, and of the looks at a runnable process: more than an idle service on a busy machine
QUIET_DEADLINE_S = 60.0
SHOWN_CHARS = 4_000
EMULATOR = "emulator"
ROLES = (r"\bfunction_process (\w+)", r"\b(\w+)_process\b")


def cpu_s_of(stat: str) -> float:
    """The CPU in seconds of a process and of its children that have ended, from its line in /proc/PID/stat.

    Fields 14 to 17 of proc(5): utime, stime, cutime, cstime. The name, in brackets, may hold anything.
    """
    return sum(map(int, _fields(stat)[11:15])) / TICKS_A_S


def is_runnable(stat: str) -> bool:
    """Whether a process runs or would if it had a core, by its line in /proc/PID/stat: field 3, of its main thread."""
    return _fields(stat)[:1] == ["R"]


def _fields(stat: str) -> list[str]:
    """The fields behind the name; none of an empty line."""
    return stat.rpartition(")")[2].split()


def role_of(command: str) -> str:
    """What a process of Taskyard's does, by its command line; of any other, ``others``."""
    found = next(filter(None, (re.search(role, command) for role in ROLES)), None)
    return found[1] if found else "others"


@dataclass(slots=True)
class Family:
    """A process and all below it, which write to ``log``. ``head`` is the role of the first one."""

    process: subprocess.Popen[bytes]
    head: str
    log: Path

    def expect_alive(self) -> None:
        """Raise, with the end of what it wrote, if it has ended."""
        assert self.process.poll() is None, f"{self.head} has ended: {self.log.read_text()[-SHOWN_CHARS:]}"

    def roles(self) -> dict[int, str]:
        """The role of each process that runs."""
        below = {pid: role_of(command) for pid, command in descendants(self.process.pid).items()}
        return {self.process.pid: self.head, **below}

    def cpu_s(self, roles: Mapping[int, str]) -> dict[str, float]:
        """What CPU in seconds each role has taken until now."""
        taken: defaultdict[str, float] = defaultdict(float)
        for pid, role in roles.items():
            taken[role] += cpu_s_of(_stat(pid))
        return dict(taken)

    def await_quiet(self) -> None:
        """Wait until all of them together are all but idle, and not only kept from running by other programs."""
        until(self._is_quiet, QUIET_DEADLINE_S)

    def _is_quiet(self) -> bool:
        roles = self.roles()
        before, runnable = sum(self.cpu_s(roles).values()), 0
        for _ in range(QUIET_LOOKS):
            time.sleep(LOOK_PAUSE_S)
            runnable += any(is_runnable(stat) for stat in map(_stat, roles))
        taken_s = sum(self.cpu_s(roles).values()) - before
        return taken_s <= QUIET_SHARE * QUIET_LOOKS * LOOK_PAUSE_S and runnable <= QUIET_SHARE * QUIET_LOOKS

    @contextmanager
    def held_still(self, but: Collection[str] = ()) -> Iterator[None]:
        """Let none of them run within the block, except those of some roles."""
        pids = [pid for pid, role in self.roles().items() if role not in but]
        _send(signal.SIGSTOP, pids)
        try:
            yield
        finally:
            _send(signal.SIGCONT, reversed(pids))

    def kill(self) -> None:
        """End them all."""
        _send(signal.SIGKILL, list(self.roles()))
        self.process.wait()


def _stat(pid: int) -> str:
    """A process's line in /proc; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _send(number: signal.Signals, pids: Collection[int] | Iterator[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

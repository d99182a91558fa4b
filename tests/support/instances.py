"""Instances of Taskyard that share one emulator: programs that are killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.client import Client
from tests.support.processes import clean_environment, descendants, is_running
from tests.support.waiting import until

STOP_DEADLINE_S = 180.0


@dataclass
class Instance(Client):
    """`taskyard` with ``arguments``; of `taskyard up`, a client of its API, too, at ``url``."""

    arguments: list[str]
    log: Path
    environment: Mapping[str, str]
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    killed: set[int] = field(default_factory=set)  # all processes of it that were killed
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        self.log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "chalicelib.cli.main", *self.arguments]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env={**clean_environment(), **self.environment}
            )

    def await_ready(self) -> None:
        """Wait until it says that it is there."""
        until(self._says_so)

    def kill(self) -> None:
        """kill -9, of all of it at once; harmless if it has ended."""
        if self.process is None or self.process.poll() is not None:
            return
        pids = {self.process.pid, *descendants(self.process.pid)}
        for pid in pids:
            with suppress(ProcessLookupError):  # it has ended with its parent
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_DEADLINE_S)
        until(lambda: not any(is_running(pid) for pid in pids))
        self.killed |= pids

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait until it has ended by itself; returns the exit code."""
        assert self.process is not None
        return self.process.wait(STOP_DEADLINE_S)

    def workers(self) -> set[int]:
        """The process ids of its workers."""
        assert self.process is not None
        return {pid for pid, command in descendants(self.process.pid).items() if command.rstrip().endswith("worker")}

    def _says_so(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        return "Ctrl-C" in self.log.read_text()

"""Child processes that are there until they are stopped: one that ends by itself is started again.

A child is a module of this project with a channel to its parent (see `channel`). It greets when it is ready, and ends
when the channel does, so nothing is left behind even when the parent is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from chalicelib.local.channel import Channel, pair
from chalicelib.local.emulator import PROJECT_ROOT

GREETING_LIMIT_S = 60.0  # generous: on a busy machine, importing the app takes seconds
FIRST_PAUSE_S = 0.5  # before a child that never got ready is started again
LONGEST_PAUSE_S = 10.0


class Output(Protocol):
    """Where children's words go."""

    def line(self, name: str, text: str) -> None:
        """A child wrote a line."""
        ...

    def notice(self, text: str) -> None:
        """Something happened to a child."""
        ...


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One process of a child."""

    process: subprocess.Popen[bytes]
    channel: Channel

    def kill(self) -> None:
        """End it at once, with what it has started; harmless if it has ended."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its session is its own, so its group is, too


class Child:
    """A process and, when it ends unasked, its successors.

    ``module`` is run with ``arguments``, in this process's environment; file descriptors to be ``inherited`` keep
    their numbers.
    """

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], output: Output, inherited: Sequence[int] = ()
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", module, *arguments]
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._output = output
        self._inherited = inherited
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._current: Incarnation | None = None
        self._ready = False
        self._thread = threading.Thread(target=self._keep, name=f"{name}-keeper", daemon=True)

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        self._thread.start()

    def ready(self, timeout_s: float) -> Incarnation | None:
        """The running process once it is ready; None if that takes longer than ``timeout_s``, or it was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._stopping.is_set(), timeout_s)
            return self._current if self._ready else None

    def give_up(self, incarnation: Incarnation) -> None:
        """Kill a process, if it still runs, so that its successor is the next one to be ready."""
        with self._changed:
            if self._current is incarnation:
                self._ready = False
        incarnation.kill()

    def stop(self, grace_s: float) -> None:
        """Ask the process to end, kill it after ``grace_s``, and start no other."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
            current = self._current
        if current is not None:
            current.process.terminate()
            try:
                current.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                current.kill()
        if self._thread.ident is not None:
            self._thread.join()

    def kill(self) -> None:
        """End the process at once; waits for nothing. For a parent that ends itself next."""
        current = self._current
        if current is not None:
            current.kill()

    # -- the keeper's thread ------------------------------------------------------------------------

    def _keep(self) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            incarnation = self._spawn()
            if incarnation is None:
                return
            was_ready = self._greeted(incarnation)
            code = incarnation.process.wait()
            incarnation.kill()  # a program that a handler left running; Lambda would end it, too
            with self._changed:
                self._ready, self._current = False, None
                self._changed.notify_all()
            pause_s = 0.0 if was_ready else min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            if not self._stopping.is_set():
                self._report(incarnation.process.pid, code, pause_s)

    def _spawn(self) -> Incarnation | None:
        """A new process, unless the child was stopped in the meantime."""
        with self._changed:
            if self._stopping.is_set():
                return None
            channel, far_end = pair()
            with far_end:
                process = subprocess.Popen(  # noqa: S603 - nothing in the command comes from outside
                    self._command,
                    cwd=PROJECT_ROOT,
                    env=self._environment,
                    stdin=far_end.fileno(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=self._inherited,
                    start_new_session=True,  # Ctrl-C reaches the parent only, which winds up in order
                )
            self._current = Incarnation(process, channel)
        threading.Thread(target=self._relay, args=(process,), name=f"{self.name}-output", daemon=True).start()
        return self._current

    def _greeted(self, incarnation: Incarnation) -> bool:
        """Whether the process says that it is ready; one that does not in time is killed."""
        try:
            incarnation.channel.receive(GREETING_LIMIT_S)
        except TimeoutError:
            incarnation.kill()
            return False
        except (EOFError, OSError):  # it has ended
            return False
        with self._changed:
            self._ready = True
            self._changed.notify_all()
        return True

    def _relay(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        with process.stdout as lines:
            for line in lines:
                self._output.line(self.name, line.decode(errors="replace").rstrip("\n"))

    def _report(self, pid: int, code: int, pause_s: float) -> None:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        when = f"in {pause_s:g} s" if pause_s else "at once"
        self._output.notice(f"{self.name} (pid {pid}) {how}; it is started again {when}")

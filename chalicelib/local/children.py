"""Child processes that are there until they are stopped: one that ends by itself is started again.

A child is a module of this project with a channel to its parent (see `channel`). It greets when it is ready, and ends
when the channel does, so nothing is left behind even when the parent is killed.

A child may be renewed: another process, prepared beforehand (see `standby`), loads the handlers as they are saved now
and takes over, and the one before it ends what it has begun.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from chalicelib.core.errors import TaskyardError
from chalicelib.local.channel import LOAD, STANDBY, Channel, pair
from chalicelib.local.emulator import PROJECT_ROOT

GREETING_LIMIT_S = 60.0  # generous: on a busy machine, importing the app takes seconds
FIRST_PAUSE_S = 0.5  # before a child that never got ready is started again
LONGEST_PAUSE_S = 10.0
CHUNK_BYTES = 65_536  # what a pipe holds
LAST_WORDS_LIMIT_S = 2.0  # to read what an ended process has written; a program of its own may hold the pipe for ever


class Output(Protocol):
    """Where children's words go."""

    def lines(self, name: str, texts: Sequence[str]) -> None:
        """A child wrote lines, in this order."""
        ...

    def notice(self, text: str) -> None:
        """Something happened to a child."""
        ...


class NotLoaded(TaskyardError):
    """The handlers, as they are saved now, do not load."""


@dataclass(frozen=True, slots=True, eq=False)
class Incarnation:
    """One process of a child."""

    process: subprocess.Popen[bytes]
    channel: Channel
    relay: threading.Thread  # hands on what it writes

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
        self._next: Incarnation | None = None  # stands by
        self._retired: list[Incarnation] = []  # end what they have begun
        self._watchers: list[threading.Thread] = []

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        self._begin_keeping(None)

    def prepare(self) -> None:
        """Start the process that will stand by for the next renewal, without waiting for it."""
        with self._changed:
            if self._next is None:
                self._next = self._launch(STANDBY)

    def load(self) -> Any:
        """Let the process that stands by load the handlers; returns its greeting. Nothing has changed yet.

        One that is not prepared is started now. Raises ``NotLoaded``, which leaves the present process as it is.
        """
        self.prepare()
        incarnation = self._next
        if incarnation is None:
            raise NotLoaded(f"{self.name} is stopped")
        try:
            incarnation.channel.send(LOAD)
            answer = incarnation.channel.receive(GREETING_LIMIT_S)
        except (EOFError, OSError) as error:  # a TimeoutError is an OSError
            answer = {"broken": f"{self.name} ended, or took longer than {GREETING_LIMIT_S:g} s, as it loaded: {error}"}
        if "broken" in answer:
            incarnation.kill()
            incarnation.process.wait()
            self._next = None
            raise NotLoaded(answer["broken"])
        return answer

    def switch(self) -> None:
        """Let the process that has loaded the handlers take over; the one before it ends what it has begun."""
        with self._changed:
            incarnation, self._next = self._next, None
            if incarnation is None:
                return
            before, self._current, self._ready = self._current, incarnation, True
            if before is not None:
                self._retired.append(before)
            self._changed.notify_all()
        if self._stopping.is_set():
            incarnation.kill()
        self._begin_keeping(incarnation)
        if before is not None:
            before.process.terminate()

    def is_retired(self, incarnation: Incarnation) -> bool:
        """Whether another process has taken over from this one."""
        return incarnation in self._retired

    def ready(self, timeout_s: float) -> Incarnation | None:
        """The running process once it is ready; None if that takes longer than ``timeout_s``, or it was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._stopping.is_set(), timeout_s)
            return self._current if self._ready else None

    def abandon(self, incarnation: Incarnation) -> None:
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
            current, waiting = self._current, self._next
        if waiting is not None:
            waiting.kill()
            waiting.process.wait()
        deadline_at_s = time.monotonic() + grace_s
        for each in (current, *self._retired):
            if each is not None:
                each.process.terminate()
                try:
                    each.process.wait(max(0.0, deadline_at_s - time.monotonic()))
                except subprocess.TimeoutExpired:
                    each.kill()
        for watcher in self._watchers:
            watcher.join()

    def kill(self) -> None:
        """End every process at once; waits for nothing. For a parent that ends itself next."""
        for each in (self._current, self._next, *self._retired):
            if each is not None:
                each.kill()

    # -- the watching thread ------------------------------------------------------------------------

    def _begin_keeping(self, incarnation: Incarnation | None) -> None:
        watcher = threading.Thread(target=self._keep, args=(incarnation,), name=f"{self.name}-watcher", daemon=True)
        self._watchers.append(watcher)
        watcher.start()

    def _keep(self, renewed: Incarnation | None) -> None:
        """See to it that there is a process, the first being ``renewed`` if that is one; until it is renewed again."""
        pause_s = 0.0
        while renewed is not None or not self._stopping.wait(pause_s):
            incarnation = renewed or self._spawn()
            if incarnation is None:
                return
            was_ready = renewed is not None or self._greeted(incarnation)
            renewed = None
            code = incarnation.process.wait()
            incarnation.kill()  # a program that a handler left running; Lambda would end it, too
            incarnation.relay.join(LAST_WORDS_LIMIT_S)
            with self._changed:
                if incarnation in self._retired:
                    self._retired.remove(incarnation)
                    return
                self._ready, self._current = False, None
                self._changed.notify_all()
            pause_s = 0.0 if was_ready else min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            if not self._stopping.is_set():
                self._report(incarnation.process.pid, code, pause_s)

    def _spawn(self) -> Incarnation | None:
        """A new process, unless the child was stopped in the meantime."""
        with self._changed:
            self._current = self._launch()
            return self._current

    def _launch(self, *more: str) -> Incarnation | None:
        with self._changed:
            if self._stopping.is_set():
                return None
            channel, far_end = pair()
            with far_end:
                process = subprocess.Popen(  # noqa: S603 - nothing in the command comes from outside
                    [*self._command, *more],
                    cwd=PROJECT_ROOT,
                    env=self._environment,
                    stdin=far_end.fileno(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=self._inherited,
                    start_new_session=True,  # Ctrl-C reaches the parent only, which winds up in order
                )
        relay = threading.Thread(target=self._relay, args=(process,), name=f"{self.name}-output", daemon=True)
        relay.start()
        return Incarnation(process, channel, relay)

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
        begun: list[bytes] = []  # the pieces of a line that is not ended yet
        with process.stdout as stream:
            while chunk := os.read(stream.fileno(), CHUNK_BYTES):
                piece, *others = chunk.split(b"\n")
                begun.append(piece)
                if others:
                    *whole, rest = others
                    lines = [b"".join(begun), *whole]
                    begun = [rest]
                    self._output.lines(self.name, [line.decode(errors="replace") for line in lines])
        if last := b"".join(begun):
            self._output.lines(self.name, [last.decode(errors="replace")])

    def _report(self, pid: int, code: int, pause_s: float) -> None:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        when = f"in {pause_s:g} s" if pause_s else "at once"
        self._output.notice(f"{self.name} (pid {pid}) {how}; it is started again {when}")

"""A run of the local runtime in the foreground: until a signal, with what it says and where its logs go."""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import NoReturn, TextIO, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from chalicelib.core.errors import TaskyardError
from chalicelib.local import arenas
from chalicelib.local.logs import Log, NoticeHandler
from chalicelib.local.supervisor import Supervisor
from chalicelib.local.terminal import say
from infra.deploy.target import unreachable

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FAILED_EXIT_CODE = 1
UNREACHABLE_EXIT_CODE = 3  # nobody answers, as of every command
KILLED_EXIT_CODE = 130  # what a shell says of a program that Ctrl-C ended
LOOK_PAUSE_S = 0.5  # between two looks at whether everything is still there
TO_STDERR = "-"

T = TypeVar("T")


class Moved(Exception):
    """What this worked on is elsewhere now: its text says where."""


class Session:
    """One run, from the first process to the last. The main thread listens to signals while others work."""

    def __init__(
        self,
        supervisor: Supervisor,
        show_banner: Callable[[], None],
        shutdown_timeout_s: float,
        moved_to: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._moved_to = moved_to
        self._supervisor = supervisor
        self._shutdown_timeout_s = shutdown_timeout_s
        self._show_banner = show_banner
        self._signals: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._stops_asked = 0

    def run(self) -> int:
        """Start, wait, stop; returns the exit code. Raises ``Moved`` once ``moved_to`` names another place."""
        arenas.share()
        for each in STOP_SIGNALS:
            signal.signal(each, self._caught)
        try:
            self._while_attending(self._supervisor.start)
        except (TaskyardError, BotoCoreError, ClientError, ResponseParserError, OSError) as error:
            complain(unreachable(error) or str(error))
            self._while_attending(self._supervisor.stop)
            return FAILED_EXIT_CODE if unreachable(error) is None else UNREACHABLE_EXIT_CODE
        if not self._stops_asked:
            self._show_banner()
        self._wait_for_the_end()
        say(f"stopping; running handlers have {self._shutdown_timeout_s:g} s to end (Ctrl-C again kills everything)")
        return 0 if self._while_attending(self._supervisor.stop) else 1

    def _wait_for_the_end(self) -> None:
        while not self._stops_asked:
            self._attend(LOOK_PAUSE_S)
            failure = self._supervisor.failure()
            if failure is not None:
                complain(failure)
                self._end_now(1)
            place = self._moved_to()
            if place is not None:  # what runs could not be recorded: nobody is where it was
                self._supervisor.kill()
                raise Moved(place)

    def _caught(self, signal_number: int, _frame: FrameType | None) -> None:
        self._signals.put(signal_number)  # the one queue that a signal handler may use

    def _attend(self, timeout_s: float) -> None:
        """Wait for a signal, or for what is worked on to end. The second signal kills everything."""
        try:
            came = self._signals.get(timeout=timeout_s)
        except queue.Empty:
            return
        if came is not None:
            self._stops_asked += 1
        if self._stops_asked > 1:
            self._end_now(KILLED_EXIT_CODE)

    def _while_attending(self, work: Callable[[], T]) -> T:
        """Do ``work`` in a thread, and listen to signals meanwhile."""
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(work)
            done.add_done_callback(lambda _: self._signals.put(None))
            while not done.done():  # looked at again and again: the signal may interrupt another thread than this one
                self._attend(LOOK_PAUSE_S)
            return done.result()

    def _end_now(self, exit_code: int) -> NoReturn:
        """Kill every process and end this one, whatever its threads do."""
        self._supervisor.kill()
        sys.stdout.flush()
        os._exit(exit_code)


def complain(text: str) -> None:
    say(text, sys.stderr, fg="red")


@contextmanager
def logging_to(logs: str | None) -> Iterator[Log]:
    """Where the children's lines go, and this process's own warnings with them: all to the file ``logs``.

    "-": to standard error. Raises ``OSError`` where the file cannot be written.
    """
    with _log_file(logs) as file:
        log = Log(None if logs == TO_STDERR else sys.stderr, file)
        logging.getLogger("chalicelib.local").addHandler(NoticeHandler(log))
        # More lanes than connections in a pool: each is then made anew, which is no reason to worry anybody.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        yield log


def _log_file(logs: str | None) -> AbstractContextManager[TextIO | None]:
    if logs is None or logs == TO_STDERR:
        return nullcontext(sys.stderr if logs == TO_STDERR else None)
    return open(logs, "a", encoding="utf-8")

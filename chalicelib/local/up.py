"""`taskyard up`: run everything on this machine until told to stop."""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from types import FrameType
from typing import NoReturn, TextIO, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import settings
from chalicelib.core.errors import TaskyardError
from chalicelib.core.lanes import Band
from chalicelib.engine.handlers.registry import registry
from chalicelib.http.cors import origins
from chalicelib.local.emulator import HOST
from chalicelib.local.logs import Log, NoticeHandler
from chalicelib.local.supervisor import Plan, Supervisor
from chalicelib.local.terminal import say, styled
from infra.deploy import target
from infra.deploy.stages import choose_local_stage

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KILLED_EXIT_CODE = 130  # what a shell says of a program that Ctrl-C ended
LOOK_PAUSE_S = 0.5  # between two looks at whether everything is still there
TO_STDERR = "-"

T = TypeVar("T")


def up(plan: Plan, port: int, log_level: str, logs: str | None) -> int:
    """Run until a signal; returns the exit code: 0 after an orderly end, 1 when something failed.

    The API listens on ``port`` (0: any free one). All logs go to the file ``logs``, if it is not None ("-": standard
    error).
    """
    os.environ["TASKYARD_LOG_LEVEL"] = log_level
    choose_local_stage()
    target.find_handlers_here()
    if plan.reload:  # a file saved twice within a second may be taken for its own byte code
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with ExitStack() as resources:
        try:
            listener = resources.enter_context(_listen(port))
            log = _log(logs, resources.enter_context(_log_file(logs)))
            origins(settings.current().cors_origins)  # the API would refuse them again and again
            declared = registry()
        except (TaskyardError, OSError) as error:
            _complain(str(error))
            return 1
        supervisor = Supervisor(plan, listener, declared.queues, declared.batches, log)
        banner = partial(_show_banner, plan, listener, declared.queues)
        return _Session(supervisor, banner, plan.shutdown_timeout_s).run()


class PortTaken(TaskyardError):
    """Something else listens where the API shall."""


class _Session:
    """One run, from the first process to the last. The main thread listens to signals while others work."""

    def __init__(self, supervisor: Supervisor, show_banner: Callable[[], None], shutdown_timeout_s: float) -> None:
        self._supervisor = supervisor
        self._shutdown_timeout_s = shutdown_timeout_s
        self._show_banner = show_banner
        self._signals: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._stops_asked = 0

    def run(self) -> int:
        """Start, wait, stop; returns the exit code."""
        for each in STOP_SIGNALS:
            signal.signal(each, self._caught)
        try:
            self._while_attending(self._supervisor.start)
        except (TaskyardError, BotoCoreError, ClientError, OSError) as error:
            _complain(str(error))
            self._while_attending(self._supervisor.stop)
            return 1
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
                _complain(failure)
                self._end_now(1)

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


def _show_banner(plan: Plan, listener: socket.socket, queues: Mapping[str, Sequence[Band]]) -> None:
    """Say what runs where."""
    api = "http://{}:{}".format(*listener.getsockname()[:2])
    lanes = sum(len(bands) for bands in queues.values())
    say("Taskyard is up.", bold=True)
    for label, text in (
        ("API", api),
        ("console", f"{api}/console"),
        ("docs", f"{api}/docs"),
        ("emulator", f"{os.environ['AWS_ENDPOINT_URL']} (AWS_ENDPOINT_URL for the AWS CLI and SDKs)"),
        ("data", _data(plan)),
        ("workers", f"{plan.workers}, on {lanes} lanes of {', '.join(sorted(queues))}"),
        ("stop", "Ctrl-C"),
    ):
        say(f"  {label:<9}{styled(text, sys.stdout, fg='cyan')}")


def _complain(text: str) -> None:
    say(text, sys.stderr, fg="red")


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise PortTaken(
            f"port {port} of {HOST} cannot be had: {os.strerror(error.errno or 0).lower()}",
            remedy=f"end what listens there (another `taskyard up`?), or choose another: taskyard up --port {port + 1}",
        ) from error


def _log_file(logs: str | None) -> AbstractContextManager[TextIO | None]:
    if logs is None or logs == TO_STDERR:
        return nullcontext(sys.stderr if logs == TO_STDERR else None)
    return open(logs, "a", encoding="utf-8")


def _log(logs: str | None, file: TextIO | None) -> Log:
    """Where the children's lines go, and this process's own warnings with them."""
    log = Log(None if logs == TO_STDERR else sys.stderr, file)
    logging.getLogger("chalicelib.local").addHandler(NoticeHandler(log))
    # More lanes than connections in a pool: each is then made anew, which is no reason to worry anybody.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return log


def _data(plan: Plan) -> str:
    if plan.endpoint_url is not None:
        return "kept as the endpoint keeps it"
    if plan.data_dir is None:
        return "in memory, gone at the end (--data-dir DIR keeps it)"
    return str(plan.data_dir)

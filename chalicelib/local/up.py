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
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.text import Text

from chalicelib.core.errors import TaskyardError
from chalicelib.local import target
from chalicelib.local.emulator import HOST
from chalicelib.local.logs import Log, NoticeHandler

if TYPE_CHECKING:
    from chalicelib.core.lanes import Band
    from chalicelib.local.supervisor import Supervisor

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KILLED_EXIT_CODE = 130  # what a shell says of a program that Ctrl-C ended
LOOK_PAUSE_S = 0.5  # between two looks at whether everything is still there
TO_STDERR = "-"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    port: int  # 0: any free one
    workers: int
    endpoint_url: str | None  # None: the embedded emulator
    data_dir: Path | None  # None: nothing is kept
    log_level: str
    logs: str | None  # a file, or "-" for standard error
    clock_interval_s: float


def up(options: Options) -> int:
    """Run until a signal; answers the exit code: 0 after an orderly end, 1 when something failed."""
    console, complaints = Console(), Console(stderr=True)
    os.environ["TASKYARD_LOG_LEVEL"] = options.log_level
    target.choose_local_stage()
    _let_handlers_be_found_here()
    with ExitStack() as resources:
        try:
            listener = resources.enter_context(_listen(options.port))
            log = _log(options.logs, complaints, resources.enter_context(_log_file(options.logs)))
            queues = _declared_queues()
        except (TaskyardError, OSError) as error:
            complaints.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            return 1
        return _Session(options, listener, queues, log, console, complaints).run()


class PortTaken(TaskyardError):
    """Something else listens where the API shall."""


class _Session:
    """One run, from the first process to the last. The main thread listens to signals while others work."""

    def __init__(
        self,
        options: Options,
        listener: socket.socket,
        queues: Mapping[str, Sequence[Band]],
        log: Log,
        console: Console,
        complaints: Console,
    ) -> None:
        from chalicelib.local.supervisor import Plan, Supervisor

        plan = Plan(
            listener=listener,
            queues=queues,
            workers=options.workers,
            clock_interval_s=options.clock_interval_s,
            endpoint_url=options.endpoint_url,
            data_dir=options.data_dir,
        )
        self._options = options
        self._plan = plan
        self._supervisor: Supervisor = Supervisor(plan, log)
        self._console = console
        self._complaints = complaints
        self._signals: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._stops_asked = 0

    def run(self) -> int:
        """Start, wait, stop; answers the exit code."""
        for each in STOP_SIGNALS:
            signal.signal(each, self._caught)
        try:
            self._while_attending(self._supervisor.start)
        except (TaskyardError, BotoCoreError, ClientError) as error:
            self._complain(str(error))
            self._while_attending(self._supervisor.stop)
            return 1
        if not self._stops_asked:
            self._show_banner()
        self._wait_for_the_end()
        self._console.print("stopping: running handlers may end (once more to kill them)")
        return 0 if self._while_attending(self._supervisor.stop) else 1

    def _wait_for_the_end(self) -> None:
        while not self._stops_asked:
            self._attend(LOOK_PAUSE_S)
            failure = self._supervisor.failure()
            if failure is not None:
                self._complain(failure)
                self._end_now(1)

    def _complain(self, text: str) -> None:
        self._complaints.print(text, style="red", markup=False, highlight=False, soft_wrap=True)

    def _caught(self, signal_number: int, _frame: FrameType | None) -> None:
        self._signals.put(signal_number)  # the one queue that a signal handler may use

    def _attend(self, timeout_s: float | None) -> None:
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
            while not done.done():
                self._attend(None)
            return done.result()

    def _end_now(self, exit_code: int) -> None:
        """Kill every process and end this one, whatever its threads do."""
        self._supervisor.kill()
        sys.stdout.flush()
        os._exit(exit_code)

    def _show_banner(self) -> None:
        """Say what runs where."""
        api = "http://{}:{}".format(*self._plan.listener.getsockname()[:2])
        lanes = sum(len(bands) for bands in self._plan.queues.values())
        workers = f"{self._plan.workers}, on {lanes} lanes of {', '.join(sorted(self._plan.queues))}"
        self._console.print("Taskyard is up.", style="bold")
        for label, text in (
            ("API", api),
            ("docs", f"{api}/docs"),
            ("emulator", f"{os.environ['AWS_ENDPOINT_URL']} (AWS_ENDPOINT_URL for the AWS CLI and SDKs)"),
            ("data", _data(self._options)),
            ("workers", workers),
            ("stop", "Ctrl-C"),
        ):
            self._console.print(Text.assemble(f"  {label:<9}", (text, "cyan")), soft_wrap=True)


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


def _log(logs: str | None, complaints: Console, file: TextIO | None) -> Log:
    """Where the children's lines go, and this process's own warnings with them."""
    log = Log(None if logs == TO_STDERR else complaints, file)
    logging.getLogger("taskyard").addHandler(NoticeHandler(log))
    # More lanes than connections in a pool: each is then made anew, which is no reason to worry anybody.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return log


def _let_handlers_be_found_here() -> None:
    """Let this process and its children import from the current folder, where ``TASKYARD_HANDLERS`` may live."""
    sys.path.append(str(Path.cwd()))
    paths = [".", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths)


def _declared_queues() -> Mapping[str, Sequence[Band]]:
    # Imported late: the engine reads the settings when it is imported, and they have been chosen only now.
    from chalicelib.engine.registry import declared_queues

    return declared_queues()


def _data(options: Options) -> str:
    if options.endpoint_url is not None:
        return "kept as the endpoint keeps it"
    if options.data_dir is None:
        return "in memory, gone at the end (--data-dir DIR keeps it)"
    return str(options.data_dir)

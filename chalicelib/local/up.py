"""`taskyard up`: run everything on this machine until told to stop."""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table

from chalicelib.core.errors import TaskyardError
from chalicelib.local import target
from chalicelib.local.emulator import HOST
from chalicelib.local.logs import Log, NoticeHandler

if TYPE_CHECKING:
    from chalicelib.core.lanes import Band
    from chalicelib.local.supervisor import Supervisor

KILLED_EXIT_CODE = 130  # as a shell tells of a program that Ctrl-C ended
LOOK_PAUSE_S = 0.5  # between two looks at whether everything is still there
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TO_STDERR = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    port: int  # 0: any free one
    workers: int
    endpoint_url: str | None
    data_dir: Path | None
    log_level: str
    logs: str | None  # a file, or "-" for standard error
    clock_interval_s: float


class PortTaken(TaskyardError):
    """Something else listens where the API shall."""


def up(options: Options) -> int:
    """Run until a signal; answers the exit code: 0 after an orderly end, 1 when something failed."""
    console, complaints = Console(), Console(stderr=True)
    with ExitStack() as resources:
        try:
            listener = resources.enter_context(_listen(options.port))
            queues = _declared_queues(options)
            log = Log(*_log_targets(options, complaints, resources))
        except (TaskyardError, OSError) as error:
            complaints.print(str(error), style="red", markup=False)
            return 1
        _route_own_log(log)
        return _supervise(options, listener, queues, log, console, complaints)


def _supervise(
    options: Options,
    listener: socket.socket,
    queues: Mapping[str, Sequence[Band]],
    log: Log,
    console: Console,
    complaints: Console,
) -> int:
    from chalicelib.local.supervisor import Plan, Supervisor

    plan = Plan(
        listener=listener,
        queues=queues,
        workers=options.workers,
        clock_interval_s=options.clock_interval_s,
        endpoint_url=options.endpoint_url,
        data_dir=options.data_dir,
    )
    supervisor = Supervisor(plan, log)
    signals = _caught_signals()

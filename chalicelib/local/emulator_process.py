"""The embedded emulator's own process: MiniStack behind the guard, with its state kept in a folder.

    python -m chalicelib.local.emulator_process --port N [--data-dir DIR]

It listens on 127.0.0.1 only and ends on SIGTERM, on SIGINT, and at the end of its standard input: a pipe
whose other end its parent holds, so whichever way the parent dies, the emulator saves and follows.

What is used of MiniStack beyond its ASGI application is private to it and holds for the version that
pyproject.toml pins.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from chalicelib.local import (
    emulator_expressions,
    emulator_indexes,
    emulator_items,
    emulator_queues,
    emulator_streams,
    emulator_writes,
)
from chalicelib.local.emulator import HOST, REGION, EmulatorError, EmulatorHome
from chalicelib.local.emulator_apis import import_apis
from chalicelib.local.emulator_changes import ChangeBell
from chalicelib.local.emulator_code import share_code
from chalicelib.local.emulator_front import Front
from chalicelib.local.emulator_limits import limit
from chalicelib.local.emulator_saving import SaveGate, StateSaver
from chalicelib.local.emulator_state import LoadWatch, Snapshot, remove_unsaved_buckets
from chalicelib.local.guard import LoopbackGuard, WriteCounter
from chalicelib.local.http_server import serve

EXIT_DEADLINE_S = 30  # from being told to stop until the kernel ends the process, saved or not
KEEP_ALIVE_S = 75  # as MiniStack's own server
GARBAGE_THRESHOLDS = (10_000, 5, 1_000)  # what is stored is no garbage: it is hardly ever gone over, the new in ms

# What a shell may hold for other purposes. MiniStack would obey it, and its functions would get AWS_*.
FOREIGN_PREFIXES = ("AWS_", "DOCKER_", "LAMBDA_", "LOCALSTACK_", "MINISTACK_")
FOREIGN_NAMES = ("AUTH", "EDGE_PORT", "SERVICES", "USE_SSL")

logger = logging.getLogger("taskyard.emulator")


def main() -> None:
    """Serve until told to stop; ends with 0 if everything was saved, else with 1 and the reason on stderr."""
    arguments = _parse_arguments()
    home = EmulatorHome(arguments.data_dir.resolve()) if arguments.data_dir else None
    try:
        if home:
            home.take(arguments.port)
            Snapshot(home.state).install()
            remove_unsaved_buckets(home.state, home.objects)
        listening_fd = _listen(arguments.port) if arguments.listen_fd is None else arguments.listen_fd
    except EmulatorError as error:
        sys.exit(str(error))
    scratch = home.empty_scratch() if home else Path(tempfile.mkdtemp(prefix="taskyard-emulator-"))
    _set_environment(arguments.port, home, scratch)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    asyncio.run(_run(arguments.port, listening_fd, home, scratch))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="emulator_process", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True, help="the port to listen on, on 127.0.0.1")
    parser.add_argument("--listen-fd", type=int, help="an inherited socket that listens on that port already")
    parser.add_argument("--data-dir", type=Path, help="the folder to keep the state in; else only in memory")
    return parser.parse_args()


def _listen(port: int) -> int:
    """The descriptor of a new socket that listens on 127.0.0.1; raises EmulatorError if the port is taken."""
    try:
        return socket.create_server((HOST, port)).detach()
    except OSError as error:
        raise EmulatorError(
            f"cannot listen on port {port} of {HOST}", got=error.strerror, remedy="choose another --port"
        ) from error


def _set_environment(port: int, home: EmulatorHome | None, scratch: Path) -> None:
    """Say what MiniStack reads when it is imported."""
    for name in list(os.environ):
        if name.startswith(FOREIGN_PREFIXES) or name in FOREIGN_NAMES:
            del os.environ[name]
    os.environ.update(
        GATEWAY_PORT=str(port),
        BIND_HOST=HOST,
        MINISTACK_HOST=HOST,
        MINISTACK_REGION=REGION,
        LAMBDA_EXECUTOR="local",
        DOCKER_HOST=f"unix://{scratch}/no-docker",  # a socket that is not there is never waited for
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        LOG_LEVEL="WARNING",
        PERSIST_STATE="1" if home else "0",
        S3_PERSIST="1" if home else "0",
        TMPDIR=str(scratch),
    )
    tempfile.tempdir = str(scratch)
    if home:
        os.environ.update(STATE_DIR=str(home.state), S3_DATA_DIR=str(home.objects))


async def _run(port: int, listening_fd: int, home: EmulatorHome | None, scratch: Path) -> NoReturn:
    """Serve MiniStack until told to stop, then save and end the process."""
    from ministack.app import app as ministack

    limit()
    emulator_indexes.install()
    emulator_items.install()
    emulator_expressions.install()
    emulator_writes.install()
    emulator_queues.install()
    emulator_streams.install()
    import_apis()
    share_code()
    counter = WriteCounter(Front(ministack))
    saver = StateSaver(Snapshot(home.state), counter) if home else None
    gated = SaveGate(counter, saver) if saver else counter
    load = LoadWatch(LoopbackGuard(ChangeBell(gated, counter), port), on_failure=lambda: _leave(1, scratch))
    tasks = {
        asyncio.create_task(_stop_requested()),
        asyncio.create_task(serve(load, socket.socket(fileno=listening_fd), KEEP_ALIVE_S)),
        *({asyncio.create_task(saver.save_periodically())} if saver else ()),
    }
    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    failures = [task.exception() for task in ended if task.exception()]
    for failure in failures:
        logger.critical("The emulator failed.", exc_info=failure)
    # What is not loaded yet must not be saved: it would replace the state by nothing.
    saved = saver.save() if saver and load.done else True
    _leave(0 if saved and not failures else 1, scratch)


def _leave(code: int, scratch: Path) -> NoReturn:
    """End the process at once: no request slips in after the last save, no thread holds up the exit."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(code)


async def _stop_requested() -> None:
    """Return at the first signal or when the parent is gone; the process then has EXIT_DEADLINE_S left."""
    loop = asyncio.get_running_loop()
    requested = asyncio.Event()

    def request(*_: object) -> None:
        signal.alarm(EXIT_DEADLINE_S)  # ends the process even if the event loop is stuck
        loop.call_soon_threadsafe(requested.set)

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, request)
    signal.signal(signal.SIGINT, request)
    threading.Thread(target=_call_at_end_of_stdin, args=(request,), daemon=True).start()
    await requested.wait()


def _call_at_end_of_stdin(callback: Callable[[], None]) -> None:
    with suppress(OSError):  # a standard input that cannot be read has ended, too
        while os.read(0, 4_096):
            pass
    callback()


if __name__ == "__main__":
    main()

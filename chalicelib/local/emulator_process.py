"""The embedded emulator's own process: MiniStack behind the guard, with its state kept in a folder.

    python -m chalicelib.local.emulator_process --port N [--data-dir DIR]

It listens on 127.0.0.1 only and ends on SIGTERM, on SIGINT, and at the end of its standard input: a pipe
whose other end its parent holds, so whichever way the parent dies, the emulator saves and follows.

MiniStack keeps its state in memory and saves it only when it stops, one file a service. Here it is also
saved while it runs, so that a kill -9 costs seconds. All services are saved in one step of the event
loop, between two requests, and their files take effect together: a restart never finds a job in the tables
whose message is missing from the queues. S3 objects are written before their request is answered, so they
are never older than the tables that point to them. Nothing forces the disk (fsync): a power cut may cost
more than a kill.

What is used of MiniStack beyond its ASGI application is private to it and holds for the version that
pyproject.toml pins.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, cast

from chalicelib.local.emulator import HOST, REGION, EmulatorError, EmulatorHome
from chalicelib.local.guard import AsgiApp, LoopbackGuard, Message, Receive, Scope, Send, WriteCounter

SAVE_PAUSE_S = 1.0  # between two saves, at least
PAUSE_PER_SAVING = 9  # s of pause for each s of saving: at most a tenth of the time goes into it
EXIT_DEADLINE_S = 30  # from being told to stop until the kernel ends the process, saved or not
LOAD_DEADLINE_S = 3_600  # none in effect: the parent knows how much there is to load, and decides
KEEP_ALIVE_S = 75  # as MiniStack's own server

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
        listening_fd = _listen(arguments.port) if arguments.listen_fd is None else arguments.listen_fd
    except EmulatorError as error:
        sys.exit(str(error))
    scratch = home.empty_scratch() if home else Path(tempfile.mkdtemp(prefix="taskyard-emulator-"))
    _set_environment(arguments.port, home, scratch)
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

    counter = WriteCounter(ministack)
    saver = StateSaver(Snapshot(home.state), counter) if home else None
    load = LoadWatch(LoopbackGuard(counter, port), on_failure=lambda: _leave(1, scratch))
    tasks = {
        asyncio.create_task(_stop_requested()),
        asyncio.create_task(_serve(load, listening_fd)),
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


async def _serve(app: AsgiApp, listening_fd: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from hypercorn.typing import ASGIFramework

    config = Config()
    config.bind = [f"fd://{listening_fd}"]
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.startup_timeout = LOAD_DEADLINE_S
    config.loglevel = "WARNING"
    await serve(cast(ASGIFramework, app), config, shutdown_trigger=asyncio.Event().wait, mode="asgi")


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


class LoadWatch:
    """ASGI middleware that watches MiniStack load the saved state at its start; `done` says that it has.

    MiniStack logs what it cannot restore and goes on without it, and the next save would then replace the
    file for good. So a load that is not complete ends in `on_failure`, with nothing changed.
    """

    def __init__(self, app: AsgiApp, on_failure: Callable[[], None]) -> None:
        self._app = app
        self._on_failure = on_failure
        self._errors = _ErrorLog()
        self.done = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def check_and_send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._check()
            await send(message)

        try:
            await self._app(scope, receive, check_and_send)
        except Exception:  # which the server would only log, and then serve without the state
            logger.exception(
                "Expected to load the saved state, got an error; nothing was changed. "
                "Install the version of MiniStack that saved it, or choose another data folder."
            )
            self._on_failure()

    def _check(self) -> None:
        self._errors.detach()
        if self._errors.messages:
            raise RuntimeError("; ".join(self._errors.messages))
        _repair_loaded_state()
        self.done = True


class _ErrorLog(logging.Handler):
    """Collects the errors of those MiniStack loggers that report on loading, until detached."""

    SOURCES = ("ministack", "persistence")

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []
        for source in self.SOURCES:
            logging.getLogger(source).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def detach(self) -> None:
        for source in self.SOURCES:
            logging.getLogger(source).removeHandler(self)


def _repair_loaded_state() -> None:
    """Mend what MiniStack restores but should not have kept: the old port and the stream positions."""
    if sqs := _service("sqs"):
        _move_queues_to_this_port(sqs)
    if functions := _service("lambda_svc"):
        _restart_stream_readers(functions)


def _move_queues_to_this_port(sqs: Any) -> None:
    """Give every queue the URL that it would get today.

    URLs carry the port, and CreateQueue looks for a queue by its URL: after a change of port it would make
    a second queue of that name, empty, and hide the first with its messages.
    """
    for (account, region, url), queue in list(sqs._queues.all_items()):
        queue["url"] = sqs._queue_url_for_account(account, queue["name"])
        sqs._queues.set_scoped(account, region, queue["url"], sqs._queues.pop_scoped(account, region, url))
    sqs._rebuild_queue_name_index()


def _restart_stream_readers(functions: Any) -> None:
    """Let event source mappings read each stream from its new start.

    The records of a stream are not saved, but how many of them its readers have read is: they would skip
    as many new records.
    """
    positions = functions._dynamodb_stream_positions
    for scope, _ in list(positions.all_items()):
        positions.set_scoped(*scope, 0)


def _service(name: str) -> Any:
    """MiniStack's module of a service, or None while nothing has used it."""
    return sys.modules.get(f"ministack.services.{name}")


class StateSaver:
    """Saves MiniStack's state while it runs and when it stops. Belongs to the event loop's thread."""

    def __init__(self, snapshot: Snapshot, counter: WriteCounter) -> None:
        self._snapshot = snapshot
        self._counter = counter
        self._saved_writes = 0
        self._saving_s = 0.0

    async def save_periodically(self) -> NoReturn:
        """Save soon after every change, but for at most a tenth of the time."""
        while True:
            await asyncio.sleep(max(SAVE_PAUSE_S, self._saving_s * PAUSE_PER_SAVING))
            if self._counter.writes != self._saved_writes:
                self.save()

    def save(self) -> bool:
        """Save everything now; False, with the reason in the log, if that failed and the last save counts."""
        started_s = time.monotonic()
        writes = self._counter.writes
        try:
            self._snapshot.write(_state_files())
        except Exception:  # a full disk, or one of MiniStack's threads changed what was being written
            logger.exception("Expected to save the state, got an error; the last save counts until the next.")
            return False
        finally:
            self._saving_s = time.monotonic() - started_s
        self._saved_writes = writes
        return True


def _state_files() -> dict[str, str]:
    """The state of every service in use, by file name, in the format that MiniStack loads."""
    from ministack.app import _build_persistence_save_dict
    from ministack.core.persistence import _json_default, _state_format_version

    files = {}
    with _without_copying("dynamodb"), _without_copying("sqs"):
        for service, get_state in _build_persistence_save_dict().items():
            state = get_state()
            if state is not None:  # else the service could not be loaded, and keeps its file
                document = {"__ministack_format__": _state_format_version(service), "payload": state}
                files[f"{service}.json"] = json.dumps(document, default=_json_default)
    return files


@contextmanager
def _without_copying(name: str) -> Iterator[None]:
    """Let a service hand out its state itself instead of a deep copy, which takes longer than all the rest.

    It is turned into text at once, in the thread that serves requests, so nothing changes it in between.
    10,000 jobs are copied in 1 s and turned into text in 0.15 s.
    """
    service = _service(name)
    if service is None:
        yield
        return
    copying = service.copy
    service.copy = _NoCopying
    try:
        yield
    finally:
        service.copy = copying


class _NoCopying:
    """Stands in for the copy module."""

    @staticmethod
    def deepcopy(value: object) -> object:
        return value


class Snapshot:
    """Replaces the files of a folder together, whenever the process is killed.

    New files are written aside, take effect by one rename, and are then moved into the folder one by one;
    `install` completes that. Files that a snapshot does not contain stay as they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unfinished = folder.with_name(f"{folder.name}.unfinished")
        self._committed = folder.with_name(f"{folder.name}.committed")

    def write(self, texts: Mapping[str, str]) -> None:
        """Replace the files of these names. Raises OSError."""
        self.install()
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir()
        for name, text in texts.items():
            (self._unfinished / name).write_text(text)
        self._unfinished.rename(self._committed)
        self.install()

    def install(self) -> None:
        """Move a snapshot that has taken effect into the folder, which is made if it is missing."""
        self._folder.mkdir(exist_ok=True)
        if self._committed.exists():
            for file in self._committed.iterdir():
                file.replace(self._folder / file.name)
            self._committed.rmdir()


if __name__ == "__main__":
    main()

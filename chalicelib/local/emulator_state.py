"""What the embedded emulator keeps in a folder: loading it, mending it, writing it.

MiniStack keeps its state in memory and saves it only when it stops, one file a service. Here it is also
saved while it runs (`emulator_saving`), so that a kill -9 costs seconds. All services are saved in one step of the
event loop, between two requests, and their files take effect together: a restart never finds a job in the tables
whose message is missing from the queues. S3 objects are written before their request is answered, so they
are never older than the tables that point to them. Nothing forces the disk (fsync): a power cut may cost
more than a kill.
"""

from __future__ import annotations

import ast
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chalicelib.local.guard import AsgiApp, Message, Receive, Scope, Send

ACCOUNT_DIGITS = 12  # of AWS's account ids, the folders of which hold those of their buckets

logger = logging.getLogger("taskyard.emulator")


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


def remove_unsaved_buckets(state: Path, objects: Path) -> None:
    """Remove the folders in ``objects`` of buckets that were made after the last save, before MiniStack looks there.

    It would make buckets of them again, without the stack that they belong to, which could then not be made any more.
    """
    saved = _saved_buckets(state / "s3.json")
    for folder in objects.glob(f"{'[0-9]' * ACCOUNT_DIGITS}/*"):
        if (folder.parent.name, folder.name) not in saved:
            logger.warning("The bucket %s is younger than the last save; it is removed.", folder.name)
            shutil.rmtree(folder)


def _saved_buckets(file: Path) -> set[tuple[str, str]]:
    """The account and the name of each bucket in a file that MiniStack's S3 is saved in."""
    if not file.exists():
        return set()
    saved = json.loads(file.read_text())["payload"]["buckets_meta"]["data"]
    keys = (key.split("\0") for key in saved)
    return {(account, ast.literal_eval(name)) for account, name in keys}


def state_files() -> dict[str, str]:
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
        """Replace the files of these names. Raises OSError, with the files as they were and nothing left beside."""
        self.install()
        shutil.rmtree(self._unfinished, ignore_errors=True)
        try:
            self._unfinished.mkdir()
            for name, text in texts.items():
                (self._unfinished / name).write_text(text)
            self._unfinished.rename(self._committed)
        except OSError:
            shutil.rmtree(self._unfinished, ignore_errors=True)  # a full disk is not kept full
            raise
        self.install()

    def install(self) -> None:
        """Move a snapshot that has taken effect into the folder, which is made if it is missing."""
        self._folder.mkdir(exist_ok=True)
        if self._committed.exists():
            for file in self._committed.iterdir():
                file.replace(self._folder / file.name)
            self._committed.rmdir()

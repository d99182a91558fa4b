"""Saving what the embedded emulator holds while it runs, and accepting nothing that could not be kept.

A save can fail: a full disk, a folder that is gone or may not be written. What is accepted from then on is in memory
only, so it is told (``STATUS_PATH``), and after ``REFUSE_AFTER_S`` every change is refused until a save succeeds again,
as Redis does it (stop-writes-on-bgsave-error). Reads are served throughout. Whoever must know that what was accepted
is saved learns there how many writes are, and may ask for a save (POST).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qs
from uuid import uuid4

from chalicelib.local.emulator_state import Snapshot, state_files
from chalicelib.local.guard import AsgiApp, Message, Receive, Scope, Send, WriteCounter, action_of, is_read, send_json

STATUS_PATH = "/_taskyard/saving"
NEWS_WAIT_S = 20.0  # for which who knows how the saving goes may wait for a change of that
NEWS_PAUSE_S = 0.25  # between two looks for them
SAVE_PAUSE_S = 1.0  # between two saves, at least
LONGEST_PAUSE_S = 4.0  # whatever there is to save
PAUSE_PER_SAVING = 9  # s of pause for each s of saving: a tenth of the time goes into it, up to the longest pause
SAVE_TRIES = 3  # where one of MiniStack's threads changes what is being written
REFUSE_AFTER_S = 5.0  # from the first save that failed
EMPTY_RECEIVE_PAUSE_S = 1.0  # so that consumers do not ask again at once
INSUFFICIENT_STORAGE = 507  # RFC 4918, 11.5; AWS SDKs do not try again on it

logger = logging.getLogger("taskyard.emulator")


@dataclass(frozen=True, slots=True)
class Saving:
    """How the saving goes: why the last save failed, or None, and whether changes are refused for it."""

    failure: str | None
    refusing: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the state is saved: of the ``writes`` that this run has counted, a save has ``saved_writes``."""

    run: str
    writes: int
    saved_writes: int


class StateSaver:
    """Saves MiniStack's state while it runs and when it stops. Belongs to the event loop's thread."""

    def __init__(self, snapshot: Snapshot, counter: WriteCounter) -> None:
        self._snapshot = snapshot
        self._counter = counter
        self._run = uuid4().hex
        self._saved_writes = 0
        self._saving_s = 0.0
        self._failure: str | None = None
        self._failing_since_s = 0.0

    async def save_periodically(self) -> NoReturn:
        """Save soon after every change: at most ``LONGEST_PAUSE_S`` seconds after the last save has ended."""
        while True:
            await asyncio.sleep(min(max(SAVE_PAUSE_S, self._saving_s * PAUSE_PER_SAVING), LONGEST_PAUSE_S))
            self.save_changes()

    def save_changes(self) -> None:
        """Save, if something has changed since the last save."""
        if self._counter.writes != self._saved_writes:
            self.save()

    def save(self) -> bool:
        """Save everything now; False, with the reason in the log, if that failed and the last save counts."""
        started_s = time.monotonic()
        writes = self._counter.writes
        try:
            self._snapshot.write(_whole_state())
        except Exception as error:
            logger.exception("Expected to save the state, got an error; the last save counts until the next.")
            if self._failure is None:
                self._failing_since_s = started_s
            self._failure = f"{type(error).__name__}: {error}"
            return False
        finally:
            self._saving_s = time.monotonic() - started_s
        self._saved_writes, self._failure = writes, None
        return True

    def state(self) -> Saving:
        """How the saving goes."""
        failing_s = time.monotonic() - self._failing_since_s
        return Saving(self._failure, self._failure is not None and failing_s >= REFUSE_AFTER_S)

    def progress(self) -> Progress:
        """How far everything is saved now."""
        return Progress(self._run, self._counter.writes, self._saved_writes)


def _whole_state() -> dict[str, str]:
    for _ in range(SAVE_TRIES - 1):
        try:
            return state_files()
        except RuntimeError:  # a dictionary changed its size meanwhile
            logger.info("The state changed while it was being written; it is written anew.")
    return state_files()


class SaveGate:
    """ASGI middleware: tells how the saving goes, and refuses what could not be kept.

    A refused change is answered 507; who receives from a queue finds it empty. An S3 object goes to disk before its
    request is answered, and MiniStack would answer 200 without: that is 507, too.
    """

    def __init__(self, app: AsgiApp, saver: StateSaver) -> None:
        self._app = app
        self._saver = saver
        logging.getLogger("s3").addHandler(_LostObjects())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = self._saver.state()
        if scope["path"] == STATUS_PATH:
            await self._answer(scope, send)
        elif state.refusing and not is_read(scope):
            await _refuse(f"the data cannot be saved: {state.failure}", scope, receive, send)
        else:
            await self._pass_on(scope, receive, send)

    async def _answer(self, scope: Scope, send: Send) -> None:
        if scope["method"] == "POST":
            self._saver.save_changes()
        news = await self._news(scope["query_string"])
        await send_json(200, {**news, **asdict(self._saver.progress())}, send)

    async def _news(self, query: bytes) -> dict[str, Any]:
        """How the saving goes; who brings a former answer (``?known=``) waits for another one, for up to 20 s."""
        known = parse_qs(query.decode("latin-1")).get("known")
        ends_at_s = time.monotonic() + NEWS_WAIT_S
        while [json.dumps(found := asdict(self._saver.state()))] == known and time.monotonic() < ends_at_s:
            await asyncio.sleep(NEWS_PAUSE_S)
        return found

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        lost: list[str] = []
        _lost_objects.set(lost)
        refused = False

        async def check_and_send(message: Message) -> None:
            nonlocal refused
            if lost and message["type"] == "http.response.start":
                refused = True
                await _send_refusal(lost[0], send)
            if not refused:
                await send(message)

        await self._app(scope, receive, check_and_send)


_lost_objects: ContextVar[list[str]] = ContextVar("lost_objects")


class _LostObjects(logging.Handler):
    """Notes for the request at hand that MiniStack did not get an object to disk, of which it only warns."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        lost = _lost_objects.get(None)
        if lost is not None and str(record.msg).startswith("Failed to persist S3 object"):
            lost.append(record.getMessage())


async def _refuse(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body", False):  # an SDK hears of an answer once it has sent its request
        pass
    if action_of(scope) == "ReceiveMessage":
        await asyncio.sleep(EMPTY_RECEIVE_PAUSE_S)
        await send_json(200, {}, send)
    else:
        await _send_refusal(reason, send)


async def _send_refusal(reason: str, send: Send) -> None:
    await send_json(INSUFFICIENT_STORAGE, {"__type": "InsufficientStorage", "message": reason}, send)

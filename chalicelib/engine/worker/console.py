"""What the handler of a task prints and logs: it goes where it always went; its newest part is kept with the task, too.

Heard is what is written to ``sys.stdout`` and ``sys.stderr``, and what any logger passes on, while the run is on: by
the thread that runs, by what it awaits, and by threads that it has started (the newest run of the process gets these).
Not heard are other processes, what is written to file descriptors, and the service's own lines.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from chalicelib.core.job import Job
from chalicelib.core.texts import readable
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.job_details import CONSOLE_MAX_BYTES, ConsoleLine

WRITES_KEPT = 1_024  # in memory; a print is two
LINE_MAX_CHARS = 2_000
STDOUT, STDERR, LOG = "stdout", "stderr", "log"  # where a line came from

_PACKAGE = Path(__file__).parents[1]
_OWN, _USERS = f"{_PACKAGE}/", f"{_PACKAGE / 'tasks'}/"


class Console:
    """The newest of what one run has written. Any thread may write."""

    def __init__(self, attempt: int, now_ms: Callable[[], int]) -> None:
        self._attempt = attempt
        self._now_ms = now_ms
        self._written: deque[tuple[int, str, str]] = deque(maxlen=WRITES_KEPT)  # its append needs no lock

    def write(self, source: str, text: str) -> None:
        """Take what was written."""
        self._written.append((self._now_ms(), source, text[-CONSOLE_MAX_BYTES:]))

    def hear_again(self, other: Console) -> None:
        """Take what another has heard: what a call prints that runs several jobs is every one's."""
        self._written.extend(other._written)

    def lines(self) -> list[ConsoleLine]:
        """The newest lines, the oldest first, each with the time at which it was begun."""
        lines: list[ConsoleLine] = []
        begun: dict[str, tuple[int, str]] = {}  # by source, what no line break has ended yet
        for at_ms, source, text in list(self._written):
            since_ms, start = begun.pop(source, (at_ms, ""))
            *ended, rest = (start + text)[-CONSOLE_MAX_BYTES:].split("\n")
            lines += [self._line(since_ms, source, line) for line in ended]
            if rest:
                begun[source] = (at_ms if ended else since_ms, rest)
        return lines + [self._line(since_ms, source, rest) for source, (since_ms, rest) in begun.items()]

    def _line(self, at_ms: int, source: str, text: str) -> ConsoleLine:
        shown = text.rstrip("\r").rsplit("\r", 1)[-1]  # what a terminal shows of a bar that is drawn again and again
        return ConsoleLine(at_ms, self._attempt, source, readable(shown, LINE_MAX_CHARS))


@contextmanager
def listening(console: Console) -> Iterator[None]:
    """Within the block, ``console`` hears what is written."""
    with _changing:
        _open.append(console)
        _install()
    before = _mine.set(console)
    try:
        yield
    finally:
        _mine.reset(before)
        with _changing:
            _open.remove(console)
            if not _open:
                _uninstall()


def keep(yard: Yard, job: Job, console: Console) -> None:
    """Keep what a run has written; one DynamoDB write, none for a run that was silent.

    That it fails is logged and changes nothing: it is no part of how the run went.
    """
    try:
        lines = console.lines()
        if lines:
            yard.job_details.write_console(job.id, job.attempts, lines)
    except Exception:
        logger.exception("what the handler printed is not kept", extra={"job_id": job.id})


def read(yard: Yard, job: Job) -> list[ConsoleLine]:
    """What the newest attempts have written, the oldest line first; of a job that never ran, nothing is read."""
    return yard.job_details.console(job.id) if job.attempts else []


# -- how it is heard --------------------------------------------------------------------------------------

_mine: ContextVar[Console | None] = ContextVar("console", default=None)
_open: list[Console] = []  # the newest last
_changing = threading.RLock()


def _hear(source: str, text: str) -> None:
    console = _mine.get() or next(iter(_open[-1:]), None)
    if console is not None and text:
        console.write(source, text)


class _Stream:
    """A stream that is heard; in all else it is the stream that it stands for, also for who keeps it beyond a run."""

    def __init__(self, stream: TextIO, source: str) -> None:
        self.stream = stream
        self._source = source

    def write(self, text: str) -> int:
        """See ``TextIO``."""
        written = self.stream.write(text)
        _hear(self._source, text)
        return written

    def writelines(self, texts: Iterable[str]) -> None:
        """See ``TextIO``."""
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Records(logging.Handler):
    """Hears what loggers pass on, but for the service's own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        if record.pathname.startswith(_OWN) and not record.pathname.startswith(_USERS):
            return
        try:
            _hear(LOG, f"{self.format(record)}\n")
        except Exception:  # of what is logged, which is user code
            self.handleError(record)


_records = _Records()
_records.setFormatter(logging.Formatter(logging.BASIC_FORMAT))


def _install() -> None:
    """Without handlers at the root, loggers write to ``sys.stderr``, but for the one of handlers' contexts."""
    (logging.root if logging.root.handlers else logging.getLogger(logger.name)).addHandler(_records)
    for source in (STDOUT, STDERR):
        stream = getattr(sys, source)
        if stream is not None and not isinstance(stream, _Stream):
            setattr(sys, source, _Stream(stream, source))


def _uninstall() -> None:
    for place in (logging.root, logging.getLogger(logger.name)):
        place.removeHandler(_records)
    for source in (STDOUT, STDERR):
        stream = getattr(sys, source)
        if isinstance(stream, _Stream):
            setattr(sys, source, stream.stream)

"""What the processes of `taskyard up` write: all of it as JSON lines where that is asked for, else the gist."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from chalicelib.local.terminal import harmless, styled

LOUD = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
TRACE_BEGINS = ("Traceback (most", "  + Exception Group Traceback (most")
GROUP_MARGIN = "  | "
NAMES_EXCEPTION = re.compile(r"(  \| )?[^\W\d]")  # frames are indented further
SHOWN_KEYS = ("job_id", "type", "handler", "step", "error")
SHOWN_CHARS = 400
SUPERVISOR = "up"


class Log:
    """Takes lines from any thread.

    With ``file``, every line goes there as a JSON object that names its process in ``process``. With ``screen``,
    structured lines from level WARNING on are shown there in brief, and plain lines, what handlers print, as they are.
    """

    def __init__(self, screen: TextIO | None, file: TextIO | None) -> None:
        self._screen = screen
        self._file = file
        self._lock = threading.Lock()
        self._prefixes: dict[str, str] = {}  # by process, as the screen shows them

    def lines(self, name: str, texts: Sequence[str]) -> None:
        """A process wrote lines. All of them are one write: who prints much waits for its reader."""
        records = [_parsed(text) for text in texts]
        both = list(zip(texts, records, strict=True))
        self._keep(_kept(name, record or {"message": text}) for text, record in both)
        self._show(self._line(name, text, record) for text, record in both)

    def notice(self, text: str) -> None:
        """Something that whoever runs the supervisor should know."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.lines(SUPERVISOR, [json.dumps({"level": "WARNING", "message": text, "timestamp": moment})])

    def _keep(self, lines: Iterable[str]) -> None:
        if self._file is not None:
            _write(self._file, lines, self._lock)

    def _show(self, lines: Iterable[str]) -> None:
        if self._screen is not None:
            _write(self._screen, lines, self._lock)

    def _line(self, name: str, text: str, record: Mapping[str, Any] | None) -> str:
        """What the screen shows of a line; nothing of one that is for the file alone."""
        if record is None:
            return f"{self._prefix(name)}{_shown(text)}\n"
        if record.get("level") not in LOUD:
            return ""
        return f"{self._prefix(name)}{self._styled(_shown(_gist(record)), fg=LOUD[record['level']])}\n"

    def _prefix(self, name: str) -> str:
        if name not in self._prefixes:
            self._prefixes[name] = self._styled(f"{name}: ", dim=True)
        return self._prefixes[name]

    def _styled(self, text: str, **style: Any) -> str:
        assert self._screen is not None  # noqa: S101 - only then is anything shown
        return styled(text, self._screen, **style)


def _kept(name: str, record: Mapping[str, Any]) -> str:
    return json.dumps({"process": name, **record}) + "\n"


def _shown(text: str) -> str:
    plain = harmless(text)
    return plain if len(plain) <= SHOWN_CHARS else f"{plain[:SHOWN_CHARS]}…"


def _write(file: TextIO, lines: Iterable[str], lock: threading.Lock) -> None:
    text = "".join(lines)
    if text:
        with lock:
            file.write(text)
            file.flush()


def _parsed(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "message" in record else None


def _gist(record: Mapping[str, Any]) -> str:
    """The message, what it is about, and what was raised."""
    about = [f"{key} {record[key]}" for key in SHOWN_KEYS if record.get(key) not in (None, "")]
    gist = f"{record['message']} ({', '.join(about)})" if about else str(record["message"])
    trace = str(record.get("exception") or "").strip("\n")
    return f"{gist}: {_raised(trace)}" if trace else gist


def _raised(trace: str) -> str:
    """The line of a traceback that names the exception and begins its text: of a chain the last, of a group its own."""
    lines = trace.splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith(TRACE_BEGINS)]
    named = [line for line in lines[begins[-1] + 1 :] if NAMES_EXCEPTION.match(line)] if begins else []
    return named[0].removeprefix(GROUP_MARGIN) if named else lines[-1]


class NoticeHandler(logging.Handler):
    """Makes notices of what this process logs."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        self._log.notice(record.getMessage())

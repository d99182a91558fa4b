"""What the processes of `taskyard up` write: all of it as JSON lines where that is asked for, else the gist."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

LOUD = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
SHOWN_KEYS = ("job_id", "type", "handler", "step", "error")
SHOWN_CHARS = 400
SUPERVISOR = "up"
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")  # a payload's words must not steer the terminal, nor make a line


class Log:
    """Takes lines from any thread.

    With ``file``, every line goes there as a JSON object that names its process in ``process``. With ``console``,
    structured lines from level WARNING on are shown there in brief, and plain lines, what handlers print, as they are.
    """

    def __init__(self, console: Console | None, file: TextIO | None) -> None:
        self._console = console
        self._file = file
        self._lock = threading.Lock()

    def line(self, name: str, text: str) -> None:
        """A process wrote a line."""
        record = _parsed(text)
        self._write(name, record or {"message": text})
        if record is None:
            self._show(name, text)
        elif record.get("level") in LOUD:
            self._show(name, _gist(record), LOUD[record["level"]])

    def notice(self, text: str) -> None:
        """Something that whoever runs the supervisor should know."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write(SUPERVISOR, {"level": "WARNING", "message": text, "timestamp": moment})
        self._show(SUPERVISOR, text, LOUD["WARNING"])

    def _write(self, name: str, record: Mapping[str, Any]) -> None:
        if self._file is not None:
            with self._lock:
                self._file.write(json.dumps({"process": name, **record}) + "\n")
                self._file.flush()

    def _show(self, name: str, text: str, style: str = "") -> None:
        if self._console is not None:
            plain = CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
            shown = plain if len(plain) <= SHOWN_CHARS else f"{plain[:SHOWN_CHARS]}…"
            with self._lock:
                self._console.print(Text.assemble((f"{name}: ", "dim"), (shown, style)), soft_wrap=True)


def _parsed(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "message" in record else None


def _gist(record: Mapping[str, Any]) -> str:
    """The message, what it is about, and the exception's last line."""
    about = [f"{key} {record[key]}" for key in SHOWN_KEYS if record.get(key) not in (None, "")]
    gist = f"{record['message']} ({', '.join(about)})" if about else str(record["message"])
    trace = str(record.get("exception") or "").strip().splitlines()
    return f"{gist}: {trace[-1]}" if trace else gist


class NoticeHandler(logging.Handler):
    """Makes notices of what this process logs."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        self._log.notice(record.getMessage())

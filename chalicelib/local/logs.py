"""What the processes of `taskyard up` write: all of it as JSON lines where that is asked for, else the gist."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

LOUD = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
SHOWN_KEYS = ("job_id", "type", "handler", "step", "error")
SHOWN_CHARS = 400


class Log:
    """Takes lines from any thread.

    With ``file``, every line goes there as a JSON object that names its process in ``process``. Otherwise structured
    lines from level WARNING on are shown in brief on ``console``, and plain lines, what handlers print, as they are.
    ``notice`` is for the supervisor's own words and is always shown.
    """

    def __init__(self, console: Console, file: TextIO | None) -> None:
        self._console = console
        self._file = file
        self._lock = threading.Lock()

    def line(self, name: str, text: str) -> None:
        """A process wrote a line."""
        record = _parsed(text)
        if self._file is not None:
            self._write(self._file, name, record or {"message": text})
        elif record is None:
            self._show(name, text)
        elif record.get("level") in LOUD:
            self._show(name, _gist(record), LOUD[record["level"]])

    def notice(self, text: str) -> None:
        """Something that whoever runs the supervisor should know."""
        if self._file is not None:
            moment = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._write(self._file, "up", {"level": "WARNING", "message": text, "timestamp": moment})
        self._show("up", text, "yellow")

    def _write(self, file: TextIO, name: str, record: Mapping[str, Any]) -> None:
        with self._lock:
            file.write(json.dumps({"process": name, **record}) + "\n")
            file.flush()

    def _show(self, name: str, text: str, style: str = "") -> None:
        shown = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
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

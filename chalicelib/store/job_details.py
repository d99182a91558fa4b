"""What is kept beside a job's record: its log, what its handler printed, the results of its polls, its done steps.

Key layout, in the jobs table (``store/ledger.py``)::

    job    part                              what
    123    log#<time in ms>#<place>          entry: {data, message} as JSON text
    123    console#<attempt modulo 4>        attempt; lines: [[time in ms, source, text], ...] as JSON text
    123    poll#<round>#<number>             entry: {result, message, progress, data, time_ms} as JSON text
    123    step#<round>#<name's digest>      value: JSON text

``round`` is the job's (``core/job.py``): an explicit retry begins anew. All of them are deleted with their job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from chalicelib.core.errors import TooLarge
from chalicelib.core.job import Job
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.expressions import Clause
from chalicelib.store.table import Refused, Table

LOG_MAX_ENTRIES = 100  # fastify-task keeps as many
LOG_TRIM_ENTRIES = 200  # of how many surplus entries one trimming takes care
CONSOLE_MAX_BYTES = 8 * 1024  # of what one attempt printed and logged, the newest
CONSOLE_MAX_ATTEMPTS = 4  # of a task, the newest
ENTRY_MAX_BYTES = 32 * 1024
STEP_MAX_BYTES = 256 * 1024

ABSENT = Clause("absent", "attribute_not_exists({job})")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a job's log."""

    time_ms: int
    message: str
    data: Any


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """A line that a handler printed or logged in an attempt; ``source``: stdout, stderr or log."""

    time_ms: int
    attempt: int
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class JobDetails:
    """The access patterns of what is kept beside the records."""

    table: Table

    # -- the log ------------------------------------------------------------------------------

    def write_log(self, job_id: int, entry: LogEntry, place: str) -> None:
        """Add an entry; ``place`` orders it among others of the same millisecond. Raises ``TooLarge`` beyond 32 KB."""
        text = _checked(json.dumps({"data": entry.data, "message": entry.message}), ENTRY_MAX_BYTES, "log entry")
        self.table.put({"job": job_id, "part": f"log#{entry.time_ms:013d}#{place}", "entry": text})

    def log(self, job_id: int) -> list[LogEntry]:
        """The 100 newest entries, the newest first."""
        rows = self._newest(job_id, LOG_MAX_ENTRIES)
        return [LogEntry(int(row["part"].split("#")[1]), **json.loads(row["entry"])) for row in rows]

    def trim_log(self, job_id: int) -> None:
        """Delete what is older than the 100 newest entries."""
        rows = self._newest(job_id, LOG_MAX_ENTRIES + LOG_TRIM_ENTRIES)
        self.table.delete_many([{"job": job_id, "part": row["part"]} for row in rows[LOG_MAX_ENTRIES:]])

    def _newest(self, job_id: int, most: int) -> list[dict[str, Any]]:
        condition, values = "{job} = :job AND begins_with({part}, :prefix)", {":job": job_id, ":prefix": "log#"}
        return self.table.first(condition, values, most, ascending=False, consistent=True)

    # -- the console --------------------------------------------------------------------------

    def write_console(self, job_id: int, attempt: int, lines: Sequence[ConsoleLine]) -> None:
        """Keep the newest 8 KB of what an attempt printed, in place of what the fourth one before it did."""
        part = f"console#{attempt % CONSOLE_MAX_ATTEMPTS}"
        self.table.put({"job": job_id, "part": part, "attempt": attempt, "lines": _newest_as_json(lines)})

    def console(self, job_id: int) -> list[ConsoleLine]:
        """What the newest attempts printed, the oldest line first."""
        rows = self.table.query_all(
            "{job} = :job AND begins_with({part}, :prefix)", {":job": job_id, ":prefix": "console#"}, consistent=True
        )
        return [
            ConsoleLine(time_ms, row["attempt"], source, text)
            for row in sorted(rows, key=itemgetter("attempt"))
            for time_ms, source, text in json.loads(row["lines"])
        ]

    # -- polls --------------------------------------------------------------------------------

    def noting_poll(self, job: Job, number: int, result: dict[str, Any]) -> AttributeValues:
        """The action that keeps the result of poll ``number`` (from 1). Raises ``TooLarge`` beyond 32 KB."""
        text = _checked(json.dumps(result), ENTRY_MAX_BYTES, "poll result")
        return self.table.putting({"job": job.id, "part": f"{_polls(job)}{number:06d}", "entry": text})

    def poll_results(self, job: Job) -> list[dict[str, Any]]:
        """What the polls of this round found, the oldest first."""
        rows = self.table.query_all(
            "{job} = :job AND begins_with({part}, :prefix)", {":job": job.id, ":prefix": _polls(job)}, consistent=True
        )
        return [json.loads(row["entry"]) for row in rows]

    # -- steps --------------------------------------------------------------------------------

    def step(self, job: Job, name: str) -> str | None:
        """The JSON text that a step of this round has left, or ``None`` where it was not done yet."""
        item = self.table.get({"job": job.id, "part": _step(job, name)})
        return None if item is None else str(item["value"])

    def note_step(self, job: Job, name: str, value: str) -> str:
        """Keep what a step has left, unless it was done already; returns what is kept.

        Raises ``TooLarge`` beyond 256 KB.
        """
        _checked(value, STEP_MAX_BYTES, "step's result")
        try:
            self.table.put({"job": job.id, "part": _step(job, name), "value": value}, ABSENT)
        except Refused as refused:
            return str((refused.old or {})["value"])
        return value


def _newest_as_json(lines: Sequence[ConsoleLine]) -> str:
    """The last lines that fit, as they are stored."""
    texts = [json.dumps([line.time_ms, line.source, line.text], ensure_ascii=False) for line in lines]
    left_bytes, first = CONSOLE_MAX_BYTES - len("[]"), len(texts)
    while first > 0 and (size := len(texts[first - 1].encode()) + len(",")) <= left_bytes:
        left_bytes, first = left_bytes - size, first - 1
    return f"[{','.join(texts[first:])}]"


def _polls(job: Job) -> str:
    return f"poll#{job.epoch:06d}#"


def _step(job: Job, name: str) -> str:
    return f"step#{job.epoch:06d}#{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def _checked(text: str, most_bytes: int, what: str) -> str:
    if len(text) > most_bytes:
        raise TooLarge(
            f"this {what} is too large",
            expected=f"at most {most_bytes} bytes of JSON",
            got=f"{len(text)} bytes",
            remedy="keep the data in the bucket and note its key",
        )
    return text

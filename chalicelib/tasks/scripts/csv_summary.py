"""The pool ``csv_summary``: what a CSV text holds, column by column."""

from __future__ import annotations

import csv
import io
import logging
import math
from dataclasses import dataclass
from typing import Any

from chalicelib.services.pools import pool

SHOWN_TIMES = 5  # how often a summary tells how far it is

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Column:
    """What is known of a column so far: how many cells are filled, and the range of those that are numbers."""

    filled: int = 0
    numbers: int = 0
    smallest: float = math.inf
    largest: float = -math.inf

    def take(self, cell: str) -> None:
        """Count a cell."""
        if not cell.strip():
            return
        self.filled += 1
        try:
            number = float(cell)
        except ValueError:
            return
        if math.isfinite(number):
            self.numbers += 1
            self.smallest, self.largest = min(self.smallest, number), max(self.largest, number)

    def summary(self) -> dict[str, Any]:
        """The answer; a range only where there are numbers."""
        numeric = {"min": self.smallest, "max": self.largest} if self.numbers else {}
        return {"filled": self.filled, "numbers": self.numbers, **numeric}


def summarize(job_id: int, text: str) -> dict[str, Any]:
    """How many rows a CSV text with a head has, and of each column how much is filled and its range.

    Raises ``ValueError`` for a text without a head.
    """
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or not any(rows[0]):
        raise ValueError("the text has no head that names its columns")
    columns = {name: Column() for name in rows[0]}
    step = max(1, -(-len(rows) // SHOWN_TIMES))
    for number, row in enumerate(rows[1:], start=1):
        for name, cell in zip(rows[0], row, strict=False):
            columns[name].take(cell)
        if number % step == 0 or number == len(rows) - 1:
            pool("csv_summary").progress(job_id, number, len(rows) - 1, f"{number} rows read")
    return {"rows": len(rows) - 1, "columns": {name: column.summary() for name, column in columns.items()}}


def on_success(job_id: int, response: dict[str, Any]) -> None:
    """Note what became of a job."""
    _log.info("CSV summary %d: %d rows", job_id, response["rows"])


def on_error(job_id: int, error: str) -> None:
    """Note why a job failed for good."""
    _log.warning("CSV summary %d failed: %s", job_id, error)


def on_progress(job_id: int, current: float, total: float, message: str) -> None:
    """Note how far a job is."""
    _log.info("CSV summary %d: %s (%d of %d)", job_id, message, current, total)

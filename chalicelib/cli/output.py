"""What the commands show: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 240  # of a table that goes into a file or a pipe
STYLES = {
    "success": "green",
    "COMPLETED": "green",
    "failed": "red",
    "FAILED": "red",
    "running": "cyan",
    "PROCESSING": "cyan",
    "waiting": "cyan",
    "canceled": "dim",
}

Columns = Mapping[str, str]  # from a heading to the field below it


def present(value: Any, as_json: bool, for_people: Callable[[Any], object]) -> None:
    """``value`` as JSON, or as ``for_people`` shows it."""
    (show_json if as_json else for_people)(value)


def show_json(value: Any) -> None:
    """``value`` on standard output, for programs."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Columns) -> None:
    """A table of ``rows``; one without rows is its headings."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(row.get(field)) for field in columns.values()))
    _console().print(table)


def show_page(answer: Mapping[str, Any], columns: Columns) -> None:
    """A page of a list as the service answers it, and how many there are in all."""
    show_rows(answer["pageData"], columns)
    show_text(f"{len(answer['pageData'])} of {answer['totalCount']}")


def show_record(record: Mapping[str, Any]) -> None:
    """One record, a field a line; what is null is left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for field, value in record.items():
        if value is not None:
            table.add_row(Text(field, "dim"), _cell(value))
    _console().print(table)


def show_text(text: str) -> None:
    """One line of words."""
    _console().print(text, markup=False, highlight=False, soft_wrap=True)


def complain(text: str) -> None:
    """One line on standard error."""
    Console(stderr=True).print(text, style="red", markup=False, highlight=False, soft_wrap=True)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def _cell(value: Any) -> Text:
    if value is None:
        return Text("")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Text(text, STYLES.get(text, ""))

"""What the commands show: tables for people, JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from wcwidth import ljust, width, wrap

from chalicelib.local.terminal import harmless, say, styled

GAP = "  "  # between the columns of a table
COLUMN_MIN_CHARS = 8  # no column is folded to less
COLORS = {
    "success": "green",
    "COMPLETED": "green",
    "failed": "red",
    "FAILED": "red",
    "running": "cyan",
    "PROCESSING": "cyan",
    "waiting": "cyan",
}
DIM = "canceled"

Columns = Mapping[str, str]  # from a heading to the field below it
Style = Mapping[str, Any]  # as click has it


def present(value: Any, as_json: bool, for_people: Callable[[Any], object]) -> None:
    """``value`` as JSON, or as ``for_people`` shows it."""
    (show_json if as_json else for_people)(value)


def show_json(value: Any) -> None:
    """``value`` on standard output, for programs."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Columns) -> None:
    """A table of ``rows``; one without rows is its headings."""
    cells = [[_cell(row.get(field)) for field in columns.values()] for row in rows]
    styles: list[list[Style]] = [[_style(cell) for cell in row] for row in cells]
    _show_table([list(columns), *cells], [[{"bold": True}] * len(columns), *styles])


def show_page(answer: Mapping[str, Any], columns: Columns) -> None:
    """A page of a list as the service answers it, and how many there are in all."""
    show_rows(answer["pageData"], columns)
    show_text(f"{len(answer['pageData'])} of {answer['totalCount']}")


def show_record(record: Mapping[str, Any]) -> None:
    """One record, a field a line; what is null is left out."""
    cells = [[field, _cell(value)] for field, value in record.items() if value is not None]
    _show_table(cells, [[{"dim": True}, _style(cell)] for _, cell in cells])


def show_text(text: str) -> None:
    """One line of words."""
    say(text)


def complain(text: str) -> None:
    """One line on standard error."""
    say(text, sys.stderr, fg="red")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return harmless(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _style(cell: str) -> Style:
    return {"dim": True} if cell == DIM else {"fg": COLORS[cell]} if cell in COLORS else {}


def _show_table(rows: Sequence[Sequence[str]], styles: Sequence[Sequence[Style]]) -> None:
    """``rows`` in columns. A terminal's width folds the widest; elsewhere a row is a line."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    if sys.stdout.isatty():
        widths = _folded(widths, shutil.get_terminal_size().columns)
    for row, style in zip(rows, styles, strict=True):
        folded = [wrap(cell, size) if width(cell) > size else [cell] for cell, size in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            sized = zip(parts, widths, style, strict=True)
            say(GAP.join(styled(ljust(part, size), sys.stdout, **look) for part, size, look in sized).rstrip())


def _folded(widths: Sequence[int], line_chars: int) -> list[int]:
    """The widths of columns that fit into a line together, the widest made narrower as long as that helps."""
    fitting = list(widths)
    for _ in range(sum(widths)):
        widest = max(range(len(fitting)), key=fitting.__getitem__)
        if sum(fitting) + len(GAP) * (len(fitting) - 1) <= line_chars or fitting[widest] <= COLUMN_MIN_CHARS:
            break
        fitting[widest] -= 1
    return fitting

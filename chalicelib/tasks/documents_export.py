"""``documents.export``: rows written as a CSV object into the installation's bucket."""

from __future__ import annotations

import csv
import io
from typing import Any

from pydantic import BaseModel, Field

from chalicelib import Context, task

PROGRESS_STEPS = 20

Cell = str | int | float | bool | None


class ExportInput(BaseModel):
    """Rows as objects; the columns are those named, or else all keys in the order of their first appearance."""

    rows: list[dict[str, Cell]]
    columns: list[str] | None = Field(default=None, min_length=1)
    name: str = Field(default="export", pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}$")


@task("documents.export", timeout_s=240)
def documents_export(source: ExportInput, context: Context) -> dict[str, Any]:
    """Write the rows as CSV (RFC 4180, UTF-8) under a key that is the same for every attempt of a job.

    A cell that a spreadsheet would run as a formula is written as text.
    """
    columns = source.columns or list(dict.fromkeys(column for row in source.rows for column in row))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([_safe(column) for column in columns])
    step = max(1, len(source.rows) // PROGRESS_STEPS)
    for number, row in enumerate(source.rows, start=1):
        writer.writerow([_safe(row.get(column)) for column in columns])
        if number % step == 0:
            context.progress(number, len(source.rows), f"row {number}")
    key = f"exports/{context.job.id}/{source.name}.csv"
    content = text.getvalue().encode()
    context.objects.put_object(Bucket=context.bucket, Key=key, Body=content, ContentType="text/csv; charset=utf-8")
    return {"key": key, "rows": len(source.rows), "columns": columns, "bytes": len(content)}


def _safe(cell: Cell) -> Cell:
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell

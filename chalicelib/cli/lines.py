"""One entry of a batch for each line of a file: ``publish --file`` and ``tasks create --file``."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from chalicelib.cli.common import REFUSED, parsed
from chalicelib.cli.http_client import Document, Service, batches
from chalicelib.cli.output import complain, present, show_text


def send_lines(
    service: Service,
    as_json: bool,
    lines: Iterable[str],
    common: Document,
    *,
    path: str,
    entries: str,
    content: str,
    done: str,
) -> None:
    """Post an entry for each line, JSON that becomes its ``content``, in batches of ``entries``, and show the outcome.

    Nothing is sent when a line cannot be read. Of an idempotency key, each line has one of its own: ``key#1`` that of
    the first.
    """
    given = {name: value for name, value in common.items() if value is not None}
    key = given.pop("idempotencyKey", None)
    found = [
        (number, {**given, content: parsed(line, f"line {number}"), **_key_of_line(key, number)})
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    results: list[Document] = []
    for batch in batches([entry for _, entry in found]):
        results += service.post(path, {entries: batch})["results"]
    refused = [
        f"line {number}: {result['error']}"
        for (number, _), result in zip(found, results, strict=True)
        if not result["success"]
    ]
    summary = f"{len(results) - len(refused)} of {len(results)} {entries} {done}"
    present(results, as_json, lambda _: show_text(summary))
    for reason in refused:
        complain(reason)
    if refused:
        sys.exit(REFUSED)


def _key_of_line(key: str | None, number: int) -> Document:
    return {} if key is None else {"idempotencyKey": f"{key}#{number}"}

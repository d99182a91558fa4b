"""The command that says why a job is not running."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from chalicelib.cli.common import calls_service
from chalicelib.cli.http_client import Service
from chalicelib.cli.output import present, show_record, show_text


@click.command()
@click.argument("id")
@calls_service
def why(service: Service, as_json: bool, id: str) -> None:  # noqa: A002 - the name that the command line shows
    """Say why a task or a message is not running, or what has become of it."""
    present(service.get(f"/api/job/{quote(id, safe='')}/why"), as_json, _show)


def _show(answer: dict[str, Any]) -> None:
    show_text(answer["sentence"])
    if answer["remedy"] is not None:
        show_text(f"What to do: {answer['remedy']}")
    shown = {name: answer[name] for name in ("id", "state", "reason", "since", "expectedStart")}
    show_record({**shown, **answer["details"]})

"""Commands for graphs of tasks."""

from __future__ import annotations

from typing import Any, TextIO

import click

from chalicelib.cli.common import add_acts, calls_service, idempotency_key_option, parsed
from chalicelib.cli.http_client import Service
from chalicelib.cli.numbers import Whole
from chalicelib.cli.output import present, show_record, show_rows, show_text
from chalicelib.cli.tasks import task

COLUMNS = {"NAME": "name", "TYPE": "type", "AFTER": "after", "STATUS": "status", "TASK": "taskId", "ERROR": "error"}
AFTER_SHOWN = 5
ACTS = {
    "cancel": "Cancel a graph: start nothing more of it, and cancel what is not done.",
    "retry": "Run what has failed of a graph again, and go on from there.",
}


@click.group()
def graphs() -> None:
    """Run tasks that start when others have succeeded."""


@graphs.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@idempotency_key_option
@calls_service
def create(service: Service, as_json: bool, file: TextIO, **given: Any) -> None:
    """Create the graph in a JSON FILE (- is standard input): what POST /api/task/graph takes, or only its nodes."""
    read = parsed(file.read(), "FILE")
    body = {"nodes": read} if isinstance(read, list) else read
    if not isinstance(body, dict):
        raise click.UsageError("FILE is neither a graph nor a list of nodes")
    key = {name: value for name, value in given.items() if value is not None}
    present(service.post(task("graph"), {**body, **key}), as_json, show_record)


@graphs.command()
@click.argument("id_", metavar="ID")
@click.option("--mermaid", is_flag=True, help="As Mermaid text: a picture for Markdown.")
@calls_service
def show(service: Service, as_json: bool, id_: str, mermaid: bool) -> None:
    """Show a graph, and how many of its nodes are in which status."""
    if mermaid:
        drawing = service.get(task("graph/mermaid"), {"id": id_})
        present(drawing, as_json, lambda found: click.echo(found["mermaid"]))
    else:
        present(service.get(task("graph"), {"id": id_, "counts": "true"}), as_json, show_record)


@graphs.command()
@click.argument("id_", metavar="ID")
@click.option("--page", type=Whole(1), default=1, show_default=True)
@click.option("--per-page", "per_page", type=Whole(1, 1_000), default=100, show_default=True)
@calls_service
def nodes(service: Service, as_json: bool, id_: str, page: int, per_page: int) -> None:
    """List the nodes of a graph, each after those that it comes after."""
    answer = service.get(task("graph/nodes"), {"id": id_, "page": page, "perPage": per_page})
    present(answer, as_json, _show_nodes)


add_acts(graphs, "ID", lambda service, act, id_: service.post(task(f"graph/{act}"), {"id": id_}), ACTS)


def _show_nodes(answer: dict[str, Any]) -> None:
    show_rows([{**node, "after": _shortened(node["after"])} for node in answer["pageData"]], COLUMNS)
    show_text(f"{len(answer['pageData'])} of {answer['totalCount']}")


def _shortened(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - AFTER_SHOWN
    return ", ".join(names[:AFTER_SHOWN]) + (f" and {more} more" if more > 0 else "")

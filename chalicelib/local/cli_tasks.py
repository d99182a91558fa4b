"""Commands for tasks."""

from __future__ import annotations

from typing import Any

import click

from chalicelib.local.cli_common import calls_service, parsed
from chalicelib.local.client import Service
from chalicelib.local.tables import present, show_page, show_record, show_text

COLUMNS = {
    "ID": "id",
    "TYPE": "type",
    "STATUS": "status",
    "PROGRESS": "progress",
    "ATTEMPTS": "attempts",
    "CREATED": "createdAt",
    "COMPLETED": "completedAt",
    "ERROR": "error",
}
STATES = ("pending", "running", "waiting", "success", "failed", "canceled")


@click.group()
def tasks() -> None:
    """Create tasks, look at them, cancel them, run them again."""


@tasks.command()
@click.argument("type")
@click.argument("input", required=False)
@click.option("--target-id", default="cli", show_default=True, help="What the task is about.")
@click.option("--target-type", default="cli", show_default=True, help="What sort of thing that is.")
@click.option("--manual", is_flag=True, help="A person completes it; no handler runs it.")
@click.option("--priority", type=int, help="Larger is sooner.")
@click.option("--delay", type=click.FloatRange(0), metavar="SECONDS", help="Start no earlier than in SECONDS.")
@click.option("--max-retries", type=int, help="How often it is tried again after the first failure.")
@click.option("--timeout", type=int, metavar="MS", help="Milliseconds an attempt may take.")
@calls_service
def create(
    service: Service,
    as_json: bool,
    type: str,  # noqa: A002 - the name that the command line shows
    input: str | None,  # noqa: A002 - as above
    target_id: str,
    target_type: str,
    manual: bool,
    priority: int | None,
    delay: float | None,
    max_retries: int | None,
    timeout: int | None,
) -> None:
    """Create a task of TYPE with INPUT, any JSON value."""
    body = {
        "type": type,
        "input": None if input is None else parsed(input, "INPUT"),
        "targetId": target_id,
        "targetType": target_type,
        "runnerType": "manual" if manual else "system",
        "priority": priority,
        "delay": delay,
        "maxRetries": max_retries,
        "timeout": timeout,
    }
    present(service.post("/api/task/create", body), as_json, show_record)


@tasks.command("list")
@click.option("--type", "type_")
@click.option("--status", type=click.Choice(STATES))
@click.option("--target-id")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True)
@calls_service
def list_tasks(
    service: Service, as_json: bool, type_: str | None, status: str | None, target_id: str | None, page: int
) -> None:
    """List tasks, newest first."""
    query = {"filter.type": type_, "filter.status": status, "filter.targetId": target_id, "currentPage": page}
    answer = service.get("/api/task/list", query)
    present(answer, as_json, _show_page)


@tasks.command()
@click.argument("id")
@calls_service
def show(service: Service, as_json: bool, id: str) -> None:  # noqa: A002 - the name that the command line shows
    """Show one task."""
    present(service.get("/api/task/detail", {"id": id}), as_json, show_record)


@tasks.command()
@click.argument("id")
@calls_service
def cancel(service: Service, as_json: bool, id: str) -> None:  # noqa: A002 - as above
    """Cancel a task that is not done."""
    answer = service.post("/api/task/cancel", {"id": id})
    present(answer, as_json, lambda _: show_text(f"task {id} is canceled, unless it was done already"))


@tasks.command()
@click.argument("ids", nargs=-1, required=True)
@calls_service
def retry(service: Service, as_json: bool, ids: tuple[str, ...]) -> None:
    """Run failed or canceled tasks again."""
    answer = service.post("/api/task/retry", {"id": ids[0]} if len(ids) == 1 else {"taskIds": list(ids)})
    present(answer, as_json, lambda _: show_text(f"to be run again: {', '.join(ids)}"))


def _show_page(answer: dict[str, Any]) -> None:
    rows = [{**task, "error": (task["error"] or {}).get("message")} for task in answer["pageData"]]
    show_page({**answer, "pageData": rows}, COLUMNS)

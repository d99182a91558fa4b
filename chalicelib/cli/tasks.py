"""Commands for tasks."""

from __future__ import annotations

import os
from typing import Any, TextIO

import click

from chalicelib.cli.common import (
    JSON,
    calls_service,
    flow_key_option,
    idempotency_key_option,
    priority_option,
    tenant_option,
)
from chalicelib.cli.http_client import Service
from chalicelib.cli.lines import send_lines
from chalicelib.cli.numbers import Number, Whole
from chalicelib.cli.output import present, show_page, show_record, show_rows, show_text
from chalicelib.core.job import ATTEMPTS_MAX

COLUMNS = {
    "ID": "id",
    "TYPE": "type",
    "STATUS": "status",
    "PROGRESS": "progress",
    "ATTEMPTS": "attempts",
    "CREATED": "createdAt",
    "COMPLETED": "completedAt",
    "CAUSE": "cause",
    "ERROR": "error",
}
CONSOLE_COLUMNS = {"TIME": "time", "ATTEMPT": "attempt", "SOURCE": "source", "TEXT": "text"}
LOG_COLUMNS = {"TIME": "time", "MESSAGE": "message", "DATA": "data"}
STATES = ("pending", "running", "waiting", "success", "failed", "canceled")


def task(path: str) -> str:
    """A path of the task routes, behind the prefix that the service was given (``TASKYARD_TASK_PREFIX``)."""
    return f"{os.environ.get('TASKYARD_TASK_PREFIX', '/api/task')}/{path}"


@click.group()
def tasks() -> None:
    """Create tasks, look at them, say how they went, cancel them, run them again, delete them."""


@tasks.command()
@click.argument("type")
@click.argument("input", type=JSON, required=False)
@click.option("--file", "lines", type=click.File(encoding="utf-8"), help="JSON lines, an INPUT each; - is stdin.")
@click.option("--target-id", "targetId", default="cli", show_default=True, help="What the task is about.")
@click.option("--target-type", "targetType", default="cli", show_default=True, help="What sort of thing that is.")
@click.option("--manual", is_flag=True, help="A person completes it; no handler runs it.")
@priority_option
@click.option("--delay", type=Number(0), metavar="SECONDS", help="Start no earlier than in SECONDS.")
@click.option(
    "--max-retries",
    "maxRetries",
    type=Whole(0, ATTEMPTS_MAX - 1),
    help="How often it is tried again after the first failure.",
)
@click.option("--timeout", type=Whole(0, 86_400_000), metavar="MS", help="Milliseconds an attempt may take.")
@click.option("--script", "scriptName", help="Which of the type's handlers.")
@click.option("--options", type=JSON, help="An object that is kept with the task.")
@click.option("--context", type=JSON, help="An object; its secret is never shown.")
@click.option("--parent", "parentTaskId", metavar="ID", help="Start only after this task has succeeded.")
@click.option("--next", type=JSON, help="The task that its success creates: an object.")
@click.option("--user", "userId", help="Who asks for it.")
@click.option("--trace-id", "traceId", help="Your own trace id.")
@idempotency_key_option
@tenant_option
@flow_key_option
@calls_service
def create(
    service: Service,
    as_json: bool,
    type: str,  # noqa: A002 - the name that the command line shows
    input: Any,  # noqa: A002 - as above
    lines: TextIO | None,
    manual: bool,
    **given: Any,
) -> None:
    """Create a task of TYPE with INPUT, any JSON value; or one task for each line of a file."""
    if input is not None and lines is not None:
        raise click.UsageError("either INPUT or --file, not both")
    body = {"type": type, "runnerType": "manual" if manual else "system", **given}
    if lines is not None:
        batch = {"path": task("create-batch"), "entries": "tasks", "content": "input"}
        send_lines(service, as_json, lines, body, **batch, done="created")
        return
    present(service.post(task("create"), {**body, "input": input}), as_json, show_record)


@tasks.command("list")
@click.option("--type")
@click.option("--status", type=click.Choice(STATES))
@click.option("--target-id", "targetId")
@click.option("--search", metavar="TEXT", help="Only those whose input has all these words.")
@click.option("--page", type=Whole(1), default=1, show_default=True)
@calls_service
def list_tasks(service: Service, as_json: bool, page: int, **filters: Any) -> None:
    """List tasks, newest first."""
    query = {**{f"filter.{name}": value for name, value in filters.items()}, "currentPage": page}
    answer = service.get(task("list"), query)
    present(answer, as_json, _show_page)


@tasks.command()
@click.argument("id")
@calls_service
def show(service: Service, as_json: bool, id: str) -> None:  # noqa: A002 - the name that the command line shows
    """Show one task, and what its handler printed and logged."""
    present(service.get(task("detail"), {"id": id}), as_json, _show_detail)


@tasks.command()
@click.argument("id", required=False)
@click.option("--target-id", help="All that are about this target, instead of ID.")
@click.option("--target-type", help="What sort of thing that is.")
@click.option("--type", "type_", help="And of this type.")
@calls_service
def cancel(
    service: Service,
    as_json: bool,
    id: str | None,  # noqa: A002 - as above
    target_id: str | None,
    target_type: str | None,
    type_: str | None,
) -> None:
    """Cancel a task that is not done, or all of a type about one target."""
    target = {"targetId": target_id, "targetType": target_type, "type": type_}
    if (id is None) != all(target.values()) or any(target.values()) != all(target.values()):
        raise click.UsageError("name an ID, or --target-id, --target-type and --type together")
    answer = service.post(task("cancel"), {"id": id} if id is not None else target)
    which = f"task {id} is" if id is not None else f"tasks of type {type_} about {target_type} {target_id} are"
    present(answer, as_json, lambda _: show_text(f"{which} canceled, unless done already"))


@tasks.command()
@click.argument("id")
@click.option("--failed", is_flag=True, help="It has failed; otherwise it has succeeded.")
@click.option("--output", type=JSON, help="What came of it.")
@click.option("--error", metavar="TEXT", help="Why it failed.")
@click.option("--msg", metavar="TEXT", help="What there is to say about it.")
@click.option("--user-id", "userId", help="Who completed it.")
@calls_service
def complete(service: Service, as_json: bool, id: str, failed: bool, **told: Any) -> None:  # noqa: A002 - as above
    """Say how a task went that is not done."""
    status = "failed" if failed else "success"
    answer = service.post(task("complete"), {"id": id, "status": status, **told})
    present(answer, as_json, lambda _: show_text(f"task {id}: {status}"))


@tasks.command()
@click.argument("id")
@click.argument("message", required=False)
@click.option("--data", type=JSON, help="What belongs to the message.")
@calls_service
def log(service: Service, as_json: bool, id: str, message: str | None, data: Any) -> None:  # noqa: A002
    """Show a task's log; with MESSAGE or data, add an entry to it."""
    if message is None and data is None:
        answer = service.get(task("log"), {"id": id})
        present(answer, as_json, lambda shown: show_rows(shown["log"], LOG_COLUMNS))
        return
    entry = {"id": id, "message": message or "", "data": data}
    present(service.post(task("log"), entry), as_json, lambda _: show_text(f"logged for task {id}"))


@tasks.command()
@click.argument("id")
@calls_service
def promote(service: Service, as_json: bool, id: str) -> None:  # noqa: A002 - the name that the command line shows
    """End the delay of a task: it starts now."""
    answer = service.post(task("promote"), {"id": id})
    present(answer, as_json, lambda _: show_text(f"task {id} is due now"))


@tasks.command()
@click.argument("ids", nargs=-1, required=True)
@calls_service
def retry(service: Service, as_json: bool, ids: tuple[str, ...]) -> None:
    """Run failed or canceled tasks again."""
    answer = service.post(task("retry"), {"id": ids[0]} if len(ids) == 1 else {"taskIds": list(ids)})
    present(answer, as_json, lambda _: show_text(f"to be run again: {', '.join(ids)}"))


@tasks.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Cancel first what is not done.")
@calls_service
def delete(service: Service, as_json: bool, ids: tuple[str, ...], force: bool) -> None:
    """Delete tasks that are done, with all they keep."""
    which = {"id": ids[0]} if len(ids) == 1 else {"taskIds": list(ids)}
    answer = service.post(task("delete"), {**which, "force": force or None})
    present(answer, as_json, lambda _: show_text(f"deleted: {', '.join(ids)}"))


def _show_detail(shown: dict[str, Any]) -> None:
    lines = shown.pop("console", [])
    show_record(shown)
    if lines:
        show_rows(lines, CONSOLE_COLUMNS)


def _show_page(answer: dict[str, Any]) -> None:
    rows = [{**shown, "error": (shown["error"] or {}).get("message")} for shown in answer["pageData"]]
    show_page({**answer, "pageData": rows}, COLUMNS)

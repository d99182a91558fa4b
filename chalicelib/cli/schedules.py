"""Commands for schedules."""

from __future__ import annotations

from typing import Any

import click

from chalicelib.cli.common import JSON, add_acts, calls_service, priority_option
from chalicelib.cli.http_client import Service
from chalicelib.cli.numbers import Number, Whole
from chalicelib.cli.output import present, show_record, show_rows, show_text
from chalicelib.core.schedule_checks import JITTER_MAX_MS, MISSED_MAX
from chalicelib.core.schedules import RUNS_MAX
from chalicelib.core.timetable import EVERY_MAX_MS

COLUMNS = {
    "NAME": "name",
    "WHEN": "when",
    "ZONE": "timezone",
    "MAKES": "makes",
    "NEXT": "nextRunAt",
    "RUNS": "runs",
    "PAUSED": "paused",
    "SOURCE": "source",
}
RUN_COLUMNS = {
    "AT": "at",
    "UNTIL": "until",
    "COUNT": "count",
    "BY": "by",
    "ID": "id",
    "STATUS": "status",
    "SKIPPED": "skipped",
}
PATH = "/api/schedule"
ACTS = {
    "pause": "Run it no more, until it is resumed.",
    "resume": "Go on with its runs from now on.",
    "run": "Run it now, beside its times.",
    "delete": "Delete it; what it made stays.",
}


@click.group()
def schedules() -> None:
    """Run tasks and publish messages by the clock."""


@schedules.command()
@click.argument("name")
@click.option("--cron", metavar="EXPRESSION", help="Five fields, or six with the second first.")
@click.option(
    "--every",
    "everyS",
    type=Number(1, EVERY_MAX_MS / 1_000),
    metavar="SECONDS",
    help="Instead: so many seconds between two runs.",
)
@click.option("--at", metavar="TIME", help="Instead: one time, ISO 8601.")
@click.option("--tz", "timezone", metavar="ZONE", help="Of --cron, and of times without an offset; default UTC.")
@click.option("--type", "type_", help="The task to create.")
@click.option("--topic", help="Instead: the topic to publish to.")
@click.option("--input", "content", type=JSON, help="Of the task, or the payload of the message.")
@priority_option
@click.option("--missed", type=click.Choice(["skip", "last", "all"]), help="Runs that were missed; default last.")
@click.option(
    "--missed-max",
    "missedMax",
    type=Whole(1, MISSED_MAX),
    help="Of --missed all, how many run: the newest; default 100.",
)
@click.option("--overlap", type=click.Choice(["allow", "skip", "queue"]), help="Beside one before; default allow.")
@click.option(
    "--jitter", "jitterS", type=Number(0, JITTER_MAX_MS / 1_000), metavar="SECONDS", help="Start up to so much later."
)
@click.option("--start", "startAt", metavar="TIME", help="No run before.")
@click.option("--end", "endAt", metavar="TIME", help="No run after.")
@click.option("--max-runs", "maxRuns", type=Whole(1, RUNS_MAX), help="It ends after so many.")
@click.option("--paused", is_flag=True, help="Make it, and do not run it yet.")
@click.option("--replace", is_flag=True, help="Replace the schedule of this name, if there is one.")
@click.option("--if-version", metavar="VERSION", help="With --replace: only the one of this version, or none.")
@calls_service
def create(
    service: Service,
    as_json: bool,
    name: str,
    type_: str | None,
    topic: str | None,
    content: Any,
    priority: int | None,
    replace: bool,
    paused: bool,
    if_version: str | None,
    **given: Any,
) -> None:
    """Create the schedule NAME: one of --cron, --every and --at, and one of --type and --topic."""
    if (type_ is None) == (topic is None):
        raise click.UsageError("either --type or --topic")
    if if_version is not None and not replace:
        raise click.UsageError("--if-version goes with --replace")
    task = {"type": type_, "input": content, "priority": priority}
    message = {"topic": topic, "payload": {} if content is None else content, "priority": priority}
    body = {
        "name": name,
        **given,
        "task": None if type_ is None else _given(task),
        "message": None if topic is None else _given(message),
        "paused": paused or None,
        "ifVersion": if_version,
    }
    present(service.post(f"{PATH}/{'save' if replace else 'create'}", body), as_json, show_record)


@schedules.command("list")
@calls_service
def list_schedules(service: Service, as_json: bool) -> None:
    """List all schedules, by name."""
    found = list(service.pages(f"{PATH}/list", {}))
    present(found, as_json, lambda rows: show_rows([_row(each) for each in rows], COLUMNS))


@schedules.command()
@click.argument("name")
@calls_service
def show(service: Service, as_json: bool, name: str) -> None:
    """Show one schedule and its next runs."""
    present(service.get(f"{PATH}/detail", {"name": name}), as_json, show_record)


@schedules.command()
@click.argument("name")
@click.option("--count", type=Whole(1, 100), default=10, show_default=True)
@calls_service
def preview(service: Service, as_json: bool, name: str, count: int) -> None:
    """Show its next runs."""
    answer = service.get(f"{PATH}/preview", {"name": name, "count": count})
    present(answer, as_json, lambda found: show_text("\n".join(found["slots"])))


@schedules.command()
@click.argument("name")
@calls_service
def history(service: Service, as_json: bool, name: str) -> None:
    """Show what became of its newest 100 runs: the jobs they made, and why some made none."""
    answer = service.get(f"{PATH}/history", {"name": name, "perPage": 100})
    present(answer, as_json, lambda found: show_rows([_run(each) for each in found["pageData"]], RUN_COLUMNS))


add_acts(schedules, "NAME", lambda service, act, name: service.post(f"{PATH}/{act}", {"name": name}), ACTS)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _row(record: dict[str, Any]) -> dict[str, Any]:
    every = None if record["everyS"] is None else f"every {record['everyS']:g} s"
    made = record["task"]["type"] if record["task"] else record["message"]["topic"]
    return {**record, "when": record["cron"] or every or record["at"], "makes": made}


def _run(run: dict[str, Any]) -> dict[str, Any]:
    return {**run, "by": "request" if run["byRequest"] else "clock"}

"""The commands about many jobs at once, and about jobs that failed alike."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import click

from chalicelib.cli.common import calls_service
from chalicelib.cli.http_client import Service
from chalicelib.cli.output import complain, present, show_record, show_rows, show_text

PATH = "/api/bulk"
ACTS = ("cancel", "retry", "promote", "replay", "delete")
GOING_ON = ("running", "stopping")
OTHERS_S = 1.0  # to wait while somebody else makes a step
STATES = ("pending", "running", "waiting", "success", "failed", "canceled")
KINDS = ("task", "message")
ACT_COLUMNS = {
    "ID": "id",
    "STATE": "state",
    "ACT": "act",
    "OF": "of",
    "DONE": "done",
    "REFUSED": "refused",
    "BY": "by",
    "STARTED": "startedAt",
}
GROUP_COLUMNS = {
    "FINGERPRINT": "fingerprint",
    "TYPE": "type",
    "COUNT": "count",
    "TOTAL": "total",
    "FIRST": "firstSeenAt",
    "LAST": "lastSeenAt",
    "ERROR": "error",
}

Command = Callable[..., None]


FILTERS: dict[str, dict[str, Any]] = {
    "kind": {"type": click.Choice(KINDS)},
    "state": {"type": click.Choice(STATES), "multiple": True, "help": "May be said several times."},
    "type": {"help": "A task type or a topic."},
    "targetId": {},
    "targetType": {},
    "traceId": {},
    "flowKey": {},
    "tenant": {},
    "schedule": {},
    "since": {"metavar": "TIME", "help": "Created then or later: 2026-11-30T12:00:00Z."},
    "until": {"metavar": "TIME", "help": "Created then or before."},
    "text": {"metavar": "WORDS", "help": "Words that are all in a task's input."},
    "fingerprint": {"help": "Of those that failed alike: see `taskyard failures`."},
}
"""The filters of lists by their names over HTTP, as options."""


def which_jobs(command: Command) -> Command:
    """Give a command the options that choose jobs, and call it with what they mean as ``wanted``, a part of a body."""

    @functools.wraps(command)
    def run(id: tuple[str, ...], all_: bool, **given: Any) -> None:  # noqa: A002 - as the command line shows it
        chosen = {name: given.pop(name.lower()) for name in FILTERS}
        told = {name: value for name, value in chosen.items() if value not in (None, ())}
        if bool(id) + bool(told) + all_ != 1:
            raise click.UsageError("which jobs? Say a filter such as --type, or --id, or --all")
        command(wanted={"ids": id} if id else {"filter": told}, **given)

    with_ids = click.option("--id", multiple=True, help="This job; may be said up to 1,000 times.")(run)
    chosen = click.option("--all", "all_", is_flag=True, help="All jobs that there are.")(with_ids)
    for name, more in reversed(FILTERS.items()):
        option = re.sub("[A-Z]", lambda letter: f"-{letter[0].lower()}", name)
        chosen = click.option(f"--{option}", name.lower(), **more)(chosen)
    return chosen


@click.group()
def bulk() -> None:
    """Do the same to all jobs that match, in steps that go on by themselves."""


@bulk.command()
@click.argument("act", type=click.Choice(ACTS))
@which_jobs
@click.option("--dry-run", is_flag=True, help="Only say what it would be done to.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-wait", is_flag=True, help="Leave the steps to the clock.")
@calls_service
def start(
    service: Service, as_json: bool, act: str, wanted: dict[str, Any], dry_run: bool, yes: bool, no_wait: bool
) -> None:
    """Do ACT to all jobs that match, or are named, once it was said to how many and you agree."""
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json asks nothing: say --yes or --dry-run, too")
    if not yes:
        preview = service.post(PATH, {"act": act, **wanted, "dryRun": True})
        present(preview, as_json and dry_run, _show_preview)
        if dry_run or preview["matches"] == 0:
            return
        click.confirm("Do it?", abort=True)
    found = service.post(PATH, {"act": act, **wanted})
    while found["state"] in GOING_ON and not no_wait:
        before, found = found, service.post(f"{PATH}/{quote(found['id'], safe='')}/step", {})
        if found == before:
            time.sleep(OTHERS_S)
        elif not as_json:
            show_text(_standing(found))
    present(found, as_json, _show)


@bulk.command("list")
@calls_service
def list_acts(service: Service, as_json: bool) -> None:
    """List the newest acts in bulk."""
    answer = service.get(PATH)
    present(answer, as_json, lambda _: show_rows([_row(each) for each in answer["items"]], ACT_COLUMNS))


@bulk.command()
@click.argument("id")
@calls_service
def show(service: Service, as_json: bool, id: str) -> None:  # noqa: A002 - the name that the command line shows
    """Show how an act stands."""
    present(service.get(f"{PATH}/{quote(id, safe='')}"), as_json, _show)


@bulk.command()
@click.argument("id")
@calls_service
def stop(service: Service, as_json: bool, id: str) -> None:  # noqa: A002 - as above
    """Do no more of an act, behind the step that is being made; what is done stays done."""
    present(service.post(f"{PATH}/{quote(id, safe='')}/stop", {}), as_json, _show)


@bulk.command()
@click.argument("id")
@calls_service
def result(service: Service, as_json: bool, id: str) -> None:  # noqa: A002 - as above
    """Tell what became of each job."""
    path = f"{PATH}/{quote(id, safe='')}/result"
    page = service.get(path)
    rows = list(page["items"])
    while page["nextCursor"] is not None:
        page = service.get(path, {"cursor": page["nextCursor"]})
        rows += page["items"]
    present(rows, as_json, lambda _: show_rows(rows, {"ID": "id", "OK": "ok", "ERROR": "error"}))


@click.command()
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--type", "type_", help="A task type or a topic.")
@click.option("--since", metavar="TIME", help="Of which one failed then or later: 2026-11-30T12:00:00Z.")
@calls_service
def failures(service: Service, as_json: bool, kind: str | None, type_: str | None, since: str | None) -> None:
    """List what failed for good, what failed alike together; `taskyard bulk start replay` takes the fingerprint."""
    answer = service.get("/api/failures", {"kind": kind, "type": type_, "since": since})
    present(answer, as_json, _show_failures)


def _show_failures(answer: dict[str, Any]) -> None:
    show_rows(answer["groups"], GROUP_COLUMNS)
    if answer["leftOut"]:
        show_text(f"and {answer['leftOut']} groups more")


def _show_preview(preview: dict[str, Any]) -> None:
    show_text(preview["sentence"])
    if preview["byType"]:
        show_rows(preview["byType"], {"KIND": "kind", "TYPE": "type", "COUNT": "count"})


def _show(found: dict[str, Any]) -> None:
    unsuited = (found["named"] or 0) - (found["matched"] or 0)  # in no state for it, or gone
    shown = {**_row(found), "unsuited": unsuited if unsuited > 0 else None}
    shown |= {"changed": found["changed"] or None, "filter": None, "named": None, "newestErrors": None}
    show_record(shown)
    for each in found["newestErrors"]:
        complain(f"{each['id']}: {each['error']}")


def _standing(found: dict[str, Any]) -> str:
    matched = "" if found["matched"] is None else f" of {found['matched']}"
    changed = f", {found['changed']} changed meanwhile" if found["changed"] else ""
    return f"{found['done']} done, {found['refused']} refused{changed}{matched}"


def _row(found: dict[str, Any]) -> dict[str, Any]:
    """An act whose filter is written for people."""
    told = {name: value for name, value in found["filter"].items() if value not in (None, [])}
    words = [f"{name} {','.join(value) if isinstance(value, list) else value}" for name, value in told.items()]
    of = "all" if found["named"] is None else f"{found['named']} named"
    return {**found, "of": " ".join(words) or of}

"""Commands for applications."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from chalicelib.cli.common import add_acts, calls_service
from chalicelib.cli.http_client import Service
from chalicelib.cli.numbers import Whole
from chalicelib.cli.output import present, show_record, show_rows
from chalicelib.core.applications import CONCURRENCY_MAX, RETRIES_MAX, ROTATION_MAX_S, STEP_MAX_S

COLUMNS = {
    "KEY": "appKey",
    "NAME": "appName",
    "URL": "linkUrl",
    "STEP": "step",
    "RETRIES": "retryTotal",
    "AT ONCE": "concurrency",
    "STATUS": "status",
    "RESTS UNTIL": "restingUntil",
    "ROTATES UNTIL": "rotatingUntil",
}
ACTS = {
    "disable": "Listen to it no longer, and deliver nothing to it.",
    "enable": "Listen and deliver to it again. This ends a rest, too.",
}
KEEP_IT = "Keep the secret: it cannot be shown again."


@click.group()
def applications() -> None:
    """Programs elsewhere that tasks are delivered to, and that sign what they ask for."""


@applications.command()
@click.argument("name")
@click.argument("link_url")
@click.option(
    "--step", type=Whole(0, STEP_MAX_S), help="Retry n comes n times so many seconds after a failure; default 5."
)
@click.option("--retries", "retryTotal", type=Whole(0, RETRIES_MAX), help="How often a task is tried again; default 5.")
@click.option("--remark", help="Default: the time.")
@click.option("--concurrency", type=Whole(1, CONCURRENCY_MAX), help="Deliveries at the same time; default 1.")
@click.option("--tz", "timezone", metavar="ZONE", help="Of times that it writes without an offset; default UTC.")
@click.option("--no-replay-protection", is_flag=True, help="Take its headers with any body, as often as they come.")
@calls_service
def create(service: Service, as_json: bool, name: str, link_url: str, no_replay_protection: bool, **given: Any) -> None:
    """Make an application that tasks are delivered to at LINK_URL, and show its secret, this once."""
    body = {"appName": name, "linkUrl": link_url, "replayProtection": not no_replay_protection, **given}
    made = _asked(service, "create", {field: value for field, value in body.items() if value is not None})
    present({"appKey": made["appKey"], "secretKey": made["secretKey"]}, as_json, show_record)
    click.echo(KEEP_IT, err=True)


@applications.command("list")
@calls_service
def list_applications(service: Service, as_json: bool) -> None:
    """List all applications, oldest first."""
    rows = _data(service.get(_path("list"), {}))
    present(rows, as_json, lambda found: show_rows([_row(each) for each in found], COLUMNS))


@applications.command()
@click.argument("app_key")
@click.option(
    "--grace",
    type=Whole(0, ROTATION_MAX_S),
    metavar="SECONDS",
    help="How long the old secret stays in force; default a day.",
)
@click.option("--finish", is_flag=True, help="Instead of another secret: the old one is void from now on.")
@calls_service
def rotate(service: Service, as_json: bool, app_key: str, grace: int | None, finish: bool) -> None:
    """Give it another secret, and show it, this once. Until --grace is over, or --finish, the old one does, too."""
    body = {"app_key": app_key, "finish": finish, **({} if grace is None else {"grace": grace})}
    made = _asked(service, "rotate", body)
    present(made, as_json, show_record)
    if not finish:
        click.echo(KEEP_IT, err=True)


@applications.command("refresh-signature")
@click.argument("app_key")
@click.option("--payload", help="The MD5 digest of what is to be sent; default: of the application's name.")
@calls_service
def refresh_signature(service: Service, as_json: bool, app_key: str, payload: str | None) -> None:
    """Show fresh headers for a request. The secret is read from TASKYARD_SECRET, or else from standard input."""
    body = {"app_key": app_key, "secret_key": _secret(), **({} if payload is None else {"payload": payload})}
    made = _asked(service, "refresh-signature", body)
    present({name: value for name, value in made.items() if name != "secretKey"}, as_json, show_record)


add_acts(applications, "APP_KEY", lambda service, act, key: _asked(service, act, {"app_key": key}), ACTS)


def _secret() -> str:
    """An application's secret, from where no other process of the machine sees it."""
    if given := os.environ.get("TASKYARD_SECRET"):
        return given
    if sys.stdin.isatty():
        return str(click.prompt("Secret", hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _path(command: str) -> str:
    """A path of the routes, behind the prefix that the service was given (``TASKYARD_SERENDIPITY_PREFIX``)."""
    return f"{os.environ.get('TASKYARD_SERENDIPITY_PREFIX', '')}/application/{command}"


def _asked(service: Service, command: str, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _data(service.post(_path(command), body))
    return found


def _data(answer: dict[str, Any]) -> Any:
    """What an answer brings; raises click's ``ClickException`` for what was not done."""
    if answer["code"] != 0:
        raise click.ClickException(answer["msg"])
    return answer["data"]


def _row(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "status": "enabled" if record["status"] else "disabled"}

"""Commands for access keys and users. They work on the directory table itself, so they need AWS access and no key."""

from __future__ import annotations

import functools
import secrets
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click

from chalicelib.actor import acting
from chalicelib.cli.common import Command, any_endpoint_option, choose_installation, explained, json_option, url_option
from chalicelib.cli.output import present, show_rows, show_text
from chalicelib.core.access import AccessKey, id_of

COLUMNS = {
    "ID": "id",
    "LABEL": "label",
    "USER": "user",
    "SCOPES": "scopes",
    "CREATED": "created",
    "USED": "used",
    "REVOKED": "revoked",
}


GENERATED_BYTES = 18


def works_on_aws(command: Command) -> Command:
    """Give a command ``--stage``, ``--endpoint-url``, ``--url`` and ``--json``, and settle what they mean."""

    @click.option(
        "--stage",
        envvar="TASKYARD_STAGE",
        help="Of the installation, or TASKYARD_STAGE; by default the one that `taskyard up` runs at --url.",
    )
    @any_endpoint_option
    @url_option
    @json_option
    @functools.wraps(command)
    def run(stage: str | None, endpoint_url: str | None, url: str, **given: Any) -> None:
        with explained():
            choose_installation(stage, endpoint_url, url)
            with acting("cli"):
                command(**given)

    return run


def not_empty(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """A text with something in it, if one is given; raises click's ``BadParameter``."""
    if value is not None and not value.strip():
        raise click.BadParameter("expected a name, got an empty text")
    return value


@click.group()
def keys() -> None:
    """Make, list and revoke access keys, and users with a password."""


@keys.command()
@click.option("--label", callback=not_empty, help="Whose it is; appears in logs. Of a user by default the name.")
@click.option("--user", help="Instead of a key: a user, whose password is asked for, or read from standard input.")
@click.option("--generate", is_flag=True, help="Make the user's password, and show it this once.")
@click.option("--scope", "scopes", multiple=True, required=True, help="What it opens; may be repeated; * is all.")
@works_on_aws
def create(as_json: bool, label: str | None, user: str | None, generate: bool, scopes: tuple[str, ...]) -> None:
    """Make a key and show it, this once; or let a user sign in with a password."""
    from chalicelib.local import access_keys

    if user is not None:
        password = secrets.token_urlsafe(GENERATED_BYTES) if generate else _asked_password()
        access_keys.create_user(user, password, label or user, scopes, _now_ms())
        made = {"user": user, "label": label or user, "scopes": sorted(scopes)}
        shown = {**made, "password": password} if generate else made
        present(shown, as_json, lambda _: show_text(password if generate else f"{user} may sign in"))
        return
    if label is None or generate:
        raise click.UsageError("name a --label, or a --user; --generate goes with --user")
    made = {"key": access_keys.create(label, scopes, _now_ms()), "label": label, "scopes": sorted(scopes)}
    present(made, as_json, lambda _: show_text(str(made["key"])))
    click.echo("Keep it: it is not stored and cannot be shown again.", err=True)


@keys.command("list")
@works_on_aws
def list_keys(as_json: bool) -> None:
    """List all keys, oldest first."""
    from chalicelib.local import access_keys

    rows = [_shown(key) for key in access_keys.listed()]
    present(rows, as_json, partial(show_rows, columns=COLUMNS))


@keys.command()
@click.argument("key", callback=not_empty)
@works_on_aws
def revoke(as_json: bool, key: str) -> None:
    """End the life of a key, named by its id or its label. It opens nothing after 30 seconds."""
    from chalicelib.local import access_keys

    row = _shown(access_keys.revoke(key, _now_ms()))
    present(row, as_json, lambda _: show_text(f"{row['id']} ({row['label']}) is revoked"))


def _shown(key: AccessKey) -> dict[str, Any]:
    return {
        "id": id_of(key),
        "label": key.name,
        "user": key.user,
        "scopes": ", ".join(sorted(key.scopes)),
        "created": _time(key.created_at_ms),
        "revoked": _time(key.revoked_at_ms),
        "used": _time(key.used_at_ms),
    }


def _asked_password() -> str:
    """From the terminal, twice and unseen; elsewhere the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

"""Commands for webhooks. They work on the directory table itself, so they need AWS access and no key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from chalicelib.cli.keys import not_empty, works_on_aws
from chalicelib.cli.numbers import Whole
from chalicelib.cli.output import present, show_rows, show_text

if TYPE_CHECKING:
    from chalicelib.core.webhooks import Webhook

COLUMNS = {"ID": "id", "URL": "url", "EVENTS": "events", "TYPES": "types", "FORMAT": "format", "CREATED": "created"}
EVERYTHING = "all"
OVERLAP_MAX_H = 720


@click.group()
def webhooks() -> None:
    """Make, list, change and remove webhooks: URLs that are told what happens to jobs."""


@webhooks.command()
@click.argument("address", metavar="URL", callback=not_empty)
@click.option(
    "--events", default="", help="Of what, separated by commas: failed attempt, complete, ... By default all."
)
@click.option("--type", "types", multiple=True, help="Of jobs of this task type or topic alone; may be repeated.")
@click.option(
    "--format",
    "body_format",
    type=click.Choice(["taskyard", "cloudevents"]),
    default="taskyard",
    show_default=True,
    help="Of the body: Taskyard's own document, or that as the data of a CloudEvent.",
)
@works_on_aws
def add(as_json: bool, address: str, events: str, types: tuple[str, ...], body_format: str) -> None:
    """Let URL be told, and show the secret by which it knows who tells, this once."""
    from chalicelib import settings
    from chalicelib.local import webhooks as kept

    names = [name.strip() for name in events.split(",") if name.strip()]
    made = kept.add(address, names, types, body_format, time.time_ns() // 1_000_000)
    _show_secret(made, _shown(made), as_json)
    chosen = settings.current()
    if chosen.hooks == "off" or (chosen.hooks == "auto" and not chosen.local):
        click.echo("It is told only where code declares hooks, or TASKYARD_HOOKS=on is deployed.", err=True)


@webhooks.command("list")
@works_on_aws
def list_webhooks(as_json: bool) -> None:
    """List all webhooks, oldest first; of a URL, what is before any question mark."""
    from chalicelib.local import webhooks as kept

    present([_shown(webhook) for webhook in kept.listed()], as_json, partial(show_rows, columns=COLUMNS))


@webhooks.command()
@click.argument("webhook", callback=not_empty)
@click.option(
    "--overlap-h",
    type=Whole(0, OVERLAP_MAX_H),
    default=24,
    show_default=True,
    help="For how many hours requests are signed with the present secret, too.",
)
@works_on_aws
def rotate(as_json: bool, webhook: str, overlap_h: int) -> None:
    """Give a webhook, named by its id, a new secret, and show it this once.

    The present one ends by itself; a former one that has not yet ended does so now.
    """
    from chalicelib.local import webhooks as kept

    made = kept.rotate(webhook, overlap_h, time.time_ns() // 1_000_000)
    ends = _iso(made.former_until_ms)
    _show_secret(made, {"id": made.id, "formerSecretEnds": ends}, as_json)
    click.echo(f"Requests are signed with the former one, too, until {ends}.", err=True)


@webhooks.command()
@click.argument("webhook", callback=not_empty)
@works_on_aws
def remove(as_json: bool, webhook: str) -> None:
    """Tell a webhook, named by its id, nothing more; what is on its way to it is dropped."""
    from chalicelib.local import webhooks as kept

    kept.remove(webhook)
    present({"id": webhook}, as_json, lambda _: show_text(f"{webhook} is removed"))


def _show_secret(made: Webhook, document: dict[str, Any], as_json: bool) -> None:
    present({**document, "secret": made.secret}, as_json, lambda _: show_text(f"{made.id} {made.secret}"))
    click.echo("Keep the secret: it is never shown again.", err=True)


def _shown(webhook: Webhook) -> dict[str, Any]:
    """A webhook without its secret, and without a query, which may hold one, too."""
    return {
        "id": webhook.id,
        "url": urlsplit(webhook.url)._replace(query="").geturl(),
        "events": ", ".join(sorted(webhook.events)) or EVERYTHING,
        "types": ", ".join(sorted(webhook.types)) or EVERYTHING,
        "format": webhook.format.value,
        "created": _iso(webhook.created_at_ms),
    }


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds")

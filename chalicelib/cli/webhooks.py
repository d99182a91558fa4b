"""Commands for webhooks. They work on the directory table itself, so they need AWS access and no key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from chalicelib.cli.keys import not_empty, works_on_aws
from chalicelib.cli.output import present, show_rows, show_text

if TYPE_CHECKING:
    from chalicelib.core.webhooks import Webhook

COLUMNS = {"ID": "id", "URL": "url", "EVENTS": "events", "TYPES": "types", "CREATED": "created"}
EVERYTHING = "all"


@click.group()
def webhooks() -> None:
    """Make, list and remove webhooks: URLs that are told what happens to jobs."""


@webhooks.command()
@click.argument("address", metavar="URL", callback=not_empty)
@click.option(
    "--events", default="", help="Of what, separated by commas: failed attempt, complete, ... By default all."
)
@click.option("--type", "types", multiple=True, help="Of jobs of this task type or topic alone; may be repeated.")
@works_on_aws
def add(as_json: bool, address: str, events: str, types: tuple[str, ...]) -> None:
    """Let URL be told, and show the secret by which it knows who tells, this once."""
    from chalicelib import settings
    from chalicelib.local import webhooks as kept

    names = [name.strip() for name in events.split(",") if name.strip()]
    made = kept.add(address, names, types, time.time_ns() // 1_000_000)
    present({**_shown(made), "secret": made.secret}, as_json, lambda _: show_text(f"{made.id} {made.secret}"))
    click.echo("Keep the secret: it is never shown again.", err=True)
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
@works_on_aws
def remove(as_json: bool, webhook: str) -> None:
    """Tell a webhook, named by its id, nothing more; what is on its way to it is dropped."""
    from chalicelib.local import webhooks as kept

    kept.remove(webhook)
    present({"id": webhook}, as_json, lambda _: show_text(f"{webhook} is removed"))


def _shown(webhook: Webhook) -> dict[str, Any]:
    """A webhook without its secret, and without a query, which may hold one, too."""
    return {
        "id": webhook.id,
        "url": urlsplit(webhook.url)._replace(query="").geturl(),
        "events": ", ".join(sorted(webhook.events)) or EVERYTHING,
        "types": ", ".join(sorted(webhook.types)) or EVERYTHING,
        "created": datetime.fromtimestamp(webhook.created_at_ms / 1_000, UTC).isoformat(timespec="seconds"),
    }

"""The commands that pause and resume a type or a queue. They work on AWS itself: with access to it, and no key."""

from __future__ import annotations

from functools import partial

import click

from chalicelib.cli.keys import works_on_aws
from chalicelib.cli.output import present, show_rows, show_text

COLUMNS = {"TYPE": "type", "KEY": "key", "QUEUE": "queue", "SINCE": "since", "BY": "by", "STATE": "state"}

type_argument = click.argument("type_", metavar="[TYPE]", required=False)
queue_option = click.option("--queue", help="A queue instead of a type: a pool, or a topic.")


@click.command()
@type_argument
@queue_option
@works_on_aws
def pause(as_json: bool, type_: str | None, queue: str | None) -> None:
    """Begin no more jobs of a task type or topic, or of a queue; what runs goes on."""
    from chalicelib.services import pauses

    pauses.pause(type_, queue=queue)
    told = {"paused": type_ or queue}
    present(told, as_json, lambda _: show_text(f"{told['paused']} is paused; workers notice within 5 seconds"))


@click.command()
@type_argument
@queue_option
@works_on_aws
def resume(as_json: bool, type_: str | None, queue: str | None) -> None:
    """Let the jobs of a type or a queue begin again, those that waited first."""
    from chalicelib.services import pauses

    told = {"resumed": type_ or queue, "sent": pauses.resume(type_, queue=queue)}
    present(told, as_json, lambda _: show_text(f"{told['resumed']} is resumed; jobs sent: {told['sent']}"))


@click.command()
@works_on_aws
def paused(as_json: bool) -> None:
    """List what is paused, oldest first."""
    from chalicelib.services import pauses

    rows = [
        {
            "type": found.type,
            "key": found.key,
            "queue": found.queue,
            "since": found.since.isoformat(timespec="seconds"),
            "by": found.by,
            "state": "resuming" if found.resuming else "waits for a handler" if found.unhandled else "paused",
        }
        for found in pauses.paused()
    ]
    present(rows, as_json, partial(show_rows, columns=COLUMNS))

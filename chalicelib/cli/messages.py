"""Commands for messages and dead letters."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TextIO

import click

from chalicelib.cli.common import (
    JSON,
    REFUSED,
    calls_service,
    flow_key_option,
    idempotency_key_option,
    parsed,
    priority_option,
    tenant_option,
)
from chalicelib.cli.http_client import BATCH_MAX, Document, Service
from chalicelib.cli.lines import send_lines
from chalicelib.cli.numbers import Number, Whole
from chalicelib.cli.output import present, show_page, show_record, show_rows
from chalicelib.core.job import ATTEMPTS_MAX

STDIN = "-"
MESSAGE_COLUMNS = {
    "ID": "id",
    "TOPIC": "topic",
    "STATUS": "status",
    "PRIORITY": "priority",
    "FAILURES": "retryCount",
    "CREATED": "createdAt",
    "TRACE": "traceId",
    "ERROR": "error",
}
DEAD_LETTER_COLUMNS = {
    "ID": "id",
    "TOPIC": "topic",
    "DIED": "createdAt",
    "REPLAYED": "replayed",
    "REPLAYED AS": "replayedAs",
    "CAUSE": "cause",
    "ERROR": "errorMessage",
}
POLLED_COLUMNS = {
    "ID": "id",
    "PRIORITY": "priority",
    "LOCK ENDS": "lockExpiresAt",
    "LOCK TOKEN": "lockToken",
    "PAYLOAD": "payload",
}
EVENT_COLUMNS = {"AT": "createdAt", "MESSAGE": "messageId", "TOPIC": "topic", "EVENT": "event", "DETAIL": "detail"}
REPLAY_COLUMNS = {"ID": "id", "DONE": "success", "MESSAGE": "messageId", "ERROR": "error"}


lock_token_option = click.option(
    "--lock-token", help="That of the poll: refused once another consumer has the message."
)


def mq(path: str) -> str:
    """A path of the message routes, behind the prefix that the service was given (``TASKYARD_MQ_PREFIX``)."""
    return f"{os.environ.get('TASKYARD_MQ_PREFIX', '/mq')}/{path}"


@click.command()
@click.argument("topic")
@click.argument("payload", required=False)
@click.option("--file", "lines", type=click.File(encoding="utf-8"), help="JSON lines, a payload each; - is stdin.")
@priority_option
@click.option("--delay", type=Number(0), metavar="SECONDS", help="Start no earlier than in SECONDS.")
@click.option("--at", metavar="TIME", help="Start no earlier than TIME, as ISO 8601.")
@click.option(
    "--max-retries",
    "maxRetries",
    type=Whole(0, ATTEMPTS_MAX),
    help="How many deliveries may fail, the last one included.",
)
@click.option("--trace-id", "traceId", help="Your own trace id.")
@click.option("--meta", type=JSON, help="More about the message: an object, shown as options.")
@idempotency_key_option
@tenant_option
@flow_key_option
@calls_service
def publish(
    service: Service,
    as_json: bool,
    topic: str,
    payload: str | None,
    lines: TextIO | None,
    delay: float | None,
    at: str | None,
    **given: Any,
) -> None:
    """Publish PAYLOAD, a JSON object, to TOPIC; or one message for each line of a file, or (-) of standard input."""
    if delay is not None and at is not None:
        raise click.UsageError("either --delay or --at, not both")
    if payload is not None and lines is not None:
        raise click.UsageError("either PAYLOAD or --file, not both")
    common = {"topic": topic, "executeAt": at if delay is None else _in(delay), **given}
    if payload == STDIN:
        lines = sys.stdin
    if lines is None:
        content = {} if payload is None else parsed(payload, "PAYLOAD")
        record = service.post(mq("message/publish"), {**common, "payload": content})
        present(record, as_json, show_record)
        return
    batch = {"path": mq("message/publish-batch"), "entries": "messages", "content": "payload"}
    send_lines(service, as_json, lines, common, **batch, done=f"published to {topic}")


@click.group()
def messages() -> None:
    """Look at messages, receive and settle them."""


@messages.command("list")
@click.option("--topic")
@click.option("--status", type=click.Choice(["PENDING", "PROCESSING", "COMPLETED", "FAILED"]))
@click.option("--trace-id", "traceId")
@click.option("--page", type=Whole(1), default=1, show_default=True)
@calls_service
def list_messages(service: Service, as_json: bool, page: int, **filters: Any) -> None:
    """List messages, newest first."""
    answer = service.get(mq("message/list"), {**filters, "currentPage": page})
    present(answer, as_json, partial(show_page, columns=MESSAGE_COLUMNS))


@messages.command()
@click.argument("topic")
@click.option("--limit", type=Whole(1, BATCH_MAX), help="At most how many.")
@click.option("--wait", type=Whole(0, 20), help="For how many seconds to wait for the first.")
@click.option(
    "--lock-timeout",
    "lockTimeout",
    type=Whole(1_000, 43_200_000),
    metavar="MS",
    help="For how many ms they are locked.",
)
@calls_service
def poll(service: Service, as_json: bool, **query: Any) -> None:
    """Receive and lock messages of TOPIC: complete or fail each before its lock ends."""
    present(service.get(mq("message/poll"), query), as_json, partial(show_rows, columns=POLLED_COLUMNS))


@messages.command()
@click.argument("message_id", metavar="ID")
@lock_token_option
@calls_service
def complete(service: Service, as_json: bool, message_id: str, lock_token: str | None) -> None:
    """Say that a locked message was worked on."""
    record = service.post(mq("message/complete"), {"id": message_id, "lockToken": lock_token})
    present(record, as_json, show_record)


@messages.command()
@click.argument("message_id", metavar="ID")
@click.option("--error", help="Why.")
@lock_token_option
@calls_service
def fail(service: Service, as_json: bool, message_id: str, error: str | None, lock_token: str | None) -> None:
    """Say that a locked message could not be worked on: it comes back, or becomes a dead letter."""
    record = service.post(mq("message/fail"), {"id": message_id, "error": error, "lockToken": lock_token})
    present(record, as_json, show_record)


@messages.command()
@click.argument("trace_id")
@calls_service
def trace(service: Service, as_json: bool, trace_id: str) -> None:
    """Show what happened to the messages with TRACE_ID, oldest first."""
    events = service.get(mq("trace/detail"), {"traceId": trace_id})
    present(events, as_json, partial(show_rows, columns=EVENT_COLUMNS))


@messages.command()
@click.option("--topic", help="Of this topic only.")
@calls_service
def depth(service: Service, as_json: bool, topic: str | None) -> None:
    """Show how many messages wait."""
    present(service.get(mq("queue/depth"), {"topic": topic}), as_json, show_record)


@click.group()
def dlq() -> None:
    """List and replay dead letters."""


@dlq.command("list")
@click.option("--topic")
@click.option("--replayed/--not-replayed", default=None, help="Only those that were, or were not, replayed.")
@click.option("--page", type=Whole(1), default=1, show_default=True)
@calls_service
def list_dead_letters(service: Service, as_json: bool, topic: str | None, replayed: bool | None, page: int) -> None:
    """List dead letters, newest first."""
    wanted = None if replayed is None else str(replayed).lower()
    answer = service.get(mq("dlq/list"), {"topic": topic, "replayed": wanted, "currentPage": page})
    present(answer, as_json, partial(show_page, columns=DEAD_LETTER_COLUMNS))


@dlq.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that were not replayed yet.")
@click.option("--topic", help="With --all: those of one topic.")
@calls_service
def replay(service: Service, as_json: bool, ids: tuple[str, ...], everything: bool, topic: str | None) -> None:
    """Replay dead letters: each becomes a new message."""
    if bool(ids) == everything:
        raise click.UsageError("either IDS or --all")
    if topic is not None and not everything:
        raise click.UsageError("--topic goes with --all")
    chosen = list(ids) if ids else _not_replayed(service, topic)
    results: list[Document] = []
    for start in range(0, len(chosen), BATCH_MAX):
        results += service.post(mq("dlq/replay"), {"ids": chosen[start : start + BATCH_MAX]})
    present(results, as_json, partial(show_rows, columns=REPLAY_COLUMNS))
    if not all(result["success"] for result in results):
        sys.exit(REFUSED)


def _not_replayed(service: Service, topic: str | None) -> list[str]:
    # Read to the end before the first replay: replaying moves what follows to an earlier page.
    query = {"topic": topic, "replayed": "false"}
    return [letter["id"] for letter in service.pages(mq("dlq/list"), query)]


def _in(delay_s: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=delay_s)).isoformat(timespec="milliseconds")

"""Webhooks, made and removed where they are kept: in the directory table, with AWS credentials and not over HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence

from chalicelib import aws, settings
from chalicelib.core.errors import NotFound
from chalicelib.core.webhooks import Format, Webhook, checked_events, checked_url, new_id, new_secret
from chalicelib.store.directory import Directory
from chalicelib.store.table import Refused, Table

HOUR_MS = 3_600_000


def add(url: str, events: Sequence[str], types: Sequence[str], body_format: str, now_ms: int) -> Webhook:
    """A new webhook, with its secret. Raises ``InvalidInput`` for a URL or an event that is none."""
    webhook = Webhook(
        id=new_id(os.urandom),
        url=checked_url(url, local=settings.current().local),
        events=checked_events(events),
        types=frozenset(types),
        format=Format(body_format),
        secret=new_secret(os.urandom),
        created_at_ms=now_ms,
    )
    _directory().put_webhook(webhook)
    return webhook


def listed() -> list[Webhook]:
    """All webhooks, oldest first."""
    return _directory().webhooks()


def rotate(webhook_id: str, overlap_h: int, now_ms: int) -> Webhook:
    """The webhook, with another secret; the present one signs, too, for so many hours. Raises ``NotFound``."""
    try:
        return _directory().rotate_webhook(webhook_id, new_secret(os.urandom), now_ms + overlap_h * HOUR_MS)
    except Refused as refused:
        raise _unknown(webhook_id) from refused


def remove(webhook_id: str) -> None:
    """Forget a webhook; raises ``NotFound`` when there is none with this id."""
    try:
        _directory().delete_webhook(webhook_id)
    except Refused as refused:
        raise _unknown(webhook_id) from refused


def _unknown(webhook_id: str) -> NotFound:
    return NotFound("there is no such webhook", got=webhook_id, remedy="see `taskyard webhooks list`")


def _directory() -> Directory:
    table = settings.current().directory_table
    return Directory(Table(aws.client("dynamodb"), table, ("kind", "name")))

"""Which requests are sent to DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chalicelib.engine.yard import Yard


@contextmanager
def requests(yard: Yard) -> Iterator[list[str]]:
    """Notes the operation of each request to DynamoDB."""
    seen: list[str] = []

    def note(model: Any, **_: Any) -> None:
        seen.append(model.name)

    events = yard.jobs.table.client.meta.events
    events.register("before-call.dynamodb", note)
    try:
        yield seen
    finally:
        events.unregister("before-call.dynamodb", note)

"""A subscriber that publishes, and what it has published."""

from __future__ import annotations

from typing import Any

from chalicelib.engine.handlers.declare import subscribe
from chalicelib.engine.worker.context import Context
from chalicelib.services import messages

published: list[int] = []


@subscribe("deployed", max_attempts=5)
def publisher(script: dict[str, Any], context: Context) -> None:
    """Publish to the topic that the message names, once for each of its names, then fail if it says so."""
    for name in script.get("once", [None]):
        sent = messages.publish(script["to"], {"n": len(published)}, once=name, within=context)
        published.append(sent.id)
    if script.get("fail"):
        raise ValueError("no luck")

"""The worker: a batch of messages of one lane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.engine.worker.consume import consume
from chalicelib.engine.yard import Yard
from chalicelib.functions.events import LambdaContext, batch_response, received
from chalicelib.functions.logs import logged


@logged
def handle(yard: Yard, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Run the jobs of an SQS event; returns which messages must come back."""
    hidden_until_ms = getattr(context, "messages_hidden_until_ms", None)  # what only the local runtime tells
    return batch_response(consume(yard, received(event), context.get_remaining_time_in_millis, hidden_until_ms))

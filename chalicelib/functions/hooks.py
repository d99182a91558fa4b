"""Hooks: letters of the FIFO queue of events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.engine.projections.events import deliver
from chalicelib.engine.yard import Yard
from chalicelib.functions.events import LambdaContext, batch_response, received
from chalicelib.functions.logs import logged


@logged
def handle(yard: Yard, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Tell hooks and webhooks what an SQS event says; returns which messages must come back."""
    return batch_response(deliver(yard, received(event), context.get_remaining_time_in_millis))

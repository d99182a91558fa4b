"""Dead letters: what SQS has moved to the dead-letter queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.engine.worker.redrive import redrive
from chalicelib.engine.yard import Yard
from chalicelib.functions.events import LambdaContext, batch_response, received
from chalicelib.functions.logs import logged


@logged
def handle(yard: Yard, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Send the jobs of an SQS event back to their lanes, or dead-letter them; returns which messages must come back."""
    del context  # a message takes a few calls: ten of them never come near the function's end
    return batch_response(redrive(yard, received(event)))

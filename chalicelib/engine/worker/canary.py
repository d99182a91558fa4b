"""What a worker, and the function of the dead-letter queue, do with a canary: note that it is back, or send it on."""

from __future__ import annotations

from chalicelib.core.canary import canary_in
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import OutgoingMessage, Received


def is_canary(yard: Yard, message: Received) -> bool:
    """Whether a message is a canary; one that is has come back.

    What AWS refuses costs the canary, not the batch: the next one will be back.
    """
    canary = canary_in(message.text)
    if canary is None:
        return False
    try:
        yard.canaries.came_back(canary)
    except Exception:
        logger.exception("a canary is not noted", extra={"way": canary.way})
    return True


def sent_on(yard: Yard, message: Received) -> bool:
    """Whether a message of the dead-letter queue is a canary; one that is flies on to its lane."""
    canary = canary_in(message.text)
    if canary is None:
        return False
    yard.transport.send(OutgoingMessage(canary.lane, message.text))
    return True

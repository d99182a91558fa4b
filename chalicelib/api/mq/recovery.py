"""Bringing back what vanished consumers left behind: ``/mq/queue/recover-locked``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.api.shapes import FASTIFY
from chalicelib.engine.clock.leases import recover_locked
from chalicelib.http.models import AnswerModel, ApiModel, Topic
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

RECOVERING_MAX_MS = 15_000  # half of what API Gateway gives a request

router = Router("Queues", style=FASTIFY)


class RecoverBody(ApiModel):
    """Whose locks to look at."""

    topic: Topic | None = Field(default=None, description="Of this topic only", examples=["order.created"])


class Recovered(AnswerModel):
    """What came of it."""

    recovered: int = Field(description="How many messages are PENDING again, or FAILED if that was the last delivery")


@router.post("/mq/queue/recover-locked", scope="message")
def recover_locked_messages(yard: Yard, body: RecoverBody | None) -> Recovered:
    """Make messages PENDING at once whose lock ran out, the oldest first.

    They come back by themselves, too: with the next poll after the lock has run out. At most 1,000 are recovered by
    one request; if there may be more, ask again.
    """
    topic = None if body is None else body.topic
    stop_at_ms = yard.now_ms() + RECOVERING_MAX_MS
    return Recovered(recovered=recover_locked(yard, topic, lambda: yard.now_ms() < stop_at_ms))

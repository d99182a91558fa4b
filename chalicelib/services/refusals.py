"""Why a message cannot be settled, in fastify-mq's words."""

from __future__ import annotations

from chalicelib.core.errors import Conflict
from chalicelib.core.states import State
from chalicelib.engine.polling.poll import LockMismatch, NotLocked
from chalicelib.services.words import STATUS_OF


def as_conflict(refused: NotLocked) -> Conflict:
    """The engine's refusal as the dialect tells it."""
    job = refused.job
    if isinstance(refused, LockMismatch):
        return refused
    if job.state is State.RUNNING:
        return Conflict(
            f"message {job.id} is being run by a subscriber",
            field="id",
            expected="a message that was polled",
            got=job.type,
            remedy="the subscriber settles it by itself",
        )
    status = STATUS_OF[job.state]
    return Conflict(
        f"message {job.id} is {status}, not PROCESSING",
        field="id",
        expected="a message that is PROCESSING",
        got=status,
        remedy="it is settled already" if job.state.terminal else "poll it first",
    )

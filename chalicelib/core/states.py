"""The states of a job and the moves between them.

::

    pending -> running -> success            running -> waiting -> success | failed   (parked for a callback)
    pending -> canceled                      running -> pending  (retry, poll, lease lost)
    running | waiting -> canceled | failed   failed | canceled -> pending  (explicit retry)
    pending -> success | failed              (completed by a person or a callback; attempts used up)

A running job whose lease has run out is running still: the next claim takes it over (running -> running).
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """A task remembers how it went; a message is consumed."""

    TASK = "task"
    MESSAGE = "message"


class State(StrEnum):
    """Where a job stands. The values are stored; each dialect shows its own words for them."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        """Whether only an explicit retry or a replay leads on from here."""
        return self in TERMINAL


TERMINAL = frozenset({State.SUCCESS, State.FAILED, State.CANCELED})
LIVE = frozenset(State) - TERMINAL

MOVES: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.RUNNING, State.CANCELED, State.SUCCESS, State.FAILED}),
    State.RUNNING: frozenset(
        {State.RUNNING, State.WAITING, State.PENDING, State.SUCCESS, State.FAILED, State.CANCELED}
    ),
    State.WAITING: frozenset({State.SUCCESS, State.FAILED, State.CANCELED}),
    State.SUCCESS: frozenset(),
    State.FAILED: frozenset({State.PENDING}),
    State.CANCELED: frozenset({State.PENDING}),
}


def may_move(before: State, after: State) -> bool:
    """Whether the diagram above has an arrow from ``before`` to ``after``."""
    return after in MOVES[before]

"""Which installation the code that asks works for, and on which attempt of which job, if somebody has said so.

A worker says so around each batch, a consumer around each message. Tasks of asyncio see it; a thread that a handler
starts sees it when it is run in a copy of the context (``contextvars.copy_context().run``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from chalicelib.engine.yard import Yard


@dataclass(frozen=True, slots=True)
class Running:
    """What is worked on. ``keys``: what was published once meanwhile; no two publications may share one."""

    yard: Yard
    job_id: int | None = None
    keys: set[tuple[str, int]] = field(default_factory=set)  # with the number of the attempt


_running: ContextVar[Running | None] = ContextVar("running", default=None)


def running() -> Running | None:
    """What is worked on by the code that asks."""
    return _running.get()


@contextmanager
def at_work(yard: Yard, job_id: int | None = None) -> Iterator[None]:
    """Within the block, ``running`` tells of ``yard``, and of a job if one is named."""
    token = _running.set(Running(yard, job_id))
    try:
        yield
    finally:
        _running.reset(token)

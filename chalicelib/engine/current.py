"""What is being run here: for code that a handler calls, and that is handed nothing.

A handler's own thread sees it, and tasks of asyncio do. A thread that a handler starts sees it when it is run in a
copy of the context (``contextvars.copy_context().run``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from chalicelib.engine.yard import Yard


@dataclass(frozen=True, slots=True)
class Running:
    """The yard that is worked on and, within an attempt, the job that it is an attempt of.

    ``names``: under which names the attempt has published so far; no two publications may share one.
    """

    yard: Yard
    job_id: int | None = None
    names: set[str] = field(default_factory=set)


_running: ContextVar[Running | None] = ContextVar("running", default=None)


def running() -> Running | None:
    """What is being run by the code that asks, if anything is."""
    return _running.get()


@contextmanager
def at_work(yard: Yard, job_id: int | None = None) -> Iterator[None]:
    """Within the block, ``running`` tells of ``yard``, and of an attempt of a job if one is named."""
    token = _running.set(Running(yard, job_id))
    try:
        yield
    finally:
        _running.reset(token)

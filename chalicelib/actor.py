"""Who acts: said where a request or a command comes in, and noted with what it does to jobs that are others'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_actor: ContextVar[str | None] = ContextVar("actor", default=None)


@contextmanager
def acting(name: str) -> Iterator[None]:
    """What the block does is done by ``name``: of an access key, ``cli``, of a handler."""
    before = _actor.set(name)
    try:
        yield
    finally:
        _actor.reset(before)


def actor() -> str | None:
    """Who acts in this thread; ``None``: a program of which nothing more is known than its process."""
    return _actor.get()


def act_for(name: str | None) -> None:
    """Whatever this thread does from now on is done by ``name``: for threads that do a part of another's work."""
    _actor.set(name)

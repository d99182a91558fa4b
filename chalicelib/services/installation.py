"""Which installation the services act on.

The nearest of these: a ``using`` block; the yard that runs the handler at work; what ``use`` named for this process;
and else the one that the environment's settings describe, made at first use.

    with installation.using(yard):  # a test
        messages.publish(...)

A thread of a handler's own sees no block and no handler: run it in ``contextvars.copy_context().run``.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from chalicelib.core.errors import InvalidInput
from chalicelib.engine import current
from chalicelib.engine.yard import Yard, build

_lock = threading.RLock()  # the handlers that the default imports may ask for it
_of_process: list[Yard] = []  # none or one


def yard() -> Yard:
    """The installation that the calling code acts on."""
    running = current.running()
    return running.yard if running is not None else _default()


def using(chosen: Yard) -> AbstractContextManager[None]:
    """Within the block, and in what it calls, the services act on ``chosen``."""
    return current.at_work(chosen)


def use(chosen: Yard | None) -> None:
    """From now on this process acts on ``chosen`` wherever nothing nearer says otherwise; ``None`` forgets it."""
    with _lock:
        _of_process[:] = [] if chosen is None else [chosen]


def key_for(name: str) -> str:
    """The idempotency key of what the handler at work publishes under ``name``: the same in all attempts of its job.

    Raises ``InvalidInput`` outside of a handler, and for a name that this attempt has used already.
    """
    running = current.running()
    if running is None or running.job_id is None:
        raise InvalidInput(
            "nothing is being run here that could be tried again",
            field="once",
            expected="a name, within a handler",
            got=name,
            remedy="outside of handlers, name an idempotency_key",
        )
    if name in running.names:
        raise InvalidInput(
            "this attempt has published under this name already",
            field="once",
            expected="a name of its own for each publication",
            got=name,
        )
    running.names.add(name)
    return f"{running.job_id}/{name}"


def free_name(name: str) -> None:
    """The attempt at work did not publish under ``name`` after all."""
    running = current.running()
    if running is not None:
        running.names.discard(name)


def _default() -> Yard:
    with _lock:
        if not _of_process:
            from chalicelib.engine.registry import registry  # imports the handlers, which may import this package

            _of_process.append(build(registry()))
        return _of_process[0]

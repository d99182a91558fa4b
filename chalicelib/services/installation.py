"""Which installation the services act on.

The nearest of these: a ``using`` block; that of the worker or consumer that runs the calling code; what ``use`` named
for this process; and else the one that the environment's settings describe, made at first use.

    with installation.using(yard):  # a test
        messages.publish(...)

A thread of a handler's own sees no block and no handler: run it in ``contextvars.copy_context().run``.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from chalicelib import aws
from chalicelib.core.errors import TaskyardError
from chalicelib.engine.yard import Yard, build
from chalicelib.services import current

_lock = threading.RLock()  # the handlers that the default imports may ask for it
_of_process: list[Yard] = []  # none or one


def yard() -> Yard:
    """The installation that the calling code acts on."""
    running = current.running()
    return running.yard if running is not None else _default()


def using(chosen: Yard) -> AbstractContextManager[None]:
    """Within the block, and in what it calls, the services act on ``chosen``."""
    return current.at_work(chosen)


class NoCredentials(TaskyardError):
    """Nothing here says who this process is to AWS."""


def use(chosen: Yard | None) -> None:
    """From now on this process acts on ``chosen`` wherever nothing nearer says otherwise; ``None`` forgets it."""
    with _lock:
        _of_process[:] = [] if chosen is None else [chosen]


def _default() -> Yard:
    with _lock:
        if not _of_process:
            _expect_credentials()
            from chalicelib.engine.handlers.registry import (
                registry,  # imports the handlers, which may import this package
            )

            _of_process.append(build(registry()))
        return _of_process[0]


def _expect_credentials() -> None:
    if not aws.has_credentials():
        raise NoCredentials(
            "there are no AWS credentials for this process",
            expected="those of an account, by which the services reach the installation",
            got="none in the environment, in ~/.aws, or from this machine",
            remedy="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; with `taskyard up`, any will do",
        )

"""Pause and resume a task type, a topic or a queue, for the whole deployment.

    from chalicelib.services import pauses

    pauses.pause("image.resize")
    pauses.pause(queue="orders")
    pauses.resume("image.resize")

What runs goes on; what would begin waits, in order, and so does what is published meanwhile. Workers and polls notice
within five seconds. A pause lasts until it is resumed. A key alone is paused by ``services.flow``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.engine.commands.flow import key_of_pause
from chalicelib.engine.worker import pause as pausing
from chalicelib.services import checks, installation
from chalicelib.services.records import moment_of
from chalicelib.store.pauses import Pause


@dataclass(frozen=True, slots=True)
class Paused:
    """Something that is paused: a ``type`` (or topic), one ``key`` of it, or a ``queue``.

    ``resuming``: it is sent out again. ``unhandled``: nobody paused it; its jobs wait for a handler of their type.
    ``by``: who paused it (an access key's name, ``cli``, a process), where that is known.
    """

    type: str | None
    queue: str | None
    since: datetime
    resuming: bool
    unhandled: bool = False
    key: str | None = None
    by: str | None = None


def pause(type: str | None = None, *, queue: str | None = None) -> None:  # noqa: A002  # every dialect's word for it
    """Begin no more jobs of a task type or topic, or of a queue. Raises ``InvalidInput``."""
    pausing.pause(installation.yard(), _target(type, queue))


def resume(type: str | None = None, *, queue: str | None = None) -> int:  # noqa: A002  # as above
    """Let the jobs begin again; returns how many were sent that had waited.

    Raises ``InvalidInput``, and ``NotFound`` for what is not paused.
    """
    return pausing.resume(installation.yard(), _target(type, queue))


def paused() -> Sequence[Paused]:
    """What is paused, oldest first."""
    return [_shown(each) for each in pausing.paused(installation.yard())]


def _shown(pause: Pause) -> Paused:
    key = key_of_pause(pause.target)
    of_type = key.type if key is not None else _name(pause.target, pausing.TYPE)
    return Paused(
        type=of_type,
        queue=_name(pause.target, pausing.QUEUE),
        since=moment_of(pause.since_ms),
        resuming=pause.resuming,
        unhandled=pause.unhandled,
        key=None if key is None else key.key,
        by=pause.by,
    )


def _name(target: str, start: str) -> str | None:
    return target.removeprefix(start) if target.startswith(start) else None


def _target(type: str | None, queue: str | None) -> str:  # noqa: A002  # as above
    if type is not None and queue is None:
        return pausing.type_target(type)
    if queue is not None and type is None:
        return pausing.queue_target(queue)
    raise checks.not_one("either a type or a queue is paused", field="type", given=type is not None)

"""Messages that used up their deliveries, and their replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from chalicelib.core.errors import InvalidInput, TaskyardError
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.services import checks, installation
from chalicelib.services.lists import page_of
from chalicelib.services.records import DeadLetter, Message, Page, Replay, dead_letter_of, message_of
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.ledger import REPLAYED

Which: TypeAlias = DeadLetter | Message | int | str
"""A dead letter, the message that it was, or their id as a number or as digits."""

REPLAYS_MAX = 100
INDEX_KEYS_OF = {None: (State.FAILED.value, REPLAYED), True: (REPLAYED,), False: (State.FAILED.value,)}


def replay(dead_letter: Which) -> Message:
    """Publish a dead letter anew; returns the new message, which has a trace of its own.

    Raises ``NotFound`` for what is no dead letter and ``Conflict`` for one that was replayed already, or cannot be.
    """
    yard = installation.yard()
    job = lifecycle.replay(yard, checks.job_id(_id(dead_letter), "dead letter"))
    return message_of(job, yard.payloads.body(job))


def batch_replay(dead_letters: Sequence[Which]) -> Sequence[Replay]:
    """Replay several, each for itself; answers, in order, what became of each."""
    return [_replay(each) for each in checks.many("dead_letters", dead_letters)]


def replay_topic(topic: str, most: int = REPLAYS_MAX) -> Sequence[Replay]:
    """Replay the oldest dead letters of a topic that were not replayed yet, up to ``most`` (1 to 100).

    Returns what became of each; as many as ``most``: there may be more. Raises ``InvalidInput``.
    """
    wanted = JobQuery(Kind.MESSAGE, checks.topic(topic), INDEX_KEYS_OF[False], descending=False)
    cursor_page = installation.yard().lists.cursor_page(wanted, checks.whole("most", most, 1, REPLAYS_MAX))
    return [_replay(job.id) for job in cursor_page.jobs]


def list(  # noqa: A001  # fastify-mq's word for it
    *,
    topic: str | None = None,
    replayed: bool | None = None,
    page: int = 1,
    per_page: int = 20,
    cursor: str | None = None,
) -> Page[DeadLetter]:
    """Dead letters, the newest message first; for ``page`` and ``cursor`` see ``messages.list``.

    Raises ``InvalidInput``.
    """
    if replayed is not None and not isinstance(replayed, bool):
        raise InvalidInput("this is no choice", field="replayed", expected="True, False or None for both", got=replayed)
    wanted = JobQuery(Kind.MESSAGE, checks.maybe_topic(topic), INDEX_KEYS_OF[replayed])
    return page_of(installation.yard(), wanted, dead_letter_of, page=page, per_page=per_page, cursor=cursor)


def _replay(dead_letter: Which) -> Replay:
    given = _id(dead_letter)
    try:
        return Replay(id=given, message=replay(given))
    except TaskyardError as error:
        return Replay(id=given, error=error)


def _id(dead_letter: Which) -> int | str:
    return dead_letter.id if isinstance(dead_letter, DeadLetter | Message) else dead_letter

"""Consume topics in this process, look how much waits, count jobs, and tidy up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chalicelib.core.errors import InvalidInput
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock import leases
from chalicelib.engine.clock.retention import Bounds, messages_to_remove, remove_matching, unreplayed
from chalicelib.engine.projections.depth import Depth, depth_of
from chalicelib.services import checks, installation
from chalicelib.services.consumer import STOP_WITHIN_S, Consumer
from chalicelib.services.serving import Function
from chalicelib.services.words import Status, states_of

REMOVALS_AT_ONCE = 1_000

_consumer = Consumer()


def subscribe(topic: str, function: Function) -> None:
    """Let this process call ``function`` with each message of a polled topic; see ``consumer.Consumer.subscribe``.

    These three functions share one consumer with the default options; for others, make a ``Consumer`` of your own.
    """
    _consumer.subscribe(topic, function)


def start_consumer() -> None:
    """Begin to consume what was subscribed to; see ``consumer.Consumer.start``."""
    _consumer.start()


def stop_consumer(within_s: float = STOP_WITHIN_S) -> bool:
    """Take no more messages, and wait for those being worked on; see ``consumer.Consumer.stop``."""
    return _consumer.stop(within_s)


def depth(topic: str | None = None) -> Depth:
    """How many messages wait, of one topic or of all. Raises ``InvalidInput``."""
    return depth_of(installation.yard(), checks.maybe_topic(topic))


def counts(kind: Kind | str = Kind.TASK, type: str | None = None) -> dict[State, int]:  # noqa: A002 - as the field
    """How many tasks (or messages: ``Kind.MESSAGE``) there are in each state, of one type or topic or of all.

    From the counters, so that it costs the same however many there are; they are about a second behind. What is
    delayed is ``PENDING``, as what is due: the counters do not know the time. Raises ``InvalidInput``.
    """
    if kind not in list(Kind):
        raise InvalidInput("this is no kind of job", field="kind", expected=" or ".join(Kind), got=kind)
    chosen = checks.maybe_name("type", type) if kind == Kind.TASK else checks.maybe_topic(type)
    total = dict.fromkeys(State, 0)
    for group, states in installation.yard().insights.counters().items():
        if group.kind == kind and chosen in (None, group.type):
            for state, number in states.items():
                total[state] += number
    return {state: max(0, number) for state, number in total.items()}


def recover_locked(topic: str | None = None) -> int:
    """Make every message PENDING at once whose lock ran out; returns how many.

    They come back by themselves, too: with the next poll after the lock has run out. Raises ``InvalidInput``.
    """
    yard, chosen = installation.yard(), checks.maybe_topic(topic)
    total = 0
    while recovered := leases.recover_locked(yard, chosen, lambda: True):
        total += recovered
        if recovered < leases.RECOVERED_MAX:
            break
    return total


@dataclass(frozen=True, slots=True)
class Cleaned:
    """How many messages a cleanup removed, and whether it ended before all were.

    ``kept``: with FAILED, how many dead letters of any age were not replayed and therefore stay, counted up to 10,000.
    """

    deleted: int
    has_more: bool
    kept: int = 0


def cleanup(
    *,
    status: Status | str = Status.COMPLETED,
    older_than: datetime | None = None,
    topic: str | None = None,
    include_unreplayed: bool = False,
    going_on: Callable[[], bool] = lambda: True,
) -> Cleaned:
    """Remove messages that are COMPLETED or FAILED, the oldest first, with their payloads.

    Dead letters that were not replayed stay unless ``include_unreplayed``; traces are told for 15 days more.
    ``older_than``: only what last changed before this aware time; default everything of the status. It goes on
    until none is left or ``going_on`` says no, which is asked every 100 messages: in a Lambda function let it look at
    the time that remains. Raises ``InvalidInput``.
    """
    if status not in (Status.COMPLETED, Status.FAILED):
        raise InvalidInput("only what is done is removed", field="status", expected="COMPLETED or FAILED", got=status)
    yard, chosen = installation.yard(), checks.maybe_topic(topic)
    before_ms = None if older_than is None else checks.at_ms("older_than", older_than)
    wanted = messages_to_remove(chosen, states_of(Status(status)), include_unreplayed=include_unreplayed)
    deleted, place = 0, None
    while True:
        removed = remove_matching(yard, wanted, before_ms, Bounds(REMOVALS_AT_ONCE, going_on), place)
        deleted, place = deleted + removed.count, removed.place
        if place is None or not going_on():
            break
    kept = unreplayed(yard, chosen) if status == Status.FAILED and not include_unreplayed else 0
    return Cleaned(deleted, has_more=place is not None, kept=kept)

"""How many messages wait: counted on the ledger's index, or told by the counters where those are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.core.states import Kind, State
from chalicelib.engine.yard import Yard
from chalicelib.store.job_lists import WINDOW
from chalicelib.store.job_queries import JobQuery


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages are pending, delayed ones included.

    ``is_exact`` is false above 10,000, where the counters answer, which are a moment behind. ``by_topic`` names the
    topics where messages wait, from the counters; ``None`` where one topic was asked for.
    """

    depth: int
    is_exact: bool
    by_topic: Mapping[str, int] | None


def depth_of(yard: Yard, topic: str | None = None) -> Depth:
    """How many messages wait, of one topic or of all."""
    waiting = yard.lists.count(JobQuery(Kind.MESSAGE, topic, (State.PENDING.value,)))
    if topic is not None and waiting <= WINDOW:
        return Depth(waiting, is_exact=True, by_topic=None)
    by_topic = _waiting_by_topic(yard)
    counted = sum(by_topic.values()) if topic is None else by_topic.get(topic, 0)
    return Depth(
        depth=waiting if waiting <= WINDOW else max(waiting, counted),
        is_exact=waiting <= WINDOW,
        by_topic=by_topic if topic is None else None,
    )


def _waiting_by_topic(yard: Yard) -> dict[str, int]:
    waiting: Counter[str] = Counter()
    for group, counts in yard.insights.counters().items():
        if group.kind == Kind.MESSAGE:
            waiting[group.type] += counts[State.PENDING]
    return {topic: count for topic, count in sorted(waiting.items()) if count > 0}

"""What is done in a run: a few orders of every kind, chosen by seed, each a little story of one client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.simulation import flows, stories
from tests.simulation.clients import Person

Story = Callable[[Person], None]
STORIES: dict[str, Story] = {
    "task": stories.a_task,
    "late": stories.a_late_task,
    "limited": stories.limited,
    "many": stories.many,
    "once": stories.once,
    "message": stories.a_message,
    "canceled": stories.canceled,
    "by hand": stories.by_hand,
    "revived": stories.revived,
    "parked": stories.parked,
    "polling": stories.polling,
    "paced": stories.paced,
    "promoted": stories.promoted,
    "deleted": stories.deleted,
    "paused": stories.paused,
    "chain": flows.chain,
    "family": flows.family,
    "graph": flows.graph,
    "schedule": flows.scheduled,
    "alike": flows.alike,
    "newest": flows.newest,
    "strict": flows.strict,
}


@dataclass(frozen=True, slots=True)
class Order:
    """One story, and who tells it: its dice are its own, so that leaving out another order changes little."""

    number: int
    name: str
    seed: int
    after_ms: int


def orders(dice: Random, kinds: Sequence[str] = tuple(STORIES)) -> list[Order]:
    """The orders of a seed, of these kinds."""
    names = dice.choices(kinds, k=dice.randint(2, 5))
    return [Order(number, name, dice.getrandbits(32), dice.randrange(3_000)) for number, name in enumerate(names)]

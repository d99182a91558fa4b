"""What is done in a run: orders, chosen by seed, each a little story of one client; and how much a run holds.

Most runs are narrow: one order, which may be of several jobs. Such runs find most faults soonest for the same CPU
(docs/proof.md); what happens between orders is for the wide ones, of which there is one for many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from chalicelib.engine.handlers.registry import Registry
from tests.simulation import flows, handlers, stories
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

HANDLERS: Mapping[str, Sequence[Any]] = {  # what a story asks for, beside plain tasks
    "task": (handlers.light, handlers.batched),
    "limited": (handlers.lone, handlers.keyed, handlers.ordered),
    "many": (handlers.light,),
    "message": (handlers.first_reader, handlers.second_reader),
    "canceled": (handlers.lone, handlers.ordered),
    "paced": (handlers.paced,),
    "deleted": (handlers.lone,),
    "paused": (handlers.lone,),
    "alike": (handlers.unique,),
    "newest": (handlers.newest,),
    "strict": (handlers.strict,),
}
WIDE_EVERY = 8  # seeds


@dataclass(frozen=True, slots=True)
class Width:
    """How much a run holds at most: orders, execution environments of the worker, ticks while the weather is bad.

    ``whole``: every handler is deployed, and clients poll; else only what the orders have use for.
    """

    orders: tuple[int, int]
    workers: int
    ticks: int
    whole: bool


WIDE = Width(orders=(2, 5), workers=3, ticks=2, whole=True)
NARROW = Width(orders=(1, 1), workers=2, ticks=1, whole=False)


def width_of(seed: int) -> Width:
    """Every eighth seed is wide."""
    return NARROW if seed % WIDE_EVERY else WIDE


@dataclass(frozen=True, slots=True)
class Order:
    """One story, and who tells it: its dice are its own, so that leaving out another order changes little."""

    number: int
    name: str
    seed: int
    after_ms: int


def orders(dice: Random, width: Width, kinds: Sequence[str]) -> list[Order]:
    """The orders of a seed, of these kinds."""
    names = dice.choices(kinds, k=dice.randint(*width.orders))
    return [Order(number, name, dice.getrandbits(32), dice.randrange(3_000)) for number, name in enumerate(names)]


def deployed(orders: Iterable[Order], width: Width) -> Registry:
    """The handlers of a run."""
    return handlers.REGISTRY if width.whole else _registry_of(frozenset(order.name for order in orders))


@cache
def _registry_of(stories: frozenset[str]) -> Registry:
    wanted = dict.fromkeys(handler for story in sorted(stories) for handler in HANDLERS.get(story, ()))
    return Registry.of([handlers.plain, *wanted])


def is_polled(orders: Iterable[Order], width: Width) -> bool:
    """Whether a message may be published that clients have to poll."""
    return width.whole or any(order.name == "message" for order in orders)

"""What a deployment costs: a month in which nobody uses it, and what jobs add.

What is used comes from ``idle`` and ``jobs``, money from ``core/prices.py`` alone. Nothing here asks AWS.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from chalicelib.core.prices import PRICES, Item, Price
from infra.cost.idle import idle
from infra.cost.jobs import added
from infra.cost.load import Deployment, Load
from infra.cost.usage import Usage


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the bill: ``free`` of the amount costs nothing."""

    usage: Usage
    free: float = 0.0

    @property
    def price(self) -> Price:
        """The list price that applies."""
        return PRICES[self.usage.item]

    @property
    def usd(self) -> float:
        """What the line costs."""
        return (self.usage.amount - self.free) * self.price.usd_each


@dataclass(frozen=True, slots=True)
class Bill:
    """The lines of a bill."""

    lines: Sequence[Line]

    @property
    def usd(self) -> float:
        """What it costs in all."""
        return sum(line.usd for line in self.lines)

    @property
    def usd_by_service(self) -> dict[str, float]:
        """What it costs at each of AWS's services at which it costs anything."""
        found: defaultdict[str, float] = defaultdict(float)
        for line in self.lines:
            found[line.price.service] += line.usd
        return {service: usd for service, usd in found.items() if usd}


def bills(deployed: Deployment, load: Load, *, free_tier: bool = False) -> tuple[Bill, Bill]:
    """The bill of an idle month, and what ``load`` adds to it within a month.

    With ``free_tier``, what AWS gives every account each month is taken off, from the idle bill first. Raises
    ``InvalidInput`` for a load that cannot be, or a resource that nobody priced.
    """
    left = {item: price.free_a_month if free_tier else 0.0 for item, price in PRICES.items()}
    for_time = Item.FUNCTION_TIME_ARM if deployed.arm else Item.FUNCTION_TIME
    idle_usages = [_on(for_time, usage) for usage in idle(deployed)]
    load_usages = [_on(for_time, usage) for usage in added(deployed, load.checked(deployed.settings))]
    return Bill(_lines(idle_usages, left)), Bill(_lines(load_usages, left))


def _on(for_time: Item, usage: Usage) -> Usage:
    return replace(usage, item=for_time) if usage.item is Item.FUNCTION_TIME else usage


def _lines(usages: Iterable[Usage], left: dict[Item, float]) -> list[Line]:
    """``usages`` of the same item and purpose added up; takes off what is ``left`` of the free amounts."""
    amounts: dict[tuple[Item, str, str], float] = {}
    for usage in usages:
        key = (usage.item, usage.what, usage.smaller)
        amounts[key] = amounts.get(key, 0.0) + usage.amount
    lines = []
    for (item, what, smaller), amount in amounts.items():
        free = min(amount, left[item])
        left[item] -= free
        lines.append(Line(Usage(item, amount, what, smaller), free))
    return lines

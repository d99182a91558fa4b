"""What goes wrong between a process and AWS, by seed: how often, and which kind at which call.

Every fault has a number, in the order in which they come; a run may leave out some of them (``spared``), and the dice
fall as before. So what a failing seed needs can be found by leaving out the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """What happens to one call."""

    REFUSED = "refused"  # nothing reaches AWS, at no try
    THROTTLED = "throttled"  # AWS refuses it until the client gives up
    UNANSWERED = "unanswered"  # it takes effect, the answer is lost, and no repetition gets through
    REPEATED = "repeated"  # it takes effect, the answer is lost, and the repetition meets that effect
    CONFLICT = "conflict"  # another transaction holds the item
    SLOW = "slow"  # it takes long to get there
    LATE = "late"  # its answer takes long to come back
    FROZEN = "frozen"  # the whole process stands still for a time
    KILLED_BEFORE = "killed before"  # the process ends just before it
    KILLED_AFTER = "killed after"  # the process ends just after it took effect


WRITES = frozenset(
    {"put_item", "update_item", "delete_item", "transact_write_items", "batch_write_item"}
    | {"send_message", "send_message_batch", "delete_message_batch", "change_message_visibility_batch"}
)
CONFLICTING = frozenset({"put_item", "update_item", "delete_item", "transact_write_items"})
OF_READS = (Fault.REFUSED, Fault.THROTTLED, Fault.SLOW, Fault.KILLED_BEFORE, Fault.FROZEN)
OF_WRITES = (*OF_READS, Fault.UNANSWERED, Fault.REPEATED, Fault.LATE, Fault.KILLED_AFTER)
KILLS = frozenset({Fault.KILLED_BEFORE, Fault.KILLED_AFTER})


@dataclass(slots=True)
class Weather:
    """The faults of one run."""

    dice: Random
    share: float  # of calls
    kinds: frozenset[Fault]  # those that occur at all
    latency_ms: int  # a call takes up to this
    spared: Set[int] = frozenset()
    fair: bool = False  # nothing goes wrong any more
    met: Counter[Fault] = field(default_factory=Counter)
    number: int = 0

    def fault(self, operation: str) -> Fault | None:
        """What happens to a call."""
        if self.fair or self.dice.random() >= self.share:
            return None
        fault = self.dice.choice(OF_WRITES if operation in WRITES else OF_READS)
        if operation in CONFLICTING and self.dice.random() < 0.15:
            fault = Fault.CONFLICT
        if fault not in self.kinds:
            return None
        self.number += 1
        if self.number in self.spared:
            return None
        self.met[fault] += 1
        return fault


def weather(dice: Random, spared: Set[int]) -> Weather:
    """The weather of a seed: fair for some, with all kinds of faults for others, or with few kinds of them."""
    share = dice.choice((0.0, 0.01, 0.03, 0.1, 0.25))
    luck = dice.random()
    kinds = frozenset(Fault) if luck < 0.6 else frozenset(dice.sample([*Fault], dice.randint(1, 4)))
    if luck > 0.9:
        kinds, share = frozenset({Fault.FROZEN}), 0.5
    return Weather(dice, share, kinds, latency_ms=dice.choice((2, 10, 200, 2_000)), spared=spared)

"""How many jobs of a limited task type, a topic, a key or a schedule run. In the directory table.

Key layout::

    kind                  name                       what
    occupancy             <sha256 of the count>      type: its name; running, unfinished
    occupancy#schedule    <sha256 of the count>      the same, of a schedule whose runs may not overlap
    occupancy#key         <sha256 of the count>      the same, of a key

Where up to a hundred may run at once, ``holder_<id>`` stands for each that does. A count changes in the
transaction that changes the job's record, and by no other write but the audit's. What that costs: all changes of one
count go through one item, whose partition takes about 500 transactions a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.core.limits import NOTHING, Concurrency, Limit, counted_key, counts_schedule
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.directory import digest
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Table, TransactionRefused

KIND = "occupancy"
KIND_OF_SCHEDULES = f"{KIND}#schedule"  # apart: the clock looks at each count of the first kind at every tick
KIND_OF_KEYS = f"{KIND}#key"
HOLDER = "holder_"
HOLDERS_MAX = 100  # some 2 KB


@dataclass(frozen=True, slots=True)
class Count:
    """A change of the count ``type``, as a part of a transaction; refused if it would exceed ``within``.

    Also a look at it, refused unless at least ``running`` run already. ``holder`` is the job whose share changes.
    """

    type: str
    change: Concurrency = NOTHING
    within: Limit | None = None
    running: int | None = None
    holder: int | None = None

    @property
    def names_holders(self) -> bool:
        """Whether so few may run that each is named."""
        return self.within is None or (self.within.concurrency or HOLDERS_MAX + 1) <= HOLDERS_MAX


@dataclass(slots=True)
class _Sum:
    """All that a transaction does to one count."""

    count: Count
    begun: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)

    def add(self, count: Count) -> None:
        """Take one part into it."""
        self.count = replace(
            self.count,
            change=self.count.change + count.change,
            within=count.within or self.count.within,
            running=count.running or self.count.running,
        )
        if count.holder is not None and count.change.running < 0:
            self.ended.add(count.holder)
        if count.holder is not None and count.change.running > 0 and count.names_holders:
            self.begun.add(count.holder)

    def __bool__(self) -> bool:
        return bool(self.count.change or self.count.running or self.begun or self.ended)


@dataclass(frozen=True, slots=True)
class Census:
    """How many run, and the ids of those that do, as far as they are named."""

    count: Concurrency
    holders: frozenset[int]


Action = AttributeValues | Count
"""A part of a transaction: what a table does, or a change of a concurrency count."""


@dataclass(frozen=True, slots=True)
class ConcurrencyCounts:
    """The access patterns of the concurrency counts."""

    table: Table

    def transact(self, actions: Sequence[Action]) -> None:
        """Do all of ``actions`` or none. Changes of one count become one, as a transaction may touch an item once.

        Raises ``TransactionRefused``, which tells of each action in order.
        """
        sums: dict[str, _Sum] = {}
        for action in actions:
            if isinstance(action, Count):
                sums.setdefault(action.type, _Sum(Count(action.type))).add(action)
        counts = [each.count for each in sums.values() if each]
        writes = [action for action in actions if not isinstance(action, Count)]
        try:
            self.table.transact([*writes, *(self._changing(each) for each in sums.values() if each)])
        except TransactionRefused as refused:
            outcomes = list(zip(refused.refused, refused.old, strict=True))
            of_writes, of_types = (
                iter(outcomes),
                dict(zip((count.type for count in counts), outcomes[len(writes) :], strict=True)),
            )
            sorted_out = [
                of_types.get(a.type, (False, None)) if isinstance(a, Count) else next(of_writes) for a in actions
            ]
            raise TransactionRefused([bad for bad, _ in sorted_out], [old for _, old in sorted_out]) from refused

    def of(self, type: str) -> Concurrency:  # noqa: A002  # every dialect's word for it
        """The concurrency count of a type as of the last write."""
        return self.census(type).count

    def census(self, name: str) -> Census:
        """The same, and who runs, as far as they are named."""
        return census_of(self.table.find(key_of(name)) or {})

    def dismiss(self, name: str, holder: int, unless: AttributeValues) -> None:
        """Free the slot of a job that has none by its record, which the action ``unless`` refuses where it has.

        Raises ``TransactionRefused`` where it has, or another has freed it.
        """
        counted = Clause("counted", "attribute_exists({ended_0})")
        change = Change(
            (counted,), sets={"ended_0": None}, adds={"running": -1}, aliases={"ended_0": HOLDER + str(holder)}
        )
        self.table.transact([unless, self.table.updating(key_of(name), change)])

    def types(self) -> Iterator[str]:
        """Every type that ever had a limited job."""
        return (row["type"] for row in self.table.query_all("{kind} = :kind", {":kind": KIND}))

    def _changing(self, total: _Sum) -> AttributeValues:
        """The action that moves a count, or looks at it; refused if a number that grows would exceed its bound."""
        count = total.count
        adds = {"running": count.change.running, "unfinished": count.change.unfinished}
        bounds = [(name, most - adds[name]) for name, most in _bounds(count.within) if adds[name] > 0]
        clauses = tuple(_at_most(name, before) for name, before in bounds)
        if count.running:
            clauses += (Clause("no slot is free", "{running} >= :running", {":running": count.running}),)
        if not (count.change or total.begun or total.ended):
            return self.table.checking(key_of(count.type), *clauses)
        moved = {name: number for name, number in adds.items() if number}
        begun = {f"begun_{place}": HOLDER + str(each) for place, each in enumerate(sorted(total.begun))}
        ended = {f"ended_{place}": HOLDER + str(each) for place, each in enumerate(sorted(total.ended - total.begun))}
        sets = {"type": count.type, **dict.fromkeys(begun, True), **dict.fromkeys(ended)}
        change = Change(clauses, sets=sets, adds=moved, aliases={**begun, **ended})
        return self.table.updating(key_of(count.type), change)


def census_of(item: Mapping[str, Any]) -> Census:
    """What the item of a count tells."""
    holders = frozenset(int(name.removeprefix(HOLDER)) for name in item if name.startswith(HOLDER))
    return Census(Concurrency(item.get("running", 0), item.get("unfinished", 0)), holders)


def key_of(type: str) -> dict[str, str]:  # noqa: A002
    """Where the concurrency count of this name is kept."""
    if counts_schedule(type):
        return {"kind": KIND_OF_SCHEDULES, "name": digest(type)}
    return {"kind": KIND if counted_key(type) is None else KIND_OF_KEYS, "name": digest(type)}


def _bounds(within: Limit | None) -> Iterator[tuple[str, int]]:
    if within is not None and within.concurrency is not None:
        yield "running", within.concurrency
    if within is not None and within.size is not None:
        yield "unfinished", within.size


def _at_most(name: str, before: int) -> Clause:
    """A number leaves room for what is added, or was never counted and all of it finds room."""
    text = f"{{{name}}} <= :before_{name}" + (f" OR attribute_not_exists({{{name}}})" if before >= 0 else "")
    return Clause(f"room in {name}", text, {f":before_{name}": before})

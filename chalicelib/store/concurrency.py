"""How many jobs of a limited task type, or of a schedule, run. In the directory table.

Key layout::

    kind                  name                       what
    occupancy             <sha256 of the type>       type, running, unfinished
    occupancy#schedule    <sha256 of the schedule>   the same, of a schedule whose runs may not overlap

A count changes in the transaction that changes the job's record, and by no other write. What that costs: all changes
of one limited type go through one item, whose partition takes about 500 transactions a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chalicelib.core.limits import NOTHING, Concurrency, Limit, counts_schedule
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.directory import digest
from chalicelib.store.table import Change, Clause, Table, TransactionRefused

KIND = "occupancy"
KIND_OF_SCHEDULES = f"{KIND}#schedule"  # apart: the clock looks at each count of the other kind at every tick


@dataclass(frozen=True, slots=True)
class Count:
    """A change of a count, as a part of a transaction; refused if it would exceed ``within``.

    Also a look at it, refused unless at least ``running`` run already.
    """

    type: str
    change: Concurrency = NOTHING
    within: Limit | None = None
    running: int | None = None


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
        sums: dict[str, Count] = {}
        for action in actions:
            if isinstance(action, Count):
                known = sums.get(action.type, Count(action.type))
                sums[action.type] = Count(
                    action.type,
                    known.change + action.change,
                    action.within or known.within,
                    action.running or known.running,
                )
        counts = [count for count in sums.values() if count.change or count.running]
        writes = [action for action in actions if not isinstance(action, Count)]
        try:
            self.table.transact([*writes, *(self.changing(count) for count in counts)])
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
        item = self.table.find(_key(type)) or {}
        return Concurrency(item.get("running", 0), item.get("unfinished", 0))

    def types(self) -> Iterator[str]:
        """Every type that ever had a limited job."""
        return (row["type"] for row in self.table.query_all("{kind} = :kind", {":kind": KIND}))

    def changing(self, count: Count) -> AttributeValues:
        """The action that moves a count, or looks at it; refused if a number that grows would exceed its bound."""
        adds = {"running": count.change.running, "unfinished": count.change.unfinished}
        bounds = [(name, most - adds[name]) for name, most in _bounds(count.within) if adds[name] > 0]
        clauses = tuple(_at_most(name, before) for name, before in bounds)
        if count.running:
            clauses += (Clause("no slot is free", "{running} >= :running", {":running": count.running}),)
        if not count.change:
            return self.table.checking(_key(count.type), *clauses)
        moved = {name: number for name, number in adds.items() if number}
        return self.table.updating(_key(count.type), Change(clauses, sets={"type": count.type}, adds=moved))


def _key(type: str) -> dict[str, str]:  # noqa: A002
    return {"kind": KIND_OF_SCHEDULES if counts_schedule(type) else KIND, "name": digest(type)}


def _bounds(within: Limit | None) -> Iterator[tuple[str, int]]:
    if within is not None and within.concurrency is not None:
        yield "running", within.concurrency
    if within is not None and within.size is not None:
        yield "unfinished", within.size


def _at_most(name: str, before: int) -> Clause:
    """A number leaves room for what is added, or was never counted and all of it finds room."""
    text = f"{{{name}}} <= :before_{name}" + (f" OR attribute_not_exists({{{name}}})" if before >= 0 else "")
    return Clause(f"room in {name}", text, {f":before_{name}": before})

"""How occupied the limited task types are. In the directory table.

Key layout::

    kind         name                   what
    occupancy    <sha256 of the type>   type, running, unfinished

A count changes in the transaction that changes the job's record, and by no other write. What that costs: all changes
of one limited type go through one item, whose partition takes about 500 transactions a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chalicelib.core.limits import NOTHING, Concurrency, Limit
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.directory import digest
from chalicelib.store.table import Change, Clause, Table, TransactionRefused

KIND = "occupancy"


@dataclass(frozen=True, slots=True)
class Count:
    """A change of a type's count, as a part of a transaction; refused if it would exceed ``within``."""

    type: str
    change: Concurrency
    within: Limit | None = None


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
                known = sums.get(action.type, Count(action.type, NOTHING))
                sums[action.type] = Count(action.type, known.change + action.change, action.within or known.within)
        counts = [count for count in sums.values() if count.change]
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
        """The action that moves a concurrency count; refused if a number that grows would exceed its bound."""
        adds = {"running": count.change.running, "unfinished": count.change.unfinished}
        clauses = tuple(_room(name, most) for name, most in _bounds(count.within) if adds[name] > 0)
        moved = {name: number for name, number in adds.items() if number}
        return self.table.updating(_key(count.type), Change(clauses, sets={"type": count.type}, adds=moved))

    def full(self, type: str, concurrency: int) -> AttributeValues:  # noqa: A002
        """The action that changes nothing, and is refused unless every slot of a type is taken."""
        full = Clause("no slot is free", "{running} >= :concurrency", {":concurrency": concurrency})
        return self.table.checking(_key(type), full)


def _key(type: str) -> dict[str, str]:  # noqa: A002
    return {"kind": KIND, "name": digest(type)}


def _bounds(within: Limit | None) -> Iterator[tuple[str, int]]:
    if within is not None and within.concurrency is not None:
        yield "running", within.concurrency
    if within is not None and within.size is not None:
        yield "unfinished", within.size


def _room(name: str, most: int) -> Clause:
    """A number is below its bound, or was never counted."""
    text = f"attribute_not_exists({{{name}}}) OR {{{name}}} < :most_{name}"
    return Clause(f"room in {name}", text, {f":most_{name}": most})

"""How occupied the limited task types are. In the directory table.

Key layout::

    kind         name                   what
    occupancy    <sha256 of the type>   type, running, unfinished

An occupancy changes in the transaction that changes the job's record, and by no other write. What that costs: all
changes of one limited type go through one item, whose partition takes about 500 transactions a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.core.limits import Limit, Occupancy
from chalicelib.store.directory import digest
from chalicelib.store.table import Change, Clause, Table
from chalicelib.store.wire import Wire

KIND = "occupancy"


@dataclass(frozen=True, slots=True)
class Occupancies:
    """The access patterns of the occupancies."""

    table: Table

    def of(self, type: str) -> Occupancy:  # noqa: A002  # every dialect's word for it
        """The occupancy of a type as of the last write."""
        item = self.table.get(_key(type)) or {}
        return Occupancy(item.get("running", 0), item.get("unfinished", 0))

    def types(self) -> Iterator[str]:
        """Every type that ever had a limited job."""
        return (row["type"] for row in self.table.query_all("{kind} = :kind", {":kind": KIND}))

    def changing(self, type: str, change: Occupancy, within: Limit | None = None) -> Wire:  # noqa: A002
        """The action that moves the occupancy of a type; refused if a number that grows would exceed ``within``."""
        adds = {"running": change.running, "unfinished": change.unfinished}
        clauses = tuple(_room(name, most) for name, most in _bounds(within) if adds[name] > 0)
        grown = {name: number for name, number in adds.items() if number}
        return self.table.updating(_key(type), Change(clauses, sets={"type": type}, adds=grown))

    def full(self, type: str, concurrency: int) -> Wire:  # noqa: A002
        """The action that changes nothing, and is refused unless every slot of a type is taken."""
        taken = Clause("no slot is free", "{running} >= :concurrency", {":concurrency": concurrency})
        return self.table.checking(_key(type), taken)


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

"""Marks by which a job keeps jobs like it away, or supersedes them. In the directory table.

Key layout::

    kind      name      what
    unique    <mark>    job: the newest that has it; first_at_ms: when the first of those was asked for that it has
                        superseded; until_ms: until when it keeps others away whatever becomes of the job

A mark says which job to look at; whether that keeps another away, its record says. So nothing has to be written when
it ends, and no mark is in force for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Refused, Table


@dataclass(frozen=True, slots=True)
class Mark:
    """Which job has a mark."""

    job_id: int
    first_at_ms: int
    until_ms: int = 0


@dataclass(frozen=True, slots=True)
class FlowMarks:
    """The access patterns of the marks."""

    table: Table

    def find(self, name: str) -> Mark | None:
        """A mark as of the last write."""
        item = self.table.find(_key(name))
        return None if item is None else Mark(item["job"], item["first_at_ms"], item["until_ms"])

    def giving(self, name: str, mark: Mark, instead_of: Mark | None) -> AttributeValues:
        """The action that gives a mark to a job; refused if another than ``instead_of`` has it. May be repeated."""
        job_id = mark.job_id
        if instead_of is None:
            free = Clause("free", "attribute_not_exists({name}) OR {job} = :own", {":own": job_id})
        else:
            free = Clause("as seen", "{job} = :seen OR {job} = :own", {":seen": instead_of.job_id, ":own": job_id})
        item = {"job": job_id, "first_at_ms": mark.first_at_ms, "until_ms": mark.until_ms}
        return self.table.putting({**_key(name), **item}, free)

    def drop(self, name: str, job_id: int, now_ms: int) -> None:
        """A job is removed: its mark goes, at once or when it is over; harmless if another has it."""
        own = Clause("its own", "{job} = :job", {":job": job_id})
        over = Clause("over", "{until_ms} <= :now", {":now": now_ms})
        try:
            self.table.delete(_key(name), own, over)
        except Refused as refused:
            if (refused.old or {}).get("job") == job_id:
                expires_at_s = refused.old["until_ms"] // 1_000 + 1 if refused.old else 0
                self.table.apply(_key(name), Change((own,), sets={"expires_at_s": expires_at_s}))


def _key(name: str) -> dict[str, str]:
    return {"kind": "unique", "name": name}

"""Wait lists: pending jobs that no message stands for, because their turn has not come. In the directory table.

Key layout::

    kind                      name                                    what
    shelf#type#<type>         <priority>-<created>-<id>, in order     job, delivery
    shelf#paused#<target>     the same                                job, delivery

A wait list is read from the table itself and not from an index, so whoever frees a slot sees what was put there a
moment before. An entry is an invitation, the job's record is the truth: one whose job has moved on since (canceled,
promoted, sent anew: its ``delivery`` tells) is void, and whoever comes upon it takes it away.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.core.job import Job
from chalicelib.core.limits import order_of
from chalicelib.core.reasons import Place
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.table import Clause, Refused, Table

WAIT_LIST = "shelf#"
BEFORE_MAX = 100  # entries that are counted: a page of 1 MB holds them, however long their type's name


@dataclass(frozen=True, slots=True)
class Entry:
    """A job on a wait list, as it was put there."""

    wait_list: str
    position: str
    job_id: int
    delivery: int


def of_type(type: str) -> str:  # noqa: A002  # every dialect's word for it
    """The wait list of the jobs that wait for a slot of their type."""
    return f"type#{type}"


def of_pause(target: str) -> str:
    """The wait list of the jobs that a pause of ``target`` defers."""
    return f"paused#{target}"


@dataclass(frozen=True, slots=True)
class WaitLists:
    """The access patterns of the wait lists."""

    table: Table

    def putting(self, wait_list: str, job: Job) -> AttributeValues:
        """The action that puts a job on a wait list, under the delivery it has then."""
        position = order_of(job.priority, job.created_at_ms, job.id)
        return self.table.putting(
            {"kind": WAIT_LIST + wait_list, "name": position, "job": job.id, "delivery": job.delivery}
        )

    def taking(self, entry: Entry) -> AttributeValues:
        """The action that takes an entry from its list; refused if it was taken, or is another by now."""
        return self.table.deleting(_key(entry), _as_put(entry))

    def discard(self, entry: Entry) -> None:
        """Take away an entry that is void; harmless if somebody did."""
        try:
            self.table.delete(_key(entry), _as_put(entry))
        except Refused:
            return

    def first(self, wait_list: str, most: int) -> list[Entry]:
        """The next ``most`` of a wait list, in order, as of the last write."""
        condition, values = "{kind} = :kind", {":kind": WAIT_LIST + wait_list}
        rows = self.table.first(condition, values, most, consistent=True)
        return [Entry(wait_list, row["name"], row["job"], row["delivery"]) for row in rows]

    def place_of(self, wait_list: str, job: Job) -> Place:
        """How many come before a job on a wait list, or at least 100; it need not be there itself yet. One read."""
        last_before = order_of(job.priority, job.created_at_ms, job.id - 1)
        condition, values = "{kind} = :kind AND {name} <= :last", {":kind": WAIT_LIST + wait_list, ":last": last_before}
        before = self.table.count(condition, values, enough=BEFORE_MAX)
        return Place(before, is_exact=before < BEFORE_MAX)


def _key(entry: Entry) -> dict[str, str]:
    return {"kind": WAIT_LIST + entry.wait_list, "name": entry.position}


def _as_put(entry: Entry) -> Clause:
    return Clause("as it was put", "{delivery} = :put", {":put": entry.delivery})

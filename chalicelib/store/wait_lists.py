"""Wait lists: pending jobs that no message stands for, because their turn has not come. In the directory table.

Key layout::

    kind                      name                                    what
    shelf#type#<count>        <priority>-<created>-<id>, in order     job, delivery
    shelf#paused#<target>     the same                                job, delivery
    shelf#key#<count>         the same                                job, delivery
    shelf#rate#<bucket>       the same                                job, delivery
    shelf#order#<count>       <place>-<id>, in order                  job, delivery
    waited_for                <sha256 of the list>                    list, at_ms: that something may be on it
    order                     <sha256 of the count>                   last: the place given last

A ``<count>`` is the name of a concurrency count. The lists of keys, rates and orders may be very many, so the clock
looks after those that are ``waited_for``.
A wait list is read from the table itself and not from an index, so whoever frees a slot sees what was put there a
moment before. An entry is an invitation, the job's record is the truth: one whose job has moved on since (canceled,
promoted, sent anew: its ``delivery`` tells) is void, and whoever comes upon it takes it away. In order, one that was
sent anew keeps its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from chalicelib.core.job import Job
from chalicelib.core.limits import counted_key, order_of
from chalicelib.core.reasons import Place
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.directory import digest
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Refused, Table

WAIT_LIST = "shelf#"
BEFORE_MAX = 100  # entries that are counted: a page of 1 MB holds them, however long their type's name
WAITED_FOR = "waited_for"
ORDER, RATE, PAUSED = "order#", "rate#", "paused#"
NOTED_AGAIN_MS = 60_000  # how long a process relies on its own note that a list is waited for
NOTED_MAX = 10_000
NOTE_MIN_MS = 300_000  # how old a note must be before it is taken away


@dataclass(frozen=True, slots=True)
class Entry:
    """A job on a wait list, as it was put there."""

    wait_list: str
    position: str
    job_id: int
    delivery: int


def list_name(wait_list: str) -> str:
    """What a list is of: a concurrency count, a bucket, a target."""
    return wait_list.partition("#")[2]


def of_type(type: str) -> str:  # noqa: A002  # every dialect's word for it
    """The wait list of the jobs that wait for a slot of their type."""
    return f"type#{type}"


def of_pause(target: str) -> str:
    """The wait list of the jobs that a pause of ``target`` defers."""
    return PAUSED + target


def of_key(count: str) -> str:
    """The wait list of the jobs that wait for a slot of their key."""
    return f"key#{count}"


def of_rate(bucket: str) -> str:
    """The wait list of the jobs that may not begin yet because too many have."""
    return RATE + bucket


def of_slots(count: str) -> str:
    """The wait list of the jobs that wait for a slot of a concurrency count, of a type or of a key."""
    return of_type(count) if counted_key(count) is None else of_key(count)


def of_order(count: str) -> str:
    """The wait list of the jobs that run one at a time as they were accepted, and whose turn it is not."""
    return ORDER + count


def position_of(wait_list: str, job: Job) -> str:
    """Where a job stands in a wait list; its place in an order counts where jobs of its key wait for their turn."""
    if job.order_seq is not None and wait_list.startswith((ORDER, PAUSED)):
        return f"{job.order_seq:016d}-{job.id:016d}"
    return order_of(job.priority, job.created_at_ms, job.id)


@dataclass(frozen=True, slots=True)
class WaitLists:
    """The access patterns of the wait lists."""

    table: Table
    _noted: dict[str, int] = field(default_factory=dict)  # a list, and when this process noted it last

    def putting(self, wait_list: str, job: Job) -> AttributeValues:
        """The action that puts a job on a wait list, under the delivery it has then."""
        key = {"kind": WAIT_LIST + wait_list, "name": position_of(wait_list, job)}
        return self.table.putting({**key, "job": job.id, "delivery": job.delivery})

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
        return self._count("{kind} = :kind AND {name} < :own", wait_list, {":own": position_of(wait_list, job)})

    def length(self, wait_list: str) -> Place:
        """How many are on a wait list, or at least 100. One read."""
        return self._count("{kind} = :kind", wait_list, {})

    def _count(self, condition: str, wait_list: str, values: dict[str, str]) -> Place:
        counted = self.table.count(condition, {":kind": WAIT_LIST + wait_list, **values}, enough=BEFORE_MAX)
        return Place(counted, is_exact=counted < BEFORE_MAX)

    # -- which lists there are ----------------------------------------------------------------

    def note(self, wait_list: str, now_ms: int) -> None:
        """Note, before something is put on a list, that it may be; from memory where this process did a moment ago."""
        if now_ms - self._noted.get(wait_list, -NOTED_AGAIN_MS) < NOTED_AGAIN_MS:
            return
        if len(self._noted) >= NOTED_MAX:
            self._noted.clear()
        self.table.apply(_note_key(wait_list), Change((), sets={"list": wait_list, "at_ms": now_ms}))
        self._noted[wait_list] = now_ms

    def noted(self) -> Iterator[tuple[str, int]]:
        """Every list on which something may be, and when that was noted last."""
        rows = self.table.query_all("{kind} = :kind", {":kind": WAITED_FOR})
        return ((row["list"], row["at_ms"]) for row in rows)

    def forget(self, wait_list: str, noted_at_ms: int, now_ms: int) -> None:
        """A list was seen empty: take its note away, unless it is young, or was made anew.

        Whoever relies on a note has made it within the last minute, so what they put on the list is seen before.
        """
        if now_ms - noted_at_ms < NOTE_MIN_MS:
            return
        try:
            self.table.delete(_note_key(wait_list), Clause("as noted", "{at_ms} = :at", {":at": noted_at_ms}))
        except Refused:
            return

    def next_place(self, count: str) -> int:
        """A place behind all that were given among those that run in order."""
        place: int = self.table.update({"kind": "order", "name": digest(count)}, Change((), adds={"last": 1}))["last"]
        return place


def _note_key(wait_list: str) -> dict[str, str]:
    return {"kind": WAITED_FOR, "name": digest(wait_list)}


def _key(entry: Entry) -> dict[str, str]:
    return {"kind": WAIT_LIST + entry.wait_list, "name": entry.position}


def _as_put(entry: Entry) -> Clause:
    return Clause("as it was put", "{delivery} = :put", {":put": entry.delivery})

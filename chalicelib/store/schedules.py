"""Schedules, where the clock finds those whose time comes, and what became of their slots. In the directory table.

Key layout::

    kind                    name                  what
    schedule                <name>                the schedule of core/schedules.py, its work as JSON text
    schedule_code           declared              fingerprint, names: the schedules of the code, as they were made last
    schedule_due#<shard>    <next slot>#<name>    nothing more: the schedules by the time of their next slot
    schedule_runs#<uid>     <slot>                job: what the slot made
                            <slot>#0              skipped: why it made none; of several in a row until_ms and count
                            <time>#<job>          job: what was made by request

Every change of a schedule raises its revision and demands the one that was read, in one transaction with its place
among the due and with the jobs of the slots that it hands over. So a slot is handed over once, whoever tries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from zlib import crc32

from chalicelib.core.schedules import Schedule, SkipReason, from_document, to_document
from chalicelib.core.slots import Skip
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.directory import NOT_THERE
from chalicelib.store.expressions import Clause
from chalicelib.store.table import Table

KIND = "schedule"
DECLARED = {"kind": f"{KIND}_code", "name": "declared"}
DUE = f"{KIND}_due#"
DUE_SHARDS = 2  # each takes 1,000 write units a second: 10,000 schedules in the same minute need 700
RUN_POSITION = r"[0-9]{13}(#[0-9]{1,16})?"
SKIPPED = "#0"  # behind the time: a slot that ran ahead of it has its own note
RUNS_KEPT_S = 90 * 86_400


@dataclass(frozen=True, slots=True)
class RunItem:
    """What became of a slot, or of several in a row: a job, or a reason why there is none."""

    position: str
    at_ms: int
    job_id: int | None = None
    skipped: SkipReason | None = None
    until_ms: int | None = None
    count: int | None = None
    by_request: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """A schedule and the time of its next slot."""

    at_ms: int
    name: str


@dataclass(frozen=True, slots=True)
class Declared:
    """The schedules that the code declares: a digest of all that it says of them, and their names.

    While they are brought about the digest is that of none, and the names are also those that were declared before.
    """

    fingerprint: str
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Schedules:
    """The access patterns of the schedules."""

    table: Table

    def find(self, name: str) -> Schedule | None:
        """The schedule of a name, as of the last write."""
        item = self.table.get({"kind": KIND, "name": name})
        return _schedule(item) if item else None

    def find_many(self, names: Sequence[str]) -> list[Schedule]:
        """The schedules that exist, in the order of ``names``, as of the last write."""
        items = {item["name"]: item for item in self.table.get_many([{"kind": KIND, "name": name} for name in names])}
        return [_schedule(items[name]) for name in names if name in items]

    def after(self, name: str, most: int) -> list[Schedule]:
        """The first ``most`` schedules whose names come after ``name``, in their order."""
        condition = "{kind} = :kind AND {name} > :after" if name else "{kind} = :kind"
        values = {":kind": KIND, **({":after": name} if name else {})}
        return [_schedule(item) for item in self.table.first(condition, values, most, consistent=True)]

    def due(self, shard: int, until_ms: int, page_size: int | None = None) -> Iterator[Due]:
        """The schedules of a shard that have a slot by ``until_ms``, the earliest first, as of a moment ago."""
        values = {":kind": f"{DUE}{shard}", ":until": f"{until_ms + 1:013d}"}
        pages = self.table.pages("{kind} = :kind AND {name} < :until", values, page_size=page_size)
        for row in chain.from_iterable(pages):
            time, _, name = row["name"].partition("#")
            yield Due(int(time), name)

    def runs(self, uid: str, before: str | None, most: int) -> list[RunItem]:
        """The newest ``most`` items about slots of a schedule, or those before a position, the newest first."""
        condition = "{kind} = :kind" + (" AND {name} < :before" if before else "")
        values = {":kind": _runs(uid), **({":before": before} if before else {})}
        return [_run(item) for item in self.table.first(condition, values, most, ascending=False, consistent=True)]

    def runs_from(self, uid: str, from_ms: int) -> list[RunItem]:
        """The items about slots since ``from_ms``, the newest first."""
        values = {":kind": _runs(uid), ":from": f"{from_ms:013d}"}
        rows = self.table.query_all("{kind} = :kind AND {name} >= :from", values, consistent=True)
        return sorted((_run(row) for row in rows), key=lambda run: run.position, reverse=True)

    def declared(self) -> Declared:
        """What the code declared when that was last brought about, or begun; at first nothing."""
        item = self.table.get(DECLARED, consistent=False)
        return Declared(item["fingerprint"], frozenset(item["names"])) if item else Declared("")

    def note_declared(self, declared: Declared) -> None:
        """What the code declares is brought about, or begun to be."""
        self.table.put({**DECLARED, "fingerprint": declared.fingerprint, "names": sorted(declared.names)})

    def note_request(self, uid: str, at_ms: int, job_id: int, now_s: int) -> None:
        """Note a job that was made by request."""
        name = f"{at_ms:013d}#{job_id}"
        self.table.put({"kind": _runs(uid), "name": name, "job": job_id, "expires_at_s": now_s + RUNS_KEPT_S})

    def transact(self, actions: Sequence[AttributeValues]) -> None:
        """Do all of ``actions`` or none; raises ``TransactionRefused``."""
        self.table.transact(actions)

    # -- the actions of a transaction ---------------------------------------------------------

    def changing(self, seen: Schedule | None, after: Schedule | None) -> list[AttributeValues]:
        """The actions that make, change or delete a schedule (first), refused unless it is as ``seen``.

        ``after`` has a revision of its own.
        """
        clause = NOT_THERE if seen is None else _as_seen(seen)
        actions = [] if after is None else [self.table.putting(_item(after), clause)]
        if after is None and seen is not None:
            actions = [self.table.deleting(_key(seen.name), clause)]
        before_place, after_place = _due_key(seen), _due_key(after)
        if before_place != after_place:
            if before_place is not None:
                actions.append(self.table.deleting(before_place))
            if after_place is not None:
                actions.append(self.table.putting(after_place))
        return actions

    def noting_run(self, uid: str, slot_ms: int, job_id: int, now_s: int) -> AttributeValues:
        """The action that notes the job of a slot; refused if the slot has one."""
        return self.table.putting(
            {"kind": _runs(uid), "name": f"{slot_ms:013d}", "job": job_id, "expires_at_s": now_s + RUNS_KEPT_S},
            NOT_THERE,
        )

    def noting_skip(self, uid: str, skip: Skip, now_s: int) -> AttributeValues:
        """The action that notes slots that made no job."""
        item = {
            "kind": _runs(uid),
            "name": f"{skip.first_ms:013d}{SKIPPED}",
            "skipped": skip.reason.value,
            "until_ms": skip.last_ms,
            "expires_at_s": now_s + RUNS_KEPT_S,
            **({} if skip.count is None else {"count": skip.count}),
        }
        return self.table.putting(item)

    def forgetting_run(self, uid: str, run: RunItem) -> AttributeValues:
        """The action that takes back what was noted of a slot; refused unless it is the same job's."""
        own = Clause("its own", "{job} = :job", {":job": run.job_id})
        return self.table.deleting({"kind": _runs(uid), "name": run.position}, own)


def _key(name: str) -> dict[str, str]:
    return {"kind": KIND, "name": name}


def _runs(uid: str) -> str:
    return f"{KIND}_runs#{uid}"


def _due_key(schedule: Schedule | None) -> dict[str, str] | None:
    """Where the clock finds a schedule; nowhere, if it has no slot to come, or is paused."""
    if schedule is None or schedule.paused or schedule.next_ms is None:
        return None
    shard = crc32(schedule.name.encode()) % DUE_SHARDS
    return {"kind": f"{DUE}{shard}", "name": f"{schedule.next_ms:013d}#{schedule.name}"}


def _as_seen(schedule: Schedule) -> Clause:
    values = {":uid": schedule.uid, ":revision": schedule.revision}
    return Clause("as seen", "{uid} = :uid AND {revision} = :revision", values)


def _item(schedule: Schedule) -> dict[str, object]:
    document = to_document(schedule)
    return {**_key(schedule.name), **document, "work": json.dumps(document["work"], separators=(",", ":"))}


def _schedule(item: dict[str, object]) -> Schedule:
    return from_document({**item, "work": json.loads(str(item["work"]))})


def _run(item: dict[str, object]) -> RunItem:
    position = str(item["name"])
    time, _, requested = position.partition("#")
    skipped = item.get("skipped")
    return RunItem(
        position=position,
        at_ms=int(time),
        job_id=item.get("job"),  # type: ignore[arg-type]
        skipped=None if skipped is None else SkipReason(str(skipped)),
        until_ms=item.get("until_ms"),  # type: ignore[arg-type]
        count=item.get("count"),  # type: ignore[arg-type]
        by_request=requested not in ("", "0"),
    )

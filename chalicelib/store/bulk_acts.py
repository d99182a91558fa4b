"""Acts in bulk: what somebody wanted done to many jobs, and how far it has come. In the directory table.

Key layout::

    kind               name         what
    bulk_act           <id>         the act, as below
    bulk_running       <id>         that it is running: what the clock looks for
    bulk_result#<id>   <step>       results: what became of the jobs of a step, as a JSON text

An id begins with the time of its start, so that the newest are read first. Whoever makes a step takes it with one
conditional write, which raises ``steps`` and names the jobs that are to be done (``batch``); what became of them is
written in one transaction, under the condition that nobody has taken another step since. Between the two, whoever died
has left the batch as it was: the next one does it again, by the jobs' own states. All is forgotten after 90 days.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core.bulk import BulkAct, BulkState, Result
from chalicelib.store.acts import KEPT_S
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Refused, Table, TransactionRefused

KIND, RUNNING, RESULT = "bulk_act", "bulk_running", "bulk_result#"
ID = r"[0-9]{13}-[0-9a-f]{16}"
ERRORS_KEPT = 10
BEGINNING = ""  # the place before the first job of the list
IS_RUNNING = Clause("running", "{state} = :running", {":running": BulkState.RUNNING.value})
NOT_THERE = Clause("not there", "attribute_not_exists({name})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkItem:
    """An act in bulk as it stands. Times are in milliseconds since 1970."""

    id: str
    act: BulkAct
    filters: str  # which jobs, as engine/job_filters.py writes it; those of none are named by id: ``named``
    by: str
    started_at_ms: int
    matched: int | None  # how many jobs matched at its start; None: more than 10,000
    state: BulkState = BulkState.RUNNING
    ended_at_ms: int | None = None
    done: int = 0
    refused: int = 0
    errors: tuple[Result, ...] = ()  # the newest, at most ten
    steps: int = 0
    stepped_at_ms: int = 0
    leased_until_ms: int = 0  # until when whoever took the newest step may be at it
    batch: tuple[int, ...] = ()  # the jobs that are to be done next
    place: str | None = BEGINNING  # where the list goes on behind them; None: there are no more
    named: int | None = None  # how many jobs it was asked for by id, all in its first batch; None: by filters

    @property
    def has_more(self) -> bool:
        """Whether jobs are left to be done, or to be looked for."""
        return bool(self.batch) or self.place is not None

    @property
    def changed(self) -> int | None:
        """How many of those that matched had left the list before it came to them; ``None``: not known, or not yet."""
        if self.state is not BulkState.DONE or self.matched is None:
            return None
        return max(0, self.matched - self.done - self.refused)

    def state_at(self, now_ms: int) -> BulkState:
        """How it stands: one that was stopped is still stopping while somebody may be at its last step."""
        is_stopping = self.state is BulkState.STOPPED and self.leased_until_ms > now_ms
        return BulkState.STOPPING if is_stopping else self.state


@dataclass(frozen=True, slots=True)
class BulkActs:
    """The access patterns of acts in bulk."""

    table: Table

    def start(self, bulk: BulkItem) -> None:
        """Remember a new one."""
        expires_at_s = bulk.started_at_ms // 1_000 + KEPT_S
        item = {
            **_key(bulk.id),
            "act": bulk.act.value,
            "filters": bulk.filters,
            "by": bulk.by,
            "started_at_ms": bulk.started_at_ms,
            "state": bulk.state.value,
            "stepped_at_ms": bulk.stepped_at_ms,
            "expires_at_s": expires_at_s,
            **({} if bulk.place is None else {"place": bulk.place}),
            **({} if bulk.matched is None else {"matched": bulk.matched}),
            **({} if bulk.named is None else {"named": bulk.named, "batch": list(bulk.batch)}),
        }
        marker = {"kind": RUNNING, "name": bulk.id}
        with suppress(TransactionRefused):  # it is there by this very call, whose answer was lost
            self.table.transact([self.table.putting(item, NOT_THERE), self.table.putting(marker)])

    def find(self, bulk_id: str) -> BulkItem | None:
        """The one with an id, as of the last write."""
        item = self.table.find(_key(bulk_id))
        return None if item is None else _bulk(item)

    def newest(self, most: int) -> list[BulkItem]:
        """Up to ``most``, the newest first."""
        rows = self.table.first("{kind} = :kind", {":kind": KIND}, most, ascending=False)
        return [_bulk(row) for row in rows]

    def running(self) -> list[str]:
        """The ids of those that are running, the oldest first. One query."""
        return [row["name"] for row in self.table.query_all("{kind} = :kind", {":kind": RUNNING})]

    def take(self, bulk: BulkItem, now_ms: int, until_ms: int) -> BulkItem | None:
        """Take the next step of one as it was seen, with its batch and place; ``None`` if somebody else has.

        Nobody takes another until ``until_ms``, or until what became of it is noted.
        """
        free = Clause("free", "attribute_not_exists({leased_until_ms}) OR {leased_until_ms} <= :now", {":now": now_ms})
        change = Change(
            (IS_RUNNING, free, _unstepped(bulk)),
            sets={
                "batch": list(bulk.batch),
                "place": bulk.place,
                "stepped_at_ms": now_ms,
                "leased_until_ms": until_ms,
            },
            adds={"steps": 1},
        )
        try:
            return _bulk(self.table.update(_key(bulk.id), change))
        except Refused:
            return None

    def note(self, bulk: BulkItem, results: Sequence[Result], now_ms: int) -> BulkItem | None:
        """Note what became of the first jobs of the batch of a step that was taken; returns how the act then stands.

        ``None`` if another step was taken since, or it is noted already: then nothing is counted. Whether the act was
        stopped meanwhile does not matter: it is done.
        """
        refused = [result for result in results if result.error is not None]
        left = bulk.batch[len(results) :]
        errors = (*bulk.errors, *refused)[-ERRORS_KEPT:]
        unnoted = Clause("not noted yet", "{leased_until_ms} = :leased", {":leased": bulk.leased_until_ms})
        change = Change(
            (_unstepped(bulk), unnoted),
            sets={
                "batch": list(left),
                "errors": _written(errors) if errors else None,
                "stepped_at_ms": now_ms,
                "leased_until_ms": None,
            },
            adds={"done": len(results) - len(refused), "refused": len(refused)},
        )
        row = {
            "kind": f"{RESULT}{bulk.id}",
            "name": f"{bulk.steps:08d}",
            "results": _written(results),
            "expires_at_s": bulk.started_at_ms // 1_000 + KEPT_S,
        }
        puts = [self.table.putting(row)] if results else []
        try:
            self.table.transact([self.table.updating(_key(bulk.id), change), *puts])
        except TransactionRefused:
            return None
        return replace(
            bulk,
            batch=left,
            errors=errors,
            stepped_at_ms=now_ms,
            leased_until_ms=0,
            done=bulk.done + len(results) - len(refused),
            refused=bulk.refused + len(refused),
        )

    def end(self, bulk: BulkItem, state: BulkState, now_ms: int) -> bool:
        """One that is running is done, if nobody has taken a step since it was seen, or stopped in any case.

        Returns whether it is so now by this very call.
        """
        clauses = (IS_RUNNING, _unstepped(bulk)) if state is BulkState.DONE else (IS_RUNNING,)
        change = Change(clauses, sets={"state": state.value, "ended_at_ms": now_ms})
        unmark = self.table.deleting({"kind": RUNNING, "name": bulk.id})
        try:
            self.table.transact([self.table.updating(_key(bulk.id), change), unmark])
        except TransactionRefused:
            return False
        return True

    def unmark(self, bulk_id: str) -> None:
        """The clock need not look for it any more: it is not there."""
        self.table.delete({"kind": RUNNING, "name": bulk_id})

    def results(self, bulk_id: str, most: int, behind: str | None = None) -> tuple[list[Result], str | None]:
        """What became of the jobs of up to ``most`` steps, in order, and behind which step it goes on, if it does."""
        rows = self.table.first(
            "{kind} = :kind AND {name} > :behind",
            {":kind": f"{RESULT}{bulk_id}", ":behind": behind or "0"},
            most + 1,
        )
        page = rows[:most]
        found = [result for row in page for result in _read(row["results"])]
        return found, page[-1]["name"] if len(rows) > most else None


def _key(bulk_id: str) -> dict[str, str]:
    return {"kind": KIND, "name": bulk_id}


def _unstepped(bulk: BulkItem) -> Clause:
    """Nobody has taken a step since it was seen."""
    if bulk.steps == 0:
        return Clause("no step", "attribute_not_exists({steps})")
    return Clause("no other step", "{steps} = :steps_seen", {":steps_seen": bulk.steps})


def _written(results: Sequence[Result]) -> str:
    pairs = [[result.job, result.error] for result in results]
    return json.dumps(pairs, separators=(",", ":"), ensure_ascii=False)


def _read(text: str) -> tuple[Result, ...]:
    return tuple(Result(job, error) for job, error in json.loads(text))


def _bulk(item: Mapping[str, Any]) -> BulkItem:
    return BulkItem(
        id=item["name"],
        act=BulkAct(item["act"]),
        filters=item["filters"],
        by=item["by"],
        started_at_ms=item["started_at_ms"],
        matched=item.get("matched"),
        state=BulkState(item["state"]),
        ended_at_ms=item.get("ended_at_ms"),
        done=item.get("done", 0),
        refused=item.get("refused", 0),
        errors=_read(item.get("errors", "[]")),
        steps=item.get("steps", 0),
        stepped_at_ms=item["stepped_at_ms"],
        leased_until_ms=item.get("leased_until_ms", 0),
        batch=tuple(item.get("batch", ())),
        place=item.get("place"),
        named=item.get("named"),
    )

"""Projections of the ledger's change stream. Table ``<prefix>-<stage>-insights``.

Key layout::

    view               key                                     what
    watermarks         <shard>                                 newest: the last sequence number counted
    counters           <shard>|<group digest>                  group, and a number for every state
    minutes#<day>      <minute in ms>|<shard>|<group digest>   group, minute_ms, and a number for every measure

A batch of stream records moves its shard's watermark and adds to its shard's sums in one transaction, so a
batch delivered twice counts once. Readers add the shards up.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from chalicelib.core.projection import CountKey, Effects, Group, Measure, MinuteKey
from chalicelib.core.states import State
from chalicelib.store.table import TRANSACTION_MAX_ITEMS, Change, Clause, Table, TransactionRefused, chunks
from chalicelib.store.wire import Wire

MINUTES_TTL_S = 400 * 86_400  # a year of series and some days to look back from
ROWS_MAX = TRANSACTION_MAX_ITEMS - 1  # beside the watermark


class AlreadyCounted(Exception):
    """The shard's watermark is not where the caller believed."""


class Insights:
    """The sums, written by the projector alone."""

    def __init__(self, table: Table) -> None:
        self._table = table

    # -- writing ------------------------------------------------------------------------------

    def watermark(self, shard: str) -> str | None:
        """The last sequence number that was counted of a shard."""
        item = self._table.get({"view": "watermarks", "key": shard})
        return item["newest"] if item else None

    def add(self, shard: str, before: str | None, newest: str, effects: Effects) -> None:
        """Move the watermark from ``before`` to ``newest`` and add what lay between.

        Raises ``AlreadyCounted`` when someone else moved it.
        """
        try:
            self._table.transact([self._moving(shard, before, newest), *self._adding(shard, effects)])
        except TransactionRefused as refused:
            raise AlreadyCounted(shard) from refused

    @staticmethod
    def rows_of(effects: Effects) -> int:
        """How many items ``effects`` touch; a transaction takes at most 99 beside the watermark."""
        return len(_rows(effects))

    def _moving(self, shard: str, before: str | None, newest: str) -> Wire:
        unmoved = (
            Clause("first batch", "attribute_not_exists({newest})")
            if before is None
            else Clause("unmoved", "{newest} = :before", {":before": before})
        )
        return self._table.updating({"view": "watermarks", "key": shard}, Change((unmoved,), sets={"newest": newest}))

    def _adding(self, shard: str, effects: Effects) -> Iterable[Wire]:
        for (group, minute_ms), amounts in _rows(effects).items():
            if minute_ms is None:
                key = {"view": "counters", "key": f"{shard}|{_digest(group)}"}
                sets: dict[str, Any] = {"group": asdict(group)}
            else:
                key = {"view": _day_view(minute_ms), "key": f"{minute_ms:013d}|{shard}|{_digest(group)}"}
                expires_at_s = minute_ms // 1_000 + MINUTES_TTL_S
                sets = {"group": asdict(group), "minute_ms": minute_ms, "expires_at_s": expires_at_s}
            yield self._table.updating(key, Change((), sets=sets, adds=amounts))

    def replace_counters(self, shard: str, effects: Effects) -> None:
        """Let the counters be ``effects`` and nothing else, as sums of ``shard``; nobody may be counting meanwhile."""
        rows = self._table.query_all("{view} = :view", {":view": "counters"}, consistent=True)
        self._table.delete_many([{"view": "counters", "key": row["key"]} for row in rows])
        for actions in chunks(list(self._adding(shard, effects)), TRANSACTION_MAX_ITEMS):
            self._table.transact(actions)

    # -- reading ------------------------------------------------------------------------------

    def counters(self) -> dict[Group, Counter[State]]:
        """How many jobs of each group are in each state, as far as the stream has been read."""
        totals: defaultdict[Group, Counter[State]] = defaultdict(Counter)
        for row in self._table.query_all("{view} = :view", {":view": "counters"}):
            totals[Group(**row["group"])].update({state: row[state.value] for state in State if state.value in row})
        return dict(totals)

    def minutes(self, since_ms: int, until_ms: int) -> dict[tuple[Group, int], Counter[Measure]]:
        """The measures of every group and minute that begins within a span."""
        totals: defaultdict[tuple[Group, int], Counter[Measure]] = defaultdict(Counter)
        for view in _day_views(since_ms, until_ms):
            rows = self._table.query_all(
                "{view} = :view AND {key} BETWEEN :since AND :until",
                {":view": view, ":since": f"{since_ms:013d}", ":until": f"{until_ms:013d}"},
            )
            for row in rows:
                amounts = {measure: row[measure.value] for measure in Measure if measure.value in row}
                totals[Group(**row["group"]), row["minute_ms"]].update(amounts)
        return dict(totals)


def _rows(effects: Effects) -> dict[tuple[Group, int | None], dict[str, int]]:
    """The numbers to add, by the item they are added to."""
    rows: defaultdict[tuple[Group, int | None], dict[str, int]] = defaultdict(dict)
    for key, amount in effects.items():
        match key:
            case CountKey(group, state):
                rows[group, None][state.value] = amount
            case MinuteKey(group, minute_ms, measure):
                rows[group, minute_ms][measure.value] = amount
    return dict(rows)


def _digest(group: Group) -> str:
    return hashlib.sha256("\0".join((group.kind, group.queue, group.type)).encode()).hexdigest()[:20]


def _day_view(minute_ms: int) -> str:
    return f"minutes#{datetime.fromtimestamp(minute_ms / 1_000, UTC):%Y-%m-%d}"


def _day_views(since_ms: int, until_ms: int) -> list[str]:
    day_ms = 86_400_000
    return [_day_view(day) for day in range(since_ms - since_ms % day_ms, until_ms + 1, day_ms)]

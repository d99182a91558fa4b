"""Projections of the ledger's change stream. Table ``<prefix>-<stage>-insights``.

Key layout::

    view            key                                    what
    watermarks      <shard>                                newest: the last sequence number counted; counted_ms: when,
                                                           and changed_ms: when that change was made
    counters        <slot>|<group digest>                  group, a number for every state, and what has happened
                                                           since ever: total_<measure>, and histogram buckets
    minutes#<day>   <minute in ms>|<slot>|<group digest>   group, minute_ms, a number for every measure and bucket
    tasks#<month>   see store/task_statistics.py                   the statistics of tasks
    days            see store/day_accounts.py                      the accounts of days, and audit
    failures        see store/failure_groups.py                    the groups of failures
    word#<digest>   see store/search.py                            which tasks have which words, beside searched#

A batch of stream records moves its shard's watermark and adds to sums in one transaction, so a batch delivered twice
counts once. Readers add the slots up. A shard has one of eight slots: shards that count at the same time seldom meet
in one item, and although DynamoDB replaces a stream's shards every few hours, what readers read does not grow.

A histogram bucket is ``<measure>_<bound in ms>``, or ``<measure>_inf``. An item stays under 1 KB for a topic of
ordinary length, so that a transaction writes it for two units.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from zlib import crc32

from chalicelib.core.day_accounts import Account
from chalicelib.core.failures import FailureGroup, Failures
from chalicelib.core.histogram import BUCKETS
from chalicelib.core.projection import TIMES, Bucket, CountKey, Effects, Group, Measure, MinuteKey, Quantity
from chalicelib.core.states import State
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.day_accounts import DayAccounts
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.failure_groups import FailureGroups
from chalicelib.store.table import TRANSACTION_MAX_ITEMS, Table, TransactionRefused, chunks
from chalicelib.store.task_statistics import TaskStatistics

MINUTES_TTL_S = 400 * 86_400  # a year of series and some days to look back from
ROWS_MAX = TRANSACTION_MAX_ITEMS - 1  # beside the watermark
SLOTS = 8
NEWEST_SHARDS = 16
NO_FAILURES: Mapping[FailureGroup, Failures] = MappingProxyType({})

QUANTITIES: tuple[Quantity, ...] = (*Measure, *(Bucket(measure, bound) for measure in TIMES for bound in BUCKETS))


@dataclass(slots=True)
class Standing:
    """Where a group stands: how many of its jobs are in each state, and what has happened to it since ever."""

    states: Counter[State] = field(default_factory=Counter)
    totals: Counter[Quantity] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Counted:
    """When a change was made, and when it was counted, in milliseconds since 1970."""

    changed_ms: int
    at_ms: int


class AlreadyCounted(Exception):
    """The shard's watermark is not where the caller believed."""


class Insights:
    """The sums, written by the projector alone."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.task_days = TaskStatistics(table)
        self.accounts = DayAccounts(table)
        self.failures = FailureGroups(table)

    # -- writing ------------------------------------------------------------------------------

    def watermark(self, shard: str) -> str | None:
        """The last sequence number that was counted of a shard."""
        item = self._table.get({"view": "watermarks", "key": shard})
        return item["newest"] if item else None

    def add(
        self,
        shard: str,
        before: str | None,
        newest: str,
        adding: Iterable[AttributeValues],
        counted: Counted | None = None,
    ) -> None:
        """Move the watermark from ``before`` to ``newest`` and add what lay between; ``counted``: the newest of it.

        Raises ``AlreadyCounted`` when someone else moved it.
        """
        try:
            self._table.transact([self._moving(shard, before, newest, counted), *adding])
        except TransactionRefused as refused:
            raise AlreadyCounted(shard) from refused

    def adding(
        self, shard: str, effects: Effects, failures: Mapping[FailureGroup, Failures] = NO_FAILURES
    ) -> list[AttributeValues]:
        """The actions that add all of it, one an item; a transaction takes at most 99 beside the watermark."""
        return [*self._adding(shard, effects), *self.failures.adding(_slot(shard), failures)]

    def _moving(self, shard: str, before: str | None, newest: str, counted: Counted | None) -> AttributeValues:
        sets: dict[str, Any] = {"newest": newest}
        if counted is not None:
            sets |= {"changed_ms": counted.changed_ms, "counted_ms": counted.at_ms}
        unmoved = (
            Clause("first batch", "attribute_not_exists({newest})")
            if before is None
            else Clause("unmoved", "{newest} = :before", {":before": before})
        )
        return self._table.updating({"view": "watermarks", "key": shard}, Change((unmoved,), sets=sets))

    def _adding(self, shard: str, effects: Effects) -> Iterable[AttributeValues]:
        for (group, minute_ms), amounts in _rows(effects).items():
            if minute_ms is None:
                key = _counters_key(shard, group)
                sets: dict[str, Any] = {"group": group._asdict()}
            else:
                key = {"view": _day_view(minute_ms), "key": f"{minute_ms:013d}|{_slot(shard)}|{_digest(group)}"}
                expires_at_s = minute_ms // 1_000 + MINUTES_TTL_S
                sets = {"group": group._asdict(), "minute_ms": minute_ms, "expires_at_s": expires_at_s}
            yield self._table.updating(key, Change((), sets=sets, adds=amounts))
        yield from self.task_days.adding(_slot(shard), effects)
        yield from self.accounts.adding(_slot(shard), effects)

    def replace_counters(self, shard: str, effects: Effects) -> None:
        """Let the states be counted as in ``effects`` and not otherwise; nobody may be counting meanwhile.

        What has happened since ever is kept. May be repeated after a failure.
        """
        states: dict[str, dict[str, Any]] = {}
        for (group, _), amounts in _rows(effects).items():
            states[_counters_key(shard, group)["key"]] = {"group": group._asdict(), **amounts}
        rows = self._table.query_all("{view} = :view", {":view": "counters"}, consistent=True)
        none = dict.fromkeys((state.value for state in State), None)
        keys = dict.fromkeys([*(row["key"] for row in rows), *states])
        for some in chunks(list(keys), TRANSACTION_MAX_ITEMS):
            changes = {key: Change((), sets={**none, **states.get(key, {})}) for key in some}
            self._table.transact(
                [self._table.updating({"view": "counters", "key": key}, change) for key, change in changes.items()]
            )

    def raise_totals(self, shard: str, proven: Mapping[Group, Counter[Measure]]) -> None:
        """Let what was counted since ever be at least what is ``proven``; nobody may be counting meanwhile.

        May be repeated after a failure.
        """
        known = self.standings()
        for group, totals in proven.items():
            counted = known.get(group, Standing()).totals
            lacking = +Counter({measure: number - counted[measure] for measure, number in totals.items()})
            if lacking:
                adds = {_total_name(measure): number for measure, number in lacking.items()}
                self._table.apply(_counters_key(shard, group), Change((), sets={"group": group._asdict()}, adds=adds))

    def correct_accounts(self, shard: str, accounts: Mapping[Account, Mapping[str, int]]) -> None:
        """Let the accounts of days be as in ``accounts``; nobody may be counting meanwhile.

        May be repeated after a failure.
        """
        known = self.accounts.read(0)
        for account, numbers in accounts.items():
            more = Counter(numbers)
            more.subtract(known.get(account, {}))
            if wanting := {name: number for name, number in more.items() if number}:
                self.accounts.correct(_slot(shard), account, wanting)

    def replace_failures(self, shard: str, groups: Mapping[FailureGroup, Failures]) -> None:
        """Let the groups of failures be as in ``groups``; nobody may be counting meanwhile. May be repeated."""
        self.failures.replace(_slot(shard), groups)

    # -- reading ------------------------------------------------------------------------------

    def counters(self) -> dict[Group, Counter[State]]:
        """How many jobs of each group are in each state, as far as the stream has been read."""
        return {group: standing.states for group, standing in self.standings().items() if standing.states}

    def standings(self) -> dict[Group, Standing]:
        """Where every group stands, as far as the stream has been read. What is counted since ever never falls."""
        found: defaultdict[Group, Standing] = defaultdict(Standing)
        for row in self._table.query_all("{view} = :view", {":view": "counters"}, consistent=True):
            standing = found[Group(**row["group"])]
            standing.states.update({state: row[state.value] for state in State if state.value in row})
            standing.totals.update(_found(row, _TOTAL_NAMES))
        return dict(found)

    def counted(self) -> list[Counted]:
        """What was counted last of each of the newest shards: their names begin with the time at which they began."""
        rows = self._table.first("{view} = :view", {":view": "watermarks"}, NEWEST_SHARDS, ascending=False)
        return [Counted(row["changed_ms"], row["counted_ms"]) for row in rows if "counted_ms" in row]

    def minutes(self, since_ms: int, until_ms: int) -> dict[tuple[Group, int], Counter[Quantity]]:
        """What happened to every group in every minute that begins within a span; its end is not in it."""
        found: defaultdict[tuple[Group, int], Counter[Quantity]] = defaultdict(Counter)
        for view in _day_views(since_ms, until_ms):
            rows = self._table.query_all(
                "{view} = :view AND {key} BETWEEN :since AND :until",
                {":view": view, ":since": f"{since_ms:013d}", ":until": f"{until_ms:013d}"},
                consistent=True,
            )
            for row in rows:
                found[Group(**row["group"]), row["minute_ms"]].update(_found(row, _NAMES))
        return dict(found)


def _name(quantity: Quantity) -> str:
    """The attribute of a quantity in the items of the minutes."""
    if isinstance(quantity, Measure):
        return quantity.value
    return f"{quantity.measure.value}_{'inf' if quantity.upto_ms is None else quantity.upto_ms}"


def _total_name(quantity: Quantity) -> str:
    """The attribute of a quantity's total, which must not be mistaken for a state: both know ``failed``."""
    return f"total_{quantity.value}" if isinstance(quantity, Measure) else _name(quantity)


_NAMES = {_name(quantity): quantity for quantity in QUANTITIES}
_TOTAL_NAMES = {_total_name(quantity): quantity for quantity in QUANTITIES}
_NAME_OF = {quantity: name for name, quantity in _NAMES.items()}
_TOTAL_NAME_OF = {quantity: name for name, quantity in _TOTAL_NAMES.items()}


def _found(row: dict[str, Any], names: dict[str, Quantity]) -> dict[Quantity, int]:
    return {quantity: row[name] for name, quantity in names.items() if name in row}


def _rows(effects: Effects) -> dict[tuple[Group, int | None], dict[str, int]]:
    """The numbers to add, by the item they are added to: what happens in a minute adds to a total, too."""
    rows: defaultdict[tuple[Group, int | None], defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for key, amount in effects.items():
        if isinstance(key, CountKey):
            rows[key.group, None][key.state.value] += amount
        elif isinstance(key, MinuteKey):
            rows[key.group, key.minute_ms][_NAME_OF[key.measure]] += amount
            if key.measure is not Measure.BACKLOG:  # whose total is the number of pending jobs
                rows[key.group, None][_TOTAL_NAME_OF[key.measure]] += amount
    return dict(rows)


def _counters_key(shard: str, group: Group) -> dict[str, Any]:
    return {"view": "counters", "key": f"{_slot(shard)}|{_digest(group)}"}


def _slot(shard: str) -> int:
    return crc32(shard.encode()) % SLOTS


@lru_cache(maxsize=1_024)  # batch by batch it is the same few
def _digest(group: Group) -> str:
    return hashlib.sha256("\0".join((group.kind, group.queue, group.type)).encode()).hexdigest()[:20]


@lru_cache(maxsize=64)
def _day_view(minute_ms: int) -> str:
    return f"minutes#{datetime.fromtimestamp(minute_ms / 1_000, UTC):%Y-%m-%d}"


def _day_views(since_ms: int, until_ms: int) -> list[str]:
    day_ms = 86_400_000
    return [_day_view(day) for day in range(since_ms - since_ms % day_ms, until_ms + 1, day_ms)]

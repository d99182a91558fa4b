"""The statistics of tasks: how those created in a quarter of an hour stand. In the table of ``store/insights.py``.

Key layout::

    view              key                             what
    watermarks        condensed                       day_ms: the day that was condensed last
    tasks#<YYYY-MM>   <DD>|<digest>                   condensed: type, runner, for each amount its 96 quarters as a text
    tasks#<YYYY-MM>   <DD>|<digest>|<quarter>|<slot>  fresh: type, runner, a number for each amount and quarter

Months and days are UTC's and those of the creation; the digest is of type and runner. The projector adds to fresh
rows. Each is of three hours, which keeps it under 1 KB, so that a transaction writes it for two units; ``<quarter>``
is the first of the day's quarters in it. ``condense`` puts a day's fresh rows, up to 64, into one condensed row for
each type and runner, without which a year could not be read in a request. What happens to its tasks later makes fresh
rows again, and readers add up.

A number's attribute is a letter and the number of its quarter in the day: ``s37`` are the tasks created from 09:15
to 09:30 that have succeeded. ``updates`` counts the writes of a row, so that nothing is condensed that has changed
since it was read.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from chalicelib.aws import threads
from chalicelib.core.projection import Effects, TaskAmountKey
from chalicelib.core.states import State
from chalicelib.core.statistics import AMOUNTS, DAY_MS, QUARTER_MS, QUARTERS_A_DAY, Amount, TaskDay, Took
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Table, TransactionRefused

KEPT_S = 400 * 86_400  # from the creation: a year and some days to look back from
QUARTERS_A_ROW = 12
PARALLEL_READS = 8
CONDENSED_UNTIL = {"view": "watermarks", "key": "condensed"}

LETTERS: dict[Amount, str] = {
    State.PENDING: "p",
    State.RUNNING: "r",
    State.WAITING: "w",
    State.SUCCESS: "s",
    State.FAILED: "f",
    State.CANCELED: "c",
    Took.STARTED: "n",
    Took.WAITING_MS: "a",
    Took.EXECUTION_MS: "x",
    Took.TOTAL_MS: "t",
}
AMOUNT_OF = {letter: amount for amount, letter in LETTERS.items()}
_NUMBER = re.compile(f"(?P<amount>[{''.join(AMOUNT_OF)}])(?P<quarter>[0-9]+)")

Row = Mapping[str, Any]
Numbers = dict[Amount, list[int]]


class RowKey(NamedTuple):
    """The tasks of one fresh row, all slots of it."""

    type: str
    runner: str
    start_ms: int

    def of_slot(self, slot: int) -> dict[str, Any]:
        """The key of the row in a slot."""
        view, start = _row_of(self)
        return {"view": view, "key": f"{start}|{slot}"}


class TaskStatistics:
    """The rows of the statistics."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def adding(self, slot: int, effects: Effects) -> Iterator[AttributeValues]:
        """The actions of a transaction that add what ``effects`` mean for the statistics."""
        for row, numbers in rows_in(effects).items():
            sets = {"type": row.type, "runner": row.runner, "expires_at_s": row.start_ms // 1_000 + KEPT_S}
            yield self._table.updating(row.of_slot(slot), Change((), sets=sets, adds={**numbers, "updates": 1}))

    def read(
        self, since_ms: int, until_ms: int, only_type: str | None = None, only_runner: str | None = None
    ) -> list[TaskDay]:
        """The statistics of every day of UTC that has a part of a span, perhaps only those of one type or one runner.

        One query a month, side by side; a year of twenty types that are condensed takes two pages a month. What was
        written a moment ago may be missing, and what is being condensed just then may be missing or counted twice.
        """
        days = [_Day(day_ms) for day_ms in range(since_ms - since_ms % DAY_MS, until_ms + 1, DAY_MS)]
        months = [list(found) for _, found in groupby(days, lambda day: day.view)]
        with threads(PARALLEL_READS) as readers:
            rows = [row for found in readers.map(self._of_month, months) for row in found]
        wanted = [row for row in rows if only_type in (None, row["type"]) and only_runner in (None, row["runner"])]
        by_day = groupby(sorted(wanted, key=_group), _group)
        return [_task_day(list(found)) for _, found in by_day]

    def condense(self, day_ms: int, going_on: Callable[[], bool]) -> int:
        """Put the fresh rows of a day into condensed ones until ``going_on`` says no; returns how many there were.

        A row that is added to meanwhile stays, with all of its type and runner, for another time.
        """
        condensed = 0
        for rows in self._groups(day_ms):
            if not going_on():
                break
            fresh = [row for row in rows if _is_fresh(row)]
            if fresh and self._rewrite(_task_day(rows), rows):
                condensed += len(fresh)
        return condensed

    def condensed_until_ms(self) -> int | None:
        """Which day was condensed last; ``None`` if none ever was."""
        item = self._table.get(CONDENSED_UNTIL)
        return item["day_ms"] if item else None

    def remember_condensed(self, day_ms: int) -> None:
        """The days up to this one are condensed."""
        self._table.apply(CONDENSED_UNTIL, Change((), sets={"day_ms": day_ms}))

    def replace(self, task_day: TaskDay) -> None:
        """Let a day of a type and a runner be as in ``task_day``; nobody may be counting meanwhile. May be repeated."""
        digest = _digest(task_day.type, task_day.runner)
        day = _Day(task_day.day_ms)
        rows = list(self._query(day.view, f"{day.of_month}|{digest}", f"{day.of_month}|{digest}|~", consistent=True))
        self._rewrite(task_day, rows)

    def _groups(self, day_ms: int) -> Iterator[list[Row]]:
        """The rows of a day, those of one type and runner at a time."""
        day = _Day(day_ms)
        rows = list(self._query(day.view, day.of_month, f"{day.of_month}|~", consistent=True))
        for _, group in groupby(sorted(rows, key=_group), _group):
            yield list(group)

    def _rewrite(self, task_day: TaskDay, rows: Sequence[Row]) -> bool:
        """Put ``task_day`` in place of ``rows``, all there are of it; returns whether they were unchanged.

        At most 65 actions: eight rows of three hours in eight slots, and the condensed one.
        """
        key = {"view": _Day(task_day.day_ms).view, "key": _condensed_key(task_day)}
        whole = next((row for row in rows if not _is_fresh(row)), None)
        texts = {
            LETTERS[amount]: _text(task_day.amounts[amount]) if any(task_day.amounts.get(amount, ())) else None
            for amount in AMOUNTS
        }
        sets = {
            "type": task_day.type,
            "runner": task_day.runner,
            "expires_at_s": task_day.day_ms // 1_000 + KEPT_S,
            "updates": 1 if whole is None else whole["updates"] + 1,
            **texts,
        }
        actions = [
            self._table.deleting({"view": row["view"], "key": row["key"]}, _unchanged(row))
            for row in rows
            if _is_fresh(row)
        ]
        try:
            self._table.transact([*actions, self._table.updating(key, Change((_unchanged(whole),), sets=sets))])
        except TransactionRefused:
            return False
        return True

    def _of_month(self, days: Sequence[_Day]) -> list[Row]:
        return list(self._query(days[0].view, days[0].of_month, f"{days[-1].of_month}|~"))

    def _query(self, view: str, first: str, last: str, *, consistent: bool = False) -> Iterator[Row]:
        return self._table.query_all(
            "{view} = :view AND {key} BETWEEN :first AND :last",
            {":view": view, ":first": first, ":last": last},
            consistent=consistent,
        )


@dataclass(frozen=True, slots=True)
class _Day:
    """A day of UTC, which begins at ``start_ms``."""

    start_ms: int

    @property
    def view(self) -> str:
        return f"tasks#{datetime.fromtimestamp(self.start_ms / 1_000, UTC):%Y-%m}"

    @property
    def of_month(self) -> str:
        return f"{datetime.fromtimestamp(self.start_ms / 1_000, UTC):%d}"


def rows_in(effects: Effects) -> dict[RowKey, Counter[str]]:
    """The numbers to add to the statistics, by the row they are added to."""
    rows: defaultdict[RowKey, Counter[str]] = defaultdict(Counter)
    for key, number in effects.items():
        if isinstance(key, TaskAmountKey):
            quarter = key.quarter_ms % DAY_MS // QUARTER_MS
            start_ms = key.quarter_ms - quarter % QUARTERS_A_ROW * QUARTER_MS
            rows[RowKey(key.type, key.runner, start_ms)][f"{LETTERS[key.amount]}{quarter}"] += number
    return dict(rows)


def _task_day(rows: Sequence[Row]) -> TaskDay:
    """What the rows of one day, type and runner add up to."""
    numbers: Numbers = {
        AMOUNT_OF[name]: _numbers(text)
        for row in rows
        if not _is_fresh(row)  # there is one at most
        for name, text in row.items()
        if name in AMOUNT_OF
    }
    for row in filter(_is_fresh, rows):
        for name, number in row.items():
            if found := _NUMBER.fullmatch(name):
                quarters = numbers.setdefault(AMOUNT_OF[found["amount"]], [0] * QUARTERS_A_DAY)
                quarters[int(found["quarter"])] += number
    first = rows[0]
    return TaskDay(first["type"], first["runner"], _day_ms(first), numbers)


def _text(quarters: Iterable[int]) -> str:
    """``[0, 3, 0, 12]`` as ``,3,,12``: most quarters of most types have no tasks."""
    return ",".join(str(number) if number else "" for number in quarters)


def _numbers(text: str) -> list[int]:
    return [int(number or 0) for number in text.split(",")]


def _is_fresh(row: Row) -> bool:
    return str(row["key"]).count("|") > 1


def _unchanged(row: Row | None) -> Clause:
    if row is None:
        return Clause("not there", "attribute_not_exists({updates})")
    return Clause("unchanged", "{updates} = :updates_seen", {":updates_seen": row["updates"]})


def _group(row: Row) -> tuple[str, str]:
    """What all rows of a day, type and runner have in common: the month, the day and the digest."""
    return str(row["view"]), "|".join(str(row["key"]).split("|")[:2])


def _day_ms(row: Row) -> int:
    month, of_month = str(row["view"]).removeprefix("tasks#"), str(row["key"]).partition("|")[0]
    return int(datetime.fromisoformat(f"{month}-{of_month}T00:00:00+00:00").timestamp()) * 1_000


def _condensed_key(task_day: TaskDay) -> str:
    return f"{_Day(task_day.day_ms).of_month}|{_digest(task_day.type, task_day.runner)}"


@lru_cache(maxsize=1_024)  # batch by batch it is the same few
def _row_of(row: RowKey) -> tuple[str, str]:
    """The view of a fresh row, and how its key begins."""
    day = _Day(row.start_ms - row.start_ms % DAY_MS)
    first = row.start_ms % DAY_MS // QUARTER_MS
    return day.view, f"{day.of_month}|{_digest(row.type, row.runner)}|{first:02d}"


def _digest(task_type: str, runner: str) -> str:
    return hashlib.sha256(f"{runner}\0{task_type}".encode()).hexdigest()[:20]

"""The embedded emulator's indexes, kept in order: a query reads what it shows, however much its partition holds.

MiniStack sorts the whole partition of an index for each query and tries the key condition on every item of it, which
takes 50 µs each, and a list of tasks makes some sixty queries. Here it is given the items between the query's bounds,
behind its ExclusiveStartKey and up to its Limit, and does with them as ever. A COUNT is the difference of two places in
the order; it is not cut at 1 MB. Large partitions of the tables themselves are kept so, too, from the first query of
each on. A query of any other form than ours is left alone.

What is replaced is private to MiniStack and holds for the version that pyproject.toml pins.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any, TypeVar

PARSED_MAX = 4_096  # expressions; ours are some hundred
ORDERED_FROM = 64  # items in a table's partition; what has fewer is as quickly gone over
_BOUNDS = r"BETWEEN (?P<since>:\w+) AND (?P<until>:\w+)|<= (?P<upto>:\w+)"
_CONDITION = re.compile(rf"#\w+ = (?P<partition>:\w+)(?: AND #\w+ (?:{_BOUNDS}))?")
T = TypeVar("T")
_OTHERWISE = {"FilterExpression", "QueryFilter", "KeyConditions"}

Entry = tuple[Any, ...]  # what it is ordered by, as MiniStack does, and in the end its keys in the table


@dataclass(frozen=True, slots=True)
class Asked:
    """The part of a partition that a query is about; ``None`` is no bound."""

    partition: Any
    since: Any
    until: Any
    behind: Mapping[str, Any] | None
    most: int | None
    ascending: bool
    last_only: bool = False  # of those, the last

    @classmethod
    def by(cls, data: Mapping[str, Any]) -> Asked | None:
        """What a request asks for; ``None`` for one of another form."""
        form = _CONDITION.fullmatch(data.get("KeyConditionExpression") or "")
        if form is None or _OTHERWISE & data.keys():
            return None
        values = data.get("ExpressionAttributeValues") or {}
        partition, since, until, upto = (values.get(form[name]) for name in ("partition", "since", "until", "upto"))
        most, ascending = data.get("Limit"), data.get("ScanIndexForward", True)
        if not isinstance(partition, dict) or (most is not None and most < 1):
            return None
        return cls(partition, since, until or upto, data.get("ExclusiveStartKey"), most, ascending)

    def part_of(self, entries: Sequence[T], first: int, last: int) -> Sequence[T]:
        """Of the entries from ``first`` on and before ``last``, as many as are asked for, in the order asked for."""
        most = len(entries) if self.most is None else self.most
        if self.ascending:
            return entries[first : min(last, first + most)]
        return entries[max(first, last - most) : last][::-1]


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


@dataclass(slots=True)
class Partition:
    """The members of one partition of an index, in order; to MiniStack a dictionary of their keys in the table."""

    ministack: Any
    table: dict[str, Any]
    attributes: list[tuple[str, str]]  # what the index orders by, with the types
    entries: list[Entry] = field(default_factory=list)
    places: dict[tuple[Any, Any], Entry] = field(default_factory=dict)

    def __setitem__(self, keys: tuple[Any, Any], _: None) -> None:
        self.places[keys] = entry = (*self._place(self.table["items"][keys[0]][keys[1]]), keys)
        insort(self.entries, entry)

    def pop(self, keys: tuple[Any, Any], _: None) -> None:
        """Take a member away, if it is there."""
        if (entry := self.places.pop(keys, None)) is not None:
            del self.entries[bisect_left(self.entries, entry)]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        asked = _asked.get()
        return (entry[-1] for entry in (self.entries if asked is None else self.within(asked)))

    def within(self, asked: Asked) -> Sequence[Entry]:
        """The entries that are asked for, in the order that is asked for."""
        first, last = 0, len(self.entries)
        if asked.since is not None:
            first = bisect_left(self.entries, self._value(asked.since), key=itemgetter(0))
        if asked.until is not None:
            last = bisect_right(self.entries, self._value(asked.until), key=itemgetter(0))
        if asked.behind is not None and asked.ascending:
            first = max(first, bisect_right(self.entries, self._place(asked.behind), key=itemgetter(slice(-1))))
        elif asked.behind is not None:
            last = min(last, bisect_left(self.entries, self._place(asked.behind), key=itemgetter(slice(-1))))
        found = asked.part_of(self.entries, first, last)
        return found[-1:] if asked.last_only else found

    def _place(self, item: Mapping[str, Any]) -> Entry:
        return tuple(self.ministack._index_order_value(item, name, kind) for name, kind in self.attributes)

    def _value(self, attribute: Mapping[str, Any]) -> Any:
        return self.ministack._sort_key_value(attribute, self.attributes[0][1])


class Partitions(dict[Any, Partition]):
    """The partitions of one index, by their keys."""

    def __init__(self, make: Callable[[], Partition]) -> None:
        super().__init__()
        self._make = make

    def setdefault(self, key: Any, _: Any = None) -> Partition:
        """The partition with a key, made if there is none."""
        if key not in self:
            self[key] = self._make()
        return self[key]


class TablePartition(dict[str, Any]):
    """The items of one partition of a table whose sort key, named ``sort``, is text; to MiniStack a dictionary."""

    def __init__(self, items: Mapping[str, Any], sort: str) -> None:
        super().__init__(items)
        self._sort = sort
        self._order = sorted(items)

    def __setitem__(self, key: str, item: Any) -> None:
        if key not in self:
            insort(self._order, key)
        super().__setitem__(key, item)

    def pop(self, key: str, default: Any = None) -> Any:
        """Take an item away, if it is there."""
        if key in self:
            del self._order[bisect_left(self._order, key)]
        return super().pop(key, default)

    def values(self) -> Any:
        """The items that are asked for, or all."""
        asked = _asked.get()
        return super().values() if asked is None else [self[key] for key in self.within(asked)]

    def within(self, asked: Asked) -> Sequence[str]:
        """The sort keys that are asked for, in the order that is asked for."""
        first, last = 0, len(self._order)
        if asked.since is not None:
            first = bisect_left(self._order, asked.since["S"])
        if asked.until is not None:
            last = bisect_right(self._order, asked.until["S"])
        behind = (asked.behind or {}).get(self._sort, {}).get("S")
        if behind is not None and asked.ascending:
            first = max(first, bisect_right(self._order, behind))
        elif behind is not None:
            last = min(last, bisect_left(self._order, behind))
        return asked.part_of(self._order, first, last)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)  # a copy is a dictionary like any other


def install() -> None:
    """Let MiniStack's DynamoDB, in this process, keep its indexes so."""
    from ministack.services import dynamodb as ministack

    query, evaluate = ministack._query, ministack._evaluate_condition

    def members_of(table: dict[str, Any]) -> dict[str, Partitions]:
        if (members := table.get(ministack._INDEX_MEMBERS)) is None:
            members = table[ministack._INDEX_MEMBERS] = {
                name: Partitions(partial(Partition, ministack, table, ministack._index_order_keys(table, ranges)))
                for name, _, ranges in ministack._index_key_schemas(table)
            }
            for partition_key, items in table["items"].items():
                for sort_key, item in items.items():
                    ministack._index_item(table, partition_key, sort_key, item, add=True)
        found: dict[str, Partitions] = members
        return found

    def answered(data: dict[str, Any], asked: Asked | None) -> Any:
        token = _asked.set(asked)
        try:
            return query(data)
        finally:
            _asked.reset(token)

    def queried(data: dict[str, Any]) -> Any:
        asked = Asked.by(data)
        if asked is not None and not data.get("IndexName") and not is_ordered(data.get("TableName"), asked):
            asked = None
        counts_an_index = data.get("Select") == "COUNT" and "IndexName" in data
        if asked is None or not counts_an_index or "ReturnConsumedCapacity" in data:
            return answered(data, asked)
        answer = answered({**data, "Limit": 1}, replace(asked, last_only=True))
        return answer if answer[0] != 200 else counted(data, asked, json.loads(answer[2]))

    def is_ordered(name: str | None, asked: Asked) -> bool:
        """Whether the partition of a table that is asked for is kept in order, from now on if it is large."""
        table = None if name is None else ministack._tables.get(ministack._normalize_table_name(name))
        if not table or not table["sk_name"] or ministack._get_attr_type(table, table["sk_name"]) != "S":
            return False
        key = ministack._extract_key_val(asked.partition)
        items = table["items"].get(key, {})
        if len(items) >= ORDERED_FROM and not isinstance(items, TablePartition):
            items = table["items"][key] = TablePartition(items, table["sk_name"])
        return isinstance(items, TablePartition)

    def counted(data: dict[str, Any], asked: Asked, answer: dict[str, Any]) -> Any:
        """The answer to a COUNT, from that of a query which has read the last item that it counts."""
        members = members_of(ministack._tables[ministack._normalize_table_name(data["TableName"])])
        partition = members[data["IndexName"]].get(ministack._extract_key_val(asked.partition))
        count = 0 if partition is None else len(partition.within(asked))
        if asked.most is None or count < asked.most:
            answer.pop("LastEvaluatedKey", None)
        return ministack.json_response({**answer, "Count": count, "ScannedCount": count})

    def evaluated(expr: str, item: Any, values: Any, names: Any, slot: str = "ConditionExpression") -> Any:
        """What lies between a query's bounds fulfils its key condition."""
        asked = _asked.get()
        if asked is not None and slot == "KeyConditionExpression" and item is not asked.behind:
            return True
        return evaluate(expr, item, values, names, slot=slot)

    ministack._index_members = members_of
    ministack._query = queried
    ministack._evaluate_condition = evaluated
    for parse in ("_tokenize", "_condition_syntax_error"):
        setattr(ministack, parse, lru_cache(PARSED_MAX)(getattr(ministack, parse)))

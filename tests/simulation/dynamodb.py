"""A DynamoDB in memory: exactly what the store asks of it, with the liberties that the real one takes.

A write is whole or not at all, and so is a transaction. Index entries, and reads that are not consistent, lag behind
writes; a page may end anywhere. The stream tells each change of an item once, in order for each item; who reads it, and
how late and how often, is the business of whoever plays AWS (``platform.py``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any

from botocore.exceptions import ClientError

from infra.storage import JOBS_INDEXES
from tests.simulation.expressions import Item, condition, updated

Key = tuple[str, str]
Answer = dict[str, Any]
NOTHING: Item = {}
INDEX_KEYS = {index: (partition, sort) for index, ((partition, _), (sort, _)) in JOBS_INDEXES.items()}


def refusal(code: str, operation: str, **more: Any) -> ClientError:
    """What a client raises for AWS's refusal."""
    return ClientError({"Error": {"Code": code, "Message": code}, **more}, operation)


@dataclass(slots=True)
class Lag:
    """How far what is read may be behind what was written, and where a page may end."""

    dice: Random
    index_ms: int = 0
    stale_share: float = 0.0  # of reads that are not consistent
    cut_share: float = 0.0  # of pages


@dataclass(slots=True)
class Table:
    """The items of a table, and what lags behind them."""

    name: str
    key: Key
    indexes: Mapping[str, Key] = field(default_factory=dict)
    streams: bool = False
    items: dict[tuple[str, str], Item] = field(default_factory=dict)  # by the key's values, as text
    partitions: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    shown: dict[str, dict[tuple[str, str], Item]] = field(default_factory=dict)  # of each index, what it shows by now
    to_show: deque[tuple[int, tuple[str, str], Item | None]] = field(default_factory=deque)
    before: dict[tuple[str, str], tuple[int, Item | None]] = field(
        default_factory=dict
    )  # the newest write, what it met
    changes: list[Answer] = field(default_factory=list)

    def place(self, key: Item) -> tuple[str, str]:
        """Where an item stands."""
        partition, sort = self.key
        (first,), (second,) = key[partition].values(), key[sort].values()
        return first, second


class DynamoDb:
    """The tables of one installation. ``now_ms`` is the true time; ``changed`` is called when the stream has grown."""

    def __init__(self, base_name: str, now_ms: Callable[[], int], lag: Lag, changed: Callable[[], None]) -> None:
        self._now_ms, self._lag, self._changed = now_ms, lag, changed
        self._sequence = 0
        tables = (
            Table(f"{base_name}-jobs", ("job", "part"), INDEX_KEYS, streams=True),
            Table(f"{base_name}-directory", ("kind", "name")),
            Table(f"{base_name}-insights", ("view", "key")),
        )
        self.tables = {table.name: table for table in tables}
        self.jobs, self.directory, self.insights = tables

    def clear(self) -> None:
        """Forget every item."""
        for table in self.tables.values():
            for held in (table.items, table.partitions, table.shown, table.to_show, table.before, table.changes):
                held.clear()

    # -- one item ---------------------------------------------------------------------------------

    def get_item(self, TableName: str, Key: Item, ConsistentRead: bool = False) -> Answer:  # noqa: N803 - AWS's names
        table = self.tables[TableName]
        found = self._read(table, table.place(Key), ConsistentRead)
        return {} if found is None else {"Item": found}

    def batch_get_item(self, RequestItems: Mapping[str, Any]) -> Answer:  # noqa: N803
        responses: dict[str, list[Item]] = {}
        left: dict[str, Any] = {}
        for name, wanted in RequestItems.items():
            table, keys = self.tables[name], wanted["Keys"]
            if len(keys) > 1 and self._lag.dice.random() < self._lag.cut_share:
                left[name] = {**wanted, "Keys": keys[1:]}
                keys = keys[:1]
            found = [self._read(table, table.place(key), wanted.get("ConsistentRead", False)) for key in keys]
            responses[name] = [item for item in found if item is not None]
        return {"Responses": responses, "UnprocessedKeys": left}

    def put_item(self, TableName: str, Item: Item, **more: Any) -> Answer:  # noqa: N803
        table = self.tables[TableName]
        place = table.place(Item)
        self._expect(table, place, more, "PutItem")
        self._write(table, place, Item)
        return {}

    def update_item(self, TableName: str, Key: Item, UpdateExpression: str, **more: Any) -> Answer:  # noqa: N803
        table = self.tables[TableName]
        place = table.place(Key)
        self._expect(table, place, more, "UpdateItem")
        changed = self._updated(table, place, Key, UpdateExpression, more)
        self._write(table, place, changed)
        return {"Attributes": changed} if more.get("ReturnValues") == "ALL_NEW" else {}

    def delete_item(self, TableName: str, Key: Item, **more: Any) -> Answer:  # noqa: N803
        table = self.tables[TableName]
        place = table.place(Key)
        self._expect(table, place, more, "DeleteItem")
        self._write(table, place, None)
        return {}

    def batch_write_item(self, RequestItems: Mapping[str, Any]) -> Answer:  # noqa: N803
        left: dict[str, Any] = {}
        for name, requests in RequestItems.items():
            table = self.tables[name]
            done = len(requests)
            if done > 1 and self._lag.dice.random() < self._lag.cut_share:
                done = 1
                left[name] = requests[1:]
            for request in requests[:done]:
                item = request["PutRequest"]["Item"] if "PutRequest" in request else None
                self._write(table, table.place(item or request["DeleteRequest"]["Key"]), item)
        return {"UnprocessedItems": left}

    # -- transactions -------------------------------------------------------------------------------

    def transact_write_items(self, TransactItems: list[Answer]) -> Answer:  # noqa: N803
        actions = [next(iter(action.items())) for action in TransactItems]
        places = []
        for kind, given in actions:
            table = self.tables[given["TableName"]]
            places.append((table, table.place(given["Item"] if kind == "Put" else given["Key"])))
        if len({(table.name, place) for table, place in places}) < len(actions) or len(actions) > 100:
            raise refusal("ValidationException", "TransactWriteItems")
        reasons: list[Answer] = []
        for (_, given), (table, place) in zip(actions, places, strict=True):
            old = table.items.get(place)
            held = "ConditionExpression" not in given or _holds(given, old)
            reason = {"Code": "None"} if held else {"Code": "ConditionalCheckFailed", **({"Item": old} if old else {})}
            reasons.append(reason)
        if any(reason["Code"] != "None" for reason in reasons):
            raise refusal("TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons)
        for (kind, given), (table, place) in zip(actions, places, strict=True):
            if kind == "Put":
                self._write(table, place, given["Item"])
            elif kind == "Update":
                self._write(table, place, self._updated(table, place, given["Key"], given["UpdateExpression"], given))
            elif kind == "Delete":
                self._write(table, place, None)
        return {}

    # -- queries ------------------------------------------------------------------------------------

    def query(
        self,
        TableName: str,  # noqa: N803
        KeyConditionExpression: str,  # noqa: N803
        ExpressionAttributeNames: dict[str, str],  # noqa: N803
        ExpressionAttributeValues: Item,  # noqa: N803
        IndexName: str | None = None,  # noqa: N803
        ScanIndexForward: bool = True,  # noqa: N803
        Limit: int | None = None,  # noqa: N803
        **more: Any,
    ) -> Answer:
        table = self.tables[TableName]
        given = {"names": ExpressionAttributeNames, "values": ExpressionAttributeValues}
        given["consistent"] = more.get("ConsistentRead", False)
        found = self._matching(table, IndexName, KeyConditionExpression, given)
        sort = table.key[1] if IndexName is None else table.indexes[IndexName][1]
        # Without a direction in the tie, DynamoDB's order is its own: by place, so that pages fit together.
        found.sort(key=lambda entry: (_sorted_as(entry[1][sort]), entry[0]), reverse=not ScanIndexForward)
        if "ExclusiveStartKey" in more:
            start = more["ExclusiveStartKey"]
            bound = _sorted_as(start[sort]), table.place(start)
            is_behind = (lambda at: at > bound) if ScanIndexForward else (lambda at: at < bound)
            found = [entry for entry in found if is_behind((_sorted_as(entry[1][sort]), entry[0]))]
        return self._page(table, IndexName, found, Limit, more)

    def _page(self, table: Table, index: str | None, found: list[Any], limit: int | None, more: Answer) -> Answer:
        most = len(found) if limit is None else limit
        if len(found) > 1 and self._lag.cut_share and self._lag.dice.random() < self._lag.cut_share:
            most = min(most, self._lag.dice.randrange(1, len(found)))
        page = [item for _, item in found[:most]]
        answer: Answer = {"Count": len(page)}
        if page and len(page) == most and (len(found) > most or limit is not None):
            keys = [*table.key, *(table.indexes[index] if index else ())]
            answer["LastEvaluatedKey"] = {name: page[-1][name] for name in keys}
        if more.get("Select") != "COUNT":
            answer["Items"] = _projected(page, more)
        return answer

    def _matching(self, table: Table, index: str | None, text: str, given: Answer) -> list[Any]:
        names, values, consistent = given["names"], given["values"], given["consistent"]
        holds = condition(text)
        if index is None:
            partition = next(iter(values[_partition_in(text)].values()))
            if partition not in table.partitions:
                return []
            found = [(place, self._read(table, place, consistent)) for place in table.partitions[partition]]
            return [(place, item) for place, item in found if item is not None and holds(item, values, names)]
        self._show(table)
        keys = (*table.key, *table.indexes[index])
        return [
            (place, {name: item[name] for name in keys})
            for place, item in table.shown.get(index, NOTHING).items()
            if holds(item, values, names)
        ]

    # -- what lies below ----------------------------------------------------------------------------

    def _read(self, table: Table, place: tuple[str, str], consistent: bool) -> Item | None:
        if not consistent and self._lag.stale_share and place in table.before:
            at_ms, old = table.before[place]
            if at_ms + self._lag.index_ms > self._now_ms() and self._lag.dice.random() < self._lag.stale_share:
                return old
        return table.items.get(place)

    def _expect(self, table: Table, place: tuple[str, str], given: Answer, operation: str) -> None:
        old = table.items.get(place)
        if "ConditionExpression" in given and not _holds(given, old):
            more = {"Item": old} if old and given.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" else {}
            raise refusal("ConditionalCheckFailedException", operation, **more)

    @staticmethod
    def _updated(table: Table, place: tuple[str, str], key: Item, text: str, given: Answer) -> Item:
        names, values = given.get("ExpressionAttributeNames", NOTHING), given.get("ExpressionAttributeValues", NOTHING)
        return updated(text, table.items.get(place, key), values, names)

    def _write(self, table: Table, place: tuple[str, str], item: Item | None) -> None:
        old = table.items.get(place)
        if item == old:
            return
        now_ms = self._now_ms()
        table.before[place] = now_ms, old
        partition = table.partitions.setdefault(place[0], set())
        if item is None:
            del table.items[place]
        else:
            table.items[place] = item
            partition.add(place)  # for good: a stale read may still find it
        if table.indexes:
            late_ms = self._lag.dice.randrange(self._lag.index_ms + 1) if self._lag.index_ms else 0
            shown_ms = max(now_ms + late_ms, table.to_show[-1][0] if table.to_show else 0)
            table.to_show.append((shown_ms, place, item))
        if table.streams:
            self._tell(table, old, item)

    def _show(self, table: Table) -> None:
        """Let the indexes show what they show by now."""
        now_ms = self._now_ms()
        while table.to_show and table.to_show[0][0] <= now_ms:
            _, place, item = table.to_show.popleft()
            for index, (partition, sort) in table.indexes.items():
                shown = table.shown.setdefault(index, {})
                if item is not None and partition in item and sort in item:
                    shown[place] = item
                else:
                    shown.pop(place, None)

    def _tell(self, table: Table, old: Item | None, new: Item | None) -> None:
        self._sequence += 1
        known = new if new is not None else old
        assert known is not None
        image: Answer = {
            "Keys": {name: known[name] for name in table.key},
            "SequenceNumber": f"{self._sequence:021d}",
            "ApproximateCreationDateTime": self._now_ms() // 1_000,
        }
        if old is not None:
            image["OldImage"] = old
        if new is not None:
            image["NewImage"] = new
        table.changes.append({"dynamodb": image})
        self._changed()


def _holds(given: Answer, item: Item | None) -> bool:
    names, values = given.get("ExpressionAttributeNames", NOTHING), given.get("ExpressionAttributeValues", NOTHING)
    return condition(given["ConditionExpression"])(item or NOTHING, values, names)


def _sorted_as(value: Item) -> Any:
    return int(value["N"]) if "N" in value else value["S"]


def _projected(items: list[Item], more: Answer) -> list[Item]:
    if "ProjectionExpression" not in more:
        return items
    names = [part.strip() for part in more["ProjectionExpression"].split(",")]
    return [{name: item[name] for name in names if name in item} for item in items]


@lru_cache(maxsize=256)
def _partition_in(text: str) -> str:
    """The value by which a key condition names its partition: the store writes it first."""
    return re.findall(r":\w+", text)[0]

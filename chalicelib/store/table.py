"""One DynamoDB table: conditional writes with named clauses, transactions, and queries page by page.

An expression names attributes as ``{state}`` and values as ``:now``; the braces become placeholders, so that
no reserved word of DynamoDB matters.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from chalicelib.core.errors import Unavailable
from chalicelib.store.attribute_values import (
    AttributeValues,
    from_attribute_values,
    to_attribute_values,
)
from chalicelib.store.expressions import (
    Change,
    Clause,
    with_expressions,
)

TRANSACTION_MAX_ITEMS = 100  # the DynamoDB limit
BATCH_GET_MAX_KEYS = 100  # the DynamoDB limit
BATCH_WRITE_MAX_ITEMS = 25  # the DynamoDB limit
CONFLICT_TRIES = 8  # 2.5 s in all: the concurrency count of a limited type is one item for all its workers
# Why a transaction was canceled that may pass a moment later (DynamoDB API Reference, "TransactWriteItems").
PASSING = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
CONFLICT_WAIT_S = 0.01  # before the first repetition; doubles
BATCH_ROUNDS = 8  # how often what DynamoDB left unprocessed is asked for again
BATCH_WAIT_S = 0.01  # before what was left is asked for again; doubles, to 2.5 s in all

T = TypeVar("T")


class Refused(Exception):
    """A condition did not hold. ``old`` is the item as it stands, ``None`` if there is none."""

    def __init__(self, clauses: Sequence[Clause], old: dict[str, Any] | None) -> None:
        super().__init__(f"refused: {' and '.join(clause.name for clause in clauses) or 'a transaction'}")
        self.old = old


class TransactionRefused(Exception):
    """A transaction's conditions did not hold.

    ``refused`` lists, for each action in order, whether its own condition failed; ``old`` the item it met.
    """

    def __init__(self, refused: list[bool], old: list[dict[str, Any] | None]) -> None:
        super().__init__(f"refused: actions {[i for i, bad in enumerate(refused) if bad]}")
        self.refused = refused
        self.old = old


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the store, by its name and the attributes of its key."""

    client: Any
    name: str
    key: tuple[str, str]

    def get(self, key: Mapping[str, Any], *, consistent: bool = True) -> dict[str, Any] | None:
        """The item, or ``None``; by default as of the last write."""
        answer = self.client.get_item(TableName=self.name, Key=to_attribute_values(key), ConsistentRead=consistent)
        return from_attribute_values(answer["Item"]) if "Item" in answer else None

    def find(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The item as of the last write, or ``None``, by a query: for functions that may not get items of the table."""
        condition = " AND ".join(f"{{{name}}} = :{name}" for name in self.key)
        items = self.first(condition, {f":{name}": key[name] for name in self.key}, 1, consistent=True)
        return items[0] if items else None

    def get_many(self, keys: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The items that exist among ``keys``, in no order, as of the last write."""
        found: list[dict[str, Any]] = []
        for chunk in chunks(keys, BATCH_GET_MAX_KEYS):
            wanted = {self.name: {"Keys": [to_attribute_values(key) for key in chunk], "ConsistentRead": True}}
            for answer in self._rounds(self.client.batch_get_item, wanted, "UnprocessedKeys"):
                found += [from_attribute_values(item) for item in answer["Responses"].get(self.name, [])]
        return found

    def put(self, item: Mapping[str, Any], *clauses: Clause) -> None:
        """Write an item whole; raises ``Refused`` when a clause does not hold."""
        parameters = with_expressions({"Item": to_attribute_values(item)}, clauses, {})
        self._conditional(self.client.put_item, clauses, parameters)

    def update(self, key: Mapping[str, Any], change: Change) -> dict[str, Any]:
        """Apply ``change`` and answer the whole new item; raises ``Refused`` when a clause does not hold."""
        return from_attribute_values(self._update(key, change, ReturnValues="ALL_NEW")["Attributes"])

    def apply(self, key: Mapping[str, Any], change: Change) -> None:
        """The same for who does not read the new item."""
        self._update(key, change)

    def _update(self, key: Mapping[str, Any], change: Change, **returned: str) -> dict[str, Any]:
        parameters = {"Key": to_attribute_values(key), **returned, **change.parameters()}
        return self._conditional(self.client.update_item, change.clauses, parameters)

    def delete(self, key: Mapping[str, Any], *clauses: Clause) -> None:
        """Delete an item, there or not; raises ``Refused`` when a clause does not hold."""
        self._conditional(
            self.client.delete_item, clauses, with_expressions({"Key": to_attribute_values(key)}, clauses, {})
        )

    def put_many(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Write items whole, whatever was there; may be repeated. Raises ``Unavailable`` where some stay unwritten."""
        self._write_many([{"PutRequest": {"Item": to_attribute_values(item)}} for item in items])

    def delete_many(self, keys: Sequence[Mapping[str, Any]]) -> None:
        """Delete items, there or not; may be repeated. Raises ``Unavailable`` where some stay undeleted."""
        self._write_many([{"DeleteRequest": {"Key": to_attribute_values(key)}} for key in keys])

    def _write_many(self, requests: Sequence[AttributeValues]) -> None:
        for chunk in chunks(requests, BATCH_WRITE_MAX_ITEMS):
            for _ in self._rounds(self.client.batch_write_item, {self.name: list(chunk)}, "UnprocessedItems"):
                continue

    def _rounds(self, call: Any, wanted: Mapping[str, Any], unprocessed: str) -> Iterator[dict[str, Any]]:
        """The answers to a batch, and to what DynamoDB leaves ``unprocessed`` of it, asked for after growing waits.

        Raises ``Unavailable`` where some is left in the end.
        """
        for number in range(BATCH_ROUNDS):
            if number:
                time.sleep(BATCH_WAIT_S * 2**number)
            answer = call(RequestItems=wanted)
            yield answer
            wanted = answer.get(unprocessed, {})
            if not wanted:
                return
        raise Unavailable(f"DynamoDB left {unprocessed} of {self.name} {BATCH_ROUNDS} times")

    def pages(
        self,
        condition: str,
        values: Mapping[str, Any],
        *,
        index: str | None = None,
        ascending: bool = True,
        page_size: int | None = None,
        consistent: bool = False,
        only: Sequence[str] = (),
    ) -> Iterator[list[dict[str, Any]]]:
        """The items of a query as DynamoDB cuts them into pages, each fetched as it is consumed.

        A page ends after ``page_size`` items or 1 MB, whichever comes first, and may be empty: only the last one tells
        that there is no more. ``only``: the attributes that DynamoDB hands out; default all.
        """
        parameters = self._query(condition, values, index, only)
        parameters |= {"ScanIndexForward": ascending, "ConsistentRead": consistent}
        if page_size is not None:
            parameters["Limit"] = page_size
        while True:
            answer = self.client.query(**parameters)
            yield [from_attribute_values(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return
            parameters["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def query_all(
        self,
        condition: str,
        values: Mapping[str, Any],
        *,
        index: str | None = None,
        consistent: bool = False,
        only: Sequence[str] = (),
    ) -> Iterator[dict[str, Any]]:
        """Every item of a query, fetched page by page as it is consumed; ``only`` as for ``pages``."""
        return chain.from_iterable(self.pages(condition, values, index=index, consistent=consistent, only=only))

    def first(
        self,
        condition: str,
        values: Mapping[str, Any],
        most: int,
        *,
        index: str | None = None,
        ascending: bool = True,
        consistent: bool = False,
    ) -> list[dict[str, Any]]:
        """The first ``most`` items of a query, or all if there are fewer, however large they are."""
        pages = self.pages(condition, values, index=index, ascending=ascending, page_size=most, consistent=consistent)
        return list(islice(chain.from_iterable(pages), most))

    def count(self, condition: str, values: Mapping[str, Any], *, index: str | None = None, enough: int) -> int:
        """How many items a query has; counting ends once ``enough`` are seen."""
        parameters = self._query(condition, values, index) | {"Select": "COUNT"}
        total = 0
        while True:
            answer = self.client.query(**parameters, Limit=enough - total)
            total += int(answer["Count"])
            if total >= enough or "LastEvaluatedKey" not in answer:
                return total
            parameters["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    # -- the actions of a transaction ---------------------------------------------------------

    def putting(self, item: Mapping[str, Any], *clauses: Clause) -> AttributeValues:
        """A put as an action of ``transact``."""
        return {"Put": self._action(with_expressions({"Item": to_attribute_values(item)}, clauses, {}))}

    def updating(self, key: Mapping[str, Any], change: Change) -> AttributeValues:
        """An update as an action of ``transact``."""
        return {"Update": self._action({"Key": to_attribute_values(key), **change.parameters()})}

    def deleting(self, key: Mapping[str, Any], *clauses: Clause) -> AttributeValues:
        """A delete as an action of ``transact``."""
        return {"Delete": self._action(with_expressions({"Key": to_attribute_values(key)}, clauses, {}))}

    def checking(self, key: Mapping[str, Any], *clauses: Clause) -> AttributeValues:
        """A look at an item that another action depends on, as an action of ``transact``."""
        return {"ConditionCheck": self._action(with_expressions({"Key": to_attribute_values(key)}, clauses, {}))}

    def transact(self, actions: Iterable[AttributeValues]) -> None:
        """Do all of ``actions`` or none; raises ``TransactionRefused`` when a condition does not hold."""
        try:
            _past_conflicts(self.client.transact_write_items, TransactItems=list(actions))
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            reasons: Any = error.response.get("CancellationReasons", [])
            refused = [reason.get("Code") == "ConditionalCheckFailed" for reason in reasons]
            if not any(refused):
                raise  # a conflict or a limit, which says nothing about the conditions
            old = [from_attribute_values(item) if (item := reason.get("Item")) else None for reason in reasons]
            raise TransactionRefused(refused, old) from error

    def _action(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"TableName": self.name, "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **parameters}

    def _query(
        self, condition: str, values: Mapping[str, Any], index: str | None, only: Sequence[str] = ()
    ) -> dict[str, Any]:
        texts = {"KeyConditionExpression": condition}
        if only:  # the role may demand that it is said which
            texts["ProjectionExpression"] = ", ".join(f"{{{name}}}" for name in only)
        parameters = with_expressions(texts, (), values) | ({"Select": "SPECIFIC_ATTRIBUTES"} if only else {})
        return {"TableName": self.name, **parameters, **({"IndexName": index} if index else {})}

    def _conditional(self, call: Any, clauses: Sequence[Clause], parameters: dict[str, Any]) -> dict[str, Any]:
        if clauses:
            parameters["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            answer = _past_conflicts(call, TableName=self.name, **parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            old: Any = error.response.get("Item")
            raise Refused(clauses, from_attribute_values(old) if old else None) from error
        return answer


def chunks(entries: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``entries`` in runs of at most ``size``."""
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _past_conflicts(call: Any, **parameters: Any) -> dict[str, Any]:
    """Call DynamoDB, again after a moment when another transaction holds the same item, or a part of one is throttled.

    botocore's retries cover neither: to them a canceled transaction is an answer.
    """
    tries = 1
    while True:
        try:
            return dict(call(**parameters))
        except ClientError as error:
            if tries == CONFLICT_TRIES or not _passes(error):
                raise
        time.sleep(CONFLICT_WAIT_S * 2**tries)
        tries += 1


def _passes(error: ClientError) -> bool:
    """Whether the same call may succeed a moment later, for all that it was refused for."""
    if error.response["Error"]["Code"] == "TransactionConflictException":
        return True
    told: Any = error.response.get("CancellationReasons", [])
    reasons = {reason.get("Code", "None") for reason in told} - {"None"}
    return bool(reasons) and reasons <= PASSING

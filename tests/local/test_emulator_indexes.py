"""The emulator's ordered indexes answer every query as MiniStack does without them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ministack.services import dynamodb as ministack

from chalicelib.local import emulator_indexes
from infra.storage import storage
from tests.support.yards import SETTINGS

REPLACED = (
    "_index_members",
    "_query",
    "_evaluate_condition",
    "_tokenize",
    "_condition_syntax_error",
)
TABLE = storage(SETTINGS)["JobsTable"]["Properties"]
NAME = TABLE["TableName"]
INDEX_KEYS = st.sampled_from(["pending", "success"])
PLACES = st.integers(0, 6)
PARTS = st.sampled_from(["state", "body", "p0", "p2", "p3", "p5"])

Query = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def plain() -> Iterator[Query]:
    """MiniStack's own query; within the module, its indexes are kept in order."""
    query: Query = ministack._query
    with patch.multiple(ministack, **{name: getattr(ministack, name) for name in REPLACED}):
        emulator_indexes.install()
        with patch.object(emulator_indexes, "ORDERED_FROM", 2):
            yield query


@st.composite
def items(draw: st.DrawFn) -> dict[str, Any]:
    item = {"job": {"N": str(draw(st.integers(8, 11)))}, "part": {"S": draw(PARTS)}}
    if draw(st.booleans()):
        item |= {"state_key": {"S": draw(INDEX_KEYS)}, "position": {"S": f"p{draw(PLACES)}"}}
    if draw(st.booleans()):
        item |= {"wake_key": {"S": "due#0"}, "wake_at_ms": {"N": str(draw(PLACES) * 5)}}
    return item


@st.composite
def queries(draw: st.DrawFn) -> dict[str, Any]:
    index, partition, order = draw(
        st.sampled_from([("by_state", "state_key", "position"), ("due", "wake_key", ""), (None, "job", "part")])
    )
    values: dict[str, Any] = {":key": {"S": draw(INDEX_KEYS) if order else "due#0"}}
    if index is None:
        values = {":key": {"N": str(draw(st.integers(8, 11)))}}
    condition = "#key = :key"
    bounds = draw(st.sampled_from(["none", "upto", "between", "after"]))
    first, last = sorted((draw(PLACES), draw(PLACES)))
    typed = (lambda n: {"S": f"p{n}"}) if order else (lambda n: {"N": str(n * 5)})
    if bounds == "between":
        condition += " AND #order BETWEEN :since AND :until"
        values |= {":since": typed(first), ":until": typed(last)}
    elif bounds != "none":
        condition += " AND #order <= :bound" if bounds == "upto" else " AND #order > :bound"
        values |= {":bound": typed(last)}
    names = {"#key": partition, **({"#order": order or "wake_at_ms"} if bounds != "none" else {})}
    return {
        "TableName": NAME,
        **({} if index is None else {"IndexName": index}),
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
        "ScanIndexForward": draw(st.booleans()),
        **draw(st.sampled_from([{}, {"Select": "COUNT"}])),
        **draw(st.sampled_from([{}, {"ReturnConsumedCapacity": "INDEXES"}])),
        **draw(st.sampled_from([{}, {"Limit": 1}, {"Limit": 2}, {"Limit": 5}, {"Limit": 0}])),
    }


def pages(query: Query, data: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Every answer of a query that goes on where it ended."""
    found: list[tuple[int, dict[str, Any]]] = []
    while True:
        status, _, body = query(data)
        found.append((status, json.loads(body)))
        if "LastEvaluatedKey" not in found[-1][1]:
            return found
        data = {**data, "ExclusiveStartKey": found[-1][1]["LastEvaluatedKey"]}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(written=st.lists(items() | st.integers(8, 14), max_size=25), asked=st.lists(queries(), min_size=1, max_size=6))
def test_every_query_is_answered_as_without_them(
    plain: Query, written: list[dict[str, Any] | int], asked: list[dict[str, Any]]
) -> None:
    ministack._create_table(TABLE)
    try:
        for number, change in enumerate(written):
            if isinstance(change, int):
                for part in ("state", "p3"):
                    ministack._delete_item({"TableName": NAME, "Key": {"job": {"N": str(change)}, "part": {"S": part}}})
            else:
                ministack._put_item({"TableName": NAME, "Item": change})
            query = asked[number % len(asked)]
            assert pages(ministack._query, query) == pages(plain, query)
    finally:
        ministack._delete_table({"TableName": NAME})


def test_a_query_of_a_table_tries_its_condition_on_no_item(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    evaluate = ministack._evaluate_condition

    def noting(expr: str, item: Any, *given: Any, **more: Any) -> Any:
        tried.append(item)
        return evaluate(expr, item, *given, **more)

    for name in REPLACED:
        monkeypatch.setattr(ministack, name, getattr(ministack, name))
    monkeypatch.setattr(ministack, "_evaluate_condition", noting)
    emulator_indexes.install()
    ministack._create_table(TABLE)
    for n in range(100):
        ministack._put_item({"TableName": NAME, "Item": {"job": {"N": "1"}, "part": {"S": f"p{n:02d}"}}})
    query = {
        "TableName": NAME,
        "KeyConditionExpression": "#key = :key AND #order <= :last",
        "ExpressionAttributeNames": {"#key": "job", "#order": "part"},
        "ExpressionAttributeValues": {":key": {"N": "1"}, ":last": {"S": "p29"}},
        "Select": "COUNT",
    }
    (_, _, count) = ministack._query(query)
    ministack._delete_table({"TableName": NAME})
    assert (json.loads(count)["Count"], tried) == (30, [])


@pytest.mark.usefixtures("plain")
def test_a_query_reads_what_it_shows_and_a_count_one_item(monkeypatch: pytest.MonkeyPatch) -> None:
    ministack._create_table(TABLE)
    for n in range(300):
        keys = {"job": {"N": str(n)}, "part": {"S": "state"}, "state_key": {"S": "k"}, "position": {"S": f"p{n:03d}"}}
        ministack._put_item({"TableName": NAME, "Item": keys})
    read: list[int] = []
    paginate = ministack._paginate_evaluated_items

    def counting(found: list[Any], *given: Any) -> Any:
        read.append(len(found))
        return paginate(found, *given)

    monkeypatch.setattr(ministack, "_paginate_evaluated_items", counting)
    query = {
        "TableName": NAME,
        "IndexName": "by_state",
        "KeyConditionExpression": "#key = :key AND #order BETWEEN :since AND :until",
        "ExpressionAttributeNames": {"#key": "state_key", "#order": "position"},
        "ExpressionAttributeValues": {":key": {"S": "k"}, ":since": {"S": "p010"}, ":until": {"S": "p299"}},
    }
    (_, _, page), (_, _, count) = (
        ministack._query({**query, "Limit": 20}),
        ministack._query({**query, "Select": "COUNT"}),
    )
    assert ([item["position"]["S"] for item in json.loads(page)["Items"]], json.loads(count)["Count"]) == (
        [f"p{n:03d}" for n in range(10, 30)],
        290,
    )
    assert read == [20, 1]
    ministack._delete_table({"TableName": NAME})


def test_a_copy_of_a_partition_is_a_dictionary_like_any_other() -> None:
    partition = emulator_indexes.TablePartition({"b": {"part": {"S": "b"}}}, "part")
    partition["a"] = {"part": {"S": "a"}}
    copied = copy.deepcopy(partition)
    assert (type(copied), copied) == (dict, {"a": {"part": {"S": "a"}}, "b": {"part": {"S": "b"}}})

"""The emulator's writes come to what MiniStack makes of them: answers, items, indexes and change records."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ministack.services import dynamodb

from chalicelib.local import emulator_expressions, emulator_indexes, emulator_items, emulator_writes
from infra.storage import storage
from tests.support.yards import SETTINGS

TABLE = storage(SETTINGS)["JobsTable"]["Properties"]
NAME = TABLE["TableName"]
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}

Functions = Mapping[str, Any]
Request = dict[str, Any]
Said = list[tuple[str, dict[str, Any]]]  # requests, with their operations


@pytest.fixture(scope="module")
def worlds() -> tuple[Functions, Functions]:
    """What of MiniStack is replaced in the embedded emulator: as it is there by itself, and what takes its place."""
    before = dict(vars(dynamodb))
    for part in (emulator_indexes, emulator_items, emulator_expressions, emulator_writes):
        part.install()
    installed = {name: value for name, value in vars(dynamodb).items() if value is not before.get(name)}
    own = {name: before[name] for name in installed}
    for name, value in own.items():
        setattr(dynamodb, name, value)
    return own, installed


KEYS = st.fixed_dictionaries(
    {"job": st.integers(1, 2).map(lambda number: {"N": str(number)}), "part": st.sampled_from([{"S": "a"}, {"S": "b"}])}
)
ODD_KEYS = st.sampled_from(
    [{}, {"job": {"S": "1"}}, {"job": {"N": "1"}, "part": {"S": ""}}, {"job": {"N": "01"}}, None]
)
NUMBERS = st.sampled_from(["0", "7", "1796099405493", "01", "1.0", "-5", "x", "1" * 39, ""]).map(lambda n: {"N": n})
TEXTS = st.sampled_from(["", "x", "p1", "é"]).map(lambda text: {"S": text})
DEEP = st.sampled_from(
    [{"M": {"x": {"L": [{"N": "1.0"}]}}}, {"L": [{"S": "x"}, {"N": "2"}]}, {"SS": ["a", "a"]}, {"NS": ["x"]}, {"S": 5}]
)
VALUES = NUMBERS | TEXTS | DEEP | st.just({"BOOL": True})
NAMES = st.sampled_from(["state_key", "position", "wake_at_ms", "wake_key", "events", "count", "job", "M"])
WORDS = st.sampled_from(["x", "p1", "é"]).map(lambda text: {"S": text})
INDEXED = st.fixed_dictionaries({"state_key": WORDS, "position": WORDS})
OTHERS = st.dictionaries(NAMES.filter(lambda name: name != "job"), VALUES)
ITEMS = st.builds(lambda key, more: {**more, **key}, KEYS, INDEXED | OTHERS)
UPDATES = st.sampled_from(
    [
        "SET #a = :v",
        "SET #a = :v, #b = if_not_exists(#b, :w)",
        "SET #a = if_not_exists(#a, :v) + :w",
        "SET #a = list_append(if_not_exists(#a, :v), :w) REMOVE #b",
        "SET #a = #b",
        "REMOVE #a, #b",
        "ADD #a :v",
        "SET #a.#b = :v",
        "SET #a = :v,",
        "",
    ]
)
CONDITIONS = st.sampled_from(
    [{}, {"ConditionExpression": "(attribute_exists(#a))"}, {"ConditionExpression": "(#b = :w)"}]
)
ALIASES = st.sampled_from([{"#a", "#b"}, {"#a"}])
PLACEHOLDERS = st.sampled_from([{":v", ":w"}, {":v"}, set()])
TOLD = st.sampled_from([{}, {"ReturnValues": "ALL_NEW"}, {"ReturnValues": "UPDATED_OLD"}, {"ReturnValues": "NEW"}])
BILLED = st.sampled_from([{}, {"ReturnConsumedCapacity": "INDEXES"}])


@st.composite
def updates(draw: st.DrawFn) -> Request:
    names = {alias: draw(NAMES) for alias in draw(ALIASES)}
    values = {placeholder: draw(VALUES) for placeholder in draw(PLACEHOLDERS)}
    request = {"TableName": NAME, "Key": draw(KEYS | ODD_KEYS), "UpdateExpression": draw(UPDATES), **draw(CONDITIONS)}
    request |= {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values, **draw(TOLD), **draw(BILLED)}
    return {name: value for name, value in request.items() if value not in (None, {})}


@st.composite
def batches(draw: st.DrawFn) -> Request:
    puts = [{"PutRequest": {"Item": item}} for item in draw(st.lists(ITEMS, min_size=1, max_size=2))]
    deletes = [{"DeleteRequest": {"Key": key}} for key in draw(st.lists(KEYS | ODD_KEYS, max_size=1))]
    return {"RequestItems": {NAME: [*puts, *deletes]}, **draw(BILLED)}


REQUESTS = st.one_of(
    updates().map(lambda data: ("_update_item", data)),
    st.builds(lambda item: ("_put_item", {"TableName": NAME, "Item": item}), ITEMS),
    st.builds(lambda key: ("_delete_item", {"TableName": NAME, "Key": key}), KEYS | ODD_KEYS),
    batches().map(lambda data: ("_batch_write_item", data)),
)


def made_of(functions: Functions, said: Said) -> list[Any]:
    """The answers to requests, then the items, what every index shows, and the records of the changes."""
    with patch.multiple(dynamodb, **functions):
        dynamodb._create_table({**TABLE, "StreamSpecification": STREAM})
        dynamodb._index_members(dynamodb._tables[NAME])  # from now on they are kept, as from a first query on
        try:
            answers = [answer_to(operation, copy.deepcopy(data)) for operation, data in said]
            return [*answers, stored(), *map(shown, TABLE["GlobalSecondaryIndexes"]), records()]
        finally:
            dynamodb._delete_table({"TableName": NAME})


def answer_to(operation: str, data: Request) -> Any:
    try:
        status, _, body = getattr(dynamodb, operation)(data)
    except Exception as error:  # which the emulator answers with 500
        return type(error), str(error)
    return status, json.loads(body)


def stored() -> Any:
    return {key: copy.deepcopy(dict(part)) for key, part in dynamodb._tables[NAME]["items"].items() if part}


def shown(index: Mapping[str, Any]) -> Any:
    partition = index["KeySchema"][0]["AttributeName"]
    found = []
    for value in ("x", "p1", "é"):
        answer = dynamodb._query(
            {
                "TableName": NAME,
                "IndexName": index["IndexName"],
                "KeyConditionExpression": "#key = :key",
                "ExpressionAttributeNames": {"#key": partition},
                "ExpressionAttributeValues": {":key": {"S": value}},
            }
        )
        found.append(sorted(json.dumps(item, sort_keys=True) for item in json.loads(answer[2])["Items"]))
    return found


def records() -> Any:
    return [
        (record["eventName"], {name: record["dynamodb"].get(name) for name in ("Keys", "OldImage", "NewImage")})
        for record in dynamodb.stream_live_records(NAME)
    ]


@settings(max_examples=400, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=8))
def test_writes_come_to_the_same(worlds: tuple[Functions, Functions], said: Said) -> None:
    own, installed = worlds
    assert made_of(installed, said) == made_of(own, said)


def test_what_an_update_leaves_is_shared_and_stays_as_it_was(worlds: tuple[Functions, Functions]) -> None:
    key, events = {"job": {"N": "1"}, "part": {"S": "a"}}, {"L": [{"M": {"x": {"S": "x"}}}]}
    update = {"TableName": NAME, "Key": key, "ExpressionAttributeNames": {"#a": "events"}}
    appended = {
        **update,
        "UpdateExpression": "SET #a = list_append(if_not_exists(#a, :v), :w)",
        "ExpressionAttributeValues": {":v": {"L": []}, ":w": {"L": [{"S": "y"}]}},
    }
    nested = {
        **update,
        "UpdateExpression": "SET #a[0].x = :v",
        "ExpressionAttributeValues": {":v": {"S": "z"}},
    }
    said = [("_put_item", {"TableName": NAME, "Item": {**key, "events": events}})]
    said += [("_update_item", appended), ("_update_item", nested)]
    *_, changes = made_of(worlds[1], said)
    images = [images["OldImage"] and images["OldImage"]["events"] for _, images in changes]
    assert images == [None, events, {"L": [*events["L"], {"S": "y"}]}]


def test_an_index_that_an_item_does_not_move_in_is_left_alone(worlds: tuple[Functions, Functions]) -> None:
    key = {"job": {"N": "1"}, "part": {"S": "a"}}
    item = {**key, "state_key": {"S": "x"}, "position": {"S": "p1"}, "wake_key": {"S": "due"}, "wake_at_ms": {"N": "7"}}
    with patch.multiple(dynamodb, **worlds[1]):
        dynamodb._create_table(TABLE)
        try:
            dynamodb._put_item({"TableName": NAME, "Item": item})
            members = dynamodb._index_members(dynamodb._tables[NAME])
            before = members["by_state"]["x"].places[("1", "a")]
            dynamodb._put_item({"TableName": NAME, "Item": {**item, "wake_at_ms": {"N": "8"}}})
            assert members["by_state"]["x"].places[("1", "a")] is before
            assert [entry[0] for entry in members["due"]["due"].entries] == [8]
        finally:
            dynamodb._delete_table({"TableName": NAME})

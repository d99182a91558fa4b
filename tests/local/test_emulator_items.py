"""The emulator's shortcuts reckon as MiniStack and Python do."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.services import dynamodb

from chalicelib.local import emulator_items
from chalicelib.local.emulator_items import copied

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
TEXTS = st.text(max_size=20)
VALUES = st.one_of(
    st.builds(lambda text: {"S": text}, TEXTS),
    st.builds(lambda number: {"N": str(number)}, st.integers()),
    st.builds(lambda texts: {"L": [{"S": text} for text in texts]}, st.lists(TEXTS, max_size=3)),
    st.builds(lambda texts: {"M": {text: {"BOOL": True} for text in texts}}, st.lists(TEXTS, max_size=3)),
)
EXPRESSIONS = [
    "SET #a = :a, #b = if_not_exists(#b, :b) + :b",
    "SET #a = list_append(if_not_exists(#a, :a), :b) REMOVE #b, #a[3].#b",
    "ADD #a :a, #b :b DELETE c :a",
    "SET events = :a, x = :a, y = y - :b",
]

NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["1E126", "1e-131", "-0", "+1", " 5", "1_000", "9" * 39, "1" + "0" * 80, "", "x", 5, None, ["5"], {"N": "5"}]
    ),
)
OF_NUMBERS = {
    name: getattr(dynamodb, name) for name in ("_ddb_canonicalize_number", "_number_error", "_number_size_bytes")
}

ODD_VALUES = st.sampled_from(
    [{"N": "01"}, {"N": "x"}, {"S": ""}, {"S": 5}, {"SS": ["a", "a"]}, {"L": [{"N": "1.0"}]}, {"S": "x" * 1_100}, {}]
)
ITEMS = st.fixed_dictionaries({"k": VALUES | ODD_VALUES}, optional={"s": VALUES | ODD_VALUES, "a": ODD_VALUES})

VALIDATE = dynamodb._validate_item
LEVEL = dynamodb._nesting_level

Charge = Callable[..., int]


@pytest.fixture(scope="module")
def exact() -> Iterator[Charge]:
    """MiniStack's own reckoning; within the module, the shortcut is installed."""
    own: Charge = dynamodb._update_request_charge
    replaced = {"_update_request_charge": own, "_validate_item": VALIDATE, "_nesting_level": LEVEL, **OF_NUMBERS}
    with patch.multiple(dynamodb, copy=copy, **replaced):
        emulator_items.install()
        yield own


@given(TREES)
def test_a_copy_is_equal_and_shares_nothing_that_can_change(tree: Any) -> None:
    again = copied(tree)
    assert again == tree
    assert type(again) is type(tree)
    if tree and isinstance(tree, dict | list):
        again.clear()
        assert tree


def test_what_json_cannot_say_is_copied_as_python_does() -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        copied({"file": io.BufferedReader(io.BytesIO())})
    parts = {"bytes": bytearray(b"x"), "tuple": ([],)}
    again = copied(parts)
    again["bytes"].append(0)
    again["tuple"][0].append(1)
    assert parts == {"bytes": bytearray(b"x"), "tuple": ([],)}


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", OF_NUMBERS)
@given(number=NUMBERS)
def test_of_a_number_is_said_what_ministack_says_however_often_it_is_asked(name: str, number: Any) -> None:
    said = OF_NUMBERS[name](number)
    assert [getattr(dynamodb, name)(number) for _ in range(2)] == [said, said]


@given(st.sampled_from(EXPRESSIONS), VALUES, VALUES, TEXTS.filter(bool))
def test_an_update_is_never_charged_less(exact: Charge, text: str, first: Any, second: Any, name: str) -> None:
    request = (text, {":a": first, ":b": second}, {"#a": name, "#b": "b"}, {})
    assert exact(*request) <= dynamodb._update_request_charge(*request) <= dynamodb._DDB_ITEM_MAX_BYTES


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("size", [409_000, 410_000])
def test_what_may_be_too_large_is_reckoned_exactly(exact: Charge, size: int) -> None:
    request = ("SET #a = :a", {":a": {"S": "x" * size}}, {"#a": "a"}, {})
    assert dynamodb._update_request_charge(*request) == exact(*request) == size + 23


def test_without_names_or_values(exact: Charge) -> None:
    for request in (("REMOVE a", None, None, {}), ("SET a = b", {}, {}, {"b": {"S": "x"}})):
        assert exact(*request) <= dynamodb._update_request_charge(*request)


@pytest.mark.usefixtures("exact")
@given(ITEMS | st.just(5))
def test_of_an_item_is_said_what_ministack_says(item: Any) -> None:
    again = copy.deepcopy(item)
    assert dynamodb._validate_item(item, "k", "s", "too large") == VALIDATE(again, "k", "s", "too large")
    assert item == again


@pytest.mark.usefixtures("exact")
@given(VALUES | ODD_VALUES | st.text())
def test_a_value_is_as_deep_as_ministack_says(value: Any) -> None:
    nested = {"M": {"a": {"L": [value]}}}
    assert [dynamodb._nesting_level(each) for each in (value, nested)] == [LEVEL(value), LEVEL(value) + 2]


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize(("size", "is_taken"), [(409_599, True), (409_600, False)])  # and a byte for the name
def test_an_item_that_may_be_too_large_is_added_up(size: int, is_taken: bool) -> None:
    assert (dynamodb._validate_item({"k": {"S": "x" * size}}, None, None) is None) is is_taken


@pytest.mark.parametrize("value", [{"S": "x"}, {"N": "1"}])
def test_texts_and_numbers_are_shared_by_copies(value: Any) -> None:
    again = copied({"a": value, "b": {"L": [value]}})
    assert again["a"] is value
    assert again["b"]["L"][0] is value

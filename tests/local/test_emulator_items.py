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

Charge = Callable[..., int]


@pytest.fixture(scope="module")
def exact() -> Iterator[Charge]:
    """MiniStack's own reckoning; within the module, the shortcut is installed."""
    own: Charge = dynamodb._update_request_charge
    with patch.multiple(dynamodb, copy=copy, _update_request_charge=own, **OF_NUMBERS):
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

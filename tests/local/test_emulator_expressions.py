"""The emulator's conditions and updates come to what MiniStack makes of them, whether or not they are of our form."""

import copy
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.services import dynamodb

from chalicelib.local import emulator_expressions

NAMES = ("a", "b", "c", "M")
NUMBERS = st.integers(-3, 3).map(lambda number: {"N": str(number)})
TEXTS = st.sampled_from(["", "x", "y"]).map(lambda text: {"S": text})
LISTS = st.lists(TEXTS | NUMBERS, max_size=2).map(lambda values: {"L": values})
VALUES = NUMBERS | TEXTS | LISTS | st.just({"BOOL": True}) | LISTS.map(lambda inner: {"M": {"x": inner}})
ITEMS = st.dictionaries(st.sampled_from(NAMES), VALUES)
REFERENCES = st.sampled_from(["#a", "#b", "#c"])
PLACEHOLDERS = st.sampled_from([":v", ":w"])
STANDS_FOR = st.fixed_dictionaries({"#a": st.sampled_from(NAMES), "#b": st.just("b"), "#c": st.just("c")})
GIVEN = st.fixed_dictionaries({":v": VALUES, ":w": VALUES}) | st.fixed_dictionaries({":v": VALUES})


def _filled(*patterns: str) -> st.SearchStrategy[str]:
    """One of the patterns, with some names in the place of {0} and {1}, and some values in that of {2} and {3}."""
    return st.builds(str.format, st.sampled_from(patterns), REFERENCES, REFERENCES, PLACEHOLDERS, PLACEHOLDERS)


ASSIGNMENTS = _filled(
    "{0} = {2}",
    "{0} = {1}",
    "{0} = if_not_exists({1}, {2})",
    "{0} = if_not_exists({1}, {2}) + {3}",
    "{0} = list_append(if_not_exists({1}, {2}), {3})",
    "{0} = list_append({1}, {2})",
    "{0} = {1} - {2}",
    "a = {2}",
)
UPDATES = st.tuples(st.lists(ASSIGNMENTS, max_size=3), st.lists(REFERENCES, max_size=2)).map(
    lambda parts: " ".join(
        f"{word} {', '.join(each)}" for word, each in zip(("SET", "REMOVE"), parts, strict=True) if each
    )
)
CLAUSES = _filled(
    "({0} = {2})",
    "({0} <= {2})",
    "({0} < {1})",
    "({0} <> {2})",
    "({0} >= {1})",
    "({0} IN ({2}))",
    "({0} IN ({2}, {3}))",
    "(size({0}) <= {2})",
    "(attribute_exists({0}))",
    "(attribute_not_exists({0}))",
    "(attribute_exists({0}) OR {1} = {2})",
    "(NOT {0} = {2})",
    "{0} = {2}",
)
CONDITIONS = st.lists(CLAUSES, min_size=1, max_size=3).map(" AND ".join)

Pair = tuple[Callable[..., Any], Callable[..., Any]]


@pytest.fixture(scope="module")
def pairs() -> Iterator[dict[str, Pair]]:
    """What MiniStack does by itself, and what stands in its place."""
    own = {name: getattr(dynamodb, name) for name in ("_apply_update_expression", "_evaluate_condition")}
    kept = {"copy": SimpleNamespace(**vars(copy)), "_update_item": dynamodb._update_item}
    with patch.multiple(dynamodb, **kept, **own):
        emulator_expressions.install()
        yield {name: (whole, getattr(dynamodb, name)) for name, whole in own.items()}


def _comes_to(do: Callable[..., Any], *given: Any) -> Any:
    try:
        return do(*copy.deepcopy(given))
    except Exception as error:
        return type(error), str(error)


@given(UPDATES, ITEMS, GIVEN, STANDS_FOR)
def test_an_update_comes_to_the_same(pairs: dict[str, Pair], text: str, item: Any, values: Any, names: Any) -> None:
    whole, short = pairs["_apply_update_expression"]
    before = copy.deepcopy(item)
    assert _comes_to(short, item, text, values, names) == _comes_to(whole, item, text, values, names)
    assert item == before


@given(CONDITIONS, ITEMS, GIVEN, STANDS_FOR)
def test_a_condition_comes_to_the_same(pairs: dict[str, Pair], text: str, item: Any, values: Any, names: Any) -> None:
    whole, short = pairs["_evaluate_condition"]
    assert _comes_to(short, text, item, values, names) == _comes_to(whole, text, item, values, names)


@pytest.mark.parametrize(
    "text",
    [
        "SET #a = :v, #b = if_not_exists(#b, :v) + :w, #c = list_append(if_not_exists(#c, :v), :w) REMOVE #d, #e",
        "SET #a = #b",
        "REMOVE #a",
    ],
)
def test_our_updates_are_read_once(text: str) -> None:
    assert emulator_expressions._read_update(text) is not None


def test_the_item_that_an_update_is_made_of_stays(pairs: dict[str, Pair]) -> None:
    item = {"a": {"L": [{"M": {"x": {"S": "x"}}}]}}
    changed, updated = pairs["_apply_update_expression"][1](item, "SET #b = #a", {}, {"#a": "a", "#b": "b"})
    changed["b"]["L"][0]["M"].clear()
    del changed["a"]
    assert item == {"a": {"L": [{"M": {"x": {"S": "x"}}}]}}
    assert updated == {("b",)}

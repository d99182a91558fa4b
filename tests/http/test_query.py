"""Query strings as users of the replaced systems write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.http.problems import BadRequest
from chalicelib.http.query import nested


@pytest.mark.parametrize(
    ("flat", "tree"),
    [
        ({}, {}),
        ({"topic": ["a.b"]}, {"topic": "a.b"}),
        ({"topic": [""]}, {}),
        ({"topic": [""], "filter[status]": [""], "ids": ["", "1"]}, {"ids": "1"}),
        ({"topic": []}, {}),
        ({"filter.status": ["failed"]}, {"filter": {"status": "failed"}}),
        ({"filter[status]": ["failed"]}, {"filter": {"status": "failed"}}),
        (
            {"filter[createdAt][startTime]": ["1"], "filter.createdAt.endTime": ["2"], "filter[type]": ["x"]},
            {"filter": {"createdAt": {"startTime": "1", "endTime": "2"}, "type": "x"}},
        ),
        ({"filter.createdAt[startTime]": ["1"]}, {"filter": {"createdAt": {"startTime": "1"}}}),
        ({"sort[createdAt]": ["DESC"]}, {"sort": {"createdAt": "DESC"}}),
        ({"ids": ["1", "2"]}, {"ids": ["1", "2"]}),
        ({"ids[]": ["1"]}, {"ids": ["1"]}),
        ({"ids": ["1"], "ids[]": ["2"]}, {"ids": ["1", "2"]}),
        ({"filter.ids[]": ["1"]}, {"filter": {"ids": ["1"]}}),
        ({"filter.status": ["a"], "filter[status]": ["b"]}, {"filter": {"status": ["a", "b"]}}),
        (
            {"__proto__[admin]": ["1"], "constructor.prototype": ["2"]},
            {
                "__proto__": {"admin": "1"},
                "constructor": {"prototype": "2"},
            },
        ),
        ({"__class__.__init__": ["1"]}, {"__class__": {"__init__": "1"}}),
        ({"名": ["值"]}, {"名": "值"}),
    ],
)
def test_keys_become_a_tree(flat: dict[str, list[str]], tree: dict[str, Any]) -> None:
    assert nested(flat) == tree


@pytest.mark.parametrize(
    ("flat", "field", "got"),
    [
        ({"a": ["1"], "a.b": ["2"]}, "a.b", "both"),
        ({"a.b": ["1"], "a": ["2"]}, "a", "both"),
        ({"a[]": ["1"], "a[b]": ["2"]}, "a[b]", "both"),
        ({"a..b": ["1"]}, "query", "a..b"),
        ({".a": ["1"]}, "query", ".a"),
        ({"a[": ["1"]}, "query", "a["),
        ({"a]b": ["1"]}, "query", "a]b"),
        ({"[a]": ["1"]}, "query", "[a]"),
        ({"a[][b]": ["1"]}, "query", "a[][b]"),
        ({"a[b]c": ["1"]}, "query", "a[b]c"),
        ({"": ["1"]}, "query", ""),
        ({"x" * 201: ["1"]}, "query", "x" * 120 + "…"),
        ({"a.b.c.d.e": ["1"]}, "a.b.c.d.e", "5 levels"),
        ({"ids": ["1"] * 501}, "query", "501"),
    ],
)
def test_what_is_no_tree_is_a_400_that_names_the_key(flat: dict[str, list[str]], field: str, got: str) -> None:
    with pytest.raises(BadRequest) as caught:
        nested(flat)
    assert (caught.value.field, caught.value.got) == (field, got)


@given(st.dictionaries(st.text("ab.[]", max_size=8), st.lists(st.text(max_size=3), min_size=1, max_size=3), max_size=6))
def test_no_value_is_lost_and_nothing_but_a_400_is_raised(flat: dict[str, list[str]]) -> None:
    try:
        tree = nested(flat)
    except BadRequest:
        return
    assert sorted(leaves(tree)) == sorted(value for values in flat.values() for value in values if value)


def leaves(node: Any) -> list[str]:
    """Every value of a tree."""
    if isinstance(node, str):
        return [node]
    return [leaf for inner in (node.values() if isinstance(node, dict) else node) for leaf in leaves(inner)]

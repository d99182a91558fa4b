"""Tenants: what may be one, and how they take turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.tenants import in_turns, tenant_of

entries = st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12).map(lambda tenants: list(enumerate(tenants)))


def turns(names: str) -> str:
    return "".join(in_turns(names, lambda name: None if name == "-" else name, lambda _: 0))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("", ""),
        ("a", "a"),
        ("aaaab", "baaaa"),
        ("abab", "abab"),
        ("aab-", "b-aa"),
        ("a--bba", "a-ba-b"),
        ("---", "---"),
    ],
)
def test_tenants_take_turns_whoever_has_the_fewest_first(given_: str, expected: str) -> None:
    assert turns(given_) == expected


def test_of_those_with_as_many_the_queues_choice_comes_first_and_of_one_tenants_the_oldest() -> None:
    found = [("quiet", 9), ("noisy", 5), ("noisy", 3), ("quiet", 7)]
    ordered = in_turns(found, lambda entry: entry[0], lambda entry: entry[1])
    assert ordered == [("quiet", 7), ("noisy", 3), ("quiet", 9), ("noisy", 5)]


@given(entries)
def test_nothing_is_lost_and_each_has_its_own_by_age(found: list[tuple[int, str | None]]) -> None:
    ordered = in_turns(found, lambda entry: entry[1], lambda entry: entry[0])
    assert sorted(ordered, key=lambda entry: entry[0]) == found
    for tenant in ("a", "b", "c", None):
        own = [entry for entry in ordered if entry[1] == tenant]
        assert own == sorted(own, key=lambda entry: entry[0])
        for number, entry in enumerate(own):  # nobody is served twice more often than one who waits
            before = ordered[: ordered.index(entry)]
            others = {name for _, name in before}
            assert all(sum(name == other for _, name in before) <= number + 1 for other in others)


@pytest.mark.parametrize("given_", ["", "x" * 129, "a b", "a\n", "\u00e9", None, 7, b"a"])
def test_what_can_be_none(given_: object) -> None:
    with pytest.raises(InvalidInput, match="1 to 128 letters, digits and punctuation marks of ASCII"):
        tenant_of("tenant", given_)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128))
def test_what_may_be_one(given_: str) -> None:
    assert tenant_of("tenant", given_) == given_

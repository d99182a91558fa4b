"""What is expected where a name came that there is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.naming import instead_of, is_name

KNOWN = ("type", "runnerType", "maxRetries", "scriptName")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("maxRetry", "maxRetries"),
        ("max_retries", "maxRetries"),
        ("MAXRETRIES", "maxRetries"),
        ("script-name", "scriptName"),
        ("runner", "runnerType"),
        ("zz", "type or runnerType or maxRetries or scriptName"),
        ("", "type or runnerType or maxRetries or scriptName"),
        (7, "type or runnerType or maxRetries or scriptName"),
    ],
)
def test_the_name_that_was_probably_meant(name: object, expected: str) -> None:
    assert instead_of(name, KNOWN) == expected


def test_where_there_are_no_names_none_is_expected() -> None:
    assert instead_of("any", ()) == "no names at all"


@given(st.text(max_size=300), st.lists(st.text(max_size=20), max_size=8, unique=True))
def test_whatever_came_something_is_expected(name: str, known: list[str]) -> None:
    answer = instead_of(name, known)
    assert answer in {*known, " or ".join(known) or "no names at all"}


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("a", True),
        (" a ", True),
        ("заказ", True),
        ("x" * 9, True),
        ("x" * 10, False),
        ("", False),
        (" ", False),
        ("\u3000\u00a0", False),
        ("a\nb", False),
        ("a\u2028", False),
        ("\ud800", False),
        (7, False),
    ],
)
def test_what_something_may_be_called(value: object, is_one: bool) -> None:
    assert is_name(value, 9) is is_one

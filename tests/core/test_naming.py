"""What is expected where a name came that there is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.naming import instead_of

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

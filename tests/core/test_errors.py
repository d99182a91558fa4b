"""Errors that are meant for the caller: what they say, and how much of a value they show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import (
    SHOWN_VALUE_CHARS,
    Conflict,
    InvalidInput,
    NotFound,
    TaskyardError,
    TooLarge,
    Unavailable,
    shown,
)


def test_an_error_says_field_message_expected_got_and_remedy() -> None:
    error = InvalidInput(
        "this value is out of range", field="priority", expected="-1000 to 1000", got=5_000, remedy="use a smaller one"
    )
    assert str(error) == "priority: this value is out of range; expected -1000 to 1000; got 5000; use a smaller one"


def test_what_is_not_known_is_left_out() -> None:
    assert str(Conflict("the job keeps changing")) == "the job keeps changing"
    assert str(NotFound("there is no task 7", field="id")) == "id: there is no task 7"
    assert str(TooLarge("too large", got="9 bytes")) == "too large; got 9 bytes"
    assert str(Unavailable("SQS did not take the message", remedy="try again")) == (
        "SQS did not take the message; try again"
    )


def test_none_is_no_value_but_other_empty_values_are() -> None:
    assert InvalidInput("wrong", got=None).got is None
    assert [InvalidInput("wrong", got=value).got for value in (0, "", [], False)] == ["0", "", "[]", "False"]
    assert str(InvalidInput("wrong", expected="a name", got="")) == "wrong; expected a name; got "


@pytest.mark.parametrize("kind", [InvalidInput, NotFound, Conflict, TooLarge, Unavailable])
def test_all_are_errors_for_the_caller_and_none_is_another(kind: type[TaskyardError]) -> None:
    assert kind.__bases__ == (TaskyardError,)
    error = kind("no", field="f", expected="e", remedy="r")
    assert (error.message, error.field, error.expected, error.got, error.remedy) == ("no", "f", "e", None, "r")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (5, "5"),
        ({"a": 1}, "{'a': 1}"),
        ("x" * 120, "x" * 120),
        ("x" * 121, "x" * 120 + "…"),
        (["y" * 200], "['" + "y" * 118 + "…"),
    ],
)
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text


@given(st.text() | st.integers() | st.lists(st.text()))
def test_no_value_fills_a_log(value: object) -> None:
    assert len(shown(value)) <= SHOWN_VALUE_CHARS + 1

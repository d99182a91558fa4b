"""pydantic's sentences of what it expected, in our words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any, get_args
from uuid import UUID

import pytest
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticKnownError
from pydantic_core.core_schema import ErrorType

from chalicelib.core.expectations import expected_of, fault_of, number_of

TIME = "a time, ISO 8601, such as 2027-06-01T09:00:00Z"
DATE = "a date, ISO 8601, such as 2027-06-01"


@pytest.mark.parametrize(
    ("form", "value", "expected", "got"),
    [
        (datetime, "tomorrow", TIME, "tomorrow"),
        (datetime, "2027-02-30T00:00:00Z", TIME, "2027-02-30T00:00:00Z"),
        (datetime, "2027-02-30", TIME, "2027-02-30"),
        (datetime, [], TIME, "a list of 0"),
        (date, "2027-02-30", DATE, "2027-02-30"),
        (date, {}, DATE, "an object"),
        (bool, "maybe", "true or false", "maybe"),
        (bool, 2.5, "true or false", "2.5"),
        (int, 1e308, "a whole number", "1e+308"),
        (int, 1.5, "a whole number", "1.5"),
        (int, "9" * 5_000, "a whole number", "9" * 120 + "…"),
        (int, "x", "a whole number", "x"),
        (float, "x", "a number", "x"),
        (Annotated[float, Field(allow_inf_nan=False)], math.nan, "a number", "nan"),
        (Annotated[float, Field(allow_inf_nan=False)], "-Infinity", "a number", "-Infinity"),
        (None, 1, "null", "1"),
        (UUID, "x", "a valid UUID", "x"),
    ],
)
def test_a_time_and_a_truth_value_are_told_by_how_they_are_written(
    form: Any, value: Any, expected: str, got: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(form).validate_python(value)
    assert fault_of(refused.value.errors()[0]) == (expected, got)


def test_none_of_pydantics_sentences_is_told_as_it_is() -> None:
    told = {kind: expected_of({"type": kind, "msg": text, "loc": (), "input": 1}) for kind, text in _sentences()}
    assert len(told) > 30
    spoken = re.compile(r"[Ii]nput|[Uu]nable|parse|instance|should|fraction|discriminator|argument|tzinfo|Recursion")
    assert {kind: text for kind, text in told.items() if spoken.search(text)} == {}


def _sentences() -> Iterator[tuple[str, str]]:
    """Pydantic's sentences, of those that say nothing of their own."""
    of_code = re.compile("argument|recursion|frozen|default_factory|attribute")  # of no value that a request has
    for kind in (kind for kind in get_args(ErrorType) if not of_code.search(kind)):
        try:
            yield kind, PydanticKnownError(kind).message()
        except TypeError:  # it names a limit or a name
            continue


@pytest.mark.parametrize(
    ("span", "text"),
    [
        ((1, 1_000_000), "a whole number, 1 to 1000000"),
        ((0, None), "a whole number of at least 0"),
        ((None, 9), "a whole number of at most 9"),
        ((None, None), "a whole number"),
    ],
)
def test_a_number_is_told_by_its_range(span: tuple[int | None, int | None], text: str) -> None:
    assert number_of(span, is_whole=True) == text


def test_a_fraction_of_a_bound_is_told() -> None:
    assert number_of((0.001, 604_800.0), is_whole=False) == "a number, 0.001 to 604800"

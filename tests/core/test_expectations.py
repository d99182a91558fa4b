"""pydantic's sentences of what it expected, in our words."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from chalicelib.core.expectations import fault_of

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
    ],
)
def test_a_time_and_a_truth_value_are_told_by_how_they_are_written(
    form: Any, value: Any, expected: str, got: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(form).validate_python(value)
    assert fault_of(refused.value.errors()[0]) == (expected, got)

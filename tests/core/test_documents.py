"""Python values as JSON: their forms, and what has none."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from chalicelib.core.documents import DEPTH_MAX, jsonable, sent_json, to_json
from chalicelib.core.errors import InvalidInput


class Colour(Enum):
    RED = "red"
    PAIR = (1, 2)


class Word(StrEnum):
    YES = "yes"


class Level(IntEnum):
    HIGH = 3


Point = namedtuple("Point", "x y")


@dataclass
class Row:
    at: date
    tags: set[str]


@pydantic_dataclass
class Checked:
    at: date


class Order(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    id: Any = Field(alias="orderId")


class Foo:
    """What nobody knows."""


def nested(levels: int, innermost: Any = 1) -> Any:
    value = innermost
    for _ in range(levels):
        value = [value]
    return value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_is_json_stays_as_it_is(value: Any) -> None:
    assert json.loads(to_json(value, "output")) == value
    assert jsonable(value, "output") == value


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),  # noqa: DTZ001  # as it is: without a zone
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (timedelta(days=1, seconds=3), "P1DT3S"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Path("/a/b"), "/a/b"),
        (ip_address("192.0.2.1"), "192.0.2.1"),
        (b"caf\xc3\xa9", "café"),
        (Colour.RED, "red"),
        (Colour.PAIR, [1, 2]),
        (Word.YES, "yes"),
        (Level.HIGH, 3),
        ({3, 10, 1}, [1, 3, 10]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({"a", 1, None}, ["a", 1, None]),
        (Row(date(2026, 1, 2), {"z", "y"}), {"at": "2026-01-02", "tags": ["y", "z"]}),
        (Checked(date(2026, 1, 2)), {"at": "2026-01-02"}),
        (Order(orderId=date(2026, 1, 2)), {"id": "2026-01-02"}),
        (Order(orderId=float("nan")), {"id": None}),  # pydantic's own rule for its models
        (Point(1, date(2026, 1, 2)), [1, "2026-01-02"]),
        (MappingProxyType({"a": OrderedDict(b=Counter("cc"))}), {"a": {"b": {"c": 2}}}),
        ((number for number in (1, 2)), [1, 2]),
        ({1: "a", 1.5: "b", None: "c", date(2026, 1, 2): "d", Colour.RED: "e", Word.YES: "f"},
         {"1": "a", "1.5": "b", "None": "c", "2026-01-02": "d", "red": "e", "yes": "f"}),
        (2**53 + 1, 9_007_199_254_740_993),
        (10**308 - 1, 10**308 - 1),
        ("9" * 400, "9" * 400),
        ("\ud800", "\ud800"),
    ],
)  # fmt: skip
def test_what_pydantic_can_write_has_its_form_at_any_place(value: Any, form: Any) -> None:
    if isinstance(form, list) and not isinstance(value, set | frozenset | tuple | Enum):
        assert json.loads(to_json(value, "output")) == form  # a generator has its members once
        return
    assert json.loads(to_json(value, "output")) == form
    assert json.loads(to_json({"rows": [value]}, "output")) == {"rows": [form]}
    assert jsonable([value], "output") == [form]


@pytest.mark.parametrize(
    ("value", "place", "problem"),
    [
        (Foo(), "output", "a Foo cannot be written as JSON"),
        ({"rows": [0, 1, 2, {"at": Foo()}]}, "output.rows[3].at", "a Foo cannot be written as JSON"),
        ({"a b": (Foo,)}, "output['a b'][0]", "a type cannot be written as JSON"),
        ({"rows": [Order(orderId={"deep": Foo()})]}, "output.rows[0].id.deep", "a Foo cannot be written as JSON"),
        ([{"ink", Foo}], "output[0][…]", "a type cannot be written as JSON"),
        ({"x": float("nan")}, "output.x", "the number nan cannot be written as JSON"),
        ({"x": b"\xff"}, "output.x", "a bytes cannot be written as JSON"),
        ({"x": {1: "a", "1": "b"}}, "output.x", "two names that are the same text, '1', cannot be written as JSON"),
        ({"x": {Foo(): 1}}, "output.x", "a name that is a Foo cannot be written as JSON"),
        ([10**308], "output[0]", "a number that is too large cannot be written as JSON"),
        ([-(10**5_000)], "output[0]", "a number that is too large cannot be written as JSON"),
    ],
)
def test_what_has_no_form_is_told_by_its_type_and_its_place(value: Any, place: str, problem: str) -> None:
    for refused in (to_json, jsonable):
        with pytest.raises(InvalidInput) as error:
            refused(value, "output")
        assert (error.value.field, error.value.message) == (place, problem)
        assert str(error.value).startswith(f"{place}: {problem}; expected ")


def test_a_list_within_itself_and_what_is_nested_too_deeply_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (loop, nested(DEPTH_MAX + 2)):
        with pytest.raises(InvalidInput, match="nested so deeply, or within itself") as error:
            to_json(value, "output")
        assert len(error.value.field or "") <= 121
    assert json.loads(to_json(nested(DEPTH_MAX), "output")) == nested(DEPTH_MAX)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        ([100.0, 0.5, 1e15, 1e16, 12345678901234567890], "[100,0.5,1000000000000000,1e+16,12345678901234567890]"),
        ({"version 1.0": "2.0", "é": 3.0}, '{"version 1.0":"2.0","é":3}'),
    ],
)
def test_a_whole_number_is_sent_without_a_fraction(value: Any, text: str) -> None:
    assert sent_json(value) == text


@given(JSON_VALUES)
def test_what_is_sent_is_the_value_and_no_longer_than_python_writes_it(value: Any) -> None:
    sent = sent_json(value, ascii_only=True)
    assert json.loads(sent) == value
    assert len(sent) <= len(json.dumps(value, separators=(",", ":")))

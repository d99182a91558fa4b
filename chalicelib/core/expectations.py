"""What pydantic expected, and what came instead, in the words of every other error: "text of at least 2 characters"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chalicelib.core.errors import shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_PHRASES = (  # pydantic's sentences, cut down to what was expected
    (re.compile(r"^(?:Input should be|Value error,) "), ""),
    (re.compile(r"^String should have "), "text of "),
    (re.compile(r"^String should match pattern "), "text matching "),
    (re.compile(r"^(?:List|Set|Tuple) should have "), "a list of "),
    (re.compile(r"^(?:Invalid JSON: |JSON input should be ).*$"), "JSON"),
    (re.compile(r"^Dictionary should have "), "an object of "),
    (re.compile(r"a valid dictionary(?: or instance of \w+)?$"), "an object"),
    (re.compile(r"a valid string, unable to parse raw data.*$"), "text that UTF-8 can hold"),
    (re.compile(r"a valid datetime(?: or date)?(?:,.*)?$"), "a time, ISO 8601, such as 2027-06-01T09:00:00Z"),
    (re.compile(r"a valid date(?: or datetime)?(?:,.*)?$"), "a date, ISO 8601, such as 2027-06-01"),
    (re.compile(r"a valid boolean(?:,.*)?$"), "true or false"),
    (re.compile(r"^None$"), "null"),
    (
        re.compile(r"^(?:have|not have) timezone info$"),
        "a time with offset, ISO 8601, such as 2027-06-01T09:00:00Z",
    ),
    (re.compile(r"^Datetimes provided to dates .*$"), "a date, ISO 8601, such as 2027-06-01"),
    (re.compile(r"^Extra inputs are not permitted$"), "no such name"),
    (re.compile(r"(?: after validation, not|, unable to parse|, got|, invalid|, not an instance) .*$"), ""),
)


_NO_WHOLE = frozenset({"int_type", "int_parsing", "int_parsing_size", "int_from_float"})
_NO_NUMBER = frozenset({"float_type", "float_parsing", "finite_number"})
NO_BOOLEAN = "no_boolean"  # our own, of who sends JavaScript's true for a number
OF_NUMBERS = _NO_WHOLE | _NO_NUMBER | {NO_BOOLEAN}
"""The types of errors that say that something is no number, or none that can be held."""
_UNREPORTED = re.compile(r"^(?:Unable to|Input |Keys |JSON |URL |UUID |Decimal |Date |Set |String )|.*discriminator")

Span = tuple[float | None, float | None]
"""The least and the greatest number that there may be; ``None``: no bound."""


def expected_of(told: ErrorDetails) -> str:
    """What was expected, by one of pydantic's errors."""
    if told["type"] in _NO_WHOLE | _NO_NUMBER:
        return number_of((None, None), is_whole=told["type"] in _NO_WHOLE)
    message = told["msg"]
    for pattern, phrase in _PHRASES:
        message = pattern.sub(phrase, message)
    return "a value of another kind" if _UNREPORTED.match(message) else message


def number_of(span: Span, *, is_whole: bool) -> str:
    """``a whole number, 1 to 1000``, ``a number of at least 0``, ``a number``."""
    least, most = span
    kind = "a whole number" if is_whole else "a number"
    if least is not None and most is not None:
        return f"{kind}, {_figure(least)} to {_figure(most)}"
    if least is not None:
        return f"{kind} of at least {_figure(least)}"
    return kind if most is None else f"{kind} of at most {_figure(most)}"


def _figure(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else repr(bound)


def described(value: object) -> str:
    """``value`` in JSON's words; of objects and lists only that they are one, as they may hold secrets."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case "":
            return "an empty text"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
        case _:
            return shown(value)


def fault_of(told: ErrorDetails) -> tuple[str, str]:
    """What one of pydantic's errors says was expected, and what came instead."""
    return ("a value", "nothing") if told["type"] == "missing" else (expected_of(told), described(told["input"]))


def place_of(told: ErrorDetails, *outer: str) -> str:
    """Where it was, as a dotted path within ``outer``."""
    return ".".join(str(step) for step in (*outer, *told["loc"]))

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
    (re.compile(r"(?: after validation, not|, unable to parse|, got) .*$"), ""),
)


def expected_of(message: str) -> str:
    """What was expected, by pydantic's sentence of it."""
    for pattern, phrase in _PHRASES:
        message = pattern.sub(phrase, message)
    return message


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
    return ("a value", "nothing") if told["type"] == "missing" else (expected_of(told["msg"]), described(told["input"]))


def place_of(told: ErrorDetails, *outer: str) -> str:
    """Where it was, as a dotted path within ``outer``."""
    return ".".join(str(step) for step in (*outer, *told["loc"]))

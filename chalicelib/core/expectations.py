"""What pydantic expected, in the words of every other error: "text of at least 2 characters"."""

from __future__ import annotations

import re

_PHRASES = (  # pydantic's sentences, cut down to what was expected
    (re.compile(r"^(?:Input should be|Value error,) "), ""),
    (re.compile(r"^String should have "), "text of "),
    (re.compile(r"^String should match pattern "), "text matching "),
    (re.compile(r"^(?:List|Set|Tuple) should have "), "a list of "),
    (re.compile(r"^Dictionary should have "), "an object of "),
    (re.compile(r"a valid dictionary(?: or instance of \w+)?$"), "an object"),
    (re.compile(r"a valid string, unable to parse raw data.*$"), "text that UTF-8 can hold"),
    (re.compile(r"(?: after validation, not|, unable to parse) .*$"), ""),
)


def expected_of(message: str) -> str:
    """What was expected, by pydantic's sentence of it."""
    for pattern, phrase in _PHRASES:
        message = pattern.sub(phrase, message)
    return message

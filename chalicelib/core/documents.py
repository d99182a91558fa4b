"""What a JSON value must be, however it comes: within what every reader of it can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

DEPTH_MAX = 100  # levels; far below what the parsers and writers that the value still meets can recurse into
INTEGER_MAX_CHARS = 308  # what a double, and so every other JSON reader, can hold
_TOO_LARGE = 10**INTEGER_MAX_CHARS


def fault_of(value: Any) -> tuple[str, str] | None:
    """What of a Python value is no JSON that everybody reads, and what was expected; ``None``: nothing."""
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        if not level:
            return None
        for each in level:
            fault = _fault_of(each)
            if fault is not None:
                return fault
        level = [inner for outer in level for inner in _members(outer)]
    return ("nested too deeply", f"at most {DEPTH_MAX} levels") if any(map(_is_group, level)) else None


def _fault_of(value: Any) -> tuple[str, str] | None:
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str)]
        return (f"a name that is no text: {odd[0]!r}", "names that are texts") if odd else None
    if isinstance(value, bool) or value is None or isinstance(value, str | list | tuple):
        return None
    if isinstance(value, int):
        return None if abs(value) < _TOO_LARGE else ("a number that is too large", "numbers that a double can hold")
    if isinstance(value, float):
        return None if math.isfinite(value) else (f"the number {value}", "finite numbers")
    return (f"a {type(value).__name__}", "what JSON has: texts, numbers, booleans, null, lists and objects")


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)

"""What the embedded emulator reckons with for each item that it writes, in a fraction of the time.

MiniStack copies items as if they could be anything, adds up in bytes what no request of ordinary size can exceed, and
reads each number of an item anew with every write, by `decimal`.

What is replaced is private to MiniStack and holds for the version that pyproject.toml pins.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

KEPT_NUMBERS = 8_192  # the newest, with what MiniStack says of each: times, which several attributes have, and counts
NUMBER_MAX_CHARS = 64  # of those that are kept
TOKEN_MAX_BYTES = 64  # that MiniStack adds for a character of an update expression, at most


def install() -> None:
    """Let MiniStack's DynamoDB, in this process, reckon so; once."""
    from ministack.services import dynamodb

    dynamodb.copy = SimpleNamespace(**{**vars(copy), "deepcopy": copied})
    dynamodb._update_request_charge = _charging(dynamodb)
    for of_a_number in ("_ddb_canonicalize_number", "_number_error", "_number_size_bytes"):
        setattr(dynamodb, of_a_number, _remembering(getattr(dynamodb, of_a_number)))


def copied(value: Any) -> Any:
    """A deep copy of what JSON can say; of anything else, Python's."""
    kind = type(value)
    if kind is dict:
        return {key: inner if type(inner) is str else copied(inner) for key, inner in value.items()}
    if kind is list:
        return [copied(inner) for inner in value]
    return value if kind is str or kind is bool or kind is int or value is None else copy.deepcopy(value)


def _remembering(reckon: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``reckon``, which knows of a number again what it said before."""
    remembered = lru_cache(KEPT_NUMBERS)(reckon)

    def reckoned(number: Any) -> Any:
        is_kept = type(number) is str and len(number) <= NUMBER_MAX_CHARS
        return remembered(number) if is_kept else reckon(number)

    return reckoned


def _charging(dynamodb: Any) -> Callable[..., int]:
    """What an update costs beside its item: exactly, where it may be more than DynamoDB takes."""
    exact = dynamodb._update_request_charge

    def charge(expression: str, values: Any, names: Any, before: Any) -> int:
        longest = max(map(len, (names or {}).values()), default=0) if isinstance(names, dict) else len(str(names))
        bound = len(expression) * (TOKEN_MAX_BYTES + 4 * longest) + expression.count(":") * len(json.dumps(values))
        if bound <= dynamodb._DDB_ITEM_MAX_BYTES:
            return bound
        reckoned: int = exact(expression, values, names, before)
        return reckoned

    return charge

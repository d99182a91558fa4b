"""What the embedded emulator reckons with for each item that it writes, in a fraction of the time.

MiniStack copies items as if they could be anything, adds up in bytes what no item or request of ordinary size can
exceed, and reads each number of an item anew with every write, by `decimal`.

What is replaced is private to MiniStack and holds for the version that pyproject.toml pins.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

KEPT_NUMBERS = 8_192  # the newest, with what MiniStack says of each: times, which several attributes have, and counts
NUMBER_MAX_CHARS = 64  # of those that are kept
PLAIN_MAX_CHARS = 50_000  # of an item that is not added up in bytes: a fraction of what DynamoDB takes
KEY_MAX_CHARS = 256  # of a key that is not, likewise
_WHOLE = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
TOKEN_MAX_BYTES = 64  # that MiniStack adds for a character of an update expression, at most


def install() -> None:
    """Let MiniStack's DynamoDB, in this process, reckon so; once."""
    from ministack.services import dynamodb

    dynamodb.copy = SimpleNamespace(**{**vars(copy), "deepcopy": copied})
    dynamodb._update_request_charge = _charging(dynamodb)
    dynamodb._validate_item = _validating(dynamodb)
    dynamodb._nesting_level = _measuring(dynamodb._nesting_level)
    dynamodb._ddb_canonicalize_number = _remembering(_of_others(dynamodb._ddb_canonicalize_number, str))
    dynamodb._number_error = _remembering(_of_others(dynamodb._number_error, lambda _: None))
    dynamodb._number_size_bytes = _remembering(dynamodb._number_size_bytes)


def copied(value: Any) -> Any:
    """A deep copy of what JSON can say, but for texts and numbers with their type; of anything else, Python's.

    ``{"S": ...}`` and ``{"N": ...}`` are shared: MiniStack puts others in their place, and changes none.
    """
    kind = type(value)
    if kind is dict:
        return {key: inner if is_shared(inner) else copied(inner) for key, inner in value.items()}
    if kind is list:
        return [inner if is_shared(inner) else copied(inner) for inner in value]
    return value if kind is str or kind is bool or kind is int or value is None else copy.deepcopy(value)


def is_shared(value: Any) -> bool:
    """Whether a value is a text or a number with its type, or a bare text."""
    if type(value) is not dict:
        return type(value) is str
    return len(value) == 1 and type(value.get("S") or value.get("N")) is str


def _measuring(exact: Callable[..., int]) -> Callable[..., int]:
    """How deep a value goes: no deeper, where it is but a text or a number."""

    def level(value: Any, depth: int = 1) -> int:
        return depth if is_shared(value) else exact(value, depth)

    return level


def _validating(dynamodb: Any) -> Callable[..., Any]:
    """What is wrong with an item: of a small one with plain values nothing; at any other MiniStack looks."""
    exact = dynamodb._validate_item

    def validate(item: Any, *keys_and_message: Any) -> Any:
        chars = _chars_of_plain(item, dynamodb._ddb_canonicalize_number)
        is_small = chars is not None and chars <= PLAIN_MAX_CHARS
        fits = is_small and all(name is None or _is_plain_key(item.get(name)) for name in keys_and_message[:2])
        return None if fits else exact(item, *keys_and_message)

    return validate


def _chars_of_plain(item: Any, canonical: Callable[[Any], Any]) -> int | None:
    """How long an item is, of names, texts, lists of texts, flags and canonical numbers; ``None`` if it has others."""
    chars = 0
    for name, value in item.items() if type(item) is dict else [("", None)]:
        if type(value) is not dict or len(value) != 1:
            return None
        ((kind, content),) = value.items()
        chars += len(name)
        if kind == "S" and type(content) is str:
            chars += len(content)
        elif kind == "N" and type(content) is str and canonical(content) == content:
            chars += len(content) + 2  # a byte for the sign, another for the number
        elif kind == "L" and type(content) is list and all(map(_is_text, content)):
            chars += sum(len(each["S"]) + 1 for each in content)
        elif kind != "BOOL" or type(content) is not bool:
            return None
    return chars


def _is_text(value: Any) -> bool:
    return type(value) is dict and len(value) == 1 and type(value.get("S")) is str


def _is_plain_key(value: Any) -> bool:
    content = None if value is None else value.get("S") or value.get("N")
    return type(content) is str and 0 < len(content) <= KEY_MAX_CHARS


def _remembering(reckon: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``reckon``, which knows of a number again what it said before."""
    remembered = lru_cache(KEPT_NUMBERS)(reckon)

    def reckoned(number: Any) -> Any:
        is_kept = type(number) is str and len(number) <= NUMBER_MAX_CHARS
        return remembered(number) if is_kept else reckon(number)

    return reckoned


def _bytes_at_most(values: Any) -> int:
    """A bound of what values take."""
    if type(values) is dict and all(map(is_shared, values.values())):
        return sum(4 * (len(name) + len(str(value))) for name, value in values.items())
    return len(json.dumps(values))


def _of_others(exact: Callable[[Any], Any], said: Callable[[str], Any]) -> Callable[[Any], Any]:
    """What is ``said`` of a whole number as it is usually written; of others, what MiniStack says."""
    return lambda number: said(number) if type(number) is str and _WHOLE.fullmatch(number) else exact(number)


def _charging(dynamodb: Any) -> Callable[..., int]:
    """What an update costs beside its item: exactly, where it may be more than DynamoDB takes."""
    exact = dynamodb._update_request_charge

    def charge(expression: str, values: Any, names: Any, before: Any) -> int:
        longest = max(map(len, (names or {}).values()), default=0) if isinstance(names, dict) else len(str(names))
        bound = len(expression) * (TOKEN_MAX_BYTES + 4 * longest) + expression.count(":") * _bytes_at_most(values)
        if bound <= dynamodb._DDB_ITEM_MAX_BYTES:
            return bound
        reckoned: int = exact(expression, values, names, before)
        return reckoned

    return charge

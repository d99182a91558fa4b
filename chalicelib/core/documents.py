"""Python values as JSON: what is JSON already, what is made JSON, and what has no form in it.

Plain values (texts, numbers, booleans, ``None``, lists, tuples and dicts of them) are written as they are. Others take
the form that pydantic gives them; what has none is refused by its type and its place. docs/handlers.md tells the forms.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType
from typing import Any

from chalicelib.core.errors import InvalidInput

DEPTH_MAX = 100  # levels; far below what the parsers and writers that the value still meets can recurse into
INTEGER_MAX_CHARS = 308  # what a double, and so every other JSON reader, can hold
NAME_SHOWN_CHARS = 40
PATH_SHOWN_CHARS = 120
_TOO_LARGE = 10**INTEGER_MAX_CHARS
_PERHAPS_TOO_LARGE = re.compile(rf"[0-9]{{{INTEGER_MAX_CHARS + 1}}}")  # or a text of many digits
_EMPTY_FRACTION = re.compile(r"[0-9]\.0(?![0-9])")  # of a number, or in a text
_NOT_KNOWN = "unknown type"  # pydantic's word for what it has no form for
_SCALARS = frozenset({str, int, float, bool, NoneType})
_TEXTS = frozenset({str})


def to_json(value: Any, what: str) -> str:
    """``value`` as compact JSON, in ASCII.

    Raises ``InvalidInput`` for what has no form, with its path from ``what`` on.
    """
    if _is_plain(value):
        try:
            text = _written(value)
        except ValueError:  # a number that is none, or too large: where, is told below
            pass
        else:
            if _PERHAPS_TOO_LARGE.search(text) is None:
                return text
    return _written(_converted(value, what, 0))


def jsonable(value: Any, what: str) -> Any:
    """``value`` as a reader of its JSON will see it; raises ``InvalidInput`` as ``to_json`` does."""
    return _converted(value, what, 0)


def sent_json(value: Any, *, ascii_only: bool = False, default: Callable[[Any], Any] | None = None) -> str:
    """``value`` as compact JSON for a program elsewhere: 1.0 is written 1, as JavaScript does.

    To readers that tell integers from other numbers 1.0 is none. Never longer than ``json.dumps`` writes it. Raises
    ``ValueError`` for NaN and infinities.
    """

    def written(form: Any) -> str:
        return json.dumps(form, ensure_ascii=ascii_only, allow_nan=False, separators=(",", ":"), default=default)

    text = written(value)
    return text if _EMPTY_FRACTION.search(text) is None else written(json.loads(text, parse_float=_number))


def _number(text: str) -> int | float:
    return int(text.removesuffix(".0")) if text.endswith(".0") else float(text)


def _written(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _is_plain(value: Any) -> bool:
    """Whether nothing of a value is to be converted: its types, its names, its depth. Looks at no number."""
    level = [value]
    for _ in range(DEPTH_MAX + 1):  # the service may have put it into an object of its own
        inner: list[Any] = []
        for each in level:
            kind = type(each)
            if kind in _SCALARS:
                continue
            if kind is dict:
                if not _TEXTS.issuperset(map(type, each)):
                    return False
                members = each.values()
            elif kind is list or kind is tuple:
                members = each
            else:
                return False
            if not _SCALARS.issuperset(map(type, members)):
                inner += [member for member in members if type(member) not in _SCALARS]
        if not inner:
            return True
        level = inner
    return False


def _converted(value: Any, path: str, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise _unfit(path, "what is nested so deeply, or within itself,", expected=f"at most {DEPTH_MAX} levels")
    match value:
        case None | bool():
            return value
        case Enum():
            return _converted(value.value, path, depth)
        case str():
            return str.__str__(value)
        case int():
            if abs(value) >= _TOO_LARGE:
                raise _unfit(path, "a number that is too large", expected="numbers that a double can hold")
            return int(value)
        case float():
            if not math.isfinite(value):
                raise _unfit(path, f"the number {value}", expected="finite numbers", remedy="give None for no number")
            return float(value)
        case Mapping():
            return _object(value.items(), path, depth)
        case list() | tuple():
            return [_converted(each, f"{path}[{place}]", depth + 1) for place, each in enumerate(value)]
        case set() | frozenset():
            return _in_order([_converted(each, f"{path}[…]", depth + 1) for each in value])
    if is_dataclass(value) and not isinstance(value, type) and not hasattr(value, "__pydantic_serializer__"):
        return _object([(each.name, getattr(value, each.name)) for each in fields(value)], path, depth)
    return _by_pydantic(value, path, depth)


def _object(members: Iterable[tuple[Any, Any]], path: str, depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, member in members:
        name = key if type(key) is str else _name(key, path)
        if name in document:
            raise _unfit(path, f"two names that are the same text, {name!r},", expected="names that differ as texts")
        document[name] = _converted(member, _inside(path, name), depth + 1)
    return document


def _name(key: Any, path: str) -> str:
    """What a key is called in JSON."""
    if isinstance(key, str) and not isinstance(key, Enum):
        return str.__str__(key)
    from pydantic_core import PydanticSerializationError, to_jsonable_python  # imported late, as below

    try:
        (name,) = to_jsonable_python({key: None})
    except (PydanticSerializationError, ValueError) as error:
        raise _unfit(path, f"a name that is {_a(key)}", expected="names that are texts") from error
    return str(name)


def _by_pydantic(value: Any, path: str, depth: int) -> Any:
    """What pydantic makes of a value: dates, times, UUIDs, decimals, paths, bytes that are UTF-8, its own models."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python  # imported late: few values need it

    is_model = hasattr(value, "model_dump") and not isinstance(value, type)
    try:
        found = value.model_dump(mode="json") if is_model else to_jsonable_python(value, by_alias=False)
    except (PydanticSerializationError, ValueError) as error:
        if is_model:
            _object(value, path, depth)  # tells where within the model, if it is a value's type that is at fault
        raise _unfit(path, _a(value), got=None if _NOT_KNOWN in str(error) else str(error)) from error
    return _converted(found, path, depth + 1)


def _in_order(members: list[Any]) -> list[Any]:
    """The members of a set, which has no order, in one: numbers and texts by value, others by their JSON."""
    for kinds in ((str,), (int, float)):
        if all(isinstance(each, kinds) for each in members):
            return sorted(members)
    return sorted(members, key=_written)


def _inside(path: str, name: str) -> str:
    """A member's place, such as ``output.rows`` or ``output['a b']``."""
    return f"{path}.{name}" if name.isidentifier() else f"{path}[{name[:NAME_SHOWN_CHARS]!r}]"


def _a(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"


def _unfit(
    path: str, subject: str, *, expected: str | None = None, got: str | None = None, remedy: str | None = None
) -> InvalidInput:
    return InvalidInput(
        f"{subject} cannot be written as JSON",
        field=path if len(path) <= PATH_SHOWN_CHARS else f"{path[:PATH_SHOWN_CHARS]}…",
        expected=expected or "texts, numbers, booleans, None, lists, dicts, and what pydantic writes as these",
        got=got,
        remedy=remedy or "convert it first",
    )

"""What the services accept: the rules of the HTTP dialect, without the models that apply them there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from chalicelib.core.documents import jsonable
from chalicelib.core.errors import InvalidInput, NotFound, shown
from chalicelib.core.ids import parse_job_id
from chalicelib.core.lanes import TOPIC_MAX_CHARS
from chalicelib.core.naming import instead_of, is_name
from chalicelib.core.tenants import tenant_of
from chalicelib.engine.polling.poll import LOCK_MAX_MS, LOCK_MIN_MS
from chalicelib.services.records import EPOCH, MILLISECOND

NAME_MAX_CHARS = 256
ID_EXPECTED = "an id: a whole number from 1 on, or its digits"
Word = TypeVar("Word", bound=StrEnum)
Item = TypeVar("Item")

LATEST = datetime(9999, 1, 1, tzinfo=UTC)


def topic(value: object) -> str:
    """A topic: 1 to 400 characters on one line. Raises ``InvalidInput``."""
    return _line("topic", value, TOPIC_MAX_CHARS)


def name(field: str, value: object) -> str:
    """What something is called: 1 to 256 characters on one line. Raises ``InvalidInput``."""
    return _line(field, value, NAME_MAX_CHARS)


def maybe_topic(value: object) -> str | None:
    """A topic, or ``None`` for all of them."""
    return None if value is None else topic(value)


def maybe_name(field: str, value: object) -> str | None:
    """A name, if there is one."""
    return None if value is None else name(field, value)


def maybe_tenant(value: object) -> str | None:
    """On whose behalf, if that is told. Raises ``InvalidInput``."""
    return None if value is None else tenant_of("tenant", value)


def whole(field: str, value: object, smallest: int, largest: int) -> int:
    """A whole number within a range, both ends included. Raises ``InvalidInput``."""
    if type(value) is not int or not smallest <= value <= largest:
        raise InvalidInput(
            "this value is out of range", field=field, expected=f"a whole number, {smallest} to {largest}", got=value
        )
    return value


def lock_ms(value: object) -> int:
    """For how long a message is locked, in milliseconds: 1 second to 12 hours. Raises ``InvalidInput``."""
    return whole("lock_timeout_ms", value, LOCK_MIN_MS, LOCK_MAX_MS)


def document(field: str, value: object) -> dict[str, Any]:
    """What JSON writes as an object, as a reader will see it. Raises ``InvalidInput``."""
    found = jsonable(value, field)
    if not isinstance(found, dict):
        raise InvalidInput("this is no JSON object", field=field, expected="a dict", got=type(value).__name__)
    return found


def known_names(given: Mapping[Any, Any], known: Collection[str]) -> None:
    """Raise ``InvalidInput`` for the first name in ``given`` that is not ``known``."""
    for name in given:
        if name not in known:
            expected = instead_of(name, known)
            raise InvalidInput("there is no such field", field=shown(name), expected=expected, got=name)


def not_one(message: str, *, field: str, given: bool) -> InvalidInput:
    """The error of who gave both of two things, or neither; ``given``: the one, ``field``, was there."""
    got, remedy = ("both", "leave one out") if given else ("neither", "give one")
    return InvalidInput(message, field=field, expected="one of the two", got=got, remedy=remedy)


def word(field: str, value: str, words: type[Word]) -> Word:
    """One of the words that there are. Raises ``InvalidInput``."""
    try:
        return words(value)
    except ValueError as error:
        expected = " or ".join(words)
        raise InvalidInput(f"there is no such {field}", field=field, expected=expected, got=value) from error


def text(field: str, value: object) -> str:
    """Any text. Raises ``InvalidInput``."""
    if not isinstance(value, str):
        raise InvalidInput("this is no text", field=field, expected="a str", got=type(value).__name__)
    return value


def at_ms(field: str, value: object) -> int:
    """An aware time from 1970 on, in milliseconds since then. Raises ``InvalidInput``."""
    if not isinstance(value, datetime) or value.tzinfo is None or not EPOCH <= value < LATEST:
        raise InvalidInput(
            "this is no time that can be compared with others",
            field=field,
            expected="an aware datetime of the years 1970 to 9998",
            got=value,
            remedy="for example datetime.now(UTC) + timedelta(minutes=30)",
        )
    return round((value - EPOCH) / MILLISECOND)


def many(field: str, value: Iterable[Item]) -> Iterable[Item]:
    """Several of something. Raises ``InvalidInput`` for what cannot be gone through, and for a text or a dict."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise InvalidInput("this is no list", field=field, expected="a list", got=value)
    return value


def job_id(value: object, what: str) -> int:
    """An id as a number or its digits. Raises ``InvalidInput`` for what can be none, ``NotFound`` for other text."""
    found = parse_job_id(expect_id(value))
    if found is None and not isinstance(value, str):
        raise InvalidInput("no id is so large or small", field="id", expected=ID_EXPECTED, got=value)
    if found is None:
        remedy = f"give {ID_EXPECTED}"
        raise NotFound(f"there is no {what} {str(value)[:40]!r}", field="id", got=str(value), remedy=remedy)
    return found


def expect_id(value: object) -> int | str:
    """What is a number or a text. Raises ``InvalidInput`` for what can be no id."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidInput("this can be no id", field="id", expected=ID_EXPECTED, got=repr(value))
    return value


def _line(field: str, value: object, most_chars: int) -> str:
    if not isinstance(value, str) or not is_name(value, most_chars):
        expected = f"1 to {most_chars} characters on one line, not all blank"
        raise InvalidInput("this cannot be a name", field=field, expected=expected, got=value)
    return value

"""What a report says: findings, and the checks that lead to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from chalicelib.core.errors import shown


class Level(StrEnum):
    """How bad a finding is, the worst last."""

    OK = "ok"
    UNKNOWN = "unknown"  # it could not be seen: a permission is missing, an emulator does not tell
    WARN = "warn"  # works, and wants to be looked at
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One property of a subject: as expected or not. ``remedy`` is a command where there is one.

    The subject is that of the check, unless it is of many and each observation names its own.
    """

    level: Level
    what: str
    expected: str
    found: str
    remedy: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Observation):
    """An observation whose subject is named, with the ``area`` of the installation that it is in."""

    area: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something to look at: a few calls of AWS, independent of all others.

    ``question`` observes; whatever AWS refuses it is told as an observation. ``when_missing`` is the remedy where
    AWS says that there is no such thing; ``None`` where another check says that already.
    """

    area: str
    subject: str
    question: Callable[[], Iterable[Observation]]
    when_missing: str | None = None


def ok(what: str, found: object) -> Observation:
    """As it should be."""
    return Observation(level=Level.OK, what=what, expected=rendered(found), found=rendered(found))


def compared(
    what: str, expected: Any, found: Any, remedy: str, *, emulated: bool = False, level: Level = Level.WRONG
) -> Observation:
    """Whether ``found`` is ``expected``.

    An emulator that tells nothing (``None``) has most likely dropped the property; AWS tells what it has, so there
    it has none.
    """
    if found == expected:
        return ok(what, found)
    if found is None and emulated:
        return Observation(
            level=Level.UNKNOWN, what=what, expected=rendered(expected), found="the emulator does not tell it"
        )
    return Observation(level=level, what=what, expected=rendered(expected), found=rendered(found), remedy=remedy)


def about(subject: str, observations: Iterable[Observation]) -> Iterator[Observation]:
    """``observations`` of one subject of a check of many."""
    return (replace(observation, subject=subject) for observation in observations)


def rendered(value: object) -> str:
    """A value as a person reads it."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return shown(value)
    return shown(json.dumps(value, default=str, ensure_ascii=False))


def names(values: Iterable[str], most: int = 5) -> str:
    """The first few of ``values``, sorted, and how many more there are."""
    every = sorted(values)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more

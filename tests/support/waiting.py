"""Waiting for what is true in a moment: by asking again until a deadline, never by sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE_S = 20.0
PAUSE_S = 0.02


def until(probe: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
    """The first true value that ``probe`` answers; fails when there is none by the deadline."""
    give_up_at_s = time.monotonic() + deadline_s
    while not (value := probe()):
        assert time.monotonic() < give_up_at_s, f"still {value!r} after {deadline_s} s"
        time.sleep(PAUSE_S)
    return value


def becomes(expected: T, probe: Callable[[], T], deadline_s: float = DEADLINE_S) -> None:
    """Return once ``probe`` answers ``expected``; fails with what it answers at the deadline."""
    give_up_at_s = time.monotonic() + deadline_s
    while (value := probe()) != expected and time.monotonic() < give_up_at_s:
        time.sleep(PAUSE_S)
    assert value == expected

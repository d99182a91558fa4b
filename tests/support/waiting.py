"""Waiting for what is true in a moment: by asking again until a deadline, never by sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
DEADLINE_S = 180.0  # only what fails waits so long; a machine may be ten times slower than it was, for a while
PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.3
GROWTH = 1.3  # of the pause with each question: asking costs time that what is waited for could use


def until(probe: Callable[[], T], deadline_s: float = DEADLINE_S, longest_pause_s: float = LONGEST_PAUSE_S) -> T:
    """The first true value that ``probe`` answers; fails when there is none by the deadline.

    What may be true only for a moment is met by a short ``longest_pause_s``.
    """
    deadline_at_s = time.monotonic() + deadline_s
    pauses = _pauses_s(longest_pause_s)
    while not (value := probe()):
        assert time.monotonic() < deadline_at_s, f"still {value!r} after {deadline_s} s"
        time.sleep(next(pauses))
    return value


def becomes(expected: T, probe: Callable[[], T], deadline_s: float = DEADLINE_S) -> None:
    """Return once ``probe`` answers ``expected``; fails with what it answers at the deadline."""
    deadline_at_s = time.monotonic() + deadline_s
    pauses = _pauses_s(LONGEST_PAUSE_S)
    while (value := probe()) != expected and time.monotonic() < deadline_at_s:
        time.sleep(next(pauses))
    assert value == expected


def _pauses_s(longest_s: float) -> Iterator[float]:
    """Short at first, so that what is nearly there is met at once; then longer and longer."""
    pause_s = PAUSE_S
    while True:
        yield min(pause_s, longest_s)
        pause_s *= GROWTH

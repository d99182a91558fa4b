"""What a process remembers of what it has read a moment ago."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Known(Generic[T]):
    """The answer to one question, as of the last look."""

    _answer: T | None = None
    _read_at_ms: int | None = None

    def get(self, now_ms: int, fresh_ms: int, read: Callable[[], T]) -> T:
        """The answer, from memory where that is at most ``fresh_ms`` old."""
        if self._read_at_ms is None or self._answer is None or now_ms - self._read_at_ms > fresh_ms:
            self._answer, self._read_at_ms = read(), now_ms
        return self._answer

    def forget(self) -> None:
        """Look anew the next time."""
        self._read_at_ms = None

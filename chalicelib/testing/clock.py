"""A clock that stands still until it is moved."""

from __future__ import annotations

from dataclasses import dataclass

START_MS = 1_750_000_000_000  # 2025-06-15 15:06:40 UTC


@dataclass(slots=True)
class MovableClock:
    """Returns milliseconds since 1970; to be called where the service asks for the time."""

    ms: int = START_MS

    def __call__(self) -> int:
        return self.ms

    def move(self, ms: int) -> None:
        """Let so many milliseconds pass."""
        self.ms += ms

"""Whom to leave alone for a while, as one process knows it, because waiting for them was in vain.

What an exchange took that came to nothing, others have waited, too. So its recipient is left alone for 3 times as long,
then 6, 12, 24 and at most 30 times, until it takes something: who never answers gets a thirtieth of the time at last.
Who refuses at once has cost nothing, and is not left alone, unless they ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_TIMES = 3
MOST_TIMES = 30


def length_ms(in_a_row: int, took_ms: int) -> int:
    """How long to leave somebody alone after the vain exchange number ``in_a_row``, from 1.

    Of 10 s each: 30, 60, 120, 240, 300, 300, ... s.
    """
    return max(0, took_ms) * min(FIRST_TIMES << min(in_a_row - 1, MOST_TIMES), MOST_TIMES)


@dataclass(frozen=True, slots=True)
class _Silence:
    in_a_row: int
    ends_ms: int


@dataclass(slots=True)
class Silences:
    """Until when to leave whom alone. Times are in milliseconds since 1970."""

    _of: dict[str, _Silence] = field(default_factory=dict)

    def left_ms(self, recipient: str, now_ms: int) -> int:
        """How much longer a recipient is left alone; 0 where it may be told."""
        silence = self._of.get(recipient)
        return 0 if silence is None else max(0, silence.ends_ms - now_ms)

    def in_vain(self, recipient: str, began_ms: int, now_ms: int, asked_ms: int = 0) -> None:
        """An exchange came to nothing; the recipient asks to be left alone for ``asked_ms`` at least."""
        before = self._of.get(recipient)
        in_a_row = 1 if before is None else before.in_a_row + 1
        self._of[recipient] = _Silence(in_a_row, now_ms + max(length_ms(in_a_row, now_ms - began_ms), asked_ms))

    def taken(self, recipient: str) -> None:
        """A recipient has taken something."""
        self._of.pop(recipient, None)

"""Who has not answered in time of late, as one process knows it, and is left alone for a while.

Waiting for an answer that does not come costs whoever else is to be told. So it is waited for again only after 10 s,
20 s, 40 s and so on up to 5 minutes, until there is one: who stays silent takes a thirtieth of its time in the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_MS = 10_000
LONGEST_MS = 300_000


def length_ms(in_a_row: int) -> int:
    """How long the silence number ``in_a_row``, from 1, is respected: 10, 20, 40, ... 300 s."""
    return min(FIRST_MS << min(in_a_row - 1, 10), LONGEST_MS)


@dataclass(frozen=True, slots=True)
class _Silence:
    in_a_row: int
    ends_ms: int


@dataclass(slots=True)
class Silences:
    """The silences by recipient. Times are in milliseconds since 1970."""

    _of: dict[str, _Silence] = field(default_factory=dict)

    def left_ms(self, recipient: str, now_ms: int) -> int:
        """How much longer a recipient is left alone; 0 where it may be told."""
        silence = self._of.get(recipient)
        return 0 if silence is None else max(0, silence.ends_ms - now_ms)

    def unanswered(self, recipient: str, now_ms: int) -> None:
        """A recipient has not answered in time."""
        before = self._of.get(recipient)
        in_a_row = 1 if before is None else before.in_a_row + 1
        self._of[recipient] = _Silence(in_a_row, now_ms + length_ms(in_a_row))

    def answered(self, recipient: str) -> None:
        """A recipient has answered, whatever it said."""
        self._of.pop(recipient, None)

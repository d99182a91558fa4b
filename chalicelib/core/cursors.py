"""Cursors: where a list goes on behind what was shown, as a text that a client keeps.

A cursor carries what the first answer counted, so that nothing is counted again, and a checksum over itself and the
filters it was made for. That is no signature, and none is needed: a cursor opens nothing that the list does not show to
the same caller.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass

CHECK_BYTES = 9
MAX_CHARS = 2_048  # a name that a list is sorted by may have 256 characters of four bytes


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list, and what the first page of the list counted."""

    position: str
    total: int
    exact: bool

    def to_text(self, filters: str) -> str:
        """What a client gets to see."""
        shown = [self.position, self.total, self.exact]
        content = json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(_check(content, filters) + content).decode().rstrip("=")

    @classmethod
    def read(cls, text: object, filters: str, positions: re.Pattern[str]) -> Cursor | None:
        """The cursor that ``to_text`` wrote for a list with these ``filters``; ``None`` for anything else.

        ``positions`` is the form of its places.
        """
        if not isinstance(text, str) or len(text) > MAX_CHARS:
            return None
        try:
            written = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            check, content = written[:CHECK_BYTES], written[CHECK_BYTES:]
            if check != _check(content, filters):
                return None  # of another list, or changed
            position, total, exact = json.loads(content)
        except (ValueError, TypeError, RecursionError):
            return None
        made_here = isinstance(position, str) and type(total) is int and type(exact) is bool
        return cls(position, total, exact) if made_here and positions.fullmatch(position) else None


def _check(content: bytes, filters: str) -> bytes:
    return hashlib.sha256(b"\n".join((filters.encode("utf-8", "surrogatepass"), content))).digest()[:CHECK_BYTES]

"""The ledger's time, as far as a process can know it: what AWS's answers tell of the clock, against its own.

An answer's Date header has whole seconds, and was written at some moment between the asking and the answer. So each
answer gives a span in which the offset of the two clocks lies. As long as a span holds the offset in use, or nearly,
nothing changes: a clock that is right is never corrected.
"""

from __future__ import annotations

DATE_RESOLUTION_MS = 1_000
TOLERANCE_MS = 2_000  # what the span is widened by: within that, clocks count as equal


def corrected_offset_ms(offset_ms: int, asked_at_ms: int, answered_at_ms: int, date_s: int) -> int:
    """What is to be added to the own clock, once an answer that was asked for and came at these own times told a date.

    It is then wrong by at most the time that the answer took, plus 3 s.
    """
    low = date_s * 1_000 - answered_at_ms
    high = date_s * 1_000 + DATE_RESOLUTION_MS - 1 - asked_at_ms
    for kept_ms in (offset_ms, 0):
        if low - TOLERANCE_MS <= kept_ms <= high + TOLERANCE_MS:
            return kept_ms
    return (low + high) // 2

"""Who has not answered in time is left alone for ever longer, until there is an answer."""

from __future__ import annotations

from chalicelib.engine.silences import Silences, length_ms


def test_lengths() -> None:
    assert [length_ms(in_a_row) // 1_000 for in_a_row in (1, 2, 3, 4, 5, 6, 7, 1_000)] == [
        *(10, 20, 40, 80, 160),
        *(300, 300, 300),
    ]


def test_a_silence_ends_by_time_grows_when_repeated_and_is_forgotten_with_an_answer() -> None:
    silences = Silences()
    assert silences.left_ms("w", 0) == 0
    silences.unanswered("w", 1_000)
    assert [silences.left_ms("w", at_ms) for at_ms in (1_000, 10_999, 11_000, 99_000)] == [10_000, 1, 0, 0]
    assert silences.left_ms("another", 1_000) == 0
    silences.unanswered("w", 11_000)
    assert silences.left_ms("w", 11_000) == 20_000
    silences.answered("w")
    assert silences.left_ms("w", 11_000) == 0
    silences.unanswered("w", 12_000)
    assert silences.left_ms("w", 12_000) == 10_000

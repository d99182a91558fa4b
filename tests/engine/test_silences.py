"""Who lets others wait in vain is left alone for ever longer, until it takes something."""

from __future__ import annotations

import pytest

from chalicelib.engine.silences import Silences, length_ms


@pytest.mark.parametrize(
    ("took_ms", "lengths_ms"),
    [
        (10_000, [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]),
        (100, [300, 600, 1_200, 2_400, 3_000, 3_000]),
        (0, [0, 0, 0, 0, 0, 0]),
        (-1, [0, 0, 0, 0, 0, 0]),  # the clock was put right meanwhile
    ],
)
def test_lengths(took_ms: int, lengths_ms: list[int]) -> None:
    assert [length_ms(in_a_row, took_ms) for in_a_row in (1, 2, 3, 4, 5, 1_000)] == lengths_ms


def test_it_ends_by_time_grows_when_repeated_and_is_forgotten_once_something_is_taken() -> None:
    silences = Silences()
    assert silences.left_ms("w", 0) == 0
    silences.in_vain("w", 1_000, 2_000)
    assert [silences.left_ms("w", at_ms) for at_ms in (2_000, 4_999, 5_000, 99_000)] == [3_000, 1, 0, 0]
    assert silences.left_ms("another", 2_000) == 0
    silences.in_vain("w", 5_000, 6_000)
    assert silences.left_ms("w", 6_000) == 6_000
    silences.in_vain("other", 0, 1_000, asked_ms=3_001)
    assert silences.left_ms("other", 1_000) == 3_001
    silences.in_vain("other", 5_000, 6_000, asked_ms=5_999)
    assert silences.left_ms("other", 6_000) == 6_000
    silences.taken("w")
    assert silences.left_ms("w", 6_000) == 0
    silences.in_vain("w", 7_000, 8_000)
    assert silences.left_ms("w", 8_000) == 3_000

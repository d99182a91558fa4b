"""The ledger's time: what answers tell of it, and how wrong what is made of that can be."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib.core.ledger_time import TOLERANCE_MS, corrected_offset_ms

START_MS = 1_800_000_000_000
OFFSETS = st.integers(-900_000, 900_000)
TOOK = st.integers(0, 30_000)


def answer(true_offset_ms: int, took_ms: int, written: float) -> tuple[int, int, int]:
    """When an answer was asked for and came, by the own clock, and the date that it told."""
    date_ms = START_MS + true_offset_ms + int(took_ms * written)
    return START_MS, START_MS + took_ms, date_ms // 1_000


@given(OFFSETS, OFFSETS, TOOK, st.floats(0, 1))
def test_it_is_wrong_by_the_time_an_answer_took_and_three_seconds_at_most(
    used_ms: int, true_ms: int, took_ms: int, written: float
) -> None:
    found_ms = corrected_offset_ms(used_ms, *answer(true_ms, took_ms, written))
    assert abs(found_ms - true_ms) <= took_ms + 3_000


@given(st.integers(-2_000, 2_000), TOOK, st.floats(0, 1))
def test_a_clock_that_is_right_is_not_corrected(true_ms: int, took_ms: int, written: float) -> None:
    assert corrected_offset_ms(0, *answer(true_ms, took_ms, written)) == 0


@given(OFFSETS, st.lists(st.tuples(TOOK, st.floats(0, 1)), min_size=2, max_size=5))
def test_what_is_known_stays_until_an_answer_contradicts_it(true_ms: int, answers: list[tuple[int, float]]) -> None:
    quick = corrected_offset_ms(0, *answer(true_ms, 0, 0))
    assume(quick or abs(true_ms) <= TOLERANCE_MS)  # a clock between the two counts as right until it is contradicted
    assert [corrected_offset_ms(quick, *answer(true_ms, *each)) for each in answers] == [quick] * len(answers)


@given(OFFSETS)
def test_a_clock_that_is_set_right_again_is_used_as_it_is(used_ms: int) -> None:
    assert corrected_offset_ms(used_ms, *answer(0, 10, 0.5)) in (0, used_ms)

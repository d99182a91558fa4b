"""Backoffs: the schedules their docstrings promise, and what holds of every schedule."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.retry import (
    DELAY_MAX_MS,
    MESSAGE_BACKOFF,
    TASK_BACKOFF,
    Backoff,
    Exponential,
    Fixed,
    Linear,
    Named,
    backoff_from,
    bounded_ms,
    checked,
    from_document,
    to_document,
)

MONTH_MS = 2_592_000_000
HOUR_MS = 3_600_000

amounts = st.integers(min_value=0, max_value=10**15)
retries = st.integers(min_value=1, max_value=200)
computed = st.one_of(
    st.builds(Fixed, amounts),
    st.builds(Linear, amounts, amounts),
    st.builds(Exponential, amounts, amounts),
)
backoffs = st.one_of(computed, st.builds(Named, st.text(max_size=20)))


def schedule(backoff: Fixed | Linear | Exponential, length: int) -> list[int]:
    return [backoff.wait_ms(retry) for retry in range(1, length + 1)]


def test_a_fixed_wait_stays_as_it_is() -> None:
    assert schedule(Fixed(200), 3) == [200, 200, 200]


def test_a_linear_wait_grows_by_its_step() -> None:
    assert schedule(Linear(5_000), 3) == [5_000, 10_000, 15_000]
    assert schedule(Linear(5_000, 12_000), 4) == [5_000, 10_000, 12_000, 12_000]


def test_an_exponential_wait_doubles() -> None:
    assert schedule(Exponential(1_000), 4) == [1_000, 2_000, 4_000, 8_000]


def test_the_wait_of_a_message_ends_at_one_minute() -> None:
    assert Exponential(1_000, 60_000) == MESSAGE_BACKOFF
    assert schedule(MESSAGE_BACKOFF, 9) == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]


def test_the_wait_of_a_task_begins_at_five_seconds_and_ends_at_one_hour() -> None:
    seconds = [wait_ms / 1_000 for wait_ms in schedule(TASK_BACKOFF, 12)]
    assert seconds == [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600]


def test_linear_and_exponential_end_at_one_hour_unless_told_otherwise() -> None:
    assert Linear(1_000).wait_ms(1_000_000) == HOUR_MS
    assert Exponential(1_000).wait_ms(100) == HOUR_MS


@given(base_ms=st.integers(1, 3_600_000), cap_ms=st.integers(1, 86_400_000), retry=st.integers(1, 100))
def test_exponential_is_the_formula_of_fastify_mq(base_ms: int, cap_ms: int, retry: int) -> None:
    assert Exponential(base_ms, cap_ms).wait_ms(retry) == min(base_ms * 2 ** (retry - 1), cap_ms)


@given(step_ms=st.integers(0, 3_600_000), cap_ms=st.integers(0, 86_400_000), retry=retries)
def test_linear_is_step_times_retry_up_to_the_cap(step_ms: int, cap_ms: int, retry: int) -> None:
    assert Linear(step_ms, cap_ms).wait_ms(retry) == min(step_ms * retry, cap_ms)


@given(computed, retries)
def test_no_wait_is_negative_or_longer_than_30_days(backoff: Fixed | Linear | Exponential, retry: int) -> None:
    assert 0 <= backoff.wait_ms(retry) <= MONTH_MS


@given(computed, retries)
def test_waits_never_become_shorter(backoff: Fixed | Linear | Exponential, retry: int) -> None:
    assert backoff.wait_ms(retry) <= backoff.wait_ms(retry + 1)


@pytest.mark.parametrize(
    ("wait", "expected"),
    [(-1, 0), (0, 0), (0.9, 0), (1.9, 1), (1_500, 1_500), (math.inf, MONTH_MS), (MONTH_MS + 1, MONTH_MS)],
)
def test_bounded_ms(wait: float, expected: int) -> None:
    bounded = bounded_ms(wait)
    assert bounded == expected
    assert type(bounded) is int


@pytest.mark.parametrize("wait", [None, "5", True, [1], math.nan], ids=repr)
def test_a_wait_that_is_no_number_is_an_error(wait: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        bounded_ms(wait)


def test_the_longest_wait_is_30_days() -> None:
    assert DELAY_MAX_MS == MONTH_MS


@pytest.mark.parametrize(
    ("backoff", "document"),
    [
        (Fixed(0), {"fixed_ms": 0}),
        (Linear(5, 7), {"step_ms": 5, "cap_ms": 7}),
        (Exponential(1_000, 60_000), {"base_ms": 1_000, "cap_ms": 60_000}),
        (Named("mine"), {"named": "mine"}),
    ],
)
def test_the_stored_form(backoff: Backoff, document: dict[str, Any]) -> None:
    assert to_document(backoff) == document
    assert from_document(document) == backoff


@given(backoffs)
def test_the_stored_form_comes_back_as_the_same_backoff(backoff: Backoff) -> None:
    assert from_document(to_document(backoff)) == backoff


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"step_ms": 1},
        {"base_ms": 1},
        {"fixed_ms": "1"},
        {"fixed_ms": 1.5},
        {"fixed_ms": None},
        {"base_ms": 1, "cap_ms": None},
        {"named": 1},
        {"name": "mine"},
        "exponential",
        ["fixed_ms", 1],
        None,
        7,
    ],
)
def test_any_other_form_is_refused_with_what_was_expected(document: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        from_document(document)
    assert refused.value.field == "backoff"
    assert refused.value.expected == "fixed_ms, step_ms and cap_ms, base_ms and cap_ms, or named"


# -- what clients and handlers give as a backoff ------------------------------------------------------


@given(backoffs)
def test_every_backoff_passes_the_check(backoff: Backoff) -> None:
    assert checked(backoff) is backoff


@pytest.mark.parametrize(
    "given",
    [
        None,
        "mine",
        True,
        {"fixed_ms": 1},
        Fixed("1"),  # type: ignore[arg-type]
        Fixed(1.5),  # type: ignore[arg-type]
        Linear(5, None),  # type: ignore[arg-type]
        Named(7),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_what_no_record_could_hold_is_refused_before_it_is_written(given: Any) -> None:
    for refuse in (checked, to_document):
        with pytest.raises(InvalidInput) as refused:
            refuse(given)
        assert refused.value.field == "backoff"


@pytest.mark.parametrize("given", [Fixed(-1), Fixed(True), Linear(1, 2**53), Exponential(-1)], ids=repr)
def test_amounts_out_of_range_are_refused(given: Backoff) -> None:
    with pytest.raises(InvalidInput):
        checked(given)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (True, Fixed(3_000)),
        ({}, Fixed(3_000)),
        ({"delay": 60_000, "type": "fixed"}, Fixed(60_000)),
        ({"delay": 0}, Fixed(0)),
        ({"delay": None, "type": "exponential"}, Exponential(6_000, cap_ms=MONTH_MS)),
        ("mine", Named("mine")),
        (Linear(5), Linear(5)),
    ],
    ids=repr,
)
def test_kues_forms(asked: Any, meant: Backoff) -> None:
    assert backoff_from(asked, 3_000) == meant


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (False, "a Backoff, True, a dict with delay and type, or the name of a function"),
        (7, "a Backoff, True, a dict with delay and type, or the name of a function"),
        ({"delay": -1}, "a delay of whole milliseconds, 0 to 2592000000"),
        ({"delay": MONTH_MS + 1}, "a delay of whole milliseconds, 0 to 2592000000"),
        ({"delay": True}, "a delay of whole milliseconds, 0 to 2592000000"),
        ({"type": "linear"}, "the type fixed or exponential"),
        ({"type": ["fixed"]}, "the type fixed or exponential"),
        (Fixed(1.5), "Fixed, Linear or Exponential with whole milliseconds from 0, or Named"),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_any_other_wish_is_refused(asked: Any, expected: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        backoff_from(asked, 3_000)
    assert (refused.value.field, refused.value.expected) == ("backoff", expected)


def test_an_unknown_name_in_a_wish_is_refused_with_the_one_meant() -> None:
    with pytest.raises(InvalidInput) as refused:
        backoff_from({"dealy": 1}, 3_000)
    assert (refused.value.field, refused.value.expected, refused.value.got) == ("backoff.dealy", "delay", "dealy")

"""When the clock looks after a job that waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.decisions import REQUEUES_MAX
from chalicelib.core.waking import aside_ms, beyond_sqs, requeue_wait_ms, wake_for_return, wake_for_send, wake_for_wait

NOW_MS = 1_750_000_000_000
MINUTE_MS = 60_000


@pytest.mark.parametrize(("due_in_ms", "beyond"), [(-1, False), (0, False), (900_000, False), (900_001, True)])
def test_sqs_delays_at_most_15_minutes(due_in_ms: int, beyond: bool) -> None:
    assert beyond_sqs(NOW_MS + due_in_ms, NOW_MS) is beyond


@pytest.mark.parametrize(
    ("due_in_ms", "wake_in_ms"),
    [(-5_000, 20_000), (0, 20_000), (900_000, 20_000), (900_001, 180_001), (3_600_000, 2_880_000)],
)
def test_an_unsent_job_is_sent_after_20_seconds_or_12_minutes_before_a_far_off_start(
    due_in_ms: int, wake_in_ms: int
) -> None:
    assert wake_for_send(NOW_MS + due_in_ms, NOW_MS) == NOW_MS + wake_in_ms


@given(st.integers(900_001, 10**11))
def test_a_far_off_start_is_handed_over_while_sqs_can_still_delay_it(due_in_ms: int) -> None:
    """The clock ticks every minute, so the hand-over may come a minute late."""
    wake_ms = wake_for_send(NOW_MS + due_in_ms, NOW_MS)
    assert wake_ms > NOW_MS
    assert not beyond_sqs(NOW_MS + due_in_ms, wake_ms)
    assert wake_ms + MINUTE_MS < NOW_MS + due_in_ms


@pytest.mark.parametrize(("due_in_ms", "wake_in_ms"), [(-5_000, 90_000), (0, 90_000), (60_000, 150_000)])
def test_a_hidden_message_has_90_seconds_to_come_back(due_in_ms: int, wake_in_ms: int) -> None:
    assert wake_for_return(NOW_MS + due_in_ms, NOW_MS) == NOW_MS + wake_in_ms


@pytest.mark.parametrize(
    ("age_ms", "wake_in_ms"),
    [
        (0, 60_000),
        (59_999, 60_000),
        (60_001, 60_001),
        (3_599_999, 3_599_999),
        (3_600_001, 3_600_000),
        (10**9, 3_600_000),
    ],
)
def test_a_waiting_child_is_looked_at_as_late_again_as_it_is_old(age_ms: int, wake_in_ms: int) -> None:
    assert wake_for_wait(NOW_MS - age_ms, NOW_MS) == NOW_MS + wake_in_ms


@given(st.integers(1, 10**6))
def test_what_the_clock_cannot_do_rests_ever_longer_up_to_an_hour(times: int) -> None:
    assert aside_ms(1) == MINUTE_MS
    assert MINUTE_MS <= aside_ms(times) <= aside_ms(times + 1) <= min(2 * aside_ms(times), 60 * MINUTE_MS)
    assert aside_ms(times) == 60 * MINUTE_MS or times <= 6


def test_the_laps_from_the_dead_letter_queue() -> None:
    """2, 4, 8, 15, 15 minutes: 44 minutes until a job counts as never started."""
    waits = [requeue_wait_ms(requeue) for requeue in range(1, REQUEUES_MAX + 1)]
    assert [wait / MINUTE_MS for wait in waits] == [2, 4, 8, 15, 15]
    assert not any(beyond_sqs(NOW_MS + wait, NOW_MS) for wait in waits)

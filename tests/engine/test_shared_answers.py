"""Answers that many ask for at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from chalicelib.engine.shared_answers import KEPT_MAX, SharedAnswers
from chalicelib.testing.clock import MovableClock

CLOCK = MovableClock()


class Work:
    """Counts how often it was done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return self.times


def test_an_answer_is_given_to_all_who_ask_within_a_second_of_its_end() -> None:
    clock, work = MovableClock(), Work()
    shared = SharedAnswers()

    def slowly() -> int:
        clock.move(3_000)
        return work()

    assert [shared.get("a", slowly, clock), shared.get("a", slowly, clock)] == [1, 1]
    assert shared.get("b", work, clock) == 2
    clock.move(999)
    assert shared.get("a", work, clock) == 1
    clock.move(1)
    assert shared.get("a", work, clock) == 3
    assert SharedAnswers(fresh_ms=0).get("a", work, clock) == 4


def test_who_comes_while_it_is_worked_out_waits_for_it() -> None:
    work, began, may_end = Work(), Event(), Event()
    shared = SharedAnswers()

    def slowly() -> int:
        began.set()
        assert may_end.wait(10)
        return work()

    with ThreadPoolExecutor(4) as viewers:
        first = viewers.submit(shared.get, "a", slowly, CLOCK)
        assert began.wait(10)
        others = [viewers.submit(shared.get, "a", work, CLOCK) for _ in range(3)]
        assert shared.get("b", work, CLOCK) == 1  # of another question nobody waits
        may_end.set()
        assert [each.result(10) for each in (first, *others)] == [2, 2, 2, 2]


def test_an_error_is_told_and_not_kept() -> None:
    shared = SharedAnswers()
    with pytest.raises(ZeroDivisionError):
        shared.get("a", lambda: 1 // 0, CLOCK)
    assert shared.get("a", lambda: 5, CLOCK) == 5


def test_so_many_are_kept_and_those_asked_for_longest_ago_go() -> None:
    work = Work()
    shared = SharedAnswers()
    for asked in range(KEPT_MAX):
        shared.get(asked, work, CLOCK)
    assert shared.get(0, work, CLOCK) == 1
    shared.get("one more", work, CLOCK)
    assert (shared.get(0, work, CLOCK), shared.get(1, work, CLOCK)) == (1, KEPT_MAX + 2)

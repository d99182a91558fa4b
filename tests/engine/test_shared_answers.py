"""Returns that many ask for at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from chalicelib.engine.shared_answers import KEPT_MAX, SharedAnswers
from chalicelib.testing.clock import MovableClock
from tests.support.waiting import DEADLINE_S

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
        assert may_end.wait(DEADLINE_S)
        return work()

    with ThreadPoolExecutor(4) as viewers:
        first = viewers.submit(shared.get, "a", slowly, CLOCK)
        assert began.wait(DEADLINE_S)
        others = [viewers.submit(shared.get, "a", work, CLOCK) for _ in range(3)]
        assert shared.get("b", work, CLOCK) == 1  # of another question nobody waits
        may_end.set()
        assert [each.result(DEADLINE_S) for each in (first, *others)] == [2, 2, 2, 2]


def test_an_error_is_told_and_not_kept() -> None:
    shared = SharedAnswers()
    with pytest.raises(ZeroDivisionError):
        shared.get("a", lambda: 1 // 0, CLOCK)
    assert shared.get("a", lambda: 5, CLOCK) == 5


def test_an_error_is_told_to_all_who_waited() -> None:
    began, may_end = Event(), Event()
    shared = SharedAnswers()

    def fails() -> int:
        began.set()
        assert may_end.wait(DEADLINE_S)
        raise ConnectionError("AWS is away")

    with ThreadPoolExecutor(3) as viewers:
        first = viewers.submit(shared.get, "a", fails, CLOCK)
        assert began.wait(DEADLINE_S)
        second = viewers.submit(waits, shared, may_end)
        assert isinstance(first.exception(10), ConnectionError)
        assert second.exception(10) is first.exception()
    assert shared.get("a", lambda: 5, CLOCK) == 5


def waits(shared: SharedAnswers, let_end: Event) -> int:
    """Asks for what is being worked out, and lets that end once it is known to be waited for."""
    answer, is_new = shared._answer_to("a", CLOCK())
    assert not is_new
    let_end.set()
    return int(answer.coming.result(DEADLINE_S))


def test_so_many_are_kept_and_those_asked_for_longest_ago_go() -> None:
    work = Work()
    shared = SharedAnswers()
    for asked in range(KEPT_MAX):
        shared.get(asked, work, CLOCK)
    assert shared.get(0, work, CLOCK) == 1
    shared.get("one more", work, CLOCK)
    assert (shared.get(0, work, CLOCK), shared.get(1, work, CLOCK)) == (1, KEPT_MAX + 2)

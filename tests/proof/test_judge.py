"""The judge finds what is broken: of the rules that nothing else puts to the test."""

from __future__ import annotations

from tests.proof.history import ABSENT, Accepted, Ending, History, Run, Told
from tests.proof.judge import verdict


def judged(history: History) -> list[str]:
    """What is broken where job 1 ended well in its one attempt, and job 2 was deleted."""
    history.accepted[1] = Accepted(1, "t")
    history.runs.append(Run(1, 1, "", "t", None, 0, "w", 10, 0, 20, "ok", slot=("nightly", 5)))
    return verdict(history, Ending({1: ("success", 1)}, {1: 1}), {}, calm=True)


def test_an_accepted_job_that_nobody_knew_for_a_while() -> None:
    told = [Told(1, ABSENT, None, 3, 4), Told(2, ABSENT, None, 3, 4)]
    assert judged(History(told=told, deleted={2})) == ["I7: 1 was accepted, and 3 ms since 1970 nobody knew it"]


def test_a_slot_that_never_ran() -> None:
    assert judged(History(slots={("nightly", 5)})) == []
    assert judged(History(slots={("nightly", 5), ("nightly", 6)})) == ["I6: the slot ('nightly', 6) never ran"]


def test_events_that_came_in_order_to_the_end() -> None:
    assert judged(History(events={1: ["1-01-create", "1-01-enqueue", "1-02-start", "1-03-complete"]})) == []


def test_events_out_of_order_and_an_end_of_which_nobody_was_told() -> None:
    (broken,) = judged(History(events={1: ["1-02-start", "1-01-create", "1-03-complete"]}))
    assert broken.startswith("of 1, a webhook was told out of order")
    (broken,) = judged(History(events={1: ["1-01-create", "1-02-failed-attempt"]}))
    assert broken.startswith("1 is success, and a webhook was not told of it: ['1-01-create'")
    assert judged(History(events={1: []})) == ["1 is success, and a webhook was not told of it: []"]

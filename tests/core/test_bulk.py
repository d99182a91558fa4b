"""Acts in bulk, by rule: which jobs belong to one, what is done already, and what it says that it will do."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.core.bulk import STATES_OF, BulkAct, belongs, is_so_already, sentence
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import Event, TraceEvent

START_MS = 1_000


def job(state: State, created_at_ms: int = 10, **fields: Any) -> Job:
    events = fields.pop("events", ())
    at_ms = fields.pop("at_ms", 20)
    given = {
        "id": 1,
        "uid": "u",
        "kind": Kind.TASK,
        "type": "t",
        "queue": "q",
        "trace_id": "x",
        "state": state,
        "created_at_ms": created_at_ms,
        "updated_at_ms": at_ms,
        "completed_at_ms": at_ms if state.terminal else None,
        "trace": tuple(TraceEvent(event, happened_ms).to_line() for event, happened_ms in events),
    }
    return Job(**{**given, **fields})


@pytest.mark.parametrize("act", BulkAct)
@pytest.mark.parametrize("state", State)
def test_it_is_for_jobs_in_its_states_that_were_so_at_its_start(act: BulkAct, state: State) -> None:
    suits = state in STATES_OF[act]
    assert belongs(act, job(state), START_MS) is suits
    assert not belongs(act, job(state, created_at_ms=START_MS), START_MS)
    if state.terminal:
        assert not belongs(act, job(state, at_ms=START_MS), START_MS)
        replayed = job(State.FAILED, replayed_at_ms=30)
        assert belongs(act, replayed, START_MS) is (act is BulkAct.DELETE)


@pytest.mark.parametrize(
    ("events", "act", "expected"),
    [
        ([(Event.PUBLISHED, 10), (Event.STARTED, 2_000)], BulkAct.CANCEL, True),  # was pending
        ([(Event.PUBLISHED, 10), (Event.STARTED, 20), (Event.FAILED, 2_000)], BulkAct.PROMOTE, False),  # was running
        ([(Event.PUBLISHED, 10), (Event.STARTED, 20), (Event.FAILED, 30)], BulkAct.PROMOTE, True),
        ([(Event.STARTED, 2_000)], BulkAct.CANCEL, False),  # what was before is not told any more
    ],
)
def test_what_has_moved_since_is_judged_by_its_events(
    events: list[tuple[Event, int]], act: BulkAct, expected: bool
) -> None:
    state = State.RUNNING if events[-1][0] is Event.STARTED else State.PENDING
    assert belongs(act, job(state, events=events, at_ms=2_000), START_MS) is expected


@pytest.mark.parametrize(
    ("act", "found", "expected"),
    [
        (BulkAct.DELETE, None, True),
        (BulkAct.RETRY, None, False),
        (BulkAct.CANCEL, job(State.CANCELED), True),
        (BulkAct.CANCEL, job(State.SUCCESS), False),
        (BulkAct.RETRY, job(State.PENDING), True),
        (BulkAct.RETRY, job(State.FAILED), True),  # again, since
        (BulkAct.RETRY, job(State.FAILED, replayed_at_ms=30), False),
        (BulkAct.RETRY, job(State.CANCELED), False),
        (BulkAct.REPLAY, job(State.FAILED, replayed_at_ms=30), True),
        (BulkAct.REPLAY, job(State.PENDING), False),
        (BulkAct.PROMOTE, job(State.RUNNING), True),
        (BulkAct.PROMOTE, job(State.PENDING, due_at_ms=START_MS + 1), False),
        (BulkAct.PROMOTE, job(State.CANCELED), False),
        (BulkAct.DELETE, job(State.PENDING), False),
    ],
)
def test_what_is_so_already_counts_as_done(act: BulkAct, found: Job | None, expected: bool) -> None:
    assert is_so_already(act, found, START_MS) is expected


@pytest.mark.parametrize(
    ("by_type", "exact", "expected"),
    [
        ({}, True, "There is no job here that this could retry."),
        ({(Kind.TASK, "a"): 1}, True, "This will retry 1 task of the type a."),
        ({(Kind.MESSAGE, "a"): 2}, True, "This will retry 2 messages of the type a."),
        ({(Kind.TASK, "a"): 300, (Kind.TASK, "b"): 12}, True, "This will retry 312 tasks of 2 types."),
        (
            {(Kind.TASK, "a"): 10_000, (Kind.MESSAGE, "b"): 1},
            False,
            "This will retry more than 10,001 jobs of 2 types.",
        ),
    ],
)
def test_it_says_what_it_will_do(by_type: dict[tuple[Kind, str], int], exact: bool, expected: str) -> None:
    assert sentence(BulkAct.RETRY, by_type, exact=exact) == expected


def test_what_is_named_and_does_not_suit_is_said() -> None:
    told = sentence(BulkAct.RETRY, {(Kind.TASK, "t"): 2}, exact=True, unsuited=1)
    assert told == "This will retry 2 tasks of the type t. 1 of 3 are in no state for it, or gone."
    none = sentence(BulkAct.RETRY, {}, exact=True, unsuited=1)
    assert none == "There is no job here that this could retry. 1 of 1 are in no state for it, or gone."

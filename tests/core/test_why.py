"""Why a job is not running, as a rule: whatever stands in a record, there is one reason, and it fits the state."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.flow import Rate
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.reasons import (
    IN_LANE,
    IN_LINE,
    Code,
    Facts,
    LaneState,
    PauseInForce,
    Place,
    Slots,
    Target,
    Tokens,
)
from chalicelib.core.states import State
from chalicelib.core.why import awaits_turn, why
from tests.core.test_job import PLAIN, jobs, times

NOW_MS = PLAIN.due_at_ms
FEW = settings(max_examples=25)
PENDING = {
    *{Code.NOT_DUE, Code.BACKING_OFF, Code.POLLS_AGAIN, Code.APPLICATION_RESTS, Code.REQUEUED},
    *{Code.WAITS_FOR_PARENT, Code.MANUAL, Code.WAITS_FOR_CLIENT},
    *{Code.PAUSED, Code.NO_HANDLER, Code.LIMIT_REACHED, Code.PREVIOUS_RUN},
    *{Code.BEHIND_FAILED, Code.NOT_ITS_TURN, Code.KEY_LIMIT_REACHED, Code.RATE_REACHED},
    *{Code.NOT_SENT, Code.NO_LANE, Code.ON_ITS_WAY, Code.LIGHT, Code.FINISHING},
}
REASONS_OF = {
    State.PENDING: PENDING,
    State.RUNNING: {Code.RUNNING, Code.LOCKED, Code.TAKEN, Code.LEASE_ENDED},
    State.WAITING: {Code.PARKED},
    State.SUCCESS: {Code.SUCCEEDED},
    State.FAILED: {Code.FAILED, Code.ATTEMPTS_USED_UP, Code.REPLAYED},
    State.CANCELED: {Code.CANCELED, Code.SUPERSEDED},
}
STARTS = {
    *{Code.NOT_DUE, Code.BACKING_OFF, Code.POLLS_AGAIN, Code.APPLICATION_RESTS, Code.REQUEUED, Code.NOT_SENT},
    Code.RATE_REACHED,
}

others = st.sampled_from([None, Tombstone(7), *(replace(PLAIN, state=state) for state in State)])
maybe_times = st.none() | times
slots = st.builds(
    Slots,
    limit=st.none() | st.integers(1, 1_000),
    taken=st.integers(0, 1_000),
    holders=st.lists(st.integers(1, 1_000), max_size=7).map(tuple),
    set_at_ms=maybe_times,
)
tokens = st.builds(Tokens, st.builds(Rate, st.integers(1, 9)), st.booleans(), times, maybe_times)
facts = st.builds(
    Facts,
    handled=st.booleans(),
    light=st.booleans(),
    timeout_ms=st.none() | st.integers(0, 10**9),
    parent=others,
    pause=st.none() | st.builds(PauseInForce, st.sampled_from(Target), times, st.booleans()),
    slots=slots,
    key_slots=slots,
    tokens=st.lists(tokens, max_size=2).map(tuple),
    ahead=others,
    disabled=st.booleans(),
    place=st.none() | st.builds(Place, st.integers(0, 100), st.booleans()),
    lane=st.none() | st.builds(LaneState, st.builds(Lane, st.text(), st.sampled_from(Band)), st.none() | times),
)


def test_every_reason_belongs_to_one_state() -> None:
    assert sorted([code for codes in REASONS_OF.values() for code in codes] + [Code.DELETED]) == sorted(Code)


@given(jobs, facts, times)
def test_there_is_a_reason_and_it_fits_the_state(job: Job, known: Facts, now_ms: int) -> None:
    reason = why(job, known, now_ms)
    assert reason == why(job, known, now_ms)
    assert reason.code in REASONS_OF[job.state]
    assert len(reason.sentence.splitlines()) == 1
    assert re.match("[A-Z]", reason.sentence)
    assert reason.sentence.endswith(".")
    assert json.loads(json.dumps(reason.details)) == reason.details
    assert (reason.details["kind"], reason.details["type"]) == (job.kind, job.type)
    assert (reason.expected_start_ms is not None) == (reason.code in STARTS)


@FEW
@given(jobs, facts, times)
def test_what_is_known_besides_matters_only_to_who_waits(job: Job, known: Facts, now_ms: int) -> None:
    """Where the record says it all, nothing need be read."""
    without = replace(Facts(), handled=known.handled, timeout_ms=known.timeout_ms)
    if job.state is not State.PENDING or not (awaits_turn(job, now_ms) or job.blocked or job.delivers):
        assert why(job, known, now_ms) == why(job, without, now_ms)


@FEW
@given(jobs, facts, times, st.integers(0, 100), st.integers(0, 500))
def test_a_further_look_adds_to_a_reason_and_makes_no_other(
    job: Job, known: Facts, now_ms: int, before: int, depth: int
) -> None:
    first = why(job, replace(known, place=None, lane=None), now_ms)
    further = replace(known, place=Place(before), lane=LaneState(Lane("q", Band.LOW), depth))
    assert why(job, further, now_ms).code is first.code
    of_itself = {"comesBackAt", "beforeAtMost"} & set(first.details)  # it does not stand there, or this is known
    if first.code in IN_LINE | IN_LANE and not of_itself:
        assert len(why(job, further, now_ms).sentence) > len(first.sentence)


@FEW
@given(jobs, facts)
def test_who_is_paused_starts_not_before_the_pause_is_over(job: Job, known: Facts) -> None:
    paused = replace(known, pause=PauseInForce(Target.TYPE, NOW_MS))
    free = {"slot": False, "key_slot": False}  # who held one would wait for the run before
    due = replace(job, state=State.PENDING, blocked=False, runner=PLAIN.runner, due_at_ms=0, **free)
    assert why(due, paused, NOW_MS).code is Code.PAUSED


def test_a_command_that_is_proposed_does_only_that() -> None:
    job = replace(PLAIN, type="t; rm -rf .")
    reason = why(job, Facts(pause=PauseInForce(Target.TYPE, NOW_MS)), NOW_MS)
    assert reason.remedy == "`taskyard resume 't; rm -rf .'`"

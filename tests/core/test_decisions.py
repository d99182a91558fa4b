"""What follows from what happened: deliveries and ends of attempts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core import decisions
from chalicelib.core.causes import Cause
from chalicelib.core.decisions import (
    Abandoned,
    Ack,
    Claim,
    DeadLetter,
    Failed,
    Finish,
    Nack,
    Own,
    Record,
    Retry,
    Succeeded,
    TakeOver,
    Verdict,
    after_attempt,
    on_delivery,
    wait_before,
)
from chalicelib.core.job import MANUAL, SYSTEM, Job, JobError, Tombstone
from chalicelib.core.retry import DELAY_MAX_MS, Exponential, Fixed, Linear, Named
from chalicelib.core.states import Kind, State

NOW_MS = 1_750_000_000_000
MINUTE_MS = 60_000
MINE, THEIRS = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"
ERROR = JobError("ValueError", "no")
USED_UP = DeadLetter(Cause.ATTEMPTS_USED_UP, ERROR)

ENVELOPE = Job(
    id=7,
    uid="0123456789abcdef",
    kind=Kind.TASK,
    type="work",
    queue="default",
    created_at_ms=NOW_MS - 5_000,
    trace_id="00000000-0000-8380-8000-000000000000",
    delivery=2,
    due_at_ms=NOW_MS,
)


# -- a delivery meets the ledger ----------------------------------------------------------------------


class Case(NamedTuple):
    """What may stand on the ledger when a message of delivery 2 arrives, tried with the lease ``MINE``."""

    state: State
    same_uid: bool
    delivery: int
    lease: str | None
    lease_left_ms: int
    due_in_ms: int
    attempts: int  # of 3
    travels: str  # "yes", "held" or "manual"
    trace_length: int

    def record(self) -> Job:
        return replace(
            ENVELOPE,
            state=self.state,
            uid=ENVELOPE.uid if self.same_uid else "ffffffffffffffff",
            delivery=self.delivery,
            lease=self.lease,
            lease_until_ms=NOW_MS + self.lease_left_ms,
            due_at_ms=NOW_MS + self.due_in_ms,
            attempts=self.attempts,
            blocked=self.travels == "held",
            runner=MANUAL if self.travels == "manual" else SYSTEM,
            trace=tuple(f"{at_ms} requeued" for at_ms in range(self.trace_length)),
        )


CASES = [
    Case(*values)
    for values in itertools.product(
        State,
        (True, False),
        (1, 2, 3),
        (None, MINE, THEIRS),
        (-1, 0, 1, 30_000),
        (-1, 0, 1),
        (2, 3, 4),
        ("yes", "held", "manual"),
        (1, 20),
    )
]


def expected(case: Case) -> Verdict:
    """The rules of the design, each in its own words, in the order of their weight."""
    record = case.record()
    if not case.same_uid:
        return Ack("another job has this id")
    if case.state is State.RUNNING and case.lease == MINE:
        return Own(record)
    if case.delivery == 3:
        return Ack("superseded by a newer delivery")
    if case.delivery == 1:
        return Nack(90_000, "ahead of the ledger")
    match case.state:
        case State.SUCCESS | State.FAILED | State.CANCELED:
            return Ack(f"already {case.state.value}")
        case State.WAITING:
            return Ack("parked until it is called back")
        case State.RUNNING if case.lease_left_ms >= 0:
            return Nack(case.lease_left_ms + 1_000, "leased")
        case State.RUNNING:
            return TakeOver(record) if case.attempts < 3 else Abandoned(record)
    if case.travels != "yes":
        return Ack("waits for its parent, or for a person")
    if case.due_in_ms > 0:
        return Nack(case.due_in_ms, "not due")
    if case.attempts >= 3:
        return Abandoned(record)
    return Claim(record if case.trace_length == 20 else None)


def test_every_combination_of_a_record_and_a_delivery() -> None:
    wrong = [case for case in CASES if on_delivery(case.record(), ENVELOPE, NOW_MS, MINE) != expected(case)]
    assert wrong == []


def test_the_combinations_meet_every_verdict() -> None:
    met = {type(expected(case)) for case in CASES}
    assert met == {Claim, TakeOver, Own, Abandoned, Ack, Nack}
    assert len(CASES) == 6 * 2 * 3 * 3 * 4 * 3 * 3 * 3 * 2


@pytest.mark.parametrize(
    ("due_in_ms", "verdict"),
    [(-1, Record()), (0, Record()), (1, Nack(1, "not due")), (900_000, Nack(900_000, "not due"))],
)
def test_without_a_record_the_envelope_makes_one_once_it_is_due(due_in_ms: int, verdict: Verdict) -> None:
    assert on_delivery(None, replace(ENVELOPE, due_at_ms=NOW_MS + due_in_ms), NOW_MS, MINE) == verdict


@pytest.mark.parametrize("due_in_ms", [-1, 0, 900_000])
@pytest.mark.parametrize("delivery", [1, 2, 9])
def test_a_tombstone_ends_every_delivery(due_in_ms: int, delivery: int) -> None:
    envelope = replace(ENVELOPE, due_at_ms=NOW_MS + due_in_ms, delivery=delivery)
    assert on_delivery(Tombstone(7), envelope, NOW_MS, MINE) == Ack("deleted")


@given(st.sampled_from(CASES), st.integers(-(10**7), 10**7))
def test_only_a_free_or_an_abandoned_job_may_be_run(case: Case, drift_ms: int) -> None:
    record, now_ms = case.record(), NOW_MS + drift_ms
    verdict = on_delivery(record, ENVELOPE, now_ms, MINE)
    if isinstance(verdict, Claim | TakeOver):
        assert record.uid == ENVELOPE.uid
        assert record.delivery == ENVELOPE.delivery
        assert record.attempts < record.attempt_limit
        assert (record.state, isinstance(verdict, TakeOver)) in ((State.PENDING, False), (State.RUNNING, True))
        assert record.state is State.PENDING or (record.lease_until_ms or 0) < now_ms
        assert record.state is State.RUNNING or (record.due_at_ms <= now_ms and record.travels)
    if isinstance(verdict, Nack):
        assert (verdict.delay_ms or 0) > 0


@given(st.sampled_from(CASES))
def test_a_message_is_dropped_only_if_another_or_nobody_shall_run_the_job(case: Case) -> None:
    """I1: what is dropped is gone, so the ledger must know of somebody else, or of an end."""
    record = case.record()
    if isinstance(on_delivery(record, ENVELOPE, NOW_MS, MINE), Ack):
        assert (
            record.uid != ENVELOPE.uid
            or record.delivery > ENVELOPE.delivery
            or record.state.terminal
            or record.state is State.WAITING
            or not record.travels
        )


def test_a_hidden_message_comes_back_after_the_lease_and_takes_over_then() -> None:
    leased = replace(ENVELOPE, state=State.RUNNING, lease=THEIRS, lease_until_ms=NOW_MS + 60_000, attempts=1)
    verdict = on_delivery(leased, ENVELOPE, NOW_MS, MINE)
    assert verdict == Nack(61_000, "leased")
    assert on_delivery(leased, ENVELOPE, NOW_MS + 61_000, MINE) == TakeOver(leased)


def test_a_record_whose_lease_has_no_end_is_abandoned() -> None:
    leased = replace(ENVELOPE, state=State.RUNNING, lease=THEIRS, lease_until_ms=None, attempts=1)
    assert on_delivery(leased, ENVELOPE, NOW_MS, MINE) == TakeOver(leased)


def test_a_slot_that_an_ended_run_still_holds_is_waited_for_then_taken_over() -> None:
    retried = replace(ENVELOPE, limited=True, slot=True, lease=THEIRS, attempts=1, trace=("1 published",))

    def verdict(lease_left_ms: int) -> Verdict:
        record = replace(retried, lease_until_ms=NOW_MS + lease_left_ms)
        return on_delivery(record, replace(ENVELOPE, limited=True), NOW_MS, MINE)

    assert verdict(30_000) == Nack(31_000, "its run before goes on")
    assert verdict(0) == Nack(1_000, "its run before goes on")
    assert verdict(-1) == Claim(crowded=replace(retried, lease_until_ms=NOW_MS - 1))
    free = replace(retried, slot=False, lease_until_ms=None)
    assert on_delivery(free, replace(ENVELOPE, limited=True), NOW_MS, MINE) == Claim()


# -- an attempt ends ----------------------------------------------------------------------------------


def running(attempts: int, max_attempts: int = 3, retried_at: int = 0) -> Job:
    """A job in its attempt ``attempts``; ``retried_at`` attempts had been made when a person retried it."""
    return replace(
        ENVELOPE,
        state=State.RUNNING,
        attempts=attempts,
        max_attempts=max_attempts,
        attempt_limit=retried_at + max_attempts,
    )


def no_wait(_retry: int) -> int:
    raise AssertionError("no backoff is asked for")


@pytest.mark.parametrize("output", [None, "null", '{"rows":3}'])
@pytest.mark.parametrize("attempts", [1, 3])
def test_success_is_recorded_whichever_attempt_it_was(output: str | None, attempts: int) -> None:
    assert after_attempt(running(attempts), Succeeded(output), NOW_MS, no_wait) == Finish(output)


def test_with_three_attempts_the_third_failure_is_the_last() -> None:
    """fastify-mq: maxRetries counts deliveries."""
    settled = [after_attempt(running(attempt), Failed(ERROR), NOW_MS, lambda retry: retry) for attempt in (1, 2, 3)]
    assert settled == [
        Retry(ERROR, NOW_MS + 1, False),
        Retry(ERROR, NOW_MS + 2, False),
        USED_UP,
    ]


def test_a_single_attempt_is_never_repeated() -> None:
    assert after_attempt(running(1, max_attempts=1), Failed(ERROR), NOW_MS, no_wait) == DeadLetter(
        Cause.ATTEMPTS_USED_UP, ERROR
    )


def test_a_final_failure_is_the_last_whatever_is_left() -> None:
    assert after_attempt(running(1), Failed(ERROR, final=True), NOW_MS, no_wait) == DeadLetter(Cause.REJECTED, ERROR)


def test_after_an_explicit_retry_attempts_and_backoff_begin_anew() -> None:
    settled = [
        after_attempt(running(attempt, retried_at=3), Failed(ERROR), NOW_MS, Exponential(1_000).wait_ms)
        for attempt in (4, 5, 6)
    ]
    assert settled == [
        Retry(ERROR, NOW_MS + 1_000, False),
        Retry(ERROR, NOW_MS + 2_000, False),
        USED_UP,
    ]


@pytest.mark.parametrize(
    ("wait_ms", "resend"), [(0, False), (60_000, False), (900_000, False), (900_001, True), (DELAY_MAX_MS, True)]
)
def test_a_wait_beyond_15_minutes_needs_a_new_message(wait_ms: int, resend: bool) -> None:
    retry = after_attempt(running(1), Failed(ERROR), NOW_MS, lambda _retry: wait_ms)
    assert retry == Retry(ERROR, NOW_MS + wait_ms, resend)


def test_a_retry_remembers_which_subscribers_have_succeeded() -> None:
    outcome = Failed(ERROR, succeeded_subscribers=("tasks.one", "tasks.two"))
    retry = after_attempt(running(1), outcome, NOW_MS, lambda _retry: 5)
    assert retry == Retry(ERROR, NOW_MS + 5, False, ("tasks.one", "tasks.two"))


@given(
    attempts=st.integers(1, 100), max_attempts=st.integers(1, 100), final=st.booleans(), wait_ms=st.integers(0, 10**10)
)
def test_a_failure_is_buried_exactly_when_no_attempt_is_left(
    attempts: int, max_attempts: int, final: bool, wait_ms: int
) -> None:
    job = running(attempts, max_attempts)
    settled = after_attempt(job, Failed(ERROR, final), NOW_MS, lambda _retry: wait_ms)
    assert isinstance(settled, DeadLetter) is (final or attempts >= max_attempts)
    if isinstance(settled, Retry):
        assert settled.due_at_ms == NOW_MS + wait_ms


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Fixed(200), [200, 200, 200]),
        (Linear(5_000), [5_000, 10_000, 15_000]),
        (Exponential(1_000, 3_000), [1_000, 2_000, 3_000]),
    ],
)
def test_a_stored_backoff_asks_for_no_function(backoff: Fixed | Linear | Exponential, waits: list[int]) -> None:
    def functions(_name: str) -> None:
        raise AssertionError("no function is asked for")

    wait_ms = wait_before(backoff, functions)  # type: ignore[arg-type]
    assert [wait_ms(retry) for retry in (1, 2, 3)] == waits


def test_a_named_backoff_is_the_function_of_that_name_within_bounds() -> None:
    functions = {"mine": lambda retry: {1: -5, 2: 1.9, 3: 10**12}[retry]}
    wait_ms = wait_before(Named("mine"), functions.__getitem__)
    assert [wait_ms(retry) for retry in (1, 2, 3)] == [0, 1, DELAY_MAX_MS]


def test_an_unknown_name_is_found_out_before_any_wait() -> None:
    with pytest.raises(KeyError):
        wait_before(Named("gone"), {}.__getitem__)


def test_the_last_words_name_what_happened() -> None:
    assert decisions.NEVER_STARTED.type == "NeverStarted"
    assert "5 times" in decisions.NEVER_STARTED.message
    assert decisions.ATTEMPTS_USED_UP.type == "LeaseLost"

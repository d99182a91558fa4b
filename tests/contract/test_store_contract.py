"""The ledger's contract: each transition sets exactly its own fields, and each of its clauses refuses by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chalicelib.core.job import MANUAL, Job, JobError, Progress, Tombstone
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import TRACE_MAX_EVENTS, Event, TraceEvent
from chalicelib.engine.yard import Yard
from chalicelib.store.jobs import BODY_PART, JobRefused, Lease, StoredOutput, decoded, state_key
from chalicelib.store.table import Change, Clause, Refused, TransactionRefused
from tests.support.backends import Ground
from tests.support.ledger import (
    BIRTH,
    Membership,
    difference,
    job_of,
    labels,
    lines,
    membership,
    parts_of,
    place,
    stored,
    wake,
)
from tests.support.waiting import becomes

OLD, NEW, OTHER = "0ld0ld0ld0ld0ld0", "new1new1new1new1", "0ther0ther0ther0"
ERROR = JobError("ValueError", "no good", "orders.py:7 charge")
RUNNING: dict[str, Any] = {"state": State.RUNNING, "lease": OLD, "attempts": 1, "worker": "w-1"}
SECOND_MS = 1_000
LEASE_MS = 60_000

Fields = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One transition, from where it starts to what it leaves behind.

    Functions take the time in ms; ``refusals`` maps each clause to the fields that make it, and it alone, fail.
    """

    name: str
    start: Callable[[int], Fields]
    act: Callable[[Yard, Job, int], Any]
    sets: Callable[[Yard, Job, int], Fields]
    refusals: Callable[[int], Mapping[str, Fields]]
    label: str
    wake_in_ms: int | None = None
    answers: bool = field(default=True)  # whether it answers the record as it then is


def lease_at(now_ms: int, **more: Any) -> Lease:
    return Lease(NEW, now_ms + LEASE_MS, "w-2", **more)


def told(job: Job, *events: TraceEvent) -> list[str]:
    return [*job.trace, *(event.to_line() for event in events)]


def not_in(*states: State, more: Fields | None = None) -> dict[str, Fields]:
    """Every other state, as the fields that break the clause on the state."""
    return {f"is {state}": {"state": state, **(more or {})} for state in State if state not in states}


def running(now_ms: int, **more: Any) -> dict[str, Any]:
    return {**RUNNING, "lease_until_ms": now_ms + LEASE_MS, "started_at_ms": now_ms - SECOND_MS, **more}


def abandoned(now_ms: int, **more: Any) -> dict[str, Any]:
    return running(now_ms, lease_until_ms=now_ms - 1, **more)


def claimed(yard: Yard, job: Job, now_ms: int) -> dict[str, Any]:
    """What every claim sets."""
    return {
        **labels(yard, job, "running"),
        "state": "running",
        "updated_at_ms": now_ms,
        "started_at_ms": now_ms,
        "lease": NEW,
        "lease_until_ms": now_ms + LEASE_MS,
        "worker": "w-2",
        "attempts": job.attempts + 1,
    }


def moved(yard: Yard, job: Job, state: State, now_ms: int, *events: TraceEvent) -> dict[str, Any]:
    """What every move out of an attempt sets."""
    return {
        **labels(yard, job, state.value),
        "state": state.value,
        "updated_at_ms": now_ms,
        **({"lease_until_ms": None} if job.lease_until_ms is not None else {}),
        **({"trace": told(job, *events)} if events else {}),
    }


POLLED = {"source": "some-lane", "receipt": "some-handle"}
UNPOLLED = {"source": None, "receipt": None}

CASES = [
    Case(
        name="claim",
        start=lambda now: {"wake_at_ms": now + 5_000, "sent_at_ms": now - 500},
        act=lambda yard, seen, now: yard.jobs.claim(seen, lease_at(now), now),
        sets=lambda yard, seen, now: {
            **claimed(yard, seen, now),
            **wake(yard, seen, None),
            "first_started_at_ms": now,
            "trace": told(seen, TraceEvent(Event.STARTED, now)),
        },
        refusals=lambda now: {
            **not_in(State.PENDING),
            "another birth": {"birth": OTHER},
            "a newer delivery": {"delivery": 2},
            "an older delivery": {"delivery": 0},
            "not due": {"due_at_ms": now + 1},
            "held": {"held": True},
            "no attempt left": {"attempts": 3},
            "no room in trace": {"trace": lines(TRACE_MAX_EVENTS)},
        },
        label="running",
    ),
    Case(
        name="claim at every limit",
        start=lambda now: {
            "due_at_ms": now,
            "attempts": 2,
            "failures": 2,
            "first_started_at_ms": now - 9_000,
            "started_at_ms": now - 5_000,
            "lease": OLD,
            "trace": lines(TRACE_MAX_EVENTS - 1),
        },
        act=lambda yard, seen, now: yard.jobs.claim(seen, lease_at(now, **POLLED), now),
        sets=lambda yard, seen, now: {
            **claimed(yard, seen, now),
            **POLLED,
            "trace": told(seen, TraceEvent(Event.STARTED, now)),
        },
        refusals=lambda now: {},
        label="running",
    ),
    Case(
        name="claim of a crowded record",
        start=lambda now: {"attempts": 1, "first_started_at_ms": now - 9_000, "trace": lines(TRACE_MAX_EVENTS)},
        act=lambda yard, seen, now: yard.jobs.claim(seen, lease_at(now), now, seen),
        sets=lambda yard, seen, now: {
            **claimed(yard, seen, now),
            "trace": told(seen, TraceEvent(Event.STARTED, now))[1:],
        },
        refusals=lambda now: {
            **not_in(State.PENDING),
            "an attempt begun since": {"attempts": 2},
            "another birth": {"birth": OTHER},
            "a newer delivery": {"delivery": 2},
            "not due": {"due_at_ms": now + 1},
            "held": {"held": True},
        },
        label="running",
    ),
    Case(
        name="take over",
        start=lambda now: abandoned(now, **POLLED),
        act=lambda yard, seen, now: yard.jobs.take_over(seen, lease_at(now), now),
        sets=lambda yard, seen, now: {
            **{name: value for name, value in claimed(yard, seen, now).items() if name not in LABELLED},
            **UNPOLLED,
            "trace": told(
                seen, TraceEvent(Event.RECOVERED, now, {"attempt": 1}), TraceEvent(Event.STARTED, now)
            ),
        },
        refusals=lambda now: {
            **not_in(State.RUNNING),
            "another lease": {"lease": OTHER},
            "the lease holds": {"lease_until_ms": now},
            "no attempt left": {"attempts": 3},
        },
        label="running",
    ),
    Case(
        name="extend the lease",
        start=running,
        act=lambda yard, seen, now: yard.jobs.extend_lease(seen.id, OLD, now + 2 * LEASE_MS),
        sets=lambda yard, seen, now: {"lease_until_ms": now + 2 * LEASE_MS},
        refusals=lambda now: {**not_in(State.RUNNING), "another lease": {"lease": OTHER}},
        label="running",
        answers=False,
    ),
    Case(
        name="report progress",
        start=running,
        act=lambda yard, seen, now: yard.jobs.report_progress(seen.id, OLD, Progress(1.5, 3, "half", '{"a":1}'), now),
        sets=lambda yard, seen, now: {
            "progress": '{"current":1.5,"total":3,"message":"half","data":"{\\"a\\":1}"}',
            "updated_at_ms": now,
        },
        refusals=lambda now: {**not_in(State.RUNNING), "another lease": {"lease": OTHER}},
        label="running",
        answers=False,
    ),
    Case(
        name="succeed with an output in the record",
        start=lambda now: running(now, **POLLED, error=ERROR),
        act=lambda yard, seen, now: yard.jobs.succeed(seen, StoredOutput(text='{"sum":3}'), now),
        sets=lambda yard, seen, now: {
            **moved(yard, seen, State.SUCCESS, now, TraceEvent(Event.SUCCEEDED, now)),
            **UNPOLLED,
            "output": '{"sum":3}',
            "error": None,
            "completed_at_ms": now,
        },
        refusals=lambda now: {
            **not_in(State.RUNNING, State.SUCCESS),
            "done by another": {"state": State.SUCCESS, "lease": OTHER},
            "another lease": {"lease": OTHER},
        },
        label="success",
    ),
    Case(
        name="succeed with an output elsewhere",
        start=running,
        act=lambda yard, seen, now: yard.jobs.succeed(seen, StoredOutput(place=f"output#{OLD}"), now),
        sets=lambda yard, seen, now: {
            **moved(yard, seen, State.SUCCESS, now, TraceEvent(Event.SUCCEEDED, now)),
            "output_at": f"output#{OLD}",
            "completed_at_ms": now,
        },
        refusals=lambda now: {},
        label="success",
    ),
    Case(
        name="retry on the same message",
        start=lambda now: running(now, **POLLED),
        act=lambda yard, seen, now: yard.jobs.retry_later(
            seen, ERROR, now + 2_000, now + 92_000, resend=False, succeeded_subscribers=["a.b"], now_ms=now
        ),
        sets=lambda yard, seen, now: {
            **moved(yard, seen, State.PENDING, now, TraceEvent(Event.FAILED, now, {"attempt": 1, "error": "no good"})),
            **UNPOLLED,
            **wake(yard, seen, now + 92_000),
            "due_at_ms": now + 2_000,
            "error": ERROR.to_document(),
            "failures": 1,
            "succeeded_subscribers": ["a.b"],
        },
        refusals=lambda now: {
            **not_in(State.RUNNING, State.PENDING),
            "pending by another": {"state": State.PENDING, "lease": OTHER},
            "another lease": {"lease": OTHER},
        },
        label="pending",
        wake_in_ms=92_000,
    ),
    Case(
        name="retry by a new delivery",
        start=lambda now: running(now, delivery=4, failures=1, succeeded_subscribers=("a.b",)),
        act=lambda yard, seen, now: yard.jobs.retry_later(
            seen, ERROR, now + 1_000_000, now + 280_000, resend=True, succeeded_subscribers=[], now_ms=now
        ),
        sets=lambda yard, seen, now: {
            **moved(yard, seen, State.PENDING, now, TraceEvent(Event.FAILED, now, {"attempt": 1, "error": "no good"})),
            **wake(yard, seen, now + 280_000),
            "due_at_ms": now + 1_000_000,
            "error": ERROR.to_document(),
            "failures": 2,
            "delivery": 5,
            "succeeded_subscribers": None,
        },
        refusals=lambda now: {},
        label="pending",
        wake_in_ms=280_000,
    ),
    Case(
        name="bury",
        start=lambda now: {**running(now, **POLLED), "attempts": 3, "failures": 2},
        act=lambda yard, seen, now: yard.jobs.bury(seen, replace(ERROR, message="x" * 200), now),
        sets=lambda yard, seen, now: {
            **moved(yard, seen, State.FAILED, now, TraceEvent(Event.DEAD, now, {"attempt": 3, "error": "x" * 80})),
            **UNPOLLED,
            "error": {**ERROR.to_document(), "message": "x" * 200},
            "failures": 3,
            "completed_at_ms": now,
        },
        refusals=lambda now: {
            **not_in(State.RUNNING, State.FAILED),
            "buried by another": {"state": State.FAILED, "lease": OTHER},
            "another lease": {"lease": OTHER},
        },
        label="failed",
    ),
    Case(
        name="give up a running job",
        start=lambda now: {**abandoned(now), "attempts": 3, "failures": 2},
        act=lambda yard, seen, now: yard.jobs.give_up(seen, ERROR, now),
        sets=lambda yard, seen, now: {
            **moved(yard, seen, State.FAILED, now, TraceEvent(Event.DEAD, now, {"attempt": 3, "error": "no good"})),
            "error": ERROR.to_document(),
            "failures": 3,
            "completed_at_ms": now,
        },
        refusals=lambda now: {
            **not_in(State.RUNNING),
            "another lease": {"lease": OTHER},
            "the lease holds": {"lease_until_ms": now},
            "a newer delivery": {"delivery": 2},
        },
        label="failed",
    ),
    Case(
        name="give up a job that never ran",
        start=lambda now: {"wake_at_ms": now + 5_000},
        act=lambda yard, seen, now: yard.jobs.give_up(seen, ERROR, now),
        sets=lambda yard, seen, now: {
            **moved(yard, seen, State.FAILED, now, TraceEvent(Event.DEAD, now, {"attempt": 0, "error": "no good"})),
            **wake(yard, seen, None),
            "error": ERROR.to_document(),
            "failures": 1,
            "completed_at_ms": now,
        },
        refusals=lambda now: {
            **not_in(State.PENDING),
            "leased meanwhile": {"lease": OTHER},
            "a newer delivery": {"delivery": 2},
        },
        label="failed",
    ),
    Case(
        name="remind",
        start=lambda now: {},
        act=lambda yard, seen, now: yard.jobs.remind(seen.id, seen.birth, seen.delivery, now + 7_000),
        sets=lambda yard, seen, now: wake(yard, seen, now + 7_000),
        refusals=lambda now: {
            **not_in(State.PENDING),
            "another birth": {"birth": OTHER},
            "a newer delivery": {"delivery": 2},
        },
        label="pending",
        wake_in_ms=7_000,
        answers=False,
    ),
    Case(
        name="sent",
        start=lambda now: {"wake_at_ms": now + 5_000},
        act=lambda yard, seen, now: yard.jobs.sent(seen.id, seen.delivery, now),
        sets=lambda yard, seen, now: {**wake(yard, seen, None), "sent_at_ms": now},
        refusals=lambda now: {**not_in(State.PENDING), "a newer delivery": {"delivery": 2}},
        label="pending",
        answers=False,
    ),
    Case(
        name="wake later",
        start=lambda now: {"wake_at_ms": now - 5},
        act=lambda yard, seen, now: yard.jobs.wake_later(seen, now + 60_000),
        sets=lambda yard, seen, now: {"wake_at_ms": now + 60_000},
        refusals=lambda now: {"another wake-up call": {"wake_at_ms": now - 4}, "none": {"wake_at_ms": None}},
        label="pending",
        wake_in_ms=60_000,
        answers=False,
    ),
    Case(
        name="forget the wake-up call",
        start=lambda now: {"wake_at_ms": now - 5, "state": State.CANCELED},
        act=lambda yard, seen, now: yard.jobs.forget_wake(seen),
        sets=lambda yard, seen, now: wake(yard, seen, None),
        refusals=lambda now: {"another wake-up call": {"wake_at_ms": now - 4}, "none": {"wake_at_ms": None}},
        label="canceled",
        answers=False,
    ),
    Case(
        name="resend",
        start=lambda now: {"sent_at_ms": now - 9_000},
        act=lambda yard, seen, now: yard.jobs.resend(seen, now, now + 20_000),
        sets=lambda yard, seen, now: {"delivery": 2, "updated_at_ms": now, **wake(yard, seen, now + 20_000)},
        refusals=lambda now: {**not_in(State.PENDING), "a newer delivery": {"delivery": 2}},
        label="pending",
        wake_in_ms=20_000,
    ),
    Case(
        name="resend for another time",
        start=lambda now: {},
        act=lambda yard, seen, now: yard.jobs.resend(seen, now, now + 20_000, now + 3_000),
        sets=lambda yard, seen, now: {
            "delivery": 2,
            "due_at_ms": now + 3_000,
            "updated_at_ms": now,
            **wake(yard, seen, now + 20_000),
        },
        refusals=lambda now: {},
        label="pending",
        wake_in_ms=20_000,
    ),
    Case(
        name="requeue",
        start=lambda now: {"laps": 1},
        act=lambda yard, seen, now: yard.jobs.requeue(seen, now + 240_000, now + 20_000, now),
        sets=lambda yard, seen, now: {
            "delivery": 2,
            "due_at_ms": now + 240_000,
            "laps": 2,
            "updated_at_ms": now,
            "trace": told(seen, TraceEvent(Event.REQUEUED, now, {"lap": 2})),
            **wake(yard, seen, now + 20_000),
        },
        refusals=lambda now: {**not_in(State.PENDING), "a newer delivery": {"delivery": 2}},
        label="pending",
        wake_in_ms=20_000,
    ),
    Case(
        name="recover",
        start=lambda now: abandoned(now, **POLLED),
        act=lambda yard, seen, now: yard.jobs.recover(seen, now + 20_000, now),
        sets=lambda yard, seen, now: {
            **moved(yard, seen, State.PENDING, now, TraceEvent(Event.RECOVERED, now, {"attempt": 1})),
            **UNPOLLED,
            "delivery": 2,
            "due_at_ms": now,
            **wake(yard, seen, now + 20_000),
        },
        refusals=lambda now: {
            **not_in(State.RUNNING),
            "another lease": {"lease": OTHER},
            "the lease holds": {"lease_until_ms": now},
        },
        label="pending",
        wake_in_ms=20_000,
    ),
    Case(
        name="release a child",
        start=lambda now: {"held": True, "parent_id": 1, "wake_at_ms": now + 60_000},
        act=lambda yard, seen, now: yard.jobs.release(seen, now + 20_000, now),
        sets=lambda yard, seen, now: {
            "held": None,
            "delivery": 2,
            "updated_at_ms": now,
            "wake_at_ms": now + 20_000,
        },
        refusals=lambda now: {**not_in(State.PENDING), "released before": {"held": False}},
        label="pending",
        wake_in_ms=20_000,
    ),
    *(
        Case(
            name=f"cancel a {state} job",
            start=lambda now, state=state: {"state": state, "wake_at_ms": now + 9},
            act=lambda yard, seen, now: yard.jobs.cancel(seen, now),
            sets=lambda yard, seen, now: {
                **moved(yard, seen, State.CANCELED, now, TraceEvent(Event.CANCELED, now)),
                **wake(yard, seen, None),
                "completed_at_ms": now,
            },
            refusals=lambda now: not_in(State.PENDING, State.RUNNING, State.WAITING),
            label="canceled",
        )
        for state in (State.PENDING, State.RUNNING, State.WAITING)
    ),
    *(
        Case(
            name=f"restart a {state} job{' below its parent' if held else ''}",
            start=lambda now, state=state, held=held: {
                "state": state,
                "held": held,
                "delivery": 3,
                "attempts": 3,
                "failures": 2,
                "laps": 1,
                "error": ERROR,
                "completed_at_ms": now - 9,
                "progress": Progress(1, 2),
                "succeeded_subscribers": ("a.b",),
            },
            act=lambda yard, seen, now, held=held: yard.jobs.restart(seen, now + 20_000, now, held=held),
            sets=lambda yard, seen, now: {
                **moved(yard, seen, State.PENDING, now, TraceEvent(Event.RETRIED, now)),
                **wake(yard, seen, now + 20_000),
                "delivery": 4,
                "due_at_ms": now,
                "attempt_limit": 6,  # three more attempts, and no number twice
                "failures": 0,
                "laps": 0,
                "error": None,
                "completed_at_ms": None,
                "progress": None,
                "succeeded_subscribers": None,
            },
            refusals=lambda now: {
                **not_in(State.FAILED, State.CANCELED),
                "replayed": {"replayed_at_ms": now - 1},
                "a newer delivery": {"delivery": 4},
            },
            label="pending",
            wake_in_ms=20_000,
        )
        for state, held in ((State.FAILED, False), (State.CANCELED, False), (State.CANCELED, True))
    ),
]
LABELLED = ("state", "state_key", "type_key")
BY_NAME = {case.name: case for case in CASES}
REFUSALS = [(case.name, clause) for case in CASES for clause in case.refusals(0)]


@pytest.fixture
def yard(ground: Ground) -> Yard:
    """A yard with a clock of its own on the module's tables."""
    return ground.bench().yard


def begin(yard: Yard, case: Case, **override: Any) -> tuple[Job, int]:
    """The job as the caller has seen it, and the time; the ledger has it with ``override``."""
    now_ms = yard.now_ms()
    seen = job_of(yard, **case.start(now_ms))
    place(yard, replace(seen, **override))
    return seen, now_ms


class TestTransitions:
    @pytest.mark.parametrize("name", BY_NAME)
    def test_it_sets_exactly_its_own_fields(self, yard: Yard, name: str) -> None:
        case = BY_NAME[name]
        seen, now_ms = begin(yard, case)
        before = stored(yard, seen.id)

        answered = case.act(yard, seen, now_ms)

        after = stored(yard, seen.id)
        expected = case.sets(yard, seen, now_ms)
        assert difference(before, after) == difference(before, {**(before or {}), **expected})
        assert difference(before, after) == {n: v for n, v in expected.items() if (before or {}).get(n) != v}
        if case.answers:
            assert answered == decoded(after)

    @pytest.mark.parametrize(("name", "clause"), REFUSALS)
    def test_each_clause_refuses_by_itself_and_tells_the_record(self, yard: Yard, name: str, clause: str) -> None:
        case = BY_NAME[name]
        override = case.refusals(yard.now_ms())[clause]
        seen, now_ms = begin(yard, case, **override)
        before = stored(yard, seen.id)

        with pytest.raises(JobRefused) as refused:
            case.act(yard, seen, now_ms)

        assert refused.value.ledger == decoded(before)
        assert stored(yard, seen.id) == before

    @pytest.mark.parametrize("name", BY_NAME)
    def test_a_job_that_is_not_there_is_refused_and_not_made(self, yard: Yard, name: str) -> None:
        case = BY_NAME[name]
        now_ms = yard.now_ms()
        seen = job_of(yard, **case.start(now_ms))

        with pytest.raises(JobRefused) as refused:
            case.act(yard, seen, now_ms)

        assert refused.value.ledger is None
        assert stored(yard, seen.id) is None

    @pytest.mark.parametrize("name", BY_NAME)
    def test_a_tombstone_refuses_everything(self, yard: Yard, name: str) -> None:
        case = BY_NAME[name]
        now_ms = yard.now_ms()
        seen = job_of(yard, **case.start(now_ms))
        grave = {**state_key(seen.id), "state": "deleted", "expires_at_s": 9}
        yard.jobs.table.put(grave)

        with pytest.raises(JobRefused) as refused:
            case.act(yard, seen, now_ms)

        assert refused.value.ledger == Tombstone(seen.id)
        assert stored(yard, seen.id) == grave

    @pytest.mark.parametrize("name", BY_NAME)
    def test_the_indexes_show_it_where_it_stands(self, yard: Yard, name: str) -> None:
        case = BY_NAME[name]
        seen, now_ms = begin(yard, case)

        case.act(yard, seen, now_ms)

        wake_at_ms = None if case.wake_in_ms is None else now_ms + case.wake_in_ms
        expected = Membership((case.label,), (case.label,), wake_at_ms, by_trace=False)
        becomes(expected, lambda: membership(yard, seen))


class TestRecords:
    def test_a_new_record_is_stored_with_what_differs_from_the_defaults_and_its_index_keys(self, yard: Yard) -> None:
        job = job_of(yard, trace_id="order-7", priority=12, wake_at_ms=yard.now_ms() + 20_000, body='{"input":{}}')

        yard.jobs.record(job)

        assert stored(yard, job.id) == {
            "job": job.id,
            "part": "state",
            "birth": BIRTH,
            "kind": "message",
            "type": job.type,
            "queue": job.type,
            "created_at_ms": job.created_at_ms,
            "updated_at_ms": job.created_at_ms,
            "trace_id": "order-7",
            "trace_key": "order-7",
            "priority": 12,
            "attempt_limit": 3,
            "body": '{"input":{}}',
            "state": "pending",
            "delivery": 1,
            "due_at_ms": job.created_at_ms,
            "attempts": 0,
            "trace": list(job.trace),
            "position": f"{job.created_at_ms:013d}-{job.id:016d}",
            **labels(yard, job, "pending"),
            **wake(yard, job, yard.now_ms() + 20_000),
        }
        assert yard.jobs.find(job.id) == job
        becomes(
            Membership(("pending",), ("pending",), yard.now_ms() + 20_000, by_trace=True),
            lambda: membership(yard, job),
        )

    def test_every_field_survives(self, yard: Yard) -> None:
        now_ms = yard.now_ms()
        job = job_of(
            yard,
            kind=Kind.TASK,
            state=State.FAILED,
            type="рапорт/Ünïcode 報告",
            priority=-1_000,
            runner=MANUAL,
            script="index",
            target_id="t",
            target_type="tt",
            parent_id=(1 << 53) - 1,
            replay_of=7,
            error=ERROR,
            progress=Progress(0.1, 0.3, "ünï", '{"x":[1,2.5]}'),
            succeeded_subscribers=("a", "b"),
            held=True,
            has_children=True,
            laps=2,
            sent_at_ms=now_ms,
            replayed_at_ms=now_ms,
            replayed_as=8,
            timeout_ms=0,
            output="null",
            delivery=3,
        )
        yard.jobs.record(job)
        assert yard.jobs.find(job.id) == job

    @pytest.mark.parametrize("body", [None, "x" * 1_000])
    def test_a_taken_id_is_refused_with_who_has_it(self, yard: Yard, body: str | None) -> None:
        first = place(yard, job_of(yard, attempts=2))
        second = job_of(yard, id=first.id, birth=OTHER)

        with pytest.raises(JobRefused) as refused:
            yard.jobs.record(second, body)

        assert refused.value.ledger == first
        assert parts_of(yard, first.id).keys() == {"state"}

    def test_a_tombstone_takes_the_id(self, yard: Yard) -> None:
        job = place(yard, job_of(yard, state=State.SUCCESS))
        yard.jobs.entomb(job, 9)
        with pytest.raises(JobRefused) as refused:
            yard.jobs.record(job)
        assert refused.value.ledger == Tombstone(job.id)

    def test_a_large_body_is_an_item_beside_the_record(self, yard: Yard) -> None:
        job = job_of(yard, body_at="item")
        yard.jobs.record(job, "x" * 1_000)
        assert parts_of(yard, job.id)[BODY_PART] == {"job": job.id, "part": "body", "text": "x" * 1_000}

    def test_a_claim_makes_the_record_that_the_publisher_could_not(self, yard: Yard) -> None:
        now_ms = yard.now_ms()
        envelope = job_of(yard, body_at="item")

        job = yard.jobs.claim_unrecorded(envelope, "x" * 400, lease_at(now_ms, **POLLED), now_ms)

        assert job == replace(
            envelope,
            state=State.RUNNING,
            updated_at_ms=now_ms,
            started_at_ms=now_ms,
            first_started_at_ms=now_ms,
            attempts=1,
            lease=NEW,
            lease_until_ms=now_ms + LEASE_MS,
            worker="w-2",
            source="some-lane",
            receipt="some-handle",
            trace=(*envelope.trace, f"{now_ms} started"),
        )
        assert yard.jobs.find(job.id) == job
        assert parts_of(yard, job.id)[BODY_PART]["text"] == "x" * 400
        becomes(Membership(("running",), ("running",), None, by_trace=False), lambda: membership(yard, job))

    def test_the_publisher_was_faster_after_all(self, yard: Yard) -> None:
        job = place(yard, job_of(yard))
        with pytest.raises(JobRefused) as refused:
            yard.jobs.claim_unrecorded(job, "x", lease_at(yard.now_ms()), yard.now_ms())
        assert refused.value.ledger == job
        assert parts_of(yard, job.id).keys() == {"state"}


class TestReading:
    def test_many_come_in_the_order_asked_for_without_those_that_are_not(self, yard: Yard) -> None:
        jobs = [place(yard, job_of(yard)) for _ in range(120)]
        gone = place(yard, job_of(yard, state=State.SUCCESS))
        yard.jobs.entomb(gone, 9)
        wanted = [job.id for job in reversed(jobs)]

        found = yard.jobs.find_many([gone.id, *wanted, (1 << 53) - 2, wanted[0]])

        assert [job.id for job in found] == [*wanted, wanted[0]]
        assert yard.jobs.find_many([]) == []

    def test_a_deleted_job_is_not_found(self, yard: Yard) -> None:
        gone = place(yard, job_of(yard, state=State.SUCCESS))
        yard.jobs.entomb(gone, 9)
        assert yard.jobs.find(gone.id) is None
        assert yard.jobs.find((1 << 53) - 3) is None


class TestTheRaceForAnAttempt:
    def test_a_late_worker_changes_nothing(self, yard: Yard) -> None:
        now_ms = yard.now_ms()
        job = place(yard, job_of(yard))
        first = yard.jobs.claim(job, Lease(OLD, now_ms + 10, "a"), now_ms)
        later_ms = now_ms + 11
        second = yard.jobs.take_over(first, Lease(NEW, later_ms + LEASE_MS, "b"), later_ms)
        before = stored(yard, job.id)

        for late in (
            lambda: yard.jobs.succeed(first, StoredOutput(text="1"), later_ms),
            lambda: yard.jobs.bury(first, ERROR, later_ms),
            lambda: yard.jobs.retry_later(
                first, ERROR, later_ms, later_ms, resend=False, succeeded_subscribers=(), now_ms=later_ms
            ),
            lambda: yard.jobs.extend_lease(first.id, OLD, later_ms + LEASE_MS),
            lambda: yard.jobs.report_progress(first.id, OLD, Progress(1, 2), later_ms),
            lambda: yard.jobs.take_over(first, Lease(OTHER, later_ms + LEASE_MS, "c"), later_ms),
            lambda: yard.jobs.recover(first, later_ms, later_ms),
        ):
            with pytest.raises(JobRefused) as refused:
                late()
            assert refused.value.ledger == second
        assert stored(yard, job.id) == before

        done = yard.jobs.succeed(second, StoredOutput(text="2"), later_ms)
        assert (done.state, done.output, done.attempts) == (State.SUCCESS, "2", 2)
        assert [event.event for event in done.events] == ["published", "started", "recovered", "started", "succeeded"]

    @pytest.mark.parametrize("ending", ["succeed", "bury", "retry_later"])
    def test_a_settle_whose_answer_was_lost_knows_its_own_work(self, yard: Yard, ending: str) -> None:
        now_ms = yard.now_ms()
        job = place(yard, job_of(yard, **running(now_ms)))
        acts: dict[str, Callable[[], Job]] = {
            "succeed": lambda: yard.jobs.succeed(job, StoredOutput(text="1"), now_ms),
            "bury": lambda: yard.jobs.bury(job, ERROR, now_ms),
            "retry_later": lambda: yard.jobs.retry_later(
                job, ERROR, now_ms, now_ms, resend=False, succeeded_subscribers=(), now_ms=now_ms
            ),
        }
        once = acts[ending]()
        before = stored(yard, job.id)
        assert acts[ending]() == once
        assert stored(yard, job.id) == before

    def test_a_canceled_job_listens_to_its_worker_no_more(self, yard: Yard) -> None:
        now_ms = yard.now_ms()
        job = place(yard, job_of(yard, **running(now_ms)))
        canceled = yard.jobs.cancel(job, now_ms)
        assert canceled.lease == OLD  # kept, so that the worker knows that it was not taken over
        with pytest.raises(JobRefused) as refused:
            yard.jobs.succeed(job, StoredOutput(), now_ms)
        assert refused.value.ledger == canceled


class TestTheTrace:
    def test_it_keeps_the_newest_twenty(self, yard: Yard) -> None:
        now_ms = yard.now_ms()
        full = lines(TRACE_MAX_EVENTS)

        taken = yard.jobs.take_over(
            place(yard, job_of(yard, **abandoned(now_ms), trace=full[1:])), lease_at(now_ms), now_ms
        )
        buried = yard.jobs.bury(place(yard, job_of(yard, **running(now_ms), trace=full)), ERROR, now_ms)

        recovered = f'{now_ms} recovered {{"attempt":1}}'
        assert taken.trace == (*full[2:], recovered, f"{now_ms} started")
        assert buried.trace == (*full[1:], f'{now_ms} dead {{"attempt":1,"error":"no good"}}')
        assert len(taken.trace) == len(buried.trace) == TRACE_MAX_EVENTS

    def test_a_life_of_many_attempts_never_holds_more(self, yard: Yard) -> None:
        now_ms = yard.now_ms()
        job = place(yard, job_of(yard, max_attempts=30, attempt_limit=30))
        for number in range(15):
            seen = job if len(job.trace) >= TRACE_MAX_EVENTS else None
            lease = Lease(f"{number:016d}", now_ms + LEASE_MS, "w")
            running_job = yard.jobs.claim(job, lease, now_ms, seen)
            job = yard.jobs.retry_later(
                running_job, ERROR, now_ms, now_ms, resend=False, succeeded_subscribers=(), now_ms=now_ms
            )
            assert len(job.trace) == min(1 + 2 * (number + 1), TRACE_MAX_EVENTS)
        assert [event.detail.get("attempt") for event in job.events][-3:] == [14, None, 15]


class TestTransactions:
    def test_the_first_action_is_refused_with_the_record_in_its_way(self, yard: Yard) -> None:
        taken = place(yard, job_of(yard))
        beside = job_of(yard)
        with pytest.raises(JobRefused) as refused:
            yard.jobs.together([*yard.jobs.recording(taken, "body"), *yard.jobs.recording(beside)])
        assert refused.value.ledger == taken
        assert stored(yard, beside.id) is None
        assert parts_of(yard, taken.id).keys() == {"state"}

    def test_a_later_action_is_refused_by_its_place_and_with_the_item_it_met(self, yard: Yard) -> None:
        taken = place(yard, job_of(yard))
        first = job_of(yard)
        with pytest.raises(TransactionRefused) as refused:
            yard.jobs.together([*yard.jobs.recording(first, "body"), *yard.jobs.recording(taken)])
        assert refused.value.refused == [False, False, True]
        assert refused.value.old == [None, None, stored(yard, taken.id)]
        assert parts_of(yard, first.id) == {}

    def test_several_refusals_are_told_together(self, yard: Yard) -> None:
        taken = place(yard, job_of(yard))
        with pytest.raises(TransactionRefused) as refused:
            yard.jobs.together(
                [
                    *yard.jobs.recording(job_of(yard)),
                    *yard.jobs.recording(taken),
                    yard.jobs.replaying(taken, 5, yard.now_ms()),
                ][:2]
                + yard.jobs.adopting(987_654_321, 5)[:1]
            )
        assert refused.value.refused == [False, True, True]
        assert refused.value.old == [None, stored(yard, taken.id), None]

    def test_a_hundred_actions_are_done_together(self, yard: Yard) -> None:
        jobs = [job_of(yard) for _ in range(100)]
        yard.jobs.together([action for job in jobs for action in yard.jobs.recording(job)])
        assert yard.jobs.find_many([job.id for job in jobs]) == jobs

    def test_one_of_a_hundred_undoes_them_all(self, yard: Yard) -> None:
        jobs = [job_of(yard) for _ in range(99)]
        taken = place(yard, job_of(yard))
        with pytest.raises(TransactionRefused) as refused:
            yard.jobs.together([action for job in (*jobs, taken) for action in yard.jobs.recording(job)])
        assert refused.value.refused == [False] * 99 + [True]
        assert yard.jobs.find_many([job.id for job in jobs]) == []


class TestChildren:
    def test_a_child_begins_to_wait(self, yard: Yard) -> None:
        parent = place(yard, job_of(yard, kind=Kind.TASK))
        before = stored(yard, parent.id)

        yard.jobs.together(yard.jobs.adopting(parent.id, 41))
        yard.jobs.together(yard.jobs.adopting(parent.id, 42))

        assert difference(before, stored(yard, parent.id)) == {"has_children": True}
        assert parts_of(yard, parent.id).keys() == {"state", "child#41", "child#42"}
        assert sorted(yard.jobs.children(parent.id)) == [41, 42]
        assert yard.jobs.children(41) == []

    def test_a_parent_that_succeeded_takes_no_child(self, yard: Yard) -> None:
        parent = place(yard, job_of(yard, state=State.SUCCESS))
        with pytest.raises(JobRefused) as refused:
            yard.jobs.together(yard.jobs.adopting(parent.id, 41))
        assert refused.value.ledger == parent
        assert yard.jobs.children(parent.id) == []

    def test_nor_does_one_that_is_not_there(self, yard: Yard) -> None:
        missing = yard.ids.new()
        with pytest.raises(JobRefused) as refused:
            yard.jobs.together(yard.jobs.adopting(missing, 41))
        assert refused.value.ledger is None
        assert parts_of(yard, missing) == {}


class TestReplaying:
    def test_the_dead_letter_is_marked_and_changes_its_label(self, yard: Yard) -> None:
        now_ms = yard.now_ms()
        dead = place(yard, job_of(yard, state=State.FAILED, error=ERROR))
        successor = job_of(yard)
        before = stored(yard, dead.id)

        yard.jobs.together([*yard.jobs.recording(successor), yard.jobs.replaying(dead, successor.id, now_ms)])

        assert difference(before, stored(yard, dead.id)) == {
            **labels(yard, dead, "replayed"),
            "replayed_at_ms": now_ms,
            "replayed_as": successor.id,
            "updated_at_ms": now_ms,
        }
        assert yard.jobs.find(successor.id) == successor
        becomes(Membership(("replayed",), ("replayed",), None, by_trace=False), lambda: membership(yard, dead))

    @pytest.mark.parametrize(
        "override", [{"replayed_at_ms": 5, "replayed_as": 6}, *({"state": s} for s in State if s is not State.FAILED)]
    )
    def test_only_a_dead_letter_and_only_once(self, yard: Yard, override: dict[str, Any]) -> None:
        dead = place(yard, job_of(yard, **{"state": State.FAILED, **override}))
        before = stored(yard, dead.id)
        successor = job_of(yard)

        with pytest.raises(TransactionRefused) as refused:
            yard.jobs.together([*yard.jobs.recording(successor), yard.jobs.replaying(dead, successor.id, 7)])

        assert refused.value.refused == [False, True]
        assert refused.value.old == [None, before]
        assert stored(yard, dead.id) == before
        assert stored(yard, successor.id) is None


class TestTombstones:
    def test_nothing_but_the_tombstone_remains(self, yard: Yard) -> None:
        job = job_of(yard, state=State.SUCCESS, trace_id=f"trace-{yard.token()}", body_at="item")
        yard.jobs.record(job, "x" * 400)
        table = yard.jobs.table
        table.put({"job": job.id, "part": f"output#{OLD}", "text": "1"})
        for child in range(30):
            table.put({"job": job.id, "part": f"child#{child}"})
        becomes(Membership(("success",), ("success",), None, by_trace=True), lambda: membership(yard, job))

        yard.jobs.entomb(job, 1_234)

        grave = {"job": job.id, "part": "state", "state": "deleted", "expires_at_s": 1_234}
        assert parts_of(yard, job.id) == {"state": grave}
        becomes(Membership((), (), None, by_trace=False), lambda: membership(yard, job))

    @pytest.mark.parametrize("override", [{"state": State.PENDING}, {"birth": OTHER}, {"delivery": 2}])
    def test_a_job_that_moved_on_is_not_deleted(self, yard: Yard, override: dict[str, Any]) -> None:
        seen = job_of(yard, state=State.FAILED)
        actual = place(yard, replace(seen, **override))
        yard.jobs.table.put({"job": seen.id, "part": "body", "text": "x"})

        with pytest.raises(JobRefused) as refused:
            yard.jobs.entomb(seen, 9)

        assert refused.value.ledger == actual
        assert parts_of(yard, seen.id).keys() == {"state", "body"}


class TestTheTable:
    """What the transitions are built of."""

    def test_one_change_sets_removes_adds_appends_and_keeps(self, yard: Yard) -> None:
        table, key = yard.jobs.table, {"job": yard.ids.new(), "part": "state"}
        first = table.update(
            key, Change((), sets={"a": 1, "b": "x"}, adds={"n": 5}, appends={"l": ["p"]}, keeps={"k": 7})
        )
        assert first == {**key, "a": 1, "b": "x", "n": 5, "l": ["p"], "k": 7}
        second = table.update(
            key, Change((), sets={"a": 2, "b": None}, adds={"n": -7}, appends={"l": ["q", "r"]}, keeps={"k": 8})
        )
        assert second == {**key, "a": 2, "n": -2, "l": ["p", "q", "r"], "k": 7}
        assert table.get(key) == second

    def test_reserved_words_are_names_like_others(self, yard: Yard) -> None:
        table, key = yard.jobs.table, {"job": yard.ids.new(), "part": "state"}
        words = {"name": "n", "status": "s", "timestamp": 1, "date": "d", "value": True, "size": [1, {"m": "x"}]}
        assert table.update(key, Change((), sets=words)) == {**key, **words}

    def test_a_delete_has_clauses_too(self, yard: Yard) -> None:
        table, key = yard.jobs.table, {"job": yard.ids.new(), "part": "state"}
        table.put({**key, "a": 1})
        with pytest.raises(Refused) as refused:
            table.delete(key, Clause("a is 2", "{a} = :two", {":two": 2}))
        assert refused.value.old == {**key, "a": 1}
        table.delete(key, Clause("a is 1", "{a} = :one", {":one": 1}))
        assert table.get(key) is None
        table.delete(key)

    def test_more_keys_than_one_call_takes(self, yard: Yard) -> None:
        table = yard.jobs.table
        keys = [{"job": yard.ids.new(), "part": "state"} for _ in range(130)]
        for key in keys:
            table.put({**key, "text": "x" * 10})
        assert len(table.get_many(keys)) == 130
        table.delete_many(keys[:60])
        assert {item["job"] for item in table.get_many(keys)} == {key["job"] for key in keys[60:]}

    def test_a_query_goes_on_from_page_to_page(self, yard: Yard) -> None:
        table, job_id = yard.jobs.table, yard.ids.new()
        for number in range(7):
            table.put({"job": job_id, "part": f"p{number}"})
        condition, values = "{job} = :job", {":job": job_id}

        pages, after = [], None
        while True:
            rows, after = table.query(condition, values, limit=3, after=after, ascending=False, consistent=True)
            pages.append([row["part"] for row in rows])
            if after is None:
                break

        assert [page for page in pages if page] == [["p6", "p5", "p4"], ["p3", "p2", "p1"], ["p0"]]
        assert table.count(condition, values, enough=100) == 7
        assert table.count(condition, values, enough=5) == 5

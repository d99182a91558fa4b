"""Every transition of the ledger as a case: where it starts, what it sets, which clauses guard it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core.causes import Cause
from chalicelib.core.job import Job, JobError, Progress
from chalicelib.core.states import State
from chalicelib.core.trace import TRACE_MAX_EVENTS, Event, TraceEvent, failed, started
from chalicelib.engine.yard import Yard
from chalicelib.store.jobs import JobStore
from chalicelib.store.ledger import ASIDE
from chalicelib.store.settled import StoredOutput
from chalicelib.store.transitions.running import Lease
from tests.support.ledger import NOW, index_keys, lines, wake

OLD, NEW, OTHER = "0ld0ld0ld0ld0ld0", "new1new1new1new1", "0ther0ther0ther0"
ERROR = JobError("ValueError", "no good", "orders.py:7 charge")
LEASE_MS = 60_000
POLLED = {"source": "some-lane", "receipt": "some-handle"}
UNPOLLED = {"source": None, "receipt": None}

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Scene:
    """A yard, and a job as whoever moves it has seen it."""

    yard: Yard
    seen: Job

    @property
    def jobs(self) -> JobStore:
        return self.yard.jobs

    def traced(self, *events: TraceEvent) -> list[str]:
        """Its trace with ``events`` at the end."""
        return [*self.seen.trace, *(event.to_line() for event in events)]

    def wake(self, at_ms: int | None) -> dict[str, Any]:
        """The attributes of a wake-up call."""
        return wake(self.yard, self.seen, at_ms)

    def claimed(self) -> dict[str, Any]:
        """What every claim sets."""
        return {
            **index_keys(self.yard, self.seen, "running"),
            "state": "running",
            "updated_at_ms": NOW,
            "started_at_ms": NOW,
            "lease": NEW,
            "lease_until_ms": NOW + LEASE_MS,
            "worker": "w-2",
            "attempts": self.seen.attempts + 1,
        }

    def ran(self) -> dict[str, Any]:
        """What the end of a run adds: its time, until the lease ended at the latest."""
        return {"run_ms": min(NOW, self.seen.lease_until_ms or NOW) - (self.seen.started_at_ms or NOW)}

    def moved(self, state: State, *events: TraceEvent) -> dict[str, Any]:
        """What every move out of an attempt sets."""
        return {
            **index_keys(self.yard, self.seen, state.value),
            "state": state.value,
            "updated_at_ms": NOW,
            "lease_until_ms": None,
            **({"trace": self.traced(*events)} if events else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Case:
    """One transition. ``refusals`` maps each clause to the fields of the record that make it, and it alone, fail."""

    name: str
    start: Fields
    act: Callable[[Scene], Any]
    sets: Fields | Callable[[Scene], Fields]
    refusals: Mapping[str, Fields]
    label: str
    wake_in_ms: int | None = None
    answers: bool = True  # whether it answers the record as it then is

    def expected(self, scene: Scene) -> Fields:
        """The attributes that it sets, ``None`` for one that it removes."""
        return self.sets(scene) if callable(self.sets) else self.sets


def lease_at(**more: Any) -> Lease:
    """The lease of the new worker."""
    return Lease(NEW, NOW + LEASE_MS, "w-2", **more)


def dead(attempt: int, error: str, cause: Cause) -> TraceEvent:
    return TraceEvent(Event.DEAD, NOW, {"attempt": attempt, "error": error, "cause": cause.value})


def not_in(*states: State) -> dict[str, Fields]:
    """Every other state, as the fields that break the clause on the state."""
    return {f"is {state}": {"state": state} for state in State if state not in states}


def running(**more: Any) -> dict[str, Any]:
    """A job in the hands of the old worker."""
    usual = {"state": State.RUNNING, "lease": OLD, "attempts": 1, "worker": "w-1", "started_at_ms": NOW - 1_000}
    return {**usual, "lease_until_ms": NOW + LEASE_MS, **more}


def abandoned(**more: Any) -> dict[str, Any]:
    """A job whose old worker has not been heard of for a lease."""
    return running(lease_until_ms=NOW - 1, **more)


CASES = [
    Case(
        name="claim",
        start={"wake_at_ms": NOW + 5_000, "sent_at_ms": NOW - 500},
        act=lambda s: s.jobs.claim(s.seen, lease_at(), NOW),
        sets=lambda s: {
            **s.claimed(),
            **s.wake(None),
            "first_started_at_ms": NOW,
            "trace": s.traced(started(NOW, "w-2")),
        },
        refusals={
            **not_in(State.PENDING),
            "another uid": {"uid": OTHER},
            "a newer delivery": {"delivery": 2},
            "an older delivery": {"delivery": 0},
            "not due": {"due_at_ms": NOW + 1},
            "blocked": {"blocked": True},
            "no attempt left": {"attempts": 3},
            "no room in trace": {"trace": lines(TRACE_MAX_EVENTS)},
        },
        label="running",
    ),
    Case(
        name="claim at every limit",
        start={
            "due_at_ms": NOW,
            "attempts": 2,
            "failures": 2,
            "first_started_at_ms": NOW - 9_000,
            "started_at_ms": NOW - 5_000,
            "lease": OLD,
            "trace": lines(TRACE_MAX_EVENTS - 1),
        },
        act=lambda s: s.jobs.claim(s.seen, lease_at(**POLLED), NOW),
        sets=lambda s: {
            **s.claimed(),
            **POLLED,
            "trace": s.traced(started(NOW, "w-2")),
        },
        refusals={},
        label="running",
    ),
    Case(
        name="claim of a crowded record",
        start={"attempts": 1, "first_started_at_ms": NOW - 9_000, "trace": lines(TRACE_MAX_EVENTS)},
        act=lambda s: s.jobs.claim(s.seen, lease_at(), NOW, s.seen),
        sets=lambda s: {
            **s.claimed(),
            "trace": s.traced(started(NOW, "w-2"))[1:],
        },
        refusals={
            **not_in(State.PENDING),
            "an attempt begun since": {"attempts": 2},
            "another uid": {"uid": OTHER},
            "a newer delivery": {"delivery": 2},
            "not due": {"due_at_ms": NOW + 1},
            "blocked": {"blocked": True},
        },
        label="running",
    ),
    Case(
        name="take over from a client that gave no sign",
        start=abandoned(**POLLED, attempts=3, silences=4),
        act=lambda s: s.jobs.take_over(s.seen, lease_at(), NOW),
        sets=lambda s: {
            **s.claimed(),
            **s.ran(),
            **UNPOLLED,
            "attempt_limit": 4,
            "silences": 5,
            "trace": s.traced(TraceEvent(Event.RECOVERED, NOW, {"attempt": 3, "silent": 5}), started(NOW, "w-2")),
        },
        refusals={
            **not_in(State.RUNNING),
            "another lease": {"lease": OTHER},
            "the lease holds": {"lease_until_ms": NOW},
            "a sign": {"heard": True},
        },
        label="running",
    ),
    Case(
        name="take over",
        start=abandoned(**POLLED, heard=True),
        act=lambda s: s.jobs.take_over(s.seen, lease_at(), NOW),
        sets=lambda s: {
            **s.claimed(),
            **s.ran(),
            **UNPOLLED,
            "heard": None,
            "trace": s.traced(TraceEvent(Event.RECOVERED, NOW, {"attempt": 1}), started(NOW, "w-2")),
        },
        refusals={
            **not_in(State.RUNNING),
            "another lease": {"lease": OTHER},
            "the lease holds": {"lease_until_ms": NOW},
            "no attempt left": {"attempts": 3},
        },
        label="running",
    ),
    Case(
        name="extend the lease",
        start=running(),
        act=lambda s: s.jobs.extend_lease(s.seen.id, OLD, NOW + 2 * LEASE_MS),
        sets={"lease_until_ms": NOW + 2 * LEASE_MS, "heard": True},
        refusals={**not_in(State.RUNNING), "another lease": {"lease": OTHER}},
        label="running",
        answers=False,
    ),
    Case(
        name="report progress",
        start=running(),
        act=lambda s: s.jobs.report_progress(s.seen.id, OLD, Progress(1.5, 3, "half", '{"a":1}'), NOW),
        sets={
            "progress": '{"current":1.5,"total":3,"message":"half","data":"{\\"a\\":1}"}',
            "updated_at_ms": NOW,
        },
        refusals={**not_in(State.RUNNING), "another lease": {"lease": OTHER}},
        label="running",
        answers=False,
    ),
    Case(
        name="succeed with an output in the record",
        start=running(**POLLED, error=ERROR),
        act=lambda s: s.jobs.succeed(s.seen, StoredOutput(text='{"sum":3}'), NOW),
        sets=lambda s: {
            **s.moved(State.SUCCESS, TraceEvent(Event.SUCCEEDED, NOW)),
            **s.ran(),
            **UNPOLLED,
            "output": '{"sum":3}',
            "error": None,
            "completed_at_ms": NOW,
        },
        refusals={
            **not_in(State.RUNNING, State.SUCCESS),
            "done by another": {"state": State.SUCCESS, "lease": OTHER},
            "another lease": {"lease": OTHER},
        },
        label="success",
    ),
    Case(
        name="succeed with an output elsewhere",
        start=running(),
        act=lambda s: s.jobs.succeed(s.seen, StoredOutput(place=f"output#{OLD}"), NOW),
        sets=lambda s: {
            **s.moved(State.SUCCESS, TraceEvent(Event.SUCCEEDED, NOW)),
            **s.ran(),
            "output_at": f"output#{OLD}",
            "completed_at_ms": NOW,
        },
        refusals={},
        label="success",
    ),
    Case(
        name="retry on the same message",
        start=running(**POLLED),
        act=lambda s: s.jobs.retry_later(
            s.seen, ERROR, NOW + 2_000, NOW + 92_000, resend=False, succeeded_subscribers=["a.b"], now_ms=NOW
        ),
        sets=lambda s: {
            **s.moved(State.PENDING, failed(NOW, 1, "no good", NOW + 2_000)),
            **s.ran(),
            **UNPOLLED,
            **s.wake(NOW + 92_000),
            "due_at_ms": NOW + 2_000,
            "error": ERROR.to_document(),
            "failures": 1,
            "succeeded_subscribers": ["a.b"],
        },
        refusals={
            **not_in(State.RUNNING, State.PENDING),
            "pending by another": {"state": State.PENDING, "lease": OTHER},
            "another lease": {"lease": OTHER},
        },
        label="pending",
        wake_in_ms=92_000,
    ),
    Case(
        name="retry by a new delivery",
        start=running(delivery=4, failures=1, succeeded_subscribers=("a.b",)),
        act=lambda s: s.jobs.retry_later(
            s.seen, ERROR, NOW + 1_000_000, NOW + 280_000, resend=True, succeeded_subscribers=[], now_ms=NOW
        ),
        sets=lambda s: {
            **s.moved(State.PENDING, failed(NOW, 1, "no good", NOW + 1_000_000)),
            **s.ran(),
            **s.wake(NOW + 280_000),
            "due_at_ms": NOW + 1_000_000,
            "error": ERROR.to_document(),
            "failures": 2,
            "delivery": 5,
            "succeeded_subscribers": None,
        },
        refusals={},
        label="pending",
        wake_in_ms=280_000,
    ),
    Case(
        name="dead-letter",
        start=running(**POLLED, attempts=3, failures=2),
        act=lambda s: s.jobs.dead_letter(s.seen, Cause.ATTEMPTS_USED_UP, replace(ERROR, message="x" * 200), NOW),
        sets=lambda s: {
            **s.moved(State.FAILED, dead(3, "x" * 79 + "…", Cause.ATTEMPTS_USED_UP)),
            **s.ran(),
            **UNPOLLED,
            "error": {**ERROR.to_document(), "message": "x" * 200},
            "cause": "attempts_used_up",
            "failures": 3,
            "completed_at_ms": NOW,
        },
        refusals={
            **not_in(State.RUNNING, State.FAILED),
            "dead-lettered by another": {"state": State.FAILED, "lease": OTHER},
            "another lease": {"lease": OTHER},
        },
        label="failed",
    ),
    Case(
        name="dead-letter a running job that nobody runs",
        start=abandoned(attempts=3, failures=2),
        act=lambda s: s.jobs.dead_letter(s.seen, Cause.LEASE_LOST, ERROR, NOW),
        sets=lambda s: {
            **s.moved(State.FAILED, dead(3, "no good", Cause.LEASE_LOST)),
            **s.ran(),
            "error": ERROR.to_document(),
            "cause": "lease_lost",
            "failures": 3,
            "completed_at_ms": NOW,
        },
        refusals={
            **not_in(State.RUNNING),
            "another lease": {"lease": OTHER},
            "the lease holds": {"lease_until_ms": NOW},
            "a newer delivery": {"delivery": 2},
        },
        label="failed",
    ),
    Case(
        name="dead-letter a job that never ran",
        start={"wake_at_ms": NOW + 5_000},
        act=lambda s: s.jobs.dead_letter(s.seen, Cause.NEVER_STARTED, ERROR, NOW),
        sets=lambda s: {
            **s.moved(State.FAILED, dead(0, "no good", Cause.NEVER_STARTED)),
            **s.wake(None),
            "error": ERROR.to_document(),
            "cause": "never_started",
            "failures": 1,
            "completed_at_ms": NOW,
        },
        refusals={
            **not_in(State.PENDING),
            "leased meanwhile": {"lease": OTHER},
            "a newer delivery": {"delivery": 2},
        },
        label="failed",
    ),
    Case(
        name="dead-letter a job that nobody called back",
        start={"state": State.WAITING, "attempts": 1, "wake_at_ms": NOW - 5},
        act=lambda s: s.jobs.dead_letter(s.seen, Cause.TIMED_OUT, ERROR, NOW),
        sets=lambda s: {
            **s.moved(State.FAILED, dead(1, "no good", Cause.TIMED_OUT)),
            **s.wake(None),
            "error": ERROR.to_document(),
            "cause": "timed_out",
            "failures": 1,
            "completed_at_ms": NOW,
        },
        refusals={**not_in(State.WAITING), "woken since": {"wake_at_ms": NOW}},
        label="failed",
    ),
    Case(
        name="remind",
        start={},
        act=lambda s: s.jobs.remind(s.seen.id, s.seen.uid, s.seen.delivery, NOW + 7_000),
        sets=lambda s: s.wake(NOW + 7_000),
        refusals={
            **not_in(State.PENDING),
            "another uid": {"uid": OTHER},
            "a newer delivery": {"delivery": 2},
        },
        label="pending",
        wake_in_ms=7_000,
        answers=False,
    ),
    Case(
        name="sent",
        start={"wake_at_ms": NOW + 5_000},
        act=lambda s: s.jobs.sent(s.seen.id, s.seen.delivery, NOW),
        sets=lambda s: {**s.wake(None), "sent_at_ms": NOW},
        refusals={**not_in(State.PENDING), "a newer delivery": {"delivery": 2}},
        label="pending",
        answers=False,
    ),
    Case(
        name="wake later",
        start={"wake_at_ms": NOW - 5},
        act=lambda s: s.jobs.wake_later(s.seen, NOW + 60_000),
        sets={"wake_at_ms": NOW + 60_000},
        refusals={"another wake-up call": {"wake_at_ms": NOW - 4}, "none": {"wake_at_ms": None}},
        label="pending",
        wake_in_ms=60_000,
        answers=False,
    ),
    Case(
        name="set aside",
        start={"wake_at_ms": NOW - 5},
        act=lambda s: s.jobs.set_aside(s.seen, NOW + 60_000),
        sets={"wake_key": ASIDE, "wake_at_ms": NOW + 60_000, "set_aside": 1},
        refusals={"another wake-up call": {"wake_at_ms": NOW - 4}, "none": {"wake_at_ms": None}},
        label="pending",
        wake_in_ms=60_000,
        answers=False,
    ),
    Case(
        name="forget the wake-up call",
        start={"wake_at_ms": NOW - 5, "state": State.CANCELED},
        act=lambda s: s.jobs.forget_wake(s.seen),
        sets=lambda s: s.wake(None),
        refusals={"another wake-up call": {"wake_at_ms": NOW - 4}, "none": {"wake_at_ms": None}},
        label="canceled",
        answers=False,
    ),
    Case(
        name="resend",
        start={"sent_at_ms": NOW - 9_000},
        act=lambda s: s.jobs.resend(s.seen, NOW, NOW + 20_000),
        sets=lambda s: {"delivery": 2, "updated_at_ms": NOW, **s.wake(NOW + 20_000)},
        refusals={**not_in(State.PENDING), "a newer delivery": {"delivery": 2}},
        label="pending",
        wake_in_ms=20_000,
    ),
    Case(
        name="resend for another time",
        start={},
        act=lambda s: s.jobs.resend(s.seen, NOW, NOW + 20_000, NOW + 3_000),
        sets=lambda s: {
            "delivery": 2,
            "due_at_ms": NOW + 3_000,
            "updated_at_ms": NOW,
            **s.wake(NOW + 20_000),
        },
        refusals={},
        label="pending",
        wake_in_ms=20_000,
    ),
    Case(
        name="requeue",
        start={"requeue_count": 1},
        act=lambda s: s.jobs.requeue(s.seen, NOW + 240_000, NOW + 20_000, NOW),
        sets=lambda s: {
            "delivery": 2,
            "due_at_ms": NOW + 240_000,
            "laps": 2,
            "updated_at_ms": NOW,
            "trace": s.traced(TraceEvent(Event.REQUEUED, NOW, {"lap": 2})),
            **s.wake(NOW + 20_000),
        },
        refusals={**not_in(State.PENDING), "a newer delivery": {"delivery": 2}},
        label="pending",
        wake_in_ms=20_000,
    ),
    Case(
        name="recover",
        start=abandoned(**POLLED, attempts=3),
        act=lambda s: s.jobs.recover(s.seen, NOW + 20_000, NOW),
        sets=lambda s: {
            **s.moved(State.PENDING, TraceEvent(Event.RECOVERED, NOW, {"attempt": 3, "silent": 1})),
            **s.ran(),
            **UNPOLLED,
            "attempt_limit": 4,
            "silences": 1,
            "delivery": 2,
            "due_at_ms": NOW,
            **s.wake(NOW + 20_000),
        },
        refusals={
            **not_in(State.RUNNING),
            "another lease": {"lease": OTHER},
            "the lease holds": {"lease_until_ms": NOW},
            "a sign": {"heard": True},
        },
        label="pending",
        wake_in_ms=20_000,
    ),
    Case(
        name="unblock a child",
        start={"blocked": True, "parent_id": 1, "wake_at_ms": NOW + 60_000},
        act=lambda s: s.jobs.unblock(s.seen, NOW + 20_000, NOW),
        sets={
            "held": None,
            "delivery": 2,
            "updated_at_ms": NOW,
            "wake_at_ms": NOW + 20_000,
        },
        refusals={**not_in(State.PENDING), "released before": {"blocked": False}},
        label="pending",
        wake_in_ms=20_000,
    ),
    *(
        Case(
            name=f"cancel a {state} job",
            start={"state": state, "wake_at_ms": NOW + 9},
            act=lambda s: s.jobs.cancel(s.seen, NOW),
            sets=lambda s: {
                **s.moved(State.CANCELED, TraceEvent(Event.CANCELED, NOW)),
                **s.wake(None),
                "completed_at_ms": NOW,
            },
            refusals=not_in(State.PENDING, State.RUNNING, State.WAITING),
            label="canceled",
        )
        for state in (State.PENDING, State.RUNNING, State.WAITING)
    ),
    *(
        Case(
            name=f"restart a {state} job{' below its parent' if blocked else ''}",
            start={
                "state": state,
                "blocked": blocked,
                "delivery": 3,
                "attempts": 3,
                "failures": 2,
                "requeue_count": 1,
                "error": ERROR,
                "cause": Cause.REJECTED,
                "completed_at_ms": NOW - 9,
                "delete_when_over": True,
                "progress": Progress(1, 2),
                "succeeded_subscribers": ("a.b",),
            },
            act=lambda s, blocked=blocked: s.jobs.restart(s.seen, NOW + 20_000, NOW, blocked=blocked),
            sets=lambda s: {
                **s.moved(State.PENDING, TraceEvent(Event.RETRIED, NOW)),
                **s.wake(NOW + 20_000),
                "delivery": 4,
                "due_at_ms": NOW,
                "attempt_limit": 6,  # three more attempts, and no number twice
                "round": 3,
                "failures": 0,
                "laps": 0,
                "error": None,
                "cause": None,
                "completed_at_ms": None,
                "delete_when_over": None,
                "progress": None,
                "succeeded_subscribers": None,
            },
            refusals={
                **not_in(State.FAILED, State.CANCELED),
                "replayed": {"replayed_at_ms": NOW - 1},
                "an attempt begun since": {"attempts": 4},
                "a newer delivery": {"delivery": 4},
            },
            label="pending",
            wake_in_ms=20_000,
        )
        for state, blocked in ((State.FAILED, False), (State.CANCELED, False), (State.CANCELED, True))
    ),
]
BY_NAME = {case.name: case for case in CASES}

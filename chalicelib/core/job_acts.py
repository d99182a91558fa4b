"""What people may do about a job, and which of it the job's state allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from chalicelib.core.job import Job
from chalicelib.core.states import LIVE, Kind, State


class Act(StrEnum):
    """What can be done about one job."""

    CANCEL = "cancel"
    RETRY = "retry"
    PROMOTE = "promote"
    COMPLETE = "complete"  # say how a task went
    REPLAY = "replay"  # make a new job of a dead letter, which remembers it
    DELETE = "delete"
    RERUN = "rerun"  # make a new job like it, perhaps with another input


@dataclass(frozen=True, slots=True)
class Rule:
    """When an act is allowed: a test, what that expects in words, and what to do where it is not so."""

    holds: Callable[[Job, int], bool]  # by the job and the time now
    expected: str
    remedy: str


def _failed(job: Job, _now_ms: int) -> bool:
    return job.state is State.FAILED and job.replayed_at_ms is None


RULES = {
    Act.CANCEL: Rule(
        lambda job, _: job.state in LIVE,
        "a job that is pending, running or waiting",
        "it is over; what has failed can be retried, and what is over deleted",
    ),
    Act.RETRY: Rule(
        lambda job, now_ms: job.state is State.CANCELED or _failed(job, now_ms),
        "a job that has failed or was canceled, and was not replayed",
        "wait until it has failed, or cancel it first; rerun makes a new job like it",
    ),
    Act.PROMOTE: Rule(
        lambda job, now_ms: job.state is State.PENDING and job.due_at_ms > now_ms,
        "a pending job whose start lies ahead",
        "ask why it is not running: it may wait for something else than its time",
    ),
    Act.COMPLETE: Rule(
        lambda job, _: job.kind is Kind.TASK and job.state in LIVE and not job.finishing,
        "a task that is not done",
        "how a task went is said once; a message is completed by whoever polled it",
    ),
    Act.REPLAY: Rule(
        _failed,
        "a dead letter: a job that has failed and was not replayed",
        "rerun makes a new job like it, whatever its state",
    ),
    Act.DELETE: Rule(
        lambda job, _: job.state.terminal and not job.run_goes_on,
        "a job that is over, and its run with it",
        "cancel it first, and try again once its handler has ended",
    ),
    Act.RERUN: Rule(lambda _job, _now_ms: True, "any job", "none is needed"),
}


def allowed(job: Job, now_ms: int) -> tuple[Act, ...]:
    """What may be done about a job as it stands."""
    return tuple(act for act, rule in RULES.items() if rule.holds(job, now_ms))

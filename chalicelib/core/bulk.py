"""Acts in bulk, by rule: which jobs one is for, in what states, and what it says that it will do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from chalicelib.core.job import Job
from chalicelib.core.states import TERMINAL, Kind, State
from chalicelib.core.trace import Event


class BulkAct(StrEnum):
    """What is done to each of many jobs."""

    CANCEL = "cancel"
    RETRY = "retry"
    PROMOTE = "promote"  # let a delayed job start now
    REPLAY = "replay"  # publish a dead letter anew
    DELETE = "delete"


class BulkState(StrEnum):
    """How an act in bulk stands."""

    RUNNING = "running"
    STOPPING = "stopping"  # by request, once the step that is being made has ended; shown, never stored
    STOPPED = "stopped"  # by request
    DONE = "done"


STATES_OF: Mapping[BulkAct, tuple[State, ...]] = {
    BulkAct.CANCEL: (State.PENDING, State.RUNNING, State.WAITING),
    BulkAct.RETRY: (State.FAILED, State.CANCELED),
    BulkAct.PROMOTE: (State.PENDING,),
    BulkAct.REPLAY: (State.FAILED,),
    BulkAct.DELETE: tuple(sorted(TERMINAL)),
}
"""The states in which a job must be; a dead letter that was replayed can be deleted, and nothing else."""

_STATE_AFTER: Mapping[Event, State] = {
    Event.PUBLISHED: State.PENDING,
    Event.REPLAYED: State.PENDING,
    Event.STARTED: State.RUNNING,
    Event.RECOVERED: State.PENDING,
    Event.FAILED: State.PENDING,
    Event.PARKED: State.WAITING,
    Event.INTERRUPTED: State.PENDING,
    Event.PROMOTED: State.PENDING,
    Event.RETRIED: State.PENDING,
    Event.REQUEUED: State.PENDING,
}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one job: ``error`` says why it was refused; ``None``: it is as was asked for."""

    job: int
    error: str | None = None


def belongs(act: BulkAct, job: Job, started_at_ms: int) -> bool:
    """Whether a job is in a state that ``act`` is for, and was when it began, as far as its record tells.

    One that was made since then, or has ended since, was not. One that was retried or has begun since was, if the state
    in which it was then is another one that the act is for.
    """
    states = STATES_OF[act]
    if job.created_at_ms >= started_at_ms or job.state not in states:
        return False
    if job.replayed_at_ms is not None and act is not BulkAct.DELETE:
        return False
    if job.state.terminal:
        return (job.completed_at_ms or job.updated_at_ms) < started_at_ms
    return job.updated_at_ms < started_at_ms or _state_at(job, started_at_ms) in states


def is_so_already(act: BulkAct, job: Job | None, now_ms: int) -> bool:
    """Whether a job, as it stands, is as ``act`` would leave it, though it was not when it was listed for it.

    That is so where an earlier step did it and died before it could say so, or where somebody else was asked for the
    same. ``None``: there is no such job any more.
    """
    if job is None:
        return act is BulkAct.DELETE
    match act:
        case BulkAct.CANCEL:
            return job.state is State.CANCELED
        case BulkAct.RETRY:
            return job.replayed_at_ms is None and job.state is not State.CANCELED
        case BulkAct.PROMOTE:
            return job.state is not State.CANCELED and (job.state is not State.PENDING or job.due_at_ms <= now_ms)
        case BulkAct.REPLAY:
            return job.replayed_at_ms is not None
        case BulkAct.DELETE:
            return False


def sentence(act: BulkAct, by_type: Mapping[tuple[Kind, str], int], *, exact: bool, unsuited: int = 0) -> str:
    """What an act will do, in a sentence: ``This will retry 312 jobs of 3 types.``

    ``unsuited``: how many that were named it cannot be done to, which a second sentence says.
    """
    others = (
        f" {unsuited:,} of {sum(by_type.values()) + unsuited:,} are in no state for it, or gone." if unsuited else ""
    )
    return _will(act, by_type, exact=exact) + others


def _will(act: BulkAct, by_type: Mapping[tuple[Kind, str], int], *, exact: bool) -> str:
    count = sum(by_type.values())
    if count == 0:
        return f"There is no job here that this could {act}."
    kinds = {kind for kind, _ in by_type}
    noun = str(next(iter(kinds))) if len(kinds) == 1 else "job"
    of_types = f"of {len(by_type)} types" if len(by_type) > 1 else f"of the type {next(iter(by_type))[1]}"
    return f"This will {act} {'' if exact else 'more than '}{count:,} {noun}{'' if count == 1 else 's'} {of_types}."


def _state_at(job: Job, at_ms: int) -> State | None:
    """In what state a job was before ``at_ms``, by its newest events; ``None`` if they do not tell."""
    before = [event for event in job.events if event.at_ms < at_ms and event.event in _STATE_AFTER]
    return _STATE_AFTER[before[-1].event] if before else None

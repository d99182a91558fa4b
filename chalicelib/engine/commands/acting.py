"""An act on a job, by its name: first whether the job's state allows it, then the command that does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from chalicelib.core.errors import Conflict
from chalicelib.core.job import Job
from chalicelib.core.job_acts import RULES, Act
from chalicelib.engine.commands import again, lifecycle
from chalicelib.engine.commands.complete import Completion, complete
from chalicelib.engine.yard import Yard

SAME: Final = object()
"""The input of a job is that of the one which it is like."""

SUCCEEDED = Completion(success=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an act needs beside the job: who acts, how a task went, with which input it runs again."""

    by: str
    completion: Completion = SUCCEEDED
    input: Any = SAME


@dataclass(frozen=True, slots=True)
class Done:
    """What was done: the job as it was ``seen``, and ``job``, as it is then; ``made`` is the id of a new one."""

    seen: Job
    job: Job | None
    made: int | None = None


def act_on(yard: Yard, job_id: int, act: Act, given: Given) -> Done:
    """Do something about a job.

    Raises ``NotFound``, ``Conflict`` naming state and remedy where the job's state does not allow it, and what the
    command raises.
    """
    job = lifecycle.find(yard, job_id)
    _expect_allowed(job, act, yard.now_ms())
    match act:
        case Act.CANCEL:
            return Done(job, lifecycle.cancel(yard, job_id, job.kind))
        case Act.RETRY:
            return Done(job, lifecycle.retry(yard, job_id, job.kind))
        case Act.PROMOTE:
            return Done(job, lifecycle.promote(yard, job_id, job.kind))
        case Act.COMPLETE:
            return Done(job, complete(yard, job_id, given.completion))
        case Act.DELETE:
            lifecycle.delete(yard, job_id, job.kind)
            return Done(job, None)
        case Act.REPLAY:
            made = lifecycle.replay(yard, job_id, job.kind)
        case Act.RERUN:
            made = again.rerun(yard, job, given.by, {} if given.input is SAME else {"input": given.input})
    return Done(job, yard.jobs.find(job_id), made.id)


def _expect_allowed(job: Job, act: Act, now_ms: int) -> None:
    rule = RULES[act]
    if not rule.holds(job, now_ms):
        state = "replayed" if job.replayed_at_ms is not None else job.state.value
        raise Conflict(
            f"this {job.kind} is {state}: {act} does not apply",
            field="act",
            expected=rule.expected,
            got=state,
            remedy=rule.remedy,
        )

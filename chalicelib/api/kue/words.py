"""kue's words for states, its ranges, and how it tells what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.http.exchange import Answer
from chalicelib.http.models import AnswerModel, ApiModel, Name
from chalicelib.http.problems import Problem, ProblemStyle
from chalicelib.services.kue_orders import leading_integer
from chalicelib.store.job_queries import INDEX_KEYS, JobQuery, index_keys_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard


class KueState(StrEnum):
    """Where a job stands, in kue's words."""

    INACTIVE = "inactive"
    DELAYED = "delayed"
    ACTIVE = "active"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELED = "canceled"  # which kue does not know


ENGINE_STATES = {
    KueState.INACTIVE: (State.PENDING,),
    KueState.DELAYED: (State.PENDING,),
    KueState.ACTIVE: (State.RUNNING, State.WAITING),
    KueState.COMPLETE: (State.SUCCESS,),
    KueState.FAILED: (State.FAILED,),
    KueState.CANCELED: (State.CANCELED,),
}
STATE_OF = {state: word for word, states in reversed(ENGINE_STATES.items()) for state in states}  # due, not delayed
TOLD_AS_OK = frozenset({404, 409, 422})


class KueError(AnswerModel):
    """What is wrong."""

    error: str = Field(examples=['job "7" doesnt exist'])


def _error_text(problem: Problem) -> str:
    fields = [f"{detail.field}: expected {detail.expected}, got {detail.got}" for detail in problem.details]
    news = [each for each in fields if each not in problem.message]
    return "; ".join([problem.message, *news, *([problem.remedy] if problem.remedy else [])])


def _told_as_ok(problem: Problem) -> Answer:
    status = 200 if problem.status in TOLD_AS_OK else problem.status
    return Answer(status, {"error": _error_text(problem)}, problem.headers)


def _told_by_status(problem: Problem) -> Answer:
    return Answer(400 if problem.status == 422 else problem.status, {"error": _error_text(problem)}, problem.headers)


FIELD_NAMES = {"max_attempts": "attempts", "idempotency_key": "Idempotency-Key", "search": "q"}
KUE = ProblemStyle(_told_as_ok, KueError, FIELD_NAMES)
CREATING = ProblemStyle(_told_by_status, KueError, FIELD_NAMES)
"""Of ``POST /job`` alone."""


class JobPath(ApiModel):
    """A job by its id."""

    id: Name = Field(examples=["7"])


def state_of(job: Job, now_ms: int) -> KueState:
    """kue's word for where a job stands."""
    return KueState.DELAYED if job.state is State.PENDING and job.due_at_ms > now_ms else STATE_OF[job.state]


def query_of(
    word: KueState | None,
    type: str | None,  # noqa: A002  # every dialect's word for it
    now_ms: int,
    *,
    descending: bool = False,
) -> JobQuery:
    """The jobs in one of kue's states, or in all, of a type, or of all, oldest first unless ``descending``.

    No index tells what is delayed from what is due: both look through what is pending.
    """
    keys = INDEX_KEYS if word is None else index_keys_of(*ENGINE_STATES[word])
    split = word in (KueState.INACTIVE, KueState.DELAYED)
    return JobQuery(
        Kind.TASK,
        type,
        keys,
        matches=(lambda job: state_of(job, now_ms) == word) if split else None,
        descending=descending,
    )


def find(yard: Yard, written: str) -> Job:
    """The task with an id as a client wrote it; raises ``NotFound`` in kue's words."""
    job_id = parse_job_id(written)
    if job_id is None or str(job_id) != written:
        raise unknown(written)
    try:
        return lifecycle.find(yard, job_id, Kind.TASK)
    except NotFound as error:
        raise unknown(written) from error


def unknown(written: str) -> NotFound:
    """There is no job with such an id."""
    return NotFound(f'job "{written[:40]}" doesnt exist')


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a list: both ends included, counted from 0, or from the end where they are negative (-1: the last)."""

    first: int
    last: int

    @classmethod
    def read(cls, text: str) -> Range | None:
        """The range in ``0..9``; ``None`` for a text without two points. Raises ``InvalidInput`` without numbers."""
        first, points, last = text.partition("..")
        if not points:
            return None
        ends = leading_integer(first), leading_integer(last.removeprefix("."))
        if ends[0] is None or ends[1] is None:
            raise InvalidInput(f"expected a range of whole numbers such as 0..9, got {text[:40]}")
        return cls(ends[0], ends[1])

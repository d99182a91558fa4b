"""What happens to a job, in the words of those who want to be told (kue's events, and the pools' of Yao).

An event is read off a change of the job's record, so whoever is told learns what the ledger says, and nothing that
was only meant to be. One change may hold several; they are told in the order of ``EventType``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import SYSTEM, Job, JobError, Progress
from chalicelib.core.job_documents import from_document, to_document
from chalicelib.core.states import Kind, State


class EventType(StrEnum):
    """The kinds of events, in the order in which those of one change are told."""

    CREATE = "create"  # it was accepted (a pool's ``add``)
    PROMOTION = "promotion"  # its delay is over
    ENQUEUE = "enqueue"  # it is queued: at once, after its delay, or again by an explicit retry
    START = "start"  # an attempt begins
    PROGRESS = "progress"  # its handler has told how far it is
    FAILED_ATTEMPT = "failed attempt"  # an attempt has failed, and another follows
    FAILED = "failed"  # it has failed for good
    COMPLETE = "complete"  # it has succeeded
    CANCEL = "cancel"  # it was canceled
    REMOVE = "remove"  # it was deleted


OutputReader = Callable[[Job], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """Something that happened to a job. ``job`` is its record right after; of one that was removed, right before.

    Input, options and context are not in it, nor its trace.
    ``sequence`` is the place of the change in the ledger's stream. ``detail`` depends on what happened::

        progress         current, total, percent (0 to 100), message, data
        failed attempt   error ({type, message}), attemptsMade, attemptsRemaining, nextAttemptAtMs
        failed           error, attemptsMade
        complete         completedBy, msg: where somebody completed it and said so
    """

    what: EventType
    job: Job
    sequence: str
    at_ms: int  # milliseconds since 1970
    detail: Mapping[str, Any] = field(default_factory=dict)
    read_output: OutputReader | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The same however often it is told, and no other's."""
        return f"{self.job.id}-{self.sequence}-{self.what.replace(' ', '-')}"

    @property
    def job_id(self) -> int:
        """Whose it is."""
        return self.job.id

    @property
    def kind(self) -> Kind:
        """Whether that is a task or a message."""
        return self.job.kind

    @property
    def type(self) -> str:
        """The task's type, or the message's topic."""
        return self.job.type

    @property
    def queue(self) -> str:
        """The pool of the task's type, or the topic."""
        return self.job.queue

    @property
    def attempt(self) -> int:
        """How many attempts were begun since the publish or the newest explicit retry."""
        return self.job.tries

    @property
    def progress(self) -> Progress | None:
        """How far the job said it was."""
        return self.job.progress

    @property
    def error(self) -> JobError | None:
        """Why its newest attempt failed, if one has and none has succeeded since."""
        return self.job.error

    def output(self) -> Any:
        """What the job's handler returned, read where it is kept; ``None`` for nothing.

        Raises ``NotFound`` once a larger one was deleted with its job, ``LookupError`` where nothing can be read.
        """
        if self.read_output is None:
            raise LookupError("outputs cannot be read here: this event was not delivered to a hook")
        return self.read_output(self.job)

    def to_document(self) -> dict[str, Any]:
        """The form in which it travels, for JSON."""
        return {
            "what": self.what.value,
            "sequence": self.sequence,
            "at_ms": self.at_ms,
            "detail": self.detail,
            "job": to_document(self.job),
        }

    @classmethod
    def from_document(cls, document: Any) -> JobEvent:
        """The event that ``to_document`` wrote; raises ``InvalidInput`` for anything else."""
        try:
            return cls(
                what=EventType(document["what"]),
                job=from_document(document["job"]),
                sequence=document["sequence"],
                at_ms=document["at_ms"],
                detail=document["detail"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput("this is no event", expected="one that Taskyard wrote") from error


def events_of(before: Job | None, after: Job | None, sequence: str, at_ms: int) -> list[JobEvent]:
    """What the change from ``before`` to ``after`` tells, in the order in which it is told.

    ``None`` is no record: not yet, or nothing but a tombstone. ``at_ms`` says when the record went away, which it
    cannot say itself; every other event has the record's own time.

    The end of a delay is told where the ledger shows it: when the clock or somebody promotes the job, or, as SQS ends
    shorter delays by itself and says nothing, when the first attempt begins.
    """
    if after is None:
        if before is None:
            return []
        return [JobEvent(what=EventType.REMOVE, job=_snapshot(before), sequence=sequence, at_ms=at_ms)]
    job = _snapshot(after)
    return [
        JobEvent(
            what=what,
            job=job,
            sequence=sequence,
            at_ms=after.created_at_ms if what is EventType.CREATE else after.updated_at_ms,
            detail=detail,
        )
        for what, detail in _event(before, after)
    ]


StoryEvent = tuple[EventType, Mapping[str, Any]]


def _event(before: Job | None, after: Job) -> Iterator[StoryEvent]:
    if before is None:
        yield EventType.CREATE, {}
    yield from _queued(before, after)
    if _starts(before, after):
        yield EventType.START, {}
    if after.progress is not None and (before is None or after.progress != before.progress):
        yield EventType.PROGRESS, _progress(after.progress)
    if after.state is State.PENDING and before is not None and after.failures > before.failures:
        yield EventType.FAILED_ATTEMPT, _failed_attempt(after)
    if before is None or before.state is not after.state:
        yield from _ended(after)


def _queued(before: Job | None, after: Job) -> Iterator[StoryEvent]:
    """The job may be run from now on, for the first time since it was accepted or explicitly retried."""
    if after.state not in (State.PENDING, State.RUNNING) or after.runner != SYSTEM or after.finishing:
        return
    if not _is_queued(after) or (before is not None and not before.state.terminal and _is_queued(before)):
        return
    if _was_delayed(before, after):
        yield EventType.PROMOTION, {}
    yield EventType.ENQUEUE, {}


def _is_queued(job: Job) -> bool:
    """Whether nothing but a worker is missing, or has been since the publish or the newest explicit retry."""
    return not job.blocked and (job.attempts > job.epoch or not _is_delayed(job))


def _is_delayed(job: Job) -> bool:
    """Whether the record was last written before the job's time."""
    return job.due_at_ms > job.updated_at_ms


def _was_delayed(before: Job | None, after: Job) -> bool:
    if before is None:  # made by a worker, from the message, once its time had come
        return after.due_at_ms > after.created_at_ms
    return not before.state.terminal and _is_delayed(before)


def _starts(before: Job | None, after: Job) -> bool:
    """Whether an attempt begins; a run that only calls the completion handler is none."""
    if after.state is not State.RUNNING or after.finishing:
        return False
    return before is None or after.lease != before.lease


def _ended(after: Job) -> Iterator[StoryEvent]:
    match after.state:
        case State.FAILED:
            yield EventType.FAILED, {"error": _error(after.error), "attemptsMade": after.tries}
        case State.SUCCESS:
            said = {"completedBy": after.completed_by, "msg": after.msg}
            yield EventType.COMPLETE, {name: value for name, value in said.items() if value is not None}
        case State.CANCELED:
            yield EventType.CANCEL, {}


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "current": progress.current,
        "total": progress.total,
        "percent": progress.percent,
        "message": progress.message,
        "data": None if progress.data is None else json.loads(progress.data),
    }


def _failed_attempt(job: Job) -> dict[str, Any]:
    return {
        "error": _error(job.error),
        "attemptsMade": job.tries,
        "attemptsRemaining": max(0, job.attempt_limit - job.attempts),
        "nextAttemptAtMs": job.due_at_ms,
    }


def _error(error: JobError | None) -> dict[str, str] | None:
    return None if error is None else {"type": error.type, "message": error.message}


def _snapshot(job: Job) -> Job:
    """The record without its story, what settles its attempt, and its body and context, which may hold secrets."""
    return replace(job, trace=(), lease=None, source=None, receipt=None, body=None, context=None)

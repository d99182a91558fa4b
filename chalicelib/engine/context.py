"""What a handler is given beside its input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from aws_lambda_powertools import Logger

from chalicelib.core.decisions import Failed
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job, JobError, Progress
from chalicelib.engine.yard import Yard, logger
from chalicelib.store.jobs import JobRefused
from chalicelib.store.payloads import to_json

PROGRESS_DATA_MAX_BYTES = 400


class JobCanceled(Exception):
    """The job was canceled while it ran; raised by ``progress`` and ``heartbeat`` so that the handler ends."""


class LeaseLost(Exception):
    """Another worker has taken the job over; whatever this one still does is not recorded."""


class Reject(Exception):
    """Raise it from a handler when no retry can help: the job becomes a dead letter at once."""


class HandlerTimeout(BaseException):
    """The attempt overran its time. Not an ``Exception``, so that a handler's own ``except`` does not swallow it.

    ``where``: what was interrupted.
    """

    def __init__(self, message: str, where: str | None = None) -> None:
        super().__init__(message)
        self.where = where


@dataclass(slots=True)
class Context:
    """One run of a job, as its handler sees it.

    ``job`` is the record as it was claimed, ``attempt`` counts from 1. ``objects`` is the S3 client and
    ``bucket`` the installation's bucket, for handlers that read or write objects.
    """

    yard: Yard
    job: Job
    body: dict[str, Any]
    lease_until_ms: int
    deadline_ms: int | None
    hold: Callable[[], int]  # keeps the message hidden and answers until when
    log: Logger = logger
    ended_because: type[JobCanceled] | type[LeaseLost] | None = field(default=None)
    succeeded: list[str] = field(init=False)  # the subscribers that have succeeded, in earlier attempts or in this one

    def __post_init__(self) -> None:
        self.succeeded = list(self.job.succeeded_subscribers)

    @property
    def attempt(self) -> int:
        """Which run of the job this is, from 1."""
        return self.job.attempts

    @property
    def input(self) -> Any:
        """The job's input as it was published."""
        return self.body.get("input")

    @property
    def options(self) -> Any:
        """The job's options (a message's meta)."""
        return self.body.get("options")

    @property
    def objects(self) -> Any:
        """A client of the object store."""
        return self.yard.objects

    @property
    def bucket(self) -> str:
        """The bucket of this installation."""
        return self.yard.settings.objects_bucket

    @property
    def cancelled(self) -> bool:
        """Whether the run is void: the job was canceled or taken over. As of the last heartbeat."""
        return self.ended_because is not None

    def remaining_ms(self) -> int | None:
        """Milliseconds until the attempt is interrupted; ``None`` if it has all the time in the world."""
        return None if self.deadline_ms is None else max(0, self.deadline_ms - self.yard.now_ms())

    def progress(self, current: float, total: float = 100, message: str = "", data: Any = None) -> None:
        """Record how far the work is; one DynamoDB write a call.

        Raises ``JobCanceled`` or ``LeaseLost`` when the run is void, and ``InvalidInput`` for numbers that are none
        and ``data`` that is no JSON. Data above 400 bytes is left out.
        """
        _check_number("current", current)
        _check_number("total", total)
        text = None if data is None else to_json(data, "progress data")
        if text is not None and len(text) > PROGRESS_DATA_MAX_BYTES:
            text = json.dumps({"omitted": f"{len(text)} bytes"})
        self.raise_if_void()
        report = Progress(current, total, storable(message)[:200], text)
        self._fenced(
            lambda: self.yard.jobs.report_progress(self.job.id, self.job.lease or "", report, self.yard.now_ms())
        )

    def heartbeat(self) -> None:
        """Keep the job for another lease from now; happens by itself every third of a lease.

        Raises ``JobCanceled`` or ``LeaseLost`` when the run is void.
        """
        self.raise_if_void()
        self.extend()
        self.raise_if_void()

    def extend(self) -> None:
        """Extend the message's hiding, then the lease on the ledger; notes when the run is void."""
        until_ms = self.hold()
        try:
            self.yard.jobs.extend_lease(self.job.id, self.job.lease or "", until_ms)
            self.lease_until_ms = until_ms
        except JobRefused as refused:
            self.note_refusal(refused)

    def raise_if_void(self) -> None:
        """Raise ``JobCanceled`` or ``LeaseLost`` when the run is void."""
        if self.ended_because is not None:
            raise self.ended_because(f"job {self.job.id} is no longer this worker's")

    def note_refusal(self, refused: JobRefused) -> None:
        """Remember why the ledger no longer listens to this run."""
        canceled = isinstance(refused.ledger, Job) and refused.ledger.lease == self.job.lease
        self.ended_because = JobCanceled if canceled else LeaseLost

    def _fenced(self, write: Callable[[], None]) -> None:
        try:
            write()
        except JobRefused as refused:
            self.note_refusal(refused)
        self.raise_if_void()


def failure_of(error: BaseException) -> Failed:
    """How an exception is recorded: its class, its text, and the line of the user's code that raised it."""
    where = None
    trace = error.__traceback__
    while trace is not None:
        where = place_of(trace.tb_frame, trace.tb_lineno)
        trace = trace.tb_next
    return Failed(JobError(type(error).__name__, text_of(error)[:500], where), final=isinstance(error, Reject))


def text_of(error: BaseException) -> str:
    """What an exception says, whatever its class does when it is asked."""
    try:
        return storable(str(error))
    except Exception:  # user code
        return "the exception has no text: its __str__ raises"


def storable(text: object) -> str:
    """Text that UTF-8, and so the ledger and the log, can hold; what it cannot is shown as an escape."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput("progress is told in numbers", field=name, expected="a finite number", got=value)


def place_of(frame: FrameType, line: int) -> str:
    """A line of code as an error names it: ``file:line function``."""
    return f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{line} {frame.f_code.co_name}"

"""What a handler is given beside its input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from aws_lambda_powertools import Logger

from chalicelib.core.decisions import Parked
from chalicelib.core.documents import jsonable, to_json
from chalicelib.core.errors import InvalidInput, Reject
from chalicelib.core.job import Progress
from chalicelib.core.states import Kind
from chalicelib.core.texts import readable
from chalicelib.engine import logbook
from chalicelib.engine.graphs.plans import results_before
from chalicelib.engine.interruptions import PollAgain
from chalicelib.engine.worker import console
from chalicelib.engine.worker import pause as pausing
from chalicelib.engine.worker.attempt import Attempt, LeaseLost
from chalicelib.logger import logger

PROGRESS_DATA_MAX_BYTES = 400
POLL_TIMES = 20  # fastify-task: maxPollTimes
POLL_TIMES_MAX = 10_000
POLL_INTERVAL_MS = 10_000  # fastify-task: pollInterval
POLL_INTERVAL_MAX_MS = 86_400_000
POLL_ANSWER = frozenset({"result", "data", "message", "progress"})

current_run: ContextVar[Context | None] = ContextVar("current_run", default=None)  # of the code that asks

Check = Callable[[], Mapping[str, Any]]
T = TypeVar("T")


class PollFailed(Exception):
    """What a handler polls for has failed."""


class PolledTooOften(Reject):
    """What a handler polls for did not come to an end within the polls it has."""


@dataclass(slots=True)
class Context(Attempt):
    """One run of a job, as its handler sees it.

    ``job`` is the record as it was claimed, ``attempt`` counts from 1. ``objects`` is the S3 client and
    ``bucket`` the installation's bucket, for handlers that read or write objects.
    """

    log: Logger = logger
    succeeded: list[str] = field(init=False)  # the subscribers that have succeeded, in earlier attempts or in this one
    parked: Parked | None = field(default=None)
    printed: console.Console = field(init=False)  # what the handler prints and logs
    _polled_for: int = field(default=0, init=False)  # how many things this run has polled for
    _looks_here: int = field(default=0, init=False)  # how often it has looked
    _looks_before: int = field(default=0, init=False)  # looks that belong to polls which have come to their end

    def __post_init__(self) -> None:
        self.succeeded = list(self.job.succeeded_subscribers)
        self.printed = console.Console(self.job.attempts, self.yard.now_ms)

    @property
    def attempt(self) -> int:
        """Which attempt this is since the publish or the newest explicit retry, from 1; a poll begins no new one."""
        return max(self.job.tries, 1)

    @property
    def input(self) -> Any:
        """The job's input as it was published."""
        return self.body.get("input")

    @property
    def options(self) -> Any:
        """The job's options (a message's meta)."""
        return self.body.get("options")

    @property
    def task_context(self) -> Any:
        """The context that the task was created with, or that it was parked with since."""
        was_parked = self.job.context is not None or self.job.context_at is not None
        return self.yard.payloads.context(self.job) if was_parked else self.body.get("context")

    @property
    def results(self) -> Mapping[str, Any]:
        """Of a node of a graph, the outputs of the nodes before it that have succeeded, by name; read when asked for.

        Of a compensation, those of all nodes.
        """
        return results_before(self.yard, self.job)

    @property
    def schedule(self) -> str | None:
        """The name of the schedule that made the job; ``None`` if none did."""
        return self.job.schedule

    @property
    def slot_time(self) -> datetime | None:
        """The time of the schedule's slot that the job is for, in UTC; ``None`` if it was made by request."""
        return None if self.job.slot_at_ms is None else datetime.fromtimestamp(self.job.slot_at_ms / 1_000, UTC)

    @property
    def objects(self) -> Any:
        """A client of the object store."""
        return self.yard.objects

    @property
    def bucket(self) -> str:
        """The bucket of this installation."""
        return self.yard.settings.objects_bucket

    def progress(self, current: float, total: float = 100, message: str = "", data: Any = None) -> None:
        """Record how far the work is; one DynamoDB write a call.

        Raises ``JobCanceled`` or ``LeaseLost`` when the run is void, and ``InvalidInput`` for numbers that are none
        and ``data`` that has no form in JSON. Data above 400 bytes is left out.
        """
        _check_number("current", current)
        _check_number("total", total)
        text = None if data is None else to_json(data, "data")
        if text is not None and len(text) > PROGRESS_DATA_MAX_BYTES:
            text = json.dumps({"omitted": f"{len(text)} bytes"})
        self.raise_if_void()
        report = _progress(current, total, message, text)
        self._fenced(
            lambda: self.yard.jobs.report_progress(self.job.id, self.job.lease or "", report, self.yard.now_ms())
        )

    def write_log(self, message: str = "", data: Any = None) -> None:
        """Add an entry to the job's log, of which the newest 100 are kept; one DynamoDB write a call.

        Raises ``InvalidInput`` for ``data`` that has no form in JSON, and ``TooLarge`` beyond 32 KB.
        """
        logbook.write(self.yard, self.job.id, message, data)

    def keep_printed(self) -> None:
        """Keep with the task what was printed and logged; of a run that another has taken over, nothing is kept."""
        if self.ended_because is not LeaseLost:
            console.keep(self.yard, self.job, self.printed)

    def step(self, name: str, do: Callable[[], T]) -> T:
        """What ``do`` returns, as JSON has it, done once in the life of the job: later runs get what the first left.

        It stays done across polls, retries and crashes, until somebody retries the job by request. A crash between
        doing and remembering does it again. ``name`` is the step's own among those of the job.
        """
        if not isinstance(name, str):
            raise InvalidInput("a step has a name", field="name", expected="a text", got=name)
        self.ensure_claimed()
        done = self.yard.job_details.step(self.job, name)
        if done is None:
            self.raise_if_void()
            done = self.yard.job_details.note_step(self.job, name, to_json(do(), "result"))
        value: T = json.loads(done)
        return value

    def next(self, context: Mapping[str, Any] | None = None) -> None:
        """Park the task once the handler returns: it waits until it is called back, completed or canceled.

        ``context`` replaces the task's, key by key; its ``secret`` is what callbacks are then signed with. What the
        handler returns is dropped. No Lambda is held meanwhile; the task's own time-out, if it has one, limits the
        wait. Raises ``InvalidInput`` for a message, which nobody could call back.
        """
        self._only_for_tasks("next")
        text = None
        if context is not None:
            if not isinstance(context, Mapping):
                raise InvalidInput("a context is an object", field="context", expected="a mapping", got=context)
            text = to_json({**(self.task_context or {}), **context}, "context")
        self.parked = Parked(text)

    def polling(self, look: Check, max_poll_times: int = POLL_TIMES, poll_interval_ms: float = POLL_INTERVAL_MS) -> Any:
        """The ``data`` of what is polled for, once it has succeeded.

        ``look`` answers ``{"result": "success" | "failed" | anything else for "not yet", "data", "message",
        "progress"}``. While it is not yet, this run ends and the handler is called again from its start after
        ``poll_interval_ms`` (0 to a day): no Lambda is held, a crash costs nothing, and the attempt goes on. What shall
        not be done again before the poll is a ``step``. Raises ``PollFailed`` when the result is ``failed``, and
        ``PolledTooOften``, which no retry follows, after ``max_poll_times`` (1 to 10,000) looks.
        """
        self._only_for_tasks("polling")
        if self.in_batch:
            expected = "a handler that is called with one input"
            raise InvalidInput("a batch cannot be called again for one of it", expected=expected, got="polling")
        _check_range("max_poll_times", max_poll_times, 1, POLL_TIMES_MAX)
        _check_range("poll_interval_ms", poll_interval_ms, 0, POLL_INTERVAL_MAX_MS)
        self.ensure_claimed()
        self._polled_for += 1
        stage = f"polling {self._polled_for}"
        found = self.yard.job_details.step(self.job, stage)
        if found is not None:
            return self._polled(json.loads(found))
        self.raise_if_void()
        answer = _poll_answer(look())
        self._note_poll(answer)
        match answer.get("result"):
            case "success":
                text = to_json({"data": answer.get("data"), "looks": self._looks}, "polling")
                return self._polled(json.loads(self.yard.job_details.note_step(self.job, stage, text)))
            case "failed":
                raise PollFailed(readable(answer.get("message") or "what was polled for has failed"))
        if self._looks - self._looks_before >= max_poll_times:
            raise PolledTooOften(f"polled {max_poll_times} times without an end")
        raise self.interrupted_by(PollAgain(round(poll_interval_ms)))

    def _polled(self, found: Mapping[str, Any]) -> Any:
        """A poll has come to its end; the next one of this handler has looks of its own."""
        self._looks_before = found["looks"]
        return found["data"]

    def _note_poll(self, answer: Mapping[str, Any]) -> None:
        """Count a look and keep what it found."""
        self._looks_here += 1
        progress, message = answer.get("progress"), readable(answer.get("message") or "")
        if progress is not None:
            _check_number("progress", progress)
        result = {**jsonable(answer, "polling"), "time": self.yard.now_ms()}
        report = None if progress is None else _progress(progress, 100, message, None)
        number = self._looks
        action = self.yard.job_details.noting_poll(self.job, number, result)
        self._fenced(lambda: self.yard.jobs.report_poll(self.job, number, report, action, self.yard.now_ms()))

    @property
    def _looks(self) -> int:
        return self.job.poll_count + self._looks_here

    def _only_for_tasks(self, what: str) -> None:
        if self.job.kind is not Kind.TASK or self.job.finishing:
            raise InvalidInput(
                f"{what} is for the handler of a task",
                expected="the handler of a task",
                got="a completion handler" if self.job.finishing else "a subscriber of a topic",
            )

    def heartbeat(self) -> None:
        """Keep the job for another lease from now; happens by itself every third of a lease.

        Raises ``JobCanceled`` or ``LeaseLost`` when the run is void.
        """
        self.ensure_claimed()
        self.raise_if_void()
        self.extend()
        self.raise_if_void()

    def pause(self, for_ms: int) -> None:
        """Take no more jobs of this one's type in this process for ``for_ms`` (1 ms to 15 minutes): others do.

        What is behind this job in its batch, and what comes meanwhile, is handed back (kue's ``ctx.pause``). Raises
        ``InvalidInput``.
        """
        pausing.pause_here(self.yard, pausing.type_target(self.job.type), for_ms)

    def resume(self) -> None:
        """Take jobs of this one's type in this process again, though the time of ``pause`` is not over."""
        pausing.resume_here(self.yard, pausing.type_target(self.job.type))


def _progress(current: float, total: float, message: str, data: str | None) -> Progress:
    return Progress(current, total, readable(message, 200), data)


def _poll_answer(answer: object) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping) or not POLL_ANSWER.issuperset(answer):
        raise InvalidInput(
            "a poll answers how it stands",
            field="polling",
            expected=f"a mapping of {', '.join(sorted(POLL_ANSWER))}",
            got=", ".join(map(str, answer)) if isinstance(answer, Mapping) else type(answer).__name__,
        )
    return answer


def _check_range(name: str, value: float, least: float, most: float) -> None:
    _check_number(name, value)
    if not least <= value <= most:
        raise InvalidInput("this is out of range", field=name, expected=f"{least} to {most}", got=value)


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput("progress is told in numbers", field=name, expected="a finite number", got=value)

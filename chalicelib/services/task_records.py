"""How tasks are told of, for HTTP and Python alike: whole, in a list, and with all that belongs to their runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from chalicelib.core.job import Job
from chalicelib.engine import logbook
from chalicelib.engine.worker import console
from chalicelib.engine.yard import Yard
from chalicelib.services import checks
from chalicelib.services.records import ConsoleLine, LogEntry, Task, moment_of, task_of

Which: TypeAlias = Task | int | str
"""A task, or its id as a number or as digits."""

Reading: TypeAlias = Callable[[Sequence[str], Callable[[], Any]], Any]
"""What to do about values that are kept elsewhere: given the fields that they are of, and how they are read."""


def id_of(task: Which) -> int:
    """The id of a task. Raises ``NotFound`` for what can be none."""
    return task.id if isinstance(task, Task) else checks.job_id(task, "task")


def read(_fields: Sequence[str], value: Callable[[], Any]) -> Any:
    """Read it, and let what is raised pass."""
    return value()


def whole(yard: Yard, job: Job, reading: Reading = read) -> Task:
    """A task with all its values, wherever they are kept."""
    body = reading(fields_in_body(job), lambda: yard.payloads.body(job)) or {}
    context = reading(("context",), lambda: _context(yard, job, body))
    return task_of(job, body, context, reading(("output",), lambda: yard.payloads.output(job)))


def listed(yard: Yard, job: Job, body: Mapping[str, Any] | None, reading: Reading = read) -> Task:
    """A task as lists show it: with what its record and its ``body`` hold."""
    context = reading(("context",), lambda: _context(yard, job, body or {}, in_list=True))
    return task_of(job, body, context, reading(("output",), lambda: yard.payloads.inline_output(job)))


def detailed(yard: Yard, job: Job, reading: Reading = read) -> Task:
    """A whole task, with its log, what its polls found and its handler printed."""
    return replace(
        whole(yard, job, reading),
        poll_results=poll_results(yard, job),
        log=log_of(yard, job),
        console=console_of(yard, job),
    )


def poll_results(yard: Yard, job: Job) -> tuple[Mapping[str, Any], ...]:
    """What its polls found, oldest first, each with its time."""
    polls = yard.job_details.poll_results(job) if job.poll_count else []
    return tuple({**found, "time": moment_of(found["time"])} for found in polls)


def console_of(yard: Yard, job: Job) -> tuple[ConsoleLine, ...]:
    """What its handler printed and logged, oldest first."""
    return tuple(
        ConsoleLine(time=moment_of(line.time_ms), attempt=line.attempt, source=line.source, text=line.text)
        for line in console.read(yard, job)
    )


def log_of(yard: Yard, job: Job) -> tuple[LogEntry, ...]:
    """Its log, newest first."""
    entries = logbook.read(yard, job.id)
    return tuple(LogEntry(time=moment_of(e.time_ms), message=e.message, data=e.data) for e in entries)


def fields_in_body(job: Job) -> list[str]:
    """The fields that a task's body tells: its context only until another has replaced it."""
    replaced = job.context is not None or job.context_at is not None
    return ["input", "options", "next", *([] if replaced else ["context"])]


def _context(yard: Yard, job: Job, body: Mapping[str, Any], *, in_list: bool = False) -> Any:
    """A task's context as it is now: that of its body, unless another has replaced it since.

    For a list none is read that is kept elsewhere than in the record or its body.
    """
    if job.context is None and job.context_at is None:
        return body.get("context")
    return yard.payloads.context(job) if job.context is not None or not in_list else None

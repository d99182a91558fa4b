"""One call of one handler, as a worker would call it, and everything that it did meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from chalicelib.core.decisions import Again, Failed, Interrupted, Outcome, Parked, Succeeded
from chalicelib.core.documents import jsonable
from chalicelib.core.errors import Conflict
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine import logbook
from chalicelib.engine.handlers.declare import Handler
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.policy import timeout_of
from chalicelib.engine.publish.prepare import prepare
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.run import run
from chalicelib.engine.yard import Yard
from chalicelib.services.current import at_work
from chalicelib.store.job_details import ConsoleLine, LogEntry
from chalicelib.store.transitions.running import Lease
from chalicelib.testing.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far a handler has said that it is. ``data`` is what it gave beside."""

    current: float
    total: float
    message: str
    data: Any = None


@dataclass(slots=True, kw_only=True)
class Call:
    """How a call went.

    ``status`` is success, failed (``final``: no retry would help), waiting (it has parked its task), polling (it looks
    again in ``again_in_ms``) or interrupted. ``error`` is ``Class: text``. ``progress``, ``log`` and ``console`` (what
    it printed and logged) are in the order of the calls; ``heartbeats`` counts those that the handler made itself.
    """

    status: str = "running"
    output: Any = None
    error: str | None = None
    final: bool = False
    again_in_ms: int | None = None
    progress: list[Report] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)
    console: list[ConsoleLine] = field(default_factory=list)
    heartbeats: int = 0
    outcome: Outcome | None = field(default=None, repr=False)  # as the engine gets it


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Under which a handler is called; see ``Workbench.call``."""

    attempt: int
    options: Any
    context: Any
    canceled: bool
    timeout_s: float | None


def call(world: World, handler: Handler, kind: Kind, value: Any, given: Circumstances) -> Call:
    """Call ``handler`` with ``value``. Its job is on the ledger during the call only, and told to nobody."""
    yard = _with_only(world.yard, handler, kind)
    made = Call()
    world.project()  # what happened before is told before
    job = _claimed(yard, handler, kind, value, given)
    try:
        if given.canceled:
            yard.jobs.cancel(job, yard.now_ms())
        with at_work(yard, job.id), _recorded(made):
            context = _context(yard, job)
            _note(made, run(yard, context))
        made.log, made.console = logbook.read(yard, job.id)[::-1], context.printed.lines()
    finally:
        world.forget(job)
    return made


def _with_only(yard: Yard, handler: Handler, kind: Kind) -> Yard:
    """``yard``, whose only handler of the type or topic is ``handler``, without a limit: a call takes nobody's slot."""
    handlers, handler = yard.handlers, replace(handler, limit=None)
    if kind is Kind.MESSAGE:
        return replace(yard, handlers=replace(handlers, subscribers={handler.name: (handler,)}))
    scripts = {(handler.name, handler.script): handler}
    return replace(yard, handlers=replace(handlers, tasks={handler.name: handler}, scripts=scripts, completions={}))


def _claimed(yard: Yard, handler: Handler, kind: Kind, value: Any, given: Circumstances) -> Job:
    """A job that was made for the call, running."""
    new_job = NewJob(
        kind=kind,
        type=handler.name,
        input=jsonable(value, "input"),
        options=jsonable(given.options, "options"),
        context=jsonable(given.context, "context"),
        script=handler.script if kind is Kind.TASK else None,
        timeout_ms=None if given.timeout_s is None else max(1, round(given.timeout_s * 1_000)),
    )
    prepared = prepare(yard, new_job)
    job = replace(
        prepared.job,
        attempts=given.attempt - 1,
        attempt_limit=max(prepared.job.attempt_limit, given.attempt),
        max_attempts=max(prepared.job.max_attempts, given.attempt),
        due_at_ms=yard.now_ms(),
    )
    yard.jobs.record(job, prepared.body)
    lease_until_ms = yard.now_ms() + yard.settings.lease_s * 1_000
    claimed = claim(yard, replace(job, body=prepared.travelling.body), Lease(yard.token(), lease_until_ms, "test"))
    if not isinstance(claimed, Job):
        raise Conflict("the job of the call cannot be run", expected="a job that can be claimed", got=claimed)
    return claimed


def _context(yard: Yard, job: Job) -> Context:
    limit_ms = timeout_of(yard, job)
    lease_ms = yard.settings.lease_s * 1_000
    deadline_ms = None if limit_ms is None else yard.now_ms() + limit_ms
    body = {"input": None, **yard.payloads.body(job)}
    return Context(yard, job, body, yard.now_ms() + lease_ms, deadline_ms, lambda: yard.now_ms() + lease_ms)


@contextmanager
def _recorded(made: Call) -> Iterator[None]:
    """What handlers tell their context within the block is noted on ``made``, and told all the same."""
    progress, heartbeat = Context.progress, Context.heartbeat

    def noting_progress(self: Context, current: float, total: float = 100, message: str = "", data: Any = None) -> None:
        progress(self, current, total, message, data)
        made.progress.append(Report(current=current, total=total, message=message, data=data))

    def noting_heartbeat(self: Context) -> None:
        heartbeat(self)
        made.heartbeats += 1

    with ExitStack() as patches:
        patches.enter_context(patch.object(Context, "progress", noting_progress))
        patches.enter_context(patch.object(Context, "heartbeat", noting_heartbeat))
        yield


def _note(made: Call, outcome: Outcome) -> None:
    made.outcome = outcome
    match outcome:
        case Succeeded(output):
            made.status = "success"
            made.output = None if output is None else json.loads(output)
        case Failed(error, final):
            made.status, made.error, made.final = "failed", f"{error.type}: {error.message}", final
        case Again(wait_ms):
            made.status, made.again_in_ms = "polling", wait_ms
        case Parked():
            made.status = "waiting"
        case Interrupted(error):
            made.status, made.error = "interrupted", f"{error.type}: {error.message}"

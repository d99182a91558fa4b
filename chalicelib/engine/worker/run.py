"""One attempt: find the handlers, parse the input, call them under the time limit, and say how it went."""

from __future__ import annotations

import inspect
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, TypeVar

from chalicelib.actor import acting
from chalicelib.core.causes import Cause
from chalicelib.core.decisions import Again, Failed, Interrupted, Outcome, Succeeded
from chalicelib.core.job import Job, JobError
from chalicelib.core.states import Kind
from chalicelib.engine.awaiting import awaited
from chalicelib.engine.failures import place_of
from chalicelib.engine.handlers.declare import Handler
from chalicelib.engine.handlers.signatures import label_of
from chalicelib.engine.interruptions import HandlerTimeout, PollAgain, Shutdown
from chalicelib.engine.policy import handlers_of
from chalicelib.engine.publish.malformed import without
from chalicelib.engine.worker.calls import Result, call, contained
from chalicelib.engine.worker.console import listening
from chalicelib.engine.worker.context import Context, current_run
from chalicelib.engine.worker.deliver import DELIVER
from chalicelib.engine.worker.shutdown import interruptible
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.payloads import PayloadLost, PayloadUnread

running_here: set[int] = set()
"""The ids of the jobs that this process runs: a handler may run another task."""

SHUT_DOWN = JobError("Shutdown", "shutdown")  # kue's word for it
STOPS = (PollAgain, PayloadLost, PayloadUnread, Shutdown, HandlerTimeout)  # what ends a run, by no fault of its handler
T = TypeVar("T")


def run(yard: Yard, context: Context) -> Outcome:
    """Run the handlers of a claimed job, or the completion handler of one that has its output.

    Whatever they do, the answer is an outcome.
    """

    def do() -> Outcome:
        if context.job.finishing:
            return _completed(context, Succeeded(), lambda: yard.payloads.output(context.job))
        handlers = (DELIVER,) if context.job.delivers else handlers_of(yard, context.job)
        return _perform(context, handlers) if handlers else _no_handler(yard, context.job)

    return outcome_of(context, do)


def outcome_of(context: Context, do: Callable[[], Outcome]) -> Outcome:
    """What ``do``, which calls the handlers of one job, comes to; what it prints is kept with the task."""
    try:
        with _heard(context):
            return attended(context, do)
    except STOPS as stop:
        return stopped(context, stop)


def attended(context: Context, do: Callable[[], T], *others: int) -> T:
    """What ``do`` returns, which runs the job of ``context``, and the ``others``; its time and a shutdown end it."""
    with (
        _known_here(context, *others),
        _interrupted_at(context),
        interruptible(context.interrupt),
    ):
        return do()


def stopped(context: Context, stop: BaseException) -> Outcome:
    """The outcome of a run that ended by one of the ``STOPS``."""
    match stop:
        case PollAgain():
            return Again(stop.wait_ms)
        case PayloadLost() | PayloadUnread():
            return without(stop)
        case HandlerTimeout():
            logger.warning("handler overran its time", extra={"type": context.job.type})
            return timed_out(context, stop)
    logger.warning("handler interrupted: the worker shuts down", extra={"type": context.job.type})
    return Interrupted(SHUT_DOWN)


def _no_handler(yard: Yard, job: Job) -> Failed:
    """The outcome of an attempt whose handler is gone."""
    if job.kind is Kind.MESSAGE:
        known, remedy = sorted(yard.handlers.subscribers), "declare one with @subscribe, then replay it"
    else:
        known, remedy = sorted(yard.handlers.tasks), "declare it with @task, then retry"
    names = ", ".join(known) or "none"
    text = f"no handler for {job.type!r} is deployed (known: {names[:300]}); {remedy}"
    return Failed(JobError("NoHandler", text), final=True, cause=Cause.NO_HANDLER)


def timed_out(context: Context, error: HandlerTimeout) -> Failed:
    """The outcome of an attempt that overran."""
    overrun = JobError("Timeout", f"attempt {context.attempt} overran its time", error.where)
    return Failed(overrun, succeeded_subscribers=remembered(context), cause=Cause.TIMED_OUT)


def remembered(context: Context) -> tuple[str, ...]:
    """The subscribers that the next attempt need not call again."""
    return tuple(context.succeeded) if context.job.kind is Kind.MESSAGE else ()


def _perform(context: Context, handlers: Sequence[Handler]) -> Outcome:
    """Call every handler that has not succeeded yet; all must, and one that fails does not stop the others."""
    results = [noted(context, each, call(context, each)) for each in handlers if each.label not in context.succeeded]
    return concluded(context, results)


def noted(context: Context, handler: Handler, result: Result) -> Result:
    """The result of one handler. If it has succeeded, the job need not call it again."""
    if isinstance(result, Succeeded):
        context.succeeded.append(handler.label)
    return result


def concluded(context: Context, results: Sequence[Result]) -> Outcome:
    """What the results of a job's handlers come to; a success calls the completion handler."""
    failures = [each for each in results if isinstance(each, Failed)]
    if failures:
        first = failures[0]
        return Failed(first.error, all(each.final for each in failures), remembered(context), cause=first.cause)
    interrupted = next((each for each in results if isinstance(each, Interrupted)), None)
    if interrupted is not None:
        return interrupted
    if context.parked is not None:
        return context.parked
    output = next((each.output for each in reversed(results) if isinstance(each, Succeeded)), None)
    return _completed(context, Succeeded(output), lambda: None if output is None else json.loads(output))


def _completed(context: Context, success: Succeeded, result: Callable[[], Any]) -> Outcome:
    """Call the completion handler of the task's type, if it has one: a success only stands if that succeeds."""
    function = context.yard.handlers.completions.get(context.job.type)
    if function is None or context.job.kind is not Kind.TASK:
        return success
    given = (result(), context)[: len(inspect.signature(function).parameters)]

    def complete() -> Succeeded:
        awaited(function(*given), context)
        return success

    ended = contained(context, label_of(function), complete)
    return replace(ended, final=True, output=success.output) if isinstance(ended, Failed) else ended


def is_heard(context: Context) -> bool:
    """Whether what the run prints is kept with its job."""
    return context.job.kind is Kind.TASK and context.yard.settings.console != "off"


@contextmanager
def _heard(context: Context) -> Iterator[None]:
    """What the block prints and logs is kept with the task, however it ends."""
    if not is_heard(context):
        yield
        return
    try:
        with listening(context.printed):
            yield
    finally:
        context.keep_printed()


@contextmanager
def _known_here(context: Context, *others: int) -> Iterator[None]:
    ids = {context.job.id, *others}
    running_here.update(ids)
    outer = current_run.set(context)
    try:
        with acting(f"a handler of {context.job.type}"):
            yield
    finally:
        current_run.reset(outer)
        running_here.difference_update(ids)


@contextmanager
def _interrupted_at(context: Context) -> Iterator[None]:
    """Raise ``HandlerTimeout`` in the block when the context's deadline comes.

    Only the main thread can be interrupted; elsewhere the heartbeat's grace is the only limit.
    """
    remaining_ms = context.remaining_ms()
    if remaining_ms is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, frame: FrameType | None) -> None:
        waits_at = context.coroutine.waits_at() if context.coroutine is not None else None
        at_work = None if frame is None else (frame, frame.f_lineno)
        where = place_of(*place) if (place := waits_at or at_work) is not None else None
        context.interrupt(HandlerTimeout(f"job {context.job.id} overran its time", where))

    before, since_s = signal.signal(signal.SIGALRM, interrupt), time.monotonic()
    outer_s, _ = signal.setitimer(signal.ITIMER_REAL, max(remaining_ms, 1) / 1_000)  # of a run within which this one is
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer_s:
            signal.setitimer(signal.ITIMER_REAL, max(outer_s - (time.monotonic() - since_s), 0.001))

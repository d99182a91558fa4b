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
from typing import Any

from chalicelib.core.causes import Cause
from chalicelib.core.decisions import Again, Failed, Interrupted, Outcome, Succeeded
from chalicelib.core.documents import to_json
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job, JobError
from chalicelib.core.states import Kind
from chalicelib.engine.awaiting import awaited
from chalicelib.engine.failures import MESSAGE_MAX_CHARS, failure_of, log_failure, place_of
from chalicelib.engine.handlers.declare import Handler, label_of
from chalicelib.engine.interruptions import HandlerTimeout, Interruption, PollAgain, Shutdown
from chalicelib.engine.policy import handlers_of
from chalicelib.engine.publish.malformed import without
from chalicelib.engine.worker.console import listening
from chalicelib.engine.worker.context import Context, JobCanceled, LeaseLost, current_run
from chalicelib.engine.worker.deliver import DELIVER, NotDelivered
from chalicelib.engine.worker.shutdown import interruptible
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.payloads import PayloadLost, PayloadUnread

running_here: set[int] = set()
"""The ids of the jobs that this process runs: a handler may run another task."""

SHUT_DOWN = JobError("Shutdown", "shutdown")  # kue's word for it


def run(yard: Yard, context: Context) -> Outcome:
    """Run the handlers of a claimed job, or the completion handler of one that has its output.

    Whatever they do, the answer is an outcome.
    """
    try:
        with (
            _heard(context),
            _known_here(context),
            _interrupted_at(context),
            interruptible(context.interrupt),
        ):
            if context.job.finishing:
                return _completed(context, Succeeded(), lambda: yard.payloads.output(context.job))
            handlers = (DELIVER,) if context.job.delivers else handlers_of(yard, context.job)
            return _perform(context, handlers) if handlers else _no_handler(yard, context.job)
    except PollAgain as again:
        return Again(again.wait_ms)
    except (PayloadLost, PayloadUnread) as error:
        return without(error)
    except Shutdown:
        logger.warning("handler interrupted: the worker shuts down", extra={"type": context.job.type})
        return Interrupted(SHUT_DOWN)
    except HandlerTimeout as error:
        logger.warning("handler overran its time", extra={"type": context.job.type})
        return timed_out(context, error)


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
    failures: list[Failed] = []
    output: Any = None
    for handler in handlers:
        if handler.label in context.succeeded:
            continue
        result = _call(context, handler)
        if isinstance(result, Failed):
            failures.append(result)
        else:
            context.succeeded.append(handler.label)
            output = result.output
    if not failures:
        if context.parked is not None:
            return context.parked
        return _completed(context, Succeeded(output), lambda: None if output is None else json.loads(output))
    first = failures[0]
    return Failed(first.error, all(each.final for each in failures), remembered(context), cause=first.cause)


def _completed(context: Context, success: Succeeded, result: Callable[[], Any]) -> Outcome:
    """Call the completion handler of the task's type, if it has one: a success only stands if that succeeds."""
    function = context.yard.handlers.completions.get(context.job.type)
    if function is None or context.job.kind is not Kind.TASK:
        return success
    given = (result(), context)[: len(inspect.signature(function).parameters)]

    def complete() -> Succeeded:
        awaited(function(*given), context)
        return success

    ended = _contained(context, label_of(function), complete)
    return replace(ended, final=True, output=success.output) if isinstance(ended, Failed) else ended


def _call(context: Context, handler: Handler) -> Succeeded | Failed:
    """Call a handler with the job's input. One that it cannot take is final: no retry mends it."""

    def call() -> Succeeded | Failed:
        try:
            value = handler.parse(context.input)
        except InvalidInput as error:
            text = _without_values(error)
            logger.error("input refused", extra={"handler": handler.label, "error": text})
            return Failed(JobError("InvalidInput", text[:MESSAGE_MAX_CHARS]), final=True)
        given = (value, context) if handler.wants_context else (value,)
        result = awaited(handler.function(*given), context)
        return Succeeded(None if result is None else to_json(result, "output"))

    return _contained(context, handler.label, call)


def _contained(context: Context, label: str, do: Callable[[], Succeeded | Failed]) -> Succeeded | Failed:
    """What ``do``, which calls user code, comes to. Whatever that raises is a failure of this job alone.

    What interrupts the run is raised, even if the user's code has swallowed or wrapped it.
    """
    try:
        context.raise_if_void()  # what is canceled or lost starts nothing more
        return do()
    except (Interruption, PayloadLost, PayloadUnread):
        raise
    except (JobCanceled, LeaseLost) as error:
        return failure_of(error)
    except NotDelivered as error:  # it says all that there is to know
        logger.warning("not delivered", extra={"error": str(error)})
        return failure_of(error)
    except BaseException as error:
        log_failure("handler failed", error, handler=label)
        return failure_of(error)
    finally:
        context.raise_if_interrupted()


def _without_values(error: InvalidInput) -> str:
    """What is wrong, but not what came instead: errors are listed and logged, and a payload may hold secrets."""
    return str(InvalidInput(error.message, field=error.field, expected=error.expected, remedy=error.remedy))


@contextmanager
def _heard(context: Context) -> Iterator[None]:
    """What the block prints and logs is kept with the task, however it ends."""
    if context.job.kind is not Kind.TASK or context.yard.settings.console == "off":
        yield
        return
    try:
        with listening(context.printed):
            yield
    finally:
        context.keep_printed()


@contextmanager
def _known_here(context: Context) -> Iterator[None]:
    running_here.add(context.job.id)
    outer = current_run.set(context)
    try:
        yield
    finally:
        current_run.reset(outer)
        running_here.discard(context.job.id)


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

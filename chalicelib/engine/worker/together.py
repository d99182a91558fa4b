"""Batches: jobs that one call of their handler does together.

What is at hand of one type and time-out makes a call, at the place of its first member. Each member is claimed, kept,
and settled by itself, exactly as if it ran alone: who is refused at the claim is not in the call, a crash costs each
member the one attempt, and one whose lease is lost settles nothing. Members that are light are not claimed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from chalicelib.core.decisions import Disposition, Nack, Outcome
from chalicelib.core.job import Job
from chalicelib.engine.policy import batch_of, handlers_of, timeout_of
from chalicelib.engine.worker import watchdog
from chalicelib.engine.worker.begin import Opened, RemainingMs, admit, begin, named, trace_run
from chalicelib.engine.worker.calls import Result, call_together
from chalicelib.engine.worker.console import listening
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.heartbeat import Heartbeat
from chalicelib.engine.worker.light import UnclaimedRun, Unrecorded, begin_unclaimed
from chalicelib.engine.worker.run import STOPS, attended, concluded, is_heard, noted, outcome_of, run, stopped
from chalicelib.engine.worker.settle import settle_or_leave
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import Received

SETTLING_MS = 50  # kept for settling each member, beside what is kept for a run


@dataclass(frozen=True, slots=True)
class Begun:
    """A member of a call; ``unclaimed`` where it is light."""

    entry: Opened
    context: Context
    unclaimed: UnclaimedRun | None


def calls_of(yard: Yard, entries: Sequence[Opened]) -> list[list[Opened]]:
    """The ``entries`` as they are called: each by itself, or with those that one call of its handler takes."""
    calls: list[list[Opened]] = []
    open_calls: dict[Hashable, list[Opened]] = {}
    for entry in entries:
        batch, job = batch_of(yard, entry.envelope), entry.envelope
        alike = (job.kind, job.type, job.script, timeout_of(yard, job))
        call = open_calls.get(alike)
        if batch is None or call is None or len(call) >= batch.max_size:
            call = open_calls[alike] = []
            calls.append(call)
        call.append(entry)
    return calls


def work_together(
    yard: Yard, heartbeat: Heartbeat, entries: Sequence[Opened], free: dict[int, Job], remaining_ms: RemainingMs
) -> Iterator[tuple[Received, Disposition | Unrecorded]]:
    """Run the jobs of ``entries``, which are alike, in one call; what becomes of each message.

    Those that are ``free``, by their ids, run without a claim.
    """
    begun: list[Begun] = []
    for entry in entries:
        seen = free.pop(entry.envelope.id, None)
        member = _begun(yard, heartbeat, entry, seen, lambda: remaining_ms() - SETTLING_MS * len(entries))
        if isinstance(member, Begun):
            begun.append(member)
        else:
            yield entry.message, member
    started_ms = yard.now_ms()
    outcomes = _run(yard, [member.context for member in begun])
    for member in begun:
        member.context.deadline_ms = None  # the call is over: what is left is to settle each
    for member, outcome in zip(begun, outcomes, strict=True):
        heartbeat.unwatch(member.context)
        trace_run(yard, member.entry.message, member.context.job, started_ms, outcome)
        yield member.entry.message, _settled(yard, member, outcome)


def _begun(
    yard: Yard, heartbeat: Heartbeat, entry: Opened, seen: Job | None, remaining_ms: RemainingMs
) -> Begun | Disposition:
    """A member that may run, whose lease is kept from now on; or what becomes of its message."""
    with named(entry.envelope):
        try:
            envelope = admit(yard, entry)
            if not isinstance(envelope, Job):
                return envelope
            unclaimed = None if seen is None else begin_unclaimed(yard, heartbeat, entry, seen, remaining_ms)
            context = unclaimed.context if unclaimed else begin(yard, heartbeat, entry, envelope, remaining_ms)
        except Exception:  # it costs this message a redelivery and the others nothing
            logger.exception("message goes back")
            return Nack(None)
        if not isinstance(context, Context):
            return context
        heartbeat.watch(context, entry.message)
        return Begun(entry, context, unclaimed)


def _settled(yard: Yard, member: Begun, outcome: Outcome) -> Disposition | Unrecorded:
    with named(member.entry.envelope):
        try:
            if member.unclaimed is not None:
                return member.unclaimed.ended(outcome)
            return settle_or_leave(yard, member.context.job, outcome)
        except Exception:  # as above
            logger.exception("message goes back")
            return Nack(None)


# -- the run -------------------------------------------------------------------------------------------


def _run(yard: Yard, contexts: Sequence[Context]) -> list[Outcome]:
    """How each of several claimed jobs went. One with an output has only its completion handler called, by itself."""
    if not contexts:
        return []
    watchdog.note(*(context.job for context in contexts))
    together = [context for context in contexts if not context.job.finishing]
    of_call = iter(_call_all(yard, together) if together else ())
    return [run(yard, context) if context.job.finishing else next(of_call) for context in contexts]


def _call_all(yard: Yard, contexts: Sequence[Context]) -> list[Outcome]:
    """One call of each handler with all jobs that have not succeeded there, then the completion handler for each."""
    lead = _lead(contexts)
    results: dict[int, list[Result]] = {context.job.id: [] for context in contexts}

    def call_handlers() -> None:
        for handler in handlers_of(yard, lead.job):
            missing = [context for context in contexts if handler.label not in context.succeeded]
            made = call_together(lead, missing, handler)
            for context, result in zip(missing, made, strict=True):
                results[context.job.id].append(noted(context, handler, result))

    try:
        with listening(lead.printed) if is_heard(lead) else nullcontext():
            attended(lead, call_handlers, *results)
    except STOPS as stop:
        return [_kept(context, lead, stopped(context, stop)) for context in contexts]
    return [_concluded(context, lead, results[context.job.id]) for context in contexts]


def _lead(contexts: Sequence[Context]) -> Context:
    """What stands for the call: the interruptions of all its members, none of what makes one of them void."""
    last = contexts[-1]
    for context in contexts:
        context.deadline_ms, context.in_batch = last.deadline_ms, True
    return Context(last.yard, last.job, last.body, last.lease_until_ms, last.deadline_ms, last.extend_visibility)


def _concluded(context: Context, lead: Context, results: Sequence[Result]) -> Outcome:
    if context.job.type in context.yard.handlers.completions:
        context.printed.hear_again(lead.printed)
        return outcome_of(context, lambda: concluded(context, results))
    return _kept(context, lead, concluded(context, results))


def _kept(context: Context, lead: Context, outcome: Outcome) -> Outcome:
    """``outcome``, once what the call has printed is kept with a job of it, too."""
    if is_heard(context):
        context.printed.hear_again(lead.printed)
        context.keep_printed()
    return outcome

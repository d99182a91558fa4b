"""The handlers of the installation under chaos. Each writes a line when it begins and one when it ends.

An input says what it does: ``ms`` (how long it runs), ``fails`` (how many attempts of a life fail), ``rejects``
(always, or ``"at first"``: until somebody asks for another life), ``k`` (its key) and ``ref`` (what its client calls
it). Whatever imports them gets a clock that is off by up to ``CHAOS_SKEW_S`` seconds, each process by its own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import Any

from chalicelib import Batch, Context, PerKey, Reject, subscribe, task
from chalicelib.clocks import ledger_clock, wall_clock_ms
from chalicelib.core.retry import Fixed

SOON = Fixed(500)
ATTEMPTS = 20  # more than kills and faults use up
FIRST_PART = "first"  # of two subscribers
LOG, SKEW = os.environ.get("CHAOS_LOG"), int(os.environ.get("CHAOS_SKEW_S", "0"))


@lru_cache(maxsize=8)
def _off_ms(pid: int) -> int:
    return Random(pid).randint(-SKEW * 1_000, SKEW * 1_000)  # noqa: S311 - the same for the process's whole life


if SKEW:
    ledger_clock._own_ms = lambda: wall_clock_ms() + _off_ms(os.getpid())


def write(what: str, **more: Any) -> None:
    """A line of the log, in one piece."""
    if LOG:
        line = json.dumps({"what": what, "at_ms": time.time_ns() // 1_000_000, "pid": os.getpid(), **more}) + "\n"
        file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


def begin(given: Any, context: Context, part: str, call: int) -> str:
    """Write down that a run begins; returns what tells it apart."""
    job = context.job
    run = f"{job.id}/{job.attempts}/{part}/{os.getpid()}/{time.monotonic_ns()}"
    slot = None if job.schedule is None or job.slot_at_ms is None else [job.schedule, job.slot_at_ms]
    about = {"type": job.type, "key": given.get("k"), "ref": given.get("ref"), "due_at_ms": job.due_at_ms, "slot": slot}
    write("begin", run=run, job=job.id, attempt=job.attempts, part=part, call=call, **about)
    return run


def outcome_of(given: Any, context: Context) -> Any:
    if given.get("rejects") is True or (given.get("rejects") and context.job.tries == context.job.attempts):
        return Reject("as it was told")
    if context.attempt <= given.get("fails", 0):
        return RuntimeError("not yet")
    return {"attempt": context.job.attempts}


def how(outcome: Any) -> str:
    """How a run ended, as it is written down."""
    if isinstance(outcome, Reject):
        return "rejected"
    return "failed" if isinstance(outcome, Exception) else "ok"


def noted(given: Any, context: Context, part: str = "") -> Any:
    """One run as its input wants it."""
    run = begin(given, context, part, time.monotonic_ns())
    time.sleep(given.get("ms", 0) / 1_000)
    outcome = outcome_of(given, context)
    write("end", run=run, how=how(outcome))
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@task("plain", backoff=SOON, max_attempts=ATTEMPTS)
def plain(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("told", backoff=SOON, max_attempts=ATTEMPTS)
def told(given: Any, context: Context) -> Any:
    """A webhook is told of it."""
    return noted(given, context)


@task("light", pool="light", backoff=SOON, max_attempts=ATTEMPTS, light=True)
def light(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("lone", backoff=SOON, max_attempts=ATTEMPTS, concurrency=2)
def lone(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("keyed", backoff=SOON, max_attempts=ATTEMPTS, key="input.k", per_key=PerKey(concurrency=1))
def keyed(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("ordered", backoff=SOON, max_attempts=ATTEMPTS, key="input.k", order="step aside")
def ordered(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("batched", pool="batched", backoff=SOON, max_attempts=ATTEMPTS, batch=Batch(5))
def batched(given: Sequence[Any], contexts: Sequence[Context]) -> Any:
    call = time.monotonic_ns()
    runs = [begin(each, context, "", call) for each, context in zip(given, contexts, strict=True)]
    time.sleep(max(each.get("ms", 0) for each in given) / 1_000)
    outcomes = [outcome_of(each, context) for each, context in zip(given, contexts, strict=True)]
    for run, outcome in zip(runs, outcomes, strict=True):
        write("end", run=run, how=how(outcome))
    return outcomes


@subscribe("news", backoff=SOON, max_attempts=ATTEMPTS)
def first_reader(given: Any, context: Context) -> Any:
    return noted({**given, "fails": 0, "rejects": False}, context, FIRST_PART)


@subscribe("news", backoff=SOON, max_attempts=ATTEMPTS)
def second_reader(given: Any, context: Context) -> Any:
    return noted(given, context, "second")


DECLARED = (plain, told, light, lone, keyed, ordered, batched, first_reader, second_reader)
LIMITS = {"lone": 2, "keyed": 1, "ordered": 1}

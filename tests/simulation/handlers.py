"""The handlers of the simulated installation. Each writes down when it began and how it ended; its input says how.

An input is an object: ``ms`` (how long it runs), ``fails`` (how many attempts of a life fail), ``rejects``, ``polls``
(how often it looks before it is done), ``parks``, ``ref`` (a name for what its client expects of it), and ``k``, the
key, where the type has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from greenlet import getcurrent

from chalicelib import Batch, Context, Debounce, JobCanceled, LeaseLost, PerKey, Rate, Reject, Unique, subscribe, task
from chalicelib.core.retry import Fixed
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.interruptions import Interruption
from chalicelib.testing.world import WorkerDied
from tests.proof.history import History, Run
from tests.simulation.scheduler import Scheduler

SOON = Fixed(8_000)
BATCH_MAX = 3


class Stage(Protocol):
    """The run that the handlers are in."""

    history: History
    scheduler: Scheduler

    def new_call(self) -> int: ...


stage: Stage


@contextmanager
def on(current: Stage) -> Iterator[None]:
    """Handlers write down for ``current``."""
    global stage  # handlers are functions of modules, and know no other way
    stage = current
    yield


def begun(given: Any, context: Context, part: str, call: int) -> Run:
    """Write down that a run begins."""
    job, process = context.job, getcurrent().process
    slot = None if job.schedule is None or job.slot_at_ms is None else (job.schedule, job.slot_at_ms)
    run = Run(job.id, job.attempts, part, job.type, given.get("k"), call, process.name, stage.scheduler.now_ms)
    run.due_at_ms, run.slot, run.ref = job.due_at_ms, slot, given.get("ref")
    stage.history.runs.append(run)
    stage.history.note(run.began_ms, process.name, f"{job.type} {job.id} begins, attempt {job.attempts} {part}")
    return run


def ended(run: Run, how: str | None, output: object = None) -> None:
    """Write down how it ended, unless the process is dead."""
    run.ended_ms = stage.scheduler.now_ms
    if not getcurrent().process.dead:
        run.how, run.output = how, output
        stage.history.note(run.ended_ms, run.worker, f"{run.type} {run.job_id} ends: {how}")


def pass_time(ms: float) -> None:
    """Work for so long, and longer where the process stands still."""
    scheduler, process = stage.scheduler, getcurrent().process
    if ms:
        scheduler.sleep(ms)
    if process.frozen_until_ms > scheduler.now_ms:
        scheduler.sleep(process.frozen_until_ms - scheduler.now_ms)


def noted(given: Any, context: Context, part: str = "") -> Any:
    """One run as its input wants it."""
    run = begun(given, context, part, stage.new_call())
    try:
        pass_time(given.get("ms", 0))
        outcome = _outcome(given, context)
    except WorkerDied:
        ended(run, None)
        raise
    except (Interruption, JobCanceled, LeaseLost) as end:
        ended(run, type(end).__name__)
        raise
    ended(run, "failed" if isinstance(outcome, Exception) else "ok", outcome)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _outcome(given: Any, context: Context) -> Any:
    if given.get("rejects"):
        return Reject("as it was told")
    if context.attempt <= given.get("fails", 0):
        return RuntimeError("not yet")
    if given.get("polls"):
        done = context.job.poll_count >= given["polls"]
        context.polling(lambda: {"result": "success" if done else "pending"}, poll_interval_ms=5_000)
    if given.get("parks"):
        context.next()
    return {"attempt": context.job.attempts}


@task("plain", backoff=SOON, max_attempts=4)
def plain(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("light", pool="light", backoff=SOON, max_attempts=4, light=True)
def light(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("lone", backoff=SOON, max_attempts=4, concurrency=1)
def lone(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("keyed", backoff=SOON, max_attempts=4, key="input.k", per_key=PerKey(concurrency=1))
def keyed(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("strict", backoff=SOON, max_attempts=4, key="input.k", order="block")
def strict(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("unique", backoff=SOON, max_attempts=4, key="input.k", unique=Unique())
def unique(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("newest", backoff=SOON, max_attempts=4, key="input.k", debounce=Debounce(5, latest_s=20))
def newest(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("paced", backoff=SOON, max_attempts=4, rate=Rate(1, per_s=10))
def paced(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("ordered", backoff=SOON, max_attempts=4, key="input.k", order="step aside")
def ordered(given: Any, context: Context) -> Any:
    return noted(given, context)


@task("batched", pool="batched", backoff=SOON, max_attempts=4, batch=Batch(BATCH_MAX))
def batched(given: Sequence[Any], contexts: Sequence[Context]) -> Any:
    call = stage.new_call()
    pairs = [*zip(given, contexts, strict=True)]
    runs = [begun(each, context, "", call) for each, context in pairs]
    try:
        pass_time(max(each.get("ms", 0) for each in given))
    except WorkerDied:
        for run in runs:
            ended(run, None)
        raise
    outcomes = [_outcome(each, context) for each, context in pairs]
    for run, outcome in zip(runs, outcomes, strict=True):
        ended(run, "failed" if isinstance(outcome, Exception) else "ok", outcome)
    return outcomes


@subscribe("news", backoff=SOON, max_attempts=4)
def first_reader(given: Any, context: Context) -> Any:
    return noted({**given, "fails": 0}, context, "first")


@subscribe("news", backoff=SOON, max_attempts=4)
def second_reader(given: Any, context: Context) -> Any:
    return noted(given, context, "second")


REGISTRY = Registry.of(
    [plain, light, lone, keyed, strict, unique, newest, paced, ordered, batched, first_reader, second_reader]
)
LIMITS = {"lone": 1, "keyed": 1, "ordered": 1, "strict": 1, "unique": 1}  # how many run at once, of the type or a key

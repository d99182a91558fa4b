"""What one change of the ledger means for the counters, the minute series, the statistics of tasks and the accounts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from chalicelib.core.day_accounts import DayKey, postings
from chalicelib.core.histogram import bucket_of
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.core.statistics import Amount, amounts_of, quarter_of

MINUTE_MS = 60_000


class Measure(StrEnum):
    """What the minute series tell of a queue."""

    PUBLISHED = "published"
    STARTED = "started"  # attempts begun
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # attempts failed, the last one of a dead letter included
    DEAD = "dead"
    CANCELED = "canceled"
    WAIT_MS = "wait_ms"  # from when a job was due to the start of its attempt, summed over started attempts
    RUN_MS = "run_ms"  # from the start of an attempt to its end, summed over settled attempts
    BACKLOG = "backlog"  # by how much more jobs are pending than before the minute; may be negative


TIMES = (Measure.WAIT_MS, Measure.RUN_MS)


class Bucket(NamedTuple):
    """How many of the times that a measure sums up are in one bucket of their histogram (``core/histogram.py``)."""

    measure: Measure
    upto_ms: int | None


Quantity = Measure | Bucket


class Sample(NamedTuple):
    """What one change adds to a measure, and when it happened, in milliseconds since 1970."""

    measure: Measure
    at_ms: int
    amount: int = 1


class Group(NamedTuple):
    """What is counted together."""

    kind: str
    queue: str
    type: str


class CountKey(NamedTuple):
    """The counter of the jobs of a group that are in a state."""

    group: Group
    state: State


class MinuteKey(NamedTuple):
    """One quantity of a group in the minute that begins at ``minute_ms``."""

    group: Group
    minute_ms: int
    measure: Quantity


class TaskAmountKey(NamedTuple):
    """One amount of the tasks of a type and a runner that were created in the quarter of an hour at ``quarter_ms``."""

    type: str
    runner: str
    quarter_ms: int
    amount: Amount


Key = CountKey | MinuteKey | TaskAmountKey | DayKey
Effects = Counter[Key]
Sums = defaultdict[Key, int]


def effects_of(changes: Iterable[tuple[Job | None, Job | None]]) -> Effects:
    """What a run of changes (the record before, the record after) adds up to; zeros are left out."""
    total: Sums = defaultdict(int)
    for before, after in changes:
        _count_states(total, before, after)
        _count_task_amounts(total, before, after)
        for key, amount in postings(before, after):
            total[key] += amount
        if after is not None:
            group = group_of(after)
            _count_backlog(total, group, before, after)
            for sample in samples_of(before, after):
                _count_sample(total, group, sample)
    return Counter({key: amount for key, amount in total.items() if amount})


def minute_of(at_ms: int) -> int:
    """The beginning of the minute of a point in time."""
    return at_ms - at_ms % MINUTE_MS


def _count_states(total: Sums, before: Job | None, after: Job | None) -> None:
    if before is not None:
        total[counted(before)] -= 1
    if after is not None:
        total[counted(after)] += 1


def _count_task_amounts(total: Sums, before: Job | None, after: Job | None) -> None:
    """Move a task from amount to amount in the quarter of its creation.

    The statistics remember a task that is deleted once it is done; one deleted before would never be done.
    """
    job = after or before
    if job is None or job.kind is not Kind.TASK or (after is None and job.state.terminal):
        return
    for known, sign in ((before, -1), (after, 1)):
        if known is not None:
            for key, amount in task_amounts(known).items():
                total[key] += sign * amount


def _count_backlog(total: Sums, group: Group, before: Job | None, after: Job) -> None:
    more = (after.state is State.PENDING) - (before is not None and before.state is State.PENDING)
    if more:
        at_ms = after.created_at_ms if before is None else after.updated_at_ms
        total[MinuteKey(group, minute_of(at_ms), Measure.BACKLOG)] += more


def _count_sample(total: Sums, group: Group, sample: Sample) -> None:
    minute_ms = minute_of(sample.at_ms)
    total[MinuteKey(group, minute_ms, sample.measure)] += sample.amount
    if sample.measure in TIMES:
        total[MinuteKey(group, minute_ms, Bucket(sample.measure, bucket_of(sample.amount)))] += 1


def samples_of(before: Job | None, after: Job) -> Iterator[Sample]:
    """What the change from ``before`` to ``after`` tells of the work: at most one sample of a measure."""
    now_ms = after.updated_at_ms
    if before is None:
        yield Sample(Measure.PUBLISHED, after.created_at_ms)
    if after.state is State.RUNNING and after.lease != (before.lease if before else None):
        yield Sample(Measure.STARTED, now_ms)
        yield Sample(Measure.WAIT_MS, now_ms, max(0, now_ms - max(after.due_at_ms, after.created_at_ms)))
    if before is not None and before.state is not State.PENDING and after.failures > before.failures:
        yield Sample(Measure.FAILED, now_ms)
        yield Sample(Measure.RUN_MS, now_ms, _run_ms(after))
    if before is not None and before.state is after.state:
        return
    if after.state is State.SUCCESS:
        yield Sample(Measure.SUCCEEDED, now_ms)
        yield Sample(Measure.RUN_MS, now_ms, _run_ms(after))
    elif after.state is State.FAILED:
        yield Sample(Measure.DEAD, now_ms)
    elif after.state is State.CANCELED:
        yield Sample(Measure.CANCELED, now_ms)


def counted(job: Job) -> CountKey:
    """The counter that a job is in."""
    return CountKey(group_of(job), job.state)


def task_amounts(task: Job) -> dict[TaskAmountKey, int]:
    """What a task adds to the statistics as it stands."""
    quarter_ms = quarter_of(task.created_at_ms)
    return {
        TaskAmountKey(task.type, task.runner, quarter_ms, amount): number for amount, number in amounts_of(task).items()
    }


def group_of(job: Job) -> Group:
    """Where a job is counted."""
    return Group(job.kind.value, job.queue, job.type)


def _run_ms(job: Job) -> int:
    return max(0, job.updated_at_ms - job.started_at_ms) if job.started_at_ms is not None else 0

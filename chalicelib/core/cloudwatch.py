"""What CloudWatch is told of the ledger's changes: which metrics, in which unit, by which dimensions.

A dimension's value makes a metric of its own, to be paid for: ids, types and trace ids never become one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from chalicelib.core.job import Job
from chalicelib.core.projection import Measure, samples_of
from chalicelib.core.states import Kind

NAMESPACE = "Taskyard"
STAGE = "stage"
KIND = "kind"  # task or message
QUEUE = "queue"
TOPIC = "topic"  # of messages, beside the stage alone; what has only a stage is of all topics together
# A dimension's value is of ASCII without control characters: CloudWatch API Reference, "Dimension".
DIMENSION_VALUE_MAX_CHARS = 1_024


class Unit(StrEnum):
    """Units, as CloudWatch names them."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    SECONDS = "Seconds"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its name in CloudWatch."""

    name: str
    unit: Unit


# Every measure but the backlog, a difference that no sum would make sense of.
METRICS: Mapping[Measure, Metric] = {
    Measure.PUBLISHED: Metric("published", Unit.COUNT),
    Measure.STARTED: Metric("started", Unit.COUNT),
    Measure.SUCCEEDED: Metric("succeeded", Unit.COUNT),
    Measure.FAILED: Metric("attempts_failed", Unit.COUNT),
    Measure.DEAD: Metric("dead_letters", Unit.COUNT),
    Measure.CANCELED: Metric("canceled", Unit.COUNT),
    Measure.WAIT_MS: Metric("wait_ms", Unit.MILLISECONDS),
    Measure.RUN_MS: Metric("run_ms", Unit.MILLISECONDS),
}


# What the message dialect's users know. Prometheus has these names from GET /mq/metrics, and their sums since ever.
MQ_CONSUMED = Metric("mq_consumed_total", Unit.COUNT)
MQ_FAILED = Metric("mq_failed_total", Unit.COUNT)
MQ_DLQ = Metric("mq_dlq_total", Unit.COUNT)
MQ_DEPTH = Metric("mq_queue_depth", Unit.COUNT)
MQ_OLDEST_AGE = Metric("mq_oldest_ready_age_seconds", Unit.SECONDS)

MQ_COUNTS: Mapping[Measure, Metric] = {
    Measure.SUCCEEDED: MQ_CONSUMED,
    Measure.FAILED: MQ_FAILED,
    Measure.DEAD: MQ_DLQ,
}
# Jobs of slots that were made so late that they cannot start on time, and jobs that nobody takes.
LATE_JOBS = Metric("late_jobs", Unit.COUNT)
# Jobs that the audit of accounts (core/audit.py) knows to be where they should not be, or nowhere.
UNACCOUNTED_JOBS = Metric("unaccounted_jobs", Unit.COUNT)
MISSING_CANARIES = Metric("missing_canaries", Unit.COUNT)  # see core/canary.py
LATE_AFTER_MS = 10_000  # of a slot
# What alarms watch is of all jobs together, whatever their kind: each metric that an alarm looks at is paid for.
OF_ALL_KINDS = (METRICS[Measure.FAILED], METRICS[Measure.DEAD])

MQ_METRICS = (*MQ_COUNTS.values(), MQ_DEPTH, MQ_OLDEST_AGE)


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of changes tells of one kind of job, or of one queue of that kind.

    ``counts`` are sums. ``times_ms`` has every single time, because percentiles cannot be made of sums.
    """

    kind: str
    queue: str | None  # as a dimension's value; None: of all queues together
    counts: Mapping[Metric, int] = field(default_factory=dict)
    times_ms: Mapping[Metric, Sequence[int]] = field(default_factory=dict)

    @property
    def endings(self) -> Sequence[int]:
        """A 1 for each attempt that failed, a 0 for each that succeeded: the sum counts, the average is the ratio."""
        failed, succeeded = (self.counts.get(METRICS[measure], 0) for measure in (Measure.FAILED, Measure.SUCCEEDED))
        return [1] * failed + [0] * succeeded

    @property
    def values(self) -> Mapping[Metric, Sequence[int]]:
        """Every single value of the metrics of which more is asked than a sum."""
        return {**self.times_ms, **({METRICS[Measure.FAILED]: self.endings} if self.endings else {})}

    @property
    def topic(self) -> str | None:
        """The topic that is told of; ``None`` for tasks, for all queues together, and for a name of blanks alone."""
        return self.queue if self.kind == Kind.MESSAGE and self.queue and self.queue.strip() else None

    @property
    def mq_counts(self) -> Mapping[Metric, int]:
        """What the message dialect's metrics gain: all of them, or none.

        Zeros are told with the rest, so that a ratio of two of them never lacks one.
        """
        gained = {metric: self.counts.get(METRICS[measure], 0) for measure, metric in MQ_COUNTS.items()}
        return gained if any(gained.values()) else {}


def reports_of(changes: Iterable[tuple[Job | None, Job | None]], *, by_queue: bool) -> list[Report]:
    """What changes (the record before, the record after) tell: nothing of what they left as it was."""
    amounts: defaultdict[tuple[str, str | None], defaultdict[Measure, list[int]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for before, after in changes:
        if after is not None:
            group = (after.kind.value, dimension_value(after.queue) if by_queue else None)
            for sample in samples_of(before, after):
                amounts[group][sample.measure].append(sample.amount)
    return [_report(kind, queue, found) for (kind, queue), found in amounts.items()]


def failures_of(reports: Sequence[Report]) -> Mapping[Metric, Sequence[int]]:
    """What all reports tell of failures: a 1 or a 0 for each attempt that ended, and how many jobs are dead."""
    failed, dead = OF_ALL_KINDS
    told = {
        failed: [ending for report in reports for ending in report.endings],
        dead: [report.counts[dead] for report in reports if dead in report.counts],
    }
    return {metric: values for metric, values in told.items() if values}


def mq_totals(reports: Iterable[Report]) -> Mapping[Metric, int]:
    """What the message dialect's metrics of all topics together gain: all of them, or none."""
    gained: Counter[Metric] = Counter()
    for report in reports:
        if report.kind == Kind.MESSAGE:
            gained.update(report.mq_counts)
    return gained


def late_slots(changes: Iterable[tuple[Job | None, Job | None]]) -> int:
    """How many jobs of slots were made more than ten seconds after they were due."""
    made = [after for before, after in changes if before is None and after is not None and after.slot_at_ms is not None]
    return sum(job.created_at_ms - (job.start_at_ms or job.created_at_ms) > LATE_AFTER_MS for job in made)


def dimension_value(queue: str) -> str:
    """A queue's name as CloudWatch takes it: what is no printable ASCII is shown as an escape."""
    return queue.encode("unicode_escape").decode("ascii")[:DIMENSION_VALUE_MAX_CHARS]


def _report(kind: str, queue: str | None, amounts: Mapping[Measure, Sequence[int]]) -> Report:
    told = {METRICS[measure]: found for measure, found in amounts.items()}
    return Report(
        kind,
        queue,
        {metric: sum(found) for metric, found in told.items() if metric.unit is Unit.COUNT},
        {metric: found for metric, found in told.items() if metric.unit is Unit.MILLISECONDS},
    )

"""What CloudWatch is told of the ledger's changes: which metrics, in which unit, by which dimensions.

A dimension's value makes a metric of its own, to be paid for: ids, types and trace ids never become one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from chalicelib.core.job import Job
from chalicelib.core.projection import Measure, samples_of

NAMESPACE = "Taskyard"
STAGE = "stage"
KIND = "kind"  # task or message
QUEUE = "queue"
# A dimension's value is of ASCII without control characters: CloudWatch API Reference, "Dimension".
DIMENSION_VALUE_MAX_CHARS = 1_024


class Unit(StrEnum):
    """Units, as CloudWatch names them."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its name in CloudWatch."""

    name: str
    unit: Unit


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


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of changes tells of one kind of job, or of one queue of that kind.

    ``counts`` are sums. ``times_ms`` has every single time, because percentiles cannot be made of sums.
    """

    kind: str
    queue: str | None  # as a dimension's value; None: of all queues together
    counts: Mapping[Metric, int] = field(default_factory=dict)
    times_ms: Mapping[Metric, Sequence[int]] = field(default_factory=dict)


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

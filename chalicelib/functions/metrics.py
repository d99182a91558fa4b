"""Telling CloudWatch: a line of the embedded metric format on standard output, which Lambda's log makes metrics of.

Only the projector tells what happens, because only the change stream has everything, and each change once. A metric
has the time at which it is told, not that of the change: an alarm would miss what arrives in a minute that it has
judged already. How topics stand is told by the clock, every minute.
The format: Amazon CloudWatch User Guide, "Specification: Embedded metric format".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from chalicelib.core.telling import (
    KIND,
    MQ_DEPTH,
    MQ_OLDEST_AGE,
    NAMESPACE,
    QUEUE,
    STAGE,
    TOPIC,
    Metric,
    Report,
    dimension_value,
    reports_of,
)
from chalicelib.engine.dashboard import Topic
from chalicelib.engine.projecting import Change
from chalicelib.settings import Settings

TOPICS_TOLD_MAX = 100  # of how many topics, the deepest first, the clock tells: each is two metrics to be paid for


def tell(settings: Settings, changes: Sequence[Change]) -> None:
    """Tell what ``changes`` add up to, a line for each kind of job and, if settings say so, for each queue of it."""
    by_queue = settings.metrics == "queue"
    for report in reports_of(((change.before, change.after) for change in changes), by_queue=by_queue):
        _print(settings, report)
        if report.topic is not None and report.mq_counts:
            _print_topic(settings, report.topic, report.mq_counts)


def tell_topics(settings: Settings, topics: Mapping[str, Topic]) -> None:
    """Tell how topics stand, a line for each: its depth and, where that is known, the age of its oldest message."""
    deepest_first = sorted(topics, key=lambda name: (-topics[name].depth, name))
    for name in [name for name in deepest_first if dimension_value(name).strip()][:TOPICS_TOLD_MAX]:
        age_ms = topics[name].oldest_ready_age_ms
        gauges: dict[Metric, float] = {MQ_DEPTH: topics[name].depth}
        if age_ms is not None:
            gauges[MQ_OLDEST_AGE] = age_ms / 1_000
        _print_topic(settings, dimension_value(name), gauges)


def _print_topic(settings: Settings, topic: str, values: Mapping[Metric, float]) -> None:
    """Print the message dialect's metrics of one topic."""
    record = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service="")
    record.add_dimension(STAGE, settings.base_name)
    record.add_dimension(TOPIC, topic)
    for metric, value in values.items():
        record.add_metric(metric.name, metric.unit.value, value)
    record.flush_metrics()


def _print(settings: Settings, report: Report) -> None:
    """Print one report. A queue's has two sets of dimensions, so that the metrics without a queue are the totals."""
    # Powertools would add the service of its own environment variable as a dimension; an empty name keeps it out.
    record = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service="")
    dimensions = {STAGE: settings.base_name, KIND: report.kind}
    for name, value in dimensions.items():
        record.add_dimension(name, value)
    if report.queue is not None and report.queue.strip():
        record.add_dimensions(**dimensions, **{QUEUE: report.queue})
    # Lists come first: Powertools prints by itself once a metric has 100 values, the most that one line may hold.
    lists = report.values
    for metric, values in lists.items():
        for each in values:
            record.add_metric(metric.name, metric.unit.value, each)
    for metric, amount in report.counts.items():
        if metric not in lists:
            record.add_metric(metric.name, metric.unit.value, amount)
    record.flush_metrics()

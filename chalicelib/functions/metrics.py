"""Telling CloudWatch: a line of the embedded metric format on standard output, which Lambda's log makes metrics of.

Only the projector tells what happens, because only the change stream has everything, and each change once. A metric
has the time at which it is told, not that of the change: an alarm would miss what arrives in a minute that it has
judged already. How topics stand is told by the clock, every minute.
The format: Amazon CloudWatch User Guide, "Specification: Embedded metric format".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from chalicelib.core.cloudwatch import (
    KIND,
    LATE_JOBS,
    MISSING_CANARIES,
    MQ_DEPTH,
    MQ_OLDEST_AGE,
    NAMESPACE,
    OF_ALL_KINDS,
    QUEUE,
    STAGE,
    TOPIC,
    UNACCOUNTED_JOBS,
    Metric,
    Report,
    dimension_value,
    failures_of,
    late_slots,
    mq_totals,
    reports_of,
)
from chalicelib.engine.projections.dashboard import Topic
from chalicelib.engine.projections.project import Change
from chalicelib.settings import Settings

TOPICS_SHOWN_MAX = 100  # of how many topics, the deepest first, the clock tells: each is two metrics to be paid for


def report(settings: Settings, changes: Sequence[Change]) -> None:
    """Tell what ``changes`` add up to, a line for each kind of job and, if settings say so, for each queue of it.

    Further lines, each if there is something to tell: what failed, of all kinds together; what the message dialect's
    metrics gain; how many slots were late. For alarms alone, what failed and what was late is enough.
    """
    by_queue = settings.told_metrics == "queue"
    pairs = [(change.before, change.after) for change in changes]
    reports = reports_of(pairs, by_queue=by_queue)
    for report in reports if settings.told_metrics != "alarms" else ():
        _print(settings, report)
        if report.topic is not None and report.mq_counts:
            _print_stage(settings, report.mq_counts, report.topic)
    if failures := failures_of(reports):
        _print_stage(settings, failures)
    if settings.told_metrics != "alarms" and (totals := mq_totals(reports)):
        _print_stage(settings, totals)
    report_late(settings, late_slots(pairs))


def report_late(settings: Settings, jobs: int) -> None:
    """Tell how many jobs are late, if any is: a metric is paid for in the hours in which it has values."""
    if jobs:
        _print_stage(settings, {LATE_JOBS: jobs})


def report_wrong(settings: Settings, unaccounted_jobs: int, missing_canaries: int) -> None:
    """Tell how many jobs the audit could not account for, and how many canaries are missing, if any."""
    if unaccounted_jobs:
        _print_stage(settings, {UNACCOUNTED_JOBS: unaccounted_jobs})
    if missing_canaries:
        _print_stage(settings, {MISSING_CANARIES: missing_canaries})


def report_topics(settings: Settings, topics: Mapping[str, Topic]) -> None:
    """Tell how topics stand: all of them in one line, and a line for each if settings say so.

    A line has the depth and, where that is known, the age of the oldest message. Nothing is told where there never was
    a topic: who has none pays for no metrics.
    """
    if not topics:
        return
    _print_stage(settings, _gauges(topics.values()))
    if settings.told_metrics == "queue":
        deepest_first = sorted(topics, key=lambda name: (-topics[name].depth, name))
        for name in [name for name in deepest_first if dimension_value(name).strip()][:TOPICS_SHOWN_MAX]:
            _print_stage(settings, _gauges([topics[name]]), dimension_value(name))


def _gauges(topics: Collection[Topic]) -> Mapping[Metric, float]:
    """The sum of the topics' depths, and the greatest of their ages, as far as these are known."""
    depth = sum(topic.depth for topic in topics)
    ages_ms = [topic.oldest_ready_age_ms for topic in topics if topic.oldest_ready_age_ms is not None]
    return {MQ_DEPTH: depth, MQ_OLDEST_AGE: max(ages_ms) / 1_000} if ages_ms else {MQ_DEPTH: depth}


def _print_stage(settings: Settings, values: Mapping[Metric, float | Sequence[int]], topic: str | None = None) -> None:
    """Print metrics of the stage, or of one of its topics: a value each, or several."""
    record = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service="")
    record.add_dimension(STAGE, settings.base_name)
    if topic is not None:
        record.add_dimension(TOPIC, topic)
    for metric, told in values.items():
        for value in [told] if isinstance(told, int | float) else told:
            record.add_metric(metric.name, metric.unit.value, value)
    if record.metric_set:  # Powertools has printed 100 values of a metric by itself
        record.flush_metrics()


def _print(settings: Settings, report: Report) -> None:
    """Print one report. A queue's has two sets of dimensions, so that the metrics without a queue are the totals.

    What is told of all kinds together is in a queue's report alone.
    """
    left_out = OF_ALL_KINDS if report.queue is None else ()
    lists = {metric: values for metric, values in report.values.items() if metric not in left_out}
    sums = {metric: sum_ for metric, sum_ in report.counts.items() if metric not in (*lists, *left_out)}
    if not lists and not sums:
        return
    # Powertools would add the service of its own environment variable as a dimension; an empty name keeps it out.
    record = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service="")
    dimensions = {STAGE: settings.base_name, KIND: report.kind}
    for name, value in dimensions.items():
        record.add_dimension(name, value)
    if report.queue is not None and report.queue.strip():
        record.add_dimensions(**dimensions, **{QUEUE: report.queue})
    # Lists come first: Powertools prints by itself once a metric has 100 values, the most that one line may hold.
    for metric, values in lists.items():
        for each in values:
            record.add_metric(metric.name, metric.unit.value, each)
    for metric, amount in sums.items():
        record.add_metric(metric.name, metric.unit.value, amount)
    record.flush_metrics()

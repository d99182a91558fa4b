"""Telling CloudWatch: a line of the embedded metric format on standard output, which Lambda's log makes metrics of.

Only the projector tells, because only the change stream has everything, and each change once. A metric has the time
at which it is told, not that of the change: an alarm would miss what arrives in a minute that it has judged already.
The format: Amazon CloudWatch User Guide, "Specification: Embedded metric format".
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from chalicelib.core.telling import KIND, NAMESPACE, QUEUE, STAGE, Report, reports_of
from chalicelib.engine.projecting import Change
from chalicelib.settings import Settings


def tell(settings: Settings, changes: Sequence[Change]) -> None:
    """Tell what ``changes`` add up to, a line for each kind of job and, if settings say so, for each queue of it."""
    by_queue = settings.metrics == "queue"
    for report in reports_of(((change.before, change.after) for change in changes), by_queue=by_queue):
        _print(settings, report)


def _print(settings: Settings, report: Report) -> None:
    """Print one report. A queue's has two sets of dimensions, so that the metrics without a queue are the totals."""
    # Powertools would add the service of its own environment variable as a dimension; an empty name keeps it out.
    record = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service="")
    dimensions = {STAGE: settings.base_name, KIND: report.kind}
    for name, value in dimensions.items():
        record.add_dimension(name, value)
    if report.queue is not None and report.queue.strip():
        record.add_dimensions(**dimensions, **{QUEUE: report.queue})
    # Times come first: Powertools prints by itself once a metric has 100 values, the most that one line may hold.
    for metric, times_ms in report.times_ms.items():
        for time_ms in times_ms:
            record.add_metric(metric.name, metric.unit.value, time_ms)
    for metric, amount in report.counts.items():
        record.add_metric(metric.name, metric.unit.value, amount)
    record.flush_metrics()

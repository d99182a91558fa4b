"""What Prometheus scrapes: ``/mq/metrics``. Counters and histograms are since ever, and never fall."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from chalicelib.api.exchange import Answer
from chalicelib.api.routes import Router
from chalicelib.core.exposition import CONTENT_TYPE, Family, MetricType, Sample, exposition, histogram_samples
from chalicelib.core.projection import Measure
from chalicelib.core.telling import MQ_CONSUMED, MQ_DEPTH, MQ_DLQ, MQ_FAILED, MQ_OLDEST_AGE
from chalicelib.engine import dashboard
from chalicelib.engine.dashboard import Topic

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

Topics = Mapping[str, Topic]

COUNTERS = (
    (MQ_CONSUMED.name, "Messages completed.", Measure.SUCCEEDED),
    (MQ_FAILED.name, "Deliveries failed, the last one of a dead letter included.", Measure.FAILED),
    (MQ_DLQ.name, "Messages that became dead letters.", Measure.DEAD),
)
HISTOGRAMS = (
    ("mq_wait_seconds", "From when a message was due to the start of its delivery.", Measure.WAIT_MS),
    ("mq_run_seconds", "From the start of a delivery to its end.", Measure.RUN_MS),
)

router = Router("Dashboard")


@router.get("/mq/metrics", scope="dashboard", answer=str, content_type=CONTENT_TYPE)
def prometheus_metrics(yard: Yard) -> Answer:
    """The state of all topics in Prometheus' text format.

    The label `topic` tells topics apart. Numbers are as of the change stream: about a second old.
    """
    return Answer(body=exposition(families(dashboard.topics_of(yard))), content_type=CONTENT_TYPE)


def families(topics: Topics) -> list[Family]:
    """Every metric, with its value for every topic."""
    return [
        _gauge(MQ_DEPTH.name, "Pending messages: new, delayed, or waiting for another delivery.", topics, _depth),
        *(_counter(name, meaning, topics, measure) for name, meaning, measure in COUNTERS),
        _gauge(
            MQ_OLDEST_AGE.name,
            "For how long the oldest message that could be delivered has waited, "
            f"of the {dashboard.OLDEST_TOPICS_MAX} deepest topics.",
            topics,
            _oldest_age_s,
        ),
        *(_histogram(name, meaning, topics, measure) for name, meaning, measure in HISTOGRAMS),
    ]


def _gauge(name: str, meaning: str, topics: Topics, value_of: Callable[[Topic], float | None]) -> Family:
    values = {label: value_of(topic) for label, topic in topics.items()}
    samples = [Sample({"topic": label}, value) for label, value in values.items() if value is not None]
    return Family(name, MetricType.GAUGE, meaning, samples)


def _counter(name: str, meaning: str, topics: Topics, measure: Measure) -> Family:
    samples = [Sample({"topic": label}, topic.totals[measure]) for label, topic in topics.items()]
    return Family(name, MetricType.COUNTER, meaning, samples)


def _histogram(name: str, meaning: str, topics: Topics, measure: Measure) -> Family:
    samples = [
        sample
        for label, topic in topics.items()
        for sample in histogram_samples(
            {"topic": label}, dashboard.buckets_of(topic.totals, measure), topic.totals[measure]
        )
    ]
    return Family(name, MetricType.HISTOGRAM, meaning, samples)


def _depth(topic: Topic) -> int:
    return topic.depth


def _oldest_age_s(topic: Topic) -> float | None:
    return None if topic.oldest_ready_age_ms is None else topic.oldest_ready_age_ms / 1_000

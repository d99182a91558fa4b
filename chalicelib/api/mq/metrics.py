"""What Prometheus scrapes: ``/mq/metrics``. Counters and histograms are since ever, and never fall."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.api.mq.fitting import busiest_first, fitting, quoted_bytes
from chalicelib.api.shapes import FASTIFY
from chalicelib.core.cloudwatch import MQ_CONSUMED, MQ_DEPTH, MQ_DLQ, MQ_FAILED, MQ_OLDEST_AGE
from chalicelib.core.exposition import CONTENT_TYPE, Family, MetricType, Sample, exposition, histogram_samples
from chalicelib.core.histogram import BUCKETS
from chalicelib.core.projection import Measure
from chalicelib.engine.projections import dashboard
from chalicelib.engine.projections.dashboard import Topic as Standing
from chalicelib.http.exchange import Answer
from chalicelib.http.models import ApiModel, Topic
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

Topics = Mapping[str, Standing]

COUNTERS = (
    (MQ_CONSUMED.name, "Messages completed.", Measure.SUCCEEDED),
    (MQ_FAILED.name, "Deliveries failed, the last one of a dead letter included.", Measure.FAILED),
    (MQ_DLQ.name, "Messages that became dead letters.", Measure.DEAD),
)
HISTOGRAMS = (
    ("mq_wait_seconds", "From when a message was due to the start of its delivery.", Measure.WAIT_MS),
    ("mq_run_seconds", "From the start of a delivery to its end.", Measure.RUN_MS),
)
VALUES = 2 + len(COUNTERS)  # lines of a topic beside its histograms
HISTOGRAM_LINES = len(BUCKETS) + 2  # with the sum and the count
LINE_MAX_BYTES = 80  # of a line beside the topic's name
# What Lambda can answer is shared out; see http/exchange.py for the whole.
VALUES_MAX_BYTES = 3_000_000
TIMES_MAX_BYTES = 2_800_000

router = Router("Dashboard", style=FASTIFY)


class MetricsQuery(ApiModel):
    """Which topics to tell of."""

    topic: Topic | None = Field(default=None, description="One topic alone; default all of them")


@router.get("/mq/metrics", scope="dashboard", answer=str, content_type=CONTENT_TYPE)
def prometheus_metrics(yard: Yard, query: MetricsQuery) -> Answer:
    """The state of all topics in Prometheus' text format.

    The label `topic` tells topics apart. Numbers are as of the change stream: about a second old. Where an answer has
    no room for all topics (thousands of them), the least busy ones are left out, and `mq_topics_left_out` and
    `mq_histograms_left_out` say how many; scrape those by `topic`.
    """
    return Answer(body=exposition(families(dashboard.topics_of(yard, query.topic))), content_type=CONTENT_TYPE)


def families(all_topics: Topics) -> list[Family]:
    """Every metric, with its value for every topic that there is room for, the busiest first."""
    busiest = busiest_first(all_topics)
    told = fitting(busiest, VALUES_MAX_BYTES, lambda name: _cost_bytes(name, VALUES))
    timed = fitting(told, TIMES_MAX_BYTES, lambda name: _cost_bytes(name, len(HISTOGRAMS) * HISTOGRAM_LINES))
    topics = {name: all_topics[name] for name in told}
    times = {name: all_topics[name] for name in timed}
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
        *(_histogram(name, meaning, times, measure) for name, meaning, measure in HISTOGRAMS),
        _number("mq_topics_left_out", "Topics that this answer has no room for.", len(all_topics) - len(told)),
        _number("mq_histograms_left_out", "Topics whose histograms it has no room for.", len(all_topics) - len(timed)),
    ]


def _cost_bytes(topic: str, lines: int) -> int:
    return lines * (quoted_bytes(topic) + LINE_MAX_BYTES)


def _number(name: str, meaning: str, value: int) -> Family:
    return Family(name, MetricType.GAUGE, meaning, [Sample({}, value)])


def _gauge(name: str, meaning: str, topics: Topics, value_of: Callable[[Standing], float | None]) -> Family:
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


def _depth(topic: Standing) -> int:
    return topic.depth


def _oldest_age_s(topic: Standing) -> float | None:
    return None if topic.oldest_ready_age_ms is None else topic.oldest_ready_age_ms / 1_000

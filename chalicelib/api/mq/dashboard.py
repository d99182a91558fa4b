"""How the topics are doing, for a dashboard: ``/mq/dashboard``, and the same as server-sent events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field

from chalicelib.api.mq.fitting import busiest_first, fitting, quoted_bytes
from chalicelib.api.shapes import FASTIFY
from chalicelib.core.projection import Measure, Quantity
from chalicelib.engine.projections import dashboard
from chalicelib.engine.projections.dashboard import Dashboard, Flow, Point
from chalicelib.http.exchange import Answer, json_text
from chalicelib.http.models import NOT_BOOLEAN, AnswerModel, ApiModel, Name, Topic, Whole
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

MINUTE_MS = 60_000
DAY_MS = 86_400_000
INTERVAL_MIN_MS = 1_000
INTERVAL_MAX_MS = 3_600_000
SHARE_OF = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
DECIMALS = 6
EVENTS = "text/event-stream; charset=utf-8"
TIMESTAMP = "timestamp"
# The series by their names here, with what they tell a second of; None: the depth.
SERIES: Mapping[str, Measure | None] = {
    "queue_depth": None,
    "consume_rate": Measure.SUCCEEDED,
    "failure_rate": Measure.FAILED,
    "dlq_rate": Measure.DEAD,
}
# What Lambda can answer is shared out between the present and the series; see http/exchange.py for the whole.
CURRENT_MAX_BYTES = 2_800_000
SERIES_MAX_BYTES = 2_800_000
NUMBERS_OF_TOPIC = 11  # under how many names the present has a topic
NUMBERS_MAX_BYTES = 450  # of a topic's numbers there, all together
NUMBER_MAX_BYTES = 20  # of one number in a point

router = Router(
    "Dashboard", "How the topics are doing. Numbers are as of the change stream: about a second old.", style=FASTIFY
)


class DashboardQuery(ApiModel):
    """Which time to look at."""

    window: Whole = Field(
        default=5 * MINUTE_MS,
        ge=MINUTE_MS,
        le=DAY_MS,
        description="Over how many ms rates, ratios and percentiles are taken, rounded up to begin with a minute",
    )
    step: Annotated[int, Field(ge=MINUTE_MS, le=DAY_MS, multiple_of=MINUTE_MS), NOT_BOOLEAN] | None = Field(
        default=None,
        description="How many ms a point of the series covers: whole minutes; default one, or more where the "
        f"series would have more than {dashboard.POINTS_MAX} points. They are as long as the window, at least an hour",
    )
    topic: Topic | None = Field(default=None, description="One topic alone; default all of them")


class EventsQuery(DashboardQuery):
    """Which time to look at, and how often."""

    interval: Whole = Field(
        default=5_000,
        ge=INTERVAL_MIN_MS,
        le=INTERVAL_MAX_MS,
        description="After how many ms the client comes back for the next event",
    )
    event: Name | None = Field(
        default=None, description="What to call the events; default: without a name, so that `onmessage` gets them"
    )


class DashboardEvent(AnswerModel):
    """One server-sent event."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    event: str = Field(default="", description="The name that was asked for, if one was")
    id: str
    retry: int = Field(description="After how many ms the client comes back for the next")
    data: str = Field(description="What `/mq/dashboard` answers, as JSON text")


class Amounts(AnswerModel):
    """Numbers by topic, and of all topics together."""

    by_topic: dict[str, int] = Field(examples=[{"order.created": 5}])
    total: int = Field(examples=[5])


class Rates(AnswerModel):
    """Messages a second by topic, and of all topics together."""

    by_topic: dict[str, float] = Field(examples=[{"order.created": 0.5}])
    total: float = Field(examples=[0.5])


class Percentiles(AnswerModel):
    """Times in ms that 50, 95 and 99 of 100 did not exceed, estimated from a histogram; null without data."""

    p50: float | None
    p95: float | None
    p99: float | None


class Latencies(AnswerModel):
    """Percentiles by topic, and of all topics together."""

    by_topic: dict[str, Percentiles]
    total: Percentiles


class Ages(AnswerModel):
    """Ages in ms by topic, and the largest."""

    by_topic: dict[str, int] = Field(examples=[{"order.created": 1200}])
    max: int | None


class Current(AnswerModel):
    """The present."""

    queue_depth: Amounts = Field(description="Pending messages: new, delayed, or waiting for another delivery")
    consumed_total: Amounts = Field(description="Messages completed since ever, those since deleted included")
    failed_total: Amounts = Field(
        description="Failed deliveries since ever: each counts, the last one of a dead letter included"
    )
    dlq_total: Amounts = Field(description="Messages that became dead letters since ever, those replayed included")
    consume_rate: Rates = Field(description="Messages completed a second, over the window")
    failure_rate: Rates = Field(description="Deliveries failed a second, over the window")
    dlq_rate: Rates = Field(description="Dead letters a second, over the window")
    success_ratio: float | None = Field(
        description="Completed deliveries as a share (0 to 1) of completed and failed ones, over the window; "
        "null without any",
        examples=[0.96],
    )
    success_ratio_by_topic: dict[str, float | None] = Field(examples=[{"order.created": 0.96}])
    oldest_ready_age_ms: Ages = Field(
        description="For how long the oldest message that could be delivered has waited, of the "
        f"{dashboard.OLDEST_TOPICS_MAX} deepest topics"
    )
    wait_ms: Latencies = Field(description="From when a message was due to the start of its delivery, over the window")
    run_ms: Latencies = Field(description="From the start of a delivery to its end, over the window")


SeriesPoint = dict[str, int | float]


class TimeSeries(AnswerModel):
    """Points, oldest first: `timestamp`, when the step ended (of the newest: now), and a number for each topic.

    A topic that is itself called `timestamp` has none. Where the answer would be too large, zeros are left out.
    """

    queue_depth: list[SeriesPoint] = Field(
        description="Depth at that time", examples=[[{TIMESTAMP: 1747000000000, "order.created": 5}]]
    )
    consume_rate: list[SeriesPoint] = Field(
        description="Messages completed a second, in the step", examples=[[{TIMESTAMP: 1747000000000}]]
    )
    failure_rate: list[SeriesPoint] = Field(
        description="Deliveries failed a second, in the step", examples=[[{TIMESTAMP: 1747000000000}]]
    )
    dlq_rate: list[SeriesPoint] = Field(
        description="Dead letters a second, in the step", examples=[[{TIMESTAMP: 1747000000000}]]
    )


class DashboardData(AnswerModel):
    """Everything that a dashboard shows."""

    timestamp: int = Field(description="Now, in ms since 1970", examples=[1747000000000])
    since: int = Field(description="When the window began, in ms since 1970", examples=[1746999660000])
    current: Current
    time_series: TimeSeries
    topics_left_out: int = Field(
        description="How many topics `byTopic` has no room for, the least busy ones; the totals have them. "
        "Ask for one of them by `topic`"
    )
    series_left_out: int = Field(
        description="How many topics the series have no room for; ask for one of them by `topic`, or for a longer step"
    )


@router.get("/mq/dashboard", scope="dashboard")
def show_dashboard(yard: Yard, query: DashboardQuery) -> DashboardData:
    """How the topics are doing, now and lately."""
    return _shown(yard, query)


@router.get("/mq/dashboard/sse", scope="dashboard", answer=DashboardEvent, content_type=EVENTS)
def dashboard_events(yard: Yard, query: EventsQuery) -> Answer:
    """The same as one server-sent event, and when to come back for the next.

    API Gateway cannot hold a stream open, so the answer ends after one event. Clients of server-sent events
    (`EventSource`) connect again by themselves after `interval`; each event tells all.
    A browser's own `EventSource` sends no `Authorization` header: where a key is needed, use a client that does.
    """
    shown = _shown(yard, query)
    # JSON escapes line breaks, so that the data is one line, as the format needs it.
    name = "" if query.event is None else f"event: {query.event}\n"
    text = f"retry: {query.interval}\nid: {shown.timestamp}\n{name}data: {json_text(shown)}\n\n"
    # A proxy that keeps or transforms an event spoils it: HTML Living Standard, "Server-sent events".
    headers = {"Cache-Control": "no-cache, no-store, no-transform", "X-Accel-Buffering": "no"}
    return Answer(body=text, content_type=EVENTS, headers=headers)


def _shown(yard: Yard, query: DashboardQuery) -> DashboardData:
    """What is shown of a time; viewers who ask for the same within a second share it."""
    asked = (query.window, query.step, query.topic)
    return yard.shared.get((DashboardData, *asked), lambda: _data(dashboard.dashboard_of(yard, *asked)), yard.now_ms)


def _data(seen: Dashboard) -> DashboardData:
    busiest = busiest_first(seen.topics)
    told = fitting(busiest, CURRENT_MAX_BYTES, lambda name: NUMBERS_OF_TOPIC * quoted_bytes(name) + NUMBERS_MAX_BYTES)
    series, drawn = _series(seen, busiest)
    return DashboardData(
        timestamp=seen.at_ms,
        since=seen.since_ms,
        current=_current(seen, frozenset(told)),
        time_series=series,
        topics_left_out=len(seen.topics) - len(told),
        series_left_out=len(seen.topics) - drawn,
    )


def _current(seen: Dashboard, told: Set[str]) -> Current:
    flows = {name: flow for name, flow in seen.flows.items() if name in told}
    everything = dashboard.together(seen.flows.values())
    ages = {name: age for name, topic in seen.topics.items() if (age := topic.oldest_ready_age_ms) is not None}
    return Current(
        queue_depth=_amounts({name: topic.depth for name, topic in seen.topics.items()}, told),
        consumed_total=_totals(seen, Measure.SUCCEEDED, told),
        failed_total=_totals(seen, Measure.FAILED, told),
        dlq_total=_totals(seen, Measure.DEAD, told),
        consume_rate=_rates(flows, everything, Measure.SUCCEEDED),
        failure_rate=_rates(flows, everything, Measure.FAILED),
        dlq_rate=_rates(flows, everything, Measure.DEAD),
        success_ratio=_rounded(everything.success_ratio),
        success_ratio_by_topic={name: _rounded(flow.success_ratio) for name, flow in flows.items()},
        oldest_ready_age_ms=Ages(
            by_topic={name: age for name, age in ages.items() if name in told}, max=max(ages.values(), default=None)
        ),
        wait_ms=_latencies(flows, everything, Measure.WAIT_MS),
        run_ms=_latencies(flows, everything, Measure.RUN_MS),
    )


def _series(seen: Dashboard, busiest: Sequence[str]) -> tuple[TimeSeries, int]:
    """The series, and how many topics they tell of: with all zeros if there is room, or else without any."""
    numbers = _numbers(seen)
    whole_bytes = len(SERIES) * len(seen.points) * sum(_entry_bytes(name) for name in busiest)
    if whole_bytes <= SERIES_MAX_BYTES:
        return _drawn(seen, numbers, busiest, zeros=True), len(busiest)
    entries = Counter(name for points in numbers.values() for point in points for name, value in point.items() if value)
    told = fitting(busiest, SERIES_MAX_BYTES, lambda name: entries[name] * _entry_bytes(name))
    return _drawn(seen, numbers, told, zeros=False), len(told)


def _numbers(seen: Dashboard) -> dict[str, list[dict[str, float]]]:
    """Each series with the numbers of each point; a rate that is not there is zero."""
    numbers: dict[str, list[dict[str, float]]] = {"queue_depth": [dict(point.depths) for point in seen.points]}
    for series, measure in SERIES.items():
        if measure is not None:
            numbers[series] = [
                {name: round(flow.rate(measure), DECIMALS) for name, flow in point.flows.items()}
                for point in seen.points
            ]
    return numbers


def _drawn(
    seen: Dashboard, numbers: Mapping[str, Sequence[Mapping[str, float]]], names: Sequence[str], *, zeros: bool
) -> TimeSeries:
    return TimeSeries(
        **{
            series: [
                _point(point, ((name, found.get(name, 0.0)) for name in names if zeros or found.get(name)))
                for point, found in zip(seen.points, points, strict=True)
            ]
            for series, points in numbers.items()
        }
    )


def _entry_bytes(name: str) -> int:
    return quoted_bytes(name) + NUMBER_MAX_BYTES


def _point(point: Point, numbers: Iterable[tuple[str, float]]) -> SeriesPoint:
    return {**dict(numbers), TIMESTAMP: point.at_ms}


def _amounts(by_topic: Mapping[str, int], told: Set[str]) -> Amounts:
    shown = {name: amount for name, amount in by_topic.items() if name in told}
    return Amounts(by_topic=shown, total=sum(by_topic.values()))


def _totals(seen: Dashboard, quantity: Quantity, told: Set[str]) -> Amounts:
    return _amounts({name: topic.totals[quantity] for name, topic in seen.topics.items()}, told)


def _rates(flows: Mapping[str, Flow], everything: Flow, measure: Measure) -> Rates:
    def rate(flow: Flow) -> float:
        return round(flow.rate(measure), DECIMALS)

    return Rates(by_topic={name: rate(flow) for name, flow in flows.items()}, total=rate(everything))


def _latencies(flows: Mapping[str, Flow], everything: Flow, measure: Measure) -> Latencies:
    def percentiles(flow: Flow) -> Percentiles:
        return Percentiles(**{name: _rounded(flow.percentile_ms(measure, share)) for name, share in SHARE_OF.items()})

    return Latencies(by_topic={name: percentiles(flow) for name, flow in flows.items()}, total=percentiles(everything))


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, DECIMALS)

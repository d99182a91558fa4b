"""How the topics are doing, for a dashboard: ``/mq/dashboard``, and the same as server-sent events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from chalicelib.api.exchange import Answer, json_text
from chalicelib.api.models import AnswerModel, ApiModel, Topic, Whole
from chalicelib.api.routes import Router
from chalicelib.core.projection import Measure, Quantity
from chalicelib.engine import dashboard
from chalicelib.engine.dashboard import Dashboard, Flow, Point

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

Told = TypeVar("Told")

router = Router("Dashboard", "How the topics are doing. Numbers are as of the change stream: about a second old.")


class DashboardQuery(ApiModel):
    """Which time to look at."""

    window: Whole = Field(
        default=5 * MINUTE_MS,
        ge=MINUTE_MS,
        le=DAY_MS,
        description="Over how many ms rates, ratios and percentiles are taken, rounded up to begin with a minute",
    )
    step: Whole = Field(
        default=MINUTE_MS,
        ge=MINUTE_MS,
        le=DAY_MS,
        multiple_of=MINUTE_MS,
        description="How many ms a point of the series covers: whole minutes. The series are as long as the window, "
        f"at least an hour, and have at most {dashboard.POINTS_MAX} points",
    )
    topic: Topic | None = Field(default=None, description="One topic alone; all of them unless told")


class EventsQuery(DashboardQuery):
    """Which time to look at, and how often."""

    interval: Whole = Field(
        default=5_000,
        ge=INTERVAL_MIN_MS,
        le=INTERVAL_MAX_MS,
        description="After how many ms the client comes back for the next event",
    )


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

    A topic that is itself called `timestamp` has none.
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


@router.get("/mq/dashboard", scope="dashboard")
def show_dashboard(yard: Yard, query: DashboardQuery) -> DashboardData:
    """How the topics are doing, now and lately."""
    return _data(dashboard.look(yard, query.window, query.step, query.topic))


@router.get("/mq/dashboard/sse", scope="dashboard", answer=str, content_type=EVENTS)
def dashboard_events(yard: Yard, query: EventsQuery) -> Answer:
    """The same as one server-sent event, and when to come back for the next.

    API Gateway cannot hold a stream open, so the answer ends after one event. Clients of server-sent events
    (`EventSource`) connect again by themselves after `interval`; each event, called `dashboard`, tells all.
    A browser's own `EventSource` sends no `Authorization` header: where a key is needed, use a client that does.
    """
    shown = _data(dashboard.look(yard, query.window, query.step, query.topic))
    # JSON escapes line breaks, so that the data is one line, as the format needs it.
    text = f"retry: {query.interval}\nid: {shown.timestamp}\nevent: dashboard\ndata: {json_text(shown)}\n\n"
    # A proxy that keeps or transforms an event spoils it: HTML Living Standard, "Server-sent events".
    headers = {"Cache-Control": "no-cache, no-store, no-transform", "X-Accel-Buffering": "no"}
    return Answer(body=text, content_type=EVENTS, headers=headers)


def _data(seen: Dashboard) -> DashboardData:
    return DashboardData(timestamp=seen.at_ms, since=seen.since_ms, current=_current(seen), time_series=_series(seen))


def _current(seen: Dashboard) -> Current:
    flows = seen.flows
    ages = {name: age for name, topic in seen.topics.items() if (age := topic.oldest_ready_age_ms) is not None}
    return Current(
        queue_depth=_amounts({name: topic.depth for name, topic in seen.topics.items()}),
        consumed_total=_totals(seen, Measure.SUCCEEDED),
        failed_total=_totals(seen, Measure.FAILED),
        dlq_total=_totals(seen, Measure.DEAD),
        consume_rate=_rates(flows, Measure.SUCCEEDED),
        failure_rate=_rates(flows, Measure.FAILED),
        dlq_rate=_rates(flows, Measure.DEAD),
        success_ratio=_rounded(dashboard.together(flows.values()).success_ratio),
        success_ratio_by_topic={name: _rounded(flow.success_ratio) for name, flow in flows.items()},
        oldest_ready_age_ms=Ages(by_topic=ages, max=max(ages.values(), default=None)),
        wait_ms=_latencies(flows, Measure.WAIT_MS),
        run_ms=_latencies(flows, Measure.RUN_MS),
    )


def _series(seen: Dashboard) -> TimeSeries:
    return TimeSeries(
        queue_depth=[_point(point, point.depths.items()) for point in seen.points],
        consume_rate=_rate_points(seen, Measure.SUCCEEDED),
        failure_rate=_rate_points(seen, Measure.FAILED),
        dlq_rate=_rate_points(seen, Measure.DEAD),
    )


def _rate_points(seen: Dashboard, measure: Measure) -> list[SeriesPoint]:
    return [
        _point(point, ((name, round(flow.rate(measure), DECIMALS)) for name, flow in point.flows.items()))
        for point in seen.points
    ]


def _point(point: Point, numbers: Iterable[tuple[str, float]]) -> SeriesPoint:
    return {**dict(numbers), TIMESTAMP: point.at_ms}


def _amounts(by_topic: Mapping[str, int]) -> Amounts:
    return Amounts(by_topic=dict(by_topic), total=sum(by_topic.values()))


def _totals(seen: Dashboard, quantity: Quantity) -> Amounts:
    return _amounts({name: topic.totals[quantity] for name, topic in seen.topics.items()})


def _rates(flows: Mapping[str, Flow], measure: Measure) -> Rates:
    by_topic, total = _by_topic_and_total(flows, lambda flow: round(flow.rate(measure), DECIMALS))
    return Rates(by_topic=by_topic, total=total)


def _latencies(flows: Mapping[str, Flow], measure: Measure) -> Latencies:
    def told(flow: Flow) -> Percentiles:
        return Percentiles(**{name: _rounded(flow.percentile_ms(measure, share)) for name, share in SHARE_OF.items()})

    by_topic, total = _by_topic_and_total(flows, told)
    return Latencies(by_topic=by_topic, total=total)


def _by_topic_and_total(flows: Mapping[str, Flow], told: Callable[[Flow], Told]) -> tuple[dict[str, Told], Told]:
    return {name: told(flow) for name, flow in flows.items()}, told(dashboard.together(flows.values()))


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, DECIMALS)

"""The dashboard of a deployed installation, which shows why its alarms rang."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from chalicelib.core.cloudwatch import LATE_JOBS, METRICS, MQ_DEPTH, MQ_OLDEST_AGE, OF_ALL_KINDS, Unit
from chalicelib.core.lanes import Lane, sqs_name
from chalicelib.core.projection import Measure
from chalicelib.core.states import Kind
from chalicelib.settings import Settings
from infra.alarms import MINUTE_S, Alarm, alarm_name
from infra.fragment import Fragment
from infra.functions import Function, functions_of
from infra.metrics import Metric, of_api, of_function, of_kind, of_queue, of_stage, of_table
from infra.storage import JOBS_INDEXES

GRID_COLUMNS = 24
WIDGET_ROWS = 6
ALARM_ROWS = 3
ALARMS_SHOWN_MAX = 100  # of one widget


@dataclass(frozen=True, slots=True)
class Graph:
    """A widget of the dashboard: lines with their labels; CloudWatch labels what has none by what sets it apart."""

    title: str
    lines: Sequence[tuple[str | None, Metric]]
    columns: int = GRID_COLUMNS // 2
    unit: str = ""  # what the left axis counts


def body(settings: Settings, lanes: Sequence[Lane], alarms: Sequence[Alarm]) -> Fragment:
    """The dashboard: all alarms at a glance, then the graphs, two in a row.

    Structure: Amazon CloudWatch API Reference, "Dashboard Body Structure and Syntax".
    """
    graphs = [
        *([] if settings.told_metrics in ("off", "alarms") else _work(settings)),
        *_queues(settings, lanes),
        *_functions(settings),
        *_tables(settings),
        _requests(settings),
    ]
    return {"widgets": [_alarms_widget(settings, alarms), *_placed(graphs)]}


def _work(settings: Settings) -> list[Graph]:
    counts = [
        measure for measure, metric in METRICS.items() if metric.unit is Unit.COUNT and metric not in OF_ALL_KINDS
    ]
    return [
        *(
            Graph(
                f"{kind.value.capitalize()}s a minute",
                [(None, of_kind(settings, kind, measure, "Sum")) for measure in counts],
            )
            for kind in Kind
        ),
        *(
            Graph(
                title,
                [
                    (f"{kind.value} {percentile}", of_kind(settings, kind, measure, percentile))
                    for kind in Kind
                    for percentile in ("p50", "p95", "p99")
                ],
                unit="ms",
            )
            for title, measure in (
                ("Wait from due to started", Measure.WAIT_MS),
                ("Run time of attempts", Measure.RUN_MS),
            )
        ),
        *(
            Graph(title, [("all topics", of_stage(settings, metric.name, "Maximum"))], unit=unit)
            for title, metric, unit in (
                ("Messages pending", MQ_DEPTH, "messages"),
                ("Age of the oldest ready message", MQ_OLDEST_AGE, "s"),
            )
        ),
        Graph(
            "Failures, and jobs that are late",
            [(metric.name, of_stage(settings, metric.name, "Sum")) for metric in (*OF_ALL_KINDS, LATE_JOBS)],
        ),
    ]


def _queues(settings: Settings, lanes: Sequence[Lane]) -> list[Graph]:
    of_hooks = [settings.hooks_queue, settings.hooks_dead_queue] if settings.hooks == "on" else []
    names = [*(sqs_name(settings.base_name, lane) for lane in lanes), settings.dead_letter_queue, *of_hooks]
    return [
        Graph(title, [(None, of_queue(name, metric)) for name in names], unit=unit)
        for title, metric, unit in (
            ("Messages waiting", "ApproximateNumberOfMessagesVisible", "messages"),
            ("Age of the oldest message", "ApproximateAgeOfOldestMessage", "s"),
        )
    ]


def _functions(settings: Settings) -> list[Graph]:
    def lines(metric: str, statistic: str) -> list[tuple[str | None, Metric]]:
        return [(_slug(function), of_function(settings, function, metric, statistic)) for function in _called(settings)]

    lag = of_function(settings, Function.PROJECTOR, "IteratorAge", "Maximum")
    throttles = [(f"{label} throttled", metric) for label, metric in lines("Throttles", "Sum")]
    return [
        Graph("Function errors and throttles", [*lines("Errors", "Sum"), *throttles]),
        Graph("Function time, p95", lines("Duration", "p95"), unit="ms"),
        Graph("Functions at a time", lines("ConcurrentExecutions", "Maximum")),
        Graph("Lag of the change stream", [("projector", lag)], unit="ms"),
    ]


def _tables(settings: Settings) -> list[Graph]:
    tables = {"jobs": settings.jobs_table, "directory": settings.directory_table, "insights": settings.insights_table}
    throttles = [
        (f"{label} {what}", of_table(name, f"{what.capitalize()}ThrottleEvents"))
        for label, name in tables.items()
        for what in ("read", "write")
    ]
    indexes = [
        (f"jobs index {index} write", of_table(settings.jobs_table, "WriteThrottleEvents", index))
        for index in JOBS_INDEXES
    ]
    return [
        Graph(
            "Capacity units that tables consume",
            [
                (f"{label} {what}", of_table(name, f"Consumed{what.capitalize()}CapacityUnits"))
                for label, name in tables.items()
                for what in ("read", "write")
            ],
            unit="units a minute",
        ),
        Graph("Requests that tables throttled", [*throttles, *indexes]),
    ]


def _requests(settings: Settings) -> Graph:
    return Graph(
        "Requests a minute",
        [
            ("all", of_api(settings, "Count", "Sum")),
            ("4xx", of_api(settings, "4XXError", "Sum")),
            ("5xx", of_api(settings, "5XXError", "Sum")),
        ],
        columns=GRID_COLUMNS,
    )


def _alarms_widget(settings: Settings, alarms: Sequence[Alarm]) -> Fragment:
    """What rings, at the top. ``${AWS::...}`` is filled in by CloudFormation, here and in the graphs."""
    arn = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:"
    names = [alarm_name(settings, alarm) for alarm in alarms[:ALARMS_SHOWN_MAX]]
    return {
        "type": "alarm",
        "x": 0,
        "y": 0,
        "width": GRID_COLUMNS,
        "height": ALARM_ROWS,
        "properties": {"title": "Alarms", "alarms": [f"{arn}{name}" for name in names]},
    }


def _placed(graphs: Iterable[Graph]) -> list[Fragment]:
    """The graphs from left to right, from under the alarms downwards."""
    widgets = []
    x, y = 0, ALARM_ROWS
    for graph in graphs:
        if x + graph.columns > GRID_COLUMNS:
            x, y = 0, y + WIDGET_ROWS
        widgets.append(_widget(graph, x, y))
        x += graph.columns
    return widgets


def _widget(graph: Graph, x: int, y: int) -> Fragment:
    axis = {"min": 0, **({"label": graph.unit, "showUnits": False} if graph.unit else {})}
    return {
        "type": "metric",
        "x": x,
        "y": y,
        "width": graph.columns,
        "height": WIDGET_ROWS,
        "properties": {
            "title": graph.title,
            "region": "${AWS::Region}",
            "view": "timeSeries",
            "period": MINUTE_S,
            "stat": graph.lines[0][1].statistic,
            "metrics": _rows(graph),
            "yAxis": {"left": axis},
        },
    }


def _rows(graph: Graph) -> list[list[Any]]:
    """The graph's lines. A dot stands for what the line above has in its place, and a line has its own statistic
    only where it is not the graph's: spelled out, a dashboard would be half of the template.
    """
    rows: list[list[Any]] = []
    above: list[str] = []
    common = graph.lines[0][1].statistic
    for label, metric in graph.lines:
        row = [metric.namespace, metric.name, *(part for pair in metric.dimensions.items() for part in pair)]
        as_above = zip_longest(row, above[: len(row)])
        options = {"label": label, "stat": None if metric.statistic == common else metric.statistic}
        given = {name: value for name, value in options.items() if value is not None}
        rows.append([*("." if part == other else part for part, other in as_above), *([given] if given else [])])
        above = row
    return rows


def _called(settings: Settings) -> list[Function]:
    """The functions that something calls."""
    there = functions_of(settings)
    return [function for function in there if function is not Function.HOOKS or settings.hooks == "on"]


def _slug(function: Function) -> str:
    """A function's word in names and labels."""
    return "api" if function is Function.API else function.replace("_", "-")

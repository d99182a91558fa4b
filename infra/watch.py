"""What watches a deployed installation: alarms, and a dashboard that shows why they rang, where it is asked for.

CloudWatch bills each metric that an alarm looks at, in an expression, too. So an alarm has one metric, one that shows
the consequence of many causes: what its function does not do shows in the dead-letter queue's depth, the stream's lag,
the API's 5xx. The causes are told by the doctor, the logs and the dashboard, which costs more than all alarms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from chalicelib.core.cloudwatch import (
    KIND,
    LATE_JOBS,
    METRICS,
    MQ_DEPTH,
    MQ_OLDEST_AGE,
    NAMESPACE,
    OF_ALL_KINDS,
    STAGE,
    Unit,
)
from chalicelib.core.lanes import Lane, sqs_name
from chalicelib.core.projection import Measure
from chalicelib.core.states import Kind
from chalicelib.settings import Settings
from infra.fragment import Fragment
from infra.functions import Function, function_name
from infra.queues import lane_id
from infra.storage import JOBS_INDEXES

MINUTE_S = 60
SPAN_S = 300
# Nothing that goes well is older: a message hidden for the longest wait of SQS (15 minutes), then run for the longest
# time of a function (30 minutes).
LANE_AGE_MAX_S = 2_700
STREAM_LAG_MAX_MS = 300_000
API_FAILURES_MAX_SHARE = 0.01  # of the requests in a span
FAILURES_MAX_SHARE = 0.5  # of the attempts that ended in a span
CLOCK_FAILURES_MAX_SHARE = 0.5  # of its runs in a span

DASHBOARD = "Dashboard"  # its logical id
GRID_COLUMNS = 24
WIDGET_ROWS = 6
ALARM_ROWS = 3
ALARMS_SHOWN_MAX = 100  # of one widget

ABOVE = "GreaterThanThreshold"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of CloudWatch, and which of its statistics is meant."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """When to ring: all, or ``datapoints``, of the last ``spans`` spans of ``span_s`` seconds are beyond the threshold.

    ``meaning`` is what has happened, ``first`` what to do first. ``silence`` is what a span without data means.
    """

    logical_id: str
    name: str  # behind the base name
    meaning: str
    first: str
    metric: Metric
    threshold: float
    comparison: str = ABOVE
    span_s: int = SPAN_S
    spans: int = 1
    datapoints: int | None = None
    silence: str = "notBreaching"


@dataclass(frozen=True, slots=True)
class Graph:
    """A widget of the dashboard: lines with their labels; CloudWatch labels what has none by what sets it apart."""

    title: str
    lines: Sequence[tuple[str | None, Metric]]
    columns: int = GRID_COLUMNS // 2
    unit: str = ""  # what the left axis counts


def watch(settings: Settings, lanes: Sequence[Lane]) -> Fragment:
    """The alarms of a deployed stage, and its dashboard where settings ask for one, by logical id.

    Eight alarms, one more with hooks on; with metrics off five and one for each lane. An alarm tells
    ``settings.alarm_topic``, if that is set, when it rings and when all is well again.
    """
    alarms = alarms_of(settings, lanes)
    resources = {alarm.logical_id: _alarm(settings, alarm) for alarm in alarms}
    if settings.watch == "dashboard":
        resources[DASHBOARD] = {
            "Type": "AWS::CloudWatch::Dashboard",
            "Properties": {
                "DashboardName": settings.base_name,
                "DashboardBody": {"Fn::Sub": json.dumps(_body(settings, lanes, alarms), separators=(",", ":"))},
            },
        }
    return resources


# -- alarms -------------------------------------------------------------------------------------------


def alarms_of(settings: Settings, lanes: Sequence[Lane]) -> list[Alarm]:
    """Every alarm of an installation.

    Without metrics of our own nothing tells that a job waits too long but the lanes themselves, each for itself.
    """
    told = [*(_lane_age(settings, lane) for lane in lanes)]
    if settings.told_metrics != "off":
        told = [_dead_letters(settings), _failures(settings), _late_jobs(settings)]
    return [
        *told,
        _dead_letter_queue(settings),
        *([_unchecked(settings)] if settings.hooks == "on" else []),
        _worker_errors(settings),
        _stream_lag(settings),
        _clock(settings),
        _api_failures(settings),
    ]


def _dead_letter_queue(settings: Settings) -> Alarm:
    return Alarm(
        logical_id="DeadLetterQueueAlarm",
        name="dead-letter-queue",
        meaning="Messages lie in the dead-letter queue for five minutes: the function that empties it does not.",
        first=f"read the log of {function_name(settings, Function.DEAD_LETTERS)}; the messages stay for 14 days",
        metric=_sqs(settings.dead_letter_queue, "ApproximateNumberOfMessagesVisible"),
        threshold=0,
        span_s=MINUTE_S,
        spans=5,
    )


def _unchecked(settings: Settings) -> Alarm:
    return Alarm(
        logical_id="HooksDeadQueueAlarm",
        name="hooks-dead-queue",
        meaning="A hook or a webhook could not be told of something, for six hours and more.",
        first=f"read why in the log of {function_name(settings, Function.HOOKS)}; mend; move the messages back within "
        "14 days",
        metric=_sqs(settings.hooks_dead_queue, "ApproximateNumberOfMessagesVisible"),
        threshold=0,
    )


def _dead_letters(settings: Settings) -> Alarm:
    return Alarm(
        logical_id="DeadLettersAlarm",
        name="dead-letters",
        meaning="A task or a message has used up its attempts or was rejected by its handler.",
        first="list the failed ones with their errors (taskyard dlq list, taskyard tasks list); mend; replay or retry",
        metric=_of_stage(settings, METRICS[Measure.DEAD].name, "Sum"),
        threshold=0,
    )


def _failures(settings: Settings) -> Alarm:
    return Alarm(
        logical_id="FailuresAlarm",
        name="failures",
        meaning="More than half of the attempts at tasks and messages have failed for ten minutes.",
        first=f"read why in the log of {function_name(settings, Function.WORKER)}; retries go on meanwhile",
        metric=_of_stage(settings, METRICS[Measure.FAILED].name, "Average"),
        threshold=FAILURES_MAX_SHARE,
        spans=2,
    )


def _late_jobs(settings: Settings) -> Alarm:
    return Alarm(
        logical_id="LateJobsAlarm",
        name="late-jobs",
        meaning="Jobs were sent half an hour ago and nobody has begun them, or slots of schedules were made more than "
        "ten seconds after their time.",
        first="see which wait (taskyard tasks list, oldestReadyAgeMs in GET /mq/dashboard), and whether their workers "
        "or consumers run, are too few, throttled (taskyard doctor) or paused",
        metric=_of_stage(settings, LATE_JOBS.name, "Sum"),
        threshold=0,
    )


def _lane_age(settings: Settings, lane: Lane) -> Alarm:
    name = sqs_name(settings.base_name, lane)
    return Alarm(
        logical_id=f"{lane_id(lane)}AgeAlarm",
        name=f"{sqs_name('', lane).lstrip('-')}-age",
        meaning="A message has been on this lane for more than three quarters of an hour.",
        first="see whether its workers run, fail, or are too few (LANE_CONCURRENCY)",
        metric=_sqs(name, "ApproximateAgeOfOldestMessage"),
        threshold=LANE_AGE_MAX_S,
    )


def _worker_errors(settings: Settings) -> Alarm:
    name = function_name(settings, Function.WORKER)
    return Alarm(
        logical_id="WorkerErrorsAlarm",
        name="worker-errors",
        meaning=f"The function {name} raised, ran out of time or was ended, in two of the last three five minutes. "
        "A handler that raises does not count here.",
        first=f"search the log group /aws/lambda/{name} for ERROR, Task timed out and Runtime exited",
        metric=_lambda(settings, Function.WORKER, "Errors", "Sum"),
        threshold=0,
        spans=3,
        datapoints=2,
    )


def _stream_lag(settings: Settings) -> Alarm:
    name = function_name(settings, Function.PROJECTOR)
    return Alarm(
        logical_id="StreamLagAlarm",
        name="stream-lag",
        meaning="Counters, series and metrics are more than five minutes behind the ledger; jobs are not affected.",
        first=f"read the log of {name}; a change is kept for 24 hours, then the counters miss it",
        metric=_lambda(settings, Function.PROJECTOR, "IteratorAge", "Maximum"),
        threshold=STREAM_LAG_MAX_MS,
        spans=2,
    )


def _clock(settings: Settings) -> Alarm:
    """Lambda tells a 0 or a 1 of each run: without any it has not run, and an average above a half are failures."""
    name = function_name(settings, Function.CLOCK)
    return Alarm(
        logical_id="ClockAlarm",
        name="clock",
        meaning="The clock has not run for five minutes, or most of its runs failed: long delays and abandoned jobs "
        "wait.",
        first=f"see whether the rule {settings.base_name}-clock is enabled and the function {name} is throttled; read "
        "its log",
        metric=_lambda(settings, Function.CLOCK, "Errors", "Average"),
        threshold=CLOCK_FAILURES_MAX_SHARE,
        silence="breaching",
    )


def _api_failures(settings: Settings) -> Alarm:
    """Of API Gateway, which answers 5xx for a function that raises, is throttled or runs out of time as well."""
    return Alarm(
        logical_id="ApiFailuresAlarm",
        name="api-failures",
        meaning="More than one in a hundred requests was answered 5xx, in two of the last three five minutes.",
        first="ask GET /health which dependency fails; search the API function's log for ERROR and WARNING",
        metric=_api(settings, "5XXError", "Average"),
        threshold=API_FAILURES_MAX_SHARE,
        spans=3,
        datapoints=2,
    )


def _alarm(settings: Settings, alarm: Alarm) -> Fragment:
    properties: Fragment = {
        "AlarmName": _alarm_name(settings, alarm),
        "AlarmDescription": f"{alarm.meaning} First: {alarm.first}.",
        "Namespace": alarm.metric.namespace,
        "MetricName": alarm.metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in alarm.metric.dimensions.items()],
        "Statistic": alarm.metric.statistic,
        "Period": alarm.span_s,
        "EvaluationPeriods": alarm.spans,
        "Threshold": alarm.threshold,
        "ComparisonOperator": alarm.comparison,
        "TreatMissingData": alarm.silence,
    }
    if alarm.datapoints is not None:
        properties["DatapointsToAlarm"] = alarm.datapoints
    if settings.alarm_topic:
        properties |= {"AlarmActions": [settings.alarm_topic], "OKActions": [settings.alarm_topic]}
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}


def _alarm_name(settings: Settings, alarm: Alarm) -> str:
    return f"{settings.base_name}-{alarm.name}"


# -- the dashboard ------------------------------------------------------------------------------------


def _body(settings: Settings, lanes: Sequence[Lane], alarms: Sequence[Alarm]) -> Fragment:
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
                [(None, _reported(settings, kind, measure, "Sum")) for measure in counts],
            )
            for kind in Kind
        ),
        *(
            Graph(
                title,
                [
                    (f"{kind.value} {percentile}", _reported(settings, kind, measure, percentile))
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
            Graph(title, [("all topics", _of_stage(settings, metric.name, "Maximum"))], unit=unit)
            for title, metric, unit in (
                ("Messages pending", MQ_DEPTH, "messages"),
                ("Age of the oldest ready message", MQ_OLDEST_AGE, "s"),
            )
        ),
        Graph(
            "Failures, and jobs that are late",
            [(metric.name, _of_stage(settings, metric.name, "Sum")) for metric in (*OF_ALL_KINDS, LATE_JOBS)],
        ),
    ]


def _queues(settings: Settings, lanes: Sequence[Lane]) -> list[Graph]:
    of_hooks = [settings.hooks_queue, settings.hooks_dead_queue] if settings.hooks == "on" else []
    names = [*(sqs_name(settings.base_name, lane) for lane in lanes), settings.dead_letter_queue, *of_hooks]
    return [
        Graph(title, [(None, _sqs(name, metric)) for name in names], unit=unit)
        for title, metric, unit in (
            ("Messages waiting", "ApproximateNumberOfMessagesVisible", "messages"),
            ("Age of the oldest message", "ApproximateAgeOfOldestMessage", "s"),
        )
    ]


def _functions(settings: Settings) -> list[Graph]:
    def lines(metric: str, statistic: str) -> list[tuple[str | None, Metric]]:
        return [(_slug(function), _lambda(settings, function, metric, statistic)) for function in _called(settings)]

    lag = _lambda(settings, Function.PROJECTOR, "IteratorAge", "Maximum")
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
        (f"{label} {what}", _table(name, f"{what.capitalize()}ThrottleEvents"))
        for label, name in tables.items()
        for what in ("read", "write")
    ]
    indexes = [
        (f"jobs index {index} write", _table(settings.jobs_table, "WriteThrottleEvents", index))
        for index in JOBS_INDEXES
    ]
    return [
        Graph(
            "Capacity units that tables consume",
            [
                (f"{label} {what}", _table(name, f"Consumed{what.capitalize()}CapacityUnits"))
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
            ("all", _api(settings, "Count", "Sum")),
            ("4xx", _api(settings, "4XXError", "Sum")),
            ("5xx", _api(settings, "5XXError", "Sum")),
        ],
        columns=GRID_COLUMNS,
    )


def _alarms_widget(settings: Settings, alarms: Sequence[Alarm]) -> Fragment:
    """What rings, at the top. ``${AWS::...}`` is filled in by CloudFormation, here and in the graphs."""
    arn = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:"
    names = [_alarm_name(settings, alarm) for alarm in alarms[:ALARMS_SHOWN_MAX]]
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


# -- metrics ------------------------------------------------------------------------------------------


def _reported(settings: Settings, kind: Kind, measure: Measure, statistic: str) -> Metric:
    """What the projector tells (``chalicelib/functions/metrics.py``)."""
    return Metric(NAMESPACE, METRICS[measure].name, {STAGE: settings.base_name, KIND: kind.value}, statistic)


def _of_stage(settings: Settings, name: str, statistic: str) -> Metric:
    """What is told of the whole stage: what failed, how all topics stand, which jobs are late."""
    return Metric(NAMESPACE, name, {STAGE: settings.base_name}, statistic)


def _sqs(queue: str, name: str) -> Metric:
    return Metric("AWS/SQS", name, {"QueueName": queue}, "Maximum")


def _lambda(settings: Settings, function: Function, name: str, statistic: str) -> Metric:
    return Metric("AWS/Lambda", name, {"FunctionName": function_name(settings, function)}, statistic)


def _table(table: str, name: str, index: str | None = None) -> Metric:
    dimensions = {"TableName": table} if index is None else {"TableName": table, "GlobalSecondaryIndexName": index}
    return Metric("AWS/DynamoDB", name, dimensions, "Sum")


def _api(settings: Settings, name: str, statistic: str) -> Metric:
    """Of the REST API, which Chalice names after the installation."""
    return Metric("AWS/ApiGateway", name, {"ApiName": settings.base_name}, statistic)


def _called(settings: Settings) -> list[Function]:
    """The functions that something calls."""
    return [function for function in Function if function is not Function.HOOKS or settings.hooks == "on"]


def _slug(function: Function) -> str:
    """A function's word in names and labels."""
    return "api" if function is Function.API else function.replace("_", "-")

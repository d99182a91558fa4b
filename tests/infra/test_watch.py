"""Alarms and the dashboard: that CloudWatch takes them, that every metric they name exists, and when they ring."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import jsonschema
import pytest
from cfnlint.api import lint

from chalicelib import aws
from chalicelib.core.cloudwatch import MQ_COUNTS, MQ_METRICS, OF_ALL_KINDS
from chalicelib.core.job import Job
from chalicelib.core.lanes import DEFAULT_BANDS, Band, sqs_name
from chalicelib.core.states import Kind, State
from chalicelib.engine.projections.dashboard import Topic
from chalicelib.engine.projections.project import Change
from chalicelib.functions import metrics
from chalicelib.local.emulator import REGION, Emulator
from chalicelib.settings import Settings
from infra.deploy import stack
from infra.functions import function_name, functions_of
from infra.queues import lanes_of
from infra.template import template
from infra.watch import watch
from tests.support.yards import environment, forget_clients

TOPIC = "arn:aws:sns:us-east-1:123456789012:operators"
DEV = Settings(stage="dev", alarm_topic=TOPIC, watch="dashboard").checked()
BRIDGED = replace(
    DEV,
    kafka_topics=json.dumps([{"topic": "orders", "direction": "in", "group": "g"}]),
    kafka_source=json.dumps({"bootstrapServers": ["b-1.example:9096"]}),
)
LONGEST = Settings(prefix="p" * 16, stage="s" * 12, alarm_topic=TOPIC, watch="dashboard").checked()
QUEUES = {"orders": (Band.CRITICAL, Band.LOW), "订单/出库": DEFAULT_BANDS}
LANES = lanes_of(QUEUES)
ACCOUNT = "000000000000"  # of MiniStack

# What AWS tells without being asked, with the dimensions under which it does. Amazon SQS Developer Guide, "Available
# CloudWatch metrics for Amazon SQS"; AWS Lambda Developer Guide, "Types of metrics for Lambda functions"; Amazon
# DynamoDB Developer Guide, "DynamoDB metrics and dimensions"; Amazon API Gateway Developer Guide, "Amazon API Gateway
# dimensions and metrics".
AWS_METRICS: Mapping[str, Mapping[str, set[tuple[str, ...]]]] = {
    "AWS/SQS": {
        "ApproximateAgeOfOldestMessage": {("QueueName",)},
        "ApproximateNumberOfMessagesVisible": {("QueueName",)},
    },
    "AWS/Lambda": {
        name: {("FunctionName",)}
        for name in (
            "Invocations",
            "Errors",
            "Throttles",
            "Duration",
            "ConcurrentExecutions",
            "IteratorAge",
            "OffsetLag",
        )
    },
    "AWS/DynamoDB": {
        name: {("TableName",), ("TableName", "GlobalSecondaryIndexName")}
        for name in (
            "ConsumedReadCapacityUnits",
            "ConsumedWriteCapacityUnits",
            "ReadThrottleEvents",
            "WriteThrottleEvents",
        )
    },
    "AWS/ApiGateway": {name: {("ApiName",)} for name in ("Count", "4XXError", "5XXError", "Latency")},
}
# Amazon CloudWatch User Guide, "Dashboard Body Structure and Syntax": what it says of the two kinds of widgets used.
WIDGET: Mapping[str, Any] = {
    "type": "object",
    "required": ["type", "x", "y", "width", "height", "properties"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["metric", "alarm"]},
        "x": {"type": "integer", "minimum": 0, "maximum": 23},
        "y": {"type": "integer", "minimum": 0},
        "width": {"type": "integer", "minimum": 1, "maximum": 24},
        "height": {"type": "integer", "minimum": 1, "maximum": 1_000},
        "properties": {"type": "object"},
    },
    "if": {"properties": {"type": {"const": "metric"}}},
    "then": {
        "properties": {
            "properties": {
                "required": ["metrics", "region", "title", "stat", "period"],
                "additionalProperties": False,
                "properties": {
                    "title": {"type": "string", "minLength": 1},
                    "region": {"const": REGION},
                    "view": {"enum": ["timeSeries", "singleValue", "gauge", "bar", "pie", "table"]},
                    "period": {"type": "integer", "multipleOf": 60},
                    "stat": {"$ref": "#/$defs/statistic"},
                    "yAxis": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "left": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "min": {"type": "number"},
                                    "label": {"type": "string"},
                                    "showUnits": {"type": "boolean"},
                                },
                            }
                        },
                    },
                    "metrics": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 500,
                        "items": {
                            "type": "array",
                            "minItems": 4,
                            "items": {
                                "anyOf": [
                                    {"type": "string"},
                                    {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {
                                            "label": {"type": "string"},
                                            "stat": {"$ref": "#/$defs/statistic"},
                                        },
                                    },
                                ]
                            },
                        },
                    },
                },
            }
        }
    },
    "else": {
        "properties": {
            "properties": {
                "required": ["alarms"],
                "additionalProperties": False,
                "properties": {
                    "title": {"type": "string"},
                    "alarms": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 100,
                        "items": {"pattern": f"^arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:[a-z0-9A-Z_-]+$"},
                    },
                },
            }
        }
    },
    "$defs": {"statistic": {"enum": ["Sum", "Maximum", "Minimum", "Average", "SampleCount", "p50", "p95", "p99"]}},
}
BODY: Mapping[str, Any] = {
    "type": "object",
    "required": ["widgets"],
    "additionalProperties": False,
    "properties": {"widgets": {"type": "array", "maxItems": 500, "items": {"$ref": "#/$defs/widget"}}},
    "$defs": {"widget": WIDGET, **WIDGET["$defs"]},
}
Named = tuple[str, str, tuple[tuple[str, str], ...]]  # namespace, metric, dimensions


def alarms(settings: Settings = DEV) -> dict[str, dict[str, Any]]:
    """The alarms' properties, by what their names have behind the base name."""
    found = [each["Properties"] for each in watch(settings, LANES).values() if each["Type"].endswith("::Alarm")]
    return {each["AlarmName"].removeprefix(f"{settings.base_name}-"): each for each in found}


def filled(text: str) -> str:
    """The text as CloudFormation fills it in on MiniStack."""
    known = {"${AWS::Region}": REGION, "${AWS::AccountId}": ACCOUNT, "${AWS::Partition}": "aws"}
    for name, value in known.items():
        text = text.replace(name, value)
    assert "${" not in text
    return text


def dashboard(settings: Settings = DEV) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(
        filled(watch(settings, LANES)["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    )
    return body


def graphs(settings: Settings = DEV) -> dict[str, dict[tuple[str, Named], str]]:
    """The graphs by title: label and metric of each line, and its statistic. Dots are written out."""
    found: dict[str, dict[tuple[str, Named], str]] = {}
    for widget in dashboard(settings)["widgets"]:
        properties = widget["properties"]
        above: list[str] = []
        lines = {}
        for row in properties.get("metrics", ()):
            options = row[-1] if isinstance(row[-1], dict) else {}
            parts = [part for part in row if isinstance(part, str)]
            above = [above[i] if part == "." else part for i, part in enumerate(parts)]
            pairs = tuple(zip(above[2::2], above[3::2], strict=True))
            statistic = options.get("stat", properties["stat"])
            lines[options.get("label", ""), (above[0], above[1], pairs)] = statistic
        if lines:
            found[properties["title"]] = lines
    return found


def metrics_of(settings: Settings) -> set[Named]:
    """Every metric that an alarm or the dashboard names."""
    by_alarms = {
        (each["Namespace"], each["MetricName"], tuple((d["Name"], d["Value"]) for d in each["Dimensions"]))
        for each in alarms(settings).values()
    }
    return by_alarms | {metric for lines in graphs(settings).values() for _, metric in lines}


# -- CloudFormation and CloudWatch take them ----------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [DEV, LONGEST, replace(DEV, metrics="off", alarm_topic="")],
    ids=["dev", "longest names", "metrics off"],
)
def test_cfn_lint_finds_nothing(settings: Settings) -> None:
    assert lint(json.dumps(template(settings, QUEUES))) == []


def test_what_is_watched_is_part_of_every_deployed_template() -> None:
    assert watch(DEV, LANES).items() <= template(DEV, QUEUES)["Resources"].items()
    local = template(Settings(), QUEUES)["Resources"].values()
    assert not [each for each in local if each["Type"].startswith("AWS::CloudWatch")]


def test_nothing_is_watched_where_it_is_switched_off() -> None:
    built = template(replace(DEV, watch="off"), QUEUES)["Resources"]
    assert not [key for key, resource in built.items() if resource["Type"].startswith("AWS::CloudWatch::")]


def test_a_dashboard_is_there_where_it_is_asked_for() -> None:
    alarms_alone = watch(replace(DEV, watch="on"), LANES)
    assert alarms_alone == {key: each for key, each in watch(DEV, LANES).items() if key != "Dashboard"}
    assert Settings().watch == "on"


@pytest.mark.parametrize("settings", [DEV, LONGEST, replace(DEV, metrics="off")])
def test_the_dashboard_has_the_documented_structure(settings: Settings) -> None:
    jsonschema.validate(dashboard(settings), BODY)


def test_widgets_keep_to_the_grid_and_off_each_other() -> None:
    widgets = dashboard()["widgets"]
    places = [(w["x"], w["y"], w["x"] + w["width"], w["y"] + w["height"]) for w in widgets]
    assert all(right <= 24 for _, _, right, _ in places)
    for (left, top, right, bottom), (x, y, x_end, y_end) in combinations(places, 2):
        assert right <= x or x_end <= left or bottom <= y or y_end <= top


@pytest.mark.parametrize("settings", [DEV, LONGEST])
def test_alarms_are_within_cloudwatchs_limits(settings: Settings) -> None:
    """Amazon CloudWatch API Reference, "PutMetricAlarm"."""
    found = [each["Properties"] for each in watch(settings, LANES).values() if each["Type"].endswith("::Alarm")]
    assert len({each["AlarmName"] for each in found}) == len(found)
    for each in found:
        assert len(each["AlarmName"]) <= 255
        assert len(each["AlarmDescription"]) <= 1_024
        assert each["Period"] * each["EvaluationPeriods"] <= 86_400
        assert each.get("DatapointsToAlarm", 1) <= each["EvaluationPeriods"]


# -- every metric exists ------------------------------------------------------------------------------


def test_every_aws_metric_is_one_that_aws_tells_under_these_dimensions() -> None:
    named = [metric for metric in metrics_of(DEV) if metric[0].startswith("AWS/")]
    assert named
    for namespace, name, dimensions in named:
        assert tuple(dimension for dimension, _ in dimensions) in AWS_METRICS[namespace][name]


def test_our_own_metrics_are_exactly_those_that_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A life that fails, one that succeeds and one that is canceled, of each kind, told as it is deployed.

    What messages add up to by the names of their dialect, they do by those of all jobs, which are shown. What failed
    is told of both kinds together.
    """
    metrics.report(DEV, [change for kind in Kind for change in lives(kind)])
    metrics.report(DEV, [late_slot()])
    metrics.report_topics(DEV, {"t": Topic(1, Counter(), 0)})
    told = set()
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        (names,) = directive["Dimensions"]
        for metric in directive["Metrics"]:
            told.add((directive["Namespace"], metric["Name"], tuple((name, line[name]) for name in names)))

    assert {metric for metric in metrics_of(DEV) if not metric[0].startswith("AWS/")} == {
        each for each in told if each[1] not in {metric.name for metric in MQ_COUNTS.values()}
    }
    assert len(told) == 6 * len(Kind) + len(OF_ALL_KINDS) + len(MQ_METRICS) + 1


def late_slot() -> Change:
    """A job of a slot that the clock made more than ten seconds after its time."""
    new = next(change.after for change in lives(Kind.TASK) if change.before is None)
    assert new is not None
    return Change("9", None, replace(new, created_at_ms=11_001, start_at_ms=1_000, slot_at_ms=1_000))


def lives(kind: Kind) -> Iterator[Change]:
    new = Job(id=1, uid="b", kind=kind, type="t", queue="q", created_at_ms=1, updated_at_ms=1, trace_id="t")
    runs = replace(new, state=State.RUNNING, started_at_ms=2, updated_at_ms=2, lease="l")
    failed = replace(runs, state=State.FAILED, failures=1, updated_at_ms=3)
    for number, (before, after) in enumerate(
        [
            (None, new),
            (new, runs),
            (runs, failed),
            (runs, replace(runs, state=State.SUCCESS, updated_at_ms=3)),
            (new, replace(new, state=State.CANCELED)),
        ]
    ):
        yield Change(str(number), before, after)


def test_with_metrics_off_nothing_is_asked_of_them() -> None:
    off = replace(DEV, metrics="off")
    assert {namespace for namespace, _, _ in metrics_of(off)} == set(AWS_METRICS)
    assert set(alarms()) - set(alarms(off)) == {"dead-letters", "failures", "late-jobs"}


def test_what_is_watched_goes_by_the_names_of_the_template() -> None:
    """All that may be there: of hooks nothing is watched where nobody is told."""
    hooked = replace(DEV, hooks="on")
    resources = template(hooked, QUEUES)["Resources"].values()
    names = {
        "QueueName": {each["Properties"]["QueueName"] for each in resources if each["Type"] == "AWS::SQS::Queue"},
        "TableName": {each["Properties"]["TableName"] for each in resources if each["Type"] == "AWS::DynamoDB::Table"},
        "GlobalSecondaryIndexName": {"by_state", "by_type", "by_trace", "by_target", "due"},
        "FunctionName": {function_name(DEV, function) for function in functions_of(DEV)},
        "ApiName": {DEV.base_name},
        "stage": {DEV.base_name},
        "kind": {"task", "message"},
    }
    watched: dict[str, set[str]] = {}
    for _, _, dimensions in metrics_of(hooked):
        for name, value in dimensions:
            watched.setdefault(name, set()).add(value)
    assert watched == names
    assert not [value for _, _, dimensions in metrics_of(DEV) for _, value in dimensions if "hooks" in value]


# -- when they ring -----------------------------------------------------------------------------------


def test_there_are_eight_alarms_and_only_without_metrics_one_for_each_lane() -> None:
    assert len(LANES) == 8
    assert len(alarms()) == 8
    assert set(alarms(replace(DEV, hooks="on"))) - set(alarms()) == {"hooks-dead-queue"}
    assert set(alarms(BRIDGED)) - set(alarms()) == {"kafka-lag"}
    off = alarms(replace(DEV, metrics="off"))
    assert len(off) == 5 + len(LANES)
    ages = {each["Dimensions"][0]["Value"] for name, each in off.items() if name.endswith("-age")}
    assert ages == {sqs_name(DEV.base_name, lane) for lane in LANES}


@pytest.mark.parametrize(
    ("name", "metric", "statistic", "rings", "spans"),
    [
        ("dead-letter-queue", "ApproximateNumberOfMessagesVisible", "Maximum", "> 0", "5 of 5 times 60 s"),
        ("hooks-dead-queue", "ApproximateNumberOfMessagesVisible", "Maximum", "> 0", "1 of 1 times 300 s"),
        ("dead-letters", "dead_letters", "Sum", "> 0", "1 of 1 times 300 s"),
        ("failures", "attempts_failed", "Average", "> 0.5", "2 of 2 times 300 s"),
        ("late-jobs", "late_jobs", "Sum", "> 0", "1 of 1 times 300 s"),
        ("worker-errors", "Errors", "Sum", "> 0", "2 of 3 times 300 s"),
        ("stream-lag", "IteratorAge", "Maximum", "> 300000", "2 of 2 times 300 s"),
        ("kafka-lag", "OffsetLag", "Maximum", "> 10000", "3 of 3 times 300 s"),
        ("clock", "Errors", "Average", "> 0.5", "1 of 1 times 300 s"),
        ("api-failures", "5XXError", "Average", "> 0.01", "2 of 3 times 300 s"),
        ("default-37a8eec1ce19-normal-age", "ApproximateAgeOfOldestMessage", "Maximum", "> 2700", "1 of 1 times 300 s"),
    ],
)
def test_an_alarm_rings(name: str, metric: str, statistic: str, rings: str, spans: str) -> None:
    found = {**alarms(replace(DEV, metrics="off")), **alarms(replace(DEV, hooks="on")), **alarms(BRIDGED)}[name]
    assert found["ComparisonOperator"] == "GreaterThanThreshold"
    number = found["EvaluationPeriods"]
    assert (found["MetricName"], found["Statistic"]) == (metric, statistic)
    assert f"> {found['Threshold']}" == rings
    assert f"{found.get('DatapointsToAlarm', number)} of {number} times {found['Period']} s" == spans


def test_only_the_clocks_silence_is_an_alarm() -> None:
    silences = {name: each["TreatMissingData"] for name, each in alarms().items()}
    assert silences.pop("clock") == "breaching"
    assert set(silences.values()) == {"notBreaching"}


def test_every_alarm_says_what_it_means_and_what_to_do_first() -> None:
    for each in alarms().values():
        meaning, first, rest = each["AlarmDescription"].partition(" First: ")
        assert meaning[0].isupper()
        assert meaning.endswith(".")
        assert first
        assert len(rest) > 30


def test_alarms_tell_the_topic_if_there_is_one() -> None:
    for each in alarms().values():
        assert each["AlarmActions"] == each["OKActions"] == [TOPIC]
    for each in alarms(replace(DEV, alarm_topic="")).values():
        assert not {"AlarmActions", "OKActions"} & each.keys()


# -- what the dashboard shows -------------------------------------------------------------------------


def test_the_dashboard_shows_all_that_an_alarm_rings_for() -> None:
    shown = {metric for lines in graphs().values() for _, metric in lines}
    alarmed = {
        (each["Namespace"], each["MetricName"], tuple((d["Name"], d["Value"]) for d in each["Dimensions"]))
        for each in alarms().values()
    }
    assert alarmed <= shown
    (first, *_) = dashboard()["widgets"]
    assert [arn.rsplit(":", 1)[-1] for arn in first["properties"]["alarms"]] == [
        f"{DEV.base_name}-{name}" for name in alarms()
    ]


def test_the_dashboard_has_a_graph_of_everything_that_matters() -> None:
    assert {title: len(lines) for title, lines in graphs().items()} == {
        "Tasks a minute": 4,
        "Messages a minute": 4,
        "Wait from due to started": 6,
        "Run time of attempts": 6,
        "Messages pending": 1,
        "Age of the oldest ready message": 1,
        "Failures, and jobs that are late": 3,
        "Messages waiting": len(LANES) + 1,
        "Age of the oldest message": len(LANES) + 1,
        "Function errors and throttles": 10,
        "Function time, p95": 5,
        "Functions at a time": 5,
        "Lag of the change stream": 1,
        "Capacity units that tables consume": 6,
        "Requests that tables throttled": 11,
        "Requests a minute": 3,
    }
    hooked = graphs(replace(DEV, hooks="on"))
    assert {
        title: len(lines) - len(graphs()[title]) for title, lines in hooked.items() if lines != graphs()[title]
    } == {
        "Messages waiting": 2,
        "Age of the oldest message": 2,
        "Function errors and throttles": 2,
        "Function time, p95": 1,
        "Functions at a time": 1,
    }
    assert set(graphs()["Wait from due to started"].values()) == {"p50", "p95", "p99"}


def test_lanes_without_end_keep_within_what_a_widget_shows() -> None:
    many = lanes_of(dict.fromkeys((f"topic {number}" for number in range(18)), tuple(Band)))
    body = watch(replace(DEV, metrics="off"), many)["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    jsonschema.validate(json.loads(filled(body)), BODY)


# -- on an emulator -----------------------------------------------------------------------------------


@pytest.fixture
def on_ministack() -> Iterator[None]:
    with Emulator.start() as emulator, environment(emulator.environment()):
        forget_clients()
        yield
    forget_clients()


def test_cloudwatch_holds_what_was_asked_for(on_ministack: None) -> None:  # noqa: ARG001
    stack.apply(DEV, template(DEV, {"orders": (Band.CRITICAL, Band.LOW)}))
    lanes = lanes_of({"orders": (Band.CRITICAL, Band.LOW)})
    wanted = watch(DEV, lanes)
    cloudwatch = aws.client("cloudwatch")

    body = cloudwatch.get_dashboard(DashboardName=DEV.base_name)["DashboardBody"]
    assert json.loads(body) == json.loads(filled(wanted["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]))
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=DEV.base_name)
    found = {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}
    asked = [each["Properties"] for each in wanted.values() if each["Type"].endswith("::Alarm")]
    assert len(asked) == 8
    assert {name: {key: alarm[key] for key in asked[0] if key in alarm} for name, alarm in found.items()} == {
        each["AlarmName"]: {key: each[key] for key in asked[0]} for each in asked
    }
    assert {name: alarm.get("DatapointsToAlarm") for name, alarm in found.items()} == {
        each["AlarmName"]: each.get("DatapointsToAlarm") for each in asked
    }

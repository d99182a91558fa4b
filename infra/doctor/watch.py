"""What watches the installation: log groups, alarms, dashboards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from chalicelib import aws
from chalicelib.store.table import chunks
from infra.doctor.findings import Check, Level, Observation, about, compared, ok
from infra.doctor.installation import Installation

LOGS = "logs"
ALARMS = "alarms"
DASHBOARDS = "dashboards"
ALARM_TYPES = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
DASHBOARD_TYPE = "AWS::CloudWatch::Dashboard"
ALARMS_PER_CALL = 100  # Amazon CloudWatch API Reference, "DescribeAlarms"

Properties = Mapping[str, Any]
Question = Callable[[Installation, Sequence[str]], Iterator[Observation]]


def checks(installation: Installation) -> Iterator[Check]:
    """Looks at the log groups, the alarms (many at once) and the dashboards of the template."""
    for logical_id in installation.of_type("AWS::Logs::LogGroup"):
        yield Check(
            area=LOGS,
            subject=installation.facts[logical_id],
            question=partial(_log_group, installation, logical_id),
        )
    yield from _alarm_checks(installation, _alarms)
    for logical_id in installation.of_type(DASHBOARD_TYPE):
        yield Check(
            area=DASHBOARDS,
            subject=installation.resources[logical_id]["Properties"]["DashboardName"],
            question=partial(_dashboard, installation, logical_id),
            when_missing=installation.remake(logical_id, _put_dashboard(installation, logical_id)),
        )


def _log_group(installation: Installation, logical_id: str) -> Iterator[Observation]:
    expected = installation.properties(logical_id)
    name, days = expected["LogGroupName"], expected["RetentionInDays"]
    pages = aws.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    found = next((group for page in pages for group in page["logGroups"] if group["logGroupName"] == name), None)
    if found is None:
        create = installation.aws("logs", "create-log-group", log_group_name=name)
        remedy = installation.remake(logical_id, f"{create}, then look again")
        yield compared("existence", "it exists", "missing", remedy)
        return
    yield compared(
        "retention in days",
        days,
        found.get("retentionInDays", "kept for ever"),
        installation.aws("logs", "put-retention-policy", log_group_name=name, retention_in_days=days),
    )


def ringing(installation: Installation) -> Iterator[Check]:
    """Looks at whether an alarm rings now."""
    yield from _alarm_checks(installation, _ringing)


def _alarm_checks(installation: Installation, question: Question) -> Iterator[Check]:
    for some in chunks(list(installation.of_type(*ALARM_TYPES)), ALARMS_PER_CALL):
        yield Check(area=ALARMS, subject="alarms", question=partial(question, installation, some))


def _alarms(installation: Installation, logical_ids: Sequence[str]) -> Iterator[Observation]:
    declared, found = _described(installation, logical_ids)
    for logical_id, expected in zip(logical_ids, declared, strict=True):
        name = expected["AlarmName"]
        yield from about(name, _alarm(installation, logical_id, expected, found.get(name)))


def _alarm(
    installation: Installation, logical_id: str, expected: Properties, alarm: Properties | None
) -> Iterator[Observation]:
    if alarm is None:
        command = "put-composite-alarm" if "AlarmRule" in expected else "put-metric-alarm"
        put = installation.aws("cloudwatch", command, cli_input_json=expected)
        missing = None if installation.emulated else "missing"  # CloudFormation of some emulators makes no alarms
        remedy = installation.remake(logical_id, put)
        yield compared("existence", "it exists", missing, remedy, emulated=installation.emulated)
        return
    yield ok("existence", "it exists")
    yield compared(
        "actions",
        "enabled",
        "enabled" if alarm.get("ActionsEnabled", True) else "disabled",
        installation.aws("cloudwatch", "enable-alarm-actions", alarm_names=expected["AlarmName"]),
        level=Level.WARN,
    )


def _ringing(installation: Installation, logical_ids: Sequence[str]) -> Iterator[Observation]:
    declared, found = _described(installation, logical_ids)
    for expected in declared:
        name = expected["AlarmName"]
        alarm = found.get(name, {})
        ringing = alarm.get("StateValue") == "ALARM"
        state = compared(
            "state",
            "no alarm",
            f"ALARM: {alarm.get('StateReason', '')}" if ringing else "no alarm",
            str(expected.get("AlarmDescription", "")),
        )
        yield from about(name, [state])


def _described(
    installation: Installation, logical_ids: Sequence[str]
) -> tuple[list[Properties], dict[str, Properties]]:
    """The alarms as they are declared, and by their names as they are found."""
    declared: list[Properties] = [installation.properties(logical_id) for logical_id in logical_ids]
    described = aws.client("cloudwatch").describe_alarms(
        AlarmNames=[expected["AlarmName"] for expected in declared],
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
        MaxRecords=ALARMS_PER_CALL,
    )
    alarms = [*described.get("MetricAlarms", ()), *described.get("CompositeAlarms", ())]
    return declared, {alarm["AlarmName"]: alarm for alarm in alarms}


def _dashboard(installation: Installation, logical_id: str) -> Iterator[Observation]:
    name = installation.resources[logical_id]["Properties"]["DashboardName"]
    aws.client("cloudwatch").get_dashboard(DashboardName=name)
    yield ok("existence", name)


def _put_dashboard(installation: Installation, logical_id: str) -> str:
    name = installation.resources[logical_id]["Properties"]["DashboardName"]
    put = installation.aws("cloudwatch", "put-dashboard", dashboard_name=name, dashboard_body="file://body.json")
    return f"the template holds its body (`python -m infra.template`): {put}"

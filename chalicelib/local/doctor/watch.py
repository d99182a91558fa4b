"""What watches the installation: log groups, alarms, dashboards."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from chalicelib import aws
from chalicelib.local.doctor.findings import Level, Look, Observation, compared, ok
from chalicelib.local.doctor.installation import Installation, as_json

LOGS = "logs"
ALARMS = "alarms"
DASHBOARDS = "dashboards"
ALARM_TYPES = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
DASHBOARD_TYPE = "AWS::CloudWatch::Dashboard"


def looks(installation: Installation) -> Iterator[Look]:
    """A look at each log group, each alarm and each dashboard of the template."""
    for logical_id in installation.of_type("AWS::Logs::LogGroup"):
        yield Look(
            area=LOGS,
            subject=installation.facts[logical_id],
            question=partial(_log_group, installation, logical_id),
        )
    for logical_id in installation.of_type(*ALARM_TYPES):
        yield Look(area=ALARMS, subject=logical_id, question=partial(_alarm, installation, logical_id))
    for logical_id in installation.of_type(DASHBOARD_TYPE):
        yield Look(
            area=DASHBOARDS,
            subject=logical_id,
            question=partial(_dashboard, installation, logical_id),
            when_missing=f"delete {logical_id} from the template, deploy, put it back, and {installation.deploy}",
        )


def _log_group(installation: Installation, logical_id: str) -> Iterator[Observation]:
    expected = installation.properties(logical_id)
    name, days = expected["LogGroupName"], expected["RetentionInDays"]
    groups = aws.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    found = next((group for group in groups if group["logGroupName"] == name), None)
    if found is None:
        create = installation.aws("logs", "create-log-group", "--log-group-name", name)
        yield compared("existence", "it exists", "missing", f"{create}, then look again", emulated=False)
        return
    yield compared(
        "retention in days",
        days,
        found.get("retentionInDays", "kept for ever"),
        installation.aws("logs", "put-retention-policy", "--log-group-name", name, "--retention-in-days", str(days)),
        emulated=False,
    )


def _alarm(installation: Installation, logical_id: str) -> Iterator[Observation]:
    expected = installation.properties(logical_id)
    described = aws.client("cloudwatch").describe_alarms(
        AlarmNames=[expected["AlarmName"]], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    alarms = [*described.get("MetricAlarms", ()), *described.get("CompositeAlarms", ())]
    if not alarms:
        composite = "AlarmRule" in expected
        command = "put-composite-alarm" if composite else "put-metric-alarm"
        put = installation.aws("cloudwatch", command, "--cli-input-json", as_json(expected))
        missing = None if installation.emulated else "missing"  # CloudFormation of some emulators makes no alarms
        yield compared("existence", "it exists", missing, put, emulated=installation.emulated)
        return
    alarm = alarms[0]
    yield compared(
        "actions",
        "enabled",
        "enabled" if alarm.get("ActionsEnabled", True) else "disabled",
        installation.aws("cloudwatch", "enable-alarm-actions", "--alarm-names", expected["AlarmName"]),
        emulated=False,
        level=Level.WARN,
    )
    ringing = alarm.get("StateValue") == "ALARM"
    yield compared(
        "state",
        "no alarm",
        f"ALARM: {alarm.get('StateReason', '')}" if ringing else "no alarm",
        str(expected.get("AlarmDescription", "")),
        emulated=False,
    )


def _dashboard(installation: Installation, logical_id: str) -> Iterator[Observation]:
    name = installation.properties(logical_id)["DashboardName"]
    aws.client("cloudwatch").get_dashboard(DashboardName=name)
    yield ok("existence", name)

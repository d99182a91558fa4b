"""What watches a deployed installation: its alarms, and a dashboard where settings ask for one."""

from __future__ import annotations

import json
from collections.abc import Sequence

from chalicelib.core.lanes import Lane
from chalicelib.settings import Settings
from infra.alarms import alarms_of, resource_of
from infra.dashboard import body
from infra.fragment import Fragment

DASHBOARD = "Dashboard"  # its logical id


def watch(settings: Settings, lanes: Sequence[Lane]) -> Fragment:
    """The alarms of a deployed stage, and its dashboard where settings ask for one, by logical id.

    Eight alarms, one more with hooks on, and one where a topic comes from Kafka; with metrics off three of the eight
    are missing, and each lane has one. An alarm tells ``settings.alarm_topic``, if that is set, when it rings and when
    all is well again.
    """
    alarms = alarms_of(settings, lanes)
    resources = {alarm.logical_id: resource_of(settings, alarm) for alarm in alarms}
    if settings.watch == "dashboard":
        resources[DASHBOARD] = {
            "Type": "AWS::CloudWatch::Dashboard",
            "Properties": {
                "DashboardName": settings.base_name,
                "DashboardBody": {"Fn::Sub": json.dumps(body(settings, lanes, alarms), separators=(",", ":"))},
            },
        }
    return resources

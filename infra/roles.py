"""The role of each Lambda function, from the policy file of its name in ``infra/policies``.

A resource in a policy file is written as ``Fn::Sub`` takes it: ``${JobsTable.Arn}`` is a resource of the template,
``${BaseName}`` what the names of this installation begin with, ``${Logs.Arn}`` the function's own log group.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chalicelib.settings import Settings
from infra.fragment import Fragment
from infra.functions import Function, log_group_id

POLICIES = Path(__file__).parent / "policies"
TRACING = {
    "Sid": "Tracing",
    "Effect": "Allow",
    "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
    "Resource": "*",  # X-Ray knows no resources to name here; said only where tracing is on
}


def role_id(function: Function) -> str:
    """The logical id of a function's role."""
    return f"{function.logical_id}Role"


def roles(settings: Settings) -> Fragment:
    """The role of each function, by logical id."""
    return {role_id(function): _role(settings, function) for function in Function}


def _role(settings: Settings, function: Function) -> Fragment:
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "lambda.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            },
            "Policies": [{"PolicyName": "taskyard", "PolicyDocument": policy(settings, function)}],
        },
    }


def policy(settings: Settings, function: Function) -> Fragment:
    """The policy document of a function, with the resources of the template that holds it."""
    document: dict[str, Any] = json.loads((POLICIES / f"{function}.json").read_text())
    for statement in document["Statement"]:
        statement["Resource"] = [_resolved(resource, settings, function) for resource in statement["Resource"]]
    if settings.tracing == "on":
        document["Statement"].append(TRACING)
    return document


def _resolved(resource: str, settings: Settings, function: Function) -> Fragment:
    text = resource.replace("${BaseName}", settings.base_name).replace("${Logs.", f"${{{log_group_id(function)}.")
    return {"Fn::Sub": text}

"""The role of each Lambda function, from the policy file of its name in ``infra/policies``.

A policy file is an IAM policy document that allows exactly what its function calls. Its resources and conditions are
written as ``Fn::Sub`` takes them: ``${JobsTable.Arn}`` is a resource of the template, ``${AWS::AccountId}`` what it
is everywhere. Four names more are filled in here::

    ${BaseName}          what the names of this installation begin with
    ${Logs.Arn}          the function's own log group
    ${PatternLane.Arn}   the lane whose attributes the lanes of topics without subscribers are given
    ${Lanes.Arn}         every lane, and not the dead-letter queue

``${Lanes.Arn}`` is a pattern of the names that lanes have (``core.lanes.sqs_name``), because topics get theirs at
first use, and because a list of all of them would outgrow a role. It fits the lanes of another installation, too,
whose stage begins with this one's name and ``-``.

What only some settings make a function do it may only under these settings (``CHOSEN``): ``clock.canary.json`` where
canaries fly, ``projector.search.json`` where search is on.

**What handlers may do with** ``chalicelib.services`` by the worker's role alone: publish a message, look at one by
its id, complete, fail and extend one that was polled, and replay a dead letter. Not so what a handler seldom has
business with: polling (which reads the directory, where the access keys are), lists, traces, depths, recovery and
cleanup. Publishing many at once works, but its outbox stays open, so the clock sends those not yet begun once more;
whoever does it often should allow ``dynamodb:DeleteItem`` on ``${DirectoryTable.Arn}``.

**Permissions of your own handlers and hooks** go into ``infra/policies/handlers.json``: a document of the same form,
whose statements the roles of the worker and of ``hooks`` get beside their own; no other function runs your code. A
hook may publish messages without more. For example, to let them send mail from one address::

    {
      "Version": "2012-10-17",
      "Statement": [
        {
          "Sid": "Mail",
          "Effect": "Allow",
          "Action": ["ses:SendEmail"],
          "Resource": ["arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:identity/example.com"]
        }
      ]
    }

All of a role's policies together may have ``ROLE_POLICIES_MAX_CHARS`` characters, white space not counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import Band, Lane
from chalicelib.engine.handlers.declare import DEFAULT_POOL
from chalicelib.settings import Settings
from infra.fragment import Fragment
from infra.functions import Function, functions_of, log_group_id
from infra.kafka import statements as of_kafka
from infra.queues import lane_id

POLICIES = Path(__file__).parent / "policies"
HANDLERS = Path("infra", "policies", "handlers.json")  # of the project in the current folder, or of Taskyard's own
ROLE_POLICIES_MAX_CHARS = 10_240  # IAM User Guide, "IAM and AWS STS quotas"
# What a function may beside its own file, where the settings say so.
CHOSEN: Mapping[Function, Mapping[str, Callable[[Settings], bool]]] = {
    Function.CLOCK: {
        "clock.canary.json": lambda settings: settings.canary_every_s > 0,
    },
    Function.PROJECTOR: {
        "projector.search.json": lambda settings: settings.search_is_on,
    },
}
RUNNING_HANDLERS = (Function.WORKER, Function.HOOKS)  # what the user's code needs is for these
STATEMENT_PARTS = {"Effect", "Action", "Resource"}
# A name of three more parts: what is readable of the queue's name, the digest of it, the band.
LANES_ARN = "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${BaseName}-*-*-*"
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
    """The role of each function, by logical id. Raises ``InvalidInput`` for a policy file that is none."""
    return {role_id(function): _role(settings, function) for function in functions_of(settings)}


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


def policy(settings: Settings, function: Function, handlers: Path | None = None) -> Fragment:
    """The policy document of a function, with the resources of the template that holds it.

    ``handlers`` is the file, there or not, of what handlers and hooks need; by default the project's. Raises
    ``InvalidInput`` for a file that is no policy document, and where two statements have one name.
    """
    chosen = [name for name, is_chosen in CHOSEN.get(function, {}).items() if is_chosen(settings)]
    statements = [each for name in [*chosen, f"{function}.json"] for each in _read(POLICIES / name)]
    handlers = handlers or next(filter(Path.exists, (HANDLERS, POLICIES / HANDLERS.name)), HANDLERS)
    if function in RUNNING_HANDLERS and handlers.exists():
        statements += _read(handlers)
    if function is Function.KAFKA:
        statements += of_kafka(settings)
    _check_names(statements, function)
    statements = [_resolved(statement, settings, function) for statement in statements]
    if settings.tracing == "on":
        statements.append(TRACING)
    return {"Version": "2012-10-17", "Statement": statements}


def _read(file: Path) -> list[dict[str, Any]]:
    """The statements of a policy file."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput("a policy file is no JSON", field=file.name, expected="JSON", got=str(error)) from error
    statements = document.get("Statement") if isinstance(document, dict) else None
    if not isinstance(statements, list) or not all(isinstance(each, dict) for each in statements):
        raise InvalidInput(
            "a policy file is no policy document", field=file.name, expected='{"Statement": [...]}', got=statements
        )
    for statement in statements:
        if not statement.keys() >= STATEMENT_PARTS:
            raise InvalidInput(
                "a statement of a policy file is incomplete",
                field=file.name,
                expected=", ".join(sorted(STATEMENT_PARTS)),
                got=", ".join(sorted(statement)),
            )
    return statements


def _check_names(statements: list[dict[str, Any]], function: Function) -> None:
    names = Counter(statement["Sid"] for statement in statements if "Sid" in statement)
    names[TRACING["Sid"]] += 1
    for name, times in names.items():
        if times > 1:
            raise InvalidInput(
                "two statements of one role have the same name",
                field=f"Sid of {function}",
                expected="a name of its own for each",
                got=name,
                remedy=f"rename the one in {HANDLERS.name}",
            )


def _resolved(statement: dict[str, Any], settings: Settings, function: Function) -> Fragment:
    """A statement as the template has it."""
    given = statement["Resource"]
    resources = [given] if isinstance(given, str) else given
    resolved = {**statement, "Resource": _substituted(resources, settings, function)}
    if "Condition" in statement:
        resolved["Condition"] = {
            operator: {key: _substituted(value, settings, function) for key, value in values.items()}
            for operator, values in statement["Condition"].items()
        }
    return resolved


def _substituted(value: Any, settings: Settings, function: Function) -> Any:
    """A text, or each text of a list, as CloudFormation substitutes it; anything else as it is."""
    if isinstance(value, list):
        return [_substituted(each, settings, function) for each in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    pattern_lane = lane_id(Lane(DEFAULT_POOL, Band.NORMAL))
    text = value.replace("${Lanes.Arn}", LANES_ARN).replace("${BaseName}", settings.base_name)
    text = text.replace("${PatternLane.", f"${{{pattern_lane}.").replace("${Logs.", f"${{{log_group_id(function)}.")
    return {"Fn::Sub": text}

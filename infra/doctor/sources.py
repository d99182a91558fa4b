"""What calls the functions: event source mappings and the clock's rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.core.sqs import SHARED_OUT_FROM
from infra.doctor.checks import missing
from infra.doctor.findings import Check, Level, Observation, about, compared, ok
from infra.doctor.installation import Installation, as_json
from infra.functions import Function, function_name, functions_of

SOURCES = "event sources"
CLOCK = "clock"
MAPPING_TYPE = "AWS::Lambda::EventSourceMapping"
IDENTITY = (  # what cannot be changed later
    "AmazonManagedKafkaEventSourceConfig",
    "EventSourceArn",
    "FunctionName",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "StartingPosition",
    "Topics",
)
BROKERS = {"KafkaBootstrapServers": "KAFKA_BOOTSTRAP_SERVERS"}  # as CloudFormation and as Lambda name them
SETTLING = ("Creating", "Enabling", "Updating")
FAILED_RESULTS = ("PROBLEM", "FAILED")  # how LastProcessingResult begins on AWS, on MiniStack

Properties = Mapping[str, Any]


def checks(installation: Installation) -> Iterator[Check]:
    """One check of all mappings, for which a few calls do, and one each of the clock's rule and its permission."""
    yield Check(area=SOURCES, subject="mappings", question=partial(_sources, installation))
    for logical_id in installation.of_type("AWS::Events::Rule"):
        yield Check(
            area=CLOCK,
            subject=installation.facts[logical_id],
            question=partial(_rule, installation, logical_id),
            when_missing=installation.remake(logical_id, f"{_put_rule(installation, logical_id)}, then look again"),
        )
    for logical_id in installation.of_type("AWS::Lambda::Permission"):
        yield Check(area=CLOCK, subject=logical_id, question=partial(_permission, installation, logical_id))


# -- event sources --------------------------------------------------------------------------------


def _sources(installation: Installation) -> Iterator[Observation]:
    pages = aws.client("lambda").get_paginator("list_event_source_mappings").paginate()
    found = [mapping for page in pages for mapping in page.get("EventSourceMappings", ())]
    declared = {key: installation.properties(key) for key in installation.of_type(MAPPING_TYPE)}
    for logical_id, expected in declared.items():
        if installation.emulated and "Topics" in expected:  # emulators make such mappings, and forget of what
            yield from about(logical_id, [compared("mapping", "one", None, "", emulated=True)])
            continue
        of_source = [mapping for mapping in found if _read_by(mapping) == _read_by(expected)]
        yield from about(logical_id, _source(installation, expected, of_source))
        if expected["FunctionName"] == installation.facts[f"{Function.WORKER.logical_id}.Arn"]:
            yield from about(logical_id, [shares_out(expected)])
    pairs = {(_read_by(expected), expected["FunctionName"]) for expected in declared.values()}
    for function in functions_of(installation.settings):
        if installation.emulated and function is Function.KAFKA:
            continue
        arn = installation.facts[f"{function.logical_id}.Arn"]
        others = [
            mapping for mapping in found if mapping["FunctionArn"] == arn and (_read_by(mapping), arn) not in pairs
        ]
        yield from about(function_name(installation.settings, function), _undeclared(installation, others))


def _read_by(mapping: Properties) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """What a mapping reads: a queue or stream, or a topic of a cluster."""
    endpoints = mapping.get("SelfManagedEventSource", {}).get("Endpoints", {})
    brokers = sorted(broker for some in endpoints.values() for broker in some)
    return mapping.get("EventSourceArn", ""), tuple(brokers), tuple(mapping.get("Topics", ()))


def _as_lambda_takes_it(expected: Properties) -> Properties:
    """A mapping's properties in the template, as Lambda's own API names them."""
    if "SelfManagedEventSource" not in expected:
        return expected
    endpoints = expected["SelfManagedEventSource"]["Endpoints"]
    renamed = {BROKERS[name]: brokers for name, brokers in endpoints.items()}
    return {**expected, "SelfManagedEventSource": {"Endpoints": renamed}}


def _source(installation: Installation, expected: Properties, found: Sequence[Properties]) -> Iterator[Observation]:
    """A declared mapping, among all mappings of its source."""
    own = next((mapping for mapping in found if mapping["FunctionArn"] == expected["FunctionName"]), None)
    if own is None:
        given = as_json(_as_lambda_takes_it(expected))
        create = installation.aws("lambda", "create-event-source-mapping", cli_input_json=given)
        yield compared("mapping", "one", "none", create)
        return
    yield ok("mapping", "one")
    yield from _mapping(installation, expected, own)
    if ":sqs:" in expected.get("EventSourceArn", ""):  # a message goes to one consumer only; a stream may have two
        yield from (_rival(installation, mapping) for mapping in found if mapping is not own)


def _mapping(installation: Installation, expected: Properties, found: Properties) -> Iterator[Observation]:
    update = partial(installation.aws, "lambda", "update-event-source-mapping", "--uuid", found["UUID"])
    state = found.get("State")
    yield compared(
        "state",
        "Enabled",
        state,
        "look again in a minute" if state in SETTLING else update("--enabled"),
        emulated=installation.emulated,
        level=Level.WARN if state in SETTLING else Level.WRONG,
    )
    for name, wanted in expected.items():
        if name in IDENTITY:
            continue
        there = found.get(name, {} if wanted == {} else None)  # AWS leaves out what is empty
        if name == "SourceAccessConfigurations" and there:
            there = sorted(there, key=wanted.index) if all(each in wanted for each in there) else there
        if installation.emulated and wanted and not there:  # none may be nothing, so the emulator has dropped it
            there = None
        yield compared(name, wanted, there, update(cli_input_json={name: wanted}), emulated=installation.emulated)
    result = found.get("LastProcessingResult") or "none yet"
    log = f"/aws/lambda/{expected['FunctionName'].rpartition(':')[2]}"
    yield compared(
        "last result",
        "no failure",
        result if result.startswith(FAILED_RESULTS) else "no failure",
        f"see why: {installation.aws('logs', 'tail', log, since='1h')}",
        level=Level.WARN,  # one batch may fail, and its messages come back; alarms tell when it goes on
    )


def shares_out(expected: Properties) -> Observation:
    """Whether a lane can have so much in flight that SQS sees which of its tenants takes most."""
    workers = expected["ScalingConfig"].get("MaximumConcurrency")
    in_flight = None if workers is None else workers * expected["BatchSize"]
    if in_flight is None or in_flight >= SHARED_OUT_FROM:
        return ok("fairness between tenants", "as many in flight as it takes")
    return Observation(
        level=Level.WARN,
        what="fairness between tenants",
        expected=f"{SHARED_OUT_FROM} messages in flight or more",
        found=f"at most {in_flight}: {workers} workers with {expected['BatchSize']} each",
        remedy="raise its band in TASKYARD_LANE_CONCURRENCY, or TASKYARD_WORKER_BATCH_SIZE, if its jobs name tenants",
    )


def _rival(installation: Installation, mapping: Properties) -> Observation:
    return Observation(
        level=Level.WRONG,
        what="consumers",
        expected="one function",
        found=f"also {mapping['FunctionArn'].rpartition(':')[2]}",
        remedy=_delete(installation, mapping),
    )


def _undeclared(installation: Installation, found: Sequence[Properties]) -> Iterator[Observation]:
    """Mappings of a function from sources that the template does not give it."""
    if not found:
        yield ok("undeclared sources", "none")
    for mapping in found:
        yield Observation(
            level=Level.WRONG,
            what="undeclared sources",
            expected="none",
            found=f"fed from {mapping.get('EventSourceArn', 'elsewhere').rpartition(':')[2]}",
            remedy=_delete(installation, mapping),
        )


def _delete(installation: Installation, mapping: Properties) -> str:
    return installation.aws("lambda", "delete-event-source-mapping", uuid=mapping["UUID"])


# -- the clock ------------------------------------------------------------------------------------


def _rule(installation: Installation, logical_id: str) -> Iterator[Observation]:
    expected = installation.properties(logical_id)
    events, name = aws.client("events"), expected["Name"]
    found = events.describe_rule(Name=name)
    compare = partial(compared, emulated=installation.emulated)
    yield compare("state", expected["State"], found.get("State"), installation.aws("events", "enable-rule", name=name))
    yield compare(
        "schedule",
        expected["ScheduleExpression"],
        found.get("ScheduleExpression"),
        _put_rule(installation, logical_id),
    )
    listed = events.get_paginator("list_targets_by_rule").paginate(Rule=name).build_full_result()
    there = {target["Arn"] for target in listed["Targets"]}
    for target in expected["Targets"]:
        yield compared(
            "target",
            target["Arn"],
            target["Arn"] if target["Arn"] in there else "missing",
            installation.aws("events", "put-targets", rule=name, targets=[target]),
        )


def _put_rule(installation: Installation, logical_id: str) -> str:
    properties = installation.resources[logical_id]["Properties"]
    return installation.aws(
        "events",
        "put-rule",
        name=properties["Name"],
        schedule_expression=properties["ScheduleExpression"],
        state=properties["State"],
    )


def _permission(installation: Installation, logical_id: str) -> Iterator[Observation]:
    expected = installation.properties(logical_id)
    allowed = any(
        may_invoke(statement, expected["Principal"], lambda arn: arn == expected["SourceArn"])
        for statement in invocation_policy(expected["FunctionName"])
    )
    yield compared(
        "leave to invoke",
        expected["Principal"],
        expected["Principal"] if allowed else "missing",
        installation.aws(
            "lambda",
            "add-permission",
            function_name=expected["FunctionName"],
            statement_id=logical_id,
            action=expected["Action"],
            principal=expected["Principal"],
            source_arn=expected["SourceArn"],
        ),
    )


def invocation_policy(function: str) -> list[dict[str, Any]]:
    """Who may invoke a function, as statements of its resource policy; none where it has no policy."""
    try:
        document = json.loads(aws.client("lambda").get_policy(FunctionName=function)["Policy"])
    except ClientError as error:
        if not missing(error):
            raise
        return []
    statements: list[dict[str, Any]] = document["Statement"]
    return statements


def may_invoke(statement: Properties, principal: str, is_source: Callable[[str], bool]) -> bool:
    """Whether a statement lets ``principal`` invoke on behalf of a source that ``is_source``, or of any."""
    who = statement.get("Principal")
    service = who.get("Service") if isinstance(who, dict) else who
    conditions = statement.get("Condition", {})
    sources = [
        value for operator in conditions.values() for key, value in operator.items() if key.lower() == "aws:sourcearn"
    ]
    return (
        statement.get("Effect") == "Allow"
        and service == principal
        and statement.get("Action") in ("lambda:InvokeFunction", "lambda:*", "*")
        and all(is_source(source) for source in sources)
    )

"""What templates ask for, and what the services say was made of it: both as plain values that can be compared.

``wanted`` reads the templates, ``found`` asks DynamoDB, SQS, S3, IAM and the others, never CloudFormation: an emulator
calls a resource complete whatever it left out. Both answer a value for each ``Part``; ``differences`` says in a word
or two where they are not the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import aws
from chalicelib.settings import Settings
from infra.fragment import Fragment

# Of an alarm, what decides when it goes off and whom it tells.
ALARM_PROPERTIES = (
    "AlarmActions",
    "ComparisonOperator",
    "DatapointsToAlarm",
    "Dimensions",
    "EvaluationPeriods",
    "ExtendedStatistic",
    "MetricName",
    "Namespace",
    "Period",
    "Statistic",
    "Threshold",
    "TreatMissingData",
)
# GetAtt's "Arn" of what is named in the template; roles have names that CloudFormation gives.
ARNS = {
    "AWS::DynamoDB::Table": ("TableName", "arn:aws:dynamodb:{region}:{account}:table/{name}"),
    "AWS::SQS::Queue": ("QueueName", "arn:aws:sqs:{region}:{account}:{name}"),
    "AWS::S3::Bucket": ("BucketName", "arn:aws:s3:::{name}"),
    "AWS::Logs::LogGroup": ("LogGroupName", "arn:aws:logs:{region}:{account}:log-group:{name}:*"),
    "AWS::Events::Rule": ("Name", "arn:aws:events:{region}:{account}:rule/{name}"),
}


class Part(StrEnum):
    """What is compared, as people call it."""

    KEYS = "tables: keys and indexes"
    BILLING = "tables: paid by request"
    STREAM = "tables: change stream"
    EXPIRY = "tables: expiry of items (TTL), by CloudFormation"
    BACKUPS = "tables: point-in-time recovery"
    QUEUES = "queues: times, sizes, encryption"
    REDRIVE = "queues: redrive to the dead letters"
    PRIVACY = "bucket: public access blocked"
    OWNERSHIP = "bucket: owner of every object"
    ENCRYPTION = "bucket: encryption"
    LIFECYCLE = "bucket: unfinished uploads removed"
    TRUST = "roles: who may take them"
    POLICIES = "roles: what they allow"
    LOG_RETENTION = "log groups: retention"
    ALARMS = "alarms"
    DASHBOARD = "dashboard"
    SOURCES = "event sources: batches and partial failures"
    CONCURRENCY = "event sources: workers at a time"
    WINDOW = "event sources: tumbling window of the stream"
    CLOCK = "clock: rule and target"
    PERMISSION = "clock: leave to call the function"


TYPES = {
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::DynamoDB::Table",
    "AWS::Events::Rule",
    "AWS::IAM::Role",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
}
Value = Any
Readers = Mapping[Part, Callable[["Applied"], Value]]


@dataclass(frozen=True)
class Applied:
    """Templates that were applied, one after the other, with what fills their references in."""

    settings: Settings
    account: str
    resources: Mapping[str, Fragment]  # of all templates, by logical id
    outputs: Mapping[str, str]
    completed: Sequence[str]  # the tables whose expiry was not set by CloudFormation, but by API afterwards

    def of_type(self, kind: str) -> dict[str, Fragment]:
        """The properties of the resources of one type, by logical id, references filled in."""
        found = {key: each["Properties"] for key, each in self.resources.items() if each["Type"] == kind}
        return {key: self.filled(properties) for key, properties in found.items()}

    def role_name(self, logical_id: str) -> str:
        """The name that CloudFormation gave a role."""
        return self.outputs[f"{logical_id}Arn"].rpartition("/")[2]

    def filled(self, value: Value) -> Value:
        """A value of the template without its intrinsic functions."""
        match value:
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^}]+)}", lambda found: self._named(found[1]), text)
            case {"Ref": str(name)}:
                return self._named(name)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return self._named(f"{name}.{attribute}")
            case dict():
                return {key: self.filled(each) for key, each in value.items()}
            case list():
                return [self.filled(each) for each in value]
            case _:
                return value

    def _named(self, name: str) -> str:
        pseudo = {"AWS::AccountId": self.account, "AWS::Region": self.settings.region, "AWS::Partition": "aws"}
        if name in pseudo:
            return pseudo[name]
        logical_id, _, attribute = name.partition(".")
        resource = self.resources[logical_id]
        property_name, arn = ARNS[resource["Type"]]
        own_name = str(self.filled(resource["Properties"][property_name]))
        if attribute == "Arn":
            return arn.format(region=self.settings.region, account=self.account, name=own_name)
        if attribute == "StreamArn":  # which holds the time of its making
            return str(aws.client("dynamodb").describe_table(TableName=own_name)["Table"]["LatestStreamArn"])
        assert attribute in ("", property_name), f"{name} is not known to this module"
        return own_name


def wanted(applied: Applied) -> dict[Part, Value]:
    """What the templates ask for."""
    return {part: read(applied) for part, read in WANTED.items()}


def found(applied: Applied) -> dict[Part, Value]:
    """What the services say. What they refuse to tell is the code of their refusal."""
    return {part: _told(read, applied) for part, read in FOUND.items()}


def differences(wanted: Mapping[Part, Value], found: Mapping[Part, Value]) -> dict[Part, str]:
    """Where something else was found than wanted: ``nothing``, the code of a refusal, or the names of what differs."""
    return {part: _difference(wanted[part], found[part]) for part in wanted if wanted[part] != found[part]}


def _difference(wanted: Value, found: Value) -> str:
    if isinstance(found, str):
        return found
    if not found:
        return "nothing"
    return ", ".join(sorted(set(_differing("", wanted, found))))


def _differing(name: str, wanted: Value, found: Value) -> Iterator[str]:
    """The names of the innermost values that differ."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in wanted.keys() | found.keys():
            yield from _differing(key, wanted.get(key), found.get(key))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for each, other in zip(wanted, found, strict=True):
            yield from _differing(name, each, other)
    elif wanted != found:
        yield name


def _told(read: Callable[[Applied], Value], applied: Applied) -> Value:
    try:
        return read(applied)
    except ClientError as error:
        return error.response["Error"]["Code"]


def _tables(applied: Applied) -> dict[str, Fragment]:
    return {table["TableName"]: table for table in applied.of_type("AWS::DynamoDB::Table").values()}


def _described(applied: Applied) -> dict[str, Fragment]:
    return {name: aws.client("dynamodb").describe_table(TableName=name)["Table"] for name in _tables(applied)}


def _shape(table: Fragment) -> Value:
    indexes = {
        index["IndexName"]: (index["KeySchema"], index["Projection"])
        for index in table.get("GlobalSecondaryIndexes", ())
    }
    return sorted(map(json.dumps, table["AttributeDefinitions"])), table["KeySchema"], indexes


def _found_expiry(applied: Applied) -> Value:
    dynamodb = aws.client("dynamodb")
    described = {
        name: dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"] for name in _tables(applied)
    }
    return {
        name: {"AttributeName": each["AttributeName"], "Enabled": each["TimeToLiveStatus"] == "ENABLED"}
        for name, each in described.items()
        if name not in applied.completed
    }


def _found_backups(applied: Applied) -> Value:
    def recoverable(name: str) -> bool:
        described = aws.client("dynamodb").describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        return bool(described["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED")

    return {name for name in _tables(applied) if recoverable(name)}


def _queues(applied: Applied) -> dict[str, Fragment]:
    return {queue["QueueName"]: queue for queue in applied.of_type("AWS::SQS::Queue").values()}


def _plain(queue: Fragment) -> dict[str, str]:
    """A queue's attributes as SQS tells them, all as text, without the redrive policy."""
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in queue.items()}
    return {key: value for key, value in texts.items() if key not in ("QueueName", "RedrivePolicy")}


def _attributes(name: str) -> dict[str, str]:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes: dict[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return attributes


def _found_queues(applied: Applied) -> Value:
    described = {name: _attributes(name) for name in _queues(applied)}
    return {name: {key: described[name].get(key) for key in _plain(queue)} for name, queue in _queues(applied).items()}


def _found_redrive(applied: Applied) -> Value:
    described = {name: _attributes(name).get("RedrivePolicy") for name in _queues(applied)}
    return {name: policy and json.loads(policy) for name, policy in described.items()}


def _bucket(applied: Applied) -> Fragment:
    (bucket,) = applied.of_type("AWS::S3::Bucket").values()
    return bucket


def _ask_bucket(operation: str, part: str) -> Callable[[Applied], Value]:
    return lambda applied: getattr(aws.client("s3"), operation)(Bucket=_bucket(applied)["BucketName"])[part]


def _wanted_lifecycle(applied: Applied) -> Value:
    # S3 tells the rules as its own API has them: "ID", and a filter that lets everything through.
    return [
        {"ID": rule["Id"], **{key: value for key, value in rule.items() if key != "Id"}}
        for rule in _bucket(applied)["LifecycleConfiguration"]["Rules"]
    ]


def _found_lifecycle(applied: Applied) -> Value:
    rules = _ask_bucket("get_bucket_lifecycle_configuration", "Rules")(applied)
    return [{key: value for key, value in rule.items() if key not in ("Filter", "Prefix")} for rule in rules]


def _found_encryption(applied: Applied) -> Value:
    rules = _ask_bucket("get_bucket_encryption", "ServerSideEncryptionConfiguration")(applied)["Rules"]
    return [rule["ApplyServerSideEncryptionByDefault"] for rule in rules]


def _found_trust(applied: Applied) -> Value:
    iam = aws.client("iam")
    return {
        key: iam.get_role(RoleName=applied.role_name(key))["Role"]["AssumeRolePolicyDocument"]
        for key in applied.of_type("AWS::IAM::Role")
    }


def _found_policies(applied: Applied) -> Value:
    def of_role(role: str) -> list[Fragment]:
        iam = aws.client("iam")
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        answers = [iam.get_role_policy(RoleName=role, PolicyName=name) for name in names]
        return [{"PolicyName": each["PolicyName"], "PolicyDocument": _document(each)} for each in answers]

    return {key: of_role(applied.role_name(key)) for key in applied.of_type("AWS::IAM::Role")}


def _document(policy: Fragment) -> Value:
    """A policy's document: moto answers Python's notation of it instead of JSON, which botocore leaves as it is."""
    document = policy["PolicyDocument"]
    return json.loads(document.replace("'", '"')) if isinstance(document, str) else document


def _found_retention(applied: Applied) -> Value:
    names = [group["LogGroupName"] for group in applied.of_type("AWS::Logs::LogGroup").values()]
    logs = aws.client("logs")
    groups = [
        group
        for name in names
        for group in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        if group["logGroupName"] == name
    ]
    return {group["logGroupName"]: group["retentionInDays"] for group in groups if "retentionInDays" in group}


def _alarm(described: Mapping[str, Value]) -> Value:
    return {key: described[key] for key in ALARM_PROPERTIES if described.get(key) not in (None, [])}


def _found_alarms(applied: Applied) -> Value:
    names = [alarm["AlarmName"] for alarm in applied.of_type("AWS::CloudWatch::Alarm").values()]
    if not names:  # no names would ask for every alarm
        return {}
    described = aws.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    return {alarm["AlarmName"]: _alarm(alarm) for alarm in described}


def _found_dashboards(applied: Applied) -> Value:
    names = [each["DashboardName"] for each in applied.of_type("AWS::CloudWatch::Dashboard").values()]
    cloudwatch = aws.client("cloudwatch")
    return {name: json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]) for name in names}


def _wanted_sources(applied: Applied) -> Value:
    return {each["EventSourceArn"]: each for each in applied.of_type("AWS::Lambda::EventSourceMapping").values()}


def _found_sources(applied: Applied) -> Value:
    """The mappings of the functions that the template maps to."""
    functions = {each["FunctionName"] for each in _wanted_sources(applied).values()}
    described = [
        mapping
        for function in sorted(functions)
        for mapping in aws.client("lambda").list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    ]
    return {each["EventSourceArn"]: {**each, "FunctionName": each["FunctionArn"]} for each in described}


def _batches(sources: Mapping[str, Fragment]) -> Value:
    scaling = ("EventSourceArn", "ScalingConfig", "TumblingWindowInSeconds")
    return {arn: {name: each[name] for name in each if name not in scaling} for arn, each in sources.items()}


def _found_batches(applied: Applied) -> Value:
    """Of each mapping what the template names; of one that is not in the template, that it is there."""
    wanted = _batches(_wanted_sources(applied))
    return {
        arn: {name: each.get(name) for name in wanted.get(arn, ())} for arn, each in _found_sources(applied).items()
    }


def _concurrency(sources: Mapping[str, Fragment]) -> Value:
    return {arn: each["ScalingConfig"] for arn, each in sources.items() if each.get("ScalingConfig")}


def _windows(sources: Mapping[str, Fragment]) -> Value:
    return {
        arn: each["TumblingWindowInSeconds"] for arn, each in sources.items() if each.get("TumblingWindowInSeconds")
    }


def _rules(applied: Applied) -> dict[str, Fragment]:
    return {rule["Name"]: rule for rule in applied.of_type("AWS::Events::Rule").values()}


def _found_clock(applied: Applied) -> Value:
    events = aws.client("events")

    def described(name: str) -> Fragment:
        rule = events.describe_rule(Name=name)
        targets = events.list_targets_by_rule(Rule=name)["Targets"]
        return {**{key: rule.get(key) for key in _rules(applied)[name] if key != "Targets"}, "Targets": targets}

    return {name: described(name) for name in _rules(applied)}


def _permission(function: str, action: str, principal: str, source: str) -> Value:
    return {"function": function, "action": action, "principal": principal, "source": source}


def _wanted_permissions(applied: Applied) -> Value:
    names = ("FunctionName", "Action", "Principal", "SourceArn")
    permissions = applied.of_type("AWS::Lambda::Permission").values()
    return [_permission(*(each[name] for name in names)) for each in permissions]


def _found_permissions(applied: Applied) -> Value:
    functions = {each["FunctionName"] for each in applied.of_type("AWS::Lambda::Permission").values()}
    documents = [aws.client("lambda").get_policy(FunctionName=name)["Policy"] for name in sorted(functions)]
    return [
        _permission(
            each["Resource"],
            each["Action"],
            each["Principal"]["Service"],
            each["Condition"]["ArnLike"]["AWS:SourceArn"],
        )
        for document in documents
        for each in json.loads(document)["Statement"]
    ]


WANTED: Readers = {
    Part.KEYS: lambda applied: {name: _shape(table) for name, table in _tables(applied).items()},
    Part.BILLING: lambda applied: {name: table["BillingMode"] for name, table in _tables(applied).items()},
    Part.STREAM: lambda applied: {
        name: table["StreamSpecification"]["StreamViewType"]
        for name, table in _tables(applied).items()
        if "StreamSpecification" in table
    },
    Part.EXPIRY: lambda applied: {name: table["TimeToLiveSpecification"] for name, table in _tables(applied).items()},
    Part.BACKUPS: lambda applied: {
        name for name, table in _tables(applied).items() if "PointInTimeRecoverySpecification" in table
    },
    Part.QUEUES: lambda applied: {name: _plain(queue) for name, queue in _queues(applied).items()},
    Part.REDRIVE: lambda applied: {name: queue.get("RedrivePolicy") for name, queue in _queues(applied).items()},
    Part.PRIVACY: lambda applied: _bucket(applied)["PublicAccessBlockConfiguration"],
    Part.OWNERSHIP: lambda applied: _bucket(applied)["OwnershipControls"],
    Part.ENCRYPTION: lambda applied: [
        rule["ServerSideEncryptionByDefault"]
        for rule in _bucket(applied)["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    ],
    Part.LIFECYCLE: _wanted_lifecycle,
    Part.TRUST: lambda applied: {
        key: role["AssumeRolePolicyDocument"] for key, role in applied.of_type("AWS::IAM::Role").items()
    },
    Part.POLICIES: lambda applied: {key: role["Policies"] for key, role in applied.of_type("AWS::IAM::Role").items()},
    Part.LOG_RETENTION: lambda applied: {
        group["LogGroupName"]: group["RetentionInDays"] for group in applied.of_type("AWS::Logs::LogGroup").values()
    },
    Part.ALARMS: lambda applied: {
        alarm["AlarmName"]: _alarm(alarm) for alarm in applied.of_type("AWS::CloudWatch::Alarm").values()
    },
    Part.DASHBOARD: lambda applied: {
        each["DashboardName"]: json.loads(each["DashboardBody"])
        for each in applied.of_type("AWS::CloudWatch::Dashboard").values()
    },
    Part.SOURCES: lambda applied: _batches(_wanted_sources(applied)),
    Part.CONCURRENCY: lambda applied: _concurrency(_wanted_sources(applied)),
    Part.WINDOW: lambda applied: _windows(_wanted_sources(applied)),
    Part.CLOCK: _rules,
    Part.PERMISSION: _wanted_permissions,
}
FOUND: Readers = {
    Part.KEYS: lambda applied: {name: _shape(table) for name, table in _described(applied).items()},
    Part.BILLING: lambda applied: {
        name: table.get("BillingModeSummary", {}).get("BillingMode") for name, table in _described(applied).items()
    },
    Part.STREAM: lambda applied: {
        name: table["StreamSpecification"]["StreamViewType"]
        for name, table in _described(applied).items()
        if table.get("StreamSpecification", {}).get("StreamEnabled")
    },
    Part.EXPIRY: _found_expiry,
    Part.BACKUPS: _found_backups,
    Part.QUEUES: _found_queues,
    Part.REDRIVE: _found_redrive,
    Part.PRIVACY: _ask_bucket("get_public_access_block", "PublicAccessBlockConfiguration"),
    Part.OWNERSHIP: _ask_bucket("get_bucket_ownership_controls", "OwnershipControls"),
    Part.ENCRYPTION: _found_encryption,
    Part.LIFECYCLE: _found_lifecycle,
    Part.TRUST: _found_trust,
    Part.POLICIES: _found_policies,
    Part.LOG_RETENTION: _found_retention,
    Part.ALARMS: _found_alarms,
    Part.DASHBOARD: _found_dashboards,
    Part.SOURCES: _found_batches,
    Part.CONCURRENCY: lambda applied: _concurrency(_found_sources(applied)),
    Part.WINDOW: lambda applied: _windows(_found_sources(applied)),
    Part.CLOCK: _found_clock,
    Part.PERMISSION: _found_permissions,
}

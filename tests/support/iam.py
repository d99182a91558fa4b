"""What IAM would be asked: the service's AWS calls as the permissions they need, and policies that grant them or not.

Which permissions an operation needs: AWS Service Authorization Reference, "Amazon DynamoDB", "Amazon SQS" and
"Amazon S3"; of transactions: DynamoDB Developer Guide, "Using IAM with DynamoDB transactions".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from infra.functions import Function

ACCOUNT = "123456789012"  # moto's
REGION = "us-east-1"
REGIONAL = f"{REGION}:{ACCOUNT}"
AWS_VALUES = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}
REQUEST_VALUES = {"aws:ResourceAccount": ACCOUNT}  # every resource of these tests is in one account

OF_ALL = "ForAllValues:StringEquals"
LIKE_ALL = "ForAllValues:StringLike"
ATTRIBUTES = "dynamodb:Attributes"

Parameters = Mapping[str, Any]


class Permission(NamedTuple):
    """One action on one resource; of a query, perhaps, what it asks for: the value of the partition key.

    And which attributes alone, where it names them.
    """

    action: str
    arn: str
    leading_key: str | None = None
    attributes: tuple[str, ...] = ()


# -- what a call needs --------------------------------------------------------------------------------


def table_arn(name: str) -> str:
    return f"arn:aws:dynamodb:{REGIONAL}:table/{name}"


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGIONAL}:{name}"


def object_arn(bucket: str, key: str) -> str:
    return f"arn:aws:s3:::{bucket}/{key}"


def bucket_arn(bucket: str) -> str:
    return f"arn:aws:s3:::{bucket}"


TRANSACTION_ACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}


def _on_table(action: str) -> Callable[[Parameters], list[Permission]]:
    return lambda call: [Permission(f"dynamodb:{action}", table_arn(call["TableName"]), _leading_key(call))]


def _leading_key(call: Parameters) -> str | None:
    """The partition of the directory that a call names, where it names one."""
    found: str | None = call.get("Key", {}).get("kind", {}).get("S")
    return found


def _on_tables(action: str) -> Callable[[Parameters], list[Permission]]:
    """What a batch needs: each partition of the directory that is read."""
    return lambda call: [
        Permission(f"dynamodb:{action}", table_arn(table), leading_key)
        for table, asked in call["RequestItems"].items()
        for leading_key in sorted({_leading_key({"Key": key}) for key in _keys(asked)}, key=str)
    ]


def _keys(asked: Any) -> list[Any]:
    """What a batch reads of a table; of one that writes, something that names no partition."""
    return asked["Keys"] if isinstance(asked, dict) else [{}]


def _query(call: Parameters) -> list[Permission]:
    """A query of an index is a call to the index, not to its table."""
    index = f"/index/{call['IndexName']}" if "IndexName" in call else ""
    leading_key = call.get("ExpressionAttributeValues", {}).get(":kind", {}).get("S")
    named = call.get("ExpressionAttributeNames", {}).values() if "ProjectionExpression" in call else ()
    return [Permission("dynamodb:Query", table_arn(call["TableName"]) + index, leading_key, tuple(sorted(named)))]


def _transaction(call: Parameters) -> list[Permission]:
    """A transaction is what its actions are."""
    return [
        Permission(f"dynamodb:{TRANSACTION_ACTIONS[kind]}", table_arn(action["TableName"]), _leading_key(action))
        for entry in call["TransactItems"]
        for kind, action in entry.items()
    ]


def _on_queue(action: str) -> Callable[[Parameters], list[Permission]]:
    def permissions(call: Parameters) -> list[Permission]:
        name = call["QueueName"] if "QueueName" in call else call["QueueUrl"].rsplit("/", 1)[-1]
        return [Permission(f"sqs:{action}", queue_arn(name))]

    return permissions


def _on_object(action: str) -> Callable[[Parameters], list[Permission]]:
    return lambda call: [Permission(f"s3:{action}", object_arn(call["Bucket"], call["Key"]))]


def _on_bucket(action: str) -> Callable[[Parameters], list[Permission]]:
    return lambda call: [Permission(f"s3:{action}", bucket_arn(call["Bucket"]))]


NEEDS: Mapping[str, Callable[[Parameters], list[Permission]]] = {
    "dynamodb.GetItem": _on_table("GetItem"),
    "dynamodb.PutItem": _on_table("PutItem"),
    "dynamodb.UpdateItem": _on_table("UpdateItem"),
    "dynamodb.DeleteItem": _on_table("DeleteItem"),
    "dynamodb.BatchGetItem": _on_tables("BatchGetItem"),
    "dynamodb.BatchWriteItem": _on_tables("BatchWriteItem"),
    "dynamodb.Query": _query,
    "dynamodb.TransactWriteItems": _transaction,
    "sqs.GetQueueUrl": _on_queue("GetQueueUrl"),
    "sqs.GetQueueAttributes": _on_queue("GetQueueAttributes"),
    "sqs.CreateQueue": _on_queue("CreateQueue"),
    "sqs.SendMessage": _on_queue("SendMessage"),
    "sqs.SendMessageBatch": _on_queue("SendMessage"),
    "sqs.ReceiveMessage": _on_queue("ReceiveMessage"),
    "sqs.DeleteMessageBatch": _on_queue("DeleteMessage"),
    "sqs.ChangeMessageVisibility": _on_queue("ChangeMessageVisibility"),
    "sqs.ChangeMessageVisibilityBatch": _on_queue("ChangeMessageVisibility"),
    "s3.GetObject": _on_object("GetObject"),
    "s3.HeadObject": _on_object("GetObject"),
    "s3.PutObject": _on_object("PutObject"),
    "s3.DeleteObject": _on_object("DeleteObject"),
    "s3.HeadBucket": _on_bucket("ListBucket"),
}
# To somebody who may not list a bucket, S3 answers 403 for an object that is not there: Amazon S3 API Reference.
TELL_MISSING = {"s3.GetObject", "s3.HeadObject"}


def permissions_of(operation: str, call: Parameters) -> list[Permission]:
    """What a call of ``operation`` (``dynamodb.GetItem``) needs; ``LookupError`` for one that is not known here."""
    if operation not in NEEDS:
        raise LookupError(f"nobody has said what permissions {operation} needs; add it to NEEDS in {__name__}")
    return NEEDS[operation](call)


# -- what the functions call --------------------------------------------------------------------------


@dataclass(slots=True)
class Recorder:
    """Notes, of each function, the permissions that its calls need."""

    needed: defaultdict[Function, set[Permission]] = field(default_factory=lambda: defaultdict(set))
    _function: Function | None = None  # whose calls these are; None: those of the test, or of AWS itself

    def attach(self, emitter: Any) -> None:
        """Note the calls of every client that is made with this session from now on."""
        emitter.register("provide-client-params", self._begins)
        emitter.register("after-call", self._ended)

    @contextmanager
    def during(self, function: Function) -> Iterator[None]:
        """All calls in the block are those of ``function``, whichever thread makes them."""
        self._function = function
        try:
            yield
        finally:
            self._function = None

    def taken(self) -> Mapping[Function, set[Permission]]:
        """What was needed since the last call of this."""
        taken, self.needed = self.needed, defaultdict(set)
        return taken

    def _begins(self, params: Parameters, model: Any, context: dict[str, Any], **_: Any) -> None:
        if self._function is None:
            return
        operation = f"{model.service_model.service_name}.{model.name}"
        self.needed[self._function].update(permissions_of(operation, params))
        if operation in TELL_MISSING:
            context["bucket_of_call"] = params["Bucket"]

    def _ended(self, http_response: Any, context: dict[str, Any], **_: Any) -> None:
        bucket = context.get("bucket_of_call")
        if self._function is not None and bucket is not None and http_response.status_code == 404:
            self.needed[self._function].add(Permission("s3:ListBucket", bucket_arn(bucket)))


# -- what a policy grants -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy document whose resources are ARNs."""

    statements: tuple[Mapping[str, Any], ...]

    def allows(self, permission: Permission) -> bool:
        """Whether some statement allows it. Only what these tests need: ``Allow``, and the conditions of ``_holds``."""
        return any(_allows(statement, permission) for statement in self.statements)

    @property
    def actions(self) -> set[str]:
        """Every action that it names."""
        return {action for statement in self.statements for action in listed(statement["Action"])}

    @property
    def resources(self) -> set[str]:
        """Every resource that it names."""
        return {resource for statement in self.statements for resource in listed(statement["Resource"])}


def listed(value: Any) -> list[Any]:
    """A value that may stand alone, as a list."""
    return value if isinstance(value, list) else [value]


def resolved(document: Any, template: Mapping[str, Any]) -> Policy:
    """A policy document of ``template`` as IAM gets it, everything substituted."""
    return Policy(tuple(_without_functions(document["Statement"], template["Resources"])))


def _allows(statement: Mapping[str, Any], permission: Permission) -> bool:
    if statement["Effect"] != "Allow":
        raise ValueError(f"expected Allow, got {statement['Effect']}: nothing is allowed but what is said to be")
    return (
        any(_matches(action.lower(), permission.action.lower()) for action in listed(statement["Action"]))
        and any(_matches(resource, permission.arn) for resource in listed(statement["Resource"]))
        and _contains(statement.get("Condition", {}), permission)
    )


def _matches(pattern: str, text: str) -> bool:
    """Whether ``text`` is what a pattern with * and ? stands for."""
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _contains(condition: Mapping[str, Mapping[str, Any]], permission: Permission) -> bool:
    """Whether a condition on the account, or on the partition keys that are asked for, holds."""
    unknown = condition.keys() - {"StringEquals", OF_ALL, LIKE_ALL}
    if unknown:
        raise ValueError(
            f"expected StringEquals or StringLike, got {', '.join(unknown)}; teach {__name__} what it means"
        )
    chosen = "SPECIFIC_ATTRIBUTES" if permission.attributes else "ALL_ATTRIBUTES"
    values = {**REQUEST_VALUES, "dynamodb:LeadingKeys": permission.leading_key, "dynamodb:Select": chosen}
    every = [pair for operator in ("StringEquals", OF_ALL) for pair in condition.get(operator, {}).items()]
    attributes = [name for key, names in every if key == ATTRIBUTES for name in listed(names)]
    if attributes and not set(permission.attributes) <= set(attributes):
        return False
    alike = condition.get(LIKE_ALL, {}).items()
    return all(values[key] in listed(value) for key, value in every if key != ATTRIBUTES) and all(
        any(_matches(pattern, values[key] or "") for pattern in listed(value)) for key, value in alike
    )


def _without_functions(value: Any, resources: Mapping[str, Any]) -> Any:
    """``value`` with the intrinsic functions in it replaced by what they stand for."""
    if isinstance(value, list):
        return [_without_functions(each, resources) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Fn::Sub"}:
        return re.sub(r"\$\{([^}]+)\}", lambda found: _value_of(found[1], resources), value["Fn::Sub"])
    return {key: _without_functions(each, resources) for key, each in value.items()}


def _value_of(name: str, resources: Mapping[str, Any]) -> str:
    """What ``${name}`` stands for."""
    if name in AWS_VALUES:
        return AWS_VALUES[name]
    logical_id, attribute = name.split(".")
    resource = resources[logical_id]
    properties = {key: _without_functions(each, resources) for key, each in resource["Properties"].items()}
    match resource["Type"], attribute:
        case "AWS::DynamoDB::Table", "Arn":
            return table_arn(properties["TableName"])
        case "AWS::DynamoDB::Table", "StreamArn":
            return f"{table_arn(properties['TableName'])}/stream/2025-06-15T15:06:40.000"
        case "AWS::SQS::Queue", "Arn":
            return queue_arn(properties["QueueName"])
        case "AWS::S3::Bucket", "Arn":
            return bucket_arn(properties["BucketName"])
        case "AWS::Logs::LogGroup", "Arn":
            return f"arn:aws:logs:{REGIONAL}:log-group:{properties['LogGroupName']}:*"
    raise LookupError(f"there is no {attribute} of a {resource['Type']} that {__name__} knows")

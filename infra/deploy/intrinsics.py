"""The values of CloudFormation's intrinsic functions, as far as the templates of ``infra`` use them.

``facts`` maps what can be referred to: ``AWS::Region`` and its like, ``JobsTable`` (a ``Ref``), ``JobsTable.Arn``
(an attribute).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from infra.fragment import Fragment

_PLACE = re.compile(r"\$\{([^!}][^}]*)\}")

# Where the name of a resource is written, and what follows "arn:PARTITION:" in its ARN.
# AWS: Service Authorization Reference, "Resource types defined by ..." of each service.
_NAMED = {
    "AWS::DynamoDB::Table": ("TableName", "dynamodb:{region}:{account}:table/{name}"),
    "AWS::SQS::Queue": ("QueueName", "sqs:{region}:{account}:{name}"),
    "AWS::S3::Bucket": ("BucketName", "s3:::{name}"),
    "AWS::Logs::LogGroup": ("LogGroupName", "logs:{region}:{account}:log-group:{name}:*"),
    "AWS::Events::Rule": ("Name", "events:{region}:{account}:rule/{name}"),
    "AWS::Serverless::Function": ("FunctionName", "lambda:{region}:{account}:function:{name}"),
}
FUNCTION_TYPE = "AWS::Serverless::Function"  # what Chalice's template calls those that infra only adds to


class NotKnown(LookupError):
    """The template refers to something that the stack does not tell; its text names it."""


def resolved(value: Any, facts: Mapping[str, str]) -> Any:
    """``value`` with every intrinsic function replaced by what it means; raises ``NotKnown``."""
    match value:
        case {"Ref": str(name), **rest} if not rest:
            return _fact(facts, name)
        case {"Fn::GetAtt": [str(name), str(attribute)], **rest} if not rest:
            return _fact(facts, f"{name}.{attribute}")
        case {"Fn::Sub": str(text), **rest} if not rest:
            return _PLACE.sub(lambda place: _fact(facts, place[1]), text)
        case dict():
            return {key: resolved(each, facts) for key, each in value.items()}
        case list():
            return [resolved(each, facts) for each in value]
    return value


def facts_of(resources: Mapping[str, Fragment], place: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, str]:
    """What the resources of a template can be referred to by.

    ``place`` tells ``AWS::Partition``, ``AWS::Region`` and ``AWS::AccountId``. Names follow from the template;
    what AWS names itself (roles, the stream, URLs) comes from the ``outputs`` of the stack.
    """
    facts = dict(place)
    for logical_id, resource in resources.items():
        kind = resource.get("Type", FUNCTION_TYPE)
        if kind in _NAMED and _NAMED[kind][0] in resource["Properties"]:
            facts |= _names(logical_id, kind, resource["Properties"], place)
        if arn := outputs.get(f"{logical_id}Arn"):
            facts[f"{logical_id}.Arn"] = arn
        if kind == "AWS::IAM::Role" and arn:
            facts[logical_id] = arn.rpartition("/")[2]
    if stream := outputs.get("JobsStreamArn"):
        facts["JobsTable.StreamArn"] = stream
    return facts


def _names(logical_id: str, kind: str, properties: Fragment, place: Mapping[str, str]) -> dict[str, str]:
    field, pattern = _NAMED[kind]
    name = resolved(properties[field], place)
    rest = pattern.format(region=place["AWS::Region"], account=place["AWS::AccountId"], name=name)
    return {
        logical_id: name,
        f"{logical_id}.{field}": name,
        f"{logical_id}.Arn": f"arn:{place['AWS::Partition']}:{rest}",
    }


def _fact(facts: Mapping[str, str], name: str) -> str:
    if name not in facts:
        raise NotKnown(f"the stack does not tell {name}")
    return facts[name]

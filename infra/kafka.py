"""How Lambda reads Kafka: an event source mapping for each topic that comes from there; what its role may.

``TASKYARD_KAFKA_SOURCE`` says where the records are, as a JSON object or the path of a file of one::

    {"arn": "arn:aws:kafka:eu-central-1:123456789012:cluster/main/5b1c-2"}                      MSK, by the role
    {"bootstrapServers": ["b-1.example:9096"],                                                  any other Kafka
     "auth": "SASL_SCRAM_512_AUTH", "secret": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:kafka-Ab1",
     "subnets": ["subnet-1"], "securityGroups": ["sg-1"]}

A batch that the function refuses comes again until it is taken, and nothing behind it in its partitions meanwhile: no
retry ends, no destination takes what failed, because what the ledger does not take would be lost by either.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, model_validator

from chalicelib.core.errors import InvalidInput
from chalicelib.core.kafka import Inward
from chalicelib.engine.handlers.bridged import bridged
from chalicelib.http.json_settings import JsonSetting
from chalicelib.http.models import ApiModel, matching
from chalicelib.settings import Settings
from infra.fragment import Fragment
from infra.functions import Function

VARIABLE = "TASKYARD_KAFKA_SOURCE"
BATCH_SIZE = 490  # records: five chunks of what the ledger takes at once
DIGEST_CHARS = 8
AUTH_OF_MSK = ("SASL_SCRAM_512_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH")

Expression = str | Fragment
# The patterns are those of Lambda's API: "SelfManagedEventSource", "SourceAccessConfiguration".
Broker = Annotated[
    str,
    Field(max_length=300),
    matching(r"([A-Za-z0-9-]+\.)*[A-Za-z0-9-]+:[0-9]{1,5}", "the host:port of a broker"),
]
Arn = Annotated[str, matching(r"arn:aws[a-zA-Z-]*:[a-z]+:[a-z0-9-]+:\d{12}:\S+", "an ARN")]
ClusterArn = Annotated[
    str,
    matching(
        r"arn:aws[a-zA-Z-]*:kafka:[a-z0-9-]+:\d{12}:cluster/[^/]+/\S+",
        "the ARN of a cluster: arn:aws:kafka:<region>:<account>:cluster/<name>/<id>",
    ),
]
Name = Annotated[str, matching(r"[\w-]{1,128}", "a name of 1 to 128 letters, digits, _ and -")]


class _Model(ApiModel):
    model_config = ConfigDict(frozen=True)


class Pollers(_Model):
    """Provisioned mode: pollers that are paid for whether or not there is anything to read."""

    minimum: Annotated[int, Field(ge=1, le=200)] = 1
    maximum: Annotated[int, Field(ge=1, le=2_000)] = 200
    group: Name | None = None  # with which other mappings share what is paid for


class KafkaSource(_Model):
    """A Kafka cluster as Lambda reads it: of MSK its ``arn``, of any other the addresses of brokers."""

    arn: ClusterArn | None = None
    bootstrap_servers: Annotated[list[Broker], Field(min_length=1, max_length=10)] | None = None
    auth: Literal["SASL_SCRAM_512_AUTH", "SASL_SCRAM_256_AUTH", "BASIC_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH"] | None = (
        None
    )
    secret: Arn | None = None  # of Secrets Manager: what ``auth`` needs
    ca: Arn | None = None  # the same of the brokers' own certificate authority
    kms_key: Arn | None = None  # by which the secrets are encrypted, unless it is the account's own
    subnets: tuple[Name, ...] = ()
    security_groups: tuple[Name, ...] = ()
    pollers: Pollers | None = None

    @model_validator(mode="after")
    def _expect_one_cluster(self) -> Self:
        if (self.arn is None) == (self.bootstrap_servers is None):
            raise ValueError("name either arn, of MSK, or bootstrapServers")
        if (self.auth is None) != (self.secret is None):
            raise ValueError("auth needs a secret, and a secret its auth")
        if self.arn is not None and (self.subnets or self.security_groups or self.ca):
            raise ValueError("subnets, securityGroups and ca are for clusters that are not of MSK: Lambda finds those")
        if self.arn is not None and self.auth not in (None, *AUTH_OF_MSK):
            raise ValueError(f"MSK knows the auth {' and '.join(AUTH_OF_MSK)}, and without one the role")
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets need securityGroups, and those need subnets")
        return self

    @property
    def secrets(self) -> list[str]:
        """The secrets that Lambda reads for it."""
        return [each for each in (self.secret, self.ca) if each is not None]

    @property
    def is_in_network(self) -> bool:
        """Whether Lambda reaches it by interfaces of its own in a network."""
        return self.arn is not None or bool(self.subnets)


_SETTING = JsonSetting(
    VARIABLE,
    TypeAdapter(KafkaSource),
    expected="a JSON object",
    problem="Lambda cannot read Kafka",
    remedy="see docs/kafka.md, On AWS",
)


def kafka_source(settings: Settings) -> KafkaSource:
    """What ``TASKYARD_KAFKA_SOURCE`` says. Raises ``InvalidInput``."""
    if not settings.kafka_source:
        raise _SETTING.wrong("where Lambda reads the records of bridged topics", "nothing")
    return _SETTING.read(settings.kafka_source)


def kafka_sources(settings: Settings, function: Expression) -> Fragment:
    """The event source mapping of each topic that comes from Kafka, by logical id. Raises ``InvalidInput``."""
    inward = bridged(settings).inward
    if not inward:
        return {}
    groups = Counter(each.group for each in inward)
    shared = next((group for group, count in groups.items() if count > 1), None)
    if shared is not None:
        raise InvalidInput(
            "Lambda reads each topic by a consumer group of its own",
            field="TASKYARD_KAFKA_TOPICS",
            expected="a group for each topic",
            got=f"{shared} for {groups[shared]} topics",
            remedy='name them: {"topic": ..., "direction": "in", "group": ...}',
        )
    source = kafka_source(settings)
    return {mapping_id(each): _mapping(each, source, function) for each in inward}


def mapping_id(topic: Inward) -> str:
    """The logical id of a topic's event source mapping."""
    words = "".join(word.capitalize() for word in re.findall("[A-Za-z0-9]+", topic.source))
    digest = hashlib.sha256(topic.source.encode()).hexdigest()[:DIGEST_CHARS]
    return f"{Function.KAFKA.logical_id}From{words}{digest}"


def _mapping(topic: Inward, source: KafkaSource, function: Expression) -> Fragment:
    properties: Fragment = {
        "FunctionName": function,
        "Topics": [topic.source],
        "StartingPosition": "TRIM_HORIZON" if topic.from_start else "LATEST",
        "BatchSize": BATCH_SIZE,
        "ProvisionedPollerConfig": _pollers(source.pollers),  # said in any case: left out, an earlier one stays
    }
    group = {"ConsumerGroupId": topic.group}
    if source.arn is not None:
        properties |= {"EventSourceArn": source.arn, "AmazonManagedKafkaEventSourceConfig": group}
    else:
        servers = {"Endpoints": {"KafkaBootstrapServers": source.bootstrap_servers}}
        properties |= {"SelfManagedEventSource": servers, "SelfManagedKafkaEventSourceConfig": group}
    if access := _access(source):
        properties["SourceAccessConfigurations"] = access
    return {"Type": "AWS::Lambda::EventSourceMapping", "Properties": properties}


def _pollers(pollers: Pollers | None) -> Fragment:
    if pollers is None:
        return {}
    group = {} if pollers.group is None else {"PollerGroupName": pollers.group}
    return {"MinimumPollers": pollers.minimum, "MaximumPollers": pollers.maximum, **group}


def _access(source: KafkaSource) -> list[Fragment]:
    pairs = [
        *([(source.auth, source.secret)] if source.auth else []),
        *([("SERVER_ROOT_CA_CERTIFICATE", source.ca)] if source.ca else []),
        *(("VPC_SUBNET", each) for each in source.subnets),
        *(("VPC_SECURITY_GROUP", each) for each in source.security_groups),
    ]
    return [{"Type": kind, "URI": uri} for kind, uri in pairs]


def statements(settings: Settings) -> list[dict[str, Any]]:
    """What the function's role may, beside its policy file, for Lambda to read Kafka on its behalf.

    Lambda Developer Guide, "Configuring Lambda permissions for Amazon MSK event source mappings", and the same for
    self-managed Kafka. Raises ``InvalidInput``.
    """
    source = kafka_source(settings)
    found = []
    if source.arn is not None:
        actions = ["kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers"]
        found.append(_allowed("KafkaCluster", actions, [source.arn]))
        if source.auth is None:
            found.append(_allowed("KafkaRecords", KAFKA_BY_ROLE, _of_cluster(source.arn)))
    if source.is_in_network:
        found.append(_allowed("KafkaNetwork", NETWORK, "*"))  # interfaces that are not there yet have no name
    if source.secrets:
        found.append(_allowed("KafkaSecrets", ["secretsmanager:GetSecretValue"], source.secrets))
    if source.kms_key is not None:
        found.append(_allowed("KafkaKey", ["kms:Decrypt"], [source.kms_key]))
    return found


NETWORK = [
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
]
KAFKA_BY_ROLE = [
    "kafka-cluster:AlterGroup",
    "kafka-cluster:Connect",
    "kafka-cluster:DescribeClusterDynamicConfiguration",
    "kafka-cluster:DescribeGroup",
    "kafka-cluster:DescribeTopic",
    "kafka-cluster:ReadData",
]


def _of_cluster(arn: str) -> list[str]:
    """A cluster, its topics and its groups: ``...:cluster/main/5b1c-2``, ``...:topic/main/5b1c-2/*`` and so on."""
    return [arn, *(f"{arn.replace(':cluster/', f':{kind}/', 1)}/*" for kind in ("topic", "group"))]


def _allowed(name: str, actions: list[str], resources: list[str] | str) -> dict[str, Any]:
    return {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resources}

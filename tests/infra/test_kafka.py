"""Kafka on AWS: what is deployed where a topic comes from there or goes there, and that nothing is where none does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import pytest
from cfnlint.api import lint
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import aws
from chalicelib.core.errors import InvalidInput
from chalicelib.core.kafka import Inward
from chalicelib.core.prices import Item
from chalicelib.settings import Settings
from infra.cost.estimate import bills
from infra.cost.load import Load, deployment
from infra.deploy.stages import PROJECT, config_of
from infra.deploy.staging import expect_runtime_for_kafka, requirements_of, requirements_of_kafka, unknown_yet
from infra.doctor import sources
from infra.doctor.findings import Level, Observation
from infra.doctor.installation import Installation
from infra.functions import Function, functions_of
from infra.kafka import KafkaSource, kafka_source, mapping_id, statements
from infra.roles import policy
from infra.template import additions, events_template, template
from tests.support.iam import resolved
from tests.support.processes import clean_environment

DEV = Settings(stage="dev")
CLUSTER = "arn:aws:kafka:eu-central-1:123456789012:cluster/main/5b1c-2"
SECRET, CA, KEY = (
    "arn:aws:secretsmanager:eu-central-1:123456789012:secret:kafka-Ab1",
    "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ca-Ab1",
    "arn:aws:kms:eu-central-1:123456789012:key/0a1b",
)
MSK = {"arn": CLUSTER}
OWN = {
    "bootstrapServers": ["b-1.example:9096", "b-2.example:9096"],
    "auth": "SASL_SCRAM_512_AUTH",
    "secret": SECRET,
    "ca": CA,
    "kmsKey": KEY,
    "subnets": ["subnet-1", "subnet-2"],
    "securityGroups": ["sg-1"],
}
IN = [
    {"topic": "order.created", "direction": "in", "kafka": "orders.v1", "group": "billing"},
    {"topic": "notes", "direction": "in", "group": "notes", "start": "latest"},
]
OUT = [{"topic": "invoice.sent", "direction": "out"}]
ORDERS, NOTES = (Inward(topic="t", source=source, cluster="kafka", group="g") for source in ("orders.v1", "notes"))


def bridging(topics: list[dict[str, str]], source: Mapping[str, Any] | None = None) -> Settings:
    return replace(DEV, kafka_topics=json.dumps(topics), kafka_source="" if source is None else json.dumps(source))


def events(settings: Settings) -> dict[str, Any]:
    outputs = {name: name for name in template(settings, {})["Outputs"]}
    resources: dict[str, Any] = events_template(settings, {}, outputs)["Resources"]
    return resources


def mappings(source: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of the event source mapping of each topic, but for the function's name."""
    found = events(bridging(IN, source))
    return {topic.source: {**found[mapping_id(topic)]["Properties"], "FunctionName": None} for topic in (ORDERS, NOTES)}


class TestWhereNothingComesFromKafka:
    @pytest.mark.parametrize("settings", [bridging([], MSK), bridging(OUT)], ids=["no topic", "one that goes there"])
    def test_what_is_deployed_is_as_ever(self, settings: Settings) -> None:
        assert functions_of(settings) == functions_of(DEV)
        assert Function.KAFKA not in functions_of(DEV)
        assert template(settings, {}) == template(DEV, {})
        assert additions(settings, {}) == additions(DEV, {})
        assert events(settings) == events(DEV)
        assert unknown_yet(settings) == unknown_yet(DEV)
        costs = [bills(deployment(each, {}, 3, config_of()), Load(jobs=1_000)) for each in (settings, DEV)]
        assert costs[0] == costs[1]

    def test_the_package_has_the_library_only_where_a_topic_goes_there(self) -> None:
        assert [requirements_of_kafka(each) for each in (DEV, bridging(IN, MSK))] == ["", ""]
        (pinned,) = re.findall("^confluent-kafka==.+$", requirements_of_kafka(bridging(OUT)), re.MULTILINE)
        assert pinned in (PROJECT / "requirements-dev.lock").read_text().splitlines()
        assert "confluent" not in requirements_of(PROJECT)

    def test_the_library_is_the_same_for_who_has_no_checkout(self, tmp_path: Path) -> None:
        assert requirements_of_kafka(bridging(OUT), tmp_path).startswith("confluent-kafka>=")

    def test_it_is_not_deployed_where_lambda_could_not_load_it(self) -> None:
        with pytest.raises(InvalidInput, match=r"expected Python 3\.12 or newer; got 3\.11"):
            expect_runtime_for_kafka(bridging(OUT), (3, 11))
        for settings, python in ((bridging(OUT), (3, 12)), (bridging(IN, MSK), (3, 11)), (DEV, (3, 11))):
            expect_runtime_for_kafka(settings, python)

    @pytest.mark.parametrize(("topics", "there"), [(IN, True), (OUT, False), ([], False)], ids=["in", "out", "none"])
    def test_the_application_has_the_function_where_infra_has_it(
        self, topics: list[dict[str, str]], there: bool
    ) -> None:
        program = "import app; print(*(each.name for each in app.app.pure_lambda_functions))"
        variables = {"TASKYARD_STAGE": "dev", "TASKYARD_KAFKA_TOPICS": json.dumps(topics)}
        found = subprocess.run(
            [sys.executable, "-c", program],
            cwd=PROJECT,
            env={**clean_environment(), **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        assert {Function.API.value, *found.stdout.split()} == set(functions_of(bridging(topics)))
        assert (Function.KAFKA in functions_of(bridging(topics))) == there


class TestMappings:
    def test_a_topic_of_msk_is_read_from_its_cluster(self) -> None:
        found = mappings(MSK)
        assert found["orders.v1"] == {
            "FunctionName": None,
            "EventSourceArn": CLUSTER,
            "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "billing"},
            "Topics": ["orders.v1"],
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": 490,
            "ProvisionedPollerConfig": {},
        }
        assert found["notes"]["StartingPosition"] == "LATEST"

    def test_a_topic_of_another_cluster_is_read_from_its_brokers(self) -> None:
        found = mappings(OWN)["orders.v1"]
        assert found["SelfManagedEventSource"] == {"Endpoints": {"KafkaBootstrapServers": OWN["bootstrapServers"]}}
        assert found["SelfManagedKafkaEventSourceConfig"] == {"ConsumerGroupId": "billing"}
        assert found["SourceAccessConfigurations"] == [
            {"Type": "SASL_SCRAM_512_AUTH", "URI": SECRET},
            {"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": CA},
            {"Type": "VPC_SUBNET", "URI": "subnet-1"},
            {"Type": "VPC_SUBNET", "URI": "subnet-2"},
            {"Type": "VPC_SECURITY_GROUP", "URI": "sg-1"},
        ]
        assert "EventSourceArn" not in found

    def test_nothing_ends_the_retries_or_takes_what_failed(self) -> None:
        """What the ledger does not take would be lost by either."""
        for each in (*mappings(MSK).values(), *mappings(OWN).values()):
            assert not {"DestinationConfig", "MaximumRetryAttempts", "MaximumRecordAgeInSeconds"} & set(each)

    def test_pollers_are_provisioned_where_they_are_asked_for(self) -> None:
        asked = {**MSK, "pollers": {"minimum": 2, "maximum": 11, "group": "shop"}}
        assert mappings(asked)["notes"]["ProvisionedPollerConfig"] == {
            "MinimumPollers": 2,
            "MaximumPollers": 11,
            "PollerGroupName": "shop",
        }

    @pytest.mark.parametrize("source", [MSK, OWN], ids=["MSK", "own"])
    def test_cfn_lint_finds_nothing(self, source: Mapping[str, Any]) -> None:
        settings = bridging(IN, source)
        outputs = dict.fromkeys(template(settings, {})["Outputs"], "arn:aws:sqs:us-east-1:123456789012:q")
        outputs["JobsStreamArn"] = "arn:aws:dynamodb:us-east-1:123456789012:table/t/stream/2026-01-01T00:00:00.000"
        for built in (template(settings, {}), events_template(settings, {}, outputs)):
            assert lint(json.dumps(built)) == []

    def test_the_function_has_a_role_a_log_and_an_alarm_of_its_own(self) -> None:
        settings = bridging(IN, MSK)
        assert set(template(settings, {})["Resources"]) - set(template(DEV, {})["Resources"]) == {
            "KafkaLagAlarm",
            "KafkaRole",
            "KafkaLogs",
        }
        assert additions(settings, {})["Resources"]["Kafka"]["Properties"]["FunctionName"] == "taskyard-dev-kafka"

    def test_a_group_for_two_topics_is_refused_as_lambda_would(self) -> None:
        shared = [{**each, "group": "one"} for each in IN]
        with pytest.raises(InvalidInput, match="expected a group for each topic; got one for 2 topics"):
            events(bridging(shared, MSK))

    @given(st.lists(st.from_regex(r"[a-zA-Z0-9._-]{1,249}", fullmatch=True), unique=True))
    def test_every_topic_has_an_id_of_its_own_that_cloudformation_takes(self, names: list[str]) -> None:
        ids = [mapping_id(replace(ORDERS, source=name)) for name in names]
        assert len(set(ids)) == len(names)
        assert all(each.isalnum() and len(each) <= 255 for each in ids)


class TestSource:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, "name either arn, of MSK, or bootstrapServers"),
            ({**MSK, "bootstrapServers": ["b:1"]}, "name either arn, of MSK, or bootstrapServers"),
            (
                {"arn": "arn:aws:sqs:eu-central-1:123456789012:q"},
                "[arn]: Lambda cannot read Kafka; expected the ARN of a",
            ),
            (
                {"bootstrapServers": ["no port"]},
                "[bootstrapServers.0]: Lambda cannot read Kafka; expected the host:port",
            ),
            ({"bootstrapServers": []}, "at least 1 item"),
            ({**OWN, "secret": None}, "auth needs a secret"),
            ({**OWN, "securityGroups": []}, "subnets need securityGroups"),
            ({**MSK, "subnets": ["s"], "securityGroups": ["g"]}, "Lambda finds those"),
            ({**MSK, "auth": "BASIC_AUTH", "secret": SECRET}, "MSK knows the auth"),
            ({**MSK, "pollers": {"minimum": 0}}, "greater than or equal to 1"),
            ({**MSK, "typo": 1}, "[typo]: Lambda cannot read Kafka; expected arn or bootstrapServers or auth"),
            ({**MSK, "pollers": {"min": 1}}, "[pollers.min]: Lambda cannot read Kafka; expected minimum; got min"),
            ([MSK], "expected an object; got a list of 1"),
        ],
    )
    def test_what_lambda_could_not_use_is_refused(self, given: Any, expected: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            kafka_source(bridging(IN, given))
        assert str(refused.value).startswith("TASKYARD_KAFKA_SOURCE")
        assert expected in str(refused.value)

    @pytest.mark.parametrize("given", ["", "{", "nowhere.json"])
    def test_it_must_be_there(self, given: str) -> None:
        with pytest.raises(InvalidInput, match="TASKYARD_KAFKA_SOURCE"):
            kafka_source(replace(bridging(IN), kafka_source=given))

    def test_it_may_be_in_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "source.json"
        file.write_text(json.dumps(MSK))
        assert kafka_source(replace(bridging(IN), kafka_source=str(file))) == KafkaSource(arn=CLUSTER)


class TestRole:
    def allowed(self, source: Mapping[str, Any]) -> dict[str, tuple[set[str], Any]]:
        found = statements(bridging(IN, source))
        return {each["Sid"]: (set(each["Action"]), each["Resource"]) for each in found}

    def test_of_msk_it_reads_the_cluster_its_topics_and_its_groups(self) -> None:
        found = self.allowed(MSK)
        assert set(found) == {"KafkaCluster", "KafkaRecords", "KafkaNetwork"}
        assert found["KafkaCluster"] == ({"kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers"}, [CLUSTER])
        actions, resources = found["KafkaRecords"]
        assert {"kafka-cluster:Connect", "kafka-cluster:ReadData"} <= actions
        assert not {"kafka-cluster:WriteData", "kafka-cluster:*"} & actions
        assert resources == [
            CLUSTER,
            "arn:aws:kafka:eu-central-1:123456789012:topic/main/5b1c-2/*",
            "arn:aws:kafka:eu-central-1:123456789012:group/main/5b1c-2/*",
        ]
        assert found["KafkaNetwork"][1] == "*"

    def test_with_a_password_it_reads_that_instead(self) -> None:
        found = self.allowed({**MSK, "auth": "SASL_SCRAM_512_AUTH", "secret": SECRET})
        assert set(found) == {"KafkaCluster", "KafkaNetwork", "KafkaSecrets"}
        assert found["KafkaSecrets"] == ({"secretsmanager:GetSecretValue"}, [SECRET])

    def test_of_another_cluster_it_reads_secrets_and_makes_interfaces(self) -> None:
        found = self.allowed(OWN)
        assert set(found) == {"KafkaNetwork", "KafkaSecrets", "KafkaKey"}
        assert found["KafkaSecrets"][1] == [SECRET, CA]
        assert found["KafkaKey"] == ({"kms:Decrypt"}, [KEY])

    def test_of_one_that_anybody_may_read_it_needs_nothing(self) -> None:
        assert self.allowed({"bootstrapServers": ["b:9092"]}) == {}

    def test_it_is_in_the_functions_policy_and_in_no_other(self) -> None:
        settings = bridging(IN, MSK)
        named = {each["Sid"] for each in statements(settings)}
        for function in functions_of(settings):
            found = {each["Sid"] for each in policy(settings, function)["Statement"]}
            assert (named & found) == (named if function is Function.KAFKA else set())
        assert resolved(policy(settings, Function.KAFKA), template(settings, {})).actions


class TestCost:
    @staticmethod
    def pollers(source: Mapping[str, Any]) -> list[tuple[float, float]]:
        """Hours of units, and what they cost, a topic's mapping after the other added up."""
        idle, _ = bills(deployment(bridging(IN, source), {}, 3, config_of()), Load(jobs=0))
        return [(line.usage.amount, line.usd) for line in idle.lines if line.usage.item is Item.KAFKA_POLLERS]

    def test_on_demand_lambda_reads_for_nothing(self) -> None:
        assert self.pollers(MSK) == [(0, 0)]

    @pytest.mark.parametrize(("minimum", "units"), [(1, 1), (10, 1), (11, 2)])
    def test_provisioned_pollers_cost_a_unit_for_each_started_ten(self, minimum: int, units: int) -> None:
        ((hours, usd),) = self.pollers({**MSK, "pollers": {"minimum": minimum}})
        assert hours == 2 * units * 730  # two topics
        assert usd == pytest.approx(hours * 0.185)


class TestDoctor:
    """What it says of the mappings of topics, by what Lambda lists."""

    def observations(
        self, source: Mapping[str, Any], *found: Mapping[str, Any], emulated: bool = False
    ) -> list[Observation]:
        settings = bridging(IN[:1], source)
        arns = {f"{each.logical_id}.Arn": f"arn:aws:lambda:::function:{each}" for each in functions_of(settings)}
        expected = {**mappings(source)["orders.v1"], "FunctionName": arns["Kafka.Arn"]}
        installation = SimpleNamespace(
            settings=settings,
            facts=arns,
            emulated=emulated,
            of_type=lambda kind: ["KafkaFromOrders"] if kind == sources.MAPPING_TYPE else [],
            properties=lambda _: expected,
            aws=lambda *words, **options: " ".join([*words, *map(str, options.values())]),
        )
        listed = [{"FunctionArn": arns["Kafka.Arn"], "UUID": "u", "State": "Enabled", **each} for each in found]
        pages = SimpleNamespace(paginate=lambda: [{"EventSourceMappings": listed}])
        client = SimpleNamespace(get_paginator=lambda _: pages)
        with patch.object(aws, "client", lambda _: client):
            (check,) = sources.checks(cast(Installation, installation))
            return [each for each in check.question() if each.level is not Level.OK]

    def of_lambda(self, source: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
        """A mapping as Lambda lists it: with its own name for brokers, and without what is empty."""
        found = {**mappings(source)["orders.v1"], **changed}
        if "SelfManagedEventSource" in found:
            brokers = reversed(found["SelfManagedEventSource"]["Endpoints"]["KafkaBootstrapServers"])
            found["SelfManagedEventSource"] = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": list(brokers)}}
            found["SourceAccessConfigurations"] = list(reversed(found["SourceAccessConfigurations"]))
        return {name: value for name, value in found.items() if value not in (None, {})}

    @pytest.mark.parametrize("source", [MSK, OWN], ids=["MSK", "own"])
    def test_one_that_is_as_it_should_be(self, source: Mapping[str, Any]) -> None:
        assert self.observations(source, self.of_lambda(source)) == []

    @pytest.mark.parametrize("source", [MSK, OWN], ids=["MSK", "own"])
    def test_one_that_is_missing_and_one_of_another_topic(self, source: Mapping[str, Any]) -> None:
        missing, stranger = self.observations(source, self.of_lambda(source, Topics=["another"]))
        assert (missing.what, missing.found) == ("mapping", "none")
        assert "lambda create-event-source-mapping" in missing.remedy
        assert "KafkaBootstrapServers" not in missing.remedy
        assert ("KAFKA_BOOTSTRAP_SERVERS" in missing.remedy) == (source is OWN)
        assert stranger.what == "undeclared sources"

    def test_one_that_is_off_and_one_that_is_provisioned(self) -> None:
        pollers = {"MinimumPollers": 1, "MaximumPollers": 200}
        off, dear = self.observations(MSK, self.of_lambda(MSK, ProvisionedPollerConfig=pollers) | {"State": "Disabled"})
        assert (off.what, off.found) == ("state", "Disabled")
        assert (dear.what, dear.expected) == ("ProvisionedPollerConfig", "{}")
        assert "update-event-source-mapping --uuid u" in dear.remedy

    def test_an_emulator_that_forgets_the_topic_is_not_taken_for_a_broken_installation(self) -> None:
        forgotten = {name: value for name, value in self.of_lambda(MSK).items() if name != "Topics"}
        for found in ([forgotten], []):
            (unknown,) = self.observations(MSK, *found, emulated=True)
            assert (unknown.level, unknown.what) == (Level.UNKNOWN, "mapping")

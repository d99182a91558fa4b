"""The settings of bridged topics: what they may say, and what of them is an error at the start."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.batch import Batch
from chalicelib.core.errors import InvalidInput
from chalicelib.core.kafka import OWN_HEADERS, Format, Inward, Outward, Reading, Tombstone, Writing
from chalicelib.core.lanes import Band
from chalicelib.engine.handlers.bridged import Bridged, bridged
from chalicelib.engine.handlers.declare import subscribe
from chalicelib.engine.handlers.registry import Registry, outward_of
from chalicelib.local.plan import comes_from_kafka
from chalicelib.queue.kafka import ALWAYS, NoLibrary, client, expect_library, properties
from chalicelib.settings import DEFAULTS

IN = {"topic": "orders", "direction": "in"}
OUT = {"topic": "sent", "direction": "out"}


def read(*entries: Any) -> Bridged:
    return bridged(replace(DEFAULTS, kafka_topics=json.dumps(entries)))


def test_by_default_nothing_is_bridged() -> None:
    assert bridged(DEFAULTS) == Bridged()
    assert outward_of(DEFAULTS) == ()


def test_where_kafka_is_need_not_be_said_where_an_event_source_brings_the_records() -> None:
    assert outward_of(replace(DEFAULTS, kafka_topics=json.dumps([IN]))) == ()
    with pytest.raises(InvalidInput, match="TASKYARD_KAFKA"):
        outward_of(replace(DEFAULTS, kafka_topics=json.dumps([OUT])))


def test_what_is_left_out_has_its_default() -> None:
    inward = Inward(topic="orders", source="orders", cluster="kafka", group="taskyard-local")
    assert read(IN, OUT) == Bridged((inward,), (Outward(topic="sent", target="sent"),))


def test_everything_can_be_said() -> None:
    reading = {
        "value": "text", "input": "value", "priority": "headers.a.b", "executeAt": "value.at", "delayMs": "value.in",
        "traceId": None, "idempotencyKey": "headers.id", "flowKey": "key", "tenant": "value.of.0", "tombstone": "skip",
    }  # fmt: skip
    writing = {"value": "base64", "output": "input.a", "key": "tenant", "headers": {"by": "options.by"}}
    entries = [
        {
            **IN,
            "kafka": "o.v1",
            "group": "g",
            "start": "latest",
            "protocol": "classic",
            "maxPending": 5,
            "mapping": reading,
        },
        {**OUT, "kafka": "s.v1", "batchSize": 50, "order": "block", "mapping": writing},
    ]
    assert read(*entries) == Bridged(
        (
            Inward(
                topic="orders",
                source="o.v1",
                cluster="kafka",
                group="g",
                from_start=False,
                classic=True,
                max_pending=5,
                reading=Reading(
                    value=Format.TEXT,
                    priority="headers.a.b",
                    execute_at="value.at",
                    delay_ms="value.in",
                    trace_id=None,
                    idempotency_key="headers.id",
                    flow_key="key",
                    tenant="value.of.0",
                    tombstone=Tombstone.SKIP,
                ),
            ),
        ),
        (
            Outward(
                topic="sent",
                target="s.v1",
                batch_size=50,
                order="block",
                writing=Writing(value=Format.BASE64, output="input.a", key="tenant", headers={"by": "options.by"}),
            ),
        ),
    )


def test_they_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "topics.json"
    file.write_text(json.dumps([IN]))
    assert bridged(replace(DEFAULTS, kafka_topics=str(file))) == read(IN)


PLACE = "key, value, a path into the value (value.order.id) or headers.<name>"
KAFKA_NAME = "a name that Kafka takes: 1 to 249 letters, digits, dots, _ and -"
ONCE = "each topic once, in one direction"


@pytest.mark.parametrize(
    ("entries", "place", "expected", "got"),
    [
        (["orders"], "[0]", "a JSON object for each topic", "orders"),
        ([{"topic": "a"}], "[0]", "a direction, in or out", "none"),
        ([{"direction": "sideways"}], "[0]", "a direction, in or out", "sideways"),
        ([{"direction": ["in"]}], "[0]", "a direction, in or out", "['in']"),
        ([{"direction": "in"}], "[0.topic]", "a value", "nothing"),
        ([IN, {**OUT, "batch": 5}], "[1.batch]", "batchSize", "batch"),
        ([{**OUT, "x": 5}], "[0.x]", "direction or topic or kafka or batchSize or order or mapping", "x"),
        ([{**IN, "max_pending": 1}], "[0.max_pending]", "maxPending", "max_pending"),
        ([{**IN, "mapping": {"prio": "key"}}], "[0.mapping.prio]", "priority", "prio"),
        ([{**IN, "topic": ""}], "[0.topic]", "text of at least 1 character", "an empty text"),
        (
            [{**IN, "kafka": "a b"}],
            "[0.kafka]",
            "a name that Kafka takes: 1 to 249 letters, digits, dots, _ and -",
            "a b",
        ),
        ([{**IN, "topic": "a b"}], "", "a name that Kafka takes, as kafka", "a b"),
        ([{**IN, "start": "now"}], "[0.start]", "'earliest' or 'latest'", "now"),
        ([{**IN, "maxPending": 0}], "[0.maxPending]", "greater than or equal to 1", "0"),
        ([{**IN, "maxPending": True}], "[0.maxPending]", "a whole number, 1 to 1000000", "true"),
        ([{**IN, "mapping": "key"}], "[0.mapping]", "an object", "key"),
        ([{**IN, "mapping": {"priority": "input.p"}}], "[0.mapping.priority]", PLACE, "input.p"),
        ([{**IN, "mapping": {"flowKey": "value..a"}}], "[0.mapping.flowKey]", PLACE, "value..a"),
        (
            [{**OUT, "mapping": {"key": "value.p"}}],
            "[0.mapping.key]",
            "a path that begins with input, options or context (input.customer.id), or flowKey, tenant, traceId or id",
            "value.p",
        ),
        (
            [{**OUT, "mapping": {"headers": {"taskyard-id": "id"}}}],
            "[0.mapping.headers.taskyard-id]",
            f"another header than {', '.join(OWN_HEADERS)}, which are set in any case",
            "taskyard-id",
        ),
        ([{**OUT, "batchSize": 101}], "[0.batchSize]", "less than or equal to 100", "101"),
        ([IN, {**OUT, "topic": "orders"}], "", ONCE, "orders, bridged twice"),
        (
            [IN, {**OUT, "kafka": "orders"}],
            "",
            "each topic once, in one direction",
            "orders, read or written by two topics",
        ),
    ],
)
def test_what_is_wrong_is_told(entries: list[Any], place: str, expected: str, got: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(*entries)
    told = refused.value
    assert (told.field, told.expected, told.got) == (f"TASKYARD_KAFKA_TOPICS{place}", expected, got)
    assert told.remedy


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("[", "what is no JSON (Expecting value: line 1 column 2 (char 1))"),
        ("no/such/file.json", "no/such/file.json, which cannot be read (No such file or directory)"),
        ('{"topic": "a"}', "an object"),
    ],
)
def test_what_is_no_list_is_refused(text: str, got: str) -> None:
    with pytest.raises(InvalidInput, match="expected a JSON list of topics") as refused:
        bridged(replace(DEFAULTS, kafka_topics=text))
    assert (refused.value.field, refused.value.got) == ("TASKYARD_KAFKA_TOPICS", got)
    assert refused.value.remedy


# -- brokers --------------------------------------------------------------------------------------------


def test_brokers_are_addresses_or_properties_or_a_file_of_them(tmp_path: Path) -> None:
    file = tmp_path / "kafka.json"
    told = {"bootstrap.servers": "a:1,b:2", "security.protocol": "SASL_SSL", "client.id": "mine"}
    file.write_text(json.dumps(told))
    for addresses in ("a:1,b:2", "b-1.example:9096, b_2:65535", "[::1]:9092,SASL_SSL://10.0.0.1:9096"):
        assert properties(addresses) == {**ALWAYS, "bootstrap.servers": addresses}
    assert properties(str(file)) == properties(json.dumps(told)) == {**ALWAYS, **told}


@pytest.mark.parametrize(
    "given",
    [
        "",
        "{",
        '{"sasl.password": "s3cret"}',
        '{"bootstrap.servers": "a:1", "plugin.library.paths": "s3cret"}',
        '{"bootstrap.servers": "a:1", "sasl.password": ["s3cret"]}',
        "/no/such/s3cret.json",
    ],
)
def test_wrong_ones_are_refused_without_their_values(given: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        properties(given)
    assert refused.value.field == "TASKYARD_KAFKA"
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "expected", "got"),
    [
        ("", "the addresses of brokers", "nothing"),
        ("{", "a JSON object of properties, or the path of a file of one", "a text that is no JSON"),
        ("./none.json", "a JSON object", r"the path of a file that cannot be read \(No such file or directory\)"),
        ('{"bootstrap.servers": "a:1", "sasl.pasword": "x"}', "expected sasl.password;", "got sasl.pasword"),
        ('{"bootstrap.servers": 5}', "a text of addresses as bootstrap.servers", "int"),
        ("localhost", "host:port of each broker", "no port .* in address 1 of 1; add the port, often 9092 or 9096"),
        ("a:1, ,c:3", "host:port of each broker", "no port .* in address 2 of 3"),
        ("a:1,b:0", "host:port of each broker", "no port .* in address 2 of 2"),
        ("a:65536", "host:port of each broker", "no port .* in address 1 of 1"),
        ("::1", "host:port of each broker", "no port .* in address 1 of 1"),
        ("kafka.properties", "host:port of each broker", "no port .* in address 1 of 1"),
        ('{"bootstrap.servers": "b-1.example"}', "host:port of each broker", "no port .* in address 1 of 1"),
        (
            '{"bootstrap.servers": "a:1", "sasl.username": []}',
            "a boolean as sasl.username",
            "another kind of value: list",
        ),
    ],
)
def test_what_is_wrong_is_told_with_what_was_expected(given: str, expected: str, got: str) -> None:
    with pytest.raises(InvalidInput, match=f"{expected}.*{got}"):
        properties(given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"security.protocol": "s3cret"}, "security.protocol"),
        ({"compression.type": "s3cret"}, "compression.type"),
        ({"message.max.bytes": "s3cret"}, "message.max.bytes"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "s3cret"}, "sasl.mechanism"),
        ({"security.protocol": "SSL", "ssl.ca.pem": "s3cret"}, "ssl.ca.pem"),
    ],
)
def test_a_value_that_librdkafka_does_not_take_is_refused_by_its_property(given: dict[str, str], named: str) -> None:
    chosen = replace(DEFAULTS, kafka=json.dumps({"bootstrap.servers": "a:1", **given}), kafka_topics=json.dumps([IN]))
    for start in (
        lambda: comes_from_kafka(chosen),
        lambda: client("Consumer", {**properties(chosen.kafka), "group.id": "g"}),
    ):
        with pytest.raises(InvalidInput) as refused:
            start()
        assert refused.value.field == "TASKYARD_KAFKA"
        assert named in str(refused.value)
        assert "s3cret" not in str(refused.value)
        assert refused.value.__suppress_context__


def test_a_library_that_is_missing_is_told_with_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    expect_library()
    monkeypatch.setattr("chalicelib.queue.kafka.LIBRARY", "no_such_library")
    with pytest.raises(NoLibrary, match=r"pip install 'taskyard\[kafka\]'"):
        expect_library()


# -- the built-in subscriber ----------------------------------------------------------------------------


@subscribe("sent", lanes=(Band.LOW,), batch=Batch(3, 0))
def many(_: list[Any]) -> None: ...


@subscribe("sent", lanes=(Band.LOW,))
def one(_: Any) -> None: ...


def test_a_topic_that_goes_out_has_a_subscriber_in_batches() -> None:
    (handler,) = Registry.of([], [Outward(topic="sent", target="s", batch_size=50)]).subscribers["sent"]
    assert (handler.batch, handler.label) == (Batch(50, 1), "chalicelib.engine.handlers.outward.to_kafka")
    registry = Registry.of([], [Outward(topic="sent", target="s")])
    assert registry.batches == {"sent": Batch(10, 0)}
    assert set(registry.queues["sent"]) == {Band.HIGH, Band.NORMAL, Band.LOW}


@pytest.mark.parametrize(("own", "batch"), [(many, Batch(3, 0)), (one, None)])
def test_beside_others_it_takes_what_they_take(own: Any, batch: Batch | None) -> None:
    registry = Registry.of([own], [Outward(topic="sent", target="s")])
    assert [each.batch for each in registry.subscribers["sent"]] == [batch, batch]
    assert registry.queues["sent"] == (Band.LOW,)


def test_in_order_its_messages_go_one_by_one() -> None:
    registry = Registry.of([], [Outward(topic="sent", target="s", order="block")])
    (handler,) = registry.subscribers["sent"]
    assert (handler.batch, handler.flow.order, registry.batches) == (None, "block", {})

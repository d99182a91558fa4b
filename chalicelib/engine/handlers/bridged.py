"""The topics that are bridged to Kafka, as ``TASKYARD_KAFKA_TOPICS`` says: a JSON list, or the path of a file of one.

    [
      {"topic": "order.created", "direction": "in", "kafka": "orders", "group": "billing",
       "mapping": {"priority": "headers.priority", "flowKey": "key", "input": "value.payload"}},
      {"topic": "invoice.sent", "direction": "out", "kafka": "invoices", "mapping": {"key": "input.customerId"}}
    ]

docs/kafka.md has every name. What is wrong is an error at the start.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter

from chalicelib.core.batch import BATCH_MAX
from chalicelib.core.errors import shown
from chalicelib.core.kafka import (
    MESSAGE_PLACE,
    OWN_HEADERS,
    RECORD_PLACE,
    TRACE_PLACE,
    Format,
    Inward,
    Outward,
    Reading,
    Tombstone,
    Writing,
)
from chalicelib.core.limits import Order
from chalicelib.http.json_settings import JsonSetting
from chalicelib.http.models import ApiModel, Topic, matching
from chalicelib.http.one_of import unfit
from chalicelib.settings import Settings

VARIABLE = "TASKYARD_KAFKA_TOPICS"
DIRECTIONS = ("in", "out")
PENDING_MAX = 1_000_000


def _free_name(value: str) -> str:
    if value in OWN_HEADERS:
        raise ValueError(f"another header than {', '.join(OWN_HEADERS)}, which are set in any case")
    return value


def _expect_list(given: Any) -> Any:
    if not isinstance(given, list):
        got = "an object" if isinstance(given, dict) else shown(given)
        raise unfit("a JSON list of topics", got, "put brackets around it: [{...}]")
    return given


def _expect_direction(given: Any) -> Any:
    if not isinstance(given, dict):
        raise unfit("a JSON object for each topic", shown(given), 'such as {"topic": "orders", "direction": "in"}')
    if given.get("direction") not in DIRECTIONS:
        got = shown(given["direction"]) if "direction" in given else "none"
        raise unfit("a direction, in or out", got, '"direction": "in" for one that comes from Kafka, "out" for others')
    return given


def _place(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    """A place is no secret, though a field of keys may look like one: what came is shown."""

    def checked(text: str) -> str:
        if not pattern.fullmatch(text):
            raise unfit(expected, shown(text), "docs/kafka.md says what a place is")
        return text

    return AfterValidator(checked)


# Apache Kafka, org.apache.kafka.common.internals.Topic: legal characters, and 249 of them at most.
KAFKA_NAME = r"[a-zA-Z0-9._-]{1,249}"
KafkaName = Annotated[str, matching(KAFKA_NAME, "a name that Kafka takes: 1 to 249 letters, digits, dots, _ and -")]
RecordPlace = Annotated[
    str, _place(RECORD_PLACE, "key, value, a path into the value (value.order.id) or headers.<name>")
]
MessagePlace = Annotated[
    str,
    _place(
        MESSAGE_PLACE,
        "a path that begins with input, options or context (input.customer.id), or flowKey, tenant, traceId or id",
    ),
]
Header = Annotated[str, StringConstraints(min_length=1, max_length=249), AfterValidator(_free_name)]


class _Model(ApiModel):
    model_config = ConfigDict(frozen=True)


class ReadingModel(_Model):
    """How records are read; see ``core.kafka.Reading``."""

    value: Format = Format.JSON
    input: RecordPlace = "value"
    priority: RecordPlace | None = None
    execute_at: RecordPlace | None = None
    delay_ms: RecordPlace | None = None
    trace_id: RecordPlace | None = TRACE_PLACE
    idempotency_key: RecordPlace | None = None
    flow_key: RecordPlace | None = None
    tenant: RecordPlace | None = None
    tombstone: Tombstone = Tombstone.MESSAGE


class WritingModel(_Model):
    """How messages are written; see ``core.kafka.Writing``."""

    value: Format = Format.JSON
    output: MessagePlace = "input"
    key: MessagePlace = "flowKey"
    headers: dict[Header, MessagePlace] = Field(default_factory=dict)


class InwardModel(_Model):
    """A topic whose messages come from Kafka; see ``core.kafka.Inward``."""

    direction: Literal["in"]
    topic: Topic
    kafka: KafkaName | None = None
    group: Annotated[str, StringConstraints(min_length=1, max_length=249)] | None = None
    start: Literal["earliest", "latest"] = "earliest"
    protocol: Literal["consumer", "classic"] = "consumer"
    max_pending: Annotated[int, Field(ge=1, le=PENDING_MAX, strict=True)] = 10_000
    mapping: ReadingModel = ReadingModel()


class OutwardModel(_Model):
    """A topic whose messages go to Kafka; see ``core.kafka.Outward``."""

    direction: Literal["out"]
    topic: Topic
    kafka: KafkaName | None = None
    batch_size: Annotated[int, Field(ge=1, le=BATCH_MAX, strict=True)] = 10
    order: Order | None = None
    mapping: WritingModel = WritingModel()


_Entry = Annotated[
    Annotated[InwardModel | OutwardModel, Field(discriminator="direction")], BeforeValidator(_expect_direction)
]
_SETTING: JsonSetting[list[InwardModel | OutwardModel]] = JsonSetting(
    VARIABLE,
    TypeAdapter(Annotated[list[_Entry], BeforeValidator(_expect_list)]),
    expected="a JSON list of topics",
    problem="the topics on Kafka cannot be read",
    remedy="docs/kafka.md has every name and its values",
)


@dataclass(frozen=True, slots=True)
class Bridged:
    """The topics that come from Kafka, and those that go there."""

    inward: tuple[Inward, ...] = ()
    outward: tuple[Outward, ...] = ()

    def source_of(self, topic: str) -> Inward | None:
        """How the messages of a topic come from Kafka, if they do."""
        return next((each for each in self.inward if each.topic == topic), None)


def bridged(chosen: Settings) -> Bridged:
    """The topics that some settings bridge. Raises ``InvalidInput`` naming what is wrong with them."""
    return _parsed(chosen.kafka_topics, chosen.kafka_cluster, chosen.base_name) if chosen.kafka_topics else Bridged()


@lru_cache(maxsize=8)
def _parsed(given: str, cluster: str, base_name: str) -> Bridged:
    entries = _SETTING.read(given)
    _expect_once("bridged twice", (each.topic for each in entries))
    _expect_once("read or written by two topics", (each.kafka or each.topic for each in entries))
    return Bridged(
        tuple(_inward(each, cluster, base_name) for each in entries if isinstance(each, InwardModel)),
        tuple(_outward(each) for each in entries if isinstance(each, OutwardModel)),
    )


def _expect_once(problem: str, names: Iterable[str]) -> None:
    """Raise ``InvalidInput`` for what is there twice: in both directions, records would go in circles."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise _SETTING.wrong(
            "each topic once, in one direction", f"{twice[0]}, {problem}", remedy="leave one of them out"
        )


def _inward(entry: InwardModel, cluster: str, base_name: str) -> Inward:
    return Inward(
        topic=entry.topic,
        source=_kafka_name(entry),
        cluster=cluster,
        group=entry.group or base_name,
        from_start=entry.start == "earliest",
        classic=entry.protocol == "classic",
        max_pending=entry.max_pending,
        reading=Reading(**dict(entry.mapping)),
    )


def _outward(entry: OutwardModel) -> Outward:
    return Outward(
        topic=entry.topic,
        target=_kafka_name(entry),
        batch_size=entry.batch_size,
        order=entry.order,
        writing=Writing(**dict(entry.mapping)),
    )


def _kafka_name(entry: InwardModel | OutwardModel) -> str:
    """What the topic is called on Kafka, by default as here. Raises ``InvalidInput`` for what cannot be its name."""
    name = entry.kafka or entry.topic
    if not re.fullmatch(KAFKA_NAME, name):
        raise _SETTING.wrong("a name that Kafka takes, as kafka", name, remedy='add "kafka": its name there')
    return name

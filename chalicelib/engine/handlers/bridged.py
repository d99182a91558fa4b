"""The topics that are bridged to Kafka, as ``TASKYARD_KAFKA_TOPICS`` says: a JSON list, or the path of a file of one.

    [
      {"topic": "order.created", "direction": "in", "kafka": "orders", "group": "billing",
       "mapping": {"priority": "headers.priority", "flowKey": "key", "input": "value.payload"}},
      {"topic": "invoice.sent", "direction": "out", "kafka": "invoices", "mapping": {"key": "input.customerId"}}
    ]

docs/kafka.md has every name. What is wrong is an error at the start.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from chalicelib.core.batch import BATCH_MAX
from chalicelib.core.errors import InvalidInput
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
from chalicelib.core.lanes import TOPIC_MAX_CHARS
from chalicelib.core.limits import Order
from chalicelib.core.naming import is_name
from chalicelib.settings import Settings

VARIABLE = "TASKYARD_KAFKA_TOPICS"
PENDING_MAX = 1_000_000


def _topic(value: str) -> str:
    if not is_name(value, TOPIC_MAX_CHARS):
        raise ValueError(f"a topic has 1 to {TOPIC_MAX_CHARS} characters on one line")
    return value


def _free_name(value: str) -> str:
    if value in OWN_HEADERS:
        raise ValueError("this header is set in any case")
    return value


# Apache Kafka, org.apache.kafka.common.internals.Topic: legal characters, and 249 of them at most.
KafkaName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
RecordPlace = Annotated[str, StringConstraints(pattern=f"^(?:{RECORD_PLACE.pattern})$")]
MessagePlace = Annotated[str, StringConstraints(pattern=f"^(?:{MESSAGE_PLACE.pattern})$")]
Topic = Annotated[str, AfterValidator(_topic)]
Header = Annotated[str, StringConstraints(min_length=1, max_length=249), AfterValidator(_free_name)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


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


_ENTRIES: TypeAdapter[list[InwardModel | OutwardModel]] = TypeAdapter(
    list[Annotated[InwardModel | OutwardModel, Field(discriminator="direction")]]
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
    try:
        entries = _ENTRIES.validate_python(_document(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"] if step not in ("in", "out"))
        raise _wrong(first["msg"], f"{VARIABLE}[{place}]" if place else VARIABLE, first["input"]) from error
    _expect_once("bridged twice", (each.topic for each in entries))
    _expect_once("read or written by two topics", (each.kafka or each.topic for each in entries))
    return Bridged(
        tuple(_inward(each, cluster, base_name) for each in entries if isinstance(each, InwardModel)),
        tuple(_outward(each) for each in entries if isinstance(each, OutwardModel)),
    )


def _document(given: str) -> Any:
    try:
        text = given if given.lstrip().startswith("[") else Path(given).read_text(encoding="utf-8")
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise _wrong("a JSON list of topics, or the path of a file of one", VARIABLE, error) from error


def _expect_once(problem: str, names: Iterable[str]) -> None:
    """Raise ``InvalidInput`` for what is there twice: in both directions, records would go in circles."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise _wrong("each topic once, in one direction", VARIABLE, f"{twice[0]}, {problem}")


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
    try:
        return entry.kafka or TypeAdapter(KafkaName).validate_python(entry.topic)
    except ValidationError as error:
        raise _wrong("a name that Kafka takes, as kafka", VARIABLE, entry.topic) from error


def _wrong(expected: str, field: str, got: object) -> InvalidInput:
    return InvalidInput("the topics on Kafka cannot be read", field=field, expected=expected, got=got)

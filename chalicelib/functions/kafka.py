"""Records of Kafka: what Lambda's event source brings, of MSK or of any other cluster.

Shape: the Lambda developer guide, "Using Lambda with Amazon MSK" and "Using Lambda with self-managed Apache Kafka".
"""

from __future__ import annotations

from base64 import b64decode
from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from chalicelib.core.errors import InvalidInput, Unavailable
from chalicelib.core.expectations import fault_of, place_of
from chalicelib.core.kafka import Inward, Record
from chalicelib.engine.handlers.bridged import bridged
from chalicelib.engine.publish.records import accept_each
from chalicelib.engine.yard import Yard
from chalicelib.functions.events import LambdaContext
from chalicelib.functions.logs import logged
from chalicelib.logger import logger

BYTE = 0xFF


def _from_base64(value: Any) -> Any:
    try:
        return b64decode(value, validate=True) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("text in base64") from None


Base64 = Annotated[bytes | None, BeforeValidator(_from_base64)]
Byte = Annotated[int, Field(ge=-128, le=255)]  # Java counts the upper half from -128 on


class EventRecord(BaseModel):
    """A record of an event: key and value in base64, each header an object of one name and its bytes as numbers."""

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    timestamp: int = -1
    key: Base64 = None
    value: Base64 = None
    headers: list[dict[str, list[Byte] | None]] = Field(default_factory=list)

    def record(self) -> Record:
        """As the engine knows it."""
        headers = tuple((name, _bytes(numbers)) for each in self.headers for name, numbers in each.items())
        return Record(self.topic, self.partition, self.offset, self.timestamp, self.key, self.value, headers)


def _bytes(numbers: list[int] | None) -> bytes | None:
    return None if numbers is None else bytes(number & BYTE for number in numbers)


class KafkaEvent(BaseModel):
    """An event: the records of each partition in their order, by ``topic-partition``."""

    records: dict[str, list[EventRecord]]


@logged
def handle(yard: Yard, event: Mapping[str, Any], context: LambdaContext) -> dict[str, int]:
    """Make messages of an event's records; returns how many those are.

    Raises ``Unavailable`` where the ledger did not take all of them: Lambda then brings the whole batch again, and
    those that were taken are no new messages.
    """
    del context  # a batch takes a few transactions
    by_source = records_by_source(event)
    topics = {each.source: each for each in bridged(yard.settings).inward}
    refusals = [refusal for source, records in by_source.items() for refusal in _taken(yard, topics, source, records)]
    if refusals:
        raise Unavailable(f"{len(refusals)} records were not accepted: {refusals[0]}", remedy="Lambda tries again")
    return {"accepted": sum(map(len, by_source.values()))}


def records_by_source(event: Mapping[str, Any]) -> dict[str, list[Record]]:
    """The records of an event by their topic on Kafka, those of a partition in order. Raises ``InvalidInput``."""
    try:
        parsed = KafkaEvent.model_validate(event)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        expected, got = fault_of(first)
        raise InvalidInput(
            "this is no event of Kafka",
            field=place_of(first),
            expected=expected,
            got=got if first["type"] == "missing" else "something else",  # which may be what a customer wrote
            remedy="call this function by an event source mapping of Kafka alone",
        ) from error
    found: defaultdict[str, list[Record]] = defaultdict(list)
    for records in parsed.records.values():
        for each in records:
            found[each.topic].append(each.record())
    return dict(found)


def _taken(yard: Yard, topics: Mapping[str, Inward], source: str, records: list[Record]) -> list[str]:
    """Why records of a topic on Kafka were not accepted, each that was not."""
    if source not in topics:
        logger.error("records of a topic that is not bridged", extra={"topic": source})
        return [f"{source} is not bridged here"] * len(records)
    return [str(outcome) for outcome in accept_each(yard, topics[source], records) if outcome is not None]

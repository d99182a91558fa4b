"""Sending records to Kafka: a batch at a time, each with its own end.

The producer is idempotent and waits for all replicas. What is not acknowledged within ``DELIVERY_LIMIT_S`` counts as
not sent, though it may arrive after all: whoever sends it again sends it twice.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from chalicelib.core.errors import Reject, TaskyardError
from chalicelib.core.kafka_writing import Written
from chalicelib.logger import logger
from chalicelib.queue.kafka import ALWAYS, client, library, text_of

DELIVERY_LIMIT_S = 20  # from the produce to the acknowledgement, retries included
FLUSH_LIMIT_S = DELIVERY_LIMIT_S + 5  # librdkafka reports each record by then
# Errors that no retry mends, by librdkafka's names (src/rdkafka.h, rd_kafka_resp_err_t).
FINAL = frozenset({"MSG_SIZE_TOO_LARGE", "INVALID_MSG", "INVALID_MSG_SIZE", "INVALID_RECORD", "RECORD_LIST_TOO_LARGE"})
PRODUCING: Mapping[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "delivery.timeout.ms": DELIVERY_LIMIT_S * 1_000,
    "linger.ms": 5,
    "partitioner": "murmur2_random",  # a key is in the partition in which Java's clients put it
}


class NotSent(TaskyardError):
    """Kafka has not acknowledged a record; it may have it all the same."""


class RecordRefused(Reject):
    """Kafka does not take a record, and never will."""


class KafkaProducer:
    """A producer of this process, made at first use, and made anew once it cannot go on. Any thread may use it."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._properties = {**properties, **PRODUCING}
        self._producer: Any = None
        self._trouble: str | None = None  # since it last had Kafka's word
        self._lock = threading.Lock()

    def send(self, records: Sequence[Written]) -> list[NotSent | RecordRefused | None]:
        """Send records, in their order, and wait for Kafka's word on each; ``None``: it has it."""
        producer = self._opened()
        unreported = NotSent("Kafka did not acknowledge the record", expected=f"within {FLUSH_LIMIT_S} s")
        results: list[NotSent | RecordRefused | None] = [unreported] * len(records)
        errors: list[Any] = []

        def note(place: int, error: Any, _message: Any = None) -> None:
            results[place] = None if error is None else _failure(error)
            if error is not None:
                errors.append(error)
            else:
                self._trouble = None

        for place, record in enumerate(records):
            try:
                producer.produce(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    on_delivery=partial(note, place),
                )
            except BufferError:  # its queue is full of what earlier batches have left
                results[place] = NotSent("the producer's queue is full", remedy="look at what Kafka's brokers do")
            except library().KafkaException as error:
                note(place, error.args[0])
        producer.flush(FLUSH_LIMIT_S)
        if any(error.fatal() for error in errors):
            self._close(producer)
        return results

    def _opened(self) -> Any:
        with self._lock:
            if self._producer is None:
                self._producer = client("Producer", {**ALWAYS, **self._properties, "error_cb": self._note})
            return self._producer

    def _close(self, producer: Any) -> None:
        with self._lock:
            if self._producer is producer:
                self._producer = None

    def _note(self, error: Any) -> None:
        """What librdkafka says of the brokers, told once until they answer again."""
        if error.name() != self._trouble:
            logger.warning("Kafka's brokers trouble the producer", extra={"error": text_of(error)})
        self._trouble = error.name()


def _failure(error: Any) -> NotSent | RecordRefused:
    text = f"Kafka has not taken the record: {text_of(error)}"
    return RecordRefused(text) if error.name() in FINAL else NotSent(text)

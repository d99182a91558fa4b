"""Sending records to Kafka: a batch at a time, each with its own end.

The producer is idempotent and waits for all replicas. What is not acknowledged within ``DELIVERY_LIMIT_S``, or within
``DOWN_LIMIT_S`` by brokers that are all down, counts as not sent, though it may arrive after all: whoever sends it
again sends it twice. Once nothing of a batch was acknowledged, sends are refused at once until the brokers answer, so
that those who send are free for other work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from chalicelib.core.errors import Reject, TaskyardError
from chalicelib.core.kafka_writing import Written
from chalicelib.logger import logger
from chalicelib.queue.kafka import ALWAYS, client, library, text_of

DELIVERY_LIMIT_S = 20  # from the produce to the acknowledgement, retries included
FLUSH_LIMIT_S = DELIVERY_LIMIT_S + 5  # librdkafka reports each record by then
DOWN_LIMIT_S = 4  # how long a send waits for brokers that librdkafka says are all down; then it asks them once more
ALL_DOWN = "_ALL_BROKERS_DOWN"
DROPPED = frozenset({"_PURGE_QUEUE", "_PURGE_INFLIGHT"})
ASK_PAUSE_S = 10.0  # from a time-out, and from each question whether brokers are there again
ASK_LIMIT_S = 2.0  # what a question may take of the one send that asks it
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
    """A producer of this process, made at first use, and made anew once it cannot go on. Any thread may use it.

    ``clock`` tells monotonic seconds.
    """

    def __init__(self, properties: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._properties = {**properties, **PRODUCING}
        self._clock = clock
        self._ask_at_s: float | None = None  # when it is asked again whether brokers are there; None: they are
        self._producer: Any = None
        self._trouble: str | None = None  # since it last had Kafka's word
        self._all_down = False  # likewise: librdkafka has said that all brokers are
        self._lock = threading.Lock()

    def send(self, records: Sequence[Written]) -> list[NotSent | RecordRefused | None]:
        """Send records, in their order, and wait for Kafka's word on each; ``None``: it has it.

        Waits up to ``FLUSH_LIMIT_S``, for brokers that are all down ``DOWN_LIMIT_S`` and ``ASK_LIMIT_S``; while the
        brokers are known to be away not at all, or up to ``ASK_LIMIT_S``.
        """
        producer = self._opened()
        if records and not self._reachable(producer, records[0].topic):
            away = NotSent("Kafka's brokers do not answer", remedy=f"it is asked again every {ASK_PAUSE_S:.0f} s")
            return [away] * len(records)
        unreported = NotSent("Kafka did not acknowledge the record", expected=f"within {FLUSH_LIMIT_S} s")
        results: list[NotSent | RecordRefused | None] = [unreported] * len(records)
        errors: list[Any] = []

        def note(place: int, error: Any, _message: Any = None) -> None:
            results[place] = None if error is None else _failure(error)
            if error is not None:
                errors.append(error)
            else:
                self._trouble, self._all_down = None, False

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
        if not self._flushed(producer) or any(error.fatal() for error in errors):
            self._close(producer)
        self._conclude(results)
        return results

    def _reachable(self, producer: Any, topic: str) -> bool:
        """Whether brokers are there, as far as is known; now and then one send asks them."""
        with self._lock:
            if self._ask_at_s is None:
                return True
            if self._clock() < self._ask_at_s:
                return False
            self._ask_at_s = self._clock() + ASK_PAUSE_S  # others are refused meanwhile
        return self._answers(producer, topic)

    def _answers(self, producer: Any, topic: str | None = None) -> bool:
        try:
            producer.list_topics(topic, timeout=ASK_LIMIT_S)
        except library().KafkaException:
            return False
        self._all_down = False
        return True

    def _flushed(self, producer: Any) -> bool:
        """Wait for the word on each record. False: all brokers are down, and what has had no word is dropped.

        The producer is of no use then: the numbers of what it has dropped are missing in its sequence.
        """
        for waited_s in range(FLUSH_LIMIT_S):
            if not producer.flush(1):
                return True
            if waited_s + 1 >= DOWN_LIMIT_S and self._all_down and not self._answers(producer):
                producer.purge()
                producer.flush(1)
                return False
        return True

    def _conclude(self, results: Sequence[NotSent | RecordRefused | None]) -> None:
        """What a batch says of the brokers: they are there if one record was acknowledged, else perhaps not."""
        with self._lock:
            was_away = self._ask_at_s is not None
            if any(each is None for each in results):
                self._ask_at_s = None
            elif any(isinstance(each, NotSent) for each in results):
                self._ask_at_s = self._clock() + ASK_PAUSE_S
            is_away = self._ask_at_s is not None
        if is_away and not was_away:
            logger.warning("Kafka acknowledges nothing; sends are refused until it answers")
        elif was_away and not is_away:
            logger.info("Kafka acknowledges again")

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
        self._all_down |= error.name() == ALL_DOWN


def _failure(error: Any) -> NotSent | RecordRefused:
    if error.name() in DROPPED:
        return NotSent("Kafka's brokers are all down", remedy=f"they are asked again every {ASK_PAUSE_S:.0f} s")
    text = f"Kafka has not taken the record: {text_of(error)}"
    return RecordRefused(text) if error.name() in FINAL else NotSent(text)

"""Sending records to Kafka: a batch at a time, each with its own end.

The producer is idempotent and waits for all replicas. What is not acknowledged within ``DELIVERY_LIMIT_S``, or before
brokers have acknowledged nothing at all for ``SILENCE_LIMIT_S``, counts as not sent, though it may arrive after all:
whoever sends it again sends it twice. Once nothing of a batch was acknowledged, sends are refused at once, but for one
now and then that tries, so that those who send are free for other work.
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
SILENCE_LIMIT_S = 6  # brokers that are down, that hang, or whose replicas are not in sync
DROPPED = frozenset({"_PURGE_QUEUE", "_PURGE_INFLIGHT"})
ASK_PAUSE_S = 10.0  # from a time-out, and from each question whether brokers are there again
ASK_LIMIT_S = 2.0  # what a question may take of the one send that asks it
LONGEST_PAUSE_S = 60.0  # while brokers answer questions and acknowledge nothing: each try doubles the pause
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
        self._ask_at_s: float | None = None  # when one send tries again; None: Kafka acknowledges, as far as is known
        self._producer: Any = None
        self._trouble: str | None = None  # since it last had Kafka's word
        self._acknowledged = 0  # records, so far
        self._pause_s = ASK_PAUSE_S
        self._lock = threading.Lock()

    def send(self, records: Sequence[Written]) -> list[NotSent | RecordRefused | None]:
        """Send records, in their order, and wait for Kafka's word on each; ``None``: it has it.

        Waits up to ``FLUSH_LIMIT_S`` as long as records are acknowledged, else a second more than ``SILENCE_LIMIT_S``.
        While the brokers are known to acknowledge nothing not at all; one that tries, up to ``ASK_LIMIT_S`` for an
        answer before.
        """
        producer = self._opened()
        if records and not self._reachable(producer, records[0].topic):
            away = NotSent("Kafka acknowledges nothing", remedy="one send now and then tries whether it does again")
            return [away] * len(records)
        unreported = NotSent("Kafka did not acknowledge the record", expected=f"within {FLUSH_LIMIT_S} s")
        results: list[NotSent | RecordRefused | None] = [unreported] * len(records)
        errors: list[Any] = []

        def note(place: int, error: Any, _message: Any = None) -> None:
            results[place] = None if error is None else _failure(error)
            if error is not None:
                errors.append(error)
            else:
                self._trouble = None
                self._acknowledged += 1

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
        try:
            producer.list_topics(topic, timeout=ASK_LIMIT_S)
        except library().KafkaException:
            return False
        return True

    def _flushed(self, producer: Any) -> bool:
        """Wait for the word on each record. False: the brokers are silent, and what has had no word is dropped.

        The producer is of no use then: the numbers of what it has dropped are missing in its sequence.
        """
        silent_s = 0
        for _ in range(FLUSH_LIMIT_S):
            before = self._acknowledged
            if not producer.flush(1):
                return True
            silent_s = silent_s + 1 if self._acknowledged == before else 0
            if silent_s >= SILENCE_LIMIT_S:
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
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if was_away else ASK_PAUSE_S
                self._ask_at_s = self._clock() + self._pause_s
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


def _failure(error: Any) -> NotSent | RecordRefused:
    if error.name() in DROPPED:
        return NotSent(f"Kafka has acknowledged nothing for {SILENCE_LIMIT_S} s")
    text = f"Kafka has not taken the record: {text_of(error)}"
    return RecordRefused(text) if error.name() in FINAL else NotSent(text)

"""Kafka for tests: librdkafka's mock cluster, in this process, with its faults.

What it does not do (transactions, producer de-duplication, retention by time, ACLs) no test here relies on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition

LIMIT_S = 120.0  # only what fails waits so long
PRODUCER = 0  # RD_KAFKA_PRODUCER, rdkafka.h
HEARTBEAT_MS = 250
PRODUCE = 0  # RD_KAFKAP_Produce, rdkafka_protocol.h
NOT_ENOUGH_REPLICAS = 19  # RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, rdkafka.h
ERRORS_MAX = 10_000  # more than are asked for while a test runs
NONE_COMMITTED = -1001  # RD_KAFKA_OFFSET_INVALID, rdkafka.h
QUIET = {"log_level": 2, "enable.auto.commit": False}
_names = count(1)


def library() -> Any:
    """The librdkafka that the wheel brings, with its mock cluster's functions."""
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    (file,) = folder.glob("librdkafka*")
    found = ctypes.CDLL(str(file))
    for name, answer, *takes in (
        ("rd_kafka_conf_new", ctypes.c_void_p),
        ("rd_kafka_new", ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t),
        ("rd_kafka_destroy", None, ctypes.c_void_p),
        ("rd_kafka_mock_cluster_new", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
        ("rd_kafka_mock_cluster_destroy", None, ctypes.c_void_p),
        ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, ctypes.c_void_p),
        ("rd_kafka_mock_topic_create", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int),
        ("rd_kafka_mock_broker_set_down", ctypes.c_int, ctypes.c_void_p, ctypes.c_int32),
        ("rd_kafka_mock_broker_set_up", ctypes.c_int, ctypes.c_void_p, ctypes.c_int32),
        ("rd_kafka_mock_broker_set_rtt", ctypes.c_int, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int),
        (
            "rd_kafka_mock_push_request_errors_array",
            None,
            ctypes.c_void_p,
            ctypes.c_int16,
            ctypes.c_size_t,
            ctypes.POINTER(ctypes.c_int),
        ),
        ("rd_kafka_mock_clear_request_errors", None, ctypes.c_void_p, ctypes.c_int16),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, ctypes.c_void_p, ctypes.c_int32),
        ("rd_kafka_mock_set_group_consumer_session_timeout_ms", None, ctypes.c_void_p, ctypes.c_int),
        ("rd_kafka_mock_set_group_consumer_heartbeat_interval_ms", None, ctypes.c_void_p, ctypes.c_int),
    ):
        function = getattr(found, name)
        function.restype, function.argtypes = answer, takes
    return found


@dataclass(slots=True)
class Kafka:
    """A running cluster of one broker."""

    lib: Any
    cluster: Any
    bootstrap: str
    _producer: Any = field(default=None)

    def topic(self, partitions: int = 4, name: str | None = None) -> str:
        """A new, empty topic."""
        name = name or f"records-{next(_names)}"
        assert self.lib.rd_kafka_mock_topic_create(self.cluster, name.encode(), partitions, 1) == 0
        return name

    def write(
        self,
        topic: str,
        values: Sequence[bytes | None],
        *,
        partition: int | None = None,
        key: str | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        """Put records into a topic, in their order."""
        self._producer = self._producer or Producer(
            {"bootstrap.servers": self.bootstrap, "linger.ms": 1, "log_level": 2}
        )
        where = {} if partition is None else {"partition": partition}
        for value in values:
            self._producer.produce(topic, value=value, key=key, headers=list(headers), **where)
        assert self._producer.flush(LIMIT_S) == 0

    def read(self, topic: str, partitions: int = 4) -> list[Any]:
        """Everything that a topic holds, partition after partition."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "reader", **QUIET})
        try:
            found = []
            for number in range(partitions):
                low, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=LIMIT_S)
                consumer.assign([TopicPartition(topic, number, low)])
                missing = end - low
                while missing:
                    messages = [each for each in consumer.consume(missing, LIMIT_S) if each.error() is None]
                    found += messages
                    missing -= len(messages)
            return found
        finally:
            consumer.close()

    def marks(self, topic: str, partitions: int = 4) -> list[tuple[int, int]]:
        """The oldest offset that each partition of a topic still has, and the next one."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "reader", **QUIET})
        try:
            places = [TopicPartition(topic, number) for number in range(partitions)]
            return [consumer.get_watermark_offsets(each, timeout=LIMIT_S) for each in places]
        finally:
            consumer.close()

    def committed(self, group: str, topic: str, partitions: int = 4) -> list[int | None]:
        """The offsets that a group has committed."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, **QUIET})
        try:
            asked = [TopicPartition(topic, number) for number in range(partitions)]
            found = consumer.committed(asked, timeout=LIMIT_S)
            return [None if each.offset == NONE_COMMITTED else each.offset for each in found]
        finally:
            consumer.close()

    def down(self) -> None:
        """The broker is gone, with all connections."""
        assert self.lib.rd_kafka_mock_broker_set_down(self.cluster, 1) == 0

    def up(self) -> None:
        """The broker is back, with what it had."""
        assert self.lib.rd_kafka_mock_broker_set_up(self.cluster, 1) == 0

    def answer_after(self, delay_ms: int) -> None:
        """The broker answers so late from now on."""
        assert self.lib.rd_kafka_mock_broker_set_rtt(self.cluster, 1, delay_ms) == 0

    def acknowledge_nothing(self) -> None:
        """The broker answers, and takes no record: too few replicas are in sync."""
        errors = [NOT_ENOUGH_REPLICAS] * ERRORS_MAX
        self.lib.rd_kafka_mock_push_request_errors_array(
            self.cluster, PRODUCE, len(errors), (ctypes.c_int * len(errors))(*errors)
        )

    def acknowledge_again(self) -> None:
        """The broker takes records."""
        self.lib.rd_kafka_mock_clear_request_errors(self.cluster, PRODUCE)

    def forget_members_after(self, session_ms: int) -> None:
        """How soon a group notices that a member is gone without a word; of one that joins or leaves, at once."""
        self.lib.rd_kafka_mock_set_group_consumer_session_timeout_ms(self.cluster, session_ms)
        self.lib.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(self.cluster, HEARTBEAT_MS)


@contextmanager
def kafka(session_ms: int = 20_000) -> Iterator[Kafka]:
    """A cluster of one broker, gone in the end."""
    lib = library()
    why = ctypes.create_string_buffer(256)
    handle = lib.rd_kafka_new(PRODUCER, lib.rd_kafka_conf_new(), why, len(why))
    assert handle, why.value
    cluster = lib.rd_kafka_mock_cluster_new(handle, 1)
    running = Kafka(lib, cluster, lib.rd_kafka_mock_cluster_bootstraps(cluster).decode())
    running.forget_members_after(session_ms)
    lib.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    try:
        yield running
    finally:
        lib.rd_kafka_mock_cluster_destroy(cluster)
        lib.rd_kafka_destroy(handle)

"""Records a second and CPU a record, through the bridge in and out, beside confluent-kafka alone.

    python -m tests.benchmarks.kafka                   100,000 records
    python -m tests.benchmarks.kafka --records 5000

On Linux. One run against one mock cluster of librdkafka: a bare consumer and a bare producer, then `taskyard up` with
its embedded emulator. **In** is from when the records are on Kafka until all offsets are committed, **out** from the
first publish until Kafka has all. CPU is that of all processes of `taskyard up`, and of each of its roles.
Prints figures; asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, Producer

from chalicelib import settings
from chalicelib.services import messages
from tests.benchmarks.aws_calls import out
from tests.benchmarks.head_to_head.family import Family
from tests.support.kafka import LIMIT_S, QUIET, Kafka, kafka
from tests.support.up import Service, running
from tests.support.yards import CREDENTIALS

PARTITIONS = 32  # of which the mock keeps 5 MB each
BATCH = 500
VALUE = {"order": 4711, "text": "x" * 150}
GROUP = "bridge"
LOOK_PAUSE_S = 0.2


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with kafka() as cluster, tempfile.TemporaryDirectory() as folder:
        source, target, bare = (cluster.topic(PARTITIONS) for _ in range(3))
        _write(cluster, bare, given.records)
        _print("bare consumer", given.records, *_alone(lambda: _consume(cluster, bare, given.records)))
        _print("bare producer", given.records, *_alone(lambda: _produce(cluster, bare, given.records)))
        topics = [
            {"topic": "in", "direction": "in", "kafka": source, "group": GROUP, "maxPending": 1_000_000},
            {"topic": "out", "direction": "out", "kafka": target, "batchSize": 100},
        ]
        environment = {"TASKYARD_KAFKA_TOPICS": json.dumps(topics), "TASKYARD_HANDLERS": "chalicelib.tasks"}
        options = ("--kafka", cluster.bootstrap, "--workers", str(given.workers))
        with running(Path(folder), *options, **environment) as service:
            _in(cluster, service, source, given.records)
            _out(cluster, service, target, given.records)


def _in(cluster: Kafka, service: Service, source: str, records: int) -> None:
    def arrive() -> None:
        _write(cluster, source, records)
        _until(lambda: sum(offset or 0 for offset in cluster.committed(GROUP, source, PARTITIONS)) >= records)

    _report("in", service, records, arrive)


def _out(cluster: Kafka, service: Service, target: str, records: int) -> None:
    os.environ.update({**CREDENTIALS, "AWS_ENDPOINT_URL": service.endpoint_url, "TASKYARD_INDEX_SHARDS": "1"})
    settings.current.cache_clear()

    def arrive() -> None:
        for start in range(0, records, BATCH):
            messages.publish_many([messages.NewMessage(topic="out", payload=VALUE)] * min(BATCH, records - start))
        _until(lambda: sum(end for _, end in cluster.marks(target, PARTITIONS)) >= records)

    _report("out", service, records, arrive)


def _report(direction: str, service: Service, records: int, arrive: Callable[[], None]) -> None:
    family = Family(service.process, "up", service.log)
    family.await_quiet()
    roles, began_s = family.roles(), time.monotonic()
    before_s = family.cpu_s(roles)
    arrive()
    elapsed_s, after_s = time.monotonic() - began_s, family.cpu_s(roles)
    _print(f"{direction}, all of up", records, elapsed_s, sum(after_s.values()) - sum(before_s.values()))
    for role in sorted(after_s):
        _print(f"{direction}, its {role}", records, elapsed_s, after_s[role] - before_s[role])


def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(LOOK_PAUSE_S)


def _write(cluster: Kafka, topic: str, records: int) -> None:
    """Spread evenly: the mock forgets what a partition holds above 5 MB."""
    for number in range(PARTITIONS):
        share = records // PARTITIONS + (number < records % PARTITIONS)
        cluster.write(topic, [json.dumps(VALUE).encode()] * share, partition=number)


def _consume(cluster: Kafka, topic: str, records: int) -> None:
    """What the bridge does, without a ledger: batches, each committed."""
    known = {"bootstrap.servers": cluster.bootstrap, "group.id": "bare", "group.protocol": "consumer", **QUIET}
    consumer = Consumer({**known, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found = 0
    while found < records:
        batch = [each for each in consumer.consume(BATCH, 0.25) if each.error() is None]
        for each in batch:
            json.loads(each.value())
        found += len(batch)
        if batch:
            consumer.commit(message=batch[-1], asynchronous=True)
    consumer.close()


def _produce(cluster: Kafka, topic: str, records: int) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "log_level": 2})
    for number in range(records):
        producer.produce(topic, json.dumps(VALUE).encode())
        if number % BATCH == 0:
            producer.flush(LIMIT_S)
    producer.flush(LIMIT_S)


def _alone(do: Callable[[], None]) -> tuple[float, float]:
    """Seconds that it takes in a process of its own, and that process's CPU seconds."""
    began_s = time.monotonic()
    child = os.fork()
    if child == 0:
        do()
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    assert status == 0
    return time.monotonic() - began_s, used.ru_utime + used.ru_stime


def _print(name: str, records: int, elapsed_s: float, cpu_s: float) -> None:
    out(f"{name:22}{records:>9,} records{records / elapsed_s:>11,.0f}/s{1_000 * cpu_s / records:>9.3f} ms CPU a record")


if __name__ == "__main__":
    main()

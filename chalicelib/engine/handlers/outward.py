"""The built-in subscriber of a topic that goes to Kafka.

Its messages are those of any topic, so they have attempts, a backoff, dead letters and traces, and what was accepted
reaches Kafka at least once: a worker that dies between Kafka's word and its own leaves the message to the next one,
which sends it again. Kafka may have a record twice in any case, so no claim guards a send: without an order the
subscriber is light (see ``engine.worker.light``), and a batch costs the ledger a few requests, not two a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from chalicelib import settings
from chalicelib.core.batch import UNGATHERED_MAX, Batch
from chalicelib.core.errors import InvalidInput, Reject
from chalicelib.core.flow import Flow
from chalicelib.core.job import ATTEMPTS_MAX
from chalicelib.core.kafka import Outward
from chalicelib.core.kafka_writing import Written, written
from chalicelib.core.lanes import Band
from chalicelib.core.retry import Exponential
from chalicelib.engine.handlers.declare import Handler
from chalicelib.queue.kafka import properties
from chalicelib.queue.kafka_producer import FLUSH_LIMIT_S, KafkaProducer

TIMEOUT_MS = (FLUSH_LIMIT_S + 15) * 1_000  # the first send of a process meets the brokers, too
BACKOFF = Exponential(1_000, 300_000)  # 100 attempts outlast brokers that are gone for seven hours


def subscriber(bridged: Outward, bands: tuple[Band, ...], batch: Batch | None) -> Handler:
    """What sends the messages of a topic to Kafka: in batches, or one by one if ``batch`` is ``None``."""

    def to_kafka(_: Any, contexts: Any) -> list[Exception | None]:
        return send(bridged, contexts)

    def one_to_kafka(_: Any, context: Any) -> None:
        (failure,) = send(bridged, [context])
        if failure is not None:
            raise failure

    function = one_to_kafka if batch is None else to_kafka
    function.__qualname__ = "to_kafka"  # the same subscriber, however its topic is read
    return Handler(
        name=bridged.topic,
        queue=bridged.topic,
        bands=bands,
        function=function,
        timeout_ms=TIMEOUT_MS,
        max_attempts=ATTEMPTS_MAX,
        backoff=BACKOFF,
        input_model=None,
        wants_context=True,
        light=bridged.order is None,
        flow=Flow(order=bridged.order),
        batch=batch,
    )


def batch_of(bridged: Outward) -> Batch | None:
    """What a topic gathers of which nothing else says it: nothing where its messages run one after the other."""
    if bridged.order is not None:
        return None
    return Batch(bridged.batch_size, 0 if bridged.batch_size <= UNGATHERED_MAX else 1)


def send(bridged: Outward, contexts: Sequence[Any]) -> list[Exception | None]:
    """Send the messages of some runs to Kafka; returns what went wrong with each, or ``None``."""
    records = [_written(bridged, context) for context in contexts]
    sent = iter(producer().send([each for each in records if isinstance(each, Written)]))
    return [next(sent) if isinstance(each, Written) else each for each in records]


@cache
def producer() -> KafkaProducer:
    """The producer of this process."""
    return KafkaProducer(properties(settings.current().kafka))


def _written(bridged: Outward, context: Any) -> Written | Reject:
    job = context.job
    about = {
        "id": str(job.id),
        "uid": job.uid,
        "traceId": job.trace_id,
        "flowKey": job.flow_key,
        "tenant": job.tenant,
    }
    try:
        return written(bridged, context.body, about, context.attempt)
    except InvalidInput as error:
        return Reject(str(error))

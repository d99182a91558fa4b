"""Reading records as a member of a consumer group.

Nothing is committed but what is said to be done, so what a member had under way when it died is delivered again. The
callbacks of a rebalance run within ``poll`` alone, where nothing is under way; commits on their way are awaited by
librdkafka before a partition is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chalicelib.core.errors import Unavailable
from chalicelib.core.kafka import Record
from chalicelib.logger import logger
from chalicelib.queue.kafka import client, library, text_of

Partition = tuple[str, int]
"""A topic on Kafka, and the number of a partition of it."""

POLL_INTERVAL_MS = 600_000  # a batch that takes longer loses its partitions, and is delivered to another member
READING: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "max.poll.interval.ms": POLL_INTERVAL_MS,
    "queued.max.messages.kbytes": 16_384,  # of a partition, fetched ahead
    "queued.min.messages": 2_000,
}
CLASSIC: Mapping[str, Any] = {"group.protocol": "classic", "partition.assignment.strategy": "cooperative-sticky"}
KIP_848: Mapping[str, Any] = {"group.protocol": "consumer"}


@dataclass(slots=True)
class Trouble:
    """The newest thing that went wrong, until something goes well; and whether nothing ever will."""

    text: str | None = None
    is_final: bool = False


@dataclass(slots=True)
class KafkaGroup:
    """One member of a group. One thread uses it; ``close`` it in the end.

    ``on_revoke`` is called within ``poll`` and ``close`` with the partitions that were taken away.
    """

    properties: Mapping[str, Any]
    group: str
    topics: Sequence[str]
    from_start: bool = True
    classic: bool = False
    assigned: set[Partition] = field(default_factory=set)
    paused: set[Partition] = field(default_factory=set)
    done: dict[Partition, int] = field(default_factory=dict)  # the next offset of each; committed, or to be
    trouble: Trouble = field(default_factory=Trouble)
    commits: int = 0  # of a partition, which Kafka has acknowledged
    on_revoke: Callable[[set[Partition]], None] = lambda _: None
    _uncommitted: set[Partition] = field(default_factory=set)
    _consumer: Any = None

    def open(self) -> None:
        """Join the group. Raises ``NoLibrary`` and ``InvalidInput``."""
        self._consumer = client(
            "Consumer",
            {
                **self.properties,
                **READING,
                **(CLASSIC if self.classic else KIP_848),
                "group.id": self.group,
                "auto.offset.reset": "earliest" if self.from_start else "latest",
                "error_cb": self._failed,
                "on_commit": self._committed,
            },
        )
        self._consumer.subscribe(
            list(self.topics), on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke
        )

    def poll(self, most: int, wait_s: float) -> list[Record]:
        """Up to ``most`` records (1 to 10,000), those of a partition in its order; waits ``wait_s`` for the last.

        Raises ``Unavailable`` once this member cannot go on.
        """
        messages = self._consumer.consume(most, wait_s)
        for message in messages:
            if (error := message.error()) is not None:
                self._failed(error)
        if self.trouble.is_final:
            raise Unavailable(
                f"this member of the group {self.group} cannot go on: {self.trouble.text}",
                remedy='where the brokers do not know the protocol of KIP-848, say "protocol": "classic"',
            )
        records = [_record(message) for message in messages if message.error() is None]
        if records:
            self.trouble.text = None
        return records

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """All before these offsets is done. It is told to Kafka without waiting for its word."""
        self.done |= {each: offset for each, offset in next_offsets.items() if each in self.assigned}
        self._uncommitted |= next_offsets.keys()
        self.commit_again()

    def commit_again(self) -> None:
        """Tell Kafka what it has not acknowledged yet, of the partitions that are this member's still."""
        self._uncommitted &= self.assigned
        if self._uncommitted:
            self._consumer.commit(offsets=[_at(each, self.done[each]) for each in self._uncommitted], asynchronous=True)

    def go_back(self, partition: Partition, offset: int) -> None:
        """Read a partition again from an offset on, unless it was taken away meanwhile.

        Raises ``Unavailable`` where that cannot be: reading on would pass over what was not accepted.
        """
        if partition not in self.assigned:
            return
        try:
            self._consumer.seek(_at(partition, offset))
        except library().KafkaException as error:
            raise Unavailable(f"{partition} cannot be read again from {offset} on: {text_of(error.args[0])}") from error

    def pause(self, wanted: Iterable[Partition]) -> None:
        """Read those partitions no further, and all others."""
        chosen = self.assigned & set(wanted)
        stopping, going_on = chosen - self.paused, (self.paused & self.assigned) - chosen
        if stopping:
            self._consumer.pause([_at(each) for each in stopping])
        if going_on:
            self._consumer.resume([_at(each) for each in going_on])
        self.paused = chosen

    def missing(self, limit_s: float) -> frozenset[str] | None:
        """Those of its topics that Kafka does not have; ``None``: it did not answer within ``limit_s``."""
        try:
            known = self._consumer.list_topics(timeout=limit_s).topics
        except library().KafkaException:
            return None
        return frozenset(each for each in self.topics if each not in known)

    def close(self) -> None:
        """Leave the group, once what was done is committed, or cannot be."""
        self.commit_again()
        self._consumer.close()

    # -- what Kafka reports, within poll and close ------------------------------------------------------

    def _assign(self, _consumer: Any, partitions: Sequence[Any]) -> None:
        self.assigned |= {(each.topic, each.partition) for each in partitions}
        self.trouble.text = None

    def _revoke(self, _consumer: Any, partitions: Sequence[Any]) -> None:
        gone = {(each.topic, each.partition) for each in partitions}
        self.assigned -= gone
        self.paused -= gone
        self._uncommitted -= gone
        self.on_revoke(gone)
        self.done = {each: offset for each, offset in self.done.items() if each not in gone}

    def _committed(self, error: Any, partitions: Sequence[Any]) -> None:
        for each in partitions:
            place = (each.topic, each.partition)
            failure = error or each.error
            if failure is not None:
                self._failed(failure)
            elif self.done.get(place) == each.offset:
                self._uncommitted.discard(place)
                self.commits += 1
                self.trouble.text = None

    def _failed(self, error: Any) -> None:
        text = text_of(error)
        if text != self.trouble.text:
            logger.warning("Kafka troubles the group", extra={"group": self.group, "error": text})
        self.trouble.text = text
        self.trouble.is_final |= error.fatal()


class Offsets(NamedTuple):
    """How far a group is in a partition (``None``: nothing is committed), which holds ``low`` to ``end``."""

    committed: int | None
    low: int
    end: int

    def lag(self, from_start: bool) -> int | None:
        """How many records are to come; ``None``: nobody knows where the group begins."""
        begun = self.committed if self.committed is not None else self.low if from_start else None
        return None if begun is None else max(0, self.end - begun)


def offsets_of(
    properties: Mapping[str, Any], group: str, topics: Sequence[str], limit_s: float
) -> dict[Partition, Offsets]:
    """How far a group is in each partition of those of some topics that there are.

    Joins nothing. Raises ``Unavailable`` where Kafka does not answer within ``limit_s`` a call.
    """
    consumer = client("Consumer", {**properties, "group.id": group, "enable.auto.commit": False})
    try:
        return _offsets(consumer, topics, limit_s)
    except library().KafkaException as error:
        raise Unavailable(
            f"Kafka does not answer: {text_of(error.args[0])}", remedy="look at its brokers, and at TASKYARD_KAFKA"
        ) from error
    finally:
        consumer.close()


def _offsets(consumer: Any, topics: Sequence[str], limit_s: float) -> dict[Partition, Offsets]:
    known = consumer.list_topics(timeout=limit_s).topics
    places = [(topic, number) for topic in topics if topic in known for number in known[topic].partitions]
    committed = consumer.committed([_at(each) for each in places], timeout=limit_s) if places else []
    offsets = {(each.topic, each.partition): each.offset for each in committed}
    return {
        place: Offsets(
            offsets[place] if offsets[place] >= 0 else None,
            *consumer.get_watermark_offsets(_at(place), timeout=limit_s),
        )
        for place in sorted(places)
    }


def _at(partition: Partition, offset: int | None = None) -> Any:
    kind = library().TopicPartition
    return kind(*partition) if offset is None else kind(*partition, offset)


def _record(message: Any) -> Record:
    kind, timestamp_ms = message.timestamp()
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        timestamp_ms if kind else -1,
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
    )

"""How the bridge to Kafka stands: how far each partition is behind, and what waits to be sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.core.kafka import Inward, Standing
from chalicelib.engine.handlers.bridged import bridged
from chalicelib.engine.projections.depth import depth_of
from chalicelib.engine.yard import Yard
from chalicelib.queue.kafka import properties
from chalicelib.queue.kafka_group import offsets_of
from chalicelib.store.kafka_members import KafkaMembers

LIMIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InwardStatus:
    """A partition that comes in. ``committed`` is ``None`` for a group without an offset there.

    ``member`` is the process that reads it, as far as one has reported within two minutes; ``paused`` and ``error``
    are what it said.
    """

    topic: str
    kafka: str
    group: str
    partition: int
    committed: int | None
    end: int
    member: str | None
    paused: str | None
    error: str | None

    @property
    def lag(self) -> int | None:
        """How many records are still to come; ``None``: that depends on where its group begins."""
        return None if self.committed is None else max(0, self.end - self.committed)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutwardStatus:
    """A topic that goes out: how many messages wait to be sent, those between two attempts included."""

    topic: str
    kafka: str
    waiting: int
    exact: bool  # above 10,000 the counters tell, which are a moment behind


def inward_status(yard: Yard) -> Iterator[InwardStatus]:
    """Each partition of each topic that comes in. Raises ``Unavailable`` where Kafka does not answer."""
    reported = {
        (standing.topic, standing.partition): (member.name, standing)
        for member in KafkaMembers(yard.directory.table).all(yard.now_ms())
        for standing in member.partitions
    }
    for topic in bridged(yard.settings).inward:
        found = offsets_of(properties(yard.settings.kafka), topic.group, [topic.source], LIMIT_S)
        for place, (committed, end) in found.items():
            yield _status(topic, place[1], committed, end, reported.get(place))


def outward_status(yard: Yard) -> Iterator[OutwardStatus]:
    """Each topic that goes out."""
    for topic in bridged(yard.settings).outward:
        depth = depth_of(yard, topic.topic)
        yield OutwardStatus(topic=topic.topic, kafka=topic.target, waiting=depth.depth, exact=depth.is_exact)


def _status(
    topic: Inward, partition: int, committed: int | None, end: int, reported: tuple[str, Standing] | None
) -> InwardStatus:
    member, standing = reported if reported is not None else (None, Standing(topic.source, partition))
    return InwardStatus(
        topic=topic.topic,
        kafka=topic.source,
        group=topic.group,
        partition=partition,
        committed=committed,
        end=end,
        member=None if member is None else member.rpartition("/")[0],
        paused=standing.paused,
        error=standing.error,
    )

"""How the bridge to Kafka stands: how far each partition is behind, and what waits to be sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core.errors import NotFound, Unavailable
from chalicelib.core.job import Job
from chalicelib.core.kafka import Inward, Standing
from chalicelib.core.kafka_reading import METADATA, shown_bytes
from chalicelib.engine.handlers.bridged import bridged
from chalicelib.engine.kafka_members import read_by
from chalicelib.engine.projections.depth import depth_of
from chalicelib.engine.publish.records import is_unreadable
from chalicelib.engine.yard import Yard
from chalicelib.queue.kafka import properties
from chalicelib.queue.kafka_group import Partition, offsets_of
from chalicelib.store.kafka_members import KafkaMembers

LIMIT_S = 10.0
NO_TOPIC = "there is no such topic on Kafka"


@dataclass(frozen=True, slots=True, kw_only=True)
class InwardStatus:
    """A partition that comes in. ``committed`` is ``None`` for a group without an offset there.

    ``partition`` is ``None`` where Kafka has no such topic, ``end`` and ``lag`` where nobody knows; ``lag``: how many
    records are still to come, counts from the oldest one where a group without an offset begins there.
    ``member`` is the process that reads it, as far as one has reported within two minutes; ``paused`` and ``error``
    are what it said.
    """

    topic: str
    kafka: str
    group: str
    partition: int | None = None
    committed: int | None = None
    end: int | None = None
    lag: int | None = None
    member: str | None = None
    paused: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutwardStatus:
    """A topic that goes out: how many messages wait to be sent, those between two attempts included."""

    topic: str
    kafka: str
    waiting: int
    exact: bool  # above 10,000 the counters tell, which are a moment behind


def record_of(yard: Yard, job_id: int, most_bytes: int) -> dict[str, Any]:
    """The record of Kafka that a dead letter could not be made of: see ``core.kafka_reading.shown_bytes``.

    Raises ``NotFound``.
    """
    job = yard.jobs.find(job_id)
    if not isinstance(job, Job) or not is_unreadable(job):
        raise NotFound("this is no dead letter of a record that could not be read", field="id", got=job_id)
    return shown_bytes(yard.payloads.body(job)["options"][METADATA], most_bytes)


def inward_status(yard: Yard) -> tuple[list[InwardStatus], Unavailable | None]:
    """Each partition of each topic that comes in; where Kafka does not answer why, and what members have reported."""
    members = KafkaMembers(yard.directory.table).all(yard.now_ms())
    reported = {place: (member.process, standing) for place, (member, standing) in read_by(members).items()}
    rows: list[InwardStatus] = []
    trouble: Unavailable | None = None
    for topic in bridged(yard.settings).inward:
        if trouble is None:
            try:
                rows += _asked(yard, topic, reported)
                continue
            except Unavailable as error:
                trouble = error
        rows += [_known(topic, *said) for place, said in sorted(reported.items()) if place[0] == topic.source]
    return rows, trouble


def outward_status(yard: Yard) -> Iterator[OutwardStatus]:
    """Each topic that goes out."""
    for topic in bridged(yard.settings).outward:
        depth = depth_of(yard, topic.topic)
        yield OutwardStatus(topic=topic.topic, kafka=topic.target, waiting=depth.depth, exact=depth.is_exact)


def _asked(yard: Yard, topic: Inward, reported: Mapping[Partition, tuple[str, Standing]]) -> list[InwardStatus]:
    found = offsets_of(properties(yard.settings.kafka), topic.group, [topic.source], LIMIT_S)
    if not found:
        return [InwardStatus(topic=topic.topic, kafka=topic.source, group=topic.group, error=NO_TOPIC)]
    return [
        replace(
            _known(topic, *reported.get(place, (None, Standing(*place)))),
            committed=offsets.committed,
            end=offsets.end,
            lag=offsets.lag(topic.from_start),
        )
        for place, offsets in found.items()
    ]


def _known(topic: Inward, member: str | None, standing: Standing) -> InwardStatus:
    return InwardStatus(
        topic=topic.topic,
        kafka=topic.source,
        group=topic.group,
        partition=standing.partition,
        committed=standing.offset,
        member=member,
        paused=standing.paused,
        error=standing.error,
    )

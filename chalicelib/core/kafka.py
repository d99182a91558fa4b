"""Kafka's records, and the topics that are bridged to it: what stands where in a record, and in a message.

A *place* names a part of a record: ``key``, ``value``, a path into the value, steps parted by dots
(``value.order.id``), or ``headers.<name>``, the last header of that name. In a message, it is a path that begins with
``input``, ``options`` or ``context``, or ``flowKey``, ``tenant``, ``traceId`` or ``id``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

ID_HEADER = "taskyard-id"
UID_HEADER = "taskyard-uid"
TRACE_HEADER = "taskyard-trace-id"
ATTEMPT_HEADER = "taskyard-attempt"
TRACE_PLACE = f"headers.{TRACE_HEADER}"
OWN_HEADERS = (ID_HEADER, UID_HEADER, TRACE_HEADER, ATTEMPT_HEADER)
RECORD_PLACE = re.compile(r"key|value(\.[^.]+)*|headers\..+", re.DOTALL)
MESSAGE_PLACE = re.compile(r"(input|options|context)(\.[^.]+)*|flowKey|tenant|traceId|id")


class Format(StrEnum):
    """What the bytes of a value are: JSON, UTF-8 text, or any bytes, which a message carries as base64."""

    JSON = "json"
    TEXT = "text"
    BASE64 = "base64"


class Tombstone(StrEnum):
    """What becomes of a record without a value: a message without an input, or nothing."""

    MESSAGE = "message"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as a broker keeps it. ``timestamp_ms`` is in milliseconds since 1970, -1 where there is none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a record is read: what its value is, and the places of what its message is given."""

    value: Format = Format.JSON
    input: str = "value"
    priority: str | None = None
    execute_at: str | None = None  # ISO 8601, or milliseconds since 1970
    delay_ms: str | None = None  # from the record's timestamp on
    trace_id: str | None = TRACE_PLACE
    idempotency_key: str | None = None
    flow_key: str | None = None
    tenant: str | None = None
    tombstone: Tombstone = Tombstone.MESSAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How a message is written: what its value becomes, and the places of its value, its key and its headers."""

    value: Format = Format.JSON
    output: str = "input"
    key: str = "flowKey"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inward:
    """A topic whose messages come from Kafka.

    ``cluster`` names it in the records' identities; ``group`` is the consumer group; ``from_start`` whether a group
    without a committed offset begins with the oldest record; ``max_pending`` how many messages may wait here before
    no more are brought in.
    """

    topic: str
    source: str  # the topic on Kafka
    cluster: str
    group: str
    from_start: bool = True
    classic: bool = False  # the group protocol before KIP-848
    max_pending: int = 10_000
    reading: Reading = Reading()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outward:
    """A topic whose messages go to Kafka, up to ``batch_size`` in one flush; with an ``order`` one after the other."""

    topic: str
    target: str  # the topic on Kafka
    batch_size: int = 10
    order: str | None = None
    writing: Writing = Writing()


def identity(cluster: str, record: Record) -> str:
    """What tells a record from every other one that there ever was, so that a second delivery is the same message.

    The timestamp is in it because offsets begin anew where a topic, or a cluster of the same name, was made anew.
    """
    return f"{cluster}/{record.topic}/{record.partition}/{record.offset}@{record.timestamp_ms}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a member stands with a partition that it reads.

    ``offset`` is the next one to be accepted, ``None`` before the first; ``paused`` says why it reads no further now.
    """

    topic: str
    partition: int
    offset: int | None = None
    paused: str | None = None
    error: str | None = None

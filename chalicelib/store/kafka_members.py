"""What the members of consumer groups report of themselves. In the directory table.

Key layout::

    kind           name              what
    kafka_member   <process>/<group>   at_ms, partitions: JSON (core.kafka.Standing of each), expires_at_s,
                                       committed_at_ms and error where there are any; the name ends in
                                       /latest, /classic or both where it reads in that way
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from chalicelib.core.kafka import Standing
from chalicelib.store.expressions import Change
from chalicelib.store.table import Table

KIND = "kafka_member"
KEPT_S = 120  # after its last word


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a group, as it reported at ``at_ms``: which partitions it reads, and how it stands with them.

    ``committed_at_ms`` is when Kafka last acknowledged a commit; ``error`` what Kafka said last, until it goes well
    again. Times are in milliseconds since 1970.
    """

    name: str
    at_ms: int
    partitions: tuple[Standing, ...]
    committed_at_ms: int | None = None
    error: str | None = None

    @property
    def process(self) -> str:
        """Which process it is of."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class KafkaMembers:
    """The access patterns of the members."""

    table: Table

    def report(self, member: Member) -> None:
        """A member says how it stands."""
        text = json.dumps([asdict(each) for each in member.partitions], separators=(",", ":"))
        sets = {
            "at_ms": member.at_ms,
            "partitions": text,
            "expires_at_s": member.at_ms // 1_000 + KEPT_S,
            "committed_at_ms": member.committed_at_ms,
            "error": member.error,
        }
        self.table.apply({"kind": KIND, "name": member.name}, Change((), sets=sets))

    def leave(self, name: str) -> None:
        """A member reads no more."""
        self.table.delete({"kind": KIND, "name": name})

    def all(self, now_ms: int) -> list[Member]:
        """The members of which something was heard in the last two minutes, by name."""
        rows = self.table.query_all("{kind} = :kind", {":kind": KIND})
        return [
            Member(
                row["name"],
                row["at_ms"],
                tuple(Standing(**each) for each in json.loads(row["partitions"])),
                row.get("committed_at_ms"),
                row.get("error"),
            )
            for row in rows
            if row["expires_at_s"] * 1_000 >= now_ms
        ]

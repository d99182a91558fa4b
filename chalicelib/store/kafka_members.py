"""What the members of consumer groups report of themselves. In the directory table.

Key layout::

    kind           name              what
    kafka_member   <process>/<group>   at_ms, partitions: JSON (core.kafka.Standing of each), expires_at_s
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from chalicelib.core.kafka import Standing
from chalicelib.store.expressions import Change
from chalicelib.store.table import Table

KIND = "kafka_member"
KEPT_S = 120  # after its last word


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a group, as it last reported: ``at_ms`` in milliseconds since 1970."""

    name: str
    at_ms: int
    partitions: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class KafkaMembers:
    """The access patterns of the members."""

    table: Table

    def report(self, name: str, partitions: Sequence[Standing], now_ms: int) -> None:
        """A member says what it reads."""
        text = json.dumps([asdict(each) for each in partitions], separators=(",", ":"))
        sets = {"at_ms": now_ms, "partitions": text, "expires_at_s": now_ms // 1_000 + KEPT_S}
        self.table.apply({"kind": KIND, "name": name}, Change((), sets=sets))

    def leave(self, name: str) -> None:
        """A member reads no more."""
        self.table.delete({"kind": KIND, "name": name})

    def all(self, now_ms: int) -> list[Member]:
        """The members of which something was heard in the last two minutes, by name."""
        rows = self.table.query_all("{kind} = :kind", {":kind": KIND})
        return [
            Member(row["name"], row["at_ms"], tuple(Standing(**each) for each in json.loads(row["partitions"])))
            for row in rows
            if row["expires_at_s"] * 1_000 >= now_ms
        ]

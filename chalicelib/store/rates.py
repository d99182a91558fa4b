"""How many runs may begin: token buckets. In the directory table.

Key layout::

    kind    name                     what
    rate    <sha256 of the bucket>   bucket: its name, a count's; full_at_us: when it is full again (microseconds since
                                     1970); booked_us: up to when those that were turned away were told to come back

A token is taken in the transaction that begins a run, under a condition on the bucket, so two workers never take the
same. What was read of a bucket is remembered: it tells which of the two forms of the condition to try.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chalicelib.core.flow import SKEW_US, Rate
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.directory import digest
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Refused, Table

KNOWN_MAX = 10_000
BOOK_TRIES = 5


@dataclass(frozen=True, slots=True)
class Rates:
    """The access patterns of the token buckets."""

    table: Table
    _full_at_us: dict[str, int] = field(default_factory=dict)  # as this process knows it, a hint

    def taking(self, bucket: str, rate: Rate, now_us: int) -> AttributeValues:
        """The action that takes a token; refused where there is none, or where what is known of the bucket is old."""
        known_us = self._full_at_us.get(bucket, 0)
        if known_us <= now_us:
            full = Clause("full", "attribute_not_exists({full_at_us}) OR {full_at_us} <= :now", {":now": now_us})
            change = Change((full,), sets={"bucket": bucket, "full_at_us": rate.full_after_us(0, now_us)})
        elif rate.is_of_another(known_us, now_us):
            latest_us = rate.latest_us(now_us)
            of_another = Clause("of another rate", "{full_at_us} > :most", {":most": latest_us + SKEW_US})
            change = Change((of_another,), sets={"full_at_us": latest_us})
        else:
            room_us = now_us + (rate.burst - 1) * rate.interval_us
            text = "{full_at_us} > :now AND {full_at_us} <= :room"
            change = Change(
                (Clause("a token is there", text, {":now": now_us, ":room": room_us}),),
                adds={"full_at_us": rate.interval_us},
            )
        return self.table.updating(key_of(bucket), change)

    def learn(self, bucket: str, item: dict[str, int] | None) -> int:
        """Remember what a refusal told of a bucket; returns when it is full again."""
        if len(self._full_at_us) >= KNOWN_MAX:
            self._full_at_us.clear()
        full_at_us = self._full_at_us[bucket] = (item or {}).get("full_at_us", 0)
        return full_at_us

    def took(self, bucket: str, rate: Rate, now_us: int) -> None:
        """Remember that this process has taken a token."""
        self._full_at_us[bucket] = rate.full_after_us(self._full_at_us.get(bucket, 0), now_us)

    def find(self, bucket: str) -> tuple[int, int]:
        """When a bucket is full again, and up to when it is booked, as of the last write; 0 where that is unknown."""
        return bucket_of(self.table.find(key_of(bucket)) or {})

    def book(self, bucket: str, rate: Rate, now_us: int, latest_us: int) -> int | None:
        """When somebody who found no token shall come back, each at another time; ``None`` if after ``latest_us``.

        That holds no token: who comes then may find that another was faster.
        """
        for _ in range(BOOK_TRIES):
            full_at_us, booked_us = self.find(bucket)
            behind_us = booked_us + rate.interval_us if booked_us else 0
            ready_us = max(rate.ready_us(full_at_us, now_us), behind_us, now_us)
            if ready_us > latest_us:
                return None
            seen = Clause("as booked", "{booked_us} = :seen", {":seen": booked_us})
            first = Clause("not booked", "attribute_not_exists({booked_us})")
            try:
                self.table.apply(key_of(bucket), Change((seen if booked_us else first,), sets={"booked_us": ready_us}))
            except Refused:
                continue
            return ready_us
        return latest_us


def bucket_of(item: Mapping[str, int]) -> tuple[int, int]:
    """When the bucket in an item is full again, and up to when it is booked (microseconds since 1970)."""
    return item.get("full_at_us", 0), item.get("booked_us", 0)


def key_of(bucket: str) -> dict[str, str]:
    """Where a bucket is kept, if a token was ever taken."""
    return {"kind": "rate", "name": digest(bucket)}

"""Who brings records of Kafka in, as each process that does so has reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.core.errors import Unavailable
from chalicelib.core.kafka import Standing
from chalicelib.engine.yard import Yard
from chalicelib.store.kafka_members import KafkaMembers, Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatus:
    """A process that brings records in, of which something was heard within two minutes.

    How many ``partitions`` it reads, how long ago it ``reported`` and Kafka last acknowledged a commit (``committed``,
    ``None``: never yet), in whole seconds; ``error`` is what Kafka said last, as when no broker can be reached.
    """

    member: str
    partitions: int
    reported: int
    committed: int | None
    error: str | None


def read_by(members: Iterable[Member]) -> dict[tuple[str, int], tuple[Member, Standing]]:
    """Who reads a partition, by its topic on Kafka and its number: of those who reported so, the last one who did."""
    oldest_first = sorted(members, key=lambda each: each.at_ms)
    return {(it.topic, it.partition): (member, it) for member in oldest_first for it in member.partitions}


def members_status(yard: Yard) -> list[MemberStatus]:
    """Each process that brings records in, by its name and its group.

    One that reported partitions, all of which others have reported since, is gone: it would have said that it has none.
    """
    now_ms = yard.now_ms()
    members = KafkaMembers(yard.directory.table).all(now_ms)
    reads = Counter(member.name for member, _ in read_by(members).values())
    return [
        MemberStatus(
            member=each.name,
            partitions=reads[each.name],
            reported=max(0, now_ms - each.at_ms) // 1_000,
            committed=None if each.committed_at_ms is None else max(0, now_ms - each.committed_at_ms) // 1_000,
            error=each.error,
        )
        for each in members
        if reads[each.name] or not each.partitions
    ]


def told_of_members(yard: Yard) -> str:
    """The same in one line, for ``/health``. Raises ``Unavailable`` where a member is in trouble."""
    members = members_status(yard)
    if not members:
        return "nobody has reported that it reads"
    commits = [each.committed for each in members if each.committed is not None]
    last = f"last commit {min(commits)} s ago" if commits else "nothing committed yet"
    told = f"{len(members)} members read {sum(each.partitions for each in members)} partitions, {last}"
    errors = [each.error for each in members if each.error is not None]
    if errors:
        raise Unavailable(f"{told}; {errors[0]}")
    return told

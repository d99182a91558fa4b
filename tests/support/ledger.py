"""Records for tests of the ledger: put there as they are wanted, read back as they are stored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.core.ids import trace_id_of
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.engine.yard import Yard
from chalicelib.store.expressions import Change
from chalicelib.store.job_items import position_of, state_key
from chalicelib.store.job_queries import STORY_INDEX_KEYS
from chalicelib.store.ledger import ASIDE
from tests.support.yards import FAR_MS

BIRTH = "b1b1b1b1b1b1b1b1"
NOW = FAR_MS


def job_of(yard: Yard, **fields: Any) -> Job:
    """A pending message, one second old, of a topic of its own; with ``fields`` in place of that."""
    job_id = fields.get("id") or yard.ids.new()
    now_ms = yard.now_ms()
    topic = fields.get("type", f"topic-{job_id}")
    usual: dict[str, Any] = {
        "id": job_id,
        "uid": BIRTH,
        "kind": Kind.MESSAGE,
        "type": topic,
        "queue": topic,
        "created_at_ms": now_ms - 1_000,
        "updated_at_ms": now_ms - 1_000,
        "due_at_ms": now_ms - 1_000,
        "trace_id": trace_id_of(job_id, os.urandom),
        "trace": (TraceEvent(Event.PUBLISHED, now_ms - 1_000).to_line(),),
    }
    return Job(**{**usual, **fields})


def place(yard: Yard, job: Job) -> Job:
    """Put a record on the ledger as it is, whatever was there; its type is known, as after a publish."""
    yard.job_types.note(job.kind, job.type)
    yard.jobs.table.put(yard.jobs.item(job))
    return job


def place_as_before(yard: Yard, job: Job) -> Job:
    """Put a record on the ledger as earlier versions did: with a key among all types, wherever it stands."""
    place(yard, job)
    state_index_key = f"{job.kind}#{job.state}#{job.id % yard.settings.index_shards}"
    yard.jobs.table.update(state_key(job.id), Change((), sets={"state_key": state_index_key}))
    return job


def stored(yard: Yard, job_id: int) -> dict[str, Any] | None:
    """The item of a job's record."""
    return yard.jobs.table.get(state_key(job_id))


def parts_of(yard: Yard, job_id: int) -> dict[str, dict[str, Any]]:
    """Every item of a job, by its part."""
    rows = yard.jobs.table.query_all("{job} = :job", {":job": job_id}, consistent=True)
    return {row["part"]: row for row in rows}


def grave_of(yard: Yard, job: Job, expires_at_s: int) -> dict[str, Any]:
    """The tombstone of a message, with nothing left over: what its trace is found by, and the trace."""
    return {
        "job": job.id,
        "part": "state",
        "state": "deleted",
        "expires_at_s": expires_at_s,
        "kind": "message",
        "type": job.type,
        "created_at_ms": job.created_at_ms,
        "trace_id": job.trace_id,
        "trace": list(job.trace),
        "position": position_of(job),
        **index_keys(yard, job, f"deleted-{job.state}"),
    }


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    """What an item has now where that is not what it had; ``None`` for an attribute that is gone."""
    was, now = before or {}, after or {}
    return {name: now.get(name) for name in was.keys() | now.keys() if was.get(name) != now.get(name)}


def index_keys(yard: Yard, job: Job, label: str) -> dict[str, str | None]:
    """The index keys of a job under a label; ``None`` for the one that a job has only where it rests."""
    shard = job.id % yard.settings.index_shards
    rests = label not in (State.PENDING, State.RUNNING)
    return {
        "state_key": f"{job.kind}#{label}#{shard}" if rests else None,
        "type_key": f"{job.kind}#{job.type}#{label}#{shard}",
    }


def wake(yard: Yard, job: Job, at_ms: int | None) -> dict[str, Any]:
    """The index key of a wake-up call, or of none."""
    shard = job.id % yard.settings.index_shards
    return {"wake_key": None if at_ms is None else f"due#{shard}", "wake_at_ms": at_ms}


@dataclass(frozen=True, slots=True)
class Membership:
    """Under which labels the indexes show a job, when the clock will look at it, and whether its trace finds it."""

    by_state: tuple[str, ...]
    by_type: tuple[str, ...]
    wake_at_ms: int | None
    by_trace: bool


def membership(yard: Yard, job: Job) -> Membership:
    """Where the indexes show a job now."""
    shard = job.id % yard.settings.index_shards
    table = yard.jobs.table

    def shown(index: str, key: str, value: str, order: str, place_there: Any) -> bool:
        condition = f"{{{key}}} = :key AND {{{order}}} = :place"
        return bool(table.first(condition, {":key": value, ":place": place_there}, 1, index=index))

    def under(index: str, key: str, prefix: str) -> tuple[str, ...]:
        place_there = position_of(job)
        return tuple(
            label
            for label in STORY_INDEX_KEYS
            if shown(index, key, f"{prefix}#{label}#{shard}", "position", place_there)
        )

    waking = [
        row
        for key in (f"due#{shard}", ASIDE)
        for row in table.query_all("{wake_key} = :key", {":key": key}, index="due")
    ]
    return Membership(
        by_state=under("by_state", "state_key", str(job.kind)),
        by_type=under("by_type", "type_key", f"{job.kind}#{job.type}"),
        wake_at_ms=next((row["wake_at_ms"] for row in waking if row["job"] == job.id), None),
        by_trace=job.id in yard.lists.with_trace(job.trace_id),
    )


def lines(count: int, at_ms: int = 1) -> tuple[str, ...]:
    """A trace of ``count`` events that differ from each other."""
    return tuple(TraceEvent(Event.REQUEUED, at_ms, {"lap": requeue}).to_line() for requeue in range(count))

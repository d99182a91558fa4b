"""The items of the jobs table: under which key a job stands, and what of it an item holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from chalicelib.core.errors import TaskyardError
from chalicelib.core.job import STORY_FIELDS, Job, Story, Tombstone
from chalicelib.core.job_documents import from_document
from chalicelib.core.states import Kind

STATE_PART = "state"
BODY_PART = "body"
CHILD_PREFIX = "child#"
DELETED = "deleted"
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Unreadable(TaskyardError):
    """A record is there, and is none that this version wrote. The text says which, and nothing of its content."""


def state_key(job_id: int) -> dict[str, Any]:
    """The key of a job's record."""
    return {"job": job_id, "part": STATE_PART}


def position_of(job: Job | Story) -> str:
    """Where a job stands in every list: by its creation time, then its id."""
    return f"{job.created_at_ms:013d}-{job.id:016d}"


def decoded(item: Mapping[str, Any] | None) -> Job | Tombstone | None:
    """The record, or the tombstone, that an item of part ``state`` holds; raises ``Unreadable``."""
    if item is None:
        return None
    if item.get("state") == DELETED:
        return _read(item, _tombstone)
    return record_of(item)


def _tombstone(item: Mapping[str, Any]) -> Tombstone:
    return Tombstone(item["job"], tuple(item.get("leftovers", ())), _story_in(item))


def _story_in(item: Mapping[str, Any]) -> Story | None:
    """The story that a tombstone keeps, if it keeps one."""
    if "trace_id" not in item:
        return None
    kept = {name: item[name] for name in STORY_FIELDS if name in item}
    return Story(**{**kept, "id": item["job"], "kind": Kind(item["kind"]), "trace": tuple(item.get("trace", ()))})


def decoded_or_none(item: Mapping[str, Any]) -> Job | Tombstone | None:
    """The same for one of many, which an unreadable one must not keep from being read: that is logged."""
    try:
        return decoded(item)
    except Unreadable as error:
        _log.error("a record is left out: %s", error)
        return None


def record_of(item: Mapping[str, Any]) -> Job:
    """The record in an item of part ``state`` that is no tombstone; raises ``Unreadable``."""
    return _read(item, _record)


def _record(item: Mapping[str, Any]) -> Job:
    return from_document({**item, "id": item["job"]})


def _read(item: Mapping[str, Any], reading: Callable[[Mapping[str, Any]], T]) -> T:
    """What an item is by ``reading``; raises ``Unreadable`` for whatever goes wrong in it."""
    try:
        return reading(item)
    except Exception as error:  # whatever is wrong with it, the answer is the same
        raise Unreadable(
            f"the record of job {item['job']} cannot be read",
            expected="a record that this version of Taskyard wrote",
            got=type(error).__name__,
            remedy="correct the item in the jobs table, or delete it there",
        ) from error

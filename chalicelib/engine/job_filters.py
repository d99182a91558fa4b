"""Which jobs somebody looks for, tasks and messages alike: what an index answers of it, and what is looked up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.fingerprints import fingerprint_of
from chalicelib.core.job import Job
from chalicelib.core.search import query_words
from chalicelib.core.states import Kind, State
from chalicelib.engine.yard import Yard
from chalicelib.store.job_queries import INDEX_KEYS, JobQuery, Order, index_keys_of

UPDATED_AT = Order("updatedAt", lambda job: f"{job.updated_at_ms:013d}")
ORDERS = {"createdAt": None, "updatedAt": UPDATED_AT}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilters:
    """Which jobs; all conditions hold together, and what is left out is no condition.

    Times are in milliseconds since 1970, of the creation, both ends included. ``text``: words that are all in a task's
    input; messages are not searched.
    """

    kind: Kind | None = None
    states: tuple[State, ...] = ()
    type: str | None = None
    target_id: str | None = None
    target_type: str | None = None
    trace_id: str | None = None
    flow_key: str | None = None
    tenant: str | None = None
    schedule: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    text: str | None = None
    fingerprint: str | None = None  # of failed jobs: core/fingerprints.py

    def to_text(self) -> str:
        """The stored form: JSON of what is asked for."""
        asked = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps({name: value for name, value in asked.items() if value not in (None, ())})

    @classmethod
    def from_text(cls, text: str) -> JobFilters:
        """The filters that ``to_text`` stored."""
        asked: dict[str, Any] = json.loads(text)
        kind = Kind(asked["kind"]) if "kind" in asked else None
        return cls(**{**asked, "kind": kind, "states": tuple(map(State, asked.get("states", ())))})


def query_of(yard: Yard, filters: JobFilters, order: str = "createdAt", *, descending: bool = True) -> JobQuery:
    """The list that ``filters`` describe, in an order of ``ORDERS``.

    Indexes answer for kind, type, states and creation, and by themselves for a target, a trace or words; whatever else
    is asked for is looked up in the newest 10,000 of those. Raises ``InvalidInput`` for a text that cannot be searched.
    """
    tests = list(_tests(filters))
    return JobQuery(
        filters.kind if filters.text is None else Kind.TASK,
        filters.type,
        index_keys_of(*filters.states) if filters.states else INDEX_KEYS,
        since_ms=filters.since_ms,
        until_ms=filters.until_ms,
        trace_id=filters.trace_id,
        target_id=filters.target_id,
        words=_words(yard, filters),
        matches=(lambda job: all(test(job) for test in tests)) if tests else None,
        order=ORDERS[order],
        descending=descending,
    )


def words_asked_for(yard: Yard, text: str, field: str) -> tuple[str, ...]:
    """The words of a ``text`` that a ``field`` asks for. Raises ``InvalidInput`` for none, or where search is off."""
    expect_search(yard, field)
    words = query_words(text)
    if not words:
        raise InvalidInput("there is no word in this", field=field, expected="letters or digits", got=text)
    return words


def expect_search(yard: Yard, field: str) -> None:
    """Raise ``InvalidInput`` where search is off."""
    if not yard.settings.search_is_on:
        raise InvalidInput(
            "search is off here",
            field=field,
            expected="no search",
            remedy="deploy with TASKYARD_SEARCH=on; tasks that are there already are found after taskyard rebuild",
        )


def _words(yard: Yard, filters: JobFilters) -> tuple[str, ...]:
    if filters.text is None:
        return ()
    if filters.kind is Kind.MESSAGE:
        raise InvalidInput("messages are not searched", field="text", expected="no text", got=filters.text)
    return words_asked_for(yard, filters.text, "text")


def _tests(filters: JobFilters) -> Iterator[Callable[[Job], bool]]:
    """What no index answers."""
    for name in ("target_type", "flow_key", "tenant", "schedule"):
        wanted = getattr(filters, name)
        if wanted is not None:
            yield _is(name, wanted)
    if filters.fingerprint is not None:
        yield lambda job: job.state is State.FAILED and fingerprint_of(job) == filters.fingerprint


def _is(name: str, wanted: str) -> Callable[[Job], bool]:
    return lambda job: getattr(job, name) == wanted

"""What clients are told in the end, read from the ledger at once, not job by job; and what nobody has any more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chalicelib.core.job import Job
from chalicelib.core.trace import Event
from chalicelib.store.attribute_values import from_attribute_values
from chalicelib.store.concurrency import KIND, KIND_OF_KEYS, KIND_OF_SCHEDULES
from chalicelib.store.job_items import STATE_PART, decoded
from chalicelib.store.wait_lists import WAIT_LIST
from tests.proof.history import Ending, History

ENDS = frozenset({Event.SUCCEEDED, Event.DEAD, Event.COMPLETED, Event.CANCELED})
Counters = Mapping[Any, Mapping[Any, int]]


def jobs_in(items: Iterable[Mapping[str, Any]]) -> list[Job]:
    """The jobs among the items of the jobs table."""
    found = [decoded(from_attribute_values(item)) for item in items if item["part"]["S"] == STATE_PART]
    return [job for job in found if isinstance(job, Job)]


def ending_of(jobs: Sequence[Job], counters: Counters, history: History) -> Ending:
    """How every job stands, and what the counters say."""
    restarts = Counter(job_id for job_id, _ in history.restarted)
    return Ending(
        states={job.id: (job.state.value, job.attempts) for job in jobs},
        ends={job.id: sum(line.split(" ", 2)[1] in ENDS for line in job.trace) - restarts[job.id] for job in jobs},
        outputs={job.id: json.loads(job.output) for job in jobs if job.output is not None},
        causes={job.id: job.cause.value for job in jobs if job.cause is not None},
        counters=Counter(
            {
                (group.kind, group.type, state.value): number
                for group, states in counters.items()
                for state, number in states.items()
            }
        ),
        listed=Counter((job.kind.value, job.type, job.state.value) for job in jobs),
    )


def left_in(directory: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Marks, waiters and slots in the directory table that nobody has any more."""
    for item in map(from_attribute_values, directory):
        kind = item["kind"]
        if kind == "outbox" or kind.startswith(WAIT_LIST):
            yield f"left in the directory: {kind} {item['name']}"
        if kind in (KIND, KIND_OF_KEYS, KIND_OF_SCHEDULES) and (item.get("running") or item.get("unfinished")):
            yield f"the count of {item} is not free"

"""The words of tasks into the search index, and out of it: by the change stream, or all anew from the ledger.

A task is indexed at its creation, by what its input and its ``options.searchKeys`` then are: neither ever changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.core.job import Job
from chalicelib.core.search import searched_text, words_of
from chalicelib.core.states import Kind
from chalicelib.engine.projections.project import Change
from chalicelib.engine.yard import Yard
from chalicelib.store.job_items import position_of
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.search import job_in
from chalicelib.store.table import chunks

CHUNK = 100  # tasks that are looked at together


def index(yard: Yard, changes: Sequence[Change]) -> None:
    """Index the tasks that came to be, and forget those that were deleted; harmless if it was done before.

    Raises ``Unavailable``, or what botocore raises, unless all is done.
    """
    if not yard.settings.search_is_on:
        return
    deleted = {change.before.id: change.before for change in changes if change.before and change.after is None}
    created = [change.after for change in changes if change.before is None and change.after is not None]
    add(yard, [job for job in created if job.kind is Kind.TASK and job.id not in deleted])
    yard.search.remove([position_of(job) for job in deleted.values() if job.kind is Kind.TASK])


def add(yard: Yard, tasks: Sequence[Job]) -> None:
    """Index tasks by their words; one whose body is gone by now is not. Raises as ``index`` does."""
    bodies = yard.payloads.bodies_there(tasks)
    yard.search.add({position_of(task): _words_in(body) for task, body in bodies})


def words_in(yard: Yard, task: Job) -> tuple[str, ...]:
    """The words by which a task is found. Raises as ``index`` does."""
    return next((_words_in(body) for _, body in yard.payloads.bodies_there([task])), ())


def rebuild_search(yard: Yard) -> int:
    """Index every task that is not, and forget every one that is gone; returns how many were indexed anew.

    May be repeated after a failure.
    """
    added = 0
    for ids in chunks(list(yard.lists.ids(JobQuery(Kind.TASK), page_size=1_000)), CHUNK):
        tasks = yard.jobs.find_many(ids)
        indexed = yard.search.indexed([position_of(task) for task in tasks])
        missing = [task for task in tasks if position_of(task) not in indexed]
        add(yard, missing)
        added += len(missing)
    for positions in chunks(list(yard.search.positions()), CHUNK):
        there = {position_of(task) for task in yard.jobs.find_many([job_in(position) for position in positions])}
        yard.search.remove([position for position in positions if position not in there])
    return added


def _words_in(body: Mapping[str, Any]) -> tuple[str, ...]:
    options = body.get("options")
    search_keys = options.get("searchKeys") if isinstance(options, dict) else None
    return words_of(searched_text(body.get("input"), search_keys))

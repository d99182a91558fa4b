"""Looking at jobs: ``/jobs``, ``/job/types``, ``/job/search`` and ``/stats``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from chalicelib.api.kue import records
from chalicelib.api.kue.words import (
    ENGINE_STATES,
    KUE,
    STATE_OF,
    KueState,
    Range,
    query_of,
)
from chalicelib.api.paging import bodies_of
from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.core.projection import Group, Measure
from chalicelib.core.states import Kind
from chalicelib.http.models import AnswerModel, ApiModel, Name
from chalicelib.http.routes import Router
from chalicelib.services.task_lists import search_ids
from chalicelib.store.insights import Standing
from chalicelib.store.job_lists import OFFSET_MAX
from chalicelib.store.job_queries import JobQuery

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

JOBS_MAX = 1_000  # in one answer

router = Router("kue", style=KUE)


class One(ApiModel):
    """``/jobs/{from}..{to}``."""

    first: Name = Field(description="A range, such as 0..9; negative numbers count from the end", examples=["0..9"])


class Two(One):
    """``/jobs/{from}..{to}/{order}`` or ``/jobs/{state}/{from}..{to}``."""

    second: Name = Field(examples=["desc"])


class Three(Two):
    """``/jobs/{state}/{from}..{to}/{order}``, ``/jobs/{type}/{state}/{from}..{to}`` or ``.../stats``."""

    third: Name = Field(examples=["asc"])


class Four(Three):
    """``/jobs/{type}/{state}/{from}..{to}/{order}``."""

    fourth: Name = Field(examples=["asc"])


class SearchQuery(ApiModel):
    """What to look for."""

    model_config = ConfigDict(extra="ignore")

    q: str = Field(default="", description="Words, at most 32", examples=["avi video"])


class Stats(AnswerModel):
    """How many jobs are in each state, and how long work has taken."""

    inactive_count: int
    complete_count: int
    active_count: int
    failed_count: int
    delayed_count: int
    work_time: int | None = Field(description="Milliseconds that runs took in all; null before the first success")


class Count(AnswerModel):
    """How many."""

    count: int


Shown = list[dict[str, Any]]


@router.get("/jobs/{first}", scope="task")
def jobs(yard: Yard, path: One) -> Shown:
    """List jobs, oldest first: at most 1,000 at once."""
    return _jobs(yard, None, None, path.first, "asc")


@router.get("/jobs/{first}/{second}", scope="task")
def jobs_ordered_or_in_state(yard: Yard, path: Two) -> Shown:
    """List jobs in an order (asc, desc: newest first), or those in a state; any other word is taken as a type."""
    if Range.read(path.first) is not None:
        return _jobs(yard, None, None, path.first, path.second)
    return _jobs(yard, *_state_or_type(path.first), path.second, "asc")


@router.get("/jobs/{first}/{second}/{third}", scope="task", answer=Shown | Count)
def jobs_in_state_or_of_type(yard: Yard, path: Three) -> Shown | Count:
    """List jobs in a state in an order, or those of a type in a state; with `stats` at the end, count those."""
    if Range.read(path.second) is not None:
        return _jobs(yard, *_state_or_type(path.first), path.second, path.third)
    if path.third == "stats":
        if path.second not in ENGINE_STATES:
            return Count(count=0)
        return Count(count=_counts(yard, _standings(yard, path.first), path.first)[KueState(path.second)])
    return _jobs_of_type(yard, path, "asc")


@router.get("/jobs/{first}/{second}/{third}/{fourth}", scope="task")
def jobs_of_type_ordered(yard: Yard, path: Four) -> Shown:
    """List the jobs of a type in a state, in an order."""
    return _jobs_of_type(yard, path, path.fourth)


@router.get("/job/types", scope="task")
def job_types(yard: Yard) -> list[str]:
    """The types of all jobs there are or have been."""
    return sorted({group.type for group in _standings(yard)})


@router.get("/job/search", scope="task")
def search_jobs(yard: Yard, query: SearchQuery) -> list[str]:
    """The ids of the jobs whose data holds all words of `q`, newest first: at most 1,000.

    With `searchKeys` a job is found by those parts of its data alone.
    """
    return [str(job_id) for job_id in search_ids(yard, query.q, JOBS_MAX)] if query.q.strip() else []


@router.get("/stats", scope="task")
def stats(yard: Yard) -> Stats:
    """Count jobs by state; numbers are as of the change stream: about a second old."""
    standings = _standings(yard)
    counts = _counts(yard, standings)
    totals = [standing.totals for standing in standings.values()]
    succeeded = sum(total[Measure.SUCCEEDED] for total in totals)
    return Stats(
        inactive_count=counts[KueState.INACTIVE],
        complete_count=counts[KueState.COMPLETE],
        active_count=counts[KueState.ACTIVE],
        failed_count=counts[KueState.FAILED],
        delayed_count=counts[KueState.DELAYED],
        work_time=sum(total[Measure.RUN_MS] for total in totals) if succeeded else None,
    )


def _jobs_of_type(yard: Yard, path: Three, order: str) -> Shown:
    if path.second not in ENGINE_STATES:
        Range.read(path.third)
        return []
    return _jobs(yard, KueState(path.second), path.first, path.third, order)


def _state_or_type(word: str) -> tuple[KueState | None, str | None]:
    return (KueState(word), None) if word in ENGINE_STATES else (None, word)


def _jobs(yard: Yard, state: KueState | None, type: str | None, range_: str, order: str) -> Shown:  # noqa: A002
    wanted = Range.read(range_)
    if wanted is None:
        raise NotFound(f"there is no list {range_[:40]!r}: expected a range such as 0..9")
    now_ms = yard.now_ms()
    descending = order == "desc"
    query = query_of(state, type, now_ms, descending=descending)
    offset, limit, from_end = _place(yard, query, wanted)
    if limit > JOBS_MAX or offset > OFFSET_MAX:
        raise InvalidInput(
            f"expected a range of at most {JOBS_MAX} jobs among the first {OFFSET_MAX}, got {range_[:40]}"
        )
    if limit <= 0:
        return []
    if from_end:
        query = query_of(state, type, now_ms, descending=not descending)
    found = yard.lists.part(query, offset, limit)
    bodies = bodies_of(yard.payloads, found)
    shown = [records.listed(yard, job, bodies[job.id]) for job in found]
    return shown[::-1] if from_end else shown


def _place(yard: Yard, query: JobQuery, wanted: Range) -> tuple[int, int, bool]:
    """How many jobs come before a range, how many are in it, and whether that is counted from the list's end."""
    if wanted.first < 0 and wanted.last < 0:
        return -wanted.last - 1, wanted.last - wanted.first + 1, True
    if wanted.first >= 0 and wanted.last >= 0:
        return wanted.first, wanted.last - wanted.first + 1, False
    total = len(yard.lists.part(query, 0, JOBS_MAX + 1)) if query.matches else yard.lists.count(query)
    first, last = (max(0, end + total) if end < 0 else end for end in (wanted.first, wanted.last))
    return first, min(last, total - 1) - first + 1, False


def _standings(yard: Yard, type: str | None = None) -> dict[Group, Standing]:  # noqa: A002
    """Where the groups of tasks stand, of a type or of all."""
    found = yard.insights.standings().items()
    return {group: each for group, each in found if group.kind == Kind.TASK and type in (None, group.type)}


def _counts(
    yard: Yard,
    standings: Mapping[Group, Standing],
    type: str | None = None,  # noqa: A002
) -> Counter[KueState]:
    """How many jobs of ``standings``, which are those of a type or of all, are in each of kue's states."""
    counts: Counter[KueState] = Counter()
    for standing in standings.values():
        for state, number in standing.states.items():
            counts[STATE_OF[state]] += number
    if counts[KueState.INACTIVE] > 0:
        delayed = yard.lists.page(query_of(KueState.DELAYED, type, yard.now_ms()), 0, 1).total
        counts[KueState.DELAYED] = min(delayed, counts[KueState.INACTIVE])
        counts[KueState.INACTIVE] -= counts[KueState.DELAYED]
    return Counter({state: max(0, number) for state, number in counts.items()})

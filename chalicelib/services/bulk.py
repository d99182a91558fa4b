"""The same for many jobs at once, which match or are named: cancel, retry, promote, replay or delete, step by step.

    from chalicelib.services import bulk
    from chalicelib.services.jobs import Filter

    failed = Filter(type="image.resize", states=["failed"])
    bulk.preview("retry", failed).sentence  # "This will retry 312 tasks of the type image.resize."
    done = bulk.run(bulk.start("retry", failed))
    [each for each in bulk.results(done) if not each.ok]

The set is what matches at the start. Who starts one makes its steps, with ``run`` or ``step``; the clock goes on with
what nobody has stepped for 30 s. docs/console.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from chalicelib.core import bulk as core
from chalicelib.core.bulk import BulkAct, BulkState
from chalicelib.core.errors import InvalidInput
from chalicelib.core.states import Kind
from chalicelib.engine.commands import bulk as engine
from chalicelib.engine.job_filters import JobFilters
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.job_records import JobRow, row_of
from chalicelib.services.jobs import Filter
from chalicelib.services.records import moment_of
from chalicelib.store.bulk_acts import BulkItem

LISTED = 50
RESULT_STEPS = 20  # of a page of results: up to 2,000 jobs
BY = "python"


@dataclass(frozen=True, slots=True)
class TypeCount:
    """How many jobs of a type."""

    kind: Kind
    type: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an act would be done to, if it began now."""

    matches: int
    exact: bool  # false: more than so many match; 10,000 of a type are counted, or looked at in all
    by_type: Sequence[TypeCount]  # the most first
    sample: Sequence[JobRow]  # the newest, at most 20
    unsuited: int  # how many of those that are named are in no state for it, or gone
    sentence: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one job; ``error``: why it was refused."""

    id: int
    ok: bool
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """An act in bulk as it stood when it was read."""

    id: str
    act: BulkAct
    filter: JobFilters
    named: int | None  # how many jobs were named, in place of a filter
    state: BulkState
    by: str
    started_at: datetime
    ended_at: datetime | None
    matched: int | None  # how many matched when it began; None: more than are counted
    done: int
    refused: int
    changed: int | None  # of those that matched: changed by others before their turn; None: not done, or not known
    progress: float | None  # 0 to 1; None where it is not known how many there are
    newest_errors: Sequence[Result]  # at most 10


Which: TypeAlias = Bulk | str
"""An act, or its id."""


def preview(act: BulkAct | str, filter: Filter | None = None, *, ids: Sequence[int | str] = ()) -> Preview:  # noqa: A002  # HTTP's word for it
    """What ``act`` would be done to: to all that match a ``filter``, or to the jobs with these ``ids`` (up to 1,000).

    Raises ``InvalidInput``, also for neither or both; ``Filter()`` is all there is.
    """
    return preview_of(installation.yard(), checks.word("act", act, BulkAct), _wanted(filter, ids))


def start(
    act: BulkAct | str,
    filter: Filter | None = None,  # noqa: A002  # as above
    *,
    ids: Sequence[int | str] = (),
    by: str = BY,
) -> Bulk:
    """Begin an act; nothing is done until a step is made. ``by``: who wants it.

    Raises as ``preview`` does, and ``Full`` where twenty are running.
    """
    name = checks.name("by", by)
    yard = installation.yard()
    return shown(yard, engine.start(yard, checks.word("act", act, BulkAct), _wanted(filter, ids), name))


def step(bulk: Which) -> Bulk:
    """Do the next of it: at most a hundred jobs, and none more after five seconds; several may call this at once.

    Raises ``NotFound``, and what AWS raises where it does not answer: the next step finds what was done.
    """
    yard = installation.yard()
    return shown(yard, engine.step(yard, _id(bulk)))


def run(bulk: Which) -> Bulk:
    """Make steps until it has ended, or somebody else is at it; raises as ``step`` does."""
    found = get(bulk)
    while found.state is BulkState.RUNNING:
        before, found = found, step(found)
        if found == before:
            break
    return found


def get(bulk: Which) -> Bulk:
    """An act as it stands. Raises ``NotFound``."""
    yard = installation.yard()
    return shown(yard, engine.find(yard, _id(bulk)))


def list() -> Sequence[Bulk]:  # noqa: A001  # as in services.tasks
    """The newest 50 of the last 90 days."""
    yard = installation.yard()
    return [shown(yard, each) for each in yard.bulk_acts.newest(LISTED)]


def stop(bulk: Which) -> Bulk:
    """Do no more of it: ``stopping`` while a step is being made, then ``stopped``; one that has ended stays as it is.

    Raises ``NotFound``.
    """
    yard = installation.yard()
    return shown(yard, engine.stop(yard, _id(bulk)))


def results(bulk: Which) -> Iterator[Result]:
    """What became of each job so far, in the order in which they were acted on. Raises ``NotFound``."""
    yard, found = installation.yard(), get(bulk)
    cursor: str | None = None
    while True:
        page, cursor = results_of(yard, found.id, cursor)
        yield from page
        if cursor is None:
            return


# -- what the engine knows, as it is shown ------------------------------------------------------------


def named(ids: Sequence[int | str]) -> engine.Named:
    """The jobs with these ids. Raises ``InvalidInput`` for none, and for more than 1,000."""
    if not 1 <= len(ids) <= engine.NAMED_MAX:
        expected = f"1 to {engine.NAMED_MAX} ids"
        raise InvalidInput("so many jobs cannot be named", field="ids", expected=expected, got=len(ids))
    return engine.Named(tuple(checks.job_id(each, "job") for each in checks.many("ids", ids)))


def preview_of(yard: Yard, act: BulkAct, wanted: engine.JobSet) -> Preview:
    """What an act would be done to."""
    found = engine.preview(yard, act, wanted)
    by_type = [TypeCount(kind, name, count) for (kind, name), count in found.by_type.most_common()]
    return Preview(
        matches=found.matches,
        exact=found.exact,
        by_type=by_type,
        sample=[row_of(job, yard.now_ms()) for job in found.sample],
        unsuited=found.unsuited,
        sentence=core.sentence(act, found.by_type, exact=found.exact, unsuited=found.unsuited),
    )


def shown(yard: Yard, found: BulkItem) -> Bulk:
    """An act as it stands."""
    state = found.state_at(yard.now_ms())
    is_over = state in (BulkState.STOPPED, BulkState.DONE)
    acted = found.done + found.refused
    progress = None if found.matched is None else min(1.0, acted / found.matched) if found.matched else 1.0
    return Bulk(
        id=found.id,
        act=found.act,
        filter=JobFilters.from_text(found.filters),
        named=found.named,
        state=state,
        by=found.by,
        started_at=moment_of(found.started_at_ms),
        ended_at=moment_of(max(found.ended_at_ms or 0, found.stepped_at_ms)) if is_over else None,
        matched=found.matched,
        done=found.done,
        refused=found.refused,
        changed=found.changed,
        progress=1.0 if found.state is BulkState.DONE else progress,
        newest_errors=[_result(each) for each in reversed(found.errors)],
    )


def results_of(yard: Yard, bulk_id: str, cursor: str | None) -> tuple[Sequence[Result], str | None]:
    """A page of what became of jobs, and behind what it goes on."""
    found, following = yard.bulk_acts.results(bulk_id, RESULT_STEPS, cursor)
    return [_result(each) for each in found], following


def _result(found: core.Result) -> Result:
    return Result(found.job, found.error is None, found.error)


def _wanted(filter: Filter | None, ids: Sequence[int | str]) -> engine.JobSet:  # noqa: A002  # as above
    if (filter is None) == (not ids):
        raise checks.not_one("either a filter or ids; Filter() is all", field="filter", given=filter is not None)
    return named(ids) if filter is None else filter.checked


def _id(bulk: Which) -> str:
    return bulk.id if isinstance(bulk, Bulk) else checks.name("id", bulk)

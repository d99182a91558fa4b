"""Tasks and messages in one list, one of them with all that belongs to it, and what is done about it.

from chalicelib.services import jobs

for row in jobs.list(states=["failed"], type="image.resize"):
    jobs.act(row.id, "retry")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib.core.cursors import Cursor
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job_acts import Act
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import acting
from chalicelib.engine.commands.acting import Given
from chalicelib.engine.commands.complete import Completion
from chalicelib.engine.job_filters import ORDERS, JobFilters, query_of
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.job_details import detail_of
from chalicelib.services.job_records import JobDetail, JobRow, row_of
from chalicelib.services.parameters import takes
from chalicelib.store.job_lists import PER_PAGE_MAX, WINDOW
from chalicelib.store.job_queries import JobQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which jobs; all conditions hold together, and what is left out is no condition.

    ``since`` and ``until``: when they were created. ``text``: words that are all in a task's input. ``fingerprint``: of
    a group of failures.
    """

    kind: Kind | str | None = None
    states: Sequence[State | str] = ()
    type: str | None = None  # a message's is its topic
    target_id: str | None = None
    target_type: str | None = None
    trace_id: str | None = None
    flow_key: str | None = None
    tenant: str | None = None
    schedule: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    fingerprint: str | None = None

    @property
    def checked(self) -> JobFilters:
        """The same, as the engine has it. Raises ``InvalidInput``."""
        return JobFilters(
            kind=None if self.kind is None else checks.word("kind", self.kind, Kind),
            states=tuple(checks.word("states", each, State) for each in checks.many("states", self.states)),
            type=checks.maybe_topic(self.type),
            target_id=checks.maybe_name("target_id", self.target_id),
            target_type=checks.maybe_name("target_type", self.target_type),
            trace_id=checks.maybe_name("trace_id", self.trace_id),
            flow_key=checks.maybe_name("flow_key", self.flow_key),
            tenant=checks.maybe_tenant(self.tenant),
            schedule=checks.maybe_name("schedule", self.schedule),
            since_ms=None if self.since is None else checks.at_ms("since", self.since),
            until_ms=None if self.until is None else checks.at_ms("until", self.until),
            text=checks.maybe_name("text", self.text),
            fingerprint=checks.maybe_name("fingerprint", self.fingerprint),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Filter):
    """Which jobs to list, in which order, and which part of them; see ``list``."""

    order: str = "createdAt"
    descending: bool = True
    per_page: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsPage:
    """A part of a list, and where it goes on; iterable."""

    items: Sequence[JobRow]
    next_cursor: str | None
    looked: int | None  # entries that were looked at for what no index answers; None: an index did
    complete: bool  # false: those were the 10,000 that are looked at, and there are more

    def __iter__(self) -> Any:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What was done about a job: its record then, ``None`` of a deleted one, and the id of a job that was made."""

    id: int
    kind: Kind
    type: str
    act: Act
    row: JobRow | None
    made: int | None


@takes(Listing)
def list(wanted: Listing) -> JobsPage:  # noqa: A001  # as in services.tasks
    """Jobs of either kind, newest first; the conditions are those of a ``Filter``.

    ``order``: ``createdAt`` or ``updatedAt``. ``per_page``: 1 to 100. An index answers for kind, type, states and
    creation; for the rest 10,000 jobs are looked at. Raises ``InvalidInput``.
    """
    if wanted.order not in [*ORDERS]:
        raise InvalidInput("there is no such order", field="order", expected=" or ".join(ORDERS), got=wanted.order)
    size, yard = checks.whole("per_page", wanted.per_page, 1, PER_PAGE_MAX), installation.yard()
    return page_of(yard, wanted.checked, wanted.order, size, wanted.cursor, descending=wanted.descending)


def detail(job: JobRow | int | str, *, whole: bool = False) -> JobDetail:
    """A job with all that belongs to it; ``whole``: what is kept in the bucket, too. Raises ``NotFound``."""
    return detail_of(installation.yard(), _id(job), whole=whole)


def act(
    job: JobRow | int | str,
    act: Act | str,
    *,
    by: str = "python",
    output: Any = None,
    status: State | str = State.SUCCESS,
) -> Acted:
    """Do something about a job: cancel, retry, promote, complete, replay, delete or rerun.

    ``status`` (success or failed) and ``output`` are of ``complete``, ``by`` is who does it. Raises ``NotFound``, and
    ``Conflict`` where the job's state does not allow it.
    """
    if status not in (State.SUCCESS, State.FAILED):
        raise InvalidInput("a task ends in one of two ways", field="status", expected="success or failed", got=status)
    given = Given(by=by, completion=completion_of(status, output, by))
    return acted(installation.yard(), _id(job), checks.word("act", act, Act), given)


def completion_of(status: str, output: Any, by: str) -> Completion:
    """How a task went, by the word of somebody: what was given is its output, or of a failed one its error."""
    if status == State.SUCCESS:
        return Completion(success=True, output=output, user=by)
    return Completion(success=False, error=output, user=by)


def page_of(
    yard: Yard, filters: JobFilters, order: str, size: int, cursor: str | None, *, descending: bool
) -> JobsPage:
    """At most ``size`` jobs of a list, from its beginning or behind a ``cursor`` of it. Raises ``InvalidInput``."""
    query = query_of(yard, filters, order, descending=descending)
    of_list = repr((filters, order, descending))
    behind = None if cursor is None else _position(cursor, of_list, query)
    page = yard.lists.cursor_page(query, size, behind)
    now_ms = yard.now_ms()
    return JobsPage(
        items=[row_of(job, now_ms) for job in page.jobs],
        next_cursor=None if page.next is None else Cursor(page.next, 0, False).to_text(of_list),
        looked=page.looked,
        complete=page.complete,
    )


def count_of(yard: Yard, filters: JobFilters) -> tuple[int, bool]:
    """How many jobs there are of a list, and whether that is exact: of more than 10,000 it is not."""
    page = yard.lists.page(query_of(yard, filters), 0, 1)
    return min(page.total, WINDOW), page.exact


def acted(yard: Yard, job_id: int, wanted: Act, given: Given) -> Acted:
    """Do something about a job. Raises as ``act`` does."""
    done = acting.act_on(yard, job_id, wanted, given)
    return Acted(
        id=job_id,
        kind=done.seen.kind,
        type=done.seen.type,
        act=wanted,
        row=None if done.job is None else row_of(done.job, yard.now_ms()),
        made=done.made,
    )


def _position(cursor: str, of_list: str, query: JobQuery) -> str:
    found = Cursor.read(cursor, of_list, query.positions)
    if found is None:
        raise InvalidInput(
            "this cursor does not belong to this list",
            field="cursor",
            expected="the nextCursor of an answer to the same list with the same filters",
            got=cursor,
        )
    return found.position


def _id(job: JobRow | int | str) -> int:
    return job.id if isinstance(job, JobRow) else checks.job_id(job, "job")

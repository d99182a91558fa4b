"""Parts of lists of jobs, for HTTP and Python alike: by page number, or by a cursor that goes on where one ended.

A page number counts from the newest entry, so what is published meanwhile moves the pages. A cursor names the place
behind the last entry shown: it is found at once, however deep, and stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from chalicelib.core.cursors import Cursor
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job
from chalicelib.engine.yard import Yard
from chalicelib.services import checks
from chalicelib.services.records import Page
from chalicelib.store.job_lists import OFFSET_MAX, PER_PAGE_MAX, JobLists
from chalicelib.store.job_queries import JobQuery

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Listed:
    """A part of a list of jobs; ``total`` and ``exact`` by cursor are what the first page counted."""

    jobs: list[Job]
    total: int
    exact: bool
    next_cursor: str | None


def listed(lists: JobLists, query: JobQuery, size: int, behind: int | Cursor, filters: str) -> Listed:
    """Up to ``size`` jobs of the list ``query`` behind so many others, or behind a cursor.

    ``filters`` tells the cursors of this list from those of others.
    """
    if isinstance(behind, Cursor):
        cursor_page = lists.cursor_page(query, size, behind.position)
        jobs, total, exact, position = cursor_page.jobs, behind.total, behind.exact, cursor_page.next
    else:
        page = lists.page(query, behind, size)
        jobs, total, exact, position = page.jobs, page.total, page.exact, page.next
    return Listed(jobs, total, exact, None if position is None else Cursor(position, total, exact).to_text(filters))


def page_of(
    yard: Yard,
    query: JobQuery,
    shape: Callable[[Job, Mapping[str, Any] | None], Item],
    *,
    page: int,
    per_page: int,
    cursor: str | None,
) -> Page[Item]:
    """Part of a list: page ``page`` (from 1) of ``per_page`` (1 to 100) items, or what follows ``cursor``.

    Raises ``InvalidInput``.
    """
    size = checks.whole("per_page", per_page, 1, PER_PAGE_MAX)
    number = checks.whole("page", page, 1, OFFSET_MAX // size + 1)
    if cursor is not None and number != 1:
        raise checks.not_one("a page is found by its number or by a cursor", field="cursor", given=True)
    behind = (number - 1) * size if cursor is None else _cursor_in(cursor, query)
    found = listed(yard.lists, query, size, behind, _filters(query))
    bodies = yard.payloads.bodies(found.jobs)
    return Page(
        items=[shape(job, bodies[job.id]) for job in found.jobs],
        total_count=found.total if cursor is None else None,
        total_is_exact=found.exact if cursor is None else False,
        next_cursor=found.next_cursor,
    )


def _cursor_in(text: str, query: JobQuery) -> Cursor:
    """The cursor of this very list. Raises ``InvalidInput`` for anything else."""
    found = Cursor.read(text, _filters(query), query.positions)
    if found is None:
        raise InvalidInput(
            "this is no cursor of this list",
            field="cursor",
            expected="the next_cursor of a page of the same list with the same filters",
            got=text,
        )
    return found


def _filters(query: JobQuery) -> str:
    order = (query.order.name, query.descending) if query.order else query.descending
    about = (query.trace_id, query.target_id, query.words)
    return repr((query.kind, query.type, query.index_keys, query.since_ms, query.until_ms, about, order))

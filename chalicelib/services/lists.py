"""Pages of messages, as both lists of the services show them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job
from chalicelib.engine.yard import Yard
from chalicelib.services import checks
from chalicelib.services.records import Page
from chalicelib.store.job_lists import OFFSET_MAX, PER_PAGE_MAX, JobQuery

MARK_CHARS = 12

Item = TypeVar("Item")


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
    if cursor is None:
        found = yard.lists.page(query, (number - 1) * size, size)
        jobs, total, exact, position = found.jobs, found.total, found.exact, found.next
    else:
        if number != 1:
            raise InvalidInput("a page is found by its number or by a cursor", field="cursor", expected="one of them")
        cursor_page = yard.lists.cursor_page(query, size, _position(cursor, query))
        jobs, total, exact, position = cursor_page.jobs, None, False, cursor_page.next
    bodies = yard.payloads.bodies(jobs)
    return Page(
        items=[shape(job, bodies[job.id]) for job in jobs],
        total_count=total,
        total_is_exact=exact,
        next_cursor=None if position is None else f"{position}.{_mark(query)}",
    )


def _position(cursor: str, query: JobQuery) -> str:
    """The place that a cursor of this very list names. Raises ``InvalidInput``."""
    position, _, mark = cursor.rpartition(".") if isinstance(cursor, str) else ("", "", "")
    if query.positions.fullmatch(position) is None or mark != _mark(query):
        raise InvalidInput(
            "this is no cursor of this list",
            field="cursor",
            expected="the next_cursor of a page of the same list with the same filters",
            got=cursor,
        )
    return position


def _mark(query: JobQuery) -> str:
    """What tells the cursors of one list from those of others."""
    order = (query.order.name, query.descending) if query.order else query.descending
    about = (query.trace_id, query.target_id, query.words)
    asked = (query.kind, query.type, query.index_keys, query.since_ms, query.until_ms, about, order)
    return hashlib.sha256(repr(asked).encode("utf-8", "surrogatepass")).hexdigest()[:MARK_CHARS]

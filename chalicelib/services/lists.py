"""Pages of messages, as both lists of the services show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job
from chalicelib.engine.yard import Yard
from chalicelib.services import checks
from chalicelib.services.records import Page
from chalicelib.store.job_lists import OFFSET_MAX, PER_PAGE_MAX, Wanted

Item = TypeVar("Item")


def page_of(
    yard: Yard,
    wanted: Wanted,
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
        found = yard.lists.page(wanted, (number - 1) * size, size)
        jobs, total, exact, place = found.jobs, found.total, found.exact, found.next
    else:
        if number != 1:
            raise InvalidInput("a page is found by its number or by a cursor", field="cursor", expected="one of them")
        stretch = yard.lists.stretch(wanted, size, checks.cursor(cursor))
        jobs, total, exact, place = stretch.jobs, None, False, stretch.next
    bodies = yard.payloads.bodies(jobs)
    return Page(
        items=[shape(job, bodies[job.id]) for job in jobs],
        total_count=total,
        total_is_exact=exact,
        next_cursor=None if place is None else str(place),
    )

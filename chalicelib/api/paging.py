"""Parts of lists: by page number, or by a cursor that goes on where an answer ended.

A page number counts from the newest entry, so what is published meanwhile moves the pages. A cursor names the place
behind the last entry shown: it is found at once, however deep, and stays where it is. It carries what the first
answer counted, so that nothing is counted again, and a checksum over itself and the filters it was made for. That is
no signature, and none is needed: a cursor opens nothing that the list does not show to the same caller.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from chalicelib.core.job import Job
from chalicelib.http.models import AnswerModel, ApiModel
from chalicelib.http.problems import BadRequest
from chalicelib.store.job_lists import OFFSET_MAX, PER_PAGE_MAX, JobLists, JobQuery, Position
from chalicelib.store.payloads import PayloadStore, answered_bytes
from chalicelib.store.table import chunks

PAGE_MAX = 100_000
BODIES_MAX_BYTES = 4 * 1024 * 1024  # of the 6 MB that Lambda can answer
BODIES_AT_ONCE = 32  # up to 8 MB read for one page where bodies are as large as they can be outside the bucket
CHECK_BYTES = 9
CURSOR_MAX_CHARS = 2_048  # a name that a list is sorted by may have 256 characters of four bytes
EXPECTED = "the nextCursor of an answer to the same list with the same filters"


class Paging(ApiModel):
    """Which part of a list."""

    per_page: int = Field(default=20, ge=1, le=PER_PAGE_MAX, description="Items on a page")
    current_page: int = Field(default=1, ge=1, le=PAGE_MAX, description="The page, from 1")
    cursor: str | None = Field(default=None, description="Instead of a page: the nextCursor of the answer before")

    @field_validator("current_page")
    @classmethod
    def _in_reach(cls, page: int, info: ValidationInfo) -> int:
        if (page - 1) * info.data.get("per_page", 1) > OFFSET_MAX:
            raise ValueError(f"a page that begins within the first {OFFSET_MAX} entries; nextCursor leads beyond")
        return page

    @model_validator(mode="after")
    def _one_way(self) -> Paging:
        if self.cursor is not None and self.current_page != 1:
            raise ValueError("either cursor or currentPage, and not both")
        return self

    @property
    def offset(self) -> int:
        """How many items come before the page."""
        return (self.current_page - 1) * self.per_page

    @property
    def filters(self) -> str:
        """What the query asks for beside its place in the list."""
        asked = self.model_dump_json(exclude={"per_page", "current_page", "cursor"})
        return f"{type(self).__name__} {asked}"


class ListAnswer(AnswerModel):
    """What every list answers beside its entries."""

    total_count: int = Field(description="How many there are; on pages by cursor, how many the first page counted")
    total_is_exact: bool = Field(description="false: only the newest 10,000 were counted, or looked at")
    next_cursor: str | None = Field(description="Sent as cursor it gives what follows; null at the end of the list")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list, and what the first page of the list counted."""

    position: Position
    total: int
    exact: bool

    def to_text(self, filters: str) -> str:
        """What a client gets to see."""
        shown = [self.position, self.total, self.exact]
        content = json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(_check(content, filters) + content).decode().rstrip("=")


def cursor_in(text: str, filters: str, positions: re.Pattern[str]) -> Cursor:
    """The cursor that ``to_text`` wrote for a list with these ``filters``; raises ``BadRequest`` for anything else.

    ``positions`` is the form of its places.
    """
    try:
        if len(text) > CURSOR_MAX_CHARS:
            raise ValueError("no cursor is so long")
        written = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        check, content = written[:CHECK_BYTES], written[CHECK_BYTES:]
        if check != _check(content, filters):
            raise ValueError("of another list, or changed")
        position, total, exact = json.loads(content)
        if not (
            isinstance(position, str) and positions.fullmatch(position) and type(total) is int and type(exact) is bool
        ):
            raise ValueError("made by hand")
    except (ValueError, TypeError, RecursionError) as error:
        raise BadRequest("this cursor does not belong to this list", field="cursor", expected=EXPECTED, got=text) from (
            error
        )
    return Cursor(position, total, exact)


@dataclass(frozen=True, slots=True)
class Listed:
    """A part of a list of jobs, as answers tell of it."""

    jobs: list[Job]
    total: int
    exact: bool
    next_cursor: str | None


def listed(lists: JobLists, job_query: JobQuery, query: Paging) -> Listed:
    """The part of the list ``job_query`` that ``query`` asks for."""
    if query.cursor is None:
        page = lists.page(job_query, query.offset, query.per_page)
        jobs, total, exact, position = page.jobs, page.total, page.exact, page.next
    else:
        cursor = cursor_in(query.cursor, query.filters, job_query.positions)
        cursor_page = lists.cursor_page(job_query, query.per_page, cursor.position)
        jobs, total, exact, position = cursor_page.jobs, cursor.total, cursor.exact, cursor_page.next
    following = None if position is None else Cursor(position, total, exact).to_text(query.filters)
    return Listed(jobs, total, exact, following)


def bodies_of(payloads: PayloadStore, jobs: list[Job]) -> dict[int, dict[str, Any] | None]:
    """The bodies of a page of jobs by id; ``None`` for one in the bucket, and once an answer could hold no more."""
    bodies: dict[int, dict[str, Any] | None] = {job.id: None for job in jobs}
    small = [job for job in jobs if job.body_at is None]
    beside = [job for job in jobs if job.body_at is not None]
    bodies |= payloads.bodies(small)
    room_bytes = BODIES_MAX_BYTES
    for some in chunks(beside, BODIES_AT_ONCE):
        for job_id, body in payloads.bodies(list(some)).items():
            room_bytes -= answered_bytes(json.dumps(body))
            if room_bytes < 0:
                return bodies
            bodies[job_id] = body
    return bodies


def _check(content: bytes, filters: str) -> bytes:
    return hashlib.sha256(b"\n".join((filters.encode(), content))).digest()[:CHECK_BYTES]

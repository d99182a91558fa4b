"""Which part of a list a request asks for, and what its answer says beside the entries."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from chalicelib.core.cursors import Cursor
from chalicelib.core.job import Job
from chalicelib.http.models import AnswerModel, ApiModel
from chalicelib.http.one_of import unfit
from chalicelib.http.problems import BadRequest
from chalicelib.services import lists as services
from chalicelib.services.lists import Listed
from chalicelib.store.job_lists import OFFSET_MAX, PER_PAGE_MAX, JobLists
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.payloads import PayloadStore, answered_bytes
from chalicelib.store.table import chunks

PAGE_MAX = 100_000
BODIES_MAX_BYTES = 4 * 1024 * 1024  # of the 6 MB that Lambda can answer
BODIES_AT_ONCE = 32  # up to 8 MB read for one page where bodies are as large as they can be outside the bucket
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
            raise unfit("either cursor or currentPage, and not both", "both", "leave out currentPage")
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


def cursor_in(text: str, filters: str, positions: re.Pattern[str]) -> Cursor:
    """The cursor of a list with these ``filters``; raises ``BadRequest`` for anything else.

    ``positions`` is the form of its places.
    """
    found = Cursor.read(text, filters, positions)
    if found is None:
        raise foreign(text)
    return found


def foreign(cursor: str) -> BadRequest:
    """What is said of a cursor that is none of the list's."""
    return BadRequest("this cursor does not belong to this list", field="cursor", expected=EXPECTED, got=cursor)


def listed(lists: JobLists, job_query: JobQuery, query: Paging) -> Listed:
    """The part of the list ``job_query`` that ``query`` asks for."""
    cursor = None if query.cursor is None else cursor_in(query.cursor, query.filters, job_query.positions)
    return services.listed(lists, job_query, query.per_page, cursor or query.offset, query.filters)


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

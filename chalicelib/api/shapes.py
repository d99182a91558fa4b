"""What the answers and requests of several dialects share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from chalicelib.api.models import ApiModel
from chalicelib.core.errors import NotFound
from chalicelib.core.ids import parse_job_id

PER_PAGE_MAX = 100
PAGE_MAX = 100_000
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)


def _aware(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if not EARLIEST <= aware < LATEST:
        raise ValueError("a time between the years 1970 and 9998")
    return aware


Moment = Annotated[datetime, AfterValidator(_aware)]
"""A point in time: ISO 8601; UTC where it names no zone."""


class Paging(ApiModel):
    """Which page of a list."""

    per_page: int = Field(default=20, ge=1, le=PER_PAGE_MAX, description="Items on a page")
    current_page: int = Field(default=1, ge=1, le=PAGE_MAX, description="The page, from 1")

    @property
    def offset(self) -> int:
        """How many items come before the page."""
        return (self.current_page - 1) * self.per_page


def job_id_of(text: str, what: str) -> int:
    """The id that a client wrote; raises ``NotFound`` for a text that can be no id."""
    job_id = parse_job_id(text)
    if job_id is None:
        raise NotFound(f"there is no {what} {text[:40]!r}", field="id", got=text)
    return job_id


def to_ms(moment: datetime) -> int:
    """A point in time in milliseconds since 1970."""
    return round(moment.timestamp() * 1_000)


def iso(at_ms: int | None) -> str | None:
    """A point in time as JavaScript writes it: ``2026-01-31T12:00:00.000Z``."""
    if at_ms is None:
        return None
    moment = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03d}Z"


def without_secret(context: Any) -> Any:
    """A task's context as it may be shown: never with its secret."""
    if isinstance(context, dict):
        return {name: value for name, value in context.items() if name != "secret"}
    return context

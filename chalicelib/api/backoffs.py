"""How clients write the wait before a retry: kue's forms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from chalicelib.core.retry import DELAY_MAX_MS, Backoff, backoff_from
from chalicelib.http.models import NOT_BOOLEAN, ApiModel, Name


class BackoffForm(ApiModel):
    """A wait that stays the same, or one that doubles."""

    delay: Annotated[int, Field(ge=0, le=DELAY_MAX_MS), NOT_BOOLEAN] | None = Field(
        default=None, description="Milliseconds; else the job's delay"
    )
    type: Literal["fixed", "exponential"] = "fixed"


def _kind(request: object) -> str:
    """Which of its forms a request has, so that an error speaks of that one alone."""
    return "flag" if isinstance(request, bool) else "form" if isinstance(request, dict | BackoffForm) else "name"


BackoffRequest = Annotated[
    Annotated[Literal[True], Tag("flag")] | Annotated[BackoffForm, Tag("form")] | Annotated[Name, Tag("name")],
    Discriminator(_kind),
    Field(
        description="true: the job's delay before each retry. type fixed: delay each time; exponential: delay times "
        "2, 4, 8 and so on. A text: the function registered under this name",
        examples=[{"delay": 60_000, "type": "fixed"}],
    ),
]


def backoff_of(request: bool | BackoffForm | str | None, delay_ms: int) -> Backoff | None:
    """What a requested backoff means for a job with a delay; ``None`` where there is none."""
    if request is None:
        return None
    return backoff_from(
        {"delay": request.delay, "type": request.type} if isinstance(request, BackoffForm) else request, delay_ms
    )

"""Why a job is not running, for Python: what ``/api/job/{id}/why`` answers. Its users call ``services.why``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib.core.reasons import Code
from chalicelib.engine import why as engine
from chalicelib.services import checks, installation
from chalicelib.services.records import Message, Task, maybe_moment_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a job is not running, or what has become of it; docs/why.md lists the reasons."""

    id: int
    state: str  # "deleted" of one that was
    reason: Code  # for programs
    sentence: str  # for people
    expected_start: datetime | None  # where it can be known
    since: datetime | None
    details: Mapping[str, Any]
    remedy: str | None  # what people can do


def explain(job: Task | Message | int | str) -> Why:
    """Why a job is not running. Raises ``NotFound`` for what never was."""
    job_id = checks.job_id(job.id if isinstance(job, Task | Message) else job, "job")
    return why_of(job_id, engine.why(installation.yard(), job_id))


def why_of(job_id: int, found: engine.Explained) -> Why:
    """What was found, as it is shown."""
    reason = found.reason
    return Why(
        id=job_id,
        state=found.state,
        reason=reason.code,
        sentence=reason.sentence,
        expected_start=maybe_moment_of(reason.expected_start_ms),
        since=maybe_moment_of(reason.since_ms),
        details=reason.details,
        remedy=reason.remedy,
    )

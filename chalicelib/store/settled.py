"""What a settle leaves on the record: the output, who completed the job, and a token by which it knows its own work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chalicelib.core.job import Job, changed

SETTLE_MARK = "."  # between a lease and its settle token; neither has one


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output in the record itself (``text``) or at a place of its own (``place``); both ``None``: nothing."""

    text: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """Who completed a job, and what they said. By its ``settle_token`` a repeated write knows its own work."""

    settle_token: str
    user: str | None = None
    msg: str | None = None

    def sets(self) -> dict[str, Any]:
        """The item's attributes for it."""
        return {"seal": self.settle_token, "completed_by": self.user, "msg": self.msg}


def with_settle_token(job: Job, settle_token: str) -> Job:
    """``job`` for a settle that is told from every other under the same lease, by a ``settle_token`` nobody else has.

    A worker alone knows its lease, so a settle that finds its lease's work done finds its own. A polled message is
    settled by id: two clients may read the same lease and settle at once, and only one may count it as done.
    """
    return changed(job, lease=f"{job.lease}{SETTLE_MARK}{settle_token}")

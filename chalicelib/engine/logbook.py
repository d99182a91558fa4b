"""A job's log: what its handler, or whoever works on it elsewhere, wants to be read later. The newest 100 entries."""

from __future__ import annotations

import itertools
from typing import Any

from chalicelib.core.documents import jsonable
from chalicelib.core.texts import readable
from chalicelib.engine.yard import Yard
from chalicelib.store.job_details import LogEntry

TRIMMED_ONE_IN = 16  # writes: the surplus stays small, and few writes pay for it

_numbers = itertools.count()  # what one process writes within a millisecond stays in order


def write(yard: Yard, job_id: int, message: str = "", data: Any = None) -> None:
    """Add an entry to the log of a job that exists. Raises ``InvalidInput``, and ``TooLarge`` beyond 32 KB."""
    place = f"{next(_numbers) % 1_000_000:06d}-{yard.token()}"
    yard.job_details.write_log(job_id, LogEntry(yard.now_ms(), readable(message), jsonable(data, "data")), place)
    if yard.random_bytes(1)[0] % TRIMMED_ONE_IN == 0:
        yard.job_details.trim_log(job_id)


def read(yard: Yard, job_id: int) -> list[LogEntry]:
    """The newest 100 entries, the newest first; none for a job without any."""
    return yard.job_details.log(job_id)

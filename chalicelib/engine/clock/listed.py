"""The jobs of a list of ids, as the steps of the clock read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from chalicelib.core.job import Job
from chalicelib.engine.yard import Yard

READ_CHUNK = 100

Key = TypeVar("Key", int, str)


def name_of(job: Job) -> str:
    """How the log names a job that a sweep passed over."""
    return f"job {job.id}"


def jobs_of(yard: Yard, ids: Iterable[int]) -> Iterable[Job]:
    """The jobs of a list of ids, read a hundred at a time."""
    for chunk in chunks_of(ids):
        yield from yard.jobs.find_many(chunk)


def chunks_of(ids: Iterable[Key], size: int = READ_CHUNK) -> Iterator[list[Key]]:
    """Ids, or names, ``size`` at a time, drawn from their index as they are needed."""
    drawn = iter(ids)
    while chunk := list(islice(drawn, size)):
        yield chunk

"""Limits of a task type: how many of its tasks run at the same time, and how many may be unfinished."""

from __future__ import annotations

from dataclasses import dataclass

CONCURRENCY_MAX = 1_000
SIZE_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """``concurrency``: how many run at once in the whole deployment; ``size``: how many may be unfinished.

    ``None`` is no limit.
    """

    concurrency: int | None = None
    size: int | None = None

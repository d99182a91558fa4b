"""Handlers under the names of PHP classes, as Serendipity-Job's contents have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalicelib import Context, task

SIMPLE_JOB = "\\Serendipity\\Job\\Job\\SimpleJob"
meanwhile: list[Callable[[Context], Any]] = []  # what a test does while SimpleJob runs


@task(SIMPLE_JOB)
def simple_job(params: Any, context: Context) -> Any:
    """Return the params, after what a test wants done meanwhile."""
    while meanwhile:
        meanwhile.pop()(context)
    return params

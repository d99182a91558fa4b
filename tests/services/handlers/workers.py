"""Handlers of tasks, for the tests of the services."""

from __future__ import annotations

from typing import Any

from chalicelib.engine.handlers.declare import on_success, task
from chalicelib.engine.worker.context import Context
from chalicelib.services import tasks

ended: list[Any] = []
"""The results that came to ``end``, in order."""


@task("worked", max_attempts=2)
def worked(given: Any, context: Context) -> Any:
    """Park where the input is None, fail where it is a text; create what a dict names, fail as often as it says."""
    if given is None:
        context.next()
    if isinstance(given, str):
        raise ValueError(given)
    if isinstance(given, dict) and "create" in given:
        made = tasks.create(given["create"], target_id="t", target_type="t", once="made", within=context)
        if context.attempt <= given["failures"]:
            raise ValueError("no luck yet")
        return {"made": made.id, "attempt": context.attempt}
    return given


@on_success("ended")
def end(result: Any) -> None:
    """Remember the result."""
    ended.append(result)

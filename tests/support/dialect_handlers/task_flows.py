"""Tasks that park, poll, log and are completed, as their input tells them to."""

from __future__ import annotations

from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.engine.handlers.declare import backoff, on_success, task
from chalicelib.engine.worker.context import Context


@task("flow.parked")
def parked(given: Any, context: Context) -> None:
    """Note something in the log, and wait to be called back; the input replaces what it names of the context."""
    context.write_log("parked", {"given": "with a context" if given else None})
    context.next(given)


@task("flow.polled")
def polled(answers: list[dict[str, Any]], context: Context) -> Any:
    """Poll with the answers of the input, one a look; returns what the last of them brings."""
    return context.polling(lambda: answers[context.job.poll_count], max_poll_times=3, poll_interval_ms=1_000)


@task("flow.reported")
def reported(given: Any) -> Any:
    """Answer the input."""
    return given


@on_success("flow.reported")
def report(result: Any, context: Context) -> None:
    """Log the result; refuse one that says so."""
    context.write_log("reported", result)
    if result == "refuse":
        raise InvalidInput("nobody wants this result")


@task("flow.scripts")
def index(given: Any) -> str:
    """The script that runs where a task names none."""
    return f"index of {given}"


@task("flow.scripts", script="nightly_2-b")
def nightly(given: Any) -> str:
    """Another script of the same type."""
    return f"nightly of {given}"


@backoff("by.sevens")
def by_sevens(retry: int) -> float:
    """A wait of 7, 14, 21 s."""
    return 7_000 * retry

"""Handlers that do what their input says, for the tests of the dialects."""

from __future__ import annotations

from typing import Any

from chalicelib.core.retry import Fixed
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.worker.context import Context, Reject


def obey(script: Any, context: Context) -> Any:
    """Do what a script says.

    ``{"fail": "why"}`` fails, with ``"until": 2`` in its first two runs only; ``{"reject": "why"}`` at once and for
    good; ``{"grow": 9}`` answers a text of that length; ``{"progress": [1, 4, "word"]}`` is reported first. Anything
    else is answered as it came.
    """
    if isinstance(script, dict):
        if "progress" in script:
            context.progress(*script["progress"])
        if "reject" in script:
            raise Reject(script["reject"])
        if "fail" in script and context.job.attempts <= script.get("until", context.job.attempts):
            raise ValueError(script["fail"])
        if "grow" in script:
            return "x" * script["grow"]
    return script


@task("scripted")
def scripted(script: Any, context: Context) -> Any:
    """A task of the default pool."""
    return obey(script, context)


@task("patient", pool="patient", backoff=Fixed(2_000), max_attempts=2, timeout_s=7)
def patient(script: Any, context: Context) -> Any:
    """A task with a pool, a backoff, a number of attempts and a time-out of its own."""
    return obey(script, context)


@subscribe("scripted.topic")
def on_scripted(script: Any, context: Context) -> Any:
    """A subscriber."""
    return obey(script, context)


@task("scarce", concurrency=1, size=1)
def scarce(script: Any, context: Context) -> Any:
    """A task of which one alone may be unfinished."""
    return obey(script, context)

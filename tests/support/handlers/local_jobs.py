"""Handlers by which tests see how the local runtime treats a process."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from chalicelib.core.retry import Fixed
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.worker.context import Context


@task("note.down")
def note_down(given: dict[str, str]) -> None:
    """Append a word to a file."""
    with open(given["file"], "a", encoding="utf-8") as file:
        file.write(given["word"] + "\n")


def _million_s() -> float:
    began_s = time.perf_counter()
    sum(range(1_000_000))
    return time.perf_counter() - began_s


@task("hold", max_attempts=3, backoff=Fixed(0))
def hold(given: dict[str, Any], context: Context) -> dict[str, int]:
    """Keep the interpreter to itself for some ``s``, in one call in C, at the first attempt; tell of begin and end."""
    with open(given["file"], "a", encoding="utf-8", buffering=1) as file:
        file.write(f"begin {context.attempt}\n")
        if context.attempt == 1:
            sum(range(round(given["s"] / min(_million_s() for _ in range(9))) * 1_000_000))
        file.write(f"end {context.attempt}\n")
    return {"attempt": context.attempt}


@task("freeze")
def freeze(_given: Any, context: Context) -> dict[str, int]:
    """Stop the whole process, heartbeat and all, at the first attempt."""
    if context.job.attempts == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return {"attempt": context.job.attempts}

"""Handlers by which tests see how the local runtime treats a process."""

from __future__ import annotations

import os
import signal
from typing import Any

from chalicelib.engine.context import Context
from chalicelib.engine.handlers import task


@task("note.down")
def note_down(given: dict[str, str]) -> None:
    """Append a word to a file."""
    with open(given["file"], "a", encoding="utf-8") as file:
        file.write(given["word"] + "\n")


@task("freeze")
def freeze(_given: Any, context: Context) -> dict[str, int]:
    """Stop the whole process, heartbeat and all, at the first attempt."""
    if context.job.attempts == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return {"attempt": context.job.attempts}

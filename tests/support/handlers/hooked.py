"""A handler and hooks by which a test sees what is told, in which order, and what a death in mid-hook does."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from chalicelib.core.job_events import EventType, JobEvent
from chalicelib.engine.handlers.declare import on, task
from chalicelib.engine.worker.context import Context

TOLD = "told"
DIED = "died"


@task("hooked")
def hooked(given: Any, context: Context) -> Any:
    """Say how far it is, and return what was given."""
    context.progress(1, 2, "half")
    return given


@on("create", "hooked")
@on("enqueue", "hooked")
@on("start", "hooked")
@on("progress", "hooked")
@on("complete", "hooked")
def note(event: JobEvent) -> None:
    """Append what happened, with the output if there is one, to a file in the folder that is the task's target.

    The first time that a task starts, the whole process dies.
    """
    folder = Path(event.job.target_id or "")
    with (folder / TOLD).open("a", encoding="utf-8") as file:
        file.write(f"{event.what}: {event.output()}\n")
    if event.what is EventType.START and not (folder / DIED).exists():
        (folder / DIED).touch()
        os.kill(os.getpid(), signal.SIGKILL)

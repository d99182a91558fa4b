"""Handlers that fail, wait and report as a test tells them to."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.worker.context import Context

PAUSE_S = 0.05


@subscribe("always.fails")
def always_fails(payload: dict[str, Any]) -> None:
    """Fails every time."""
    raise RuntimeError(f"no luck with {payload['n']}")


@subscribe("count.me")
def count_me(payload: dict[str, Any]) -> None:
    """Fails for every hundredth message, and for good."""
    if payload["n"] % 100 == 99:
        raise RuntimeError("one of the unlucky ones")


@task("wait.for.file", timeout_s=120)
def wait_for_file(given: dict[str, str], context: Context) -> dict[str, Any]:
    """Say who runs it, then wait until a file is there."""
    Path(given["started"]).write_text(f"{os.getpid()} {context.job.attempts}")
    while not Path(given["until"]).exists():
        context.progress(0, 1, f"attempt {context.job.attempts} waits")
        time.sleep(PAUSE_S)
    return {"attempt": context.job.attempts}

"""Processes that see for themselves who else runs, and note on disk what they are told."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from chalicelib.services.pools import pool

PAUSE_S = 0.02
NOTES = "TASKYARD_TEST_NOTES"  # the folder for what happens, by its environment variable


def alone(job_id: int, folder: str) -> int:
    """Hold a lock file that only one may make; note who else holds it, and that this job ran."""
    lock = Path(folder, "lock")
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        Path(folder, f"met-another-{job_id}").touch()
        return 0
    try:
        with Path(folder, f"ran-{job_id}").open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
    finally:
        lock.unlink()
    return os.getpid()


def wait(job_id: int, word: str) -> dict[str, Any]:
    """Tell who runs it, then wait until a file ``go`` is there; fail for the word ``bad``."""
    folder = Path(os.environ[NOTES])
    (folder / f"runs-{job_id}").write_text(str(os.getpid()))
    while not (folder / "go").exists():
        time.sleep(PAUSE_S)
    pool("five").progress(job_id, 1, 2, f"half of {word}")
    if word == "bad":
        raise ValueError("a bad word")
    return {"word": word}


def next_id() -> int:
    """The number after the last one; no two ask at the same time."""
    counter = Path(os.environ[NOTES], "counter")
    number = int(counter.read_text()) + 1 if counter.exists() else 1001
    counter.write_text(str(number))
    return number


def on_add(job_id: int) -> None:
    _note("add", job_id)


def on_success(job_id: int, response: Any) -> None:
    _note("success", job_id, response)


def on_error(job_id: int, error: str) -> None:
    _note("error", job_id, error)


def on_progress(job_id: int, current: float, total: float, message: str) -> None:
    _note("progress", job_id, current, total, message)


def _note(*told: Any) -> None:
    with Path(os.environ[NOTES], "told").open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")

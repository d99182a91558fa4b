"""A data folder whose disk is full: what ``taskyard up --data-dir`` accepts then, and what of it is there afterwards.

    python -m tests.chaos.disk          # as root, on Linux: it mounts a small tmpfs

The disk fills while jobs are created, is freed again, and the service is stopped and started: nothing that was accepted
may be missing. Then it fills once more and all processes are killed (-9): only what was accepted since it filled, of
which the service had said that it is in memory only, may be missing. Exits with 1 where more is.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.benchmarks.aws_calls import out
from tests.support.up import Service, running

SIZE = "6m"
SAVED_S = 8.0  # a save is under way by then
BLOCK = b"x" * 65_536


def main() -> int:
    """Both, and what is missing."""
    with tempfile.TemporaryDirectory(prefix="disk-") as folder, _small_disk(Path(folder) / "disk") as disk:
        options, told = ("--data-dir", str(disk / "data"), "--workers", "1"), Path(folder)
        with running(told, *options, TASKYARD_HANDLERS="tests.chaos.handlers") as service:
            ids = _create(service, 20)
            time.sleep(SAVED_S)
            with _full(disk):
                ids += _create(service, 40)
                time.sleep(SAVED_S)
                ids += _create(service, 20)
            time.sleep(SAVED_S)
            ids += _create(service, 20)
        with running(told, *options, TASKYARD_HANDLERS="tests.chaos.handlers") as service:
            lost = _missing(service, ids)
            with _full(disk):
                risked = _create(service, 40)
                time.sleep(SAVED_S)
                service.kill()
        with running(told, *options, TASKYARD_HANDLERS="tests.chaos.handlers") as service:
            lost += _missing(service, ids)
            out(f"of {len(ids)} accepted on a disk that was full for a time, missing: {len(lost)}")
            out(f"of {len(risked)} accepted on a full disk before a kill, missing: {len(_missing(service, risked))}")
    return int(bool(lost))


def _create(service: Service, number: int) -> list[str]:
    """The ids of those tasks, of so many, that were accepted."""
    body = {"type": "plain", "targetId": "t", "targetType": "disk", "runnerType": "system", "input": {"ms": 1}}
    answers = [service.call("POST", "/api/task/create", body) for _ in range(number)]
    return [found["id"] for status, found in answers if status == 200]


def _missing(service: Service, ids: list[str]) -> list[str]:
    return [each for each in ids if service.call("GET", f"/api/task/detail?id={each}")[0] != 200]


@contextmanager
def _small_disk(path: Path) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["/bin/umount", "-l", str(path)], check=True)


@contextmanager
def _full(disk: Path) -> Iterator[None]:
    """While it lasts, nothing more can be written."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(BLOCK)
    try:
        yield
    finally:
        ballast.unlink()


if __name__ == "__main__":
    sys.exit(main())

"""A metered emulator of a contender's own: it begins empty, and says what it was asked and what it took."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chalicelib.local.emulator import HEALTH_PATH
from tests.benchmarks.head_to_head.programs import meter
from tests.support.processes import clean_environment
from tests.support.up import free_port
from tests.support.waiting import until

PROJECT = Path(__file__).parents[3]
PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class Reading:
    """What an emulator took until now: its CPU in seconds, and the requests that it has had."""

    cpu_s: float
    requests: int


@dataclass(frozen=True, slots=True)
class MeteredEmulator:
    """A running one."""

    url: str

    def reading(self) -> Reading:
        """What it took until now."""
        told = json.loads(_get(self.url + meter.PATH))
        return Reading(told["cpu_s"], sum(told["requests"].values()))


@contextmanager
def metered_emulator(folder: Path) -> Iterator[MeteredEmulator]:
    """An emulator on a free port of 127.0.0.1, which keeps nothing; ended with the block, or with this process."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {"PYTHONPATH": str(PROJECT), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    with (folder / "emulator.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "metered_emulator.py"), "--port", str(port)],
            stdin=subprocess.PIPE,  # at whose end it follows this process
            stdout=log,
            stderr=log,
            env={**clean_environment(), **variables},
            start_new_session=True,  # Ctrl-C is for this process, which ends it in the end
        )
    try:
        until(lambda: _answers(url, process))
        yield MeteredEmulator(url)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the emulator has ended"
    try:
        return bool(_get(url + HEALTH_PATH))
    except OSError:
        return False


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # a loopback address of our own
        content: bytes = answer.read()
        return content

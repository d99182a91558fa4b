"""The emulator below a contender: it says what it was asked and what it took (``programs/sitecustomize.py``)."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from chalicelib.local.emulator import Emulator
from tests.benchmarks.head_to_head.programs import meter

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
        with urllib.request.urlopen(self.url + meter.PATH) as answer:  # noqa: S310  # a loopback address of our own
            told = json.load(answer)
        return Reading(told["cpu_s"], sum(told["requests"].values()))


@contextmanager
def metered_emulator(bytecode: Path) -> Iterator[MeteredEmulator]:
    """A new one of this build, on a free port of 127.0.0.1; it ends with the block, or with this process."""
    variables = {"PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROGRAMS)])}
    with patch.dict(os.environ, {**variables, "PYTHONPYCACHEPREFIX": str(bytecode)}):
        emulator = Emulator.start()
    with emulator:
        yield MeteredEmulator(emulator.endpoint_url)

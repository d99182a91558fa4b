"""What handlers wrote down: how far they are while they work, and every run once they are done."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.handlers import FIRST_PART
from tests.proof.history import Run

LASTING = ("ok", "rejected")


@dataclass(slots=True)
class Progress:
    """How far the handlers are that write to ``log``, read as it grows, for several threads."""

    log: Path
    begun: int = 0  # runs
    _ended: set[str] = field(default_factory=set)  # the jobs that need no further run
    _read_to: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> int:
        """How many jobs have been run to an end."""
        return len(self._ended)

    def look(self) -> None:
        """Read on."""
        with self._lock:
            if not self.log.exists():
                return
            with self.log.open("rb") as file:
                file.seek(self._read_to)
                whole = file.read().rpartition(b"\n")[0]
            self._read_to += len(whole) + bool(whole)
            for line in whole.splitlines():
                self._note(json.loads(line))

    def _note(self, told: dict[str, str]) -> None:
        if told["what"] == "begin":
            self.begun += 1
        elif told["how"] in LASTING and told["run"].split("/")[2] != FIRST_PART:
            self._ended.add(told["run"].partition("/")[0])


def runs_in(log: Path, killed: Mapping[int, int]) -> list[Run]:
    """The runs that handlers wrote down; one that says no end has ended with its process."""
    runs: dict[str, Run] = {}
    pids: dict[str, int] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        told = json.loads(line)
        name = told["run"]
        if told["what"] == "end":
            runs[name].ended_ms, runs[name].how = told["at_ms"], told["how"]
            continue
        run = Run(
            told["job"],
            told["attempt"],
            told["part"],
            told["type"],
            told["key"],
            told["call"],
            str(told["pid"]),
            told["at_ms"],
        )
        run.due_at_ms, run.ref = told["due_at_ms"], told["ref"]
        run.slot = None if told["slot"] is None else (told["slot"][0], told["slot"][1])
        runs[name], pids[name] = run, told["pid"]
    for name, run in runs.items():
        if run.ended_ms is None:
            run.ended_ms = killed.get(pids[name])
    return [*runs.values()]

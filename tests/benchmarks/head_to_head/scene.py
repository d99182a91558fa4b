"""Where a contender runs: an emulator, a file of marks, and programs in the build's environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.head_to_head.emulator import PROGRAMS, PROJECT, MeteredEmulator, Reading, metered_emulator
from tests.benchmarks.head_to_head.family import EMULATOR, Family
from tests.benchmarks.head_to_head.programs import marks
from tests.support.processes import clean_environment
from tests.support.waiting import until

WORK_DEADLINE_S = 900.0
NS_A_S = 1e9
AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
TASKYARD = {"TASKYARD_STAGE": "local", "TASKYARD_INDEX_SHARDS": "1", "TASKYARD_HANDLERS": "yard_handlers"}

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Build:
    """A checkout of this project, the interpreter that runs it, and the variables that it is given."""

    root: Path = PROJECT
    python: str = sys.executable
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a contender is given for one round: so many ``jobs``, and a folder."""

    jobs: int
    folder: Path

    @property
    def _bytecode(self) -> Path:
        """Of all rounds: nothing is left in a checkout."""
        return self.folder.parent / "bytecode"

    def emulator(self) -> AbstractContextManager[MeteredEmulator]:
        """An emulator that has nothing in it yet."""
        return metered_emulator(self._bytecode)

    def environment(self, build: Build) -> dict[str, str]:
        """The variables of a build's processes."""
        own = {
            "PYTHONPATH": os.pathsep.join([str(build.root), str(PROGRAMS)]),
            "PYTHONPYCACHEPREFIX": str(self._bytecode),
            "TMPDIR": str(self.folder),  # what is killed clears nothing away
            marks.VARIABLE: str(self._marks),
        }
        return {**clean_environment(), **TASKYARD, **own, **build.variables}

    def run(self, build: Build, emulator: MeteredEmulator, program: str, *arguments: object) -> dict[str, Any]:
        """Run one of the programs to its end; returns the figures that it reports."""
        command = [build.python, str(PROGRAMS / program), *map(str, arguments)]
        run = subprocess.run(
            command,
            env={**self.environment(build), **AWS, "AWS_ENDPOINT_URL": emulator.url},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{program} failed:\n{run.stdout[-2_000:]}{run.stderr[-4_000:]}"
        figures: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
        return figures

    def consume(
        self, family: Family, emulator: MeteredEmulator, publish: Callable[[], Figures], counted: Callable[[], int]
    ) -> Figures:
        """Let a service that is at rest work on a backlog that is published while it is held still.

        ``publish`` publishes it; ``counted`` returns how many jobs the service knows to be done.
        """
        family.await_quiet()
        with family.held_still(but={EMULATOR}):
            published = publish()
            roles = family.roles()
            cpu_before, before = family.cpu_s(roles), emulator.reading()
            began_ns = time.time_ns()
        self.await_done(family, self.jobs)
        cpu_after, after = self._at_rest(family, emulator, counted)
        stamps = self.stamps()
        ms = 1_000 / self.jobs  # of a second's CPU, a job
        all_ms = {role: cpu_s * ms for role, cpu_s in cpu_after.items() if role != EMULATOR}
        work_ms = {role: value - cpu_before.get(role, 0) * ms for role, value in all_ms.items()}
        return {
            "cpu_ms": sum(work_ms.values()),
            **{f"cpu_ms of {role}": value for role, value in work_ms.items()},
            "cpu_ms with start": sum(all_ms.values()),
            "emulator_cpu_ms": (after.cpu_s - before.cpu_s) * ms,
            "runs": len(stamps) / self.jobs,
            "requests": (after.requests - before.requests) / self.jobs,
            "rate": (len(stamps) - 1) * NS_A_S / (stamps[-1] - stamps[0]),
            "work_s": (stamps[-1] - began_ns) / NS_A_S,
            "published rate": published["rate"],
            "published requests": published["requests"],
        }

    def await_done(self, family: Family, jobs: int) -> None:
        """Wait until so many jobs are done."""
        until(lambda: self._done(family) >= jobs, WORK_DEADLINE_S)

    def stamps(self) -> list[int]:
        """When the jobs were done, in nanoseconds since 1970, in order."""
        return sorted(stamp for (stamp,) in marks.STAMP.iter_unpack(self._marks.read_bytes()))

    def _at_rest(
        self, family: Family, emulator: MeteredEmulator, counted: Callable[[], int]
    ) -> tuple[dict[str, float], Reading]:
        """What the service and the emulator took until the service had counted every job and come to rest."""
        deadline_at_s = time.monotonic() + WORK_DEADLINE_S
        while time.monotonic() < deadline_at_s:
            family.await_quiet()
            taken = family.cpu_s(family.roles()), emulator.reading()
            if counted() == self.jobs:
                return taken
        raise AssertionError(f"{counted()} of {self.jobs} jobs are counted")

    @property
    def _marks(self) -> Path:
        return self.folder / "marks"

    def _done(self, family: Family) -> int:
        family.expect_alive()
        return self._marks.stat().st_size // marks.STAMP.size if self._marks.exists() else 0


@contextmanager
def scene(jobs: int, scratch: Path) -> Iterator[Scene]:
    """A scene with a folder of its own below ``scratch``."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    yield Scene(jobs, folder)
    shutil.rmtree(folder)

"""What limits cost that nobody reaches, and what one busy key costs the others, on ``taskyard up``.

    python -m tests.benchmarks.flow [--jobs 600] [--rounds 3] [--workers 4]

Each round creates the same number of jobs of each kind, due at the same moment, and takes the time from the first
begin to the last end, as the handlers write them down. Printed are jobs a second, medians, and their ratio to jobs
without a limit. ``busy key``: of as many jobs as there are keys, a tenth has one key alone; the rate is that of the
others. Asserts nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.aws_calls import out
from tests.overshoot import Run, lines, runs_in
from tests.support.up import Service, running

BATCH = 100
AHEAD_S = 12
NS = 1_000_000_000
LIMIT_S = 300

Key = Callable[[int], str]
KINDS: dict[str, tuple[str, Key]] = {
    "without a limit": ("flow.free", lambda n: f"k{n}"),
    "concurrency of the type": ("flow.wide", lambda n: f"k{n}"),
    "concurrency of a key": ("flow.keyed", lambda n: f"k{n}"),
    "a rate": ("flow.fast", lambda n: f"k{n}"),
    "busy key": ("flow.keyed", lambda n: "busy" if n % 10 == 0 else f"k{n}"),
    "in order, each its key": ("flow.aside", lambda n: f"k{n}"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    chosen = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "flow.log"
        environment = {"TASKYARD_HANDLERS": "tests.support.flow_handlers", "FLOW_LOG": str(log)}
        with running(Path(folder), "--workers", str(chosen.workers), **environment) as service:
            for _ in range(chosen.rounds):
                for name, (kind, key) in KINDS.items():
                    log.write_text("")
                    create(service, kind, key, chosen.jobs)
                    rates[name].append(rate_of(log, chosen.jobs))
    base = statistics.median(rates["without a limit"])
    out(f"{'':26}{'jobs/s':>8}{'ratio':>8}   rounds")
    for name, found in rates.items():
        median = statistics.median(found)
        out(f"{name:26}{median:8.0f}{median / base:8.2f}   {' '.join(f'{each:.0f}' for each in found)}")


def create(service: Service, kind: str, key: Key, jobs: int) -> None:
    """Create jobs that are all due a little later."""
    at_ms = round((time.time() + AHEAD_S) * 1_000)
    for first in range(0, jobs, BATCH):
        batch = [
            {
                "type": kind,
                "runnerType": "system",
                "targetId": "b",
                "targetType": "b",
                "input": {"k": key(n), "n": n},
                "delay": max(0, at_ms / 1_000 - time.time()),
            }
            for n in range(first, min(first + BATCH, jobs))
        ]
        assert all(each["success"] for each in service.post("/api/task/create-batch", {"tasks": batch})["results"])


def rate_of(log: Path, jobs: int) -> float:
    """How many jobs a second were done once all are; of the busy key only the others count."""
    ends_s = time.monotonic() + LIMIT_S
    while sum(line.startswith("end") for line in lines(log)) < jobs and time.monotonic() < ends_s:
        time.sleep(0.5)
    runs: list[Run] = [run for run in runs_in(log, {}) if run.key != "busy"]
    span_ns = max(run.ended_ns for run in runs) - min(run.begun_ns for run in runs)
    return len(runs) * NS / span_ns


if __name__ == "__main__":
    main()

"""See the package. Exits with 1 where a promise was broken."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.aws_calls import out
from tests.chaos.step import DEPLOYED, UP, Options, Outcome, kinds, step


def main() -> int:
    """Run steps until there were enough jobs, and print what was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="taskyard up behind a failing network.")
    parser.add_argument("--jobs", type=int, default=1_000, help="in all")
    parser.add_argument("--form", choices=(UP, DEPLOYED), default=UP, help="taskyard up, or deployed on the emulator")
    parser.add_argument("--step", type=int, default=20_000, help="jobs of one step at most")
    parser.add_argument("--seed", type=int, default=1, help="of the first step; each has the next")
    parser.add_argument("--log", type=Path, help="steps that are in it are not done again")
    parser.add_argument("--share", type=float, default=0.05, help="of requests that meet a fault")
    parser.add_argument("--runs-per-kill", type=int, help="runs between two kills, on average; else by the seed")
    chosen = parser.parse_args()
    options = Options(chosen.form, chosen.share, chosen.runs_per_kill)
    outcomes = _logged(chosen.log)
    while (left := chosen.jobs - sum(each.jobs for each in outcomes)) > 0:
        seed = chosen.seed + len(outcomes)
        folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        found = step(folder, seed, min(left, chosen.step), options)
        if not found.broken:
            shutil.rmtree(folder)
        outcomes.append(found)
        if chosen.log is not None:
            with chosen.log.open("a") as log:
                log.write(found.to_line() + "\n")
        used = f"{found.seconds} s, {found.cpu_s} s of CPU"
        out(f"seed {seed}: {found.jobs} jobs, {found.runs} runs, {used}, broken: {len(found.broken)}")
        for broken in found.broken:
            out(f"BROKEN {broken}; see {folder}")
    return _told(outcomes)


def _logged(log: Path | None) -> list[Outcome]:
    lines = log.read_text().splitlines() if log is not None and log.exists() else ()
    return [Outcome(**json.loads(line)) for line in lines]


def _told(outcomes: list[Outcome]) -> int:
    jobs, runs, doubts, posts, seconds, cpu_s = (
        sum(getattr(each, what) for each in outcomes)
        for what in ("jobs", "runs", "doubts", "posts", "seconds", "cpu_s")
    )
    broken = [line for each in outcomes for line in each.broken]
    out(f"{len(outcomes)} steps, {jobs} jobs, {runs} runs, {doubts} doubts, {posts} webhooks, broken: {len(broken)}")
    out(f"{seconds} s, {cpu_s:.0f} s of CPU: {60 * jobs / max(cpu_s, 1):.0f} jobs a minute of CPU")
    for what in ("faults", "kills"):
        out(f"{what}: " + ", ".join(f"{number} {kind}" for kind, number in kinds(outcomes, what).most_common()))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())

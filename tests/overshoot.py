"""Whether limits hold while workers are killed: the handlers' own record is the judge.

    python -m tests.overshoot [--jobs 100000] [--kills 50] [--workers 4] [--keys 40]

``taskyard up`` works on jobs of five types (two of a key at once; one of a key at a time, in order; twenty a second;
three of a type at once; up to five to a call, one of a key at once) while its workers are killed (-9), one after the
other. Each handler writes down when it began and ended, and nothing else is believed: how many of a key, or of a type,
ran at once; whether each key's jobs came in the order in which they were accepted; how many began in a second, or by
one call; that each job that was accepted has succeeded.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.aws_calls import out
from tests.support.up import Service, running

BATCH = 50
CLIENTS = 4
PACED_MAX = 1_000  # at twenty a second
RUN_MS = (0, 5)
LEASE_S = 10
DONE_LIMIT_S = 10_800.0
MOST = {"flow.keyed": 2, "flow.ordered": 1, "flow.bounded": 3, "flow.batched": 1}
A_CALL = 5
A_SECOND = 20
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a handler, by its own word; of one that was killed, until its process was."""

    type: str
    key: str
    n: int
    job_id: str
    begun_ns: int
    ended_ns: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the handlers' record says."""

    runs: int
    most: dict[str, int]  # of each type: how many ran at once, of one key or of the type
    disordered: int  # runs that began before one of their key that was accepted earlier had ended
    most_in_a_second: int  # of the type with a rate
    most_in_a_call: int  # of the type that is called with batches
    unrun: int  # accepted jobs that no handler has ended

    @property
    def overshoots(self) -> bool:
        """Whether a limit was exceeded, an order broken or a job lost; of a rate it is only told."""
        exceeded = any(self.most.get(name, 0) > most for name, most in MOST.items()) or self.most_in_a_call > A_CALL
        return bool(self.disordered or self.unrun or exceeded)


def work(service: Service, jobs: int, keys: int) -> dict[str, set[str]]:
    """Create jobs of all types from several clients, each key by one of them in order.

    Returns the ids of those that were accepted, by type.
    """
    made: defaultdict[str, set[str]] = defaultdict(set)

    def create(client: int) -> None:
        numbers: Counter[tuple[str, str]] = Counter()
        mine = [f"k{client}-{key}" for key in range(max(1, keys // CLIENTS))]
        dice, left = random.Random(client), jobs // CLIENTS  # noqa: S311
        paced = min(PACED_MAX, jobs // 20) // CLIENTS
        while left > 0:
            batch = []
            for _ in range(min(BATCH, left)):
                kind = dice.choice((*MOST, "flow.paced") if paced > 0 else tuple(MOST))
                paced -= kind == "flow.paced"
                key = dice.choice(mine)
                numbers[kind, key] += 1
                given = {"k": key, "n": numbers[kind, key], "ms": dice.uniform(*RUN_MS)}
                batch.append({"type": kind, "input": given, "runnerType": "system", "targetId": key, "targetType": "k"})
            status, found = service.call("POST", "/api/task/create-batch", {"tasks": batch})
            assert status in (200, 503), found
            for asked, outcome in zip(batch, found["results"], strict=True) if status == 200 else ():
                if outcome["success"]:  # else the machine is too busy, and the client is told to try again
                    made[str(asked["type"])].add(str(outcome["task"]["id"]))
            left -= len(batch)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(create, range(CLIENTS)))
    return dict(made)


def kill_workers(service: Service, kills: int, pause_s: float) -> dict[int, int]:
    """Kill a worker again and again; returns when each was killed, by its process id."""
    killed: dict[int, int] = {}
    dice = random.Random(kills)  # noqa: S311
    for _ in range(kills):
        time.sleep(dice.uniform(0, 2 * pause_s))
        workers = service.workers()
        if workers:
            pid = dice.choice(workers)
            os.kill(pid, signal.SIGKILL)
            killed[pid] = time.time_ns()
    return killed


def wait_for_all(log: Path, ids: set[str], limit_s: float = DONE_LIMIT_S) -> None:
    """Wait until every job has ended a run, or nothing has happened for a long time."""
    ends_s, size, since_s = time.monotonic() + limit_s, 0, time.monotonic()
    while time.monotonic() < ends_s:
        done = {line.split()[-1] for line in lines(log) if line.startswith("end")}
        if ids <= done:
            return
        if log.stat().st_size != size:
            size, since_s = log.stat().st_size, time.monotonic()
        if time.monotonic() - since_s > 180:
            return
        time.sleep(1)


def lines(log: Path) -> list[str]:
    """What the handlers wrote, without a line that a kill cut off."""
    return [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")] if log.exists() else []


def runs_in(log: Path, killed: dict[int, int]) -> list[Run]:
    """The runs that the handlers wrote down."""
    open_runs: dict[tuple[str, str], list[str]] = {}
    found: list[Run] = []
    for line in lines(log):
        what, at_ns, pid, kind, key, n, job_id = line.split()
        if what == "begin":
            open_runs[pid, job_id] = [at_ns, kind, key, n]
        else:
            begun_ns, *_ = open_runs.pop((pid, job_id))
            found.append(Run(kind, key, int(n), job_id, int(begun_ns), int(at_ns)))
    for (pid, job_id), (begun_ns, kind, key, n) in open_runs.items():
        found.append(Run(kind, key, int(n), job_id, int(begun_ns), killed.get(int(pid), int(begun_ns))))
    return found


def most_at_once(runs: Iterable[Run]) -> int:
    """How many of some runs went on at the same time."""
    moves = sorted((at_ns, step) for run in runs for at_ns, step in ((run.begun_ns, 1), (run.ended_ns, -1)))
    now = most = 0
    for _, step in moves:
        now += step
        most = max(most, now)
    return most


def disordered(runs: Sequence[Run]) -> int:
    """How many runs of one key began although a job accepted later had run."""
    newest, found = 0, 0
    for run in sorted(runs, key=lambda run: run.begun_ns):
        found += run.n < newest
        newest = max(newest, run.n)
    return found


def judge(log: Path, made: dict[str, set[str]], killed: dict[int, int]) -> Verdict:
    """What the record of the handlers says of the jobs that were ``made``."""
    runs = runs_in(log, killed)
    by_key: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        by_key[run.type, "" if run.type == "flow.bounded" else run.key].append(run)
    most: dict[str, int] = {}
    for (kind, _), of_key in by_key.items():
        most[kind] = max(most.get(kind, 0), most_at_once(of_key))
    ended = {line.split()[-1] for line in lines(log) if line.startswith("end")}
    paced = sorted(run.begun_ns for run in runs if run.type == "flow.paced")
    most.pop("flow.paced", None)
    calls = Counter(run.begun_ns for run in runs if run.type == "flow.batched")
    return Verdict(
        runs=len(runs),
        most=most,
        disordered=sum(disordered(of_key) for (kind, _), of_key in by_key.items() if kind == "flow.ordered"),
        most_in_a_second=max((sum(first <= at_ns < first + NS for at_ns in paced) for first in paced), default=0),
        most_in_a_call=max(calls.values(), default=0),
        unrun=len(set().union(*made.values()) - ended),
    )


def play(folder: Path, jobs: int, kills: int, workers: int, keys: int) -> tuple[Verdict, dict[str, Any]]:
    """One whole run; returns the verdict and figures about it."""
    log = folder / "flow.log"
    environment = {"TASKYARD_HANDLERS": "tests.support.flow_handlers", "TASKYARD_LEASE_S": str(LEASE_S)}
    with running(folder, "--workers", str(workers), FLOW_LOG=str(log), **environment) as service:
        began_s = time.monotonic()
        with ThreadPoolExecutor(1) as killer:
            killing = killer.submit(kill_workers, service, kills, max(0.2, jobs / 100 / max(kills, 1)))
            made = work(service, jobs, keys)
            created_s = time.monotonic() - began_s
            killed = killing.result()
        wait_for_all(log, set().union(*made.values()))
        accepted = sum(map(len, made.values()))
        figures = {
            "accepted": accepted,
            "created_s": round(created_s),
            "done_s": round(time.monotonic() - began_s),
            "kills": len(killed),
        }
    return judge(log, made, killed), figures


def main() -> None:
    """Run, print, and exit with 1 where a limit did not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--keys", type=int, default=40)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        verdict, figures = play(Path(folder), chosen.jobs, chosen.kills, chosen.workers, chosen.keys)
    out(f"jobs {chosen.jobs}, {', '.join(f'{name} {figure}' for name, figure in figures.items())}")
    out(f"runs {verdict.runs}; at once {verdict.most} (bounds {MOST}); out of order {verdict.disordered}")
    out(f"most in a second {verdict.most_in_a_second} (rate {A_SECOND}), in a call {verdict.most_in_a_call} ({A_CALL})")
    out(f"accepted and not run {verdict.unrun}")
    sys.exit(verdict.overshoots)


if __name__ == "__main__":
    main()

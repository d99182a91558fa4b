"""See the package. Exits with 1 where a seed failed."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable

from chalicelib.testing.clock import START_MS
from tests.benchmarks.aws_calls import out
from tests.simulation.orders import WIDE
from tests.simulation.shrink import shrunk
from tests.simulation.simulate import Result, silence, simulate
from tests.simulation.weather import Fault

COLLECTED_EVERY = 100  # seeds


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Deterministic simulation by seed.")
    parser.add_argument("--seeds", type=int, help="so many seeds, from --seed or 0 on")
    parser.add_argument("--seed", type=int, help="the first seed; without --seeds the only one, told whole")
    parser.add_argument("--wide", action="store_true", help="each seed as wide as one in eight is (see orders.py)")
    parser.add_argument("--shrink", action="store_true", help="make a failing run small")
    parser.add_argument("--go-on", action="store_true", help="tell every failing seed in one line, and go on")
    chosen = parser.parse_args()
    first, width = chosen.seed or 0, WIDE if chosen.wide else None
    if chosen.seeds is None:
        return _tell(simulate(first, width=width), shrink=chosen.shrink)
    with silence():
        results = (simulate(seed, width=width) for seed in range(first, first + chosen.seeds))
        return _many(results, shrink=chosen.shrink, go_on=chosen.go_on)


def _many(results: Iterable[Result], *, shrink: bool, go_on: bool) -> int:
    """Run seeds until one fails; print what was run."""
    faults: Counter[Fault] = Counter()
    ran = jobs = simulated_ms = failed = 0
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    gc.disable()  # what runs leave is collected for many at once, and what is left then, stays
    for result in results:
        ran, jobs, simulated_ms = ran + 1, jobs + result.jobs, simulated_ms + result.simulated_ms
        faults += result.faults
        if result.broken and go_on:
            out(f"seed {result.seed}: {result.broken[0]}")
            failed += 1
        elif result.broken:
            return _tell(result, shrink=shrink)
        if not ran % COLLECTED_EVERY:
            gc.collect()
            gc.freeze()
    cpu_s, passed_s = time.process_time() - began_cpu_s, time.monotonic() - began_s
    out(f"{ran} seeds, {jobs} jobs, {simulated_ms / 3_600_000:,.0f} simulated hours, {failed} failed")
    out(
        f"{passed_s:.0f} s, {cpu_s:.0f} s of CPU: {cpu_s / ran * 1_000:.1f} ms a seed, {ran / cpu_s * 60:,.0f} a minute"
    )
    out("faults: " + ", ".join(f"{number} {fault}" for fault, number in faults.most_common()))
    return min(failed, 1)


def _tell(result: Result, *, shrink: bool) -> int:
    """Print a run whole, or what is left of it."""
    told = shrunk(result) if shrink and result.broken else result
    for line in told.history.text(START_MS):
        out(line)
    out(f"seed {told.seed}: orders {', '.join(f'{each.number} {each.name}' for each in told.orders)}")
    out("faults: " + (", ".join(f"{number} {fault}" for fault, number in told.faults.items()) or "none"))
    for broken in told.broken:
        out(f"BROKEN {broken}")
    return int(bool(told.broken))


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # else sets go in another order in each process
        os.execve(  # noqa: S606 - this program again
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    sys.exit(main())

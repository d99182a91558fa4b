"""Requests and inputs that nobody would write, at the service and at its parsers.

    python -m tests.fuzz http [--requests 100000] [--seed 1]
    python -m tests.fuzz parsers [--minutes 60] [--only TARGET] [--folder fuzz]

``http``: mutated valid requests (``tests/fuzz/http.py``). Prints how often each status was answered, and of good and of
bad requests the CPU that the slowest hundredth took; exits with 1 for a 5xx or an answer that the API's document does
not have. (What schemathesis makes of the document is asked in ``tests/api/test_openapi_kept.py``.)

``parsers``: each target of ``tests/fuzz/parsers.py`` for an equal part of the time, its inputs found by coverage; needs
``pip install -c requirements-dev.lock -e '.[fuzz]'``. Exits with 1 where an input raised what is not declared, and
leaves it in ``--folder``.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import quantiles

from tests.benchmarks.aws_calls import out
from tests.fuzz.http import Findings, fuzz
from tests.fuzz.parsers import TARGETS

PERCENT = 100
FEWEST = 50  # requests of one kind, for its hundredth to mean something
SHOWN = 40


def tell(findings: Findings) -> None:
    """Print what was answered, and how long it took."""
    out(f"requests {findings.statuses.total()}; statuses {dict(sorted(findings.statuses.items()))}")
    good, bad = _all(findings.good_s), _all(findings.bad_s)
    for name, taken in (("good", good), ("bad", bad)):
        out(f"{name}: {len(taken)}, median {p(50, taken):.2f} ms, p99 {p(99, taken):.2f}, most {max(taken) * 1e3:.2f}")
    for label, taken in sorted(findings.bad_s.items()):
        known = findings.good_s.get(label, [])
        if min(len(taken), len(known)) >= FEWEST and p(99, taken) > max(p(99, known), p(99, good)):
            out(f"slower when bad: {label}: p99 {p(99, taken):.2f} ms, good {p(99, known):.2f}")
    out(f"faults {len(findings.faults)}")
    for fault in findings.faults[:SHOWN]:
        out(str(fault))


def p(percent: int, taken_s: Sequence[float]) -> float:
    """A percentile in milliseconds."""
    return quantiles(taken_s, n=PERCENT)[percent - 1] * 1_000


def _all(taken: Mapping[str, Sequence[float]]) -> list[float]:
    return [each for of_one in taken.values() for each in of_one]


def fuzz_parsers(minutes: float, only: str | None, folder: Path) -> list[str]:
    """Fuzz the targets one after the other; returns the names of those that failed."""
    names = [only] if only else list(TARGETS)
    seconds = max(1, round(minutes * 60 / len(names)))
    failed: list[str] = []
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz.coverage", name, str(seconds), str(folder)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        said = run.stderr.splitlines()
        done = [line for line in said if line.startswith(("stat::number_of_executed_units", "Done "))]
        out(
            f"{name}: {'; '.join(done)}" if run.returncode == 0 else f"{name} FAILED\n{run.stdout}{run.stderr[-4_000:]}"
        )
        failed += [name] if run.returncode else []
    return failed


def main() -> None:
    """Fuzz, print, and exit with 1 for a fault."""
    parser = argparse.ArgumentParser()
    what = parser.add_subparsers(dest="what", required=True)
    http = what.add_parser("http")
    http.add_argument("--requests", type=int, default=100_000)
    http.add_argument("--seed", type=int, default=1)
    parsers = what.add_parser("parsers")
    parsers.add_argument("--minutes", type=float, default=60)
    parsers.add_argument("--only", choices=TARGETS)
    parsers.add_argument("--folder", type=Path, default=Path("fuzz"))
    chosen = parser.parse_args()
    if chosen.what == "parsers":
        sys.exit(bool(fuzz_parsers(chosen.minutes, chosen.only, chosen.folder)))
    logging.disable()  # every refusal would be logged
    findings = fuzz(chosen.requests, chosen.seed)
    tell(findings)
    sys.exit(bool(findings.faults))


if __name__ == "__main__":
    main()

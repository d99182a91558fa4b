"""Taskyard beside Celery, boto3 alone and an older build of itself, in one interleaved run.

    python -m tests.benchmarks.head_to_head --env-dir FOLDER --against CHECKOUT
    python -m tests.benchmarks.head_to_head --only worker --rounds 1 --jobs 200     in a minute

Every contender gets an empty emulator and the same backlog in each round, in alternating order; a service is started
and at rest before its backlog is published, and is held still meanwhile. Ratios are made of the figures of one round.
It prints what each took, and last the table of measures; it asserts nothing about time. Linux only: CPU is read from
/proc. `git worktree add CHECKOUT COMMIT` makes an older build's checkout.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from tests.benchmarks.head_to_head.celery_environment import celery_python
from tests.benchmarks.head_to_head.contenders import Contender, contenders
from tests.benchmarks.head_to_head.measures import Round, details, table
from tests.benchmarks.head_to_head.once import ONCE
from tests.benchmarks.head_to_head.scene import Build, Figures, scene
from tests.emulators.errors import Missing

IN_ROUNDS = ("worker", "up", "enqueue", "http", "idle")
GROUPS = (*IN_ROUNDS, *ONCE)
JOBS_MIN = 100
BY_DEFAULT = tuple(group for group in GROUPS if group != "install")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the rounds and print the table; of a run that is interrupted, that of the rounds that are whole."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.jobs < JOBS_MIN:
        parser.error(f"a backlog has at least {JOBS_MIN} jobs")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # everything started is ended
    groups = {*(chosen.only or BY_DEFAULT), *(["install"] if chosen.install else [])}
    rounds: list[Round] = []
    try:
        with tempfile.TemporaryDirectory(prefix="taskyard-head-to-head-") as scratch:
            python = lru_cache(lambda: celery_python(chosen.env_dir or Path(scratch)))
            taking_part = [each for each in contenders(_older(chosen), python) if each.groups & groups]
            for number in range(chosen.rounds):
                rounds.append(_round(taking_part, number, chosen.jobs, Path(scratch)))
        rounds.append({"once": _once(groups)})
    finally:
        whole = len([each for each in rounds if "once" not in each])
        _out(f"{whole} rounds of {chosen.jobs:,} jobs; load average at the end {os.getloadavg()[0]:.1f}\n")
        _out(f"{details(rounds)}\n")
        _out(table(rounds))


def _parser() -> argparse.ArgumentParser:
    summary, _, more = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.head_to_head",
        description=summary,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument("--jobs", type=int, default=1_000, help="of each contender's backlog; default %(default)s")
    parser.add_argument("--only", nargs="+", choices=GROUPS, metavar="GROUP", help=f"some of {', '.join(GROUPS)}")
    parser.add_argument("--install", action="store_true", help="install `.[local]` once, to tell its size")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="of an older build")
    parser.add_argument("--against-python", default=sys.executable, metavar="PYTHON", help="which runs it")
    parser.add_argument("--env-dir", type=Path, metavar="FOLDER", help="where Celery is kept from run to run")
    return parser


def _older(chosen: argparse.Namespace) -> Build | None:
    return (
        None
        if chosen.against is None
        else replace(Build(), root=chosen.against.resolve(), python=chosen.against_python)
    )


def _round(taking_part: Sequence[Contender], number: int, jobs: int, scratch: Path) -> Round:
    """One round: every contender once, each second round from the last to the first."""
    figures: dict[str, Figures] = {}
    for contender in taking_part if number % 2 == 0 else reversed(taking_part):
        _say(f"round {number + 1}: {contender.name}")
        with scene(jobs, scratch) as own:
            figures[contender.name] = contender.run(own)
    return {contender.name: figures[contender.name] for contender in taking_part}


def _once(groups: Collection[str]) -> Figures:
    figures: Figures = {}
    for name, measure in ONCE.items():
        if name in groups:
            _say(name)
            try:
                figures |= measure()
            except Missing as error:
                _say(f"not measured: {error}")
    return figures


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _out(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()

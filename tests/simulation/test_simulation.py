"""The small form of the simulation, and whether its judge can fail."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.shrink import shrunk
from tests.simulation.simulate import simulate

SEEDS = 300
MUTANT_SEEDS = 1_500
# Where a mutant was found last: it is looked for there first, and then from the first seed on.
FOUND_AT = {
    "charges_what_it_never_ran": 6,
    "counts_twice": 3,
    "deletes_before_settling": 4,
    "forgets_to_mark_the_unsent": 16,
    "forgets_who_is_blocked": 37,
    "runs_before_its_time": 111,
    "settles_without_lease": 332,
    "takes_keys_for_nothing": 1,
    "takes_no_slot": 53,
    "takes_over_live_leases": 300,
}


def test_no_seed_breaks_a_promise() -> None:
    """As on the command line, where sets go in the same order in each process, so that what fails can be repeated."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(SEEDS)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout[-5_000:] + ran.stderr[-2_000:]
    assert ran.stdout.startswith(f"{SEEDS} seeds"), ran.stdout


@pytest.mark.parametrize("name", MUTANTS)
def test_the_judge_finds_a_broken_engine(name: str) -> None:
    with MUTANTS[name]():
        assert any(simulate(seed).broken for seed in chain([FOUND_AT[name]], range(MUTANT_SEEDS)))


def test_a_seed_repeats() -> None:
    first, second = simulate(53), simulate(53)
    assert first.history.lines == second.history.lines
    assert len(first.history.lines) > 10


def test_a_failing_run_is_made_small() -> None:
    with MUTANTS["takes_keys_for_nothing"]():
        failing = next(result for result in map(simulate, range(200)) if len(result.orders) > 2 and result.broken)
        small = shrunk(failing)
    assert small.broken
    assert len(small.orders) == 1
    assert small.faults.total() <= failing.faults.total()

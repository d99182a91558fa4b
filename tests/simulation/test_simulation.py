"""The small form of the simulation, and whether its judge can fail."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from typing import Any
from unittest.mock import patch

import pytest

from tests.simulation.expressions import Unreadable, condition, updated
from tests.simulation.mutants import MUTANTS
from tests.simulation.network import Client
from tests.simulation.orders import NARROW, STORIES
from tests.simulation.shrink import shrunk
from tests.simulation.simulate import simulate

SEEDS = 200
MUTANT_SEEDS = 10_000  # most are found among the first thirty
RARE = {  # where one is found that shows itself seldom
    "settles_without_lease": 240,
    "runs_before_its_time": 137,
    "frees_the_slot_of_whom_it_cancels": 5_360,
}


def test_no_seed_breaks_a_promise() -> None:
    """As on the command line, where sets go in the same order in each process, so that what fails can be repeated."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(SEEDS)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout[-5_000:] + ran.stderr[-2_000:]
    assert ran.stdout.startswith(f"{SEEDS} seeds"), ran.stdout


@pytest.mark.parametrize("name", MUTANTS)
def test_the_judge_finds_a_broken_engine(name: str) -> None:
    mutant, kinds = MUTANTS[name]
    with mutant():
        assert any(simulate(seed, kinds=kinds).broken for seed in chain([RARE.get(name, 0)], range(MUTANT_SEEDS)))


@pytest.mark.parametrize("seed", [40, 71])  # a wide one, and a narrow one
def test_a_seed_repeats(seed: int) -> None:
    first, second = simulate(seed), simulate(seed)
    assert first.history.lines == second.history.lines
    assert len(first.history.lines) > 10


WHOLE = """
import sys
from tests.simulation.test_simulation import whole_of

before, seed = sys.argv[1:]
for each in range(int(before)):
    whole_of(each)
print(whole_of(int(seed)))
"""


def whole_of(seed: int) -> str:
    """A digest of all that a run did: each call of AWS with what it was given, and what was written down of it."""
    calls: list[object] = []
    original = Client._call

    def call(client: Client, operation: str, effect: Callable[..., Any], **given: Any) -> Any:
        calls.append((client._scheduler.now_ms, client._process.name, operation, repr(given)))
        return original(client, operation, effect, **given)

    with patch.object(Client, "_call", call), patch("os.getpid", lambda: 1):  # which workers are named by
        result = simulate(seed)
    whole = (calls, result.history, result.broken, sorted(result.faults.items()), result.simulated_ms, result.jobs)
    return hashlib.sha256(repr(whole).encode()).hexdigest()


@pytest.mark.parametrize("seed", [40, 71])  # a wide one, and a narrow one
def test_a_seed_does_the_same_after_others_as_alone(seed: int) -> None:
    """Nothing that a process keeps from seed to seed changes what a seed does."""

    def ran(before: int) -> str:
        command = [sys.executable, "-c", WHOLE, str(before), str(seed)]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=True, env=environment
        ).stdout.strip()

    alone = ran(0)
    assert alone == ran(30)
    assert len(alone) == 64


@pytest.mark.parametrize("seed", [425_696, 426_713])  # SQS refused one entry at two beats running: the lease was lost
def test_a_seed_that_failed_once_does_no_more(seed: int) -> None:
    assert simulate(seed).broken == []


@pytest.mark.parametrize("story", STORIES)
def test_a_narrow_run_has_the_handlers_that_its_orders_need(story: str) -> None:
    result = simulate(3, kinds=(story,), width=NARROW)
    assert not result.broken
    assert result.history.lines


@pytest.mark.parametrize(
    "text", ["ADD #a :b", "SET #a = :b - :c", "REMOVE #a SET #b = :c", "SET #a = :b, DELETE #c :d"]
)
def test_an_update_of_another_form_is_not_misread(text: str) -> None:
    with pytest.raises(Unreadable):
        updated(text, {}, {}, {})


def test_a_condition_of_another_form_is_not_misread() -> None:
    with pytest.raises(Unreadable):
        condition("contains(#a, :b)")


def test_a_failing_run_is_made_small() -> None:
    with MUTANTS["takes_keys_for_nothing"][0]():
        failing = next(result for result in map(simulate, range(1_000)) if len(result.orders) > 2 and result.broken)
        small = shrunk(failing)
    assert small.broken
    assert len(small.orders) == 1
    assert small.faults.total() <= failing.faults.total()

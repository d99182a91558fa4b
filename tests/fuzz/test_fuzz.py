"""A few mutated requests and inputs, the same each time. Many: ``python -m tests.fuzz``."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.http import fuzz
from tests.fuzz.parsers import SEEDS, TARGETS

SEED = 7
INPUTS = 400  # of each target


def test_mutated_requests_are_answered_as_documented() -> None:
    findings = fuzz(600, SEED)
    assert [str(fault) for fault in findings.faults] == []
    assert {200, 400, 401, 404, 409, 415, 422} <= findings.statuses.keys()


def test_every_target_has_valid_inputs() -> None:
    assert SEEDS.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_parsers_raise_only_what_they_declare(name: str) -> None:
    dice = random.Random(SEED)  # noqa: S311
    for seed in SEEDS[name]:
        TARGETS[name](seed)
    for _ in range(INPUTS):
        TARGETS[name](spoiled(dice.choice(SEEDS[name]), dice))


def spoiled(data: bytes, dice: random.Random) -> bytes:
    """``data`` with some bytes changed, left out, doubled or put in."""
    for _ in range(dice.randint(1, 4)):
        place, length = dice.randrange(len(data) + 1), dice.choice((0, 1, 1, 4))
        odd = dice.choice((b"", b"\0", b"\xff", b"9", b"\xed\xa0\x80", b'"', b"{", b"-", b"\n", dice.randbytes(2)))
        data = data[:place] + odd * dice.choice((1, 1, 2, 40)) + data[place + length :]
    return data

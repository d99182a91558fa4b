"""Flow control on ``taskyard up``, by the handlers' own record, while workers are killed. Large: tests/overshoot.py."""

from __future__ import annotations

from pathlib import Path

from tests.overshoot import A_CALL, MOST, play


def test_limits_and_orders_hold_while_workers_are_killed(tmp_path: Path) -> None:
    verdict, figures = play(tmp_path, jobs=400, kills=4, workers=3, keys=8)
    assert figures["kills"] == 4
    assert (verdict.disordered, verdict.unrun) == (0, 0)
    assert {name: min(most, MOST[name]) for name, most in verdict.most.items()} == verdict.most
    assert 1 < verdict.most_in_a_call <= A_CALL
    assert verdict.runs >= 400

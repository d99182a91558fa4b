"""The small form of the chaos run, and how it reads what handlers wrote."""

from __future__ import annotations

import json
from pathlib import Path

from tests.chaos.progress import runs_in
from tests.chaos.step import HARD_RUNS_PER_KILL, Options, step


def test_no_promise_is_broken(tmp_path: Path) -> None:
    outcome = step(tmp_path, 1, 120, Options(workers=2, runs_per_kill=20))
    assert outcome.broken == []
    assert outcome.jobs >= 120
    assert outcome.faults["requests"] > outcome.jobs
    assert len(outcome.faults) > 3, "hardly anything went wrong"


def test_every_tenth_seed_is_one_of_many_kills() -> None:
    often = [seed for seed in range(200, 230) if Options().runs_between_kills(seed) == HARD_RUNS_PER_KILL]
    assert often == [200, 210, 220]
    assert Options(runs_per_kill=7).runs_between_kills(200) == 7


def test_a_run_without_an_end_ends_with_its_process(tmp_path: Path) -> None:
    begun = {"what": "begin", "job": 7, "attempt": 1, "part": "", "type": "plain", "key": None, "call": 1}
    begun |= {"ref": None, "due_at_ms": 0, "slot": None}
    lines = [
        {**begun, "run": "a", "at_ms": 10, "pid": 1},
        {**begun, "run": "b", "at_ms": 20, "pid": 2},
        {"what": "end", "run": "b", "how": "ok", "at_ms": 30, "pid": 2},
    ]
    log = tmp_path / "runs.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [(run.ended_ms, run.how) for run in runs_in(log, {1: 15})] == [(15, None), (30, "ok")]

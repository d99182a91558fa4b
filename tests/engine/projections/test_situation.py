"""How far the projections are behind, by what was counted last and by what is seen to have changed since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.projections.situation import lag_ms
from chalicelib.store.insights import Counted

NOW = 10_000_000
JOB = Job(id=1, uid="u", kind=Kind.TASK, type="t", queue="q", created_at_ms=0, trace_id="t", updated_at_ms=NOW - 9_000)


@pytest.mark.parametrize(
    ("counted", "seen", "lag"),
    [
        ([], [JOB], None),
        ([Counted(NOW - 5_000, NOW - 4_200)], [], 800),
        ([Counted(NOW - 4_000, NOW - 4_200)], [], 0),  # another machine's clock
        ([Counted(NOW - 5_000, NOW - 4_200), Counted(NOW - 90_000, NOW - 1_000)], [JOB], 89_000),
        ([Counted(NOW - 5_000, NOW - 4_200), Counted(0, NOW - 700_000)], [], 800),  # an old shard
        ([Counted(NOW - 800_000, NOW - 790_000)], [], 10_000),
        ([Counted(NOW - 60_000, NOW - 59_000)], [JOB], 9_000),
        ([Counted(NOW - 60_000, NOW - 59_000)], [JOB, replace(JOB, updated_at_ms=NOW - 50_000)], 50_000),
        ([Counted(NOW - 10_000, NOW - 9_500)], [JOB], 500),  # of the same second
    ],
)
def test_how_far_they_are_behind(counted: list[Counted], seen: list[Job], lag: int | None) -> None:
    assert lag_ms(counted, seen, NOW) == lag

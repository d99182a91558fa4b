"""What may be done about a job in each state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.core.job import Job
from chalicelib.core.job_acts import Act, allowed
from chalicelib.core.states import Kind, State

NOW = 1_000_000
JOB = Job(
    id=1, uid="u", kind=Kind.TASK, type="t", queue="default", created_at_ms=0, trace_id="t", due_at_ms=NOW + 1
)  # fmt: skip


@pytest.mark.parametrize(
    ("job", "acts"),
    [
        (JOB, {Act.CANCEL, Act.PROMOTE, Act.COMPLETE}),
        (replace(JOB, due_at_ms=NOW), {Act.CANCEL, Act.COMPLETE}),
        (replace(JOB, kind=Kind.MESSAGE), {Act.CANCEL, Act.PROMOTE}),
        (replace(JOB, finishing=True, due_at_ms=NOW), {Act.CANCEL}),
        (replace(JOB, state=State.RUNNING), {Act.CANCEL, Act.COMPLETE}),
        (replace(JOB, state=State.WAITING), {Act.CANCEL, Act.COMPLETE}),
        (replace(JOB, state=State.SUCCESS), {Act.DELETE}),
        (replace(JOB, state=State.FAILED), {Act.RETRY, Act.REPLAY, Act.DELETE}),
        (replace(JOB, state=State.FAILED, replayed_at_ms=NOW), {Act.DELETE}),
        (replace(JOB, state=State.CANCELED), {Act.RETRY, Act.DELETE}),
        (replace(JOB, state=State.CANCELED, slot=True), {Act.RETRY}),
    ],
)
def test_what_a_state_allows(job: Job, acts: set[Act]) -> None:
    assert set(allowed(job, NOW)) == {*acts, Act.RERUN}

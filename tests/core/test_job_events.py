from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import MANUAL, Job, JobError, Progress
from chalicelib.core.job_events import EventType, JobEvent, events_of
from chalicelib.core.states import Kind, State

NOW_MS = 1_750_000_000_000
SEQUENCE = "000000000000000000042"
STREAM_MS = NOW_MS + 9_000
NEW = Job(
    id=7,
    uid="b",
    kind=Kind.TASK,
    type="resize",
    queue="default",
    created_at_ms=NOW_MS,
    updated_at_ms=NOW_MS,
    due_at_ms=NOW_MS,
    trace_id="trace",
)
DELAYED = replace(NEW, due_at_ms=NOW_MS + 60_000)
RUNNING = replace(NEW, state=State.RUNNING, attempts=1, lease="a", updated_at_ms=NOW_MS + 1_000)
LATE = replace(RUNNING, due_at_ms=DELAYED.due_at_ms, updated_at_ms=NOW_MS + 61_000)
ERROR = JobError("ValueError", "no", "file.py:3 f")
RETRIED = replace(
    RUNNING, state=State.PENDING, failures=1, error=ERROR, due_at_ms=NOW_MS + 9_000, updated_at_ms=NOW_MS + 2_000
)
FAILED = replace(RUNNING, state=State.FAILED, attempts=3, failures=3, error=ERROR)
RESTARTED = replace(
    FAILED, state=State.PENDING, failures=0, error=None, attempt_limit=6, due_at_ms=FAILED.updated_at_ms
)
DONE = replace(RUNNING, state=State.SUCCESS, output='"out"', updated_at_ms=NOW_MS + 3_000)
CHILD = replace(NEW, blocked=True)
PERSONS = replace(NEW, runner=MANUAL)
HALF = Progress(1, 2, "half", '{"page":1}')
SECOND_RUN = replace(RETRIED, state=State.RUNNING, attempts=2, lease="b", updated_at_ms=NOW_MS + 9_500)
FINISHING = replace(RUNNING, state=State.PENDING, finishing=True, output="1")


def events_between(before: Job | None, after: Job | None) -> list[JobEvent]:
    return events_of(before, after, SEQUENCE, STREAM_MS)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, NEW, ["create", "enqueue"]),
        (None, RUNNING, ["create", "enqueue", "start"]),  # the worker made the record
        (None, replace(NEW, state=State.FAILED, error=ERROR), ["create", "failed"]),  # an unreadable message
        (NEW, RUNNING, ["start"]),
        # a delay
        (None, DELAYED, ["create"]),
        (DELAYED, replace(DELAYED, sent_at_ms=NOW_MS), []),
        (DELAYED, LATE, ["promotion", "enqueue", "start"]),  # SQS ended it
        (None, LATE, ["create", "promotion", "enqueue", "start"]),
        (DELAYED, replace(DELAYED, due_at_ms=NOW_MS + 5, updated_at_ms=NOW_MS + 5), ["promotion", "enqueue"]),
        (replace(DELAYED, due_at_ms=NOW_MS + 5, updated_at_ms=NOW_MS + 5), LATE, ["start"]),
        (DELAYED, replace(DELAYED, updated_at_ms=NOW_MS + 61_000), ["promotion", "enqueue"]),  # the clock sent it late
        (DELAYED, replace(DELAYED, state=State.CANCELED), ["cancel"]),
        # children and persons
        (None, CHILD, ["create"]),
        (CHILD, replace(CHILD, blocked=False, delivery=2), ["enqueue"]),
        (None, PERSONS, ["create"]),
        (PERSONS, replace(PERSONS, state=State.SUCCESS, completed_by="ann", msg="ok"), ["complete"]),
        # attempts
        (RUNNING, replace(RUNNING, lease_until_ms=NOW_MS), []),  # a heartbeat
        (RUNNING, replace(RUNNING, progress=HALF), ["progress"]),
        (RUNNING, RETRIED, ["failed attempt"]),
        (RETRIED, SECOND_RUN, ["start"]),  # its backoff is no delay
        (RUNNING, replace(RUNNING, attempts=2, lease="b"), ["start"]),  # taken over
        (RUNNING, replace(RUNNING, state=State.PENDING, attempt_limit=4), []),  # interrupted, or to be polled again
        (RUNNING, replace(RUNNING, state=State.WAITING), []),
        (replace(RUNNING, state=State.WAITING), DONE, ["complete"]),
        (RUNNING, FAILED, ["failed"]),
        (RUNNING, DONE, ["complete"]),
        (RUNNING, FINISHING, []),
        (replace(PERSONS), replace(PERSONS, finishing=True, output="1"), []),
        (FINISHING, replace(FINISHING, state=State.RUNNING, attempts=2, lease="c"), []),  # the completion handler
        (RUNNING, replace(RUNNING, state=State.CANCELED), ["cancel"]),
        # after the end
        (FAILED, RESTARTED, ["enqueue"]),
        (FAILED, replace(RESTARTED, blocked=True), []),
        (FAILED, replace(FAILED, replayed_at_ms=NOW_MS, replayed_as=8), []),
        (DONE, None, ["remove"]),
        (None, None, []),  # a tombstone's time is over
    ],
)
def test_what_a_change_tells(before: Job | None, after: Job | None, expected: list[str]) -> None:
    assert [each.what.value for each in events_between(before, after)] == expected


def test_the_fields_of_a_happening() -> None:
    (attempt,) = events_between(RUNNING, RETRIED)
    assert attempt.id == f"7-{SEQUENCE}-failed-attempt"
    assert (attempt.job_id, attempt.kind, attempt.type, attempt.queue) == (7, Kind.TASK, "resize", "default")
    assert (attempt.at_ms, attempt.attempt, attempt.error) == (NOW_MS + 2_000, 1, ERROR)
    assert attempt.detail == {
        "error": {"type": "ValueError", "message": "no"},
        "attemptsMade": 1,
        "attemptsRemaining": 2,
        "nextAttemptAtMs": NOW_MS + 9_000,
    }
    (failed,) = events_between(RUNNING, FAILED)
    assert failed.detail == {"error": {"type": "ValueError", "message": "no"}, "attemptsMade": 3}
    (progress,) = events_between(RUNNING, replace(RUNNING, progress=HALF))
    assert progress.progress == HALF
    assert progress.detail == {"current": 1, "total": 2, "percent": 50.0, "message": "half", "data": {"page": 1}}
    (complete,) = events_between(PERSONS, replace(PERSONS, state=State.SUCCESS, completed_by="ann", msg="ok"))
    assert complete.detail == {"completedBy": "ann", "msg": "ok"}
    assert events_between(RUNNING, DONE)[0].detail == {}
    (removed,) = events_between(DONE, None)
    assert (removed.at_ms, removed.job.output) == (STREAM_MS, '"out"')
    created = events_between(None, RUNNING)[0]
    assert created.at_ms == NOW_MS


def test_the_snapshot_holds_nothing_secret() -> None:
    seen = replace(RUNNING, lease="a", source="q", receipt="r", trace=("1 published",), body="{}", context="{}")
    (started,) = events_between(NEW, seen)
    assert started.job == replace(RUNNING, lease=None)


def test_an_output_is_read_only_where_one_can_be() -> None:
    (complete,) = events_between(RUNNING, DONE)
    with pytest.raises(LookupError, match="not delivered to a hook"):
        complete.output()
    assert replace(complete, read_output=lambda job: job.output).output() == '"out"'


@pytest.mark.parametrize(
    "document", [None, 7, "text", {}, {"what": "nothing"}, {"what": "start", "sequence": "1", "at_ms": 1}]
)
def test_a_foreign_document_is_no_happening(document: Any) -> None:
    with pytest.raises(InvalidInput, match="this is no event"):
        JobEvent.from_document(document)


JOBS = st.builds(
    Job,
    id=st.integers(1, 2**53 - 1),
    uid=st.just("b"),
    kind=st.sampled_from(Kind),
    type=st.text(min_size=1, max_size=5),
    queue=st.just("q"),
    created_at_ms=st.just(NOW_MS),
    updated_at_ms=st.integers(NOW_MS, NOW_MS + 5),
    due_at_ms=st.integers(NOW_MS, NOW_MS + 5),
    trace_id=st.just("t"),
    state=st.sampled_from(State),
    attempts=st.integers(0, 4),
    failures=st.integers(0, 3),
    lease=st.sampled_from([None, "a", "b"]),
    runner=st.sampled_from(["system", MANUAL]),
    blocked=st.booleans(),
    finishing=st.booleans(),
    error=st.sampled_from([None, ERROR]),
    progress=st.sampled_from([None, HALF, Progress(0.5, 1)]),
)


@given(before=st.none() | JOBS, after=st.none() | JOBS, sequence=st.from_regex(r"[0-9]{1,40}", fullmatch=True))
def test_any_change_tells_each_thing_once_in_order_and_survives_the_journey(
    before: Job | None, after: Job | None, sequence: str
) -> None:
    found = events_of(before, after, sequence, STREAM_MS)
    order = list(EventType)
    positions = [order.index(each.what) for each in found]
    assert positions == sorted(set(positions))
    assert len({each.id for each in found}) == len(found)
    assert all(len(each.id) <= 128 and each.id.isascii() for each in found)  # what SQS takes as a deduplication id
    assert (found == []) or not (before is None and after is None)
    for each in found:
        assert JobEvent.from_document(json.loads(json.dumps(each.to_document()))) == each


def test_nothing_that_stays_as_it_is_tells_anything() -> None:
    same: list[Any] = [NEW, DELAYED, RUNNING, LATE, RETRIED, FAILED, RESTARTED, DONE, CHILD, FINISHING]
    assert [events_between(job, job) for job in same] == [[]] * len(same)

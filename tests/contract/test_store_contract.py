"""The ledger's contract: each transition sets exactly its own fields, and each of its clauses refuses by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.causes import Cause
from chalicelib.core.job import MANUAL, Job, Progress, Tombstone
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import TRACE_MAX_EVENTS
from chalicelib.engine.yard import Yard
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.job_items import BODY_PART, decoded, state_key
from chalicelib.store.jobs import JobStore
from chalicelib.store.ledger import JobRefused
from chalicelib.store.settled import Completed, StoredOutput
from chalicelib.store.table import Refused
from chalicelib.store.transitions.running import Lease
from tests.contract.transitions import (
    BY_NAME,
    ERROR,
    LEASE_MS,
    NEW,
    OLD,
    OTHER,
    POLLED,
    Case,
    Scene,
    abandoned,
    lease_at,
    running,
)
from tests.support.backends import Ground
from tests.support.ledger import (
    BIRTH,
    NOW,
    Membership,
    difference,
    grave_of,
    job_of,
    lines,
    membership,
    parts_of,
    place,
    place_as_before,
    stored,
    wake,
)
from tests.support.waiting import becomes

EXPIRES_AT_S = NOW // 1_000 + 60  # far ahead: what has expired, MiniStack's sweep takes away within a test
REFUSALS = [(case.name, clause) for case in BY_NAME.values() for clause in case.refusals]


@pytest.fixture
def yard(ground: Ground) -> Yard:
    """A yard on the module's tables, at ``NOW``."""
    bench = ground.bench()
    bench.clock.ms = NOW
    return bench.yard


def begin(yard: Yard, case: Case, **override: Any) -> Scene:
    """The scene of a case; the ledger has its job with ``override``, which who acts has not seen."""
    seen = job_of(yard, **case.start)
    place(yard, replace(seen, **override))
    return Scene(yard, seen)


class TestTransitions:
    @pytest.mark.parametrize("name", BY_NAME)
    def test_it_sets_exactly_its_own_fields(self, yard: Yard, name: str) -> None:
        case = BY_NAME[name]
        scene = begin(yard, case)
        before = stored(yard, scene.seen.id) or {}

        answered = case.act(scene)

        after = stored(yard, scene.seen.id)
        expected = case.expected(scene)
        assert difference(before, after) == {name: v for name, v in expected.items() if before.get(name) != v}
        if case.answers:
            assert answered == decoded(after)

    @pytest.mark.parametrize(("name", "clause"), REFUSALS)
    def test_each_clause_refuses_by_itself_and_tells_the_record(self, yard: Yard, name: str, clause: str) -> None:
        case = BY_NAME[name]
        scene = begin(yard, case, **case.refusals[clause])
        before = stored(yard, scene.seen.id)

        with pytest.raises(JobRefused) as refused:
            case.act(scene)

        assert refused.value.ledger == decoded(before)
        assert stored(yard, scene.seen.id) == before

    @pytest.mark.parametrize("name", BY_NAME)
    def test_a_job_that_is_not_there_is_refused_and_not_made(self, yard: Yard, name: str) -> None:
        case = BY_NAME[name]
        scene = Scene(yard, job_of(yard, **case.start))

        with pytest.raises(JobRefused) as refused:
            case.act(scene)

        assert refused.value.ledger is None
        assert stored(yard, scene.seen.id) is None

    @pytest.mark.parametrize("name", BY_NAME)
    def test_a_tombstone_refuses_everything(self, yard: Yard, name: str) -> None:
        case = BY_NAME[name]
        scene = Scene(yard, job_of(yard, **case.start))
        tombstone_item = {**state_key(scene.seen.id), "state": "deleted", "expires_at_s": EXPIRES_AT_S}
        yard.jobs.table.put(tombstone_item)

        with pytest.raises(JobRefused) as refused:
            case.act(scene)

        assert refused.value.ledger == Tombstone(scene.seen.id)
        assert stored(yard, scene.seen.id) == tombstone_item

    @pytest.mark.parametrize("name", BY_NAME)
    def test_the_indexes_show_it_where_it_stands(self, yard: Yard, name: str) -> None:
        case = BY_NAME[name]
        scene = begin(yard, case)

        case.act(scene)

        wake_at_ms = None if case.wake_in_ms is None else NOW + case.wake_in_ms
        rests = () if case.label in ("pending", "running") else (case.label,)
        expected = Membership(rests, (case.label,), wake_at_ms, by_trace=False)
        becomes(expected, lambda: membership(yard, scene.seen))


def _keys_of(item: dict[str, Any] | None, job: Job) -> tuple[str | None, str | None]:
    """The index keys of an item, with <type> and <shard> in the place of the job's own."""
    found = item or {}
    shard = f"#{job.id % 2}"
    short = {name: key.removesuffix(shard).replace(job.type, "<type>") for name, key in found.items() if "_key" in name}
    return short.get("state_key"), short.get("type_key")


PENDING = (None, "message#<type>#pending")
RUNNING = (None, "message#<type>#running")
RESTING = {
    name: (f"message#{name}", f"message#<type>#{name}")
    for name in ("waiting", "success", "failed", "canceled", "replayed", "deleted-success")
}
RUN = {"state": State.RUNNING, "lease": OLD, "attempts": 1, "lease_until_ms": NOW + LEASE_MS}
LOST = {**RUN, "lease_until_ms": NOW - 1}
DONE = Completed("token")

# What a move does to the index keys: its name, where the job starts, what moves it, and the keys before and after.
MOVES: list[tuple[str, dict[str, Any], Callable[[JobStore, Job], object], Any, Any]] = [
    ("claim", {}, lambda jobs, job: jobs.claim(job, lease_at(), NOW), PENDING, RUNNING),
    ("take over", LOST, lambda jobs, job: jobs.take_over(job, lease_at(), NOW), RUNNING, RUNNING),
    ("succeed", RUN, lambda jobs, job: jobs.succeed(job, None, NOW), RUNNING, RESTING["success"]),
    (
        "retry",
        RUN,
        lambda jobs, job: jobs.retry_later(job, ERROR, NOW, NOW, resend=False, succeeded_subscribers=(), now_ms=NOW),
        RUNNING,
        PENDING,
    ),
    (
        "poll later",
        RUN,
        lambda jobs, job: jobs.poll_later(job, NOW, NOW, resend=False, now_ms=NOW),
        RUNNING,
        PENDING,
    ),
    ("park", RUN, lambda jobs, job: jobs.park(job, None, None, NOW), RUNNING, RESTING["waiting"]),
    (
        "dead-letter",
        RUN,
        lambda jobs, job: jobs.dead_letter(job, Cause.REJECTED, ERROR, NOW),
        RUNNING,
        RESTING["failed"],
    ),
    ("recover", LOST, lambda jobs, job: jobs.recover(job, NOW, NOW), RUNNING, PENDING),
    ("requeue", {}, lambda jobs, job: jobs.requeue(job, NOW, NOW, NOW), PENDING, PENDING),
    ("prioritize", {}, lambda jobs, job: jobs.prioritize(job, 5, NOW, NOW), PENDING, PENDING),
    ("promote", {}, lambda jobs, job: jobs.promote(job, NOW, NOW), PENDING, PENDING),
    ("reset", RUN, lambda jobs, job: jobs.reset(job, NOW, NOW), RUNNING, PENDING),
    ("cancel", {}, lambda jobs, job: jobs.cancel(job, NOW), PENDING, RESTING["canceled"]),
    (
        "complete",
        {"state": State.WAITING},
        lambda jobs, job: jobs.complete(job, DONE, None, StoredOutput(), NOW),
        RESTING["waiting"],
        RESTING["success"],
    ),
    (
        "finish later",
        {"state": State.WAITING},
        lambda jobs, job: jobs.finish_later(job, DONE, StoredOutput(), NOW, NOW),
        RESTING["waiting"],
        PENDING,
    ),
    (
        "restart",
        {"state": State.FAILED},
        lambda jobs, job: jobs.restart(job, NOW, NOW, blocked=False),
        RESTING["failed"],
        PENDING,
    ),
    (
        "replay",
        {"state": State.FAILED},
        lambda jobs, job: jobs.together([*jobs.replaying(job, 7, NOW)]),
        RESTING["failed"],
        RESTING["replayed"],
    ),
    (
        "delete",
        {"state": State.SUCCESS},
        lambda jobs, job: jobs.delete(job, 9),
        RESTING["success"],
        RESTING["deleted-success"],
    ),
]
AS_BEFORE = [move for move in MOVES if None in (move[3][0], move[4][0])]


class TestIndexKeys:
    @pytest.mark.parametrize(("name", "start", "act", "before", "after"), MOVES, ids=[move[0] for move in MOVES])
    def test_only_where_a_job_rests_has_it_a_key_among_all_types(
        self,
        yard: Yard,
        name: str,
        start: dict[str, Any],
        act: Callable[[JobStore, Job], object],
        before: Any,
        after: Any,
    ) -> None:
        del name
        job = place(yard, job_of(yard, **start))
        assert _keys_of(stored(yard, job.id), job) == before
        act(yard.jobs, job)
        assert _keys_of(stored(yard, job.id), job) == after

    @pytest.mark.parametrize(
        ("name", "start", "act", "before", "after"), AS_BEFORE, ids=[move[0] for move in AS_BEFORE]
    )
    def test_a_key_of_an_earlier_version_goes_with_the_next_move(
        self,
        yard: Yard,
        name: str,
        start: dict[str, Any],
        act: Callable[[JobStore, Job], object],
        before: Any,
        after: Any,
    ) -> None:
        """Unless the move changes no state: then it goes with the one after."""
        job = job_of(yard, **start)
        place_as_before(yard, job)
        had = _keys_of(stored(yard, job.id), job)
        assert had == (f"message#{job.state}", before[1])
        act(yard.jobs, job)
        assert _keys_of(stored(yard, job.id), job) == (had if name == "prioritize" else after)


class TestRecords:
    def test_a_new_record_is_stored_with_what_differs_from_the_defaults_and_its_index_keys(self, yard: Yard) -> None:
        job = job_of(yard, trace_id="order-7", priority=12, wake_at_ms=NOW + 20_000, body='{"input":{}}')

        yard.jobs.record(job)

        assert stored(yard, job.id) == {
            "job": job.id,
            "part": "state",
            "birth": BIRTH,
            "kind": "message",
            "type": job.type,
            "queue": job.type,
            "created_at_ms": job.created_at_ms,
            "updated_at_ms": job.created_at_ms,
            "trace_id": "order-7",
            "trace_key": "order-7",
            "priority": 12,
            "attempt_limit": 3,
            "body": '{"input":{}}',
            "state": "pending",
            "delivery": 1,
            "due_at_ms": job.created_at_ms,
            "attempts": 0,
            "trace": list(job.trace),
            "position": f"{job.created_at_ms:013d}-{job.id:016d}",
            "type_key": f"message#{job.type}#pending#{job.id % 2}",
            **wake(yard, job, NOW + 20_000),
        }
        assert yard.jobs.find(job.id) == job
        becomes(
            Membership((), ("pending",), NOW + 20_000, by_trace=True),
            lambda: membership(yard, job),
        )

    def test_every_field_survives(self, yard: Yard) -> None:
        job = job_of(
            yard,
            kind=Kind.TASK,
            state=State.FAILED,
            type="рапорт/Ünïcode 報告",
            priority=-1_000,
            runner=MANUAL,
            script="index",
            target_id="t",
            target_type="tt",
            parent_id=(1 << 53) - 1,
            replay_of=7,
            error=ERROR,
            progress=Progress(0.1, 0.3, "ünï", '{"x":[1,2.5]}'),
            succeeded_subscribers=("a", "b"),
            blocked=True,
            has_children=True,
            requeue_count=2,
            sent_at_ms=NOW,
            replayed_at_ms=NOW,
            replayed_as=8,
            timeout_ms=0,
            output="null",
            delivery=3,
        )
        yard.jobs.record(job)
        assert yard.jobs.find(job.id) == job

    @pytest.mark.parametrize("body", [None, "x" * 1_000])
    def test_a_taken_id_is_refused_with_who_has_it(self, yard: Yard, body: str | None) -> None:
        first = place(yard, job_of(yard, attempts=2))
        second = job_of(yard, id=first.id, uid=OTHER)

        with pytest.raises(JobRefused) as refused:
            yard.jobs.record(second, body)

        assert refused.value.ledger == first
        assert parts_of(yard, first.id).keys() == {"state"}

    def test_a_tombstone_takes_the_id(self, yard: Yard) -> None:
        job = place(yard, job_of(yard, state=State.SUCCESS))
        yard.jobs.delete(job, 9)
        with pytest.raises(JobRefused) as refused:
            yard.jobs.record(job)
        assert refused.value.ledger == Tombstone(job.id)

    def test_a_large_body_is_an_item_beside_the_record(self, yard: Yard) -> None:
        job = job_of(yard, body_at="item")
        yard.jobs.record(job, "x" * 1_000)
        assert parts_of(yard, job.id)[BODY_PART] == {"job": job.id, "part": "body", "text": "x" * 1_000}

    def test_a_claim_makes_the_record_that_the_publisher_could_not(self, yard: Yard) -> None:
        envelope = job_of(yard, body_at="item")

        job = yard.jobs.claim_unrecorded(envelope, "x" * 400, lease_at(**POLLED), NOW)

        assert job == replace(
            envelope,
            state=State.RUNNING,
            updated_at_ms=NOW,
            started_at_ms=NOW,
            first_started_at_ms=NOW,
            attempts=1,
            lease=NEW,
            lease_until_ms=NOW + LEASE_MS,
            worker="w-2",
            source="some-lane",
            receipt="some-handle",
            trace=(*envelope.trace, f'{NOW} started {{"by":"w-2"}}'),
        )
        assert yard.jobs.find(job.id) == job
        assert parts_of(yard, job.id)[BODY_PART]["text"] == "x" * 400
        becomes(Membership((), ("running",), None, by_trace=False), lambda: membership(yard, job))

    def test_the_publisher_was_faster_after_all(self, yard: Yard) -> None:
        job = place(yard, job_of(yard))
        with pytest.raises(JobRefused) as refused:
            yard.jobs.claim_unrecorded(job, "x", lease_at(), NOW)
        assert refused.value.ledger == job
        assert parts_of(yard, job.id).keys() == {"state"}


class TestReading:
    def test_many_come_in_the_order_asked_for_without_those_that_are_not(self, yard: Yard) -> None:
        jobs = [place(yard, job_of(yard)) for _ in range(120)]
        gone = place(yard, job_of(yard, state=State.SUCCESS))
        yard.jobs.delete(gone, 9)
        wanted = [job.id for job in reversed(jobs)]

        found = yard.jobs.find_many([gone.id, *wanted, (1 << 53) - 2, wanted[0]])

        assert [job.id for job in found] == [*wanted, wanted[0]]
        assert yard.jobs.find_many([]) == []

    def test_a_deleted_job_is_not_found(self, yard: Yard) -> None:
        gone = place(yard, job_of(yard, state=State.SUCCESS))
        yard.jobs.delete(gone, 9)
        assert yard.jobs.find(gone.id) is None
        assert yard.jobs.find((1 << 53) - 3) is None


class TestTheRaceForAnAttempt:
    def test_a_late_worker_changes_nothing(self, yard: Yard) -> None:
        job = place(yard, job_of(yard))
        first = yard.jobs.claim(job, Lease(OLD, NOW + 10, "a"), NOW)
        later_ms = NOW + 11
        second = yard.jobs.take_over(first, Lease(NEW, later_ms + LEASE_MS, "b"), later_ms)
        before = stored(yard, job.id)

        for late in (
            lambda: yard.jobs.succeed(first, StoredOutput(text="1"), later_ms),
            lambda: yard.jobs.dead_letter(first, Cause.ATTEMPTS_USED_UP, ERROR, later_ms),
            lambda: yard.jobs.retry_later(
                first, ERROR, later_ms, later_ms, resend=False, succeeded_subscribers=(), now_ms=later_ms
            ),
            lambda: yard.jobs.extend_lease(first.id, OLD, later_ms + LEASE_MS),
            lambda: yard.jobs.report_progress(first.id, OLD, Progress(1, 2), later_ms),
            lambda: yard.jobs.take_over(first, Lease(OTHER, later_ms + LEASE_MS, "c"), later_ms),
            lambda: yard.jobs.recover(first, later_ms, later_ms),
        ):
            with pytest.raises(JobRefused) as refused:
                late()
            assert refused.value.ledger == second
        assert stored(yard, job.id) == before

        done = yard.jobs.succeed(second, StoredOutput(text="2"), later_ms)
        assert (done.state, done.output, done.attempts) == (State.SUCCESS, "2", 2)
        assert [event.event for event in done.events] == ["published", "started", "recovered", "started", "succeeded"]

    @pytest.mark.parametrize("ending", ["succeed", "dead_letter", "retry_later"])
    def test_a_settle_whose_answer_was_lost_knows_its_own_work(self, yard: Yard, ending: str) -> None:
        job = place(yard, job_of(yard, **running()))
        acts: dict[str, Callable[[], Job]] = {
            "succeed": lambda: yard.jobs.succeed(job, StoredOutput(text="1"), NOW),
            "dead_letter": lambda: yard.jobs.dead_letter(job, Cause.ATTEMPTS_USED_UP, ERROR, NOW),
            "retry_later": lambda: yard.jobs.retry_later(
                job, ERROR, NOW, NOW, resend=False, succeeded_subscribers=(), now_ms=NOW
            ),
        }
        once = acts[ending]()
        before = stored(yard, job.id)
        assert acts[ending]() == once
        assert stored(yard, job.id) == before

    def test_a_canceled_job_listens_to_its_worker_no_more(self, yard: Yard) -> None:
        job = place(yard, job_of(yard, **running()))
        canceled = yard.jobs.cancel(job, NOW)
        assert canceled.lease == OLD  # kept, so that the worker knows that it was not taken over
        with pytest.raises(JobRefused) as refused:
            yard.jobs.succeed(job, StoredOutput(), NOW)
        assert refused.value.ledger == canceled


class TestTheTrace:
    def test_it_keeps_the_newest_twenty(self, yard: Yard) -> None:
        full = lines(TRACE_MAX_EVENTS)

        taken = yard.jobs.take_over(place(yard, job_of(yard, **abandoned(), trace=full[1:])), lease_at(), NOW)
        dead = yard.jobs.dead_letter(
            place(yard, job_of(yard, **running(), trace=full)), Cause.ATTEMPTS_USED_UP, ERROR, NOW
        )

        recovered = f'{NOW} recovered {{"attempt":1}}'
        assert taken.trace == (*full[2:], recovered, f'{NOW} started {{"by":"w-2"}}')
        assert dead.trace == (*full[1:], f'{NOW} dead {{"attempt":1,"error":"no good","cause":"attempts_used_up"}}')
        assert len(taken.trace) == len(dead.trace) == TRACE_MAX_EVENTS

    def test_a_life_of_many_attempts_never_holds_more(self, yard: Yard) -> None:
        job = place(yard, job_of(yard, max_attempts=30, attempt_limit=30))
        for number in range(15):
            seen = job if len(job.trace) >= TRACE_MAX_EVENTS else None
            lease = Lease(f"{number:016d}", NOW + LEASE_MS, "w")
            running_job = yard.jobs.claim(job, lease, NOW, seen)
            job = yard.jobs.retry_later(
                running_job, ERROR, NOW, NOW, resend=False, succeeded_subscribers=(), now_ms=NOW
            )
            assert len(job.trace) == min(1 + 2 * (number + 1), TRACE_MAX_EVENTS)
        assert [event.detail.get("attempt") for event in job.events][-3:] == [14, None, 15]


class TestTombstones:
    def test_nothing_but_the_tombstone_remains(self, yard: Yard) -> None:
        job = job_of(yard, state=State.SUCCESS, trace_id=f"trace-{yard.token()}", body_at="item")
        yard.jobs.record(job, "x" * 400)
        table = yard.jobs.table
        table.put({"job": job.id, "part": f"output#{OLD}", "text": "1"})
        for child in range(30):
            table.put({"job": job.id, "part": f"child#{child}"})
        becomes(Membership(("success",), ("success",), None, by_trace=True), lambda: membership(yard, job))

        assert yard.jobs.delete(job, EXPIRES_AT_S) == Tombstone(job.id, ("item",))

        assert parts_of(yard, job.id) == {"state": {**grave_of(yard, job, EXPIRES_AT_S), "trace_key": job.trace_id}}
        gone = ("deleted-success",)
        becomes(Membership(gone, gone, None, by_trace=True), lambda: membership(yard, job))
        assert yard.jobs.find_many([job.id]) == []
        assert yard.jobs.stories([job.id]) == [job.story]

    def test_a_task_leaves_no_story(self, yard: Yard) -> None:
        task = place(yard, job_of(yard, kind=Kind.TASK, state=State.FAILED))
        yard.jobs.delete(task, EXPIRES_AT_S)
        assert stored(yard, task.id) == {
            "job": task.id,
            "part": "state",
            "state": "deleted",
            "expires_at_s": EXPIRES_AT_S,
        }
        assert yard.jobs.stories([task.id]) == []

    def test_what_is_left_in_the_bucket_is_told_until_it_is_gone(self, yard: Yard) -> None:
        places = (f"s3:bodies/1/{BIRTH}.json", f"s3:outputs/1/{OLD}.json")
        job = place(yard, job_of(yard, state=State.FAILED, body_at=places[0], output_at=places[1]))

        tombstone = yard.jobs.delete(job, EXPIRES_AT_S)

        assert tombstone == yard.jobs.ledger(job.id) == Tombstone(job.id, places)
        assert yard.jobs.find(job.id) is None
        for _ in range(2):
            yard.jobs.purged(tombstone)
            assert stored(yard, job.id) == grave_of(yard, job, EXPIRES_AT_S)

    def test_only_a_tombstone_is_sealed(self, yard: Yard) -> None:
        live = place(yard, job_of(yard))
        before = stored(yard, live.id)
        yard.jobs.purged(Tombstone(live.id))
        assert stored(yard, live.id) == before
        missing = yard.ids.new()
        yard.jobs.purged(Tombstone(missing))
        assert stored(yard, missing) is None

    def test_a_deletion_that_was_cut_short_is_finished_by_the_next(self, yard: Yard) -> None:
        job = place(yard, job_of(yard, state=State.SUCCESS))
        yard.jobs.delete(job, EXPIRES_AT_S)
        yard.jobs.table.put({"job": job.id, "part": "body", "text": "left"})
        yard.jobs.delete(job, EXPIRES_AT_S + 1)
        assert parts_of(yard, job.id) == {"state": grave_of(yard, job, EXPIRES_AT_S)}

    @pytest.mark.parametrize("override", [{"state": State.PENDING}, {"uid": OTHER}, {"delivery": 2}])
    def test_a_job_that_moved_on_is_not_deleted(self, yard: Yard, override: dict[str, Any]) -> None:
        seen = job_of(yard, state=State.FAILED)
        actual = place(yard, replace(seen, **override))
        yard.jobs.table.put({"job": seen.id, "part": "body", "text": "x"})

        with pytest.raises(JobRefused) as refused:
            yard.jobs.delete(seen, EXPIRES_AT_S)

        assert refused.value.ledger == actual
        assert parts_of(yard, seen.id).keys() == {"state", "body"}


class TestTheTable:
    """What the transitions are built of."""

    def test_one_change_sets_removes_adds_appends_and_keeps(self, yard: Yard) -> None:
        table, key = yard.jobs.table, {"job": yard.ids.new(), "part": "state"}
        first = table.update(
            key, Change((), sets={"a": 1, "b": "x"}, adds={"n": 5}, appends={"l": ["p"]}, keeps={"k": 7})
        )
        assert first == {**key, "a": 1, "b": "x", "n": 5, "l": ["p"], "k": 7}
        second = table.update(
            key, Change((), sets={"a": 2, "b": None}, adds={"n": -7}, appends={"l": ["q", "r"]}, keeps={"k": 8})
        )
        assert second == {**key, "a": 2, "n": -2, "l": ["p", "q", "r"], "k": 7}
        assert table.get(key) == second

    def test_reserved_words_are_names_like_others(self, yard: Yard) -> None:
        table, key = yard.jobs.table, {"job": yard.ids.new(), "part": "state"}
        words = {"name": "n", "status": "s", "timestamp": 1, "date": "d", "value": True, "size": [1, {"m": "x"}]}
        assert table.update(key, Change((), sets=words)) == {**key, **words}

    def test_a_delete_has_clauses_too(self, yard: Yard) -> None:
        table, key = yard.jobs.table, {"job": yard.ids.new(), "part": "state"}
        table.put({**key, "a": 1})
        with pytest.raises(Refused) as refused:
            table.delete(key, Clause("a is 2", "{a} = :two", {":two": 2}))
        assert refused.value.old == {**key, "a": 1}
        table.delete(key, Clause("a is 1", "{a} = :one", {":one": 1}))
        assert table.get(key) is None
        table.delete(key)

    def test_more_keys_than_one_call_takes(self, yard: Yard) -> None:
        table = yard.jobs.table
        keys = [{"job": yard.ids.new(), "part": "state"} for _ in range(130)]
        for key in keys:
            table.put({**key, "text": "x" * 10})
        assert len(table.get_many(keys)) == 130
        table.delete_many(keys[:60])
        assert {item["job"] for item in table.get_many(keys)} == {key["job"] for key in keys[60:]}

    def test_a_query_goes_on_from_page_to_page(self, yard: Yard) -> None:
        table, job_id = yard.jobs.table, yard.ids.new()
        for number in range(7):
            table.put({"job": job_id, "part": f"p{number}"})
        condition, values = "{job} = :job", {":job": job_id}

        pages = table.pages(condition, values, page_size=3, ascending=False, consistent=True)
        found = [[row["part"] for row in page] for page in pages]

        assert [page for page in found if page] == [["p6", "p5", "p4"], ["p3", "p2", "p1"], ["p0"]]
        assert table.count(condition, values, enough=100) == 7
        assert table.count(condition, values, enough=5) == 5

    def test_the_first_items_of_a_query_are_that_many_however_large(self, yard: Yard) -> None:
        table, job_id = yard.jobs.table, yard.ids.new()
        for number in range(12):
            table.put({"job": job_id, "part": f"p{number:02d}", "text": "x" * 200_000})
        condition, values = "{job} = :job", {":job": job_id}

        def parts(most: int) -> list[str]:
            found = table.first(condition, values, most, ascending=False, consistent=True)
            return [row["part"] for row in found]

        assert parts(11) == [f"p{number:02d}" for number in range(11, 0, -1)]
        assert parts(50) == [f"p{number:02d}" for number in range(11, -1, -1)]
        assert len(list(table.query_all(condition, values))) == 12
        assert table.count(condition, values, enough=100) == 12

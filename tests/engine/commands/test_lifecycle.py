"""What people ask of a job: cancel, retry, delete, replay."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.errors import Conflict, InvalidInput, NotFound
from chalicelib.core.job import MANUAL, Job, JobError, Tombstone
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import Replayed, cancel, delete, find, replay, retry
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.polling.poll import poll
from chalicelib.engine.worker.attempt import JobCanceled
from chalicelib.engine.worker.context import Context
from chalicelib.store.job_queries import JobQuery
from tests.support.steps import a_message, a_task, before, counting, failing, foreign, message_of, name_of, using, work
from tests.support.worlds import World, envelopes
from tests.support.yards import START_MS, events_of

TASK, MESSAGE = Kind.TASK, Kind.MESSAGE


@task("t", max_attempts=2, backoff=Fixed(0))
def obedient(what: Any, context: Context) -> Any:
    """Fails until it is asked for again, or until told to succeed."""
    if what != "succeed" and context.job.attempts == context.job.tries and context.job.replay_of is None:
        raise RuntimeError("no")
    return what


@subscribe("news", max_attempts=1)
def listener(_: Any, context: Context) -> None:
    if context.job.replay_of is None:
        raise RuntimeError("no")


@pytest.fixture
def w(w: World) -> World:
    using(w, obedient, listener)
    return w


def dead_task(w: World, **more: Any) -> Job:
    job = a_task(w, **more)
    w.go_on()
    dead = w.job(job.id)
    assert dead.state is State.FAILED
    return dead


def dead_message(w: World, **more: Any) -> Job:
    job = a_message(w, **more)
    w.go_on()
    dead = w.job(job.id)
    assert dead.state is State.FAILED
    return dead


# -- find ---------------------------------------------------------------------------------------------


def test_a_job_is_found_by_its_id_and_kind(w: World) -> None:
    job = a_task(w)
    assert find(w.yard, job.id, TASK) == job
    for job_id, kind in [(job.id, MESSAGE), (99, TASK)]:
        with pytest.raises(NotFound) as refused:
            find(w.yard, job_id, kind)
        assert refused.value.message == f"there is no {kind} {job_id}"
        assert refused.value.got == str(job_id)


# -- cancel -------------------------------------------------------------------------------------------


def test_a_pending_job_is_canceled_and_never_runs(w: World) -> None:
    job = a_task(w, delay_ms=60_000)
    w.clock.move(500)
    canceled = cancel(w.yard, job.id, TASK)
    assert canceled == w.job(job.id)
    assert (canceled.state, canceled.completed_at_ms, canceled.attempts) == (State.CANCELED, START_MS + 500, 0)
    assert events_of(canceled) == ["published", "canceled"]
    w.go_on()
    assert w.job(job.id) == canceled
    assert w.messages() == []


def test_a_job_that_waits_for_the_clock_is_canceled(w: World) -> None:
    job = a_task(w, delay_ms=3_600_000)
    assert cancel(w.yard, job.id, TASK).wake_at_ms is None
    assert w.next_event_ms() is None


@pytest.mark.parametrize("end", ["success", "failed", "canceled"])
def test_canceling_what_is_done_changes_nothing(w: World, end: str) -> None:
    job = a_task(w, input="succeed" if end == "success" else "fail")
    if end == "canceled":
        cancel(w.yard, job.id, TASK)
    w.go_on()
    done = w.job(job.id)
    assert done.state.value == end
    w.clock.move(1_000)
    assert cancel(w.yard, job.id, TASK) == done
    assert w.job(job.id) == done


def test_a_running_job_is_canceled_and_its_lease_void(w: World) -> None:
    a_message(w, "notes")
    (job,) = poll(w.yard, "notes", 1, 30_000, "client")
    canceled = cancel(w.yard, job.id, MESSAGE)
    assert (canceled.state, canceled.lease_until_ms, canceled.receipt) == (State.CANCELED, None, None)


def test_a_job_that_starts_at_that_very_moment_is_canceled_all_the_same(w: World) -> None:
    job = a_message(w, "notes")
    with before(w.yard.jobs.table.client, "UpdateItem", lambda: poll(w.yard, "notes", 1, 30_000, "client")):
        assert cancel(w.yard, job.id, MESSAGE).attempts == 1
    assert w.job(job.id).state is State.CANCELED


def test_a_job_that_ends_at_that_very_moment_stays_as_it_ended(w: World) -> None:
    job = a_task(w, input="succeed")
    with before(w.yard.jobs.table.client, "UpdateItem", lambda: work(w)):
        assert cancel(w.yard, job.id, TASK).state is State.SUCCESS
    assert w.job(job.id).state is State.SUCCESS


def test_what_is_not_there_cannot_be_canceled(w: World) -> None:
    with pytest.raises(NotFound):
        cancel(w.yard, 99, TASK)
    with pytest.raises(NotFound):
        cancel(w.yard, a_message(w).id, TASK)


# -- retry --------------------------------------------------------------------------------------------


def test_a_dead_letter_is_run_again_with_as_many_attempts_as_at_first(w: World) -> None:
    dead = dead_task(w, input="again")
    assert (dead.attempts, dead.failures, dead.attempt_limit) == (2, 2, 2)
    w.clock.move(5_000)
    retried = retry(w.yard, dead.id, TASK)
    assert (retried.state, retried.delivery, retried.due_at_ms) == (State.PENDING, dead.delivery + 1, w.clock.ms)
    assert (retried.attempts, retried.tries, retried.attempt_limit, retried.failures) == (2, 0, 4, 0)
    assert (retried.error, retried.completed_at_ms, retried.progress, retried.requeue_count) == (None, None, None, 0)
    assert w.job(dead.id) == replace(retried, wake_at_ms=None, sent_at_ms=w.clock.ms)
    assert [envelope.delivery for envelope in envelopes(w)] == [dead.delivery + 1]
    work(w)
    done = w.job(dead.id)
    assert (done.state, done.attempts, done.output) == (State.SUCCESS, 3, '"again"')
    assert events_of(done)[-3:] == ["retried", "started", "succeeded"]


def test_a_retried_job_may_use_up_its_attempts_again(w: World) -> None:
    @task("t", max_attempts=2, backoff=Fixed(0))
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    dead = dead_task(w)
    retry(w.yard, dead.id, TASK)
    w.go_on()
    again = w.job(dead.id)
    assert (again.state, again.attempts, again.failures) == (State.FAILED, 4, 2)


def test_a_canceled_job_is_run_again_and_its_old_message_is_void(w: World) -> None:
    job = a_task(w, input="succeed")
    cancel(w.yard, job.id, TASK)
    retry(w.yard, job.id, TASK)
    assert [envelope.delivery for envelope in envelopes(w)] == [1, 2]
    work(w)
    assert (w.job(job.id).state, w.job(job.id).attempts) == (State.SUCCESS, 1)
    assert w.messages() == []


def test_a_retry_starts_now_whatever_start_was_asked_for(w: World) -> None:
    job = a_task(w, input="succeed", delay_ms=3_600_000)
    cancel(w.yard, job.id, TASK)
    retry(w.yard, job.id, TASK)
    work(w)
    assert (w.job(job.id).state, w.job(job.id).started_at_ms) == (State.SUCCESS, START_MS)


def test_only_what_failed_or_was_canceled_is_retried(w: World) -> None:
    pending, done = a_task(w, delay_ms=5_000), a_task(w, input="succeed")
    work(w)
    a_message(w, "notes")
    (running,) = poll(w.yard, "notes", 1, 30_000, "client")
    for job, kind, state in [(pending, TASK, "pending"), (done, TASK, "success"), (running, MESSAGE, "running")]:
        before_it = w.job(job.id)
        with pytest.raises(Conflict) as refused:
            retry(w.yard, job.id, kind)
        assert (refused.value.field, refused.value.got) == ("id", state)
        assert w.job(job.id) == before_it
    with pytest.raises(NotFound):
        retry(w.yard, 99, TASK)


def test_what_was_replayed_is_not_retried(w: World) -> None:
    dead = dead_task(w)
    replay(w.yard, dead.id, TASK)
    with pytest.raises(Conflict):
        retry(w.yard, dead.id, TASK)


def test_two_who_ask_for_a_retry_at_once_get_one(w: World) -> None:
    dead = dead_task(w)
    with before(w.yard.jobs.table.client, "UpdateItem", lambda: retry(w.yard, dead.id, TASK)):
        assert retry(w.yard, dead.id, TASK).delivery == dead.delivery + 1
    w.go_on()
    assert (w.job(dead.id).state, w.job(dead.id).attempts) == (State.SUCCESS, 3)


def test_a_retry_after_which_the_job_has_run_already_tells_how_it_stands(w: World) -> None:
    dead = dead_task(w)

    def another() -> None:
        retry(w.yard, dead.id, TASK)
        w.go_on()

    with before(w.yard.jobs.table.client, "UpdateItem", another):
        retry(w.yard, dead.id, TASK)
    assert w.job(dead.id).attempts == 3


def test_a_retry_that_sqs_does_not_take_is_the_clocks(w: World) -> None:
    dead = dead_task(w)
    with failing(w.yard.transport.client, "SendMessage"):
        assert retry(w.yard, dead.id, TASK).state is State.PENDING
    assert w.messages() == []
    assert w.job(dead.id).wake_at_ms == w.clock.ms + 20_000
    w.go_on()
    assert w.job(dead.id).state is State.SUCCESS


def test_a_manual_task_is_retried_without_a_message(w: World) -> None:
    job = a_task(w, "sign", runner=MANUAL)
    cancel(w.yard, job.id, TASK)
    retried = retry(w.yard, job.id, TASK)
    assert (retried.state, retried.wake_at_ms, w.messages()) == (State.PENDING, None, [])


def test_a_canceled_child_goes_on_waiting_for_its_parent(w: World) -> None:
    parent = a_task(w, input="succeed")
    child = a_task(w, input="succeed", parent_id=parent.id)
    cancel(w.yard, child.id, TASK)
    held = retry(w.yard, child.id, TASK)
    assert (held.blocked, held.wake_at_ms) == (True, START_MS + 60_000)
    assert [envelope.id for envelope in envelopes(w)] == [parent.id]
    w.go_on()
    assert w.job(child.id).state is State.SUCCESS
    assert (w.job(child.id).started_at_ms or 0) >= (w.job(parent.id).completed_at_ms or 0)


def test_a_canceled_child_whose_parent_has_succeeded_starts(w: World) -> None:
    parent = a_task(w, input="succeed")
    child = a_task(w, input="succeed", parent_id=parent.id)
    cancel(w.yard, child.id, TASK)
    work(w)
    retried = retry(w.yard, child.id, TASK)
    assert not retried.blocked
    work(w)
    assert w.job(child.id).state is State.SUCCESS


# -- delete -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 1_000, 300_000])
def test_a_deleted_job_leaves_a_tombstone_and_nothing_else(w: World, size: int) -> None:
    job = a_task(w, input="succeed", options="x" * size)
    text = message_of(w, job).body
    w.go_on()
    delete(w.yard, job.id, TASK)
    assert w.records() == [Tombstone(job.id)]
    (tombstone_item,) = w.items("jobs")
    assert tombstone_item == {
        "job": job.id,
        "part": "state",
        "state": "deleted",
        "expires_at_s": w.clock.ms // 1_000 + 15 * 86_400,
    }
    assert w.objects() == []
    foreign(w, text)
    assert work(w) == []
    assert w.records() == [Tombstone(job.id)]
    with pytest.raises(NotFound):
        find(w.yard, job.id, TASK)


def test_only_what_is_done_is_deleted(w: World) -> None:
    job = a_task(w)
    with pytest.raises(Conflict) as refused:
        delete(w.yard, job.id, TASK)
    assert (refused.value.got, refused.value.remedy) == ("pending", "cancel it first, or force it")
    assert w.jobs() == [job]
    with pytest.raises(NotFound):
        delete(w.yard, job.id, MESSAGE)
    cancel(w.yard, job.id, TASK)
    delete(w.yard, job.id, TASK)
    assert w.jobs() == []
    with pytest.raises(NotFound):
        delete(w.yard, job.id, TASK)


def test_what_is_retried_at_that_very_moment_is_not_deleted(w: World) -> None:
    dead = dead_task(w, input="x" * 1_000)
    with (
        before(w.yard.jobs.table.client, "PutItem", lambda: retry(w.yard, dead.id, TASK)),
        pytest.raises(Conflict) as refused,
    ):
        delete(w.yard, dead.id, TASK)
    assert (refused.value.message, refused.value.got) == ("only a job that is done can be deleted", "pending")
    w.go_on()
    assert w.yard.payloads.output(w.job(dead.id)) == "x" * 1_000


def test_forced_a_job_is_deleted_in_every_state(w: World) -> None:
    @task("t", max_attempts=1)
    def handler(what: str, context: Context) -> None:
        if what == "waits":
            context.next()
        if what == "fails":
            raise RuntimeError("no")

    using(w, handler)
    done = [a_task(w, input=what).id for what in ("succeeds", "waits", "fails")]
    done.append(cancel(w.yard, a_task(w).id, TASK).id)
    w.go_on()
    open_ = [a_task(w), a_task(w, delay_ms=3 * 86_400_000), a_task(w, runner=MANUAL), a_task(w, parent_id=done[1])]
    states = [w.job(job_id).state.value for job_id in [*done, *(job.id for job in open_)]]
    assert states == ["success", "waiting", "failed", "canceled", *["pending"] * 4]
    for job_id in [*done, *(job.id for job in open_)]:
        delete(w.yard, job_id, TASK, force=True)
        with pytest.raises(NotFound, match=f"there is no task {job_id}"):
            delete(w.yard, job_id, TASK, force=True)
    w.go_on()
    assert {type(found) for found in w.records()} == {Tombstone}
    assert {item["part"] for item in w.items("jobs")} == {"state"}


@pytest.mark.parametrize("size", [10, 1_000])
def test_a_running_job_is_deleted_at_once_and_its_run_leaves_nothing(w: World, size: int) -> None:
    ended: list[type[Exception]] = []

    @task("t", max_attempts=3)
    def handler(_: Any, context: Context) -> str:
        delete(w.yard, context.job.id, TASK, force=True)
        context.write_log("I did not notice")
        sys.stdout.write("nor did I\n")
        try:
            context.progress(1)
        except JobCanceled as canceled:
            ended.append(type(canceled))
        return "x" * size

    using(w, handler)
    job = a_task(w, next={"type": "t"})
    child = a_task(w, parent_id=job.id)
    w.go_on()
    assert (ended, w.messages()) == ([JobCanceled], [])
    assert [w.yard.jobs.ledger(job_id) for job_id in (job.id, child.id)] == [Tombstone(job.id), w.job(child.id)]
    w.clock.move(60_000)
    w.tick()
    assert w.job(child.id).state is State.CANCELED  # its parent cannot succeed any more
    assert {item["part"] for item in w.items("jobs")} == {"state"}


def test_a_job_that_ends_while_it_is_deleted_is_deleted_all_the_same(w: World) -> None:
    job = a_task(w, input="succeed")
    with before(w.yard.jobs.table.client, "UpdateItem", w.deliver):
        delete(w.yard, job.id, TASK, force=True)
    assert w.records() == [Tombstone(job.id)]


def test_a_parent_that_has_succeeded_lets_its_children_go_when_it_is_deleted(w: World) -> None:
    parent = a_task(w, input="succeed")
    w.deliver()
    child = a_task(w, input="succeed", parent_id=parent.id)
    delete(w.yard, parent.id, TASK, force=True)
    w.go_on()
    assert (w.yard.jobs.find(parent.id), w.job(child.id).state) == (None, State.SUCCESS)


# -- replay -------------------------------------------------------------------------------------------


def test_a_dead_letter_is_published_anew(w: World) -> None:
    dead = dead_message(
        w,
        input={"a": 1},
        options={"o": 2},
        context={"c": 3},
        priority=4,
        timeout_ms=9_000,
        backoff=Fixed(7),
        target_id="7",
        target_type="cat",
    )
    w.clock.move(1_000)
    successor = replay(w.yard, dead.id)
    assert successor.id != dead.id
    assert successor.uid != dead.uid
    assert successor.trace_id != dead.trace_id
    kept = (
        "kind",
        "type",
        "queue",
        "priority",
        "max_attempts",
        "timeout_ms",
        "backoff",
        "target_id",
        "target_type",
        "body",
    )
    assert [getattr(successor, name) for name in kept] == [getattr(dead, name) for name in kept]
    assert (successor.state, successor.attempts, successor.replay_of) == (State.PENDING, 0, dead.id)
    assert (successor.created_at_ms, successor.due_at_ms) == (w.clock.ms, w.clock.ms)
    (event,) = successor.events
    assert (event.event, event.detail) == ("replayed", {"originalId": str(dead.id), "deadLetterId": str(dead.id)})
    marked = w.job(dead.id)
    assert (marked.state, marked.replayed_at_ms, marked.replayed_as) == (State.FAILED, w.clock.ms, successor.id)
    work(w, "news")
    assert w.job(successor.id).state is State.SUCCESS


@pytest.mark.parametrize("size", [10, 1_000, 300_000])
def test_the_payload_comes_along_wherever_it_is(w: World, size: int) -> None:
    dead = dead_task(w, input="x" * size)
    successor = replay(w.yard, dead.id, TASK)
    w.go_on()
    assert w.yard.payloads.output(w.job(successor.id)) == "x" * size
    delete(w.yard, dead.id, TASK)
    assert w.yard.payloads.body(w.job(successor.id)) == {"input": "x" * size}


def test_a_replayed_dead_letter_is_listed_apart(w: World) -> None:
    dead = dead_message(w)
    other = dead_message(w)
    replay(w.yard, dead.id)
    assert list(w.yard.lists.ids(JobQuery(MESSAGE, index_keys=("failed",)))) == [other.id]
    assert list(w.yard.lists.ids(JobQuery(MESSAGE, index_keys=("replayed",)))) == [dead.id]
    assert list(w.yard.lists.ids(JobQuery(MESSAGE, type="news", index_keys=("replayed",)))) == [dead.id]


def test_a_dead_letter_is_replayed_once(w: World) -> None:
    dead = dead_message(w)
    replay(w.yard, dead.id)
    with pytest.raises(Conflict) as refused:
        replay(w.yard, dead.id)
    assert refused.value.message == "this dead letter was replayed already"
    assert len(w.jobs()) == 2
    assert len(w.messages()) == 1


def test_two_who_replay_at_once_make_one_job(w: World) -> None:
    dead = dead_message(w)
    with (
        before(w.yard.jobs.table.client, "TransactWriteItems", lambda: replay(w.yard, dead.id)),
        pytest.raises(Conflict),
    ):
        replay(w.yard, dead.id)
    assert len(w.jobs()) == 2


def test_what_is_no_dead_letter_is_not_found(w: World) -> None:
    pending, done = a_message(w, "notes"), a_task(w, input="succeed")
    work(w)
    dead = dead_task(w)
    for job_id, kind in [(pending.id, MESSAGE), (done.id, TASK), (99, None), (dead.id, MESSAGE)]:
        with pytest.raises(NotFound) as refused:
            replay(w.yard, job_id, kind)
        assert refused.value.message == f"there is no dead letter {job_id}"
    assert replay(w.yard, dead.id, None).replay_of == dead.id


def test_a_successor_may_be_replayed_in_turn(w: World) -> None:
    @subscribe("news", max_attempts=1)
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    first = dead_message(w)
    second = replay(w.yard, first.id)
    w.go_on()
    third = replay(w.yard, second.id)
    assert (third.replay_of, w.job(second.id).replayed_as) == (second.id, third.id)


def test_a_dead_letter_whose_handler_is_gone_is_not_replayed(w: World) -> None:
    dead = dead_task(w)
    using(w)
    with pytest.raises(InvalidInput) as refused:
        replay(w.yard, dead.id, TASK)
    assert refused.value.field == "type"
    assert w.jobs() == [dead]


def test_a_replay_that_sqs_does_not_take_is_the_clocks(w: World) -> None:
    dead = dead_message(w, input="x" * 1_000)
    with failing(w.yard.transport.client, "SendMessage"):
        successor = replay(w.yard, dead.id)
    assert w.messages() == []
    w.go_on()
    assert w.job(successor.id).state is State.SUCCESS


def test_an_unreadable_message_can_be_replayed_to_whoever_polls_it(w: World) -> None:
    foreign(w, "hello")
    work(w)
    (dead,) = w.jobs()
    successor = replay(w.yard, dead.id)
    (taken,) = poll(w.yard, "unreadable", 1, 30_000, "client")
    assert taken.id == successor.id
    assert w.yard.payloads.body(taken)["input"]["text"] == "hello"


def test_a_replay_is_one_transaction_and_one_message(w: World) -> None:
    dead = dead_message(w)
    with counting(w) as calls:
        replay(w.yard, dead.id)
    assert calls == {"GetItem": 1, "TransactWriteItems": 1, "SendMessage": 1, "UpdateItem": 1}


def test_many_are_replayed_each_for_itself(w: World) -> None:
    first, second = dead_message(w, input=1), dead_message(w, input=2)
    task_id = dead_task(w).id
    assert [replay(w.yard, dead.id).replay_of for dead in (second, first)] == [second.id, first.id]
    for job_id, refused in ((99, NotFound), (first.id, Replayed), (task_id, NotFound)):
        with pytest.raises(refused):
            replay(w.yard, job_id)


def test_what_a_dead_letter_says(w: World) -> None:
    dead = dead_message(w)
    assert dead.error == JobError("RuntimeError", "no", dead.error.where if dead.error else None)
    assert dead.queue == "news"
    assert w.messages(name_of(w, "news")) == []

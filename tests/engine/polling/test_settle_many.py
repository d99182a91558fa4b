"""Reports about many messages at once: each for itself, in few calls."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import EndpointConnectionError

from chalicelib.core.decisions import Succeeded
from chalicelib.core.errors import Conflict, NotFound, Unavailable
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.polling.poll import LockMismatch, NotLocked, complete, failure, poll
from chalicelib.engine.polling.settle_many import Report, settle_batch
from tests.support.steps import a_message, a_task, before, counting, failing, message_of, using
from tests.support.worlds import World


def locked(w: World, number: int, **more: Any) -> list[Job]:
    """Messages that a client has polled."""
    for _ in range(number):
        a_message(w, "notes", **more)
    jobs = poll(w.yard, "notes", number, 30_000, "client")
    assert len(jobs) == number
    return jobs


def done(*jobs: Job) -> list[Report]:
    return [Report(job.id, Succeeded()) for job in jobs]


def test_many_are_completed_in_few_calls(w: World) -> None:
    jobs = locked(w, 25)
    with counting(w) as calls:
        settled = settle_batch(w.yard, done(*jobs))
    assert calls == {"BatchGetItem": 1, "UpdateItem": 25, "DeleteMessageBatch": 3}
    assert [job.id for job in settled if isinstance(job, Job)] == [job.id for job in jobs]
    assert {job.state for job in w.jobs()} == {State.SUCCESS}
    assert w.messages() == []


def test_many_fail_in_few_calls_each_with_its_own_wait(w: World) -> None:
    (old,) = locked(w, 1)
    settle_batch(w.yard, [Report(old.id, failure("no"))])
    w.clock.move(1_001)
    for _ in range(12):
        a_message(w, "notes")
    jobs = poll(w.yard, "notes", 100, 30_000, "client")
    assert len(jobs) == 13
    with counting(w) as calls:
        settled = settle_batch(w.yard, [Report(job.id, failure(f"no {job.id}")) for job in jobs])
    assert calls["UpdateItem"] == 13
    assert calls["ChangeMessageVisibilityBatch"] == 3  # two of ten and fewer after 1 s, one after 2 s
    for job in settled:
        assert isinstance(job, Job)
        assert job.error is not None
        assert job.error.message == f"no {job.id}"
        wait_ms = 2_000 if job.id == old.id else 1_000
        assert job.due_at_ms == message_of(w, job).visible_at == w.clock.ms + wait_ms


def test_each_is_told_for_itself(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None: ...

    using(w, handler)
    pending = a_message(w, "others")
    ours, theirs, over, last = locked(w, 4)
    no_message = a_task(w)
    complete(w.yard, over.id)
    settled = settle_batch(
        w.yard,
        [
            Report(ours.id, Succeeded(), ours.lease),
            Report(theirs.id, Succeeded(), "0" * 16),
            Report(over.id, Succeeded()),
            Report(pending.id, failure("no")),
            Report(999_999, Succeeded()),
            Report(no_message.id, Succeeded()),
            Report(last.id, failure("no"), last.lease),
        ],
    )
    assert [type(outcome) for outcome in settled] == [
        Job,
        LockMismatch,
        NotLocked,
        NotLocked,
        NotFound,
        NotFound,
        Job,
    ]
    assert [w.job(job.id).state for job in (ours, theirs, over, pending, last)] == [
        State.SUCCESS,
        State.RUNNING,
        State.SUCCESS,
        State.PENDING,
        State.PENDING,
    ]


def test_of_two_entries_about_one_message_the_first_counts(w: World) -> None:
    (job,) = locked(w, 1)
    settled = settle_batch(w.yard, [Report(job.id, failure("no")), *done(job, job)])
    assert isinstance(settled[0], Job)
    assert (settled[0].state, settled[0].failures) == (State.PENDING, 1)
    assert [type(outcome) for outcome in settled[1:]] == [Conflict, Conflict]
    assert w.job(job.id) == settled[0]


def test_a_write_that_aws_does_not_take_costs_only_its_own_entry(w: World) -> None:
    first, second, third = locked(w, 3)
    client, refused = w.yard.jobs.table.client, []

    def refuse_one(params: dict[str, Any], **_: Any) -> None:
        if f'"{second.id}"' in str(params["body"]):
            refused.append(1)
            raise EndpointConnectionError(endpoint_url="https://aws.test")

    client.meta.events.register("before-call.dynamodb.UpdateItem", refuse_one)
    try:
        settled = settle_batch(w.yard, done(first, second, third))
    finally:
        client.meta.events.unregister("before-call.dynamodb.UpdateItem", refuse_one)
    assert [type(outcome) for outcome in settled] == [Job, Unavailable, Job]
    assert refused
    assert w.job(second.id).state is State.RUNNING
    assert complete(w.yard, second.id).state is State.SUCCESS


def test_the_ledger_decides_though_sqs_does_not_answer(w: World) -> None:
    jobs = locked(w, 3)
    with failing(w.yard.transport.client, "DeleteMessageBatch"):
        settled = settle_batch(w.yard, done(*jobs))
    assert all(isinstance(job, Job) and job.state is State.SUCCESS for job in settled)
    w.consumes = True
    w.go_on()
    assert w.messages() == []
    assert [job.attempts for job in w.jobs()] == [1, 1, 1]


def test_somebody_else_settles_at_that_very_moment(w: World) -> None:
    (job,) = locked(w, 1)
    with before(w.yard.jobs.table.client, "UpdateItem", lambda: complete(w.yard, job.id)):
        (outcome,) = settle_batch(w.yard, [Report(job.id, failure("no"))])
    assert isinstance(outcome, NotLocked)
    assert w.job(job.id).state is State.SUCCESS


def test_nothing_to_report(w: World) -> None:
    assert settle_batch(w.yard, []) == []


def test_a_token_is_not_shown(w: World) -> None:
    (job,) = locked(w, 1)
    assert job.lease not in repr(Report(job.id, Succeeded(), job.lease))

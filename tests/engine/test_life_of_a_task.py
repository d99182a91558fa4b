"""What a task goes through beside running: polls, parking, completion from outside, chains, its log, its steps."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.decisions import POLLS_A_MESSAGE
from chalicelib.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine import logbook
from chalicelib.engine.commands import run_now as running_now
from chalicelib.engine.commands.complete import Completion, callback, complete, process_next
from chalicelib.engine.commands.lifecycle import cancel, cancel_matching, promote, replay, reset_running, retry
from chalicelib.engine.commands.run_now import run_now
from chalicelib.engine.handlers.declare import on_success, subscribe, task
from chalicelib.engine.new_job import CHAIN_MAX_TASKS, NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker import shutdown
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.context import Context
from chalicelib.services import installation, tasks
from chalicelib.store.transitions.running import Lease
from tests.support.ledger import place
from tests.support.steps import LEASE_MS, a_message, a_task, using, work
from tests.support.worlds import World
from tests.support.yards import Exited, events_of

MINUTE_MS = 60_000


def a_parked_task(w: World, **more: Any) -> Job:
    """A task that waits for a callback; its handler keeps a secret."""

    @task("t")
    def handler(_: Any, context: Context) -> str:
        context.next({"secret": "s3", "round": 2})
        return "dropped"

    using(w, handler)
    job = a_task(w, **more)
    work(w)
    return w.job(job.id)


# -- polling ------------------------------------------------------------------------------------------


def test_a_poll_holds_no_worker_and_begins_no_attempt(w: World) -> None:
    checks: list[int] = []
    started: list[str] = []

    def look() -> dict[str, Any]:
        checks.append(w.clock.ms)
        done = len(checks) == 20
        return {"result": "success" if done else "pending", "data": {"n": len(checks)}, "progress": len(checks) * 5}

    @task("t", max_attempts=1)
    def handler(_: Any, context: Context) -> Any:
        name = context.step("start", lambda: started.append("x") or "export 7")
        found = context.polling(look, max_poll_times=20, poll_interval_ms=10_000)
        return {"name": name, "attempt": context.attempt, **found}

    using(w, handler)
    job = a_task(w)
    w.go_on()
    done = w.job(job.id)
    assert (done.state, done.poll_count, done.polled, done.failures) == (State.SUCCESS, 20, 19, 0)
    assert w.yard.payloads.output(done) == {"name": "export 7", "attempt": 1, "n": 20}
    assert started == ["x"]  # though the handler was called twenty times
    assert all(10_000 <= later - earlier <= 11_000 for earlier, later in itertools.pairwise(checks))
    results = w.yard.job_details.poll_results(done)
    assert [result["progress"] for result in results] == [5 * n for n in range(1, 21)]
    assert results[0] == {"result": "pending", "data": {"n": 1}, "progress": 5, "time": checks[0]}


def test_a_poll_that_fails_is_a_failed_attempt_and_one_without_an_end_is_the_last(w: World) -> None:
    answers = iter([{"result": "failed", "message": "no disk"}, *[{"result": "later"}] * 3])

    @task("t", max_attempts=5, backoff=Fixed(1_000))
    def handler(_: Any, context: Context) -> Any:
        return context.polling(lambda: next(answers), max_poll_times=4, poll_interval_ms=500)

    using(w, handler)
    job = a_task(w)
    work(w)
    failed = w.job(job.id)
    assert failed.error is not None
    assert (failed.state, failed.failures, failed.error.type) == (State.PENDING, 1, "PollFailed")
    assert failed.error.message == "no disk"
    w.go_on()
    dead = w.job(job.id)
    assert dead.error is not None
    assert (dead.state, dead.failures, dead.poll_count) == (State.FAILED, 2, 4)
    assert (dead.error.type, dead.error.message) == ("PolledTooOften", "polled 4 times without an end")
    retried = retry(w.yard, job.id, Kind.TASK)
    assert (retried.poll_count, w.yard.job_details.poll_results(retried)) == (0, [])


def test_a_worker_that_dies_between_polls_loses_nothing(w: World) -> None:
    runs: list[int] = []

    def look() -> dict[str, Any]:
        runs.append(len(runs))
        if len(runs) == 2:
            raise Exited  # the process ends in the middle of its second poll
        return {"result": "success" if len(runs) == 4 else "pending"}

    @task("t", max_attempts=2)
    def handler(_: Any, context: Context) -> str:
        context.polling(look, poll_interval_ms=1_000)
        return "done"

    using(w, handler)
    job = a_task(w)
    w.go_on()
    done = w.job(job.id)
    assert (done.state, len(runs), done.failures) == (State.SUCCESS, 4, 0)
    assert "recovered" in events_of(done)


def test_two_polls_of_one_handler_have_looks_of_their_own(w: World) -> None:
    checks = {"a": 0, "b": 0}

    def looking(name: str) -> dict[str, Any]:
        checks[name] += 1
        return {"result": "success" if checks[name] == 3 else "pending", "data": name}

    @task("t", max_attempts=1)
    def handler(_: Any, context: Context) -> str:
        first = context.polling(lambda: looking("a"), max_poll_times=3, poll_interval_ms=0)
        return str(first + context.polling(lambda: looking("b"), max_poll_times=3, poll_interval_ms=0))

    using(w, handler)
    job = a_task(w)
    w.go_on()
    assert w.yard.payloads.output(w.job(job.id)) == "ab"
    assert checks == {"a": 3, "b": 3}


def test_a_message_is_replaced_before_its_polls_wear_it_out(w: World) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> None:
        context.polling(lambda: {"result": "pending"}, max_poll_times=1_000, poll_interval_ms=0)

    using(w, handler)
    job = a_task(w)
    work(w)
    place(w.yard, replace(w.job(job.id), polled=POLLS_A_MESSAGE - 2))
    for delivery in (1, 2):
        w.clock.move(1_000)
        work(w)
        assert w.job(job.id).delivery == delivery
    w.clock.move(1_000)
    polled = w.job(job.id)
    assert (polled.polled, polled.delivery, polled.state) == (POLLS_A_MESSAGE, 2, State.PENDING)
    work(w)
    assert w.job(job.id).polled == POLLS_A_MESSAGE + 1


@pytest.mark.parametrize(
    ("answer", "options", "field"),
    [
        ("done", {}, "polling"),
        ({"result": "success", "outcome": 1}, {}, "polling"),
        ({"result": "pending"}, {"max_poll_times": 0}, "max_poll_times"),
        ({"result": "pending"}, {"poll_interval_ms": -1}, "poll_interval_ms"),
        ({"result": "pending", "progress": "half"}, {}, "progress"),
    ],
)
def test_a_poll_that_is_none_fails_and_says_where(w: World, answer: Any, options: dict[str, Any], field: str) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> None:
        context.polling(lambda: answer, **options)

    using(w, handler)
    job = a_task(w)
    w.go_on()
    dead = w.job(job.id)
    assert dead.error is not None
    assert (dead.state, dead.error.type, dead.attempts) == (State.FAILED, "InvalidInput", 3)
    assert field in dead.error.message
    assert dead.error.where == f"test_life_of_a_task.py:{handler.__code__.co_firstlineno + 2} handler"


# -- parking and completion ---------------------------------------------------------------------------


def test_a_parked_task_waits_without_a_message_until_it_is_answered(w: World) -> None:
    parked = a_parked_task(w, context={"round": 1, "user": "ann"})
    assert (parked.state, parked.output, w.messages()) == (State.WAITING, None, [])
    assert w.yard.payloads.context(parked) == {"secret": "s3", "round": 2, "user": "ann"}
    w.clock.move(10 * 86_400_000)
    w.tick()
    assert w.job(parked.id).state is State.WAITING  # for days, where the task has no time-out of its own
    answer = {"code": 0, "data": {"rows": 3}}
    done = process_next(w.yard, parked.id, json.dumps(answer))
    assert (done.state, w.yard.payloads.output(done), done.completed_at_ms) == (State.SUCCESS, answer, w.clock.ms)
    assert events_of(done) == ["published", "started", "parked", "completed"]
    with pytest.raises(Conflict, match="waiting"):
        process_next(w.yard, parked.id, json.dumps(answer))


def test_an_answer_with_another_code_fails_the_task_and_an_unreadable_one_does_too(w: World) -> None:
    parked = a_parked_task(w)
    answer = {"code": 3, "message": "no paper"}
    failed = process_next(w.yard, parked.id, json.dumps(answer))
    assert failed.error is not None
    assert (failed.state, json.loads(failed.error.message)) == (State.FAILED, answer)
    assert w.yard.payloads.output(failed) == answer
    long = process_next(w.yard, a_parked_task(w).id, json.dumps({"code": 3, "why": "ü" * 1_000}))
    assert long.error is not None
    assert (len(long.error.message), long.error.message[-2:]) == (500, "ü…")
    assert w.yard.payloads.output(long)["why"] == "ü" * 1_000
    for unreadable in ("", "[1]", "nan", "{", "[" * 100_000, '{"code": 0, "n": NaN}', '{"code": 0, "n": 1e999}'):
        parked = a_parked_task(w)
        with pytest.raises(InvalidInput, match="cannot be read"):
            process_next(w.yard, parked.id, unreadable)
        assert w.job(parked.id).state is State.FAILED
    pending = a_task(w)
    with pytest.raises(Conflict, match="only a task that is waiting"):
        process_next(w.yard, pending.id, "{")
    assert w.job(pending.id).state is State.PENDING


def test_a_task_that_nobody_calls_back_fails_at_its_own_time_out(w: World) -> None:
    parked = a_parked_task(w, timeout_ms=5 * MINUTE_MS)
    parked_at_ms = parked.updated_at_ms
    w.go_on()
    dead = w.job(parked.id)
    assert dead.error is not None
    assert (dead.state, dead.error.type) == (State.FAILED, "Timeout")
    assert 5 * MINUTE_MS <= (dead.completed_at_ms or 0) - parked_at_ms <= 6 * MINUTE_MS + 1_000


def test_a_person_completes_a_task_in_any_state_but_done(w: World) -> None:
    manual = a_task(w, runner=MANUAL, created_by="ann")
    by_bob = Completion(success=True, output={"ok": 1}, msg="checked", user="bob")
    done = complete(w.yard, manual.id, by_bob)
    assert (done.state, done.created_by, done.completed_by, done.msg) == (State.SUCCESS, "ann", "bob", "checked")
    assert w.yard.payloads.output(done) == {"ok": 1}
    with pytest.raises(Conflict) as refused:
        complete(w.yard, manual.id, Completion(success=True))
    assert refused.value.got == "success"
    with pytest.raises(NotFound):
        complete(w.yard, manual.id + 10_000, Completion(success=True))
    waiting = a_task(w, runner=MANUAL, parent_id=a_task(w, runner=MANUAL).id)
    failed = complete(w.yard, waiting.id, Completion(success=False, error="no"))
    assert failed.error is not None
    assert (failed.state, failed.error.message, failed.failures) == (State.FAILED, "no", 0)


def test_a_running_handler_records_nothing_once_somebody_has_completed_its_task(w: World) -> None:
    ended: list[bool] = []

    @task("t")
    def handler(_: Any, context: Context) -> str:
        complete(w.yard, context.job.id, Completion(success=True, output="by hand"))
        try:
            context.progress(1)
        finally:
            ended.append(context.cancelled)
        return "by the handler"

    using(w, handler)
    job = a_task(w)
    w.go_on()
    assert ended == [True]
    assert w.yard.payloads.output(w.job(job.id)) == "by hand"
    assert w.messages() == []


def test_a_large_output_of_a_person_goes_where_large_outputs_go(w: World) -> None:
    for size in (10_000, 400_000):
        manual = a_task(w, runner=MANUAL)
        done = complete(w.yard, manual.id, Completion(success=True, output="x" * size))
        assert w.yard.payloads.output(done) == "x" * size
    with pytest.raises(TooLarge):
        complete(w.yard, a_task(w, runner=MANUAL).id, Completion(success=True, output="x" * 6_000_000))


def test_a_callback_is_logged_and_completes(w: World) -> None:
    done = callback(w.yard, a_parked_task(w).id, 0, {"rows": 3}, "fine", user="erp")
    assert (done.state, w.yard.payloads.output(done), done.completed_by) == (State.SUCCESS, {"rows": 3}, "erp")
    (entry,) = logbook.read(w.yard, done.id)
    assert (entry.message, entry.data, entry.time_ms) == ("fine", {"code": 0, "data": {"rows": 3}}, w.clock.ms)
    failed = callback(w.yard, a_parked_task(w).id, 7, None, "no paper")
    assert failed.error is not None
    assert (failed.state, failed.error.message) == (State.FAILED, "no paper")
    with pytest.raises(Conflict):
        callback(w.yard, done.id, 0)
    assert len(logbook.read(w.yard, done.id)) == 1
    large = callback(w.yard, a_parked_task(w).id, 0, "x" * 100_000, "y" * 40_000)
    assert w.yard.payloads.output(large) == "x" * 100_000
    assert logbook.read(w.yard, large.id)[0].data == {"code": 0, "data": {"omitted": "100002 bytes"}}


# -- completion handlers ------------------------------------------------------------------------------


def test_a_completion_handler_is_called_with_every_success(w: World) -> None:
    told: list[tuple[Any, str | None]] = []

    @task("t")
    def handler(value: Any) -> Any:
        return value

    @on_success("t")
    def completed(result: Any, context: Context) -> None:
        told.append((result, context.job.completed_by))

    using(w, handler, completed)
    run = a_task(w, input={"n": 1})
    w.go_on()
    by_hand = a_task(w, runner=MANUAL, max_attempts=1)
    handed_over = complete(w.yard, by_hand.id, Completion(success=True, output={"n": 2}, user="bob"))
    assert (handed_over.state, handed_over.finishing) == (State.PENDING, True)
    with pytest.raises(Conflict, match="being completed"):
        complete(w.yard, by_hand.id, Completion(success=True))
    w.go_on()
    assert told == [({"n": 1}, None), ({"n": 2}, "bob")]
    assert [w.job(job.id).state for job in (run, by_hand)] == [State.SUCCESS] * 2
    assert w.yard.payloads.output(w.job(by_hand.id)) == {"n": 2}
    assert not w.job(by_hand.id).finishing


def test_a_completion_handler_that_fails_fails_the_task_which_keeps_its_output(w: World) -> None:
    @task("t")
    def handler(_: Any) -> Any:
        return {"n": 1}

    @on_success("t")
    def completed(_: Any) -> None:
        raise ValueError("no paper")

    using(w, handler, completed)
    run, by_hand = a_task(w), a_task(w, runner=MANUAL)
    complete(w.yard, by_hand.id, Completion(success=True, output={"n": 2}))
    w.go_on()
    for job, n in ((run, 1), (by_hand, 2)):
        dead = w.job(job.id)
        assert dead.error is not None
        assert (dead.state, dead.error.message, dead.attempts) == (State.FAILED, "no paper", 1)
        assert w.yard.payloads.output(dead) == {"n": n}


def test_a_worker_that_dies_in_a_completion_handler_calls_it_again(w: World) -> None:
    calls: list[int] = []

    @on_success("t")
    def completed(_: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise Exited

    using(w, completed)
    manual = a_task(w, runner=MANUAL, max_attempts=1)
    complete(w.yard, manual.id, Completion(success=True, output=1))
    w.go_on()
    assert (w.job(manual.id).state, len(calls)) == (State.SUCCESS, 2)


def test_a_worker_whose_task_was_completed_by_hand_starts_nothing_of_its_own(w: World) -> None:
    inputs: list[Any] = []

    @task("t", concurrency=1)
    def handler(_: Any, context: Context) -> str:
        complete(w.yard, context.job.id, Completion(success=True, output="by hand"))
        return "late"

    @task("after")
    def after(value: Any) -> None:
        inputs.append(value)

    using(w, handler, after)
    job = a_task(w, next={"type": "after"})
    work(w)
    assert w.yard.concurrency.of("t").running == 0  # the slot is free as soon as the run has ended
    w.go_on()
    assert inputs == ["by hand"]
    assert len([found for found in w.records() if isinstance(found, Job)]) == 2
    assert w.yard.payloads.output(w.job(job.id)) == "by hand"


# -- chains -------------------------------------------------------------------------------------------


def test_a_chain_hands_outputs_on_in_one_trace(w: World) -> None:
    @task("double")
    def double(value: int) -> int:
        return value * 2

    using(w, double)
    chain = {"type": "double", "next": {"type": "double", "input": 100, "priority": 9, "next": {"type": "file"}}}
    with pytest.raises(InvalidInput) as refused:
        a_task(w, type="double", input=3, next=chain)
    assert refused.value.got == "file"
    chain["next"]["next"] = {"type": "file", "runnerType": "manual", "targetId": "cabinet", "maxRetries": 0}  # type: ignore[index]
    first = a_task(w, type="double", input=3, next=chain, target_id="a", target_type="b", created_by="ann")
    w.go_on()
    tasks = sorted((job for job in w.records() if isinstance(job, Job)), key=lambda job: job.id)
    assert [w.yard.payloads.output(job) for job in tasks] == [6, 12, 200, None]
    assert [job.parent_id for job in tasks] == [None, *(job.id for job in tasks[:-1])]
    assert {(job.trace_id, job.created_by) for job in tasks} == {(first.trace_id, "ann")}
    last = tasks[-1]
    assert (last.type, last.runner, last.state, last.max_attempts) == ("file", MANUAL, State.PENDING, 1)
    assert (last.target_id, last.target_type, tasks[1].target_id, tasks[2].priority) == ("cabinet", "b", "a", 9)
    assert w.yard.payloads.body(last)["input"] == 200


def test_a_failure_ends_the_chain_and_a_person_may_go_on_with_it(w: World) -> None:
    @task("double", max_attempts=1)
    def double(value: int) -> int:
        return value * 2

    using(w, double)
    manual = a_task(w, runner=MANUAL, next={"type": "double"})
    complete(w.yard, manual.id, Completion(success=False, error="no"))
    w.go_on()
    assert len(w.records()) == 1
    retry(w.yard, manual.id, Kind.TASK)
    complete(w.yard, manual.id, Completion(success=True, output=4))
    w.go_on()
    outputs = {job.type: w.yard.payloads.output(job) for job in w.records() if isinstance(job, Job)}
    assert outputs["double"] == 8


def test_a_chain_is_not_endless(w: World) -> None:
    chain: dict[str, Any] = {"type": "x", "runnerType": "manual"}
    for _ in range(CHAIN_MAX_TASKS - 1):
        chain = {"type": "x", "runnerType": "manual", "next": chain}
    with pytest.raises(InvalidInput, match="too long"):
        publish(w.yard, NewJob(kind=Kind.TASK, type="x", runner=MANUAL, next=chain))
    assert publish(w.yard, NewJob(kind=Kind.TASK, type="x", runner=MANUAL, next=chain["next"])).chained


# -- log, steps, removal ------------------------------------------------------------------------------


def test_a_log_keeps_its_newest_hundred_entries(w: World) -> None:
    job = a_task(w, runner=MANUAL)
    for n in range(250):
        w.clock.move(1)
        logbook.write(w.yard, job.id, f"line {n}", n)
    entries = logbook.read(w.yard, job.id)
    assert [entry.message for entry in entries] == [f"line {n}" for n in range(249, 149, -1)]
    assert (entries[0].data, entries[0].time_ms) == (249, w.clock.ms)
    kept = [row for row in w.items("jobs") if row["part"].startswith("log#")]
    assert len(kept) < 250
    with pytest.raises(TooLarge):
        logbook.write(w.yard, job.id, "x" * 40_000)


def test_a_log_of_large_entries_keeps_its_newest_hundred_too(w: World) -> None:
    job = a_task(w, runner=MANUAL)
    for n in range(140):
        w.clock.move(1)
        logbook.write(w.yard, job.id, f"line {n}", "x" * 30_000)
    w.yard.job_details.trim_log(job.id)
    assert [entry.message for entry in logbook.read(w.yard, job.id)] == [f"line {n}" for n in range(139, 39, -1)]
    assert sum(row["part"].startswith("log#") for row in w.items("jobs")) == 100


def test_a_handler_logs_and_its_steps_stay_done_across_retries_but_not_a_new_life(w: World) -> None:
    done: list[str] = []

    @task("t", max_attempts=3, backoff=Fixed(0))
    def handler(_: Any, context: Context) -> Any:
        value = context.step("a", lambda: done.append("a") or {"n": len(done)})
        context.write_log(f"attempt {context.attempt}", value)
        if context.attempt < 3:
            raise ValueError("again")
        return value

    using(w, handler)
    job = a_task(w)
    w.go_on()
    assert (done, w.yard.payloads.output(w.job(job.id))) == (["a"], {"n": 1})
    assert [entry.message for entry in logbook.read(w.yard, job.id)] == ["attempt 3", "attempt 2", "attempt 1"]
    failing = a_task(w)
    cancel(w.yard, failing.id, Kind.TASK)
    retry(w.yard, failing.id, Kind.TASK)
    w.go_on()
    assert done == ["a", "a"]


@pytest.mark.parametrize("large", [False, True])
def test_a_task_may_be_removed_once_it_has_succeeded(w: World, large: bool) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> str:
        context.write_log("here")
        return "x" * (1_000 if large else 10)

    using(w, handler)
    job = a_task(w, remove_on_complete=True)
    work(w)
    assert (w.yard.jobs.find(job.id) is None) is not large  # a large one is left to the clock
    w.go_on()
    assert w.yard.jobs.find(job.id) is None
    assert {row["part"] for row in w.items("jobs")} == {"state"}


# -- by request ---------------------------------------------------------------------------------------


def test_a_delayed_task_may_be_promoted(w: World) -> None:
    ran: list[int] = []

    @task("t")
    def handler(_: Any) -> None:
        ran.append(w.clock.ms)

    using(w, handler)
    soon, later = a_task(w, delay_ms=60_000), a_task(w, delay_ms=3 * 86_400_000)
    for job in (soon, later):
        assert promote(w.yard, job.id, Kind.TASK).due_at_ms == w.clock.ms
    began_ms = w.clock.ms
    work(w)
    assert ran == [began_ms, began_ms]
    with pytest.raises(Conflict):
        promote(w.yard, soon.id, Kind.TASK)
    w.go_on()
    assert (len(ran), w.messages()) == (2, [])  # the message with the delay is void


def test_all_tasks_about_a_target_are_canceled_together(w: World) -> None:
    mine = [a_task(w, type="x", runner=MANUAL, target_id="7", target_type="doc") for _ in range(3)]
    complete(w.yard, mine[0].id, Completion(success=True))
    others = [
        a_task(w, type="y", runner=MANUAL, target_id="7", target_type="doc"),
        a_task(w, type="x", runner=MANUAL, target_id="8", target_type="doc"),
        a_task(w, type="x", runner=MANUAL, target_id="7", target_type="page"),
    ]
    assert cancel_matching(w.yard, "7", "doc", "x") == 2
    assert [w.job(job.id).state for job in mine] == [State.SUCCESS, State.CANCELED, State.CANCELED]
    assert {w.job(job.id).state for job in others} == {State.PENDING}


def test_a_task_resets_all_but_itself(w: World) -> None:
    counts: list[int] = []

    @task("t")
    def handler(what: str) -> None:
        if what == "resets":
            with installation.using(w.yard):
                counts.append(tasks.reset_all())

    using(w, handler)
    abandoned, resets = a_task(w, input="abandoned"), a_task(w, input="resets")
    lease = Lease("0" * 16, w.clock.ms + LEASE_MS, "gone")
    assert isinstance(claim(w.yard, w.job(abandoned.id), lease), Job)
    w.deliver()
    assert counts == [1]
    assert [w.job(job.id).attempts for job in (abandoned, resets)] == [2, 1]
    assert w.job(resets.id).state is State.SUCCESS
    w.go_on()
    assert w.job(abandoned.id).state is State.SUCCESS


def meanwhile(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], object]) -> None:
    """``act`` happens once, right before ``owner.name`` does."""
    original, acted = getattr(owner, name), []

    def after(*given: Any, **more: Any) -> Any:
        if not acted:
            acted.append(act)
            act()
        return original(*given, **more)

    monkeypatch.setattr(owner, name, after)


@pytest.mark.parametrize("delay_ms", [0, 60_000])
def test_who_waits_for_a_task_has_its_result_though_a_worker_is_faster(
    w: World, monkeypatch: pytest.MonkeyPatch, delay_ms: int
) -> None:
    @task("t")
    def handler(_: Any) -> str:
        return "done"

    using(w, handler)
    job = a_task(w, delay_ms=delay_ms)

    def worker() -> None:
        w.clock.move(delay_ms)
        work(w)

    meanwhile(monkeypatch, running_now, "keeps_back", worker)
    with installation.using(w.yard):
        assert tasks.wait_complete(job.id) == "done"
    assert w.job(job.id).attempts == 1


def test_a_promotion_meets_a_cancellation(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    @task("t")
    def handler(_: Any) -> None: ...

    using(w, handler)
    job = a_task(w, delay_ms=60_000)
    meanwhile(monkeypatch, type(w.yard.jobs), "promote", lambda: cancel(w.yard, job.id, Kind.TASK))
    assert promote(w.yard, job.id, Kind.TASK).state is State.CANCELED


def test_of_two_retries_at_once_both_succeed_though_a_worker_has_ended_it(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task("t", max_attempts=1)
    def handler(_: Any, context: Context) -> None:
        if context.job.attempts == 1:
            raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    work(w)

    def another() -> None:
        retry(w.yard, job.id, Kind.TASK)
        w.deliver()

    meanwhile(monkeypatch, type(w.yard.jobs), "restart", another)
    assert retry(w.yard, job.id, Kind.TASK).state is State.SUCCESS
    assert (w.job(job.id).attempts, w.messages()) == (2, [])


def test_a_dead_letter_that_is_retried_meanwhile_is_none_any_more(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    @task("t", max_attempts=1)
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    work(w)
    meanwhile(monkeypatch, type(w.yard.jobs), "together", lambda: retry(w.yard, job.id, Kind.TASK))
    with pytest.raises(NotFound, match="there is no dead letter"):
        replay(w.yard, job.id, Kind.TASK)
    assert w.job(job.id).state is State.PENDING


def test_all_running_tasks_are_reset(w: World) -> None:
    attempts: list[int] = []

    @task("t", max_attempts=1)
    def handler(_: Any, context: Context) -> str:
        attempts.append(context.attempt)
        if len(attempts) == 1:
            assert reset_running(w.yard) == 1
            context.progress(1)
        return "second"

    using(w, handler)
    job = a_task(w)
    w.go_on()
    done = w.job(job.id)
    assert (done.state, w.yard.payloads.output(done), done.failures) == (State.SUCCESS, "second", 0)
    assert (attempts, done.retries) == ([1, 1], 0)


def test_a_task_may_be_run_here_and_now(w: World) -> None:
    threads: list[threading.Thread] = []

    @task("t", max_attempts=2, backoff=Fixed(0))
    def handler(value: Any) -> Any:
        threads.append(threading.current_thread())
        if value == "fail once" and len(threads) == 2:
            raise ValueError("no")
        return value

    using(w, handler)
    delayed = a_task(w, input="now", delay_ms=86_400_000)
    assert run_now(w.yard, delayed.id).state is State.SUCCESS
    failing = a_task(w, input="fail once")
    assert run_now(w.yard, failing.id).state is State.PENDING
    w.go_on()
    assert (w.job(failing.id).state, w.job(failing.id).attempts, len(threads)) == (State.SUCCESS, 2, 3)
    manual = a_task(w, runner=MANUAL)
    assert run_now(w.yard, manual.id).state is State.PENDING
    assert w.messages() == []


# -- shutting down ------------------------------------------------------------------------------------


def test_a_worker_that_shuts_down_hands_its_job_on_uncharged(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = threading.Event()
    for module in ("shutdown", "consume"):
        monkeypatch.setattr(f"chalicelib.engine.worker.{module}.stopping", stopping)
    runs: list[int] = []

    @task("t", max_attempts=1)
    def handler(_: Any) -> str:
        runs.append(len(runs))
        if len(runs) == 1:
            shutdown.interrupt()
        return "done"

    using(w, handler)
    first, second = a_task(w), a_task(w)
    work(w)
    interrupted = w.job(first.id)
    assert interrupted.error is not None
    assert (interrupted.state, interrupted.error.message, interrupted.failures) == (State.PENDING, "shutdown", 0)
    assert events_of(interrupted)[-1] == "interrupted"
    assert w.job(second.id).attempts == 0  # what was not begun was handed back
    stopping.clear()
    w.go_on()
    assert [w.job(job.id).state for job in (first, second)] == [State.SUCCESS] * 2
    shutdown.interrupt()  # between handlers it interrupts nothing
    assert stopping.is_set()


def test_only_tasks_are_parked(w: World) -> None:
    @subscribe("news")
    def reader(_: Any, context: Context) -> None:
        context.next()

    using(w, reader)
    message = a_message(w)
    w.go_on()
    dead = w.job(message.id)
    assert dead.error is not None
    assert (dead.state, dead.error.type) == (State.FAILED, "InvalidInput")

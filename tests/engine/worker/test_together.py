"""Handlers of batches: who is in a call, what each is told, and what becomes of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from pydantic import BaseModel

from chalicelib.core.batch import Batch
from chalicelib.core.errors import InvalidInput
from chalicelib.core.flow import PerKey, Rate
from chalicelib.core.job import Job
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.run_now import run_now
from chalicelib.engine.handlers.declare import on_success, subscribe, task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.worker import heartbeat
from chalicelib.engine.worker.console import read
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.engine.worker.heartbeat import Heartbeat
from chalicelib.store.jobs import JobStore
from tests.support.steps import LEASE_MS, a_message, a_task, stolen, using, work
from tests.support.waiting import until
from tests.support.worlds import World
from tests.support.yards import START_MS, Exited

SEEN: list[list[Any]] = []
SHAPE = "InvalidInput: output: a handler of batches returns a result for each input; expected a list of 2, or None"


class Mail(BaseModel):
    """What a handler takes in these tests."""

    to: str


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    yield
    SEEN.clear()


@pytest.fixture
def _beating(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "TICK_S", 0.001)


def outputs(w: World, jobs: Sequence[Job]) -> list[Any]:
    return [json.loads(w.job(job.id).output or "null") for job in jobs]


def states(w: World, jobs: Sequence[Job]) -> list[State]:
    return [w.job(job.id).state for job in jobs]


def error_of(w: World, job: Job) -> str:
    error = w.job(job.id).error
    assert error is not None
    return f"{error.type}: {error.message}"


# -- a call -------------------------------------------------------------------------------------------


def test_inputs_of_one_type_are_one_call_and_each_is_told_its_result(w: World) -> None:
    @task("mail", batch=Batch(max_size=3))
    def send(mails: list[Mail], contexts: list[Context]) -> list[Any]:
        SEEN.append([mail.to for mail in mails])
        for context, mail in zip(contexts, mails, strict=True):
            context.progress(1, 2, mail.to)
        return [{"sent": mail.to, "job": context.job.id} for mail, context in zip(mails, contexts, strict=True)]

    @task("other", batch=Batch(max_size=10))
    def other(_: list[Any]) -> None:
        SEEN.append(["other"])

    using(w, send, other)
    mails = [a_task(w, "mail", input={"to": name}) for name in "ab"]
    a_task(w, "other")
    mails += [a_task(w, "mail", input={"to": name}) for name in "cd"]
    assert work(w) == []
    assert SEEN == [["a", "b", "c"], ["other"], ["d"]]
    assert outputs(w, mails) == [{"sent": to, "job": job.id} for to, job in zip("abcd", mails, strict=True)]
    assert [(w.job(job.id).attempts, (w.job(job.id).progress or Any).message) for job in mails] == [
        (1, to) for to in "abcd"
    ]
    assert w.messages() == []


def test_an_exception_in_the_results_is_the_failure_of_that_one_alone(w: World) -> None:
    @task("mail", batch=Batch(max_size=10), backoff=Fixed(1_000))
    def send(mails: list[str]) -> list[Any]:
        return [{"fine": 1, "odd": ValueError("no such box"), "never": Reject("unsubscribed")}[mail] for mail in mails]

    using(w, send)
    fine, odd, never = [a_task(w, "mail", input=name) for name in ("fine", "odd", "never")]
    work(w)
    assert states(w, [fine, odd, never]) == [State.SUCCESS, State.PENDING, State.FAILED]
    assert [error_of(w, job) for job in (odd, never)] == ["ValueError: no such box", "Reject: unsubscribed"]


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (RuntimeError("the relay is away"), "RuntimeError: the relay is away"),
        ([1], f"{SHAPE}; got a list of 1"),
        ("ab", f"{SHAPE}; got str"),
    ],
)
def test_what_fails_as_a_whole_fails_each_of_them(w: World, result: Any, error: str) -> None:
    @task("mail", batch=Batch(max_size=10), backoff=Fixed(1_000), max_attempts=2)
    def send(_: list[Any]) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    using(w, send)
    jobs = [a_task(w, "mail", input=n) for n in (1, 2)]
    work(w)
    assert states(w, jobs) == [State.PENDING] * 2
    assert [error_of(w, job) for job in jobs] == [error] * 2
    w.clock.move(1_001)
    work(w)
    assert states(w, jobs) == [State.FAILED] * 2
    assert [w.job(job.id).attempts for job in jobs] == [2, 2]


def test_no_result_is_a_success_of_all(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    async def send(mails: list[int]) -> None:
        SEEN.append(mails)

    using(w, send)
    jobs = [a_task(w, "mail", input=n) for n in (1, 2)]
    work(w)
    assert (SEEN, states(w, jobs)) == ([[1, 2]], [State.SUCCESS] * 2)


def test_what_the_model_refuses_is_not_in_the_call(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    def send(mails: list[Mail]) -> None:
        SEEN.append([mail.to for mail in mails])

    @task("mail")
    def before_it_had_a_model(_: Any) -> None: ...

    using(w, before_it_had_a_model)
    bad, good = a_task(w, "mail", input={"cc": 1}), a_task(w, "mail", input={"to": "b"})
    using(w, send)
    work(w)
    assert (SEEN, states(w, [bad, good])) == ([["b"]], [State.FAILED, State.SUCCESS])


def test_those_with_another_time_out_are_another_call(w: World) -> None:
    @task("mail", batch=Batch(max_size=10), timeout_s=30)
    def send(mails: list[int], contexts: list[Context]) -> None:
        SEEN.append([(mail, context.remaining_ms()) for mail, context in zip(mails, contexts, strict=True)])

    using(w, send)
    for n, more in enumerate([{}, {"timeout_ms": 5_000}, {}]):
        a_task(w, "mail", input=n, **more)
    work(w)
    assert SEEN == [[(0, 30_000), (2, 30_000)], [(1, 5_000)]]


def test_the_function_keeps_time_to_settle_each(w: World) -> None:
    """Beside the 3 s for settling, and 5 s of grace, that it keeps for any run."""

    @task("mail", batch=Batch(max_size=10))
    def send(_: list[int], contexts: list[Context]) -> None:
        SEEN.append([context.remaining_ms() for context in contexts])

    using(w, send)
    for n in (1, 2):
        a_task(w, "mail", input=n)
    work(w)
    assert SEEN == [[291_900, 291_900]]


@pytest.mark.usefixtures("_beating")
def test_settling_may_take_longer_than_the_call_had(w: World) -> None:
    @task("mail", batch=Batch(max_size=10), timeout_s=30)
    def send(_: list[int]) -> None:
        w.clock.move(29_000)

    using(w, send)
    jobs = [a_task(w, "mail", input=n) for n in (1, 2)]
    succeed, beats = JobStore.succeed, Heartbeat._is_stuck
    seen: list[bool] = []

    def slowly(self: JobStore, job: Job, *more: Any) -> Job:
        w.clock.move(10_000)
        until(lambda: True in seen or job.id != jobs[0].id)
        return succeed(self, job, *more)

    def noting(self: Heartbeat, context: Context) -> bool:
        seen.append(w.clock.ms > START_MS + 36_000)
        return beats(self, context)

    with patch.object(JobStore, "succeed", slowly), patch.object(Heartbeat, "_is_stuck", noting):
        work(w)
    assert (states(w, jobs), w.exits) == ([State.SUCCESS] * 2, [])


def test_what_the_call_prints_is_kept_with_each_task(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    def send(mails: list[int]) -> None:
        print("sending", mails)  # noqa: T201

    using(w, send)
    jobs = [a_task(w, "mail", input=n) for n in (1, 2)]
    work(w)
    assert [[line.text for line in read(w.yard, w.job(job.id))] for job in jobs] == [["sending [1, 2]"]] * 2


def test_each_may_park_and_none_may_poll(w: World) -> None:
    @task("mail", batch=Batch(max_size=10), max_attempts=1)
    def send(mails: list[str], contexts: list[Context]) -> None:
        for mail, context in zip(mails, contexts, strict=True):
            if mail == "parks":
                context.next()
            if mail == "polls":
                with pytest.raises(InvalidInput, match="a batch cannot be called again for one of it"):
                    context.polling(lambda: {"result": "pending"})

    using(w, send)
    jobs = [a_task(w, "mail", input=name) for name in ("parks", "polls")]
    work(w)
    assert states(w, jobs) == [State.WAITING, State.SUCCESS]


def test_the_completion_handler_is_called_for_each(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    def send(mails: list[int]) -> list[int]:
        return [mail * 10 for mail in mails]

    @on_success("mail")
    def sent(result: int, context: Context) -> None:
        SEEN.append([result, context.job.id])
        if result == 20:
            raise RuntimeError("not that one")

    using(w, send, sent)
    jobs = [a_task(w, "mail", input=n) for n in (1, 2, 3)]
    work(w)
    assert [[n * 10, job.id] for n, job in zip((1, 2, 3), jobs, strict=True)] == SEEN
    assert states(w, jobs) == [State.SUCCESS, State.FAILED, State.SUCCESS]


def test_a_retry_of_a_message_calls_only_the_subscribers_that_have_not_succeeded(w: World) -> None:
    @subscribe("news", batch=Batch(max_size=10), backoff=Fixed(1_000))
    def first(news: list[int]) -> None:
        SEEN.append(["first", *news])

    @subscribe("news", batch=Batch(max_size=10))
    def second(news: list[int], contexts: list[Context]) -> list[Any]:
        SEEN.append(["second", *news])
        return [OSError("away") if context.attempt == 1 and context.input == 2 else 0 for context in contexts]

    using(w, first, second)
    messages = [a_message(w, input=n) for n in (1, 2)]
    work(w, "news")
    assert states(w, messages) == [State.SUCCESS, State.PENDING]
    w.clock.move(1_001)
    work(w, "news")
    assert SEEN == [["first", 1, 2], ["second", 1, 2], ["second", 2]]
    assert states(w, messages) == [State.SUCCESS] * 2


def test_it_runs_alone_where_one_job_is_run(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    def send(mails: list[Mail]) -> list[str]:
        return [mail.to for mail in mails]

    using(w, send)
    assert run_now(w.yard, a_task(w, "mail", input={"to": "a"}).id).output == '"a"'


# -- who is in it -------------------------------------------------------------------------------------


def test_limits_count_each_of_them(w: World) -> None:
    @task("mail", batch=Batch(max_size=10), key="input.box", per_key=PerKey(concurrency=1), rate=Rate(3, 1, burst=3))
    def send(mails: list[dict[str, Any]]) -> None:
        SEEN.append([mail["n"] for mail in mails])

    using(w, send)
    jobs = [a_task(w, "mail", input={"box": box, "n": n}) for n, box in enumerate("aabcd")]
    work(w)
    assert SEEN == [[0, 2, 3]]  # 1 waits for a slot of its key, 4 for a token
    w.clock.move(2_000)
    w.deliver()
    assert sorted(n for call in SEEN for n in call) == [0, 1, 2, 3, 4]
    assert states(w, jobs) == [State.SUCCESS] * 5


def test_who_was_canceled_before_is_not_in_it_and_who_is_meanwhile_changes_nothing_for_the_others(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    def send(mails: list[str], contexts: list[Context]) -> None:
        SEEN.append(mails)
        for mail, context in zip(mails, contexts, strict=True):
            if mail == "later":
                lifecycle.cancel(context.yard, context.job.id, Kind.TASK)
        for context in contexts:
            context.progress(1)

    using(w, send)
    early, later, fine = [a_task(w, "mail", input=name) for name in ("early", "later", "fine")]
    lifecycle.cancel(w.yard, early.id, Kind.TASK)
    work(w)
    assert states(w, [early, later, fine]) == [State.CANCELED, State.CANCELED, State.PENDING]
    assert (w.job(fine.id).failures, w.job(fine.id).attempts) == (0, 1)
    w.clock.move(1)
    work(w)
    assert SEEN == [["later", "fine"], ["fine"]]
    assert (w.job(fine.id).state, w.job(fine.id).tries) == (State.SUCCESS, 1)


def test_one_whose_claim_fails_comes_back_and_the_others_run(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    def send(mails: list[str]) -> None:
        SEEN.append(mails)

    using(w, send)
    jobs = [a_task(w, "mail", input=name) for name in "abc"]
    claim = JobStore.claim

    def failing_once(self: JobStore, envelope: Job, *more: Any) -> Job:
        if envelope.id == jobs[1].id and not SEEN:
            raise ConnectionError("for good")
        return claim(self, envelope, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobStore, "claim", failing_once)
        assert len(work(w)) == 1
    assert SEEN == [["a", "c"]]
    assert states(w, jobs) == [State.SUCCESS, State.PENDING, State.SUCCESS]


# -- leases and faults --------------------------------------------------------------------------------


def test_a_crash_costs_each_of_them_one_attempt(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    def send(mails: list[str], contexts: list[Context]) -> None:
        SEEN.append([*mails, *(context.attempt for context in contexts)])
        if contexts[0].attempt == 1:
            raise Exited

    using(w, send)
    jobs = [a_task(w, "mail", input=name) for name in "ab"]
    assert w.deliver_batch(w.queue_of("default")) is None
    assert states(w, jobs) == [State.RUNNING] * 2
    w.clock.move(LEASE_MS + 1_000)
    work(w)
    assert SEEN == [["a", "b", 1, 1], ["a", "b", 2, 2]]
    assert [(w.job(job.id).state, w.job(job.id).attempts) for job in jobs] == [(State.SUCCESS, 2)] * 2


def test_a_late_finish_of_one_that_was_taken_over_changes_nothing(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    def send(mails: list[str], contexts: list[Context]) -> list[str]:
        w.clock.move(LEASE_MS + 1)
        stolen(w, contexts[0].job)
        return mails

    using(w, send)
    taken, mine = a_task(w, "mail", input="a"), a_task(w, "mail", input="b")
    work(w)
    assert (w.job(taken.id).state, w.job(taken.id).worker, w.job(taken.id).output) == (
        State.RUNNING,
        "other worker",
        None,
    )
    assert (w.job(mine.id).state, w.job(mine.id).output) == (State.SUCCESS, '"b"')


@pytest.mark.usefixtures("_beating")
def test_the_heartbeat_keeps_the_leases_of_all(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    def send(_: list[str], contexts: list[Context]) -> None:
        w.clock.move(20_000)
        ends_ms = w.clock.ms + LEASE_MS
        until(lambda: [w.job(context.job.id).lease_until_ms for context in contexts] == [ends_ms] * 2)

    using(w, send)
    jobs = [a_task(w, "mail", input=name) for name in "ab"]
    work(w)
    assert states(w, jobs) == [State.SUCCESS] * 2


def test_out_of_time_is_so_for_all(w: World) -> None:
    @task("mail", batch=Batch(max_size=10), timeout_s=0.05, backoff=Fixed(60_000))
    def send(_: list[str]) -> None:
        until(lambda: False)

    using(w, send)
    jobs = [a_task(w, "mail", input=name) for name in "ab"]
    work(w)
    assert [error_of(w, job) for job in jobs] == ["Timeout: attempt 1 overran its time"] * 2
    assert [w.job(job.id).failures for job in jobs] == [1, 1]


def test_one_that_cannot_be_settled_comes_back_and_the_others_are(w: World) -> None:
    @task("mail", batch=Batch(max_size=10))
    def send(mails: list[str]) -> list[str]:
        return mails

    using(w, send)
    jobs = [a_task(w, "mail", input=name) for name in "ab"]
    succeed = JobStore.succeed

    def failing_once(self: JobStore, job: Job, *more: Any) -> Job:
        if job.id == jobs[0].id:
            raise ConnectionError("for good")
        return succeed(self, job, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobStore, "succeed", failing_once)
        assert len(work(w)) == 1
    assert states(w, jobs) == [State.RUNNING, State.SUCCESS]
    w.clock.move(LEASE_MS + 1_000)
    work(w)
    assert states(w, jobs) == [State.SUCCESS] * 2


# -- declaring ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "batch",
    [
        {"max_size": 0},
        {"max_size": 101},
        {"max_size": 2.0},
        {"max_size": True},
        {"max_size": 10, "max_wait_s": -1},
        {"max_size": 10, "max_wait_s": 301},
        {"max_size": 11, "max_wait_s": 0},
    ],
)
def test_a_batch_has_bounds(batch: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="this value is out of range"):
        Batch(**batch)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"order": "block"}, "jobs in order run one at a time"),
        ({"batch": 10}, "this is no batch"),
    ],
)
def test_what_a_batch_cannot_go_with_is_refused(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        task("mail", **{"batch": Batch(10), **more})


def test_a_handler_of_batches_takes_a_list() -> None:
    @task("mail", batch=Batch(10))
    def send(_: Mail) -> None: ...

    with pytest.raises(InvalidInput, match=r"a handler of batches takes a list.*expected a first parameter like list"):
        Registry.of([send])


def test_the_subscribers_of_a_topic_take_the_same_batches() -> None:
    @subscribe("news", batch=Batch(10))
    def first(_: list[Any]) -> None: ...

    @subscribe("news")
    def second(_: Any) -> None: ...

    with pytest.raises(InvalidInput, match="the subscribers of one topic take different batches"):
        Registry.of([first, second])


def test_a_queue_gathers_as_many_as_the_largest_takes_and_waits_as_short_as_any() -> None:
    @task("small", batch=Batch(5, max_wait_s=0))
    def small(_: list[Any]) -> None: ...

    @task("large", batch=Batch(50, max_wait_s=20))
    def large(_: list[Any]) -> None: ...

    @task("alone", pool="own", batch=Batch(8, max_wait_s=0))
    def alone(_: list[Any]) -> None: ...

    @task("plain", pool="plain")
    def plain(_: Any) -> None: ...

    assert Registry.of([small, large, alone, plain]).batches == {"default": Batch(50, 1), "own": Batch(8, 0)}

"""One attempt: the handler, its input, its output, its failure, and the other subscribers."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from chalicelib.core.errors import InvalidInput, NotFound, TooLarge
from chalicelib.core.job import Job, JobError
from chalicelib.core.retry import Exponential, Fixed, Linear, Named
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import TRACE_MAX_EVENTS, iso
from chalicelib.engine.commands.lifecycle import cancel, retry
from chalicelib.engine.handlers.declare import backoff, on_success, subscribe, task
from chalicelib.engine.interruptions import Interruption
from chalicelib.engine.worker.context import Context, Reject
from tests.support.steps import (
    LEASE_MS,
    NOTHING_DONE,
    a_message,
    a_task,
    hidden_for_ms,
    message_of,
    name_of,
    using,
    work,
)
from tests.support.worlds import World
from tests.support.yards import START_MS, events_of

# -- failures -----------------------------------------------------------------------------------------


def test_a_failure_is_told_in_full(w: World) -> None:
    @task("t", backoff=Fixed(1_500))
    def handler(_: Any) -> None:
        w.clock.move(100)
        raise ValueError("no paper")

    using(w, handler)
    job = a_task(w)
    work(w)
    failed = w.job(job.id)
    assert (failed.state, failed.attempts, failed.failures) == (State.PENDING, 1, 1)
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("ValueError", "no paper")
    line = handler.__code__.co_firstlineno + 3
    assert failed.error.where == f"test_run.py:{line} handler"
    assert failed.due_at_ms == START_MS + 1_600
    assert failed.wake_at_ms == failed.due_at_ms + 90_000
    assert hidden_for_ms(w, job) == 2_000  # never early: whole seconds, rounded up
    assert events_of(failed) == ["published", "started", "failed"]
    told = {"attempt": 1, "error": "no paper", "nextRetryAt": iso(failed.due_at_ms)}
    assert failed.events[-1].detail == told


def test_the_last_failure_is_a_dead_letter(w: World) -> None:
    @task("t", max_attempts=2, backoff=Fixed(0))
    def handler(_: Any) -> None:
        raise ValueError("no paper")

    using(w, handler)
    job = a_task(w)
    w.go_on()
    dead = w.job(job.id)
    assert (dead.state, dead.attempts, dead.failures) == (State.FAILED, 2, 2)
    assert dead.completed_at_ms == w.clock.ms
    assert events_of(dead) == ["published", "started", "failed", "started", "dead"]
    assert w.messages() == []


def waits_ms(w: World, job: Job, attempts: int) -> list[int]:
    """How long each retry of a job that always fails waits, in milliseconds."""
    found: list[int] = []
    for _ in range(attempts - 1):
        w.deliver()
        w.tick()
        found.append(w.job(job.id).due_at_ms - w.clock.ms)
        w.clock.ms = w.next_event_ms() or w.clock.ms
    return found


def test_a_message_is_retried_after_doubling_waits_up_to_a_minute(w: World) -> None:
    @subscribe("news", max_attempts=9)
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_message(w)
    assert waits_ms(w, job, 9) == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]


@pytest.mark.parametrize(
    ("declared", "backoff_from", "waits"),
    [
        (None, None, [5_000, 10_000, 20_000, 40_000]),
        (Fixed(200), None, [200, 200, 200, 200]),
        (Fixed(200), Linear(3_000), [3_000, 6_000, 9_000, 12_000]),
        (None, Exponential(1_000, cap_ms=3_000), [1_000, 2_000, 3_000, 3_000]),
        (None, Named("squares"), [1_000, 4_000, 9_000, 16_000]),
        (None, Named("broken"), [5_000, 10_000, 20_000, 40_000]),  # a user's function must not stop the settling
        (None, Named("abandons"), [5_000, 10_000, 20_000, 40_000]),
        (None, Named("wordy"), [5_000, 10_000, 20_000, 40_000]),
        (Named("gone"), None, [5_000, 10_000, 20_000, 40_000]),
    ],
)
def test_a_task_is_retried_by_its_own_or_its_handlers_backoff(
    w: World, declared: Any, backoff_from: Any, waits: list[int]
) -> None:
    @task("t", max_attempts=5, backoff=declared)
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    @backoff("squares")
    def squares(number: int) -> float:
        return 1_000.0 * number**2

    @backoff("broken")
    def broken(number: int) -> float:
        raise ZeroDivisionError(number)

    @backoff("abandons")
    def abandons(number: int) -> float:
        raise Abandoned(number)

    @backoff("wordy")
    def wordy(number: int) -> str:
        return f"{number} seconds"

    using(w, handler, squares, broken, abandons, wordy)
    job = a_task(w, backoff=backoff_from)
    assert waits_ms(w, job, 5) == waits


def test_a_backoff_function_may_want_the_jobs_own_delay_and_no_wrong_answer_costs_a_message_its_error(w: World) -> None:
    asked: list[tuple[int, int]] = []

    @backoff("delayed")
    def delayed(number: int, delay_ms: int) -> None:
        asked.append((number, delay_ms))

    @subscribe("news", backoff="delayed")
    def reader(_: Any) -> None:
        raise RuntimeError("no")

    using(w, reader, delayed)
    job = a_message(w, delay_ms=2_000)
    w.clock.move(2_000)
    work(w, "news")
    failed = w.job(job.id)
    assert (failed.error and failed.error.message, failed.due_at_ms - w.clock.ms) == ("no", 1_000)
    assert asked == [(1, 2_000)]


def test_a_retry_beyond_fifteen_minutes_waits_on_the_ledger(w: World) -> None:
    @task("t", backoff=Fixed(3_600_500))
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    assert w.messages() == []
    waiting = w.job(job.id)
    assert (waiting.state, waiting.delivery, waiting.due_at_ms) == (State.PENDING, 2, START_MS + 3_600_500)
    assert waiting.wake_at_ms == waiting.due_at_ms - 12 * 60_000
    w.clock.ms = waiting.wake_at_ms
    assert w.tick() == {**NOTHING_DONE, "due_sent": 1}
    assert message_of(w, job).delayed_until == w.clock.ms + 720_000


@pytest.mark.parametrize("seconds", [900, 901])
def test_fifteen_minutes_are_the_limit_of_hiding(w: World, seconds: int) -> None:
    @task("t", backoff=Fixed(seconds * 1_000))
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    assert len(work(w)) == (1 if seconds == 900 else 0)
    assert w.job(job.id).delivery == (1 if seconds == 900 else 2)


def test_reject_is_final(w: World) -> None:
    @task("t", max_attempts=50)
    def handler(_: Any) -> None:
        raise Reject("the address does not exist")

    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    assert (dead.error.type, dead.error.message) == ("Reject", "the address does not exist")


class Abandoned(BaseException):
    """Of a library that knows no better."""


class Speechless(BaseException):
    """Raises whenever it is asked for a text."""

    def __str__(self) -> str:
        raise Abandoned

    __repr__ = __str__


def nested(depth: int) -> BaseException:
    """A group in a group, and so on, deeper than Python recurses."""
    error: BaseException = ValueError("the innermost")
    for _ in range(depth):
        error = BaseExceptionGroup("outer", [error])
    return error


ENDINGS: list[tuple[BaseException, str, str]] = [
    (SystemExit(3), "SystemExit", "3"),
    (SystemExit(0), "SystemExit", "0"),
    (KeyboardInterrupt(), "KeyboardInterrupt", ""),
    (GeneratorExit(), "GeneratorExit", ""),
    (MemoryError("full"), "MemoryError", "full"),
    (RecursionError("deep"), "RecursionError", "deep"),
    (StopIteration(1), "StopIteration", "1"),
    (asyncio.CancelledError("not me"), "CancelledError", "not me"),
    (Abandoned("ship"), "Abandoned", "ship"),
    (Speechless(), "Speechless", "the exception has no text: its __str__ raises"),
    (
        ExceptionGroup("two of three", [ValueError("no paper"), ExceptionGroup("in it", [KeyError("ink")])]),
        "ExceptionGroup",
        "two of three (2 sub-exceptions); ValueError: no paper; KeyError: 'ink'",
    ),
    (nested(2_000), "ExceptionGroup", "outer (1 sub-exception); ValueError: the innermost"),
]


@pytest.mark.parametrize(("error", "kind", "text"), ENDINGS, ids=[f"{kind}-{text[:9]}" for _, kind, text in ENDINGS])
def test_whatever_a_handler_raises_is_one_failed_attempt(
    w: World, caplog: pytest.LogCaptureFixture, error: BaseException, kind: str, text: str
) -> None:
    @task("t")
    def handler(what: str) -> None:
        if what == "bad":
            raise error

    using(w, handler)
    bad, good = a_task(w, input="bad", priority=1), a_task(w, input="good")
    assert work(w) == [message_of(w, bad).id]
    failed = w.job(bad.id)
    assert (failed.state, failed.attempts, failed.failures) == (State.PENDING, 1, 1)
    place = f"test_run.py:{handler.__code__.co_firstlineno + 3} handler"
    assert failed.error == JobError(kind, text, place)
    assert w.job(good.id).state is State.SUCCESS  # in the same batch
    (told,) = [record for record in caplog.records if record.message == "handler failed"]
    assert "in handler" in vars(told)["exception"]


@pytest.mark.parametrize("ending", [asyncio.CancelledError(), Abandoned("ship"), Speechless(), SystemExit(1)])
def test_whatever_a_completion_handler_raises_fails_its_task_alone(w: World, ending: BaseException) -> None:
    @task("t")
    def handler(what: str) -> str:
        return what

    @on_success("t")
    def completed(what: str) -> None:
        if what == "bad":
            raise ending

    using(w, handler, completed)
    bad, good = a_task(w, input="bad", priority=1), a_task(w, input="good")
    assert work(w) == []
    failed = w.job(bad.id)
    assert (failed.state, failed.error and failed.error.type) == (State.FAILED, type(ending).__name__)
    assert w.yard.payloads.output(failed) == "bad"
    assert w.job(good.id).state is State.SUCCESS


def test_a_group_of_nothing_but_rejects_is_final(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None:
        raise ExceptionGroup("of a task group", [Reject("no such address"), Reject("nor this one")])

    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    assert (w.job(job.id).state, w.job(job.id).attempts) == (State.FAILED, 1)


@pytest.mark.parametrize("swallowing", ["suppress", "wrap", "group", "asyncio"])
def test_what_interrupts_a_run_ends_it_though_the_handler_swallows_or_wraps_it(w: World, swallowing: str) -> None:
    later: list[str] = []

    async def in_a_task(do: Callable[[], object]) -> None:
        do()

    def handle(do: Callable[[], object]) -> None:
        try:
            if swallowing == "asyncio":
                asyncio.run(in_a_task(do))
            do()
        except BaseException as error:
            if swallowing == "wrap":
                raise ValueError("wrapped") from error
            if swallowing == "group":
                raise BaseExceptionGroup("grouped", [error]) from None

    @task("polls")
    def polls(_: Any, context: Context) -> None:
        handle(lambda: context.polling(lambda: {"result": "pending"}, poll_interval_ms=5_000))

    @task("late")
    def late(_: Any) -> str:
        handle(signal.pause)
        return "as if nothing had happened"

    @subscribe("news")
    def first(_: Any) -> None:
        handle(signal.pause)

    @subscribe("news")
    def second(_: Any) -> None:
        later.append("second")

    using(w, polls, late, first, second)
    polling, overrun, message = (
        a_task(w, type="polls"),
        a_task(w, type="late", timeout_ms=50),
        a_message(w, timeout_ms=50),
    )
    work(w)
    work(w, "news")
    again = w.job(polling.id)
    assert (again.state, again.poll_count, again.failures) == (State.PENDING, 1, 0)
    assert again.due_at_ms == START_MS + 5_000
    for job in (w.job(overrun.id), w.job(message.id)):
        assert (job.state, job.failures) == (State.PENDING, 1)
        assert (job.error and job.error.message) == "attempt 1 overran its time"
    assert later == []


def test_a_dying_process_costs_only_the_job_it_hit(w: World) -> None:
    runs: list[str] = []

    class Killed(Interruption):
        """As kill -9: neither a handler nor the service outlives it."""

    @task("t")
    def handler(what: str, context: Context) -> None:
        runs.append(f"{what} {context.attempt}")
        if runs == ["a 1", "b 1"]:
            raise Killed

    using(w, handler)
    jobs = [a_task(w, input=what, priority=priority) for what, priority in (("a", 3), ("b", 2), ("c", 1))]
    with pytest.raises(Killed):
        work(w)
    assert "heartbeat" not in [thread.name for thread in threading.enumerate()]  # the heartbeat is joined even then
    assert [w.job(job.id).state for job in jobs] == [State.SUCCESS, State.RUNNING, State.PENDING]
    w.go_on()
    assert runs == ["a 1", "b 1", "c 1", "b 2"] or runs == ["a 1", "b 1", "b 2", "c 1"]
    assert [w.job(job.id).attempts for job in jobs] == [1, 2, 1]
    assert w.clock.ms <= START_MS + LEASE_MS + 1_000  # back within one lease


def test_a_long_story_keeps_its_newest_events(w: World) -> None:
    @task("t", max_attempts=14, backoff=Fixed(0))
    def handler(_: Any) -> None:
        raise RuntimeError("no")

    using(w, handler)
    job = a_task(w)
    w.go_on()
    dead = w.job(job.id)
    assert (dead.state, dead.attempts, dead.failures) == (State.FAILED, 14, 14)
    assert len(dead.trace) == TRACE_MAX_EVENTS
    assert events_of(dead)[-4:] == ["started", "failed", "started", "dead"]
    assert dead.events[-1].detail["attempt"] == 14


# -- the handler and its input ------------------------------------------------------------------------


DAY = datetime(2026, 1, 2, tzinfo=UTC)


class Order(BaseModel):
    """A typed input."""

    number: int
    day: datetime | None = None


def test_a_typed_input_arrives_as_its_model(w: World) -> None:
    seen: list[Order] = []

    @subscribe("news")
    def handler(order: Order) -> None:
        seen.append(order)

    using(w, handler)
    a_message(w, input={"number": 7, "day": "2026-01-02T03:04:05Z"})
    work(w, "news")
    assert seen == [Order(number=7, day=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))]


def test_an_input_that_no_retry_can_mend_is_a_dead_letter_at_once(w: World, caplog: pytest.LogCaptureFixture) -> None:
    @subscribe("news", max_attempts=5)
    def handler(order: Order) -> None:
        raise AssertionError(order)

    using(w, handler)
    job = a_message(w, input={"number": "many"})
    assert work(w, "news") == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    assert dead.error.type == "InvalidInput"
    assert "input.number" in dead.error.message
    assert "a whole number" in dead.error.message
    assert "many" not in dead.error.message  # errors are listed and logged; what came is in the payload
    assert [record.message for record in caplog.records] == ["input refused", "dead letter"]
    assert "many" not in caplog.text


@pytest.mark.parametrize(
    "error",
    [InvalidInput("no such topic", field="topic", got="x"), NotFound("there is no task 7"), TooLarge("too much")],
)
def test_what_a_service_refuses_within_a_handler_is_an_ordinary_failure(
    w: World, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    @task("t", max_attempts=2, backoff=Fixed(0))
    def handler(_: Any) -> None:
        raise error

    using(w, handler)
    job = a_task(w)
    w.go_on()
    dead = w.job(job.id)
    assert (dead.state, dead.attempts, dead.failures) == (State.FAILED, 2, 2)
    place = f"test_run.py:{handler.__code__.co_firstlineno + 2} handler"
    assert dead.error == JobError(type(error).__name__, str(error), place)
    told = [vars(record)["exception"] for record in caplog.records if record.message == "handler failed"]
    assert [text.splitlines()[-1] for text in told] == [f"chalicelib.core.errors.{type(error).__name__}: {error}"] * 2


def test_an_attempt_that_is_no_longer_the_workers_is_told_as_no_dead_letter(
    w: World, caplog: pytest.LogCaptureFixture
) -> None:
    @task("t", max_attempts=1)
    def handler(_: Any, context: Context) -> None:
        cancel(w.yard, context.job.id, Kind.TASK)
        context.progress(1, 2)

    using(w, handler)
    job = a_task(w)
    work(w)
    assert w.job(job.id).state is State.CANCELED
    assert "dead letter" not in [record.message for record in caplog.records]


def test_the_place_of_a_failure_is_the_users_line_not_the_services(w: World) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> None:
        context.progress(float("nan"))

    using(w, handler)
    job = a_task(w)
    work(w)
    failed = w.job(job.id)
    place = f"test_run.py:{handler.__code__.co_firstlineno + 2} handler"
    assert (failed.state, failed.error and failed.error.where) == (State.PENDING, place)


class Checked(BaseModel):
    """Whose validator breaks on what it does not expect."""

    number: int

    @field_validator("number")
    @classmethod
    def _check(cls, number: int) -> int:
        if number < 0:
            raise Abandoned("negative")
        return number


def test_a_validator_that_breaks_is_an_ordinary_failure_and_refuses_a_publish(w: World) -> None:
    @subscribe("news", max_attempts=2, backoff=Fixed(0))
    def reader(_: Checked) -> None: ...

    @task("t")
    def handler(_: Checked) -> None: ...

    using(w, reader, handler)
    job = a_message(w, input={"number": -1})
    w.go_on()
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 2)
    assert dead.error is not None
    assert (dead.error.type, dead.error.message) == ("Abandoned", "negative")
    assert (dead.error.where or "").endswith(" _check")
    with pytest.raises(InvalidInput, match=r"input: the model of t fails on this input; .*got Abandoned"):
        a_task(w, input={"number": -1})


@pytest.mark.parametrize("kind", list(Kind))
def test_a_job_whose_handler_is_gone_is_a_dead_letter_that_says_so(w: World, kind: Kind) -> None:
    @task("t")
    def handler(_: Any) -> None: ...

    @task("u")
    def other(_: Any) -> None: ...

    @subscribe("news")
    def listener(_: Any) -> None: ...

    using(w, handler, listener)
    job = a_task(w) if kind is Kind.TASK else a_message(w)
    name = name_of(w, job.queue)
    using(w, other)
    assert w.deliver_batch(name) == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    assert dead.error.type == "NoHandler"
    known = "u" if kind is Kind.TASK else "none"
    remedy = "then retry" if kind is Kind.TASK else "then replay it"
    assert f"(known: {known})" in dead.error.message
    assert dead.error.message.endswith(remedy)


def test_a_dead_letter_runs_once_its_handler_is_back(w: World) -> None:
    @task("t")
    def handler(_: Any) -> str:
        return "done"

    using(w, handler)
    job = a_task(w)
    using(w)
    work(w)
    using(w, handler)
    retry(w.yard, job.id, Kind.TASK)
    w.go_on()
    assert (w.job(job.id).state, w.job(job.id).output) == (State.SUCCESS, '"done"')
    assert events_of(w.job(job.id)) == ["published", "started", "dead", "retried", "started", "succeeded"]


# -- outputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "place"), [(298, "record"), (299, "output#"), (262_142, "output#"), (262_143, "s3:outputs/")]
)
def test_an_output_goes_where_it_fits(w: World, size: int, place: str) -> None:
    """300 bytes of JSON in the record, 256 KB beside it; the quotes of a text count."""

    @task("t")
    def handler(_: Any) -> str:
        return "x" * size

    using(w, handler)
    job = a_task(w)
    work(w)
    done = w.job(job.id)
    assert done.state is State.SUCCESS
    if place == "record":
        assert done.output == json.dumps("x" * size)
        assert done.output_at is None
    else:
        assert done.output is None
        assert (done.output_at or "").startswith(place)
        assert (done.lease or "?") in (done.output_at or "")  # a late worker writes elsewhere
    assert w.yard.payloads.output(done) == "x" * size


@pytest.mark.parametrize("value", [0, False, "", [], {}])
def test_empty_outputs_are_outputs(w: World, value: Any) -> None:
    @task("t")
    def handler(_: Any) -> Any:
        return value

    using(w, handler)
    job = a_task(w)
    work(w)
    assert w.job(job.id).output == json.dumps(value)


def test_a_pydantic_output_is_stored_as_json(w: World) -> None:
    @task("t")
    def handler(_: Any) -> Order:
        return Order(number=3, day=datetime(2026, 1, 2, tzinfo=UTC))

    using(w, handler)
    job = a_task(w)
    work(w)
    assert w.yard.payloads.output(w.job(job.id)) == {"number": 3, "day": "2026-01-02T00:00:00Z"}


def test_an_output_that_has_no_form_in_json_is_an_ordinary_failure_that_names_its_place(
    w: World, caplog: pytest.LogCaptureFixture
) -> None:
    @task("t")
    def handler(_: Any) -> Any:
        return {"rows": [1, {"at": object()}]}

    using(w, handler)
    job = a_task(w)
    w.go_on()
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 3)
    assert dead.error is not None
    assert dead.error.type == "InvalidInput"
    assert dead.error.message.startswith("output.rows[1].at: an object cannot be written as JSON; expected ")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["handler failed"] * 3


def test_what_a_handler_hands_out_takes_the_form_of_json_everywhere(w: World) -> None:
    seen: list[Any] = []

    @task("t")
    def handler(_: Any, context: Context) -> Any:
        seen.append(context.step("day", lambda: DAY))
        context.progress(1, 2, "", {"day": DAY})
        context.write_log("a line", {"day": DAY})
        found = context.polling(lambda: {"result": "success", "data": [DAY]})
        return {"day": DAY, "found": found, "order": Order(number=1, day=DAY), "tags": {"b", "a"}}

    @on_success("t")
    def completed(result: Any) -> None:
        seen.append(result["tags"])

    using(w, handler, completed)
    job = a_task(w, next={"type": "t", "input": {"day": DAY}, "runnerType": "manual"})
    work(w)
    done, day = w.job(job.id), "2026-01-02T00:00:00Z"
    output = {"day": day, "found": [day], "order": {"number": 1, "day": day}, "tags": ["a", "b"]}
    assert w.yard.payloads.output(done) == output
    assert seen == [day, ["a", "b"]]
    assert done.progress is not None
    assert done.progress.data == f'{{"day":"{day}"}}'
    assert [entry.data for entry in w.yard.job_details.log(job.id)] == [{"day": day}]
    (follower,) = [each for each in w.jobs() if each.id != job.id]
    assert w.yard.payloads.body(follower)["input"] == {"day": day}


def test_an_output_above_the_limit_is_a_dead_letter(w: World) -> None:
    @task("t")
    def handler(_: Any) -> str:
        return "x" * 2_000

    w.yard = replace(w.yard, settings=replace(w.yard.settings, payload_max_bytes=1_024))
    using(w, handler)
    job = a_task(w)
    assert work(w) == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    assert dead.error.type == "TooLarge"
    assert "at most 1024 bytes" in dead.error.message
    assert "2004 bytes" in dead.error.message


# -- several subscribers ------------------------------------------------------------------------------


def test_a_retry_calls_only_the_subscribers_that_failed(w: World) -> None:
    calls: list[str] = []

    @subscribe("news", max_attempts=3, backoff=Fixed(1_000))
    def steady(_: Any) -> str:
        calls.append("steady")
        return "from steady"

    @subscribe("news", max_attempts=3)
    def shaky(_: Any, context: Context) -> str:
        calls.append(f"shaky {context.attempt}")
        if context.attempt < 3:
            raise RuntimeError("no")
        return "from shaky"

    @subscribe("news", max_attempts=3)
    def third(_: Any) -> None:
        calls.append("third")

    using(w, steady, shaky, third)
    job = a_message(w)
    work(w, "news")
    assert calls == ["steady", "shaky 1", "third"]  # one that fails does not stop the others
    assert w.job(job.id).succeeded_subscribers == (
        f"{__name__}.test_a_retry_calls_only_the_subscribers_that_failed.<locals>.steady",
        f"{__name__}.test_a_retry_calls_only_the_subscribers_that_failed.<locals>.third",
    )
    w.go_on()
    assert calls == ["steady", "shaky 1", "third", "shaky 2", "shaky 3"]
    done = w.job(job.id)
    assert (done.state, done.attempts, done.output) == (State.SUCCESS, 3, '"from shaky"')


def test_a_subscriber_that_overruns_does_not_make_the_others_run_again(w: World) -> None:
    calls: list[str] = []

    @subscribe("news", backoff=Fixed(1_000))
    def early(_: Any) -> None:
        calls.append("early")

    @subscribe("news")
    def shaky(_: Any, context: Context) -> None:
        calls.append(f"shaky {context.attempt}")
        if context.attempt == 1:
            raise RuntimeError("no")

    @subscribe("news")
    def slow(_: Any, context: Context) -> None:
        calls.append(f"slow {context.attempt}")
        if context.attempt <= 2:
            signal.pause()

    using(w, early, shaky, slow)
    job = a_message(w, timeout_ms=100)
    w.go_on()
    assert calls == ["early", "shaky 1", "slow 1", "shaky 2", "slow 2", "slow 3"]
    assert (w.job(job.id).state, w.job(job.id).attempts) == (State.SUCCESS, 3)


def test_one_reject_leaves_the_other_subscribers_their_retries(w: World) -> None:
    calls: list[str] = []

    @subscribe("news", backoff=Fixed(1_000))
    def picky(_: Any) -> None:
        calls.append("picky")
        raise Reject("not for me")

    @subscribe("news")
    def shaky(_: Any, context: Context) -> None:
        calls.append(f"shaky {context.attempt}")
        if context.attempt == 1:
            raise RuntimeError("no")

    using(w, picky, shaky)
    job = a_message(w)
    w.go_on()
    assert calls == ["picky", "shaky 1", "picky", "shaky 2"]
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 2)
    assert dead.error is not None
    assert dead.error.type == "Reject"


def test_the_most_generous_subscriber_decides_how_often(w: World) -> None:
    @subscribe("news", max_attempts=2)
    def few(_: Any) -> None: ...

    @subscribe("news", max_attempts=7)
    def many(_: Any) -> None: ...

    using(w, few, many)
    assert a_message(w).max_attempts == 7
    assert a_message(w, max_attempts=1).max_attempts == 1

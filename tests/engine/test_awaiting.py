"""Handlers that are coroutines: awaited, and ended as any other handler."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chalicelib import Context, on, on_success, subscribe, task
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job_events import JobEvent
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import cancel
from chalicelib.engine.handlers.declare import backoff
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.worker import shutdown
from chalicelib.services import tasks
from chalicelib.testing import Workbench
from tests.support.steps import a_message, a_task, using, work
from tests.support.worlds import World

LONG_S = 60.0


def test_it_is_awaited_with_its_context_and_services(w: World) -> None:
    @task("t")
    async def handler(name: str, context: Context) -> dict[str, Any]:
        await asyncio.sleep(0)
        context.progress(1, 2)
        both = await asyncio.gather(asyncio.to_thread(str.upper, name), asyncio.to_thread(str.lower, name))
        return {"names": both, "step": context.step("once", lambda: 7)}

    done: list[Any] = []

    @on_success("t")
    async def completed(result: Any) -> None:
        await asyncio.sleep(0)
        done.append(result["step"])

    using(w, handler, completed)
    job = a_task(w, input="Ada")
    work(w)
    assert (w.job(job.id).state, w.job(job.id).output) == (State.SUCCESS, '{"names":["ADA","ada"],"step":7}')
    assert done == [7]


def test_what_it_raises_is_a_failure_at_its_line(w: World) -> None:
    @subscribe("news")
    async def handler(_: Any) -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    using(w, handler)
    job = a_message(w)
    work(w, "news")
    error = w.job(job.id).error
    assert error is not None
    line = handler.__code__.co_firstlineno + 3
    assert (error.type, error.message, error.where) == ("ValueError", "no", f"test_awaiting.py:{line} handler")


def in_a_wait() -> Awaitable[Any]:
    return asyncio.sleep(LONG_S)


async def in_its_own_code() -> None:
    signal.pause()


def in_a_task_beside() -> Awaitable[Any]:
    return asyncio.create_task(in_its_own_code())


def in_a_group() -> Awaitable[Any]:
    return asyncio.gather(asyncio.sleep(LONG_S), asyncio.sleep(LONG_S))


async def swallowing() -> None:
    try:
        await asyncio.sleep(LONG_S)
    except asyncio.CancelledError:
        return


def line_inside(function: Any) -> int:
    line: int = function.__code__.co_firstlineno + 1
    return line


WHERE = [in_a_wait, in_its_own_code, in_a_task_beside, in_a_group, swallowing]


@pytest.mark.parametrize("where", WHERE, ids=lambda where: where.__name__)
def test_a_time_out_reaches_it_wherever_it_is_and_it_cleans_up(w: World, where: Callable[[], Awaitable[Any]]) -> None:
    cleaned: list[str] = []

    @task("t")
    async def handler(_: Any) -> str:
        try:
            await where()
        finally:
            await asyncio.sleep(0.001)
            cleaned.append("yes")
        return "as if nothing had happened"

    using(w, handler)
    job, next_one = a_task(w, timeout_ms=100, priority=1), a_task(w, timeout_ms=1)
    began_s = time.monotonic()
    work(w)
    assert time.monotonic() - began_s < LONG_S
    found = w.job(job.id)
    assert (found.state, found.failures) == (State.PENDING, 1)
    assert found.error is not None
    assert (found.error.type, found.error.message) == ("Timeout", "attempt 1 overran its time")
    place = {swallowing: swallowing.__code__.co_firstlineno + 2, in_its_own_code: line_inside(in_its_own_code)}
    if where is not in_a_task_beside:
        line = place.get(where, handler.__code__.co_firstlineno + 3)
        function = where.__name__ if where in place else "handler"
        assert found.error.where == f"test_awaiting.py:{line} {function}"
    assert cleaned[0] == "yes"
    assert w.job(next_one.id).failures == 1
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_cancellation_that_the_heartbeat_learns_of_ends_its_wait(w: World) -> None:
    @task("t")
    async def handler(_: Any, context: Context) -> None:
        cancel(w.yard, context.job.id, Kind.TASK)
        threading.Timer(0.05, context.extend).start()  # as the heartbeat does
        try:
            await asyncio.sleep(LONG_S)
        finally:
            ended.append(context.cancelled)

    ended: list[bool] = []
    using(w, handler)
    job = a_task(w)
    began_s = time.monotonic()
    work(w)
    assert time.monotonic() - began_s < LONG_S
    assert (w.job(job.id).state, w.job(job.id).failures) == (State.CANCELED, 0)
    assert ended == [True]


def test_a_shutdown_ends_its_wait_uncharged(w: World) -> None:
    @task("t")
    async def handler(_: Any) -> None:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        await asyncio.sleep(LONG_S)

    using(w, handler)
    job = a_task(w)
    before = signal.signal(signal.SIGUSR1, lambda *_: shutdown.interrupt())
    try:
        work(w)
    finally:
        signal.signal(signal.SIGUSR1, before)
        shutdown.stopping.clear()
    found = w.job(job.id)
    assert (found.state, found.failures, found.error and found.error.message) == (State.PENDING, 0, "shutdown")


def test_polling_from_it(w: World) -> None:
    @task("t")
    async def handler(_: Any, context: Context) -> Any:
        return context.polling(lambda: {"result": "pending"}, poll_interval_ms=5_000)

    using(w, handler)
    job = a_task(w)
    work(w)
    assert (w.job(job.id).state, w.job(job.id).poll_count, w.job(job.id).failures) == (State.PENDING, 1, 0)


def test_the_workbench_runs_coroutines_and_hooks_that_are() -> None:
    told: list[str] = []

    @task("mail")
    async def mail(value: Any, context: Context) -> Any:
        await asyncio.sleep(0)
        tasks.create("mail.more", runner_type="manual", target_id="1", target_type="x", once="more", within=context)
        return value

    @on("complete", "mail")
    async def note(event: JobEvent) -> None:
        await asyncio.sleep(0)
        told.append(event.output())

    with Workbench(mail, note) as bench:
        created = bench.create("mail", "hello")
        with bench.crash("end"):
            bench.run()
        assert bench.task(created).status == "running"
        bench.finish()
        assert (bench.task(created).status, bench.task(created).output) == ("success", "hello")
        assert bench.call(mail, "again").output == "again"
    assert told == ["hello"]


def test_a_backoff_function_is_a_plain_one() -> None:
    @backoff("patient")
    async def patient(_retry: int) -> float:
        return 1.0

    with pytest.raises(InvalidInput) as refused:
        Registry.of([patient])
    assert (refused.value.expected, refused.value.got) == ("a plain function", "async def")


def test_a_generator_is_no_handler() -> None:
    async def generated(_: Any) -> Any:
        yield 1

    with pytest.raises(InvalidInput) as refused:
        Registry.of([task("t")(generated)])
    assert refused.value.got == "a generator"

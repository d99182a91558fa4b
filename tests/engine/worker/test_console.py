"""What handlers print and log: it goes where it always went, and the newest of it is kept with the task."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import Context, Fixed, on_success, subscribe, task
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import cancel, retry
from chalicelib.engine.commands.run_now import run_now
from chalicelib.engine.worker import console, shutdown
from chalicelib.store.job_details import CONSOLE_MAX_BYTES, ConsoleLine
from tests.support.steps import a_message, a_task, counting, failing, using, work
from tests.support.waiting import DEADLINE_S, until
from tests.support.worlds import World

orders = logging.getLogger("orders")


def kept(w: World, job: Job) -> list[tuple[int, str, str]]:
    """Attempt, source and text of every line."""
    return [(line.attempt, line.source, line.text) for line in console.read(w.yard, w.job(job.id))]


def texts(w: World, job: Job) -> list[str]:
    return [text for _, _, text in kept(w, job)]


@pytest.fixture(autouse=True)
def _leaves_no_trace() -> Iterator[None]:
    """After a run, the process is as it was."""
    before = sys.stdout, sys.stderr, [*logging.root.handlers]
    yield
    assert (sys.stdout, sys.stderr, [*logging.root.handlers]) == before


def test_it_is_kept_with_time_and_attempt_and_goes_where_it_always_went(
    w: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    @task("t", max_attempts=2, backoff=Fixed(0))
    def handler(_: Any, context: Context) -> None:
        print("asked", 1, end=" ")
        w.clock.move(5)
        print("bank")
        print("slow", file=sys.stderr)
        orders.warning("no %s", "stock")
        context.log.info("charged")
        if context.attempt == 1:
            raise ValueError("again")

    using(w, handler)
    job = a_task(w)
    began_ms = w.clock.ms
    w.go_on()
    one = [("stdout", "asked 1 bank"), ("stderr", "slow"), ("log", "WARNING:orders:no stock")]
    all_of_one = [*one, ("log", "INFO:taskyard:charged")]
    assert kept(w, job) == [(1, *line) for line in all_of_one] + [(2, *line) for line in all_of_one]
    lines = console.read(w.yard, w.job(job.id))
    assert lines[0] == ConsoleLine(began_ms, 1, "stdout", "asked 1 bank")
    assert lines[1].time_ms == began_ms + 5
    written = capsys.readouterr()
    assert (written.out, written.err) == ("asked 1 bank\n" * 2, "slow\n" * 2)
    assert [record.getMessage() for record in caplog.records if record.name == "orders"] == ["no stock"] * 2


def test_coroutines_threads_and_completion_handlers_are_heard(w: World) -> None:
    @task("t")
    async def handler(_: Any) -> None:
        await asyncio.gather(*(asyncio.to_thread(sys.stdout.write, f"{n}\n") for n in range(2)))
        thread = threading.Thread(target=print, args=("thread",))
        thread.start()
        thread.join()

    @on_success("t")
    def completed(_: Any) -> None:
        print("completed")

    using(w, handler, completed)
    job = a_task(w)
    work(w)
    assert sorted(texts(w, job)) == ["0", "1", "completed", "thread"]


def test_each_run_has_its_own_also_within_another_and_beside_it(w: World) -> None:
    both_run = threading.Barrier(2, timeout=DEADLINE_S)

    @task("inner")
    def inner(name: str) -> None:
        if name != "nested":
            both_run.wait()
        print(name)
        if name != "nested":
            both_run.wait()

    @task("t")
    def outer(_: Any) -> None:
        print("before")
        run_now(w.yard, nested.id)
        print("after")

    using(w, inner, outer)
    job = a_task(w)
    nested, left, right = (a_task(w, "inner", input=name) for name in ("nested", "left", "right"))
    run_now(w.yard, job.id)
    threads = [threading.Thread(target=run_now, args=(w.yard, each.id)) for each in (left, right)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [texts(w, each) for each in (job, nested, left, right)] == [
        ["before", "after"],
        ["nested"],
        ["left"],
        ["right"],
    ]


def raises(_: Context) -> None:
    raise ValueError("no")


def overruns(_: Context) -> None:
    signal.pause()


def is_shut_down(_: Context) -> None:
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    signal.pause()


def is_canceled(context: Context) -> None:
    cancel(context.yard, context.job.id, Kind.TASK)
    context.heartbeat()


def exits(_: Context) -> None:
    raise SystemExit(3)


def polls(context: Context) -> None:
    context.polling(lambda: {"result": "pending"})


@pytest.mark.parametrize("ends", [raises, overruns, is_shut_down, is_canceled, exits, polls], ids=lambda f: f.__name__)
def test_it_is_kept_however_the_run_ends(w: World, ends: Callable[[Context], None]) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> None:
        print("this far")
        ends(context)

    using(w, handler)
    job = a_task(w, timeout_ms=100 if ends is overruns else 20_000)
    before = signal.signal(signal.SIGUSR1, lambda *_: shutdown.interrupt())
    try:
        work(w)
    finally:
        shutdown.stopping.clear()
        signal.signal(signal.SIGUSR1, before)
    assert w.job(job.id).state is not State.SUCCESS
    assert kept(w, job) == [(1, "stdout", "this far")]


@pytest.mark.usefixtures("beating")
def test_of_a_handler_that_will_not_stop_it_is_kept_before_the_process_ends(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None:
        print("this far")
        with suppress(BaseException):
            signal.pause()
        w.clock.move(5_101)
        until(lambda: w.exits)
        seen.extend(texts(w, job))

    seen: list[str] = []
    using(w, handler)
    job = a_task(w, timeout_ms=100)
    work(w)
    assert seen == ["this far"]


def test_a_silent_run_makes_no_request_more_and_another_one(w: World) -> None:
    @task("t")
    def handler(lines: int) -> None:
        for line in range(lines):
            print(line)

    using(w, handler)
    calls = []
    for lines in (0, 0, 100):  # the first reads what is paused
        a_task(w, input=lines)
        with counting(w) as counted:
            work(w)
        calls.append(counted)
    _, silent, noisy = calls
    assert (silent["PutItem"], noisy["PutItem"]) == (0, 1)
    assert noisy.total() == silent.total() + 1


def test_that_it_cannot_be_kept_changes_nothing(w: World) -> None:
    @task("t")
    def handler(_: Any) -> str:
        print("here")
        return "done"

    using(w, handler)
    job = a_task(w)
    with failing(w.yard.jobs.table.client, "PutItem"):
        work(w)
    assert (w.job(job.id).state, w.job(job.id).output) == (State.SUCCESS, '"done"')
    assert texts(w, job) == []


def test_a_run_that_another_worker_has_taken_over_leaves_nothing(w: World) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> None:
        print("attempt", context.attempt)
        if context.attempt == 1:
            w.clock.move(61_000)
            run_elsewhere(w)
            context.heartbeat()

    def run_elsewhere(w: World) -> None:
        thread = threading.Thread(target=w.go_on)
        thread.start()
        thread.join()

    using(w, handler)
    job = a_task(w)
    work(w)
    assert texts(w, job) == ["attempt 2"]


def test_of_an_attempt_the_newest_8_kb_are_kept_and_of_a_task_four_attempts(w: World) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> None:
        for n in range(2_000):
            print(f"{context.job.attempts}-{n:04d}", "ü" * 20)
        raise ValueError("no")

    using(w, handler)
    job = a_task(w, max_attempts=3, backoff=Fixed(0))
    w.go_on()
    retry(w.yard, job.id, Kind.TASK)
    w.go_on()
    lines = kept(w, job)
    assert sorted({attempt for attempt, _, _ in lines}) == [3, 4, 5, 6]
    newest = [text[:6] for attempt, _, text in lines if attempt == 6]
    assert newest == [f"6-{n:04d}" for n in range(2_000 - len(newest), 2_000)]
    sizes = [len(row["lines"].encode()) for row in w.items("jobs") if row["part"].startswith("console#")]
    assert len(sizes) == 4
    assert all(CONSOLE_MAX_BYTES - 100 < size <= CONSOLE_MAX_BYTES for size in sizes)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("x" * 100_000, ["x" * console.LINE_MAX_CHARS]),
        ("\U0001f600" * 5_000, ["\U0001f600" * console.LINE_MAX_CHARS]),
        ("\r 10 %\r 50 %\r100 %\r\n", ["100 %"]),
        ("\x1b[31mred\x1b[0m \x00 \udcff\n", ["red \ufffd \\udcff"]),
        ("a\n\nb", ["a", "", "b"]),
        ("", []),
    ],
)
def test_whatever_is_printed_can_be_shown(
    w: World, monkeypatch: pytest.MonkeyPatch, written: str, shown: list[str]
) -> None:
    class Sink:
        def write(self, text: str) -> int:
            return len(text)

        def flush(self) -> None:
            return None

    @task("t")
    def handler(_: Any) -> None:
        sys.stdout.write(written)

    using(w, handler)
    job = a_task(w)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", Sink())
        work(w)
    assert w.job(job.id).state is State.SUCCESS
    assert texts(w, job) == shown


def test_a_record_has_its_traceback_and_one_that_cannot_be_formatted_hurts_nobody(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(logging.root, "handlers", [logging.NullHandler()])

    @task("t")
    def handler(_: Any) -> None:
        try:
            raise KeyError("k")
        except KeyError:
            orders.exception("gone")
        orders.warning("%d", "no number")

    using(w, handler)
    job = a_task(w)
    work(w)
    assert w.job(job.id).state is State.SUCCESS
    first, *_, last = texts(w, job)
    assert (first, last) == ("ERROR:orders:gone", "KeyError: 'k'")


def test_where_the_root_has_no_handler_loggers_write_as_they_always_did(
    w: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @task("t")
    def handler(_: Any, context: Context) -> None:
        orders.warning("no stock")
        context.log.info("charged")

    using(w, handler)
    job = a_task(w)
    with monkeypatch.context() as patched:
        patched.setattr(logging.root, "handlers", [])
        work(w)
    assert kept(w, job) == [(1, "stderr", "no stock"), (1, "log", "INFO:taskyard:charged")]
    assert capsys.readouterr().err == "no stock\n"


def test_it_is_removed_with_its_task(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None:
        print("here")

    using(w, handler)
    a_task(w, remove_on_complete=True)
    work(w)
    assert {row["part"] for row in w.items("jobs")} == {"state"}


def test_of_messages_and_where_it_is_switched_off_nothing_is_kept(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None:
        print("here")

    @subscribe("news")
    def reader(_: Any) -> None:
        print("here")

    using(w, handler, reader)
    message, job = a_message(w), a_task(w)
    work(w, "news")
    w.yard = replace(w.yard, settings=replace(w.yard.settings, console="off"))
    work(w)
    assert [w.job(each.id).state for each in (message, job)] == [State.SUCCESS] * 2
    assert not [row for row in w.items("jobs") if row["part"].startswith("console#")]

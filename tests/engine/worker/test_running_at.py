"""Where a run of an application's task is, as its heartbeat notes it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from chalicelib.core.job import Job
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.running_at import FRAMES_MAX, TEXT_MAX_BYTES, running_at
from tests.support.steps import a_task, before, using, work
from tests.support.waiting import until
from tests.support.worlds import World

APP = "A" * 16


def noted(w: World, job: Job) -> list[str]:
    return (w.job(job.id).running_at or "").splitlines()


def named(lines: list[str]) -> list[str]:
    return [line.rpartition(" ")[2] for line in lines]


def test_the_lines_of_the_handler_the_newest_first(w: World) -> None:
    seen: list[list[str]] = []

    def inner(context: Context) -> None:
        context.heartbeat()
        seen.append(noted(w, context.job))

    @task("t")
    def handler(_: Any, context: Context) -> None:
        inner(context)

    using(w, handler)
    job = a_task(w, application=APP)
    work(w)
    assert named(seen[0]) == ["inner", "handler"]
    assert seen[0][0].startswith(f"test_running_at.py:{inner.__code__.co_firstlineno + 1} ")
    assert noted(w, job) == []  # once it has ended


def test_of_any_other_task_nothing_is_noted_and_nothing_more_written(w: World) -> None:
    seen: list[Any] = []

    @task("t")
    def handler(_: Any, context: Context) -> None:
        writes: list[int] = []
        with before(w.yard.jobs.table.client, "UpdateItem", lambda: writes.append(1)):
            context.heartbeat()
        seen.append((noted(w, context.job), len(writes)))

    using(w, handler)
    for application in (None, APP):
        a_task(w, application=application)
    work(w)
    assert [(bool(lines), writes) for lines, writes in seen] == [(False, 1), (True, 1)]


def test_a_coroutine_that_waits(w: World) -> None:
    """It is the coroutine's line that is noted, not that of the loop which waits for it."""
    seen: list[list[str]] = []

    def beat(context: Context) -> None:
        coroutine = context.coroutine
        assert coroutine is not None
        until(lambda: coroutine.awaits() != [])
        context.extend()

    async def inner(context: Context) -> None:
        await asyncio.to_thread(beat, context)
        seen.append(noted(w, context.job))

    @task("t")
    async def handler(_: Any, context: Context) -> None:
        await inner(context)

    using(w, handler)
    a_task(w, application=APP)
    work(w)
    assert named(seen[0]) == ["inner", "handler"]


@pytest.mark.parametrize("depth", [FRAMES_MAX, 50])
def test_it_is_bounded(depth: int) -> None:
    found: list[str | None] = []

    def with_a_name_that_is_as_long_as_names_of_functions_may_well_become_in_some_code_bases(left: int) -> None:
        if left:
            with_a_name_that_is_as_long_as_names_of_functions_may_well_become_in_some_code_bases(left - 1)
        else:
            found.append(running_at(threading.get_ident(), None))

    with_a_name_that_is_as_long_as_names_of_functions_may_well_become_in_some_code_bases(depth)
    assert found[0] is not None
    assert 1 <= len(found[0].splitlines()) <= FRAMES_MAX
    assert len(found[0].encode()) <= TEXT_MAX_BYTES


def test_a_thread_that_is_gone_is_nowhere() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert running_at(thread.ident or 0, None) is None

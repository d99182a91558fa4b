"""Handlers that are coroutines: each call has an event loop of its own, which ends with it.

What ends a run from outside has to reach a coroutine without breaking the loop. Where the main thread is in the
coroutine's own code, it is raised there, as in any handler; where the loop waits, the coroutine is canceled. Either way
its ``finally`` and ``async with`` run. This is how ``asyncio.Runner`` handles Ctrl-C.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from inspect import iscoroutine
from types import FrameType
from typing import Any, Protocol

from chalicelib.engine.interruptions import Interruption


class Run(Protocol):
    """The run that a coroutine belongs to. It remembers what ends it, and tells its coroutine, if it has one."""

    coroutine: RunningCoroutine | None

    def raise_if_void(self) -> None:
        """Raise what has made the run void."""

    def raise_if_interrupted(self) -> None:
        """Raise what has interrupted the run."""


class RunningCoroutine:
    """A coroutine, from before its event loop is made until after that is closed; made in the loop's thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    async def result_of(self, awaitable: Awaitable[Any], run: Run) -> Any:
        """What ``awaitable`` comes to; raises what it raises, and what has ended the run before this began."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            run.raise_if_void()
            run.raise_if_interrupted()
        except BaseException:
            if iscoroutine(awaitable):
                awaitable.close()
            raise
        return await awaitable

    def interrupt(self, interruption: Interruption) -> None:
        """End it, by a signal in its own thread: raises where its code runs, cancels it where it waits."""
        at_work = self._at_work()
        if at_work is not self._task:
            self._cancel()
        if at_work is not None:
            raise interruption

    def cancel_from_beside(self) -> None:
        """Cancel it where it waits, by another thread; harmless in its own, and once it has ended."""
        if self._loop is not None and threading.get_ident() != self._thread and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    def waits_at(self) -> tuple[FrameType, int] | None:
        """The innermost of the coroutine's own lines, if it waits; ``None`` while the code of a task runs."""
        return next(iter(self.awaits()), None)

    def awaits(self) -> list[tuple[FrameType, int]]:
        """The lines at which the coroutine's own code waits, the innermost first; none while a task's code runs."""
        inner: Any = None if self._task is None or self._at_work() is not None else self._task.get_coro()
        found: list[tuple[FrameType, int]] = []
        while (frame := getattr(inner, "cr_frame", None)) is not None:
            if not str(frame.f_globals.get("__name__", "")).startswith((__name__, "asyncio")):
                found.insert(0, (frame, frame.f_lineno))
            inner = getattr(inner, "cr_await", None)
        return found

    def _at_work(self) -> asyncio.Task[Any] | None:
        """The task whose code the loop's thread runs."""
        return None if self._loop is None else asyncio.current_task(self._loop)

    def _cancel(self) -> None:
        if self._loop is not None and self._task is not None and not self._task.done():
            self._task.cancel()
            self._loop.call_soon_threadsafe(lambda: None)  # ends the wait that a signal has only interrupted


def result_of(awaitable: Awaitable[Any], run: Run | None) -> Any:
    """What ``awaitable`` comes to in an event loop of its own; raises what it raises, or what ended its run."""
    if run is None:
        return asyncio.run(_plainly(awaitable))
    coroutine = run.coroutine = RunningCoroutine()
    try:
        return asyncio.run(coroutine.result_of(awaitable, run))
    except asyncio.CancelledError:
        run.raise_if_void()  # it was canceled because the run is
        raise
    finally:
        run.coroutine = None


async def _plainly(awaitable: Awaitable[Any]) -> Any:
    return await awaitable

"""Workers that die in the middle: at the start of a handler, at its progress, or at its end."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from inspect import isawaitable
from typing import Any

from chalicelib.engine.handlers.declare import Handler
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.worker.context import Context
from chalicelib.testing.world import WorkerDied


class At(StrEnum):
    """Where in a handler a worker dies."""

    START = "start"  # before the handler has done anything
    PROGRESS = "progress"  # after it has told its progress
    END = "end"  # it has returned, and its result is not recorded


@dataclass(slots=True)
class _Plan:
    at: At
    type: str | None  # None: in any handler
    left: int  # how often


class Deaths:
    """The deaths that are planned; carried out in the handlers that it watches."""

    def __init__(self) -> None:
        self._plan: _Plan | None = None
        self._progress = Context.progress

    @contextmanager
    def planned(self, at: At, type: str | None, times: int) -> Iterator[None]:  # noqa: A002  # every dialect's word
        """Within the block, workers die; raises ``AssertionError`` in the end if fewer have died than planned."""
        plan = self._plan = _Plan(at, type, times)
        try:
            yield
        finally:
            self._plan = None
        if plan.left:
            where = "a handler" if type is None else f"a handler of {type}"
            raise AssertionError(f"{times - plan.left} of {times} workers died at the {at} of {where}")

    def watched(self, handlers: Registry) -> Registry:
        """``handlers``, in which workers can die."""
        scripts = {key: self._watched(handler) for key, handler in handlers.scripts.items()}
        return replace(
            handlers,
            scripts=scripts,
            tasks={name: scripts[name, handler.script] for name, handler in handlers.tasks.items()},
            subscribers={
                topic: tuple(self._watched(handler) for handler in known)
                for topic, known in handlers.subscribers.items()
            },
        )

    def dying_progress(self) -> Callable[..., None]:
        """``Context.progress``, after which a worker may die."""

        def progress(context: Context, *told: Any, **more: Any) -> None:
            self._progress(context, *told, **more)
            self._strike(At.PROGRESS, context.job.type)

        return progress

    def _watched(self, handler: Handler) -> Handler:
        function = handler.function

        @functools.wraps(function)
        def with_deaths(*given: Any) -> Any:
            self._strike(At.START, handler.name)
            result = function(*given)
            if isawaitable(result):
                return to_its_end(result)
            self._strike(At.END, handler.name)
            return result

        async def to_its_end(awaitable: Awaitable[Any]) -> Any:
            result = await awaitable
            self._strike(At.END, handler.name)
            return result

        return replace(handler, function=with_deaths)

    def _strike(self, at: At, type: str) -> None:  # noqa: A002  # as above
        plan = self._plan
        if plan is not None and plan.left and plan.at is at and plan.type in (None, type):
            plan.left -= 1
            raise WorkerDied(f"the worker dies at the {at} of {type}")

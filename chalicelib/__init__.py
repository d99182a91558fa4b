"""Taskyard: tasks and messages on SQS, DynamoDB and Lambda, with no server to keep alive.

Everything that handlers are written with comes from here:

    from chalicelib import Context, Linear, task

    @task("image.resize", max_attempts=5, backoff=Linear(step_ms=5_000))
    def resize(image: dict, context: Context) -> dict: ...

What acts on jobs (publish, create, list, cancel, replay) is in ``chalicelib.services``, what tests handlers in
``chalicelib.testing``; no other module is meant to be imported by users. Names are loaded when they are first asked
for, because a Lambda function's cold start pays for every module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chalicelib.core.batch import Batch
    from chalicelib.core.errors import (
        Conflict,
        Full,
        InvalidInput,
        NotFound,
        Reject,
        TaskyardError,
        TooLarge,
        Unavailable,
    )
    from chalicelib.core.flow import Debounce, PerKey, Rate, Unique
    from chalicelib.core.job_events import JobEvent
    from chalicelib.core.lanes import Band
    from chalicelib.core.retry import Exponential, Fixed, Linear
    from chalicelib.engine.handlers.declare import backoff, on, on_success, subscribe, task
    from chalicelib.engine.handlers.schedules import schedule
    from chalicelib.engine.interruptions import HandlerTimeout
    from chalicelib.engine.worker.attempt import JobCanceled, LeaseLost
    from chalicelib.engine.worker.context import Context

_HOME = {
    "Band": "core.lanes",
    "Batch": "core.batch",
    "Conflict": "core.errors",
    "Context": "engine.worker.context",
    "Debounce": "core.flow",
    "Exponential": "core.retry",
    "Fixed": "core.retry",
    "Full": "core.errors",
    "HandlerTimeout": "engine.interruptions",
    "InvalidInput": "core.errors",
    "JobCanceled": "engine.worker.attempt",
    "JobEvent": "core.job_events",
    "LeaseLost": "engine.worker.attempt",
    "Linear": "core.retry",
    "NotFound": "core.errors",
    "PerKey": "core.flow",
    "Rate": "core.flow",
    "Reject": "core.errors",
    "TaskyardError": "core.errors",
    "TooLarge": "core.errors",
    "Unavailable": "core.errors",
    "Unique": "core.flow",
    "backoff": "engine.handlers.declare",
    "on": "engine.handlers.declare",
    "on_success": "engine.handlers.declare",
    "schedule": "engine.handlers.schedules",
    "subscribe": "engine.handlers.declare",
    "task": "engine.handlers.declare",
}

__all__ = [
    "Band",
    "Batch",
    "Conflict",
    "Context",
    "Debounce",
    "Exponential",
    "Fixed",
    "Full",
    "HandlerTimeout",
    "InvalidInput",
    "JobCanceled",
    "JobEvent",
    "LeaseLost",
    "Linear",
    "NotFound",
    "PerKey",
    "Rate",
    "Reject",
    "TaskyardError",
    "TooLarge",
    "Unavailable",
    "Unique",
    "backoff",
    "on",
    "on_success",
    "schedule",
    "subscribe",
    "task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

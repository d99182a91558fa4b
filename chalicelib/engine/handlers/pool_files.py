"""Yao's task pools: ``<package>/pools/<name>.json`` (or ``.yao``) declares one, its processes are Python functions.

    {
      "name": "Thumbnails",                        what people call it
      "worker_nums": 2,                            how many run at the same time, in the whole deployment (1)
      "attempts": 3,                               how many runs a job has at most (1)
      "attempt_after": 200,                        how long after a failure the next run begins, in ms (200)
      "timeout": 30,                               how long a run may take, in seconds (300)
      "size": 1000,                                how many jobs may be unfinished; one more is answered 0 (1024)
      "process": "scripts.thumbnails.Make",        called with (id, *args)
      "event": {
        "next": "scripts.thumbnails.NextID",       called with nothing; returns the number that is the job's id
        "add": "scripts.thumbnails.OnAdd",         (id)
        "success": "scripts.thumbnails.OnSuccess",     (id, response)
        "error": "scripts.thumbnails.OnError",         (id, error text), after the last attempt
        "progress": "scripts.thumbnails.OnProgress"    (id, current, total, message)
      }
    }

In parentheses: what holds where a value is left out, or 0, as Yao has it. ``name`` and ``process`` are needed. A
process ``scripts.thumbnails.Make`` is the function ``Make``, or ``make``, of the module ``scripts.thumbnails``: of the
package that holds the pools, or else of that absolute name. A pool is a task type with a queue, limits and hooks of
its own; everything that is wrong with a definition is an error at the start.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.ids import ID_LIMIT, parse_job_id
from chalicelib.core.job import ATTEMPTS_MAX, Job
from chalicelib.core.job_events import EventType, JobEvent
from chalicelib.core.lanes import Band
from chalicelib.core.limits import CONCURRENCY_MAX, SIZE_MAX, Order
from chalicelib.core.retry import DELAY_MAX_MS, Fixed
from chalicelib.engine.handlers.declare import Mark, marking, on, task
from chalicelib.engine.handlers.pool_documents import (
    definition_files,
    name_of,
    read_document,
    shown,
    text_in,
    whole_in,
    wrong,
)
from chalicelib.engine.handlers.signatures import SOURCE

TYPE_PREFIX = "pools."
ID_TARGET = "pool"  # the target type of a job whose target id is the number that event.next gave
TIMEOUT_MAX_S = 86_400
FIELDS = ("name", "worker_nums", "attempts", "attempt_after", "timeout", "size", "process", "event")
EVENTS = ("next", "add", "success", "error", "progress")

_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

Process = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as its file defines it. ``name`` is the file's, ``title`` what the definition calls it."""

    name: str
    title: str
    worker_nums: int
    attempts: int
    attempt_after_ms: int
    timeout_s: int
    size: int
    process: Process
    events: Mapping[str, Process]

    @property
    def type(self) -> str:
        """The type of its tasks, which is their queue's name, too."""
        return TYPE_PREFIX + self.name

    def next_id(self) -> int | None:
        """The number that ``event.next`` gives a new job; ``None`` where the pool has no such event.

        Raises ``InvalidInput`` for an answer that can be no id, and what the function raises.
        """
        if "next" not in self.events:
            return None
        number = self.events["next"]()
        whole = int(number) if isinstance(number, float) and number.is_integer() else number
        if isinstance(whole, bool) or not isinstance(whole, int) or not 0 < whole < ID_LIMIT:
            raise InvalidInput(
                f"event.next of the pool {self.name} gave no id",
                field="event.next",
                expected="a whole number from 1 to 2^53 - 1",
                got=number,
            )
        return whole


def id_of(job: Job) -> int:
    """The number by which a pool's clients know a job: the one that ``event.next`` gave, or the job's own id."""
    given = job.target_id if job.target_type == ID_TARGET else None
    return (parse_job_id(given) if given is not None else None) or job.id


def pools_in(package: ModuleType) -> list[Any]:
    """What the pools of a package declare: for each a handler of its task type, and a hook for each event."""
    declared: list[Any] = []
    seen: dict[str, Path] = {}
    for file in definition_files(package):
        name = name_of(file)
        if name in seen:
            raise wrong(file, "file", "one definition of a pool", f"{shown(seen[name])}, too", "rename one of the two")
        seen[name] = file
        pool = defined(name, file, package)
        declared += [_handler(pool), *_hooks(pool)]
    return declared


def defined(name: str, file: Path, package: ModuleType) -> Pool:
    """The pool that a file defines; raises ``InvalidInput`` naming the file, the field and what helps."""
    document = read_document(file)
    unknown = sorted(document.keys() - set(FIELDS))
    if unknown:
        raise wrong(file, unknown[0], f"one of {', '.join(FIELDS)}", unknown[0], "correct or remove it")
    events = document.get("event") or {}
    if not isinstance(events, dict) or (strange := sorted(events.keys() - set(EVENTS))):
        got = events if not isinstance(events, dict) else strange[0]
        raise wrong(file, "event", f"an object with {', '.join(EVENTS)}", got, "correct or remove it")
    return Pool(
        name=name,
        title=text_in(file, document, "name"),
        worker_nums=whole_in(file, document, "worker_nums", 1, CONCURRENCY_MAX),
        attempts=whole_in(file, document, "attempts", 1, ATTEMPTS_MAX),
        attempt_after_ms=whole_in(file, document, "attempt_after", 200, DELAY_MAX_MS),
        timeout_s=whole_in(file, document, "timeout", 300, TIMEOUT_MAX_S),
        size=whole_in(file, document, "size", 1_024, SIZE_MAX),
        process=_process(file, "process", text_in(file, document, "process"), package),
        events={
            event: _process(file, f"event.{event}", text_in(file, events, event, f"event.{event}"), package)
            for event in EVENTS
            if events.get(event) is not None
        },
    )


# -- finding a function -------------------------------------------------------------------------------


def _process(file: Path, field: str, name: str, package: ModuleType) -> Process:
    """The function that a process is; raises ``InvalidInput`` if there is none, or it is not to be called so."""
    path, _, word = name.rpartition(".")
    tried = [f"{package.__name__}.{path}", path] if path else []
    words = list(dict.fromkeys((word, _WORD_BREAK.sub("_", word).lower())))
    for module in filter(None, map(_imported, tried)):
        for found in (getattr(module, word, None) for word in words):
            if callable(found):
                return _callable_as(file, field, name, found)
    expected = " or ".join(f"{module}.{word}" for module in tried for word in words) or "module.function"
    raise wrong(file, field, f"a function that is there: {expected}", name, "write the function, or correct the name")


def _imported(name: str) -> ModuleType | None:
    """A module, if there is one of that name; what is wrong inside of it is raised."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise


_CALLED_WITH = {
    "process": ("id",),  # and whatever was added, which only the job knows
    "event.next": (),
    "event.add": ("id",),
    "event.success": ("id", "response"),
    "event.error": ("id", "error"),
    "event.progress": ("id", "current", "total", "message"),
}


def _callable_as(file: Path, field: str, name: str, function: Process) -> Process:
    if inspect.iscoroutinefunction(function):
        raise wrong(file, field, "a plain function", f"{name}, an async one", "call asyncio.run inside it")
    arguments = _CALLED_WITH[field]
    try:
        signature = inspect.signature(function)
        (signature.bind_partial if field == "process" else signature.bind)(*arguments)
    except TypeError as error:
        called = f"({', '.join(arguments)}{', *args' if field == 'process' else ''})"
        raise wrong(file, field, f"a function that takes {called}", f"{name}: {error}", "change it") from error
    return function


# -- what is declared ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Order:
    """The input of a pool's task, parsed as that of any other: by what looks like a pydantic model."""

    args: Sequence[Any]

    @classmethod
    def model_validate(cls, value: Any) -> _Order:
        """Raises ``InvalidInput`` for an input that no pool has made."""
        args = value.get("args") if isinstance(value, dict) else None
        if not isinstance(args, list):
            raise InvalidInput("a job of a pool has arguments", field="input.args", expected="a list")
        return cls(args)


def _handler(pool: Pool) -> Any:
    """The handler of the pool's tasks."""

    def run(order: _Order, context: Any) -> Any:
        return pool.process(id_of(context.job), *order.args)

    declare = task(
        pool.type,
        pool=pool.type,
        lanes=(Band.NORMAL,),
        timeout_s=pool.timeout_s,
        max_attempts=pool.attempts,
        backoff=Fixed(pool.attempt_after_ms),
        concurrency=pool.worker_nums,
        size=pool.size,
        order=Order.STEP_ASIDE if pool.worker_nums == 1 else None,
    )
    return marking(Mark("pool", pool.name, {"pool": pool}))(declare(_named(run, pool, "process")))


def _hooks(pool: Pool) -> list[Any]:
    """A hook for each of the pool's events but ``next``, which is asked and not told."""

    def added(event: JobEvent) -> None:
        pool.events["add"](id_of(event.job))

    def succeeded(event: JobEvent) -> None:
        pool.events["success"](id_of(event.job), event.output())

    def failed(event: JobEvent) -> None:
        pool.events["error"](id_of(event.job), error_text(event.job))

    def progressed(event: JobEvent) -> None:
        told = event.detail
        pool.events["progress"](id_of(event.job), told["current"], told["total"], told["message"])

    told = {
        "add": (EventType.CREATE, added),
        "success": (EventType.COMPLETE, succeeded),
        "error": (EventType.FAILED, failed),
        "progress": (EventType.PROGRESS, progressed),
    }
    return [
        on(what, pool.type)(_named(hook, pool, event)) for event, (what, hook) in told.items() if event in pool.events
    ]


def error_text(job: Job) -> str:
    """Why a job failed, in words."""
    return job.error.message if job.error is not None else ""


def _named(function: Any, pool: Pool, event: str) -> Any:
    """``function`` under a name that survives a restart and is no other's."""
    function.__qualname__ = f"{pool.type}.{event}"
    setattr(function, SOURCE, pool.process if event == "process" else pool.events[event])
    return function

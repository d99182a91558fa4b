"""How users say what runs: ``@task``, ``@subscribe``, ``@backoff``, and the registry that collects them.

The decorators only mark a function; nothing is global. ``Registry.of_packages`` imports the modules of packages
(``chalicelib.tasks``) and gathers the marks, so a handler is found by where it lives, and a test may make a
registry of its own from whatever functions it likes.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any, TypeVar

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import ATTEMPTS_MAX
from chalicelib.core.lanes import DEFAULT_BANDS, Band, soonest_first
from chalicelib.core.retry import Backoff, BackoffFunction

DEFAULT_POOL = "default"
MARK = "__taskyard__"

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Handler:
    """One declared handler. ``name`` is what a task calls its type, or a message its topic."""

    name: str
    queue: str
    bands: tuple[Band, ...]
    function: Callable[..., Any]
    timeout_ms: int | None
    max_attempts: int | None
    backoff: Backoff | None
    input_model: Any  # a pydantic model, or None for plain JSON
    wants_context: bool

    @property
    def label(self) -> str:
        """Which function this is, in words that survive a restart."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def parse(self, value: Any) -> Any:
        """The job's input as the handler takes it; raises ``InvalidInput`` naming the first field at fault."""
        if self.input_model is None:
            return value
        from pydantic import ValidationError

        try:
            return self.input_model.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            absent = first["type"] == "missing"
            raise InvalidInput(
                f"{self.name} cannot take this input",
                field=".".join(str(step) for step in ("input", *first["loc"])),
                expected="a value" if absent else first["msg"].removeprefix("Input should be "),
                got="none" if absent else first["input"],
            ) from error


@dataclass(frozen=True, slots=True)
class _Mark:
    role: str  # "task", "subscriber" or "backoff"
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def task(
    type: str,  # noqa: A002  # the word of every dialect for it
    *,
    pool: str = DEFAULT_POOL,
    lanes: Sequence[Band] = DEFAULT_BANDS,
    timeout_s: float | None = None,
    max_attempts: int | None = None,
    backoff: Backoff | None = None,
) -> Callable[[Function], Function]:
    """Declare the handler of a task type.

    The function takes the input (a plain JSON value, or a pydantic model if its first parameter is annotated
    with one) and, if it has a second parameter, the ``Context`` of the run. What it returns is the output.

    ``pool`` is the queue that the type shares with others; ``lanes`` its priority bands (one to five);
    ``timeout_s`` the seconds an attempt may take; ``max_attempts`` (1 to 100) and ``backoff`` hold where a job
    names none of its own.
    """
    return _marking(_Mark("task", type, _options(pool, lanes, timeout_s, max_attempts, backoff)))


def subscribe(
    topic: str,
    *,
    lanes: Sequence[Band] = DEFAULT_BANDS,
    timeout_s: float | None = None,
    max_attempts: int | None = None,
    backoff: Backoff | None = None,
) -> Callable[[Function], Function]:
    """Declare a subscriber of a topic; the parameters are those of ``task``.

    A topic may have several: a message completes when all of them have succeeded, and a retry runs only those
    that have not.
    """
    return _marking(_Mark("subscriber", topic, _options(topic, lanes, timeout_s, max_attempts, backoff)))


def backoff(name: str) -> Callable[[Function], Function]:
    """Register a backoff function: from the number of the retry (from 1) to the wait before it, in milliseconds."""
    return _marking(_Mark("backoff", name))


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that is declared: handlers by task type and topic, backoff functions, queues with their lanes."""

    tasks: Mapping[str, Handler] = field(default_factory=dict)
    subscribers: Mapping[str, tuple[Handler, ...]] = field(default_factory=dict)
    backoffs: Mapping[str, BackoffFunction] = field(default_factory=dict)
    queues: Mapping[str, tuple[Band, ...]] = field(default_factory=lambda: {DEFAULT_POOL: DEFAULT_BANDS})

    @classmethod
    def of_packages(cls, packages: Sequence[ModuleType]) -> Registry:
        """The registry of all that the modules of ``packages`` declare; imports them. A package may be one module."""
        modules = [
            module
            for package in packages
            for module in (
                [import_module(found.name) for found in walk_packages(package.__path__, f"{package.__name__}.")]
                if hasattr(package, "__path__")
                else [package]
            )
        ]
        functions = [
            value
            for module in modules
            for value in vars(module).values()
            if getattr(value, "__module__", "") == module.__name__
        ]
        return cls.of(functions)

    @classmethod
    def of(cls, functions: Iterable[Any]) -> Registry:
        """The registry of what is declared among ``functions``; the rest is passed over.

        Raises ``InvalidInput`` where two declarations contradict each other.
        """
        tasks: dict[str, Handler] = {}
        subscribers: dict[str, tuple[Handler, ...]] = {}
        backoffs: dict[str, BackoffFunction] = {}
        queues: dict[str, tuple[Band, ...]] = {DEFAULT_POOL: DEFAULT_BANDS}
        for function in functions:
            for mark in vars(function).get(MARK, ()) if callable(function) and hasattr(function, "__dict__") else ():
                if mark.role == "backoff":
                    _refuse_twins("two functions are one backoff", mark.name, backoffs.get(mark.name), function)
                    backoffs[mark.name] = function
                    continue
                handler = _handler(function, mark)
                _declare_queue(queues, handler)
                if mark.role == "subscriber":
                    known = subscribers.get(mark.name, ())
                    twin = next((other for other in known if other.label == handler.label), None)
                    _refuse_twins(
                        "two subscribers of one topic have one name",
                        mark.name,
                        twin.function if twin else None,
                        function,
                    )
                    subscribers[mark.name] = (*known, handler)
                else:
                    _refuse_twins(
                        "two handlers declare one task type",
                        mark.name,
                        tasks[mark.name].function if mark.name in tasks else None,
                        function,
                    )
                    tasks[mark.name] = handler
        return cls(tasks, subscribers, backoffs, queues)

    def backoff_function(self, name: str) -> BackoffFunction:
        """The function registered as ``name``; raises ``InvalidInput`` if there is none."""
        if name not in self.backoffs:
            raise InvalidInput(
                "no such backoff function is registered",
                field="backoff",
                expected=" or ".join(sorted(self.backoffs)) or "one declared with @backoff(name)",
                got=name,
            )
        return self.backoffs[name]


def _marking(mark: _Mark) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        setattr(function, MARK, (*getattr(function, MARK, ()), mark))
        return function

    return decorate


def _options(
    queue: str,
    lanes: Sequence[Band],
    timeout_s: float | None,
    max_attempts: int | None,
    backoff: Backoff | None,
) -> dict[str, Any]:
    if not 1 <= len(set(lanes)) <= len(Band):
        raise InvalidInput("a queue has one to five lanes", field="lanes", got=lanes)
    if timeout_s is not None and timeout_s <= 0:
        raise InvalidInput("a time-out must be positive", field="timeout_s", got=timeout_s)
    if max_attempts is not None and not 1 <= max_attempts <= ATTEMPTS_MAX:
        raise InvalidInput("too few or too many attempts", field="max_attempts", expected="1 to 100", got=max_attempts)
    return {
        "queue": queue,
        "bands": tuple(soonest_first(lanes)),
        "timeout_ms": None if timeout_s is None else round(timeout_s * 1_000),
        "max_attempts": max_attempts,
        "backoff": backoff,
    }


def _handler(function: Callable[..., Any], mark: _Mark) -> Handler:
    everything = inspect.signature(function).parameters.values()
    parameters = [p for p in everything if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in everything if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if required or not 1 <= len(parameters) <= 2:
        raise InvalidInput(
            "a handler takes the input and, if it likes, the context",
            field=function.__qualname__,
            expected="one or two parameters",
            got=len(parameters),
        )
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise InvalidInput(
            "a handler is a plain function",
            field=function.__qualname__,
            expected="def that returns its result",
            got="async def" if inspect.iscoroutinefunction(function) else "a generator",
            remedy="call asyncio.run inside it",
        )
    annotation = typing.get_type_hints(function).get(parameters[0].name)
    model = annotation if hasattr(annotation, "model_validate") else None
    return Handler(mark.name, function=function, input_model=model, wants_context=len(parameters) == 2, **mark.options)


def _refuse_twins(problem: str, name: str, first: Any, second: Any) -> None:
    """Raise ``InvalidInput`` if there was a ``first`` already: nobody could tell which is meant."""
    if first is not None:
        labels = [f"{found.__module__}.{found.__qualname__}" for found in (first, second)]
        raise InvalidInput(problem, field=name, expected="one", got=" and ".join(labels))


def _declare_queue(queues: dict[str, tuple[Band, ...]], handler: Handler) -> None:
    declared = queues.setdefault(handler.queue, handler.bands)
    if declared != handler.bands:
        raise InvalidInput(
            "handlers of one queue declare different lanes",
            field=handler.queue,
            expected=", ".join(declared),
            got=", ".join(handler.bands),
        )

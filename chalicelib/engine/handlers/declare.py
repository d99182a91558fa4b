"""How users say what runs: ``@task``, ``@subscribe``, ``@on_success``, ``@on`` and ``@backoff``.

The decorators only mark a function; nothing is global. ``registry.py`` gathers the marks of the modules of packages
(``chalicelib.tasks``), so a handler is found by where it lives, and a test may make a registry of its own from
whatever functions it likes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chalicelib.core.batch import Batch
from chalicelib.core.errors import InvalidInput
from chalicelib.core.expectations import fault_of, place_of
from chalicelib.core.flow import NO_FLOW, Debounce, Flow, Key, PerKey, Rate, Unique, checked_flow
from chalicelib.core.job_events import EventType
from chalicelib.core.lanes import DEFAULT_BANDS, Band
from chalicelib.core.limits import Limit
from chalicelib.core.retry import Backoff
from chalicelib.engine.handlers.options import (
    checked_event,
    checked_limit,
    checked_line,
    checked_options,
)
from chalicelib.engine.handlers.signatures import annotation_of, inputs_of, label_of, positional_parameters

DEFAULT_POOL = "default"
DEFAULT_SCRIPT = "index"
SCRIPT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
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
    input_model: Any  # a pydantic model, or None for plain JSON; of batches, that of each input
    wants_context: bool
    script: str = DEFAULT_SCRIPT  # which of the handlers of a task type
    limit: Limit | None = None  # of a task type, across all workers of a deployment
    light: bool = False  # runs without a claim: see engine/worker/light.py
    flow: Flow = NO_FLOW  # how its jobs may follow one another
    batch: Batch | None = None  # it takes lists of inputs and contexts: see engine/worker/together.py

    @property
    def label(self) -> str:
        """Which function this is, in words that survive a restart."""
        return label_of(self.function)

    def parse(self, value: Any) -> Any:
        """The job's input as the handler takes it; raises ``InvalidInput`` naming the first field at fault."""
        if self.input_model is None:
            return value
        from pydantic import ValidationError

        try:
            return self.input_model.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            expected, got = fault_of(first)
            raise InvalidInput(
                f"{self.name} cannot take this input", field=place_of(first, "input"), expected=expected, got=got
            ) from error


@dataclass(frozen=True, slots=True)
class Hook:
    """A function that is told of what happens to jobs: of one type (or topic), or of all if ``type`` is ``None``."""

    what: EventType
    type: str | None
    function: Callable[..., Any]

    @property
    def label(self) -> str:
        """Which function this is, in words that survive a restart."""
        return label_of(self.function)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a decorator notes on a function: its role (``task``, ``subscriber``, ``on_success``, ``hook``,
    ``backoff``, ``pool``), the name it is declared for, and the options given with it."""

    role: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def task(
    type: str,  # noqa: A002  # the word of every dialect for it
    *,
    script: str = DEFAULT_SCRIPT,
    pool: str = DEFAULT_POOL,
    lanes: Sequence[Band] = DEFAULT_BANDS,
    timeout_s: float | None = None,
    max_attempts: int | None = None,
    backoff: Backoff | str | None = None,
    concurrency: int | None = None,
    size: int | None = None,
    light: bool = False,
    key: Key | None = None,
    per_key: PerKey | None = None,
    rate: Rate | None = None,
    order: str | None = None,
    unique: Unique | None = None,
    debounce: Debounce | None = None,
    batch: Batch | None = None,
) -> Callable[[Function], Function]:
    """Declare the handler of a task type.

    The function, which may be ``async``, takes the input (a plain JSON value, or a pydantic model if its first
    parameter is annotated with one) and, if it has a second parameter, the ``Context`` of the run. What it returns is
    the output.

    A type may have several handlers; a task's ``scriptName`` says which runs it, ``index`` if it names none.
    ``pool`` is the queue that the type shares with others; ``lanes`` its priority bands (one to five);
    ``timeout_s`` the seconds an attempt may take (0.001 to a day); ``max_attempts`` (1 to 100) and ``backoff`` (one of
    ``core.retry``, or the name of a function declared with ``@backoff``) hold where a job names none of its own.
    ``concurrency`` (1 to 1,000) is how many tasks of the type run at the same time in the whole deployment, ``size``
    (1 to 1,000,000) how many may be unfinished; ``None`` is no limit.

    ``key`` is what tasks have in common, a path (``"input.customerId"``) or a function of the input; ``per_key`` bounds
    those of each key, ``rate`` all tasks of the type. With an ``order`` those of a key, or without one all, run one at
    a time as they were accepted. ``unique`` answers a request with the task like it that is there, ``debounce`` lets
    the newest of several run. docs/flow-control.md tells of each.

    With ``light`` the type's tasks cost a third of the requests: they run without being claimed first, and successes
    are recorded ten at a time. A duplicate delivery may then run beside the first, and nobody sees the task running;
    everything else holds (docs/handlers.md). It is for handlers that take milliseconds and may run twice, and
    cannot go with a limit.

    With a ``batch`` the function takes a list of inputs, each through the model of ``list[Model]``, and, if it has a
    second parameter, the list of their contexts. It returns a result for each in order, where an exception is the
    failure of that one alone, or ``None`` for nothing to tell of any; what it raises is the failure of all.
    """
    if not isinstance(script, str) or SCRIPT_NAME.fullmatch(script) is None:
        expected = "1 to 64 letters, digits, _ and -"
        raise InvalidInput("no script has such a name", field="script", expected=expected, got=script)
    flow = checked_flow(key, per_key, rate, order, unique, debounce)
    options = checked_options(
        checked_line("task", "pool", pool), lanes, timeout_s, max_attempts, backoff, light, flow, batch
    )
    limit = checked_limit(concurrency, size)
    if light and limit is not None:
        expected = "light=True without concurrency and size"
        raise InvalidInput("a type with a limit cannot be light", field="light", expected=expected, got="both")
    return marking(Mark("task", checked_line("task", "type", type), {**options, "script": script, "limit": limit}))


def subscribe(
    topic: str,
    *,
    lanes: Sequence[Band] = DEFAULT_BANDS,
    timeout_s: float | None = None,
    max_attempts: int | None = None,
    backoff: Backoff | str | None = None,
    light: bool = False,
    key: Key | None = None,
    per_key: PerKey | None = None,
    rate: Rate | None = None,
    order: str | None = None,
    unique: Unique | None = None,
    debounce: Debounce | None = None,
    batch: Batch | None = None,
) -> Callable[[Function], Function]:
    """Declare a subscriber of a topic; the parameters are those of ``task``.

    A topic may have several: a message completes when all of them have succeeded, and a retry runs only those
    that have not. A message is light (see ``task``) if all its subscribers are. How messages may follow one another the
    first subscriber says that says something of it. All subscribers of a topic take the same batches, or none does.
    """
    checked_line("subscribe", "topic", topic)
    flow = checked_flow(key, per_key, rate, order, unique, debounce)
    options = checked_options(topic, lanes, timeout_s, max_attempts, backoff, light, flow, batch)
    return marking(Mark("subscriber", topic, options))


def on_success(type: str) -> Callable[[Function], Function]:  # noqa: A002  # as above
    """Declare what is called once a task of a type has its result, before the task counts as done.

    The function takes the result and, if it has a second parameter, the ``Context``. It may be called again after a
    crash. If it raises, the task becomes failed and keeps its output (fastify-task's completion handler). It is called
    whether a handler, a person or a callback completed the task.
    """
    return marking(Mark("on_success", checked_line("on_success", "type", type)))


def on(what: str, type: str | None = None) -> Callable[[Function], Function]:  # noqa: A002  # as above
    """Declare a function that is told when something happens to a job of a type or topic; ``None``: of any.

    ``what`` is a word of ``core.job_events.EventType``: enqueue, promotion, progress, failed attempt, failed, complete,
    remove, and others. The function takes the ``JobEvent``. It is told at least once and, for one job, in order; what
    it raises is logged and changes nothing.
    """
    kind = None if type is None else checked_line("on", "type", type)
    return marking(Mark("hook", kind or "", {"what": checked_event(what), "type": kind}))


def backoff(name: str) -> Callable[[Function], Function]:
    """Register a backoff function: from the number of the retry (from 1) to the wait before it, in milliseconds.

    If it has a second parameter, that is the job's own delay in milliseconds, 0 if it has none. Where it raises, or
    answers no number, the wait is that of a task or message without any backoff.
    """
    return marking(Mark("backoff", checked_line("backoff", "name", name)))


def marking(mark: Mark) -> Callable[[Function], Function]:
    """The decorator that notes a mark on a function."""

    def decorate(function: Function) -> Function:
        setattr(function, MARK, (*getattr(function, MARK, ()), mark))
        return function

    return decorate


def marks_of(value: Any) -> tuple[Mark, ...]:
    """What is declared with a function; nothing for any other value."""
    marks: tuple[Mark, ...] = vars(value).get(MARK, ()) if callable(value) and hasattr(value, "__dict__") else ()
    return marks


def handler_of(function: Callable[..., Any], mark: Mark) -> Handler:
    """The handler that a ``task`` or ``subscriber`` mark makes of a function.

    Raises ``InvalidInput`` for a function that cannot be one.
    """
    parameters = positional_parameters(function, "a handler takes the input and, if it likes, the context", most=2)
    annotation = annotation_of(function, parameters[0])
    if mark.options["batch"] is not None:
        annotation = inputs_of(function, annotation)
    model = annotation if hasattr(annotation, "model_validate") else None
    return Handler(mark.name, function=function, input_model=model, wants_context=len(parameters) == 2, **mark.options)

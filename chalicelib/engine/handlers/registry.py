"""The handlers of this installation: everything that the modules of ``TASKYARD_HANDLERS`` declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from inspect import iscoroutinefunction
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chalicelib import settings
from chalicelib.core.batch import Batch, gathered
from chalicelib.core.errors import InvalidInput, TooLarge
from chalicelib.core.lanes import DEFAULT_BANDS, Band
from chalicelib.core.limits import Limit
from chalicelib.core.retry import BackoffFunction
from chalicelib.core.schedules import Schedule
from chalicelib.engine.handlers.declare import DEFAULT_POOL, DEFAULT_SCRIPT, Handler, Hook, Mark, handler_of, marks_of
from chalicelib.engine.handlers.declared import declarations
from chalicelib.engine.handlers.importing import by_place
from chalicelib.engine.handlers.pool_files import Pool
from chalicelib.engine.handlers.schedules import schedules_of
from chalicelib.engine.handlers.signatures import label_of, place_of, positional_parameters
from chalicelib.settings import Settings

if TYPE_CHECKING:  # loaded where a topic is bridged
    from chalicelib.core.kafka import Outward

_BACKOFF_RULE = "a backoff function takes the number of the retry and, if it likes, the job's delay in ms"


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that is declared.

    ``scripts`` are the handlers of task types, by type and script name; ``tasks`` the first of each type, which speaks
    for the type; ``subscribers`` those of topics; ``completions`` what is called with a type's results; ``queues`` the
    lanes of every consumed queue; ``pools`` those that definition files declare, by name.
    """

    tasks: Mapping[str, Handler] = field(default_factory=dict)
    subscribers: Mapping[str, tuple[Handler, ...]] = field(default_factory=dict)
    backoffs: Mapping[str, BackoffFunction] = field(default_factory=dict)
    queues: Mapping[str, tuple[Band, ...]] = field(default_factory=lambda: {DEFAULT_POOL: DEFAULT_BANDS})
    scripts: Mapping[tuple[str, str], Handler] = field(default_factory=dict)
    completions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    hooks: tuple[Hook, ...] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)

    @classmethod
    def of_packages(cls, packages: Sequence[ModuleType], outward: Iterable[Outward] = ()) -> Registry:
        """The registry of all that ``declarations`` finds in ``packages``; raises as it does, and as ``of``."""
        return cls.of(declarations(packages), outward)

    @classmethod
    def of(cls, functions: Iterable[Any], outward: Iterable[Outward] = ()) -> Registry:
        """The registry of what is declared among ``functions``; the rest is passed over.

        Each topic that goes ``outward`` to Kafka has one subscriber more.

        Raises ``InvalidInput``, naming file and line, for a function that cannot be what it is declared as, and where
        two declarations contradict each other.
        """
        gathering = _Gathering()
        for function in functions:
            try:
                for mark in marks_of(function):
                    gathering.take(function, mark)
                gathering.take_schedules(function)
            except (InvalidInput, TooLarge) as error:
                error.message = f"{error.message} ({place_of(function)})"
                raise
        for bridged in outward:
            gathering.take_outward(bridged)
        return gathering.registry()

    def handler(self, type: str, script: str | None) -> Handler | None:  # noqa: A002  # every dialect's word for it
        """What runs a task of a type and a script name (``None``: index); ``None`` if nothing does."""
        return self.scripts.get((type, script or DEFAULT_SCRIPT))

    def limit_of(self, type: str) -> Limit | None:  # noqa: A002  # as above
        """The limit of a task type, if it has one."""
        handler = self.tasks.get(type)
        return handler.limit if handler is not None else None

    @property
    def served(self) -> dict[str, tuple[Band, ...]]:
        """Of ``queues``, those whose jobs some handler runs."""
        subscribers = (each for handlers in self.subscribers.values() for each in handlers)
        served = {handler.queue for handler in (*self.scripts.values(), *subscribers)}
        return {queue: bands for queue, bands in self.queues.items() if queue in served}

    @property
    def light(self) -> list[str]:
        """The task types and topics whose jobs run without a claim."""
        types = {name for (name, _), handler in self.scripts.items() if handler.light}
        topics = {name for name, handlers in self.subscribers.items() if all(each.light for each in handlers)}
        return sorted(types | topics)

    @property
    def batches(self) -> dict[str, Batch]:
        """What is gathered in the queues whose handlers take batches, for all of a queue's handlers together."""
        handlers = [*self.scripts.values(), *(each for topic in self.subscribers.values() for each in topic)]
        found: dict[str, list[Batch]] = {}
        for handler in handlers:
            if handler.batch is not None:
                found.setdefault(handler.queue, []).append(handler.batch)
        return {queue: gathered(of_queue) for queue, of_queue in found.items()}

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

    def wait_function(self, name: str, delay_ms: int) -> Callable[[int], float]:
        """The function registered as ``name``, for a job that was published with a delay; raises as above."""
        function = self.backoff_function(name)
        more = (delay_ms,) if len(positional_parameters(function, _BACKOFF_RULE, most=2)) == 2 else ()
        return lambda retry: function(retry, *more)


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The declared handlers, collected at first use."""
    return registry_of(settings.current())


def registry_of(chosen: Settings) -> Registry:
    """The handlers that the packages of some settings declare; imports them.

    Raises ``InvalidInput`` naming file and line where one cannot be imported, or two contradict each other.
    """
    names = names_of(chosen)
    with by_place(names):
        packages = [import_module(name) for name in names]
    return Registry.of_packages(packages, outward_of(chosen))


def outward_of(chosen: Settings) -> tuple[Outward, ...]:
    """The topics that go to Kafka. Raises ``InvalidInput`` where the settings do not say which, or where Kafka is.

    An installation that bridges nothing loads nothing for it.
    """
    if not chosen.kafka_topics:
        return ()
    from chalicelib.engine.handlers.bridged import bridged
    from chalicelib.queue.kafka import properties

    found = bridged(chosen).outward
    if found:
        properties(chosen.kafka)
    return found


def names_of(chosen: Settings) -> list[str]:
    """The packages, or single modules, that settings name as those with handlers."""
    return [name.strip() for name in chosen.handlers.split(",")]


@dataclass(slots=True)
class _Gathering:
    """The marks met so far, by what they declare."""

    scripts: dict[tuple[str, str], Handler] = field(default_factory=dict)
    subscribers: dict[str, tuple[Handler, ...]] = field(default_factory=dict)
    completions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    backoffs: dict[str, BackoffFunction] = field(default_factory=dict)
    hooks: list[Hook] = field(default_factory=list)
    pools: dict[str, Pool] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    scheduled: dict[str, Callable[..., Any]] = field(default_factory=dict)  # the function beside which each stands
    queues: dict[str, tuple[Band, ...]] = field(default_factory=lambda: {DEFAULT_POOL: DEFAULT_BANDS})

    def take(self, function: Any, mark: Mark) -> None:
        """Add what one mark declares; raises ``InvalidInput`` where it contradicts what is known."""
        match mark.role:
            case "task":
                self._take_task(handler_of(function, mark))
            case "subscriber":
                self._take_subscriber(handler_of(function, mark))
            case "on_success":
                positional_parameters(function, "it takes the result and, if it likes, the context", most=2)
                _refuse_twins("two functions complete one task type", mark.name, self.completions, mark.name, function)
                self.completions[mark.name] = function
            case "hook":
                positional_parameters(function, "a hook takes the event", most=1)
                self.hooks.append(Hook(function=function, **mark.options))
            case "pool":
                self.pools[mark.name] = mark.options["pool"]
            case "backoff":
                positional_parameters(function, _BACKOFF_RULE, most=2)
                _refuse_coroutine(function)
                _refuse_twins("two functions are one backoff", mark.name, self.backoffs, mark.name, function)
                self.backoffs[mark.name] = function

    def registry(self) -> Registry:
        """All that was met."""
        tasks: dict[str, Handler] = {}
        for (name, script), handler in self.scripts.items():
            if name not in tasks or script == DEFAULT_SCRIPT:
                tasks[name] = handler
        return Registry(
            tasks,
            self.subscribers,
            self.backoffs,
            self.queues,
            self.scripts,
            self.completions,
            tuple(self.hooks),
            self.pools,
            self.schedules,
        )

    def take_schedules(self, function: Any) -> None:
        """Add the schedules beside a handler; raises ``InvalidInput`` for one that can be none."""
        for schedule in schedules_of(function):
            _refuse_twins(
                "two schedules have one name, where each needs a name=... of its own",
                schedule.name,
                self.scheduled,
                schedule.name,
                function,
            )
            self.schedules[schedule.name] = schedule
            self.scheduled[schedule.name] = function

    def take_outward(self, bridged: Outward) -> None:
        """Add the subscriber that sends a topic to Kafka, as the topic's own subscribers are."""
        from chalicelib.engine.handlers.outward import batch_of, subscriber

        others = self.subscribers.get(bridged.topic, ())
        batch = others[0].batch if others else batch_of(bridged)
        self._take_subscriber(subscriber(bridged, self.queues.get(bridged.topic, DEFAULT_BANDS), batch))

    def _take_task(self, handler: Handler) -> None:
        key = (handler.name, handler.script)
        known = {key: found.function for key, found in self.scripts.items()}
        _refuse_twins("two handlers declare one task type", handler.name, known, key, handler.function)
        for (name, _), other in self.scripts.items():
            ours, others = (handler.queue, handler.limit, handler.flow), (other.queue, other.limit, other.flow)
            if name == handler.name and ours != others:
                raise InvalidInput(
                    "the scripts of one task type declare different pools, limits or flows",
                    field=handler.name,
                    expected=", ".join(map(str, others)),
                    got=", ".join(map(str, ours)),
                )
        self._declare_queue(handler)
        self.scripts[key] = handler

    def _take_subscriber(self, handler: Handler) -> None:
        known = self.subscribers.get(handler.name, ())
        twins = {other.label: other.function for other in known}
        _refuse_twins(
            "two subscribers of one topic have one name", handler.name, twins, handler.label, handler.function
        )
        if known and known[0].batch != handler.batch:
            raise InvalidInput(
                "the subscribers of one topic take different batches",
                field=handler.name,
                expected=str(known[0].batch),
                got=str(handler.batch),
            )
        self._declare_queue(handler)
        self.subscribers[handler.name] = (*known, handler)

    def _declare_queue(self, handler: Handler) -> None:
        declared = self.queues.setdefault(handler.queue, handler.bands)
        if declared != handler.bands:
            raise InvalidInput(
                "handlers of one queue declare different lanes",
                field=handler.queue,
                expected=", ".join(declared),
                got=", ".join(handler.bands),
            )


def _refuse_coroutine(function: Any) -> None:
    if iscoroutinefunction(function):
        raise InvalidInput(_BACKOFF_RULE, field=label_of(function), expected="a plain function", got="async def")


def _refuse_twins(problem: str, name: str, known: Mapping[Any, Any], key: Any, second: Any) -> None:
    """Raise ``InvalidInput`` if ``key`` is known already: nobody could tell which is meant."""
    if key in known:
        first = known[key]
        raise InvalidInput(
            f"{problem}: {label_of(first)} ({place_of(first)}) and {label_of(second)}", field=name, expected="one"
        )

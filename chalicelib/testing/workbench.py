"""The workbench: an installation in this process, without network, on which a test runs handlers and whole flows.

    with Workbench(my_handlers) as bench:
        task = bench.create("image.resize", {"key": "a.png", "width": 80})
        bench.run()
        assert bench.task(task).output == {"key": "small/a.png"}

Everything is the real service, from the publish to the settling; only AWS is moto, and the time is the bench's: it
stands still until the test moves it. The services (``chalicelib.services``) act on the bench within the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType, TracebackType
from typing import Any, TypeAlias
from unittest.mock import patch

from chalicelib import aws
from chalicelib.core.errors import Conflict, InvalidInput
from chalicelib.core.job import SYSTEM, Job
from chalicelib.core.job_events import JobEvent, events_of
from chalicelib.core.states import Kind
from chalicelib.engine.handlers.declare import Handler
from chalicelib.engine.handlers.declared import declarations
from chalicelib.engine.handlers.registry import Registry, registry
from chalicelib.engine.projections import events as hooks
from chalicelib.engine.projections.project import Change
from chalicelib.engine.worker.context import Context
from chalicelib.engine.yard import Yard, build
from chalicelib.functions.events import changes_by_shard
from chalicelib.services import installation, messages, pools, tasks
from chalicelib.services.pools import PoolOfTasks
from chalicelib.services.records import Message, Task
from chalicelib.settings import Settings
from chalicelib.testing import cloud
from chalicelib.testing.attempts import Attempt, attempts_in
from chalicelib.testing.calls import Call, Circumstances, call
from chalicelib.testing.clock import START_MS, MovableClock
from chalicelib.testing.deaths import At, Deaths
from chalicelib.testing.world import Posted, Restless, World

ROUNDS_MAX = 1_000  # in one go; more is a flow that never comes to rest
SETTINGS = Settings(index_shards=1)

Declared: TypeAlias = ModuleType | Callable[..., Any]
Which: TypeAlias = Task | Message | int | str
"""A task or a message, or its id as a number or as digits."""

_open: list[Workbench] = []  # none or one: a second one would share the first one's tables


class Workbench:
    """One installation in this process. Use it as a context manager; within the block, services act on it.

    ``declared``: the packages, modules and functions whose handlers it has; without any, those of
    ``TASKYARD_HANDLERS``. ``settings``: by default all defaults. ``at``: the aware time at which the clock stands.
    One at a time in a process.
    """

    def __init__(self, *declared: Declared, settings: Settings | None = None, at: datetime | None = None) -> None:
        self._declared = declared
        self._settings = settings or SETTINGS
        self._clock = MovableClock(START_MS if at is None else round(at.timestamp() * 1_000))
        self._deaths = Deaths()
        self._resources = ExitStack()
        self._world: World | None = None
        self._reported = 0  # how many records of the stream `run` has told of

    def __enter__(self) -> Workbench:
        if _open:
            raise Conflict(
                "another workbench is open in this process",
                expected="one at a time",
                remedy="close it first, or give its fixture a narrower scope",
            )
        handlers = self._deaths.watched(_registry_of(self._declared))
        with ExitStack() as resources:
            resources.enter_context(cloud.cloud(self._settings, handlers.queues, self._clock))
            hooks._remembered.cache_clear()  # those of the bench before, whose clock may stand at the same moment
            exits: list[int] = []
            yard = build(handlers, self._settings, now_ms=self._clock, exit_process=exits.append)
            self._world = World(yard, self._clock, handlers, aws.client("sqs"), dict(cloud.queues()), exits)
            resources.enter_context(installation.using(yard))
            self._resources = resources.pop_all()
        _open.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._world = None
        _open.remove(self)
        self._resources.close()

    # -- what clients do ------------------------------------------------------------------------

    def create(
        self,
        type: str,  # noqa: A002  # every dialect's word for it
        input: Any = None,  # noqa: A002  # likewise
        *,
        target_id: str = "1",
        target_type: str = "test",
        runner_type: str = SYSTEM,
        **more: Any,
    ) -> Task:
        """Create a task; it runs when the bench does. The parameters, and what is raised: ``services.tasks.create``."""
        return tasks.create(
            type, input=input, target_id=target_id, target_type=target_type, runner_type=runner_type, **more
        )

    def publish(self, topic: str, payload: Mapping[str, Any], **more: Any) -> Message:
        """Publish a message; the parameters are those of ``services.messages.publish``."""
        return messages.publish(topic, payload, **more)

    def pool(self, name: str) -> PoolOfTasks:
        """A pool by its name: ``services.pools.pool``."""
        return pools.pool(name)

    # -- time -----------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The time on the bench, in UTC."""
        return datetime.fromtimestamp(self._clock.ms / 1_000, UTC)

    @property
    def clock(self) -> MovableClock:
        """The bench's clock, in milliseconds. Moving it runs nothing: for what a handler itself takes."""
        return self._clock

    def run(self) -> list[Attempt]:
        """Run everything that is due at this moment, and what follows from it, until nothing is left to do now.

        Returns the attempts that ended, in order. Raises ``Restless`` for a flow that feeds itself for ever.
        """
        self._rest()
        return self._ended()

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0, ms: float = 0
    ) -> list[Attempt]:
        """Let time pass and run everything at its moment; returns the attempts that ended, in order.

        Retries, delays, leases and hidden messages obey the same clock. What is due already runs first.
        """
        step = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=ms)
        until_ms = self._clock.ms + round(step / timedelta(milliseconds=1))
        self._rest()
        while (next_ms := self._world_now().next_event_ms()) is not None and next_ms <= until_ms:
            self._clock.ms = max(self._clock.ms, next_ms)
            self._rest()
        self._clock.ms = until_ms
        self._world_now().tick()
        self._rest()
        return self._ended()

    def finish(self, within: timedelta = timedelta(days=365)) -> list[Attempt]:
        """Let as much time pass as it takes until nothing will happen any more, at most ``within``.

        Returns the attempts that ended. What waits for a person or a callback is not waited for, nor are slots of
        schedules, which may come for ever: let them come with ``advance``.
        """
        until_ms = self._clock.ms + round(within / timedelta(milliseconds=1))
        self._rest(slots=False)
        while (next_ms := self._world_now().next_event_ms(slots=False)) is not None:
            if next_ms > until_ms:
                raise Restless("something is still to come", expected=f"an end within {within}", got=self.now)
            self._clock.ms = max(self._clock.ms, next_ms)
            self._rest(slots=False)
        return self._ended()

    # -- what there is to see -------------------------------------------------------------------

    def task(self, which: Which) -> Task:
        """A task as it stands, with its log and what its polls found. Raises ``NotFound``."""
        return tasks.detail(_id(which))

    def message(self, which: Which) -> Message:
        """A message as it stands. Raises ``NotFound``."""
        return messages.get(_id(which))

    def tasks(self, type: str | None = None) -> list[Task]:  # noqa: A002  # as above
        """All tasks, or those of a type, oldest first."""
        return [tasks.detail(job.id) for job in self._jobs(Kind.TASK, type)]

    def messages(self, topic: str | None = None) -> list[Message]:
        """All messages, or those of a topic, oldest first."""
        return [messages.get(job.id) for job in self._jobs(Kind.MESSAGE, topic)]

    def depth(self, queue: str = "default") -> int:
        """How many unfinished jobs a queue holds: a topic, or the pool of a task type."""
        return sum(1 for job in self._world_now().jobs() if job.queue == queue and not job.state.terminal)

    @property
    def events(self) -> list[JobEvent]:
        """Everything that has happened to jobs since the bench was opened: what hooks and webhooks are told."""
        return [
            event
            for change in self._changes(0)
            for event in events_of(change.before, change.after, change.sequence, change.at_ms)
        ]

    @property
    def posted(self) -> list[Posted]:
        """What webhooks would have been sent; nothing leaves this process."""
        return list(self._world_now().posted)

    @property
    def objects(self) -> list[str]:
        """The keys of the objects in the installation's bucket."""
        return self._world_now().objects()

    @property
    def yard(self) -> Yard:
        """The installation, as the engine sees it."""
        return self._world_now().yard

    # -- one handler, and what can go wrong -----------------------------------------------------

    def call(
        self,
        handler: Callable[..., Any],
        input: Any = None,  # noqa: A002  # as above
        *,
        attempt: int = 1,
        options: Any = None,
        context: Any = None,
        canceled: bool = False,
        timeout_s: float | None = None,
    ) -> Call:
        """Call one declared handler as a worker would, outside every queue; returns how it went.

        ``input`` goes through the handler's model. ``attempt``, ``options`` and ``context`` are what its ``Context``
        tells. ``canceled``: the job was canceled just before, as the handler learns from ``progress`` or
        ``heartbeat``. ``timeout_s``: after so many seconds of real time it is interrupted, which works in the main
        thread only.
        """
        found, kind = self._handler(handler)
        given = Circumstances(attempt=attempt, options=options, context=context, canceled=canceled, timeout_s=timeout_s)
        return call(self._world_now(), found, kind, input, given)

    @contextmanager
    def crash(self, at: At | str = "end", type: str | None = None, times: int = 1) -> Iterator[None]:  # noqa: A002
        """Within the block, the worker dies in a handler, ``times`` times.

        ``at``: ``start`` (before the handler does anything), ``progress`` (after it has told its progress) or ``end``
        (it has returned, and nobody knows). ``type``: only in handlers of this task type or topic. The job runs again
        once its lease is over (``advance``). Unlike after kill -9, a handler's own ``finally`` runs. Fails if no worker
        has died so often when the block ends.
        """
        with (
            self._deaths.planned(At(at), type, times),
            patch.object(Context, "progress", self._deaths.dying_progress()),
        ):
            yield

    # -- steps ----------------------------------------------------------------------------------

    def _world_now(self) -> World:
        if self._world is None:
            raise InvalidInput("the workbench is not open", remedy="use it within its `with` block")
        return self._world

    def _jobs(self, kind: Kind, type: str | None) -> list[Job]:  # noqa: A002  # as above
        return [job for job in self._world_now().jobs() if job.kind is kind and type in (None, job.type)]

    def _rest(self, *, slots: bool = True) -> None:
        """Run what is due now, until nothing is."""
        world = self._world_now()
        for _ in range(ROUNDS_MAX):
            world.deliver()
            world.project()
            if min(world.clock_times_ms(slots=slots), default=self._clock.ms + 1) <= self._clock.ms:
                world.tick()
            next_ms = world.next_event_ms(slots=slots)
            if next_ms is None or next_ms > self._clock.ms:
                return
        raise Restless(f"something is always due: {ROUNDS_MAX} rounds, and more", got=self.now)

    def _ended(self) -> list[Attempt]:
        """The attempts that ended since this was asked last."""
        changes = self._changes(self._reported)
        self._reported = len(self._world_now().stream())
        return list(attempts_in(changes))

    def _changes(self, since: int) -> list[Change]:
        """The changes of the ledger from a place of its stream on."""
        return [
            change
            for changes in changes_by_shard({"Records": self._world_now().stream()[since:]}).values()
            for change in changes
        ]

    def _handler(self, function: Callable[..., Any]) -> tuple[Handler, Kind]:
        handlers = self.yard.handlers
        subscribers = [each for topic in handlers.subscribers.values() for each in topic]
        for kind, known in ((Kind.TASK, handlers.scripts.values()), (Kind.MESSAGE, subscribers)):
            for handler in known:
                if getattr(handler.function, "__wrapped__", None) is function:
                    return handler, kind
        raise InvalidInput(
            "this function is no handler of the workbench",
            field="handler",
            expected="one declared with @task or @subscribe, in what the workbench was made of",
            got=getattr(function, "__qualname__", function),
        )


def _registry_of(declared: tuple[Declared, ...]) -> Registry:
    """The handlers of modules and functions."""
    if not declared:
        return registry()
    modules = [each for each in declared if isinstance(each, ModuleType)]
    functions = [each for each in declared if not isinstance(each, ModuleType)]
    return Registry.of([*declarations(modules), *functions])


def _id(which: Which) -> int:
    return which.id if isinstance(which, Task | Message) else int(which)

"""What AWS does around the functions: event sources, the clock's rule, the change stream; and processes that end.

Each function runs in processes of its own. One that is killed is replaced after a while, with empty caches. An event
source mapping hands out a batch, deletes what its function does not want back, and nothing where the function failed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from greenlet import getcurrent

from chalicelib import aws
from chalicelib.core.lanes import Lane, sqs_name
from chalicelib.engine import failures
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.publish import publish as publishing
from chalicelib.engine.worker import heartbeat, light, run, shutdown
from chalicelib.engine.yard import Yard, build
from chalicelib.functions import clock, dead_letters, logs, projector, worker
from chalicelib.local.batches import failed_ids
from chalicelib.settings import Settings
from chalicelib.store import table
from chalicelib.testing.world import WorkerDied
from infra.queues import lanes_of
from tests.proof.history import History
from tests.simulation.dynamodb import DynamoDb, Lag
from tests.simulation.network import Client
from tests.simulation.scheduler import Lock, Process, Scheduler, Thread, Threading
from tests.simulation.sqs import Liberties, Sqs
from tests.simulation.weather import Weather
from tests.support.yards import InOrder

SETTINGS = Settings(index_shards=1, lease_s=60, search="off", console="off", hooks="off", tracing="off")
ARN = "arn:aws:sqs:us-east-1:000000000000"
FUNCTION_MS = SETTINGS.function_timeout_s * 1_000
RESTART_MS = 20_000
TICKS_S = 5.0  # how often the heartbeat looks: a quarter of its beat
BATCH = 100  # records of the stream


@dataclass(frozen=True, slots=True)
class Invocation:
    """Lambda's context object, of an invocation that ends at ``ends_ms``."""

    scheduler: Scheduler
    ends_ms: int

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the process."""
        return self.ends_ms - self.scheduler.now_ms


@dataclass(slots=True)
class Reader:
    """A shard of the change stream, how far it was read, and who reads it."""

    name: str | None
    records: list[Any] = field(default_factory=list)
    told: int = 0
    at_work: int = 0
    environment: Environment | None = None


@dataclass(slots=True)
class Environment:
    """A process with its yard; a new one whenever it was killed."""

    platform: Platform
    name: str
    number: int = 0
    process: Process = field(default_factory=lambda: Process("none", dead=True))
    yard: Any = None

    def ready(self) -> Yard:
        """The yard of the process, or of the next one if that has ended."""
        if self.process.dead:
            self.number += 1
            self.process = Process(f"{self.name}.{self.number}")
            self.yard = self.platform.yard_of(self.process)
        return self.yard


class Platform:
    """One installation, all that AWS does for it, and its processes."""

    def __init__(
        self, registry: Registry, scheduler: Scheduler, weather: Weather, history: History, dice: Random, ids: Random
    ) -> None:
        self.registry, self.scheduler, self.weather, self.history = registry, scheduler, weather, history
        self._dice, self._ids = dice, ids
        now_ms = partial(getattr, scheduler, "now_ms")
        self.lag = Lag(dice, dice.choice((0, 500, 20_000)), dice.choice((0.0, 0.5)), dice.choice((0.0, 0.1)))
        self.liberties = Liberties(
            dice,
            again_share=dice.choice((0.0, 0.0, 0.05, 0.3)),
            missed_share=dice.choice((0.0, 0.2)),
            redriven_share=dice.choice((0.0, 0.0, 0.0, 0.05)),
            refused_share=dice.choice((0.0, 0.0, 0.1)),
            late_ms=dice.choice((0, 100, 5_000)),
        )
        self.skew_ms = dice.choice((0, 0, 1_500))
        lanes = [*lanes_of(registry.queues)]
        base = SETTINGS.base_name
        self.lanes = [sqs_name(base, lane) for lane in lanes]
        self._sizes = {
            sqs_name(base, Lane(queue, band)): registry.batches[queue].max_size
            for queue in registry.batches
            for band in registry.queues[queue]
        }
        self.dynamodb = DynamoDb(base, now_ms, self.lag, self._changed)
        names = [*self.lanes, SETTINGS.dead_letter_queue]
        self.sqs = Sqs(names, SETTINGS.dead_letter_queue, now_ms, self.liberties, self._shows)
        self._idle: list[Thread] = []
        self._pollers: list[Thread] = []  # clients that wait for a message
        self.shown = 0  # how often a polled topic has shown something
        self._shards = [Reader(name) for name in dice.choice(((None,), ("shard-1",), ("shard-1", "shard-2")))]
        self._clock = Environment(self, "clock")
        self._workers = 0

    # -- processes ------------------------------------------------------------------------------------

    def yard_of(self, process: Process) -> Yard:
        """A yard whose calls are those of ``process``, with its idea of the time."""
        skew_ms = self._dice.randint(-self.skew_ms, self.skew_ms) if self.skew_ms else 0
        scheduler = self.scheduler
        note = partial(self.note, process.name)
        clients = {
            name: Client(service, scheduler, self.weather, process, note)
            for name, service in (("dynamodb", self.dynamodb), ("sqs", self.sqs))
        }
        aws.client = lambda service, **_: clients[service]  # until the stage is taken down
        yard = build(
            self.registry,
            SETTINGS,
            now_ms=lambda: scheduler.now_ms + skew_ms,
            random_bytes=self._ids.randbytes,
            exit_process=partial(self._exit, process),
        )
        yard.ids._lock = Lock(scheduler)
        return yard

    def note(self, who: str, text: str) -> None:
        """A line of the history."""
        self.history.note(self.scheduler.now_ms, who, text)

    def _exit(self, process: Process, code: int) -> None:
        self.note(process.name, f"ends itself with {code}")
        self.scheduler.kill(process)
        raise WorkerDied

    def add_worker(self) -> None:
        """One more execution environment of the worker's function, and of the dead letters'."""
        self._workers += 1
        environment = Environment(self, f"worker-{self._workers}")
        self._start_worker(environment)

    def _start_worker(self, environment: Environment) -> None:
        environment.ready()
        self.scheduler.start(environment.process, partial(self._work, environment))

    def _work(self, environment: Environment) -> None:
        """The event source mappings' work with one environment, until its process ends."""
        try:
            while True:
                name = self._shown()
                if name is None:
                    self._idle.append(getcurrent())
                    self.scheduler.park()
                else:
                    self._deliver(environment, name)
        except WorkerDied:
            if getcurrent() in self._idle:
                self._idle.remove(getcurrent())
            self.note(environment.process.name, "is gone")
            restart_ms = 1 if self.weather.fair else self._dice.randrange(RESTART_MS)
            self.scheduler.at(self.scheduler.now_ms + restart_ms, partial(self._start_worker, environment))

    def _shown(self) -> str | None:
        now_ms, queues = self.scheduler.now_ms, self.sqs.queues
        shown = [
            name
            for name in (*self.lanes, SETTINGS.dead_letter_queue)
            if queues[name].messages and any(message.visible_ms <= now_ms for message in queues[name].messages.values())
        ]
        return self._dice.choice(shown) if shown else None

    def _deliver(self, environment: Environment, name: str) -> None:
        queue = self.sqs.queues[name]
        most = self._sizes.get(name) or self._dice.choice((1, 2, 10))
        messages = self.sqs.receive(queue, most, SETTINGS.visibility_s)
        if not messages:
            self.scheduler.sleep(100)
            return
        function = dead_letters.handle if name == SETTINGS.dead_letter_queue else worker.handle
        response = self._invoke(environment, function, _event(messages, name))
        if response is None:
            return
        back = failed_ids(response, [message["MessageId"] for message in messages])
        for message in messages:
            if message["MessageId"] not in back:
                try:
                    self.sqs.delete(queue, message["ReceiptHandle"])
                except aws.ClientError:
                    continue  # somebody else has it by now

    def _invoke(self, environment: Environment, function: Any, event: Any) -> Any:
        """What a function returns; ``None`` where it failed. Its process ends with its time."""
        process, invocation = environment.process, Invocation(self.scheduler, self.scheduler.now_ms + FUNCTION_MS)
        process.invocations += 1
        number = process.invocations

        def end() -> None:
            if process.invocations == number and process.busy:
                self.note(process.name, "is out of time")
                self.scheduler.kill(process)

        self.scheduler.at(invocation.ends_ms, end)
        process.busy = True
        try:
            return function(environment.yard, event, invocation)
        except WorkerDied:
            raise
        except Exception as error:
            self.note(process.name, f"fails: {error!r}"[:150])
            return None
        finally:
            process.busy = False

    # -- the clock's rule, the stream -------------------------------------------------------------------

    def tick(self) -> None:
        """Let the clock's function begin; where it runs already, beside that."""
        environment = Environment(self, "clock") if self._clock.process.busy else self._clock
        environment.ready()
        environment.process.busy = True  # from now on, though it begins later
        self.scheduler.start(environment.process, partial(self._invoke, environment, clock.handle, {}))

    def _changed(self) -> None:
        record = self.dynamodb.jobs.changes[-1]
        job = int(record["dynamodb"]["Keys"]["job"]["N"])
        self._look_at(self._shards[job % len(self._shards)], record)

    def _look_at(self, shard: Reader, record: Any) -> None:
        shard.records.append(record)
        if not shard.at_work:
            self._start_reader(shard, self._dice.choice((1, 1_000, 30_000)))

    def _start_reader(self, shard: Reader, after_ms: int) -> None:
        shard.at_work += 1
        environment = shard.environment
        if environment is None or environment.process.busy:
            environment = shard.environment = Environment(self, f"projector-{shard.name}")
        environment.ready()
        environment.process.busy = True  # as above
        self.scheduler.start(environment.process, partial(self._read, shard, environment), after_ms)

    def _read(self, shard: Reader, environment: Environment) -> None:
        """Hand a shard's records to the projector, again where it failed, and by chance where it did not."""
        try:
            while shard.told < len(shard.records):
                first, last = shard.told, min(shard.told + BATCH, len(shard.records))
                event = {"Records": shard.records[first:last], **({"shardId": shard.name} if shard.name else {})}
                if not self.weather.fair and self.weather.share and self._dice.random() < 0.05:
                    self._start_reader(shard, self._dice.randrange(2_000))  # a batch that is handed out twice
                if self._invoke(environment, projector.handle, event) is None:
                    self.scheduler.sleep(1_000)
                elif self.weather.fair or self._dice.random() < 0.9:
                    shard.told = max(shard.told, last)
        finally:
            shard.at_work -= 1
            if shard.told < len(shard.records) and not shard.at_work:
                self._start_reader(shard, 1_000)

    def clear(self) -> None:
        """Let go of all that is kept here, which a collection would have to look through otherwise."""
        self.dynamodb.clear()
        self.sqs.queues.clear()
        for shard in self._shards:
            shard.records.clear()

    # -- what shows up in SQS -----------------------------------------------------------------------------

    def _shows(self, name: str, at_ms: int) -> None:
        is_consumed = name in self.lanes or name == SETTINGS.dead_letter_queue
        self.scheduler.at(at_ms, partial(self._wake, self._idle) if is_consumed else self._wake_poller)

    def _wake_poller(self) -> None:
        self.shown += 1
        self._wake(self._pollers)

    def wait_for_message(self, seen: int) -> None:
        """Let a client wait until a polled topic shows something, if ``shown`` still is what it has ``seen``."""
        if self.shown == seen:
            self._pollers.append(getcurrent())
            self.scheduler.park()

    def wake_pollers(self) -> None:
        """Let every client that waits for a message look again, as one does now and then."""
        while self._pollers:
            self._wake_poller()

    def _wake(self, waiting: list[Thread]) -> None:
        while waiting:
            thread = waiting.pop(self._dice.randrange(len(waiting)))
            if not thread.dead and not thread.process.dead:
                self.scheduler.wake(thread)
                break


def _event(messages: list[Any], name: str) -> dict[str, Any]:
    """What a mapping hands to a function, as far as ours look at it."""
    return {
        "Records": [
            {
                "eventSourceARN": f"{ARN}:{name}",
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
            }
            for message in messages
        ]
    }


def staged(scheduler: Scheduler) -> ExitStack:
    """While it is open, what the engine does by threads, timers and waits is the schedule's."""
    stage = ExitStack()

    def put(module: Any, name: str, value: Any) -> None:
        stage.callback(setattr, module, name, getattr(module, name))
        setattr(module, name, value)

    def sleep(seconds: float) -> None:
        scheduler.sleep(seconds * 1_000)

    threads = Threading(scheduler)
    for module in (heartbeat, light, run, shutdown):
        put(module, "threading", threads)
    put(table, "time", _Sleeping(sleep))
    put(publishing, "sleep", sleep)
    put(heartbeat, "TICK_S", TICKS_S)
    put(aws, "ThreadPoolExecutor", InOrder)
    put(aws, "client", None)  # each yard has clients of its own
    put(failures, "traceback_of", str)  # for a log that nobody reads, and so are the next
    put(logs, "logger", _Unheard())
    return stage


class _Unheard:
    """A logger whose lines carry nothing."""

    def append_context_keys(self, **_: object) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass(frozen=True, slots=True)
class _Sleeping:
    sleep: Callable[[float], None]

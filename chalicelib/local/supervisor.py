"""What `taskyard up` and `taskyard worker` run: emulator, the processes of API and functions, and what feeds them.

    supervisor ── emulator                   MiniStack, unless another endpoint is given
        │ ├───── api                         HTTP to proxy events
        │ ├───── worker-1 … worker-N        ┐
        │ ├───── dead_letters-1, clock-1    ├ a Lambda function each, one invocation at a time
        │ ├───── hooks-1, projector-1       ┘
        │ └───── kafka-1                     brings records of Kafka in, where a topic comes from there
        └ event sources (threads): lanes, dead-letter queue and queue of hooks, the clock, the jobs table's stream

It keeps the door and carries little: it waits at every empty queue and hands out what comes; where there is more, it
tells a free worker which queue to receive from, the most urgent first (see ``queues``).

Every process ends by itself when this one does. Stopping goes from the outside in, so that nothing is written after
what counts it has stopped: no new messages, what is not begun is handed back, running handlers end or are interrupted,
the API ends, the stream is read to its end, the emulator saves.

Of several instances on one endpoint, one ticks the clock and one reads the stream (see ``leadership``).
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import aws, settings
from chalicelib.core.batch import Batch
from chalicelib.core.errors import TaskyardError
from chalicelib.core.lanes import Band, Lane, soonest_first
from chalicelib.engine.handlers.declare import DEFAULT_POOL
from chalicelib.engine.handlers.registry import names_of
from chalicelib.local import functions
from chalicelib.local.change_watch import ChangeWatch
from chalicelib.local.children import Child, NotLoaded, Output
from chalicelib.local.clock_source import ClockSource
from chalicelib.local.emulator import Emulator, EmulatorHome
from chalicelib.local.environments import Environment
from chalicelib.local.functions import API, CLOCK, DEAD_LETTERS, HOOKS, PROJECTOR, WORKER
from chalicelib.local.lane_queues import LaneQueues, Outputs, applied
from chalicelib.local.leadership import EMBEDDED_LEASE_S, LEASE_S, Leadership, leaders
from chalicelib.local.plan import KAFKA, Plan
from chalicelib.local.queues import LONG_WAIT_S, SHORT_WAIT_S, OrderedQueues
from chalicelib.local.reloading import Reloader, handler_folders
from chalicelib.local.resuming import resume
from chalicelib.local.save_watch import SaveWatch
from chalicelib.local.sqs_source import SqsSource
from chalicelib.local.stream_source import StreamSource
from chalicelib.queue.sqs import SqsTransport
from chalicelib.settings import Settings
from infra.deploy import target
from infra.deploy.mark import leave_mark
from infra.events import HOOKS_BATCH_SIZE
from infra.queues import HOOKS_VISIBILITY_S

READY_LIMIT_S = 60.0
SETTLING_LIMIT_S = 3.0  # for a worker to record that its handler was interrupted, beside the handler's own grace
CHILDREN_LIMIT_S = 5.0  # for the API to answer what is under way
STREAM_LIMIT_S = 5.0  # for the projector to catch up

logger = logging.getLogger(__name__)


class NotStarted(TaskyardError):
    """A process did not become ready."""


class Supervisor:
    """Starts and stops everything. One thread calls `start` and then `stop`; any may call the others.

    The API serves on ``listener``, which listens already; without one there is no API. The workers consume ``queues``,
    each with its bands, in ``batches`` where their handlers take some.
    """

    def __init__(
        self,
        plan: Plan,
        listener: socket.socket | None,
        queues: Mapping[str, Sequence[Band]],
        batches: Mapping[str, Batch],
        output: Output,
    ) -> None:
        self._plan = plan
        self._listener = listener
        self._queues: Mapping[str, Sequence[Band]] = {
            queue: tuple(soonest_first(bands)) for queue, bands in queues.items()
        }
        self._batches = batches
        self._output = output
        self._emulator: Emulator | None = None
        self._children: list[Child] = []
        self._projector: Child | None = None  # one of the children, the last to be stopped
        self._sources: list[SqsSource | ClockSource] = []
        self._stream: StreamSource | None = None
        self._mark: Path | None = None
        self._save_watch: SaveWatch | None = None
        self._prompt: list[Child] = []  # children that are renewed at once, the workers first
        self._lanes: OrderedQueues | None = None  # what feeds the workers
        self._clock: ClockSource | None = None
        self._leaderships: list[Leadership] = []
        self._reloader: Reloader | None = None
        self._renewing = threading.Lock()

    def start(self) -> None:
        """Start everything and wait until the API and the workers are ready; raises ``TaskyardError``."""
        if self._plan.embedded:
            self._emulator = Emulator.start(self._plan.data_dir)
            target.choose_emulator(self._emulator.endpoint_url)
        chosen = settings.current()
        if self._plan.data_dir is not None:
            self._mark = resume(self._plan.data_dir, chosen, self._queues, self._output.notice)
            self._watch_saving()
        api = [] if self._listener is None else [self._start_api(self._listener)]
        workers = [self._start_function(chosen, WORKER, number) for number in range(1, self._plan.workers + 1)]
        outputs = applied(chosen, self._queues) if chosen.local else {}
        if api:
            leave_mark(chosen)
        self._start_sources(chosen, outputs, workers)
        if PROJECTOR in self._plan.beside:
            self._start_stream(chosen)
        if self._plan.kafka:
            self._start_child(Child(f"{KAFKA}-1", "chalicelib.local.kafka_process", [], self._output))
        self._prompt = [*(worker.child for worker in workers), *api]
        for child in self._prompt:
            if child.ready(READY_LIMIT_S) is None:
                raise NotStarted(f"{child.name} did not start", remedy="what it wrote above says why")
        if self._plan.reload:
            self._start_reloader(chosen)
        gc.freeze()  # what is there now stays: it need not be gone over whenever garbage is collected

    def reload(self) -> None:
        """Let the handlers as they are saved now take over, and with them new queues; what runs ends on the old code.

        The workers come first, then the API, then new lanes: no worker gets a job that it has no handler for yet. If
        the handlers do not load, it is told why, and the old ones go on.
        """
        began_s = time.monotonic()
        first, *others = self._prompt
        try:
            declared = first.load()
            queues = self._and_queues(declared["queues"])
            batches = {queue: Batch(*numbers) for queue, numbers in declared["batches"].items()}
            outputs = {} if queues == self._queues else applied(settings.current(), queues)
        except (TaskyardError, BotoCoreError, ClientError) as error:
            self._output.notice(f"{error}; the handlers go on as they were")
            return
        all_loaded = _together([partial(self._loads, child) for child in others])
        for child in self._prompt:
            child.switch()
        if (outputs or batches != self._batches) and all_loaded:
            self._consume(queues, batches, outputs or applied(settings.current(), queues))
        leave_mark(settings.current())
        self._output.notice(f"the saved handlers have taken over, in {time.monotonic() - began_s:.2f} s")
        for child in self._prompt:
            child.prepare()
        threading.Thread(target=self._renew_the_rest, name="renewal", daemon=True).start()

    def _renew_the_rest(self) -> None:
        """Renew the processes that nobody waits for, hooks first, one after the other: they start from nothing."""
        with self._renewing:
            for child in sorted(self._children, key=lambda child: not child.name.startswith(HOOKS)):
                if child not in self._prompt and self._loads(child):
                    child.switch()
            if self._clock is not None:
                self._clock.tick_now()  # the new code may declare other schedules

    def _loads(self, child: Child) -> bool:
        try:
            child.load()
        except NotLoaded:  # saved again meanwhile; the reload that this brings tells why
            logger.info("%s goes on with the old handlers", child.name, exc_info=True)
            return False
        return True

    def failure(self) -> str | None:
        """Why this cannot go on, if it cannot."""
        if self._emulator is not None and not self._emulator.alive():
            return "the emulator has ended unasked"
        if not all(each.alive() for each in (*self._sources, *self._leaderships, *filter(None, [self._stream]))):
            return "an event source has failed"
        if self._reloader is not None and not self._reloader.alive():
            return "the handlers cannot be watched any more"
        return None

    def stop(self) -> bool:
        """Wind up in order; false if something is lost. What was not started is passed over."""
        if self._reloader is not None:
            self._reloader.stop()
        interrupt_at_s = time.monotonic() + self._plan.shutdown_timeout_s
        deadline_at_s = interrupt_at_s + settings.current().stop_grace_s + SETTLING_LIMIT_S
        if not _together([partial(source.stop, interrupt_at_s, deadline_at_s) for source in self._sources]):
            self._output.notice("a handler cannot be interrupted and is killed; its job runs again after its lease")
        _together([partial(child.stop, CHILDREN_LIMIT_S) for child in self._children if child is not self._projector])
        counted = self._stream is None or self._stream.drain(time.monotonic() + STREAM_LIMIT_S)
        if not counted:
            self._output.notice("the newest changes are not counted")
        _together([leadership.stop for leadership in self._leaderships])
        if self._projector is not None:
            self._projector.stop(CHILDREN_LIMIT_S)
        if self._save_watch is not None:
            self._save_watch.stop()
        saved = self._emulator is None or self._emulator.stop()
        if not saved and self._plan.data_dir is not None:
            self._output.notice(f"the newest changes are not saved: see {EmulatorHome(self._plan.data_dir).log}")
        if counted and saved and self._mark is not None:
            self._mark.unlink(missing_ok=True)
        return counted and saved

    def kill(self) -> None:
        """End every process at once; waits for nothing."""
        for child in self._children:
            child.kill()
        if self._emulator is not None and self._emulator.alive():
            os.kill(self._emulator.pid, signal.SIGKILL)

    # -- steps of the start -------------------------------------------------------------------------

    def _watch_saving(self) -> None:
        if self._emulator is not None:
            self._save_watch = SaveWatch(self._emulator.endpoint_url, self._output.notice)
            self._save_watch.start()

    def _start_api(self, listener: socket.socket) -> Child:
        descriptor = listener.fileno()
        arguments = [str(descriptor)]
        if self._emulator is not None and self._plan.data_dir is not None:
            arguments.append(self._emulator.endpoint_url)
        return self._start_child(
            Child(API, "chalicelib.local.api_process", arguments, self._output, inherited=[descriptor])
        )

    def _start_function(self, chosen: Settings, name: str, number: int = 1) -> Environment:
        child = Child(f"{name}-{number}", "chalicelib.local.function_process", [name], self._output)
        return Environment(self._start_child(child), functions.limits(chosen)[name].timeout_s)

    def _start_child(self, child: Child) -> Child:
        self._children.append(child)
        child.start()
        return child

    def _start_sources(self, chosen: Settings, outputs: Outputs, workers: Sequence[Environment]) -> None:
        """Let the lanes feed the workers, the dead-letter queue, the clock and the queue of hooks their functions."""
        sqs = aws.client("sqs", read_timeout_s=aws.LONG_POLL_READ_TIMEOUT_S)
        transport = SqsTransport(sqs, chosen.base_name, Lane(DEFAULT_POOL, Band.NORMAL))
        # A poll that outlives this process swallows what comes: the embedded emulator's end with it, AWS's as it does.
        is_given = self._emulator is None and target.ENDPOINT_VARIABLE in os.environ
        open_queues = partial(OrderedQueues, sqs, transport, wait_s=SHORT_WAIT_S if is_given else LONG_WAIT_S)
        queues = LaneQueues(sqs, chosen, outputs, self._plan.lanes)
        if workers:
            gathered = queues.gathered(self._queues, self._batches)
            ranks = queues.ranks(self._queues)
            sharing = 1 if self._emulator is None else len(workers)
            self._lanes = open_queues(
                ranks, chosen.lease_s, most=chosen.worker_batch_size, batches=gathered, workers=sharing
            )
            self._sources.append(SqsSource(self._lanes, workers))
        if DEAD_LETTERS in self._plan.beside:
            read = open_queues([[queues.dead_letters()]], functions.limits(chosen)[DEAD_LETTERS].timeout_s)
            self._sources.append(SqsSource(read, [self._start_function(chosen, DEAD_LETTERS)]))
        if CLOCK in self._plan.beside:
            self._sources.append(self._clock_source(chosen))
        if HOOKS in self._plan.beside and chosen.hooks != "off":
            read = open_queues([[queues.hooks()]], HOOKS_VISIBILITY_S, most=HOOKS_BATCH_SIZE, carried=True)
            # Eager: whoever tries out hooks on their machine does not want to wait for Lambda's 90 s.
            self._sources.append(SqsSource(read, [self._start_function(chosen, HOOKS)], eager=True))
        for source in self._sources:
            source.start()

    def _clock_source(self, chosen: Settings) -> ClockSource:
        leadership = self._leadership(CLOCK, lambda: clock.tick_now())
        environment = self._start_function(chosen, CLOCK)
        rule, interval_s = f"{chosen.base_name}-clock", self._plan.clock_interval_s
        self._clock = clock = ClockSource(environment, rule, chosen.region, interval_s, leadership.leads)
        leadership.start()
        return clock

    def _leadership(self, role: str, elected: Callable[[], None]) -> Leadership:
        lease_s = LEASE_S if self._emulator is None else EMBEDDED_LEASE_S
        by_force = self._emulator is not None
        leadership = Leadership(leaders(), role, elected, lease_s=lease_s, by_force=by_force)
        self._leaderships.append(leadership)
        return leadership

    def _start_reloader(self, chosen: Settings) -> None:
        """Watch the handlers; what will take over when they are saved stands by."""
        for child in self._prompt:
            child.prepare()
        self._reloader = Reloader(handler_folders(names_of(chosen)), self.reload)
        self._reloader.start()

    def _and_queues(self, declared: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[Band]]:
        """The queues that there are, and those declared now. None is taken away: it may hold messages."""
        return {
            queue: tuple(soonest_first([*self._queues.get(queue, ()), *map(Band, declared.get(queue, ()))]))
            for queue in {*self._queues, *declared}
        }

    def _consume(self, queues: Mapping[str, Sequence[Band]], batches: Mapping[str, Batch], outputs: Outputs) -> None:
        """Let the workers be fed from the lanes of all queues."""
        if self._lanes is not None:
            found = LaneQueues(aws.client("sqs"), settings.current(), outputs, self._plan.lanes)
            self._lanes.extend(found.ranks(queues), found.gathered(queues, batches))
        self._queues, self._batches = queues, batches

    def _start_stream(self, chosen: Settings) -> None:
        """Let the jobs table's stream feed the projector."""
        projector = self._start_function(chosen, PROJECTOR)
        self._projector = projector.child
        table = aws.client("dynamodb").describe_table(TableName=chosen.jobs_table)["Table"]
        changes = None if self._emulator is None else ChangeWatch(self._emulator.endpoint_url)
        leadership = self._leadership(PROJECTOR, lambda: None)
        self._stream = StreamSource(
            aws.client("dynamodbstreams"), table["LatestStreamArn"], projector, changes, leadership.leads
        )
        leadership.start()
        self._stream.start()


def _together(actions: Sequence[Callable[[], object]]) -> bool:
    """Do all actions at the same time; whether none of them answered false."""
    if not actions:
        return True
    with ThreadPoolExecutor(len(actions)) as threads:
        return False not in [done.result() for done in [threads.submit(action) for action in actions]]

"""Consuming polled topics in a process of your own: a server, a script, a container.

What is deployed as a Lambda function declares its subscribers with ``@subscribe`` and needs none of this. A topic has
one kind of consumer: ``start`` refuses one that has such subscribers, as a poll over HTTP does.

Each topic has one thread that polls and ``concurrency`` threads that work. It takes no more messages than there are
idle workers, so nothing is in hand that nobody works on. One thread more extends the locks of what is worked on, every
third of a lock. A message completes when all functions of its topic have returned; if one raises, the message fails
with that error, and its next delivery calls only those that have not succeeded yet.

Nothing is lost: a message leaves its queue once its end is recorded. When the process dies, or a stop runs out of
time, its locks end, and other consumers get what it had in hand; that delivery is counted.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

from chalicelib.core.decisions import Failed, Outcome, Succeeded
from chalicelib.core.errors import Conflict, InvalidInput
from chalicelib.core.job import Job
from chalicelib.engine import polling
from chalicelib.engine.context import failure_of
from chalicelib.engine.running import HANDLER_FAILURES
from chalicelib.engine.yard import Yard, logger
from chalicelib.services import checks, installation
from chalicelib.services.current import at_work
from chalicelib.services.records import Message, message_of
from chalicelib.settings import MQ_POLL_WAIT_MAX_S

CONCURRENCY_MAX = 100
EXTENSIONS_PER_LOCK = 3
LOOK_S = 0.25  # between two looks at whether locks are to be extended
PAUSE_MAX_S = 30.0  # between two polls while AWS does not answer
STOP_WITHIN_S = 30.0

Function: TypeAlias = Callable[[Message], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a consumer works. ``None`` means: as the settings say."""

    concurrency: int = 4  # functions at a time on each topic, 1 to 100
    lock_timeout_ms: int | None = None  # how soon another consumer gets what this one died of; POLL_LEASE_MS
    wait_s: int | None = None  # how long a poll waits for a message, 0 to 20; MQ_POLL_WAIT_S
    timeout_ms: int | None = None  # after which a lock is extended no more; DEFAULT_TIMEOUT_MS; 0: never


class Consumer:
    """Subscriptions, and the threads that serve them while it is started. Use it as a context manager, if you like."""

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        checks.whole("concurrency", self._options.concurrency, 1, CONCURRENCY_MAX)
        self._functions: dict[str, tuple[Function, ...]] = {}
        self._topics: dict[str, _Topic] = {}
        self._keeper: _Keeper | None = None
        self._yard: Yard | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Consumer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def subscribe(self, topic: str, function: Function) -> None:
        """Call ``function`` with each message of a topic, from the next delivery on if the consumer is started.

        Raises ``InvalidInput`` for a second function of one name, and ``Conflict`` for a topic with deployed
        subscribers (if the consumer is not started yet, ``start`` does).
        """
        checks.topic(topic)
        with self._lock:
            known = self._functions.get(topic, ())
            if label_of(function) in map(label_of, known):
                raise InvalidInput(
                    "a function of this name subscribes to the topic already",
                    field="function",
                    expected="functions that can be told apart by their names",
                    got=label_of(function),
                )
            if self._yard is not None:
                _refuse_deployed(self._yard, [topic])
            self._functions[topic] = (*known, function)
            if self._yard is not None and topic not in self._topics:
                self._open(self._yard, topic)

    def start(self) -> None:
        """Begin to consume; does nothing if it is started already.

        It acts on the installation of the caller. Raises ``Conflict`` for a topic with deployed subscribers, and
        ``InvalidInput`` for a setting that cannot work; nothing is started then.
        """
        with self._lock:
            if self._yard is not None:
                return
            yard = installation.yard()
            _refuse_deployed(yard, self._functions)
            self._keeper = _Keeper(yard, _lock_ms(yard, self._options), _timeout_ms(yard, self._options))
            _wait_s(yard, self._options)
            self._yard = yard
            self._keeper.start()
            for topic in self._functions:
                self._open(yard, topic)

    def stop(self, within_s: float = STOP_WITHIN_S) -> bool:
        """Poll no more, and wait up to ``within_s`` seconds for what is in hand; answers whether all of it was settled.

        What was not goes on in its threads, but its locks are extended no longer, so that other consumers get it; who
        is first settles it. A poll that waits for messages is waited for, too. Does nothing if it is not started.
        """
        with self._lock:
            topics, keeper = list(self._topics.values()), self._keeper
            self._topics, self._keeper, self._yard = {}, None, None
        give_up_at_s = time.monotonic() + within_s
        for topic in topics:
            topic.stop_polling()
        ended = all(topic.join(give_up_at_s) for topic in topics)
        if keeper is not None:
            keeper.stop(give_up_at_s)
        if not ended:
            logger.warning("consumer stopped before all was settled", extra={"within_s": within_s})
        return ended

    def _open(self, yard: Yard, topic: str) -> None:
        assert self._keeper is not None  # noqa: S101  # set whenever the yard is
        self._topics[topic] = _Topic(yard, topic, self._options, self._keeper, lambda: self._functions[topic])
        self._topics[topic].start()


def label_of(function: Function) -> str:
    """Which function this is, in words that survive a restart."""
    owner = function if hasattr(function, "__qualname__") else type(function)
    return f"{owner.__module__}.{owner.__qualname__}"


class _Topic:
    """One topic: a thread that polls, and some that work."""

    def __init__(
        self,
        yard: Yard,
        topic: str,
        options: Options,
        keeper: _Keeper,
        functions: Callable[[], tuple[Function, ...]],
    ) -> None:
        self._yard = yard
        self._topic = topic
        self._keeper = keeper
        self._functions = functions
        self._wait_s = _wait_s(yard, options)
        self._idle = threading.Semaphore(options.concurrency)
        self._polled: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # None: there will be no more
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._poll, name=f"poll {topic}", daemon=True)
        self._workers = [
            threading.Thread(target=self._work, name=f"work {number} {topic}", daemon=True)
            for number in range(options.concurrency)
        ]

    def start(self) -> None:
        """Start all threads."""
        for thread in (self._poller, *self._workers):
            thread.start()

    def stop_polling(self) -> None:
        """Take no more messages in hand than a poll under way brings."""
        self._stopping.set()

    def join(self, give_up_at_s: float) -> bool:
        """Wait for all threads to end; answers whether they did."""
        threads = [self._poller, *self._workers]
        for thread in threads:
            thread.join(max(0.0, give_up_at_s - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _poll(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            places = self._places()
            taken: list[Job] = []
            try:
                if places and not self._stopping.is_set():
                    taken = self._take(places)
                failures = 0
            except Exception:  # AWS does not answer; the next poll may succeed
                failures += 1
                logger.exception("poll failed", extra={"topic": self._topic})
                self._stopping.wait(min(2.0**failures, PAUSE_MAX_S))
            for job in taken:
                self._polled.put(job)
            if places > len(taken):
                self._idle.release(places - len(taken))
        for _ in self._workers:
            self._polled.put(None)

    def _places(self) -> int:
        """How many idle workers the next poll is for; waits a moment for the first."""
        places = int(self._idle.acquire(timeout=LOOK_S))
        while 0 < places < self._yard.settings.mq_poll_limit and self._idle.acquire(blocking=False):
            places += 1
        return places

    def _take(self, most: int) -> list[Job]:
        jobs = polling.poll(self._yard, self._topic, most, self._keeper.lock_ms, self._yard.worker_name, self._wait_s)
        for job in jobs:
            self._keeper.hold(job)
        if not jobs and self._wait_s == 0:
            self._stopping.wait(LOOK_S)
        return jobs

    def _work(self) -> None:
        while (job := self._polled.get()) is not None:
            try:
                self._consume(job)
            except Exception:  # its lock ends, and it is delivered again
                logger.exception("message comes back", extra={"job_id": job.id, "topic": self._topic})
            finally:
                self._keeper.let_go(job)
                self._idle.release()

    def _consume(self, job: Job) -> None:
        with at_work(self._yard, job.id):
            outcome = self._outcome(job)
        self._keeper.let_go(job)  # an extension that came after the end would put off the next delivery
        try:
            _, fate = polling.hand_in(self._yard, job, outcome)
        except polling.NotInHand as refused:
            logger.warning("end not recorded: the lock was lost", extra={"job_id": job.id, "reason": refused.message})
            return
        polling.tidy(self._yard, [(job, fate)])

    def _outcome(self, job: Job) -> Outcome:
        """Call every function that has not succeeded yet; one that fails does not stop the others."""
        message = message_of(job, self._yard.payloads.body(job), in_hand=True)
        succeeded = list(job.succeeded_subscribers)
        failures: list[Failed] = []
        for function in self._functions():
            label = label_of(function)
            if label in succeeded:
                continue
            try:
                function(message)
                succeeded.append(label)
            except HANDLER_FAILURES as error:  # whatever it is, it must not end this thread
                logger.error("consumer function failed", extra={"function": label, "job_id": job.id}, exc_info=True)
                failures.append(failure_of(error))
        if not failures:
            return Succeeded()
        return Failed(failures[0].error, all(failure.final for failure in failures), tuple(succeeded))


@dataclass(slots=True)
class _Held:
    """A message in hand: when its lock was last extended, and from when on it is not any more (monotonic ms)."""

    job: Job
    extended_at_ms: float
    until_ms: float
    lock: threading.RLock = field(default_factory=threading.RLock)  # held while the lock is extended


class _Keeper:
    """Extends the locks of what is worked on."""

    def __init__(self, yard: Yard, lock_ms: int, timeout_ms: int) -> None:
        self.lock_ms = lock_ms
        self._yard = yard
        self._timeout_ms = timeout_ms or float("inf")
        self._held: dict[int, _Held] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="locks", daemon=True)

    def start(self) -> None:
        """Begin to extend."""
        self._thread.start()

    def stop(self, give_up_at_s: float) -> None:
        """Begin no further extension; wait for one under way until ``give_up_at_s`` (monotonic seconds)."""
        self._stopping.set()
        self._thread.join(max(0.0, give_up_at_s - time.monotonic()))

    def hold(self, job: Job) -> None:
        """Keep a message that has just been taken in hand."""
        now_ms = time.monotonic() * 1_000
        with self._lock:
            self._held[job.id] = _Held(job, now_ms, now_ms + self._timeout_ms)

    def let_go(self, job: Job) -> None:
        """Extend the lock of a message no more; an extension under way is waited for."""
        with self._lock:
            held = self._held.pop(job.id, None)
        if held is not None:
            with held.lock:
                return

    def _keep(self) -> None:
        beat_ms = self.lock_ms / EXTENSIONS_PER_LOCK
        while not self._stopping.wait(min(LOOK_S, beat_ms / 1_000)):
            now_ms = time.monotonic() * 1_000
            with self._lock:
                due = [held for held in self._held.values() if now_ms - held.extended_at_ms >= beat_ms]
            for held in due:
                with held.lock:
                    if held.job.id in self._held:
                        self._extend(held, now_ms)

    def _extend(self, held: _Held, now_ms: float) -> None:
        job = held.job
        if now_ms >= held.until_ms:
            logger.warning("a function takes too long; its lock is left to end", extra={"job_id": job.id})
            self.let_go(job)
            return
        try:
            polling.extend(self._yard, job.id, job.lease or "", self.lock_ms)
            held.extended_at_ms = now_ms
        except Conflict:  # settled meanwhile, or another consumer has it
            self.let_go(job)
        except Exception:  # the next look may succeed; if none does, the lock ends
            logger.exception("lock not extended", extra={"job_id": job.id})


def _refuse_deployed(yard: Yard, topics: Mapping[str, object] | list[str]) -> None:
    for topic in topics:
        if topic in yard.handlers.queues:
            raise Conflict(
                "this topic has deployed subscribers, so it is not polled",
                field="topic",
                expected="a topic without @subscribe",
                got=topic,
                remedy="remove the @subscribe, or publish to a topic of its own",
            )


def _lock_ms(yard: Yard, options: Options) -> int:
    return yard.settings.poll_lease_ms if options.lock_timeout_ms is None else checks.lock_ms(options.lock_timeout_ms)


def _wait_s(yard: Yard, options: Options) -> int:
    if options.wait_s is None:
        return yard.settings.mq_poll_wait_s
    return checks.whole("wait_s", options.wait_s, 0, MQ_POLL_WAIT_MAX_S)


def _timeout_ms(yard: Yard, options: Options) -> int:
    given = options.timeout_ms
    return yard.settings.default_timeout_ms if given is None else checks.whole("timeout_ms", given, 0, 2**53)

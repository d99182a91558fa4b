"""Consuming polled topics in a process of your own: a server, a script, a container.

What is deployed as a Lambda function declares its subscribers with ``@subscribe`` and needs none of this. A topic has
one kind of consumer: ``start`` refuses one that has such subscribers, as a poll over HTTP does.

Each topic has one thread that polls and ``concurrency`` threads that work. It takes no more messages than there are
idle workers, so nothing is locked that nobody works on. One thread more extends the locks of what is worked on, every
third of a lock. A message completes when all functions of its topic have returned; if one raises, the message fails
with that error, and its next delivery calls only those that have not succeeded yet.

Nothing is lost: a message leaves its queue once its end is recorded. When a stop runs out of time, what is still
locked fails with the reason "shutdown" and is there for other consumers at once; that delivery is not charged. When the
process dies, its locks end first, and the delivery is charged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType

from chalicelib.core.decisions import Interrupted
from chalicelib.core.errors import Conflict, InvalidInput
from chalicelib.engine.polling import poll
from chalicelib.engine.worker.run import SHUT_DOWN
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.services import checks, installation
from chalicelib.services.locks import LockExtender
from chalicelib.services.serving import Function, TopicThreads, label_of
from chalicelib.settings import MQ_POLL_WAIT_MAX_S

CONCURRENCY_MAX = 100
STOP_WITHIN_S = 30.0


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
        self._serving: _Serving | None = None  # while it is started
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

        Raises ``InvalidInput`` for what is no function and for a second one of one name, and ``Conflict`` for a topic
        with deployed subscribers (if the consumer is not started yet, ``start`` does).
        """
        checks.topic(topic)
        if not callable(function):
            raise InvalidInput(
                "this cannot be called", field="function", expected="a function of a Message", got=function
            )
        with self._lock:
            known = self._functions.get(topic, ())
            if label_of(function) in map(label_of, known):
                raise InvalidInput(
                    "a function of this name subscribes to the topic already",
                    field="function",
                    expected="functions that can be told apart by their names",
                    got=label_of(function),
                )
            if self._serving is not None:
                _refuse_deployed(self._serving.yard, [topic])
            self._functions[topic] = (*known, function)
            if self._serving is not None and not known:
                self._open(self._serving, topic)

    def start(self) -> None:
        """Begin to consume; does nothing if it is started already.

        It acts on the installation of the caller. Raises ``Conflict`` for a topic with deployed subscribers, and
        ``InvalidInput`` for a setting that cannot work; nothing is started then.
        """
        with self._lock:
            if self._serving is not None:
                return
            yard = installation.yard()
            _refuse_deployed(yard, self._functions)
            extender = LockExtender(yard, _lock_ms(yard, self._options), _timeout_ms(yard, self._options))
            self._serving = _Serving(yard, extender, _wait_s(yard, self._options))
            extender.start()
            for topic in self._functions:
                self._open(self._serving, topic)

    def stop(self, within_s: float = STOP_WITHIN_S) -> bool:
        """Poll no more, and wait up to ``within_s`` seconds for what is locked; returns whether all of it was settled.

        What was not is handed back with the reason "shutdown", and is there for other consumers at once, as after the
        shutdown of a worker. Its function goes on, as nobody can interrupt a thread, but what comes of it is not
        recorded: end the process, or let functions look whether they shall end. A poll that waits for messages is
        waited for, too. Does nothing if it is not started.
        """
        with self._lock:
            serving, self._serving = self._serving, None
        if serving is None:
            return True
        deadline_at_s = time.monotonic() + within_s
        for topic in serving.topics:
            topic.stop_polling()
        ended = all(topic.join(deadline_at_s) for topic in serving.topics)
        serving.extender.stop(deadline_at_s)
        if not ended:
            handed_back = _hand_back(serving)
            logger.warning(
                "consumer stopped before all was settled", extra={"within_s": within_s, "handed_back": handed_back}
            )
        return ended

    def _open(self, serving: _Serving, topic: str) -> None:
        threads = TopicThreads(
            serving.yard,
            topic,
            serving.extender,
            lambda: self._functions[topic],
            concurrency=self._options.concurrency,
            wait_s=serving.wait_s,
        )
        serving.topics.append(threads)
        threads.start()


@dataclass(frozen=True, slots=True)
class _Serving:
    """What a started consumer works with."""

    yard: Yard
    extender: LockExtender
    wait_s: int
    topics: list[TopicThreads] = field(default_factory=list)


def _hand_back(serving: _Serving) -> int:
    """Give what is locked to other consumers; returns how many messages that were."""
    dispositions = []
    for job in serving.extender.held_jobs():
        serving.extender.let_go(job)
        try:
            dispositions.append((job, poll.settle_locked(serving.yard, job, Interrupted(SHUT_DOWN))[1]))
        except poll.NotLocked:
            continue  # it was settled, or lost, in this very moment
        except Exception:  # its lock ends, and it is delivered again
            logger.exception("message comes back", extra={"job_id": job.id})
    poll.settle_messages(serving.yard, dispositions)
    return len(dispositions)


def _refuse_deployed(yard: Yard, topics: Iterable[str]) -> None:
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

"""Time, and who is next: greenlets that hand over, resumed in the order of a moved clock, by chance within a moment.

Nothing runs beside anything else: a greenlet goes on until it sleeps or waits for another. So a seed decides who meets
whom where, and the same seed decides the same again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet

from chalicelib.testing.clock import START_MS
from chalicelib.testing.world import WorkerDied


@dataclass(slots=True, eq=False)
class Process:
    """An operating system's process: all of its threads end at once when it is killed."""

    name: str
    dead: bool = False
    frozen_until_ms: int = 0
    invocations: int = 0
    busy: bool = False  # with an invocation
    threads: list[Thread] = field(default_factory=list)


class Thread(greenlet):  # type: ignore[misc]
    """A thread of a process. ``ticket`` is the number of its place in the schedule: an older place is void."""

    def __init__(self, process: Process, act: Callable[[], Any], hub: greenlet) -> None:
        super().__init__(self._whole, hub)
        self.process, self._act, self.ticket, self.joining = process, act, 0, []
        process.threads.append(self)

    def _whole(self) -> None:
        try:
            self._act()
        except WorkerDied:
            pass  # as its process was killed
        finally:
            self.process.threads.remove(self)


class Scheduler:
    """The schedule of one run."""

    def __init__(self, dice: Random) -> None:
        self.now_ms = START_MS
        self._dice, self._hub = dice, getcurrent()
        self._number, self._until_ms = 0, inf
        self._places: list[tuple[int, float, int, Thread | Callable[[], None]]] = []
        self._threads: list[Thread] = []

    def start(self, process: Process, act: Callable[[], Any], after_ms: int = 0) -> Thread:
        """Let a thread of ``process`` begin."""
        thread = Thread(process, act, self._hub)
        self._threads.append(thread)
        self._place(thread, self.now_ms + after_ms)
        return thread

    def at(self, at_ms: int, act: Callable[[], None]) -> None:
        """Let something happen that does not sleep."""
        self._number += 1
        heapq.heappush(self._places, (max(at_ms, self.now_ms), self._dice.random(), self._number, act))

    def sleep(self, ms: float) -> None:
        """Let ``ms`` pass for the thread that asks; raises ``WorkerDied`` if its process was killed meanwhile."""
        thread: Thread = getcurrent()
        at_ms, places = self.now_ms + round(ms), self._places
        if at_ms <= self._until_ms and not (places and places[0][0] <= at_ms) and not thread.process.dead:
            self._dice.random()  # as if it took its place
            self.now_ms = at_ms  # which would be the next one
        else:
            self._place(thread, at_ms)
            self._hand_over(thread)

    def park(self) -> None:
        """Wait until somebody calls ``wake``; raises as ``sleep`` does."""
        thread: Thread = getcurrent()
        thread.ticket = 0
        self._hand_over(thread)

    def wake(self, thread: Thread) -> None:
        """Let a thread that sleeps or is parked go on now."""
        self._place(thread, self.now_ms)

    def kill(self, process: Process) -> None:
        """End a process where it stands: none of its threads does anything more."""
        process.dead = True
        for thread in process.threads:
            if thread is not getcurrent():
                self._place(thread, self.now_ms)

    def run(self, until_ms: int | None = None) -> None:
        """Go on until nothing is planned, or nothing before ``until_ms``, which it is then."""
        places = self._places
        self._until_ms = until_ms if until_ms is not None else inf
        while places and places[0][0] <= self._until_ms:
            at_ms, _, number, who = heapq.heappop(places)
            if isinstance(who, Thread):
                if who.dead or who.ticket != number:
                    continue
                self.now_ms = at_ms
                who.switch()
            else:
                self.now_ms = at_ms
                who()
        if until_ms is not None:
            self.now_ms = max(self.now_ms, until_ms)

    def end(self) -> None:
        """End all threads where they stand: what one that waits refers to is never collected, as C's stack has it."""
        self._places.clear()
        for thread in self._threads:
            thread.process.dead = True
        for thread in self._threads:
            while not thread.dead:
                thread.throw()
        self._threads.clear()
        self._places.clear()

    def _place(self, thread: Thread, at_ms: int) -> None:
        self._number += 1
        thread.ticket = self._number
        heapq.heappush(self._places, (at_ms, self._dice.random(), self._number, thread))

    def _hand_over(self, thread: Thread) -> None:
        """Let others go on until it is this thread's turn: the next thread at once, all else by ``run``."""
        places = self._places
        while places and isinstance(places[0][3], Thread) and places[0][0] <= self._until_ms:
            at_ms, _, number, who = heapq.heappop(places)
            if who.ticket == number and not who.dead:
                self.now_ms = at_ms
                if who is not thread:
                    who.switch()
                break
        else:
            self._hub.switch()
        if thread.process.dead:
            raise WorkerDied


# -- what the engine takes for threading ------------------------------------------------------------------


class Lock:
    """A lock between threads of the schedule, that its holder may take again."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._holder, self._depth = scheduler, None, 0
        self._waiting: list[Thread] = []

    def __enter__(self) -> Lock:
        current = getcurrent()
        while self._holder not in (None, current):
            self._waiting.append(current)
            self._scheduler.park()
        self._holder, self._depth = current, self._depth + 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._holder = None
            waiting, self._waiting = self._waiting, []
            for thread in waiting:
                if not thread.dead:
                    self._scheduler.wake(thread)


class Event:
    """An event that threads of the schedule wait for."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._is_set = scheduler, False
        self._waiting: list[Thread] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for thread in self._waiting:
            if not thread.dead:
                self._scheduler.wake(thread)

    def wait(self, timeout_s: float) -> bool:
        if not self._is_set:
            current = getcurrent()
            self._waiting.append(current)
            try:
                self._scheduler.sleep(timeout_s * 1_000)
            finally:
                self._waiting.remove(current)
        return self._is_set


class Threading:
    """In the place of the module ``threading``, where the engine starts threads: they are the schedule's."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def Lock(self) -> Lock:  # noqa: N802 - the module's names
        return Lock(self._scheduler)

    RLock = Lock

    def Event(self) -> Event:  # noqa: N802
        return Event(self._scheduler)

    def Thread(self, target: Callable[[], None], **_: Any) -> Started:  # noqa: N802
        return Started(self._scheduler, target)

    @staticmethod
    def current_thread() -> object:
        """Never the main thread, so nothing is interrupted by signals: those would come by the machine's time."""
        return getcurrent()

    @staticmethod
    def main_thread() -> object:
        return None


class Started:
    """A thread that the engine has made."""

    def __init__(self, scheduler: Scheduler, target: Callable[[], None]) -> None:
        self._scheduler, self._target = scheduler, target
        self._thread: Thread | None = None

    def start(self) -> None:
        self._thread = self._scheduler.start(getcurrent().process, self._whole)

    def _whole(self) -> None:
        try:
            self._target()
        finally:
            assert self._thread is not None
            for thread in self._thread.joining:
                self._scheduler.wake(thread)

    def join(self) -> None:
        assert self._thread is not None
        while not self._thread.dead and self._thread in self._thread.process.threads:
            self._thread.joining.append(getcurrent())
            self._scheduler.park()
            self._thread.joining.remove(getcurrent())

"""The clients over HTTP: each repeats what was not answered, and writes down what it was told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from random import Random
from typing import Any
from urllib.error import URLError

from tests.chaos.handlers import ATTEMPTS
from tests.chaos.progress import Progress
from tests.proof.history import ABSENT, Accepted, Expected, History, Run, Told
from tests.support.client import Client

PATIENCE_S = 600.0  # a service that was killed whole is there again by then
REST_S = 0.3
POLLED = "letters"
ENDED_WELL = frozenset({"success"})
FAILED = frozenset({"failed"})
EITHER = frozenset({"success", "failed"})
ANY = frozenset({"success", "failed", "canceled"})
RUNS_MS = (0, 2, 10, 50)  # how long a run takes, and how often
RUNS_MS_WEIGHTS = (8, 4, 2, 1)
FAILING = 0.05  # of jobs, at first
REJECTING = 0.02


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Book:
    """What the clients of one step have been told, for several threads."""

    progress: Progress
    history: History = field(default_factory=History)
    lock: threading.Lock = field(default_factory=threading.Lock)
    accepted: int = 0
    aside: int = 0  # of these, what no handler may come to
    surprises: list[str] = field(default_factory=list)  # answers that no client should get

    def accept(self, job_id: int, type: str, **more: Any) -> None:  # noqa: A002
        with self.lock:
            if job_id not in self.history.accepted:
                self.accepted += 1
                self.history.accepted[job_id] = Accepted(job_id, type, **{"attempts": ATTEMPTS, **more})

    def expect(self, expected: Expected) -> None:
        with self.lock:
            self.history.expected.append(expected)

    def backlog(self) -> int:
        """About how many jobs are still to be run."""
        return self.accepted - self.aside - self.progress.done


@dataclass(slots=True)
class Person:
    """One client."""

    service: Client
    book: Book
    name: str
    dice: Random
    number: int = 0
    doubts: int = 0  # of the request at hand
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)  # what it comes back to, and when

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The answer to a request, repeated while it is vague about what happened."""
        self.doubts, gives_up_s = 0, time.monotonic() + PATIENCE_S
        while True:
            try:
                status, found = self.service.call(method, path, body)
            except (OSError, ValueError, HTTPException) as error:  # an answer may end in its middle
                status, found = 0, error
            if 0 < status < 500 and status != 429:
                return status, found
            if not _nobody_there(found):
                self.doubts += 1
                with self.book.lock:
                    self.book.history.doubts += 1
            assert time.monotonic() < gives_up_s, f"never answered: {method} {path}: {status} {found}"[:300]
            time.sleep(REST_S)

    def ref(self) -> str:
        self.number += 1
        return f"{self.name}-{self.number}"

    def tell(self, story: Callable[[Person], None]) -> None:
        """Ask for what a story asks for; an answer that it does not allow is noted, and ends it."""
        try:
            story(self)
        except AssertionError as surprise:
            self.book.surprises.append(f"{self.name} was answered: {surprise}")

    def come_back(self, in_s: float, act: Callable[[], None]) -> None:
        """Do something once so much time has passed, and tell other stories until then."""
        self.later.append((time.monotonic() + in_s, act))

    def do_what_is_due(self) -> None:
        """What was put off until now."""
        now_s = time.monotonic()
        due = [act for at_s, act in self.later if at_s <= now_s]
        self.later = [(at_s, act) for at_s, act in self.later if at_s > now_s]
        for act in due:
            self.tell(lambda _, act=act: act())

    def given(self, **more: Any) -> dict[str, Any]:
        given: dict[str, Any] = {"ms": self.dice.choices(RUNS_MS, RUNS_MS_WEIGHTS)[0], **more}
        if self.dice.random() < FAILING:
            given["fails"] = self.dice.choice((1, 2))
        if self.dice.random() < REJECTING:
            given["rejects"] = True
        return given

    def create(self, type: str, given: dict[str, Any], ends: frozenset[str] | None = None, **more: Any) -> int:  # noqa: A002
        """A task; returns its id."""
        due_at_ms = now_ms() + more["delay"] * 1_000 if "delay" in more else 0
        status, found = self.ask("POST", "/api/task/create", {**a_task(type, given), **more})
        assert status == 200, found
        job_id = int(found["id"])
        self.book.accept(job_id, type, ends=ends or ends_of(given), light=type == "light", due_at_ms=due_at_ms)
        return job_id

    def look(self, job_id: int) -> str:
        """Ask how a task stands."""
        asked_ms = now_ms()
        status, found = self.ask("GET", f"/api/task/detail?id={job_id}")
        state = str(found["status"]) if status == 200 else ABSENT
        with self.book.lock:
            self.book.history.told.append(Told(job_id, state, None, asked_ms, now_ms()))
        return state


def _nobody_there(error: object) -> bool:
    """Whether a request reached nobody at all."""
    return isinstance(error, URLError) and isinstance(error.reason, ConnectionRefusedError)


def a_task(type: str, given: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    """The body that creates one."""
    return {"type": type, "targetId": "t", "targetType": "chaos", "runnerType": "system", "input": given}


def ends_of(given: dict[str, Any]) -> frozenset[str]:
    """How a job of this input ends."""
    return FAILED if given.get("rejects") else ENDED_WELL


def consume(person: Person, ended: Callable[[], bool]) -> None:
    """Poll, and settle what comes: mostly well, now and then not at all."""
    while not ended():
        status, found = person.ask("GET", f"/mq/message/poll?topic={POLLED}&limit=10&lockTimeout=10000")
        if status != 200 or not found:
            time.sleep(0.5)
            continue
        for each in found:
            _settle(person, each)


def _settle(person: Person, polled: dict[str, Any]) -> None:
    job_id, attempt = int(polled["id"]), polled["retryCount"] + 1
    run = Run(job_id, attempt, f"lock {polled['lockToken']}", POLLED, None, 0, person.name, now_ms())
    with person.book.lock:
        person.book.history.runs.append(run)
        person.book.history.asked.add(job_id)
    luck = person.dice.random()
    run.ended_ms = now_ms()
    if luck < 0.03:
        return
    what = "fail" if luck < 0.1 else "complete"
    given = {"id": polled["id"], "lockToken": polled["lockToken"], **({"error": "no"} if what == "fail" else {})}
    status, _found = person.ask("POST", f"/mq/message/{what}", given)
    run.how = "failed" if what == "fail" else "ok"
    if status == 200 and what == "complete":
        with person.book.lock:
            person.book.history.settled.setdefault((job_id, "0"), []).append(person.name)

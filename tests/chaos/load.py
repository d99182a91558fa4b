"""The clients: each tells one story after the other over HTTP, and repeats what was not answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.chaos.handlers import ATTEMPTS
from tests.proof.history import Accepted, Expected, History, Run, Told
from tests.support.client import Client

TRIES = 60
REST_S = 0.5
POLLED = "letters"
ENDED_WELL = frozenset({"success"})
EITHER = frozenset({"success", "failed"})
ANY = frozenset({"success", "failed", "canceled"})
STATES = {"PENDING": "pending", "PROCESSING": "running", "COMPLETED": "success", "FAILED": "failed"}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Book:
    """What the clients of one step have been told, for several threads."""

    history: History = field(default_factory=History)
    lock: threading.Lock = field(default_factory=threading.Lock)
    accepted: int = 0
    last_error: str = ""

    def accept(self, job_id: int, type: str, **more: Any) -> None:  # noqa: A002
        with self.lock:
            if job_id not in self.history.accepted:
                self.accepted += 1
                self.history.accepted[job_id] = Accepted(job_id, type, **{"attempts": ATTEMPTS, **more})


@dataclass(slots=True)
class Person:
    """One client."""

    service: Client
    book: Book
    name: str
    dice: Random
    number: int = 0
    doubts: int = 0  # of the request at hand

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The answer to a request, repeated while it is vague about what happened."""
        self.doubts = 0
        for _ in range(TRIES):
            try:
                status, found = self.service.call(method, path, body)
            except (OSError, ValueError) as error:
                status, found = 0, repr(error)
            if 0 < status < 500 and status != 429:
                return status, found
            self.doubts += 1
            with self.book.lock:
                self.book.history.doubts += 1
                self.book.last_error = f"{method} {path}: {status} {found}"[:300]
            time.sleep(REST_S)
        raise AssertionError(f"never answered: {self.book.last_error}")

    def ref(self) -> str:
        self.number += 1
        return f"{self.name}-{self.number}"

    def given(self, **more: Any) -> dict[str, Any]:
        given: dict[str, Any] = {"ms": self.dice.choice((0, 2, 10, 50)), **more}
        if self.dice.random() < 0.15:
            given["fails"] = self.dice.choice((1, 2))
        if self.dice.random() < 0.05:
            given["rejects"] = True
        return given

    def create(self, type: str, given: dict[str, Any], ends: frozenset[str] | None = None, **more: Any) -> int:  # noqa: A002
        """A task; returns its id."""
        body = {"type": type, "targetId": "t", "targetType": "chaos", "runnerType": "system", "input": given, **more}
        status, found = self.ask("POST", "/api/task/create", body)
        assert status == 200, found
        self.book.accept(int(found["id"]), type, ends=ends or _ends(given), light=type == "light")
        return int(found["id"])

    def look(self, job_id: int) -> str | None:
        """Ask how a task stands."""
        asked_ms = now_ms()
        status, found = self.ask("GET", f"/api/task/detail?id={job_id}")
        if status == 404:
            return None  # its record is still to be written
        state = str(found["status"])
        with self.book.lock:
            self.book.history.told.append(Told(job_id, state, None, asked_ms, now_ms()))
        return state


def _ends(given: dict[str, Any]) -> frozenset[str]:
    return frozenset({"failed"}) if given.get("rejects") else ENDED_WELL


def several(person: Person) -> None:
    type = person.dice.choice(("plain", "light", "batched", "lone", "keyed", "ordered"))  # noqa: A001
    inputs = [person.given(k=person.dice.choice("abcdef")) for _ in range(person.dice.randint(2, 20))]
    tasks = [{"type": type, "targetId": "t", "targetType": "chaos", "runnerType": "system", "input": g} for g in inputs]
    status, found = person.ask("POST", "/api/task/create-batch", {"tasks": tasks})
    assert status == 200, found
    for given, outcome in zip(inputs, found["results"], strict=True):
        if outcome["success"]:
            person.book.accept(int(outcome["task"]["id"]), type, ends=_ends(given), light=type == "light")


def one(person: Person) -> None:
    type = person.dice.choice(("plain", "light", "lone", "keyed"))  # noqa: A001
    job_id = person.create(type, person.given(k="a"))
    if person.dice.random() < 0.3:
        person.look(job_id)


def late(person: Person) -> None:
    delay_s = person.dice.choice((1, 5, 15))
    due_at_ms = now_ms() + delay_s * 1_000
    job_id = person.create("plain", person.given(), delay=delay_s)
    with person.book.lock:
        known = person.book.history.accepted.pop(job_id)
    person.book.accepted -= 1
    person.book.accept(job_id, "plain", ends=known.ends, due_at_ms=due_at_ms)


def once(person: Person) -> None:
    key, given = f"key-{person.ref()}", person.given()
    for _ in range(2):
        job_id = person.create("plain", given, idempotencyKey=key)
        with person.book.lock:
            person.book.history.keys.setdefault(key, set()).add(job_id)


def message(person: Person) -> None:
    topic, given = person.dice.choice(("news", POLLED)), person.given()
    given.pop("rejects", None)
    status, found = person.ask(
        "POST", "/mq/message/publish", {"topic": topic, "payload": given, "maxRetries": ATTEMPTS}
    )
    assert status == 200, found
    person.book.accept(int(found["id"]), topic, ends=ENDED_WELL if topic == "news" else EITHER)


def canceled(person: Person) -> None:
    job_id = person.create(
        person.dice.choice(("plain", "lone")), person.given(), ANY, delay=person.dice.choice((0, 20))
    )
    time.sleep(person.dice.random())
    person.ask("POST", "/api/task/cancel", {"id": job_id})


def by_hand(person: Person) -> None:
    job_id = person.create("plain", {}, EITHER, runnerType="manual")
    person.book.history.asked.add(job_id)
    status, found = person.ask("POST", "/api/task/complete", {"id": job_id, "status": "success"})
    assert status in (200, 404, 409), found
    if status == 200:
        with person.book.lock:
            person.book.history.settled.setdefault((job_id, "0"), []).append(person.name)


def chained(person: Person) -> None:
    ref = person.ref()
    job_id = person.create("plain", person.given(), next={"type": "plain", "input": {"ref": ref}})
    with person.book.lock:
        person.book.history.expected.append(Expected(ref, (job_id,), most=1 + person.doubts))


def family(person: Person) -> None:
    parent = person.create("plain", {"ms": 20})
    ref = person.ref()
    body = {"type": "plain", "targetId": "t", "targetType": "chaos", "runnerType": "system", "input": {"ref": ref}}
    status, found = person.ask("POST", "/api/task/create", {**body, "parentTaskId": str(parent)})
    if status == 200:  # else its parent's record is still to be written
        person.book.accept(int(found["id"]), "plain", after=(parent,))
        with person.book.lock:
            person.book.history.expected.append(Expected(ref, (parent,), most=1 + person.doubts))


def graph(person: Person) -> None:
    name = person.ref()
    nodes = [
        {"name": node, "type": "plain", "input": {"ref": f"{name} {node}", "ms": 5}, "after": after}
        for node, after in (("a", []), ("b", ["a"]), ("c", ["a"]), ("d", ["b", "c"]))
    ]
    status, found = person.ask("POST", "/api/task/graph", {"nodes": nodes, "idempotencyKey": f"graph {name}"})
    assert status == 200, found
    with person.book.lock:
        for node in nodes[1:]:
            refs = tuple(f"{name} {each}" for each in node["after"])
            person.book.history.expected.append(Expected(node["input"]["ref"], after_refs=refs))
    person.book.accepted += len(nodes)


STORIES: tuple[tuple[Callable[[Person], None], int], ...] = (
    (several, 5),
    (one, 6),
    (late, 2),
    (once, 1),
    (message, 6),
    (canceled, 1),
    (by_hand, 1),
    (chained, 1),
    (family, 1),
    (graph, 1),
)


def tell_stories(person: Person, enough: Callable[[], bool]) -> None:
    """One after the other, until there are enough."""
    stories, weights = zip(*STORIES, strict=True)
    while not enough():
        person.dice.choices(stories, weights)[0](person)


def consume(person: Person, ended: Callable[[], bool]) -> None:
    """Poll, and settle what comes: mostly well, now and then not at all, unless the end is near."""
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

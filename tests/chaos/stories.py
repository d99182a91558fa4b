"""What clients ask for: one story after the other, and later what follows from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from tests.chaos.clients import ANY, EITHER, ENDED_WELL, FAILED, POLLED, Person, a_task, ends_of, now_ms
from tests.chaos.handlers import ATTEMPTS
from tests.proof.history import Expected

KEYS = [f"k{number}" for number in range(24)]
SLOT_S = 2
BULK = 100  # at once, mostly
BULK_WEIGHTS = {"light": 20, "batched": 5, "plain": 4, "told": 1, "keyed": 1, "ordered": 1, "lone": 1}
BACKLOG_S = 60.0  # that clients wait at most for what they have asked for


def several(person: Person) -> None:
    type = person.dice.choices([*BULK_WEIGHTS], [*BULK_WEIGHTS.values()])[0]  # noqa: A001
    number = _bulk(person) // (10 if type == "lone" else 1)
    inputs = [person.given(k=person.dice.choice(KEYS)) for _ in range(number)]
    body = {"tasks": [a_task(type, given) for given in inputs]}
    status, found = person.ask("POST", "/api/task/create-batch", body)
    assert status == 200, found
    for given, outcome in zip(inputs, found["results"], strict=True):
        if outcome["success"]:
            person.book.accept(int(outcome["task"]["id"]), type, ends=ends_of(given), light=type == "light")


def _bulk(person: Person) -> int:
    return BULK if person.dice.random() < 0.7 else person.dice.randint(10, BULK)


def one(person: Person) -> None:
    type = person.dice.choice(("plain", "told", "light", "lone", "keyed"))  # noqa: A001
    job_id = person.create(type, person.given(k=person.dice.choice(KEYS)))
    if person.dice.random() < 0.3:
        person.look(job_id)


def late(person: Person) -> None:
    person.create("plain", person.given(), delay=person.dice.choice((1, 5, 15)))


def once(person: Person) -> None:
    key, given = f"key-{person.ref()}", person.given()
    for _ in range(2):
        job_id = person.create("plain", given, idempotencyKey=key)
        with person.book.lock:
            person.book.history.keys.setdefault(key, set()).add(job_id)


def message(person: Person) -> None:
    topic, given = person.dice.choice(("news", "news", POLLED)), person.given()
    given.pop("rejects", None)
    body = {"topic": topic, "payload": given, "maxRetries": ATTEMPTS}
    status, found = person.ask("POST", "/mq/message/publish", body)
    assert status == 200, found
    person.book.accept(int(found["id"]), topic, ends=ENDED_WELL if topic == "news" else EITHER)
    person.book.aside += topic == POLLED


def messages(person: Person) -> None:
    inputs = [{**person.given(), "rejects": False} for _ in range(_bulk(person))]
    body = {"messages": [{"topic": "news", "payload": given, "maxRetries": ATTEMPTS} for given in inputs]}
    status, found = person.ask("POST", "/mq/message/publish-batch", body)
    assert status == 200, found
    for outcome in found["results"]:
        if outcome["success"]:
            person.book.accept(int(outcome["message"]["id"]), "news", ends=ENDED_WELL)


def canceled(person: Person) -> None:
    type, delay_s = person.dice.choice(("plain", "lone")), person.dice.choice((0, 20))  # noqa: A001
    job_id = person.create(type, person.given(), ANY, delay=delay_s)
    person.book.aside += 1
    person.come_back(person.dice.random(), lambda: person.ask("POST", "/api/task/cancel", {"id": job_id}) and None)


def by_hand(person: Person) -> None:
    job_id = person.create("plain", {}, EITHER, runnerType="manual")
    person.book.aside += 1
    person.book.history.asked.add(job_id)
    status, found = person.ask("POST", "/api/task/complete", {"id": job_id, "status": "success"})
    assert status == 200 or (status == 409 and person.doubts), found
    if status == 200:
        with person.book.lock:
            person.book.history.settled.setdefault((job_id, "0"), []).append(person.name)


def chained(person: Person) -> None:
    ref = person.ref()
    job_id = person.create("plain", person.given(), next={"type": "plain", "input": {"ref": ref}})
    person.book.expect(Expected(ref, (job_id,), most=1 + person.doubts))


def family(person: Person) -> None:
    parent, ref = person.create("plain", {"ms": 20}), person.ref()
    body = {**a_task("plain", {"ref": ref}), "parentTaskId": str(parent)}
    status, found = person.ask("POST", "/api/task/create", body)
    assert status == 200, found
    person.book.accept(int(found["id"]), "plain", after=(parent,))
    person.book.expect(Expected(ref, (parent,), most=1 + person.doubts))


def graph(person: Person) -> None:
    name = person.ref()
    nodes = [
        {"name": node, "type": "plain", "input": {"ref": f"{name} {node}", "ms": 5}, "after": after}
        for node, after in (("a", []), ("b", ["a"]), ("c", ["a"]), ("d", ["b", "c"]))
    ]
    status, found = person.ask("POST", "/api/task/graph", {"nodes": nodes, "idempotencyKey": f"graph {name}"})
    assert status == 200, found
    for node in nodes[1:]:
        person.book.expect(Expected(node["input"]["ref"], after_refs=tuple(f"{name} {each}" for each in node["after"])))
    person.book.accepted += len(nodes)


def scheduled(person: Person) -> None:
    """A few slots, and then it ends; each of them is to run."""
    name, slots = person.ref(), person.dice.randint(2, 6)
    first_ms = now_ms() // 1_000 * 1_000 + person.dice.choice((3_000, 10_000))
    last_ms = first_ms + (slots - 1) * SLOT_S * 1_000
    task = {"type": "plain", "input": {"ms": 5}}
    body = {"name": name, "everyS": SLOT_S, "startAt": _iso(first_ms), "endAt": _iso(last_ms), "missed": "all"}
    status, found = person.ask("POST", "/api/schedule/create", {**body, "task": task})
    if status == 422 and now_ms() > last_ms:
        return  # it was answered too late
    assert status == 200 or (status == 409 and person.doubts), found
    answered_ms = now_ms()
    with person.book.lock:
        all_slots = range(first_ms, last_ms + 1, SLOT_S * 1_000)
        person.book.history.slots |= {(name, each) for each in all_slots if each > answered_ms}
        person.book.accepted += slots


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat()


def retried(person: Person) -> None:
    """It fails for good, and is given another life by request."""
    job_id = person.create("plain", {"ms": 5, "rejects": "at first"}, ENDED_WELL)
    person.come_back(1, partial(_retry, person, job_id))


def _retry(person: Person, job_id: int) -> None:
    if person.look(job_id) in ("pending", "running"):
        person.come_back(1, partial(_retry, person, job_id))
        return
    asked_ms = now_ms()
    with person.book.lock:
        person.book.history.restarted.append((job_id, asked_ms))
    status, found = person.ask("POST", "/api/task/retry", {"id": job_id})
    assert status == 200 or (status == 409 and person.doubts), found


def replayed(person: Person) -> None:
    """A dead letter is replayed, and dies again."""
    body = {"topic": "news", "payload": {"ms": 5, "rejects": True}, "maxRetries": ATTEMPTS}
    status, found = person.ask("POST", "/mq/message/publish", body)
    assert status == 200, found
    job_id = int(found["id"])
    person.book.accept(job_id, "news", ends=FAILED)
    person.come_back(2, partial(_replay, person, job_id))


def _replay(person: Person, job_id: int) -> None:
    status, found = person.ask("POST", "/mq/dlq/replay", {"id": str(job_id)})
    if status == 404:  # not dead yet
        person.come_back(1, partial(_replay, person, job_id))
        return
    assert status == 200 or (status == 400 and person.doubts), found
    if status == 200:
        person.book.accept(int(found["id"]), "news", ends=FAILED)


STORIES: tuple[tuple[Callable[[Person], None], int], ...] = (
    (several, 12),
    (messages, 2),
    (one, 8),
    (late, 2),
    (once, 1),
    (message, 6),
    (canceled, 1),
    (by_hand, 1),
    (chained, 1),
    (family, 1),
    (graph, 1),
    (scheduled, 1),
    (retried, 1),
    (replayed, 1),
)


def tell_stories(person: Person, enough: Callable[[], bool], backlog: int) -> None:
    """One after the other, until there are enough; never far ahead of the workers, so that faults meet all of it."""
    stories, weights = zip(*STORIES, strict=True)
    while not enough():
        _wait_for_workers(person, backlog)
        person.tell(person.dice.choices(stories, weights)[0])
        person.do_what_is_due()
    while person.later:
        time.sleep(0.2)
        person.do_what_is_due()


def _wait_for_workers(person: Person, backlog: int) -> None:
    gives_up_s = time.monotonic() + BACKLOG_S
    while person.book.backlog() > backlog and time.monotonic() < gives_up_s:
        time.sleep(0.2)
        person.book.progress.look()
        person.do_what_is_due()

"""Stories of one client and one job, or several that know nothing of each other."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

from chalicelib.core.errors import Conflict, NotFound, TaskyardError
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.states import Kind
from chalicelib.engine.commands.complete import Completion, complete, process_next
from chalicelib.engine.commands.lifecycle import cancel, delete, promote, replay, retry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.pause import pause, resume, type_target
from chalicelib.engine.yard import Yard
from tests.simulation.clients import Person
from tests.simulation.consumers import POLLED

RUN_MS = (0, 5, 500, 5_000)
ANSWER = '{"code": 0, "data": {}, "message": ""}'
DONE = frozenset({"success"})
ANY = frozenset({"success", "failed", "canceled"})


def given_by(dice: Random, **more: Any) -> dict[str, Any]:
    """An input: mostly short and well."""
    given: dict[str, Any] = {"ms": dice.choice(RUN_MS), **more}
    if dice.random() < 0.12:
        given["ms"] = dice.choice((25_000, 90_000))
    if dice.random() < 0.25:
        given["fails"] = dice.choice((1, 2, 9))
    if dice.random() < 0.05:
        given["rejects"] = True
    return given


def ends_of(given: dict[str, Any]) -> frozenset[str]:
    """How a job of this input may end: faults may use up attempts in any case."""
    return (
        frozenset({"failed"}) if given.get("rejects") or given.get("fails") == 9 else frozenset({"success", "failed"})
    )


def creating(person: Person, type: str, given: dict[str, Any], **more: Any) -> Job:  # noqa: A002
    """Create a task."""
    job = person.ask(
        lambda yard: publish(yard, NewJob(kind=Kind.TASK, type=type, input=given, **more)), f"create {type}"
    )
    person.accept(job, ends=ends_of(given), light=type == "light", due_at_ms=more.get("due_at_ms") or 0)
    return job


def a_task(person: Person) -> None:
    type = person.dice.choice(("plain", "light", "batched"))  # noqa: A001
    job = creating(person, type, given_by(person.dice))
    if person.dice.random() < 0.5:
        person.wait(10_000)
        person.look(job.id)


def a_late_task(person: Person) -> None:
    delay_ms = person.dice.choice((2_000, 100_000, 1_500_000))
    due_at_ms = person.scheduler.now_ms + delay_ms
    creating(person, "plain", given_by(person.dice), due_at_ms=due_at_ms)


def limited(person: Person) -> None:
    type = person.dice.choice(("lone", "keyed", "ordered"))  # noqa: A001
    for _ in range(person.dice.randint(1, 3)):
        creating(person, type, given_by(person.dice, k=person.dice.choice("ab")))
        person.wait(1_000)


def many(person: Person) -> None:
    inputs = [given_by(person.dice) for _ in range(person.dice.randint(2, 4))]
    type = person.dice.choice(("plain", "light"))  # noqa: A001
    asked = [NewJob(kind=Kind.TASK, type=type, input=given) for given in inputs]
    told = person.ask(lambda yard: publish_many(yard, asked), f"create {len(asked)} at once")
    for given, outcome in zip(inputs, told, strict=True):
        if isinstance(outcome, Job):
            person.accept(outcome, ends=ends_of(given), light=type == "light")


def once(person: Person) -> None:
    """Under one idempotency key, asked for again and again."""
    given, key = given_by(person.dice), f"key-{person.name}"
    for _ in range(2):
        job = creating(person, "plain", given, idempotency_key=key)
        person.history.keys.setdefault(key, set()).add(job.id)
        person.wait(5_000)


def a_message(person: Person) -> None:
    topic, given = person.dice.choice((POLLED, "news")), given_by(person.dice)
    given.pop("rejects", None)
    job = person.ask(lambda yard: publish(yard, NewJob(kind=Kind.MESSAGE, type=topic, input=given)), f"publish {topic}")
    person.accept(job, ends=ANY - {"canceled"})


def canceled(person: Person) -> None:
    job = creating(person, person.dice.choice(("plain", "lone", "ordered")), given_by(person.dice, k="a"))
    allow(person, job, ANY)
    person.wait(person.dice.choice((100, 5_000, 60_000)))
    try:
        person.ask(lambda yard: cancel(yard, job.id, Kind.TASK), f"cancel {job.id}")
    except Conflict:  # it has ended
        person.look(job.id)


def by_hand(person: Person) -> None:
    """Completed by a person, who may be told of an end that was his own."""
    runner = person.dice.choice((MANUAL, MANUAL, "system"))
    job = creating(person, "plain", given_by(person.dice), runner=runner)
    allow(person, job, ANY - {"canceled"})
    person.wait(5_000)
    success = person.dice.random() < 0.7
    person.history.asked.add(job.id)
    try:
        person.ask(lambda yard: complete(yard, job.id, Completion(success=success)), f"complete {job.id}")
        person.history.settled.setdefault((job.id, "0"), []).append(person.name)
    except Conflict:  # it has ended
        person.look(job.id)


def revived(person: Person) -> None:
    """Retried by request once it has failed, or replayed."""
    job = creating(person, "plain", {"ms": 5, "rejects": True})
    for _ in range(20):
        person.wait(60_000)
        seen = person.look(job.id)
        if seen is not None and seen.state.terminal:
            break
    again = person.dice.choice((retry, replay))

    def once_more(yard: Yard) -> Job:
        person.history.restarted.append((job.id, person.scheduler.now_ms))  # perhaps several times, if in doubt
        return again(yard, job.id, Kind.TASK)

    try:
        new = person.ask(once_more, f"{again.__name__} {job.id}")
    except TaskyardError as error:
        person.note(f"refused: {error}")
        return
    person.accept(new, ends=frozenset({"failed"}))


def allow(person: Person, job: Job, ends: frozenset[str]) -> None:
    """However it ends, the client has asked for it."""
    known = person.history.accepted.pop(job.id)
    person.accept(job, ends=ends, light=known.light, attempts=known.attempts)


def parked(person: Person) -> None:
    """It waits for a call from outside, which comes once it does."""
    job = creating(person, "plain", {"ms": 5, "parks": True})
    allow(person, job, ANY - {"canceled"})
    person.history.asked.add(job.id)
    for _ in range(60):
        person.wait(20_000)
        seen = person.look(job.id)
        if seen is None or not seen.state.terminal:
            with suppress(Conflict, NotFound):  # it does not wait yet
                person.ask(lambda yard: process_next(yard, job.id, ANSWER), f"call {job.id} back")
                return
        else:
            return
    with suppress(Conflict, NotFound):
        person.ask(lambda yard: complete(yard, job.id, Completion(success=True)), f"complete {job.id}")


def polling(person: Person) -> None:
    """It looks again and again until it is done."""
    creating(person, "plain", given_by(person.dice, polls=person.dice.randint(1, 4)))


def paced(person: Person) -> None:
    """More of a type than may begin at once."""
    for _ in range(person.dice.randint(2, 4)):
        creating(person, "paced", {"ms": 5})


def promoted(person: Person) -> None:
    """Its delay is ended by request."""
    job = creating(person, "plain", {"ms": 5}, due_at_ms=person.scheduler.now_ms + 1_500_000)
    person.history.promoted.add(job.id)
    person.wait(30_000)
    with suppress(Conflict, NotFound):
        person.ask(lambda yard: promote(yard, job.id, Kind.TASK), f"promote {job.id}")


def deleted(person: Person) -> None:
    """Taken away, with force."""
    job = creating(person, person.dice.choice(("plain", "lone")), given_by(person.dice))
    allow(person, job, ANY)
    person.wait(20_000)
    person.history.deleted.add(job.id)
    with suppress(Conflict, NotFound):
        person.ask(lambda yard: delete(yard, job.id, Kind.TASK, force=True), f"delete {job.id}")


def paused(person: Person) -> None:
    """A type is paused for a while, and created meanwhile."""
    target = type_target("lone")
    person.ask(lambda yard: pause(yard, target), "pause lone")
    creating(person, "lone", {"ms": 5})
    person.wait(30_000)
    for _ in range(2):  # the second for a pause that was late, and which its client had given up
        with suppress(NotFound):
            person.ask(lambda yard: resume(yard, target), "resume lone")
        person.scheduler.sleep(240_000)

"""What is done in a run: a few orders of every kind, chosen by seed, each a little story of one client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from chalicelib.core.errors import Conflict, NotFound, TaskyardError
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.complete import Completion, complete
from chalicelib.engine.commands.lifecycle import cancel, replay, retry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling import poll as polling
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.yard import Yard
from tests.proof.history import Run
from tests.simulation.clients import Person

Story = Callable[[Person], None]
RUN_MS = (0, 5, 500, 5_000)
POLLED = "letters"
LOCK_MS = 30_000
DONE = frozenset({"success"})
ANY = frozenset({"success", "failed", "canceled"})


@dataclass(frozen=True, slots=True)
class Order:
    """One story, and who tells it: its dice are its own, so that leaving out another order changes little."""

    number: int
    name: str
    seed: int
    after_ms: int


def orders(dice: Random) -> list[Order]:
    """The orders of a seed."""
    names = dice.choices([*STORIES], k=dice.randint(2, 5))
    return [Order(number, name, dice.getrandbits(32), dice.randrange(3_000)) for number, name in enumerate(names)]


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


def _ends(given: dict[str, Any]) -> frozenset[str]:
    """How a job of this input may end: faults may use up attempts in any case."""
    return (
        frozenset({"failed"}) if given.get("rejects") or given.get("fails") == 9 else frozenset({"success", "failed"})
    )


def creating(person: Person, type: str, given: dict[str, Any], **more: Any) -> Job:  # noqa: A002
    """Create a task."""
    job = person.ask(
        lambda yard: publish(yard, NewJob(kind=Kind.TASK, type=type, input=given, **more)), f"create {type}"
    )
    person.accept(job, ends=_ends(given), light=type == "light", due_at_ms=more.get("due_at_ms") or 0)
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
            person.accept(outcome, ends=_ends(given), light=type == "light")


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
    _allow(person, job, ANY)
    person.wait(person.dice.choice((100, 5_000, 60_000)))
    try:
        person.ask(lambda yard: cancel(yard, job.id, Kind.TASK), f"cancel {job.id}")
    except (Conflict, NotFound):  # it has ended, or its record is still to be written
        person.look(job.id)


def by_hand(person: Person) -> None:
    """Completed by a person, who may be told of an end that was his own."""
    runner = person.dice.choice((MANUAL, MANUAL, "system"))
    job = creating(person, "plain", given_by(person.dice), runner=runner)
    _allow(person, job, ANY - {"canceled"})
    person.wait(5_000)
    success = person.dice.random() < 0.7
    person.history.asked.add(job.id)
    try:
        person.ask(lambda yard: complete(yard, job.id, Completion(success=success)), f"complete {job.id}")
        person.history.settled.setdefault((job.id, "0"), []).append(person.name)
    except (Conflict, NotFound):  # it has ended, or its record is still to be written
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


def _allow(person: Person, job: Job, ends: frozenset[str]) -> None:
    """However it ends, the client has asked for it."""
    known = person.history.accepted.pop(job.id)
    person.accept(job, ends=ends, light=known.light, attempts=known.attempts)


STORIES: dict[str, Story] = {
    "task": a_task,
    "late": a_late_task,
    "limited": limited,
    "many": many,
    "once": once,
    "message": a_message,
    "canceled": canceled,
    "by hand": by_hand,
    "revived": revived,
}


def consuming(person: Person) -> None:
    """Poll for ever, and settle what comes: mostly well; now and then not at all."""
    while True:
        seen = person.platform.shown
        try:
            jobs = person.ask(lambda yard: polling.poll(yard, POLLED, 5, LOCK_MS, person.name), "poll")
        except TaskyardError as error:
            raise AssertionError(f"a poll is refused: {error}") from error
        if not jobs:
            person.platform.wait_for_message(seen)
        for job in jobs:
            _work(person, job)


def _work(person: Person, job: Job) -> None:
    now_ms = person.scheduler.now_ms
    run = Run(job.id, job.attempts, "", job.type, None, 0, person.name, now_ms, due_at_ms=job.due_at_ms)
    person.history.runs.append(run)
    person.wait(person.dice.choice((10, 2_000, 40_000)))
    luck = 1.0 if person.platform.weather.fair else person.dice.random()
    run.ended_ms = person.scheduler.now_ms
    if luck < 0.1:
        person.note(f"leaves {job.id} lying")
        return
    person.history.asked.add(job.id)
    token = job.lease if person.dice.random() < 0.7 else None
    what = "fail" if luck < 0.25 else "complete"
    act = (
        (lambda yard: polling.fail(yard, job.id, "no", token))
        if what == "fail"
        else (lambda yard: polling.complete(yard, job.id, token))
    )
    try:
        settled = person.ask(act, f"{what} {job.id}, attempt {job.attempts}")
    except (Conflict, NotFound):
        run.how = "failed" if what == "fail" else "ok"  # perhaps: an answer before may have been lost
        return
    run.how = "failed" if what == "fail" else "ok"
    if settled.state is State.SUCCESS and what == "complete":
        person.history.settled.setdefault((job.id, "0"), []).append(person.name)

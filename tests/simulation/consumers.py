"""Clients that poll a topic and settle what they get."""

from __future__ import annotations

from chalicelib.core.errors import Conflict, NotFound, TaskyardError
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.engine.polling import poll as polling
from tests.proof.history import Run
from tests.simulation.clients import Person

POLLED = "letters"
LOCK_MS = 30_000


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

"""Stories of jobs that have to do with each other: what follows another, what keeps another away."""

from __future__ import annotations

from contextlib import suppress

from chalicelib.core.errors import Conflict, NotFound, TaskyardError
from chalicelib.core.graph_order import arranged
from chalicelib.core.graphs import OnFailure, Plan
from chalicelib.core.states import Kind
from chalicelib.engine.commands import schedules
from chalicelib.engine.commands.lifecycle import pass_over
from chalicelib.engine.graphs.accept import NewGraph, accept
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from tests.proof.history import Expected
from tests.simulation.clients import Person
from tests.simulation.stories import ANY, allow, creating, given_by

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def chain(person: Person) -> None:
    """A task, and one that its success starts."""
    ref = f"after {person.name}"
    job = creating(person, "plain", given_by(person.dice), next={"type": "plain", "input": {"ms": 5, "ref": ref}})
    person.history.expected.append(Expected(ref, (job.id,), most=1 + person.doubts))


def family(person: Person) -> None:
    """A parent, and a child that waits for it."""
    parent = creating(person, "plain", given_by(person.dice))
    asked = NewJob(kind=Kind.TASK, type="plain", input={"ms": 5, "ref": f"child {person.name}"}, parent_id=parent.id)
    try:
        child = person.ask(lambda yard: publish(yard, asked), f"create a child of {parent.id}")
    except TaskyardError as error:  # it has failed, or its record is still to be written
        person.note(f"refused: {error}")
        return
    person.accept(child, after=(parent.id,), ends=frozenset({"success", "failed"}))
    person.history.expected.append(Expected(f"child {person.name}", (parent.id,), most=1 + person.doubts))


def graph(person: Person) -> None:
    """One before two, and one behind both."""
    nodes = []
    for name, after in DIAMOND.items():
        given = given_by(person.dice, ref=f"{person.name} {name}")
        nodes.append((name, {"type": "plain", "input": given}, after))
    plan = Plan(arranged(nodes), person.dice.choice((OnFailure.STOP, OnFailure.CONTINUE)))
    asked = NewGraph(plan=plan, idempotency_key=f"graph {person.name}")
    person.ask(lambda yard: accept(yard, asked), "create a graph")
    if plan.on_failure is OnFailure.STOP:
        for name, after in DIAMOND.items():
            if after:
                refs = tuple(f"{person.name} {each}" for each in after)
                person.history.expected.append(Expected(f"{person.name} {name}", after_refs=refs, surely=False))


def scheduled(person: Person) -> None:
    """Every half minute for a while; the clock ticks once a minute, or now and then twice."""
    name = f"every {person.name}"

    def create(yard: object) -> object:
        given = {"name": name, "kind": Kind.TASK, "work": {"type": "plain", "input": {"ms": 5}}}
        return schedules.create(yard, schedules.new(yard, **given, every_ms=30_000, max_runs=4))

    with suppress(Conflict):  # it is there from a try before
        person.ask(create, "create a schedule")
    for _ in range(4):
        for _ in range(person.dice.choice((1, 1, 2))):
            person.platform.tick()
        person.scheduler.sleep(60_000)
    with suppress(NotFound):
        person.ask(lambda yard: schedules.delete(yard, name), "delete the schedule")


def alike(person: Person) -> None:
    """Asked for twice; while the first is not done, the second is answered with it."""
    for _ in range(person.dice.randint(2, 3)):
        job = creating(person, "unique", given_by(person.dice, k=person.dice.choice("ab")))
        allow(person, job, ANY)  # perhaps it is another client's, with another input
        person.wait(5_000)


def newest(person: Person) -> None:
    """Of several, soon after one another, the newest alone runs."""
    for _ in range(person.dice.randint(2, 3)):
        job = creating(person, "newest", {"ms": 5, "k": "a"})
        allow(person, job, ANY)
        person.wait(4_000)


def strict(person: Person) -> None:
    """One that fails keeps those behind it waiting, until somebody lets them go."""
    key = f"first {person.name}"
    first = creating(person, "strict", {"ms": 5, "k": person.name, "rejects": True}, idempotency_key=key)
    creating(person, "strict", {"ms": 5, "k": person.name})
    for _ in range(40):
        person.wait(30_000)
        seen = person.look(first.id)
        if seen is None or not seen.state.terminal:
            continue
        with suppress(Conflict):  # nobody waits any more, or its twin of a try before blocks
            person.ask(lambda yard: pass_over(yard, first.id), f"pass over {first.id}")
        return

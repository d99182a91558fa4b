"""Many instances on one emulator: killed in turn, restarted in turn, by the handlers' own record of every run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from chalicelib.core.states import Kind
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish as publish_one
from chalicelib.engine.yard import Yard, build
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from infra.deploy import stack
from infra.template import template
from tests.support.instance_handlers import run_task
from tests.support.instances import Instance
from tests.support.up import free_port
from tests.support.waiting import becomes, until
from tests.support.yards import environment, forget_clients

TASKS = ("instances.task", "instances.own")
TOPIC = "instances.news"
TYPES = (*TASKS, TOPIC)
SLOTS = "instances.slot"
A_ROUND = 50  # jobs of each type

Made = Mapping[str, frozenset[str]]  # the ids of jobs, by their type


@dataclass(frozen=True, slots=True)
class Note:
    """What a handler wrote down."""

    what: str
    type: str
    job_id: str
    attempt: int
    pid: int
    slot: str


@dataclass(frozen=True, slots=True)
class Site:
    """Two instances with an API, one without, and the record of all their handlers."""

    first: Instance
    second: Instance
    workers: Instance
    record: Path

    def notes(self, what: str) -> list[Note]:
        lines = self.record.read_text().splitlines() if self.record.exists() else ()
        found = map(str.split, lines)
        notes = [Note(verb, kind, job, int(number), int(pid), slot) for verb, kind, job, number, pid, slot in found]
        return [note for note in notes if note.what == what]

    def ended(self, made: Made) -> Made:
        """Those of the jobs that a handler has ended."""
        ended = {note.job_id for note in self.notes("end")}
        return {kind: ids & ended for kind, ids in made.items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All are started at the same time: whoever comes first makes tables and queues."""
    folder = tmp_path_factory.mktemp("instances")
    environment = {
        "TASKYARD_HANDLERS": "tests.support.instance_handlers",
        "TASKYARD_LEASE_S": "8",
        "TASKYARD_CLOCK_INTERVAL_S": "1",
        "TASKYARD_HOOKS": "off",
        "INSTANCES_LOG": str(folder / "record"),
    }
    with Emulator.start() as emulator:
        shared = ("--workers", "1", "--endpoint-url", emulator.endpoint_url)

        def instance(*arguments: str, port: int = 0) -> Instance:
            log = folder / f"{arguments[0]}-{port}.log"
            return Instance([*arguments, *shared], log, environment, f"http://127.0.0.1:{port}")

        first, second = (instance("up", "--port", str(port), port=port) for port in (free_port(), free_port()))
        made = Site(first, second, instance("worker", "--with", "clock,projector"), folder / "record")
        everyone = (made.first, made.second, made.workers)
        try:
            for each in everyone:
                each.start()
            for each in everyone:
                each.await_ready()
            yield made
        finally:
            for each in everyone:
                each.kill()


def publish(to: Instance) -> Made:
    """A round of jobs of each type."""
    asked = {"input": {}, "runnerType": "system", "targetId": "t", "targetType": "test"}
    of_tasks = {kind: {"tasks": [{**asked, "type": kind}] * A_ROUND} for kind in TASKS}
    made = {kind: to.post("/api/task/create-batch", body)["results"] for kind, body in of_tasks.items()}
    tasks = {kind: frozenset(str(each["task"]["id"]) for each in results) for kind, results in made.items()}
    messages = [{"topic": TOPIC, "payload": {}}] * A_ROUND
    results = to.post("/mq/message/publish-batch", {"messages": messages})["results"]
    return {**tasks, TOPIC: frozenset(str(each["message"]["id"]) for each in results)}


def together(rounds: list[Made]) -> Made:
    return {kind: frozenset().union(*(made[kind] for made in rounds)) for kind in TYPES}


def succeeded(by: Instance) -> dict[str, int]:
    """What the counters say of each type."""
    statistics = {kind: by.get(f"/api/task/statistics?range=7d&type={kind}") for kind in TASKS}
    consumed = by.get("/mq/dashboard")["current"]["consumedTotal"]["byTopic"].get(TOPIC, 0)
    return {**{kind: found["byStatus"]["success"] for kind, found in statistics.items()}, TOPIC: consumed}


def proceeds(site: Site, made: Made, before: Made) -> bool:
    """Whether jobs of each type have ended since, or there are no more of it."""
    return all(ids > before[kind] or ids == made[kind] for kind, ids in site.ended(made).items())


def test_three_that_are_killed_in_turn_lose_double_and_starve_nothing(site: Site) -> None:
    every_second = {"name": "ticks", "cron": "* * * * * *", "task": {"type": SLOTS, "input": {"slot": "{{slot}}"}}}
    site.first.post("/api/schedule/create", every_second)
    rounds: list[Made] = []
    for victim, survivor in ((site.first, site.second), (site.second, site.first), (site.workers, site.first)):
        survivor.await_ready()
        rounds.append(publish(survivor))
        until(lambda: victim.workers() & {note.pid for note in site.notes("begin")})  # noqa: B023  # asked at once
        victim.kill()
        until(partial(proceeds, site, together(rounds), site.ended(together(rounds))))
        victim.start()
    made = together(rounds)
    for each in (site.first, site.second, site.workers):
        each.await_ready()
    becomes(made, lambda: site.ended(made))
    becomes(dict.fromkeys(TYPES, 3 * A_ROUND), lambda: succeeded(site.second))

    begun = site.notes("begin")
    assert set(Counter((note.job_id, note.attempt) for note in begun).values()) == {1}
    dead = site.first.killed | site.second.killed | site.workers.killed
    repeated = {
        (note.job_id, note.attempt - 1) for note in begun if note.attempt > 1
    }  # some died before they could note
    assert {note.pid for note in begun if (note.job_id, note.attempt) in repeated} <= dead
    last = max(note.slot for note in site.notes("end") if note.type == SLOTS)
    until(lambda: any(note.slot > last for note in site.notes("end") if note.type == SLOTS))
    slots = Counter(note.slot for note in site.notes("begin") if note.type == SLOTS and note.attempt == 1)
    assert set(slots.values()) == {1}


def test_two_that_are_restarted_in_turn_repeat_no_attempt(site: Site) -> None:
    before = succeeded(site.first)
    rounds: list[Made] = []
    for restarted in (site.second, site.workers):
        rounds.append(publish(site.first))
        until(lambda: restarted.workers() & {note.pid for note in site.notes("begin")})  # noqa: B023  # asked at once
        assert restarted.stop() == 0
        restarted.start()
        restarted.await_ready()
    made = together(rounds)
    becomes(made, lambda: site.ended(made))
    becomes({kind: before[kind] + 2 * A_ROUND for kind in TYPES}, lambda: succeeded(site.second))
    ids = frozenset().union(*made.values())
    assert {note.attempt for note in site.notes("begin") if note.job_id in ids} == {1}


def test_workers_follow_a_service_that_is_started_again(tmp_path: Path) -> None:
    environment = {"TASKYARD_HANDLERS": "tests.support.instance_handlers", "INSTANCES_LOG": str(tmp_path / "record")}
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    service = Instance(["up", "--workers", "0", "--port", str(port)], tmp_path / "up.log", environment, url)
    worker = Instance(["worker", "--workers", "1", "--url", url], tmp_path / "worker.log", environment)
    try:
        service.start()
        service.await_ready()
        worker.start()
        worker.await_ready()
        before = service.get("/health")["endpoint"]
        service.kill()
        service.start()
        service.await_ready()
        now = service.get("/health")["endpoint"]
        assert now != before
        task = {"type": TASKS[0], "input": {}, "runnerType": "system", "targetId": "t", "targetType": "test"}
        job = service.post("/api/task/create", task)["id"]
        until(lambda: (tmp_path / "record").exists() and f" {job} " in (tmp_path / "record").read_text())
        assert f"the emulator is at {now} now; starting anew there" in worker.log.read_text()
        assert worker.stop() == 0
    finally:
        worker.kill()
        service.kill()


@pytest.fixture
def stage() -> Iterator[Yard]:
    """What a deployed stage has, but for its functions."""
    with Emulator.start() as emulator, environment(emulator.environment()):
        forget_clients()
        dev, declared = Settings(stage="dev"), Registry.of([run_task])
        stack.apply(dev, template(dev, declared.queues))
        yield build(declared, dev)
    forget_clients()


def test_workers_of_a_deployed_stage_serve_its_lanes(stage: Yard, tmp_path: Path) -> None:
    record = tmp_path / "record"
    named = ("--stage", "dev", "--handlers", "tests.support.instance_handlers", "--endpoint-url")
    endpoint_url = os.environ["AWS_ENDPOINT_URL"]
    worker = Instance(
        ["worker", "--queue", "default", *named, endpoint_url], tmp_path / "log", {"INSTANCES_LOG": str(record)}
    )
    worker.start()
    job = publish_one(stage, NewJob(kind=Kind.TASK, type="instances.task", input={}))
    until(lambda: record.exists() and f"end instances.task {job.id}" in record.read_text())
    until(
        lambda: "on 3 lanes of default" in worker.log.read_text()
    )  # it is said once all is there, so perhaps after that
    assert worker.stop() == 0


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "there is no queue taskyard-dev-instances-news"),
        (("--with", "clock"), "a deployed stage has functions for this already"),
        (("--queue", "nobody's"), "the handlers declare no such queue"),
    ],
)
def test_workers_say_what_a_deployed_stage_lacks(tmp_path: Path, options: list[str], said: str) -> None:
    named = ("--stage", "dev", "--handlers", "tests.support.instance_handlers", "--endpoint-url")
    endpoint_url = os.environ["AWS_ENDPOINT_URL"]
    worker = Instance(["worker", *options, *named, endpoint_url], tmp_path / "log", {})
    worker.start()
    assert worker.ended() == 1
    assert said in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()

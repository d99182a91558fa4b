"""Who takes part, and how each is made to do the same backlog."""

from __future__ import annotations

import inspect
import subprocess
import time
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from chalicelib.engine.handlers.declare import subscribe
from chalicelib.settings import Settings
from tests.benchmarks.head_to_head.emulator import PROGRAMS, MeteredEmulator
from tests.benchmarks.head_to_head.family import EMULATOR, Family
from tests.benchmarks.head_to_head.scene import Build, Figures, Scene
from tests.support import up
from tests.support.endpoint import client
from tests.support.waiting import until

WORKERS = 4
SINGLES = 200  # jobs that are published one a call
QUEUE = "celery"
LOG = "celery.log"
TOPIC = "trivial"
READY = "Taskyard is up"
IDLE_S = 20
IDLE_JOBS = 10
NS_A_MS = 1e6
LIGHT = {"HEAD_TO_HEAD_LIGHT": "1"}
BOTO3 = {"TASKYARD_AWS_CLIENT": "boto3"}


@dataclass(frozen=True, slots=True)
class Contender:
    """Does a round in a scene and returns its figures. ``groups`` are those of the measures that need it."""

    name: str
    groups: Set[str]
    run: Callable[[Scene], Figures]


def contenders(against: Build | None, celery_python: Callable[[], Path]) -> Iterator[Contender]:
    """All that can take part: an older build if there is one, and what this build knows."""
    this = Build()
    builds = {"": this}
    if against is not None:
        builds[" older"] = against
    if "light" in inspect.signature(subscribe).parameters:
        builds[" light"] = replace(this, variables=LIGHT)
    for name, build in builds.items():
        yield Contender(f"engine{name}", {"worker"}, partial(engine, build))
        yield Contender(f"up{name}", {"up"}, partial(taskyard_up, build))
    if "aws_client" in {field.name for field in fields(Settings)}:
        yield Contender("engine by boto3", {"worker"}, partial(engine, replace(this, variables=BOTO3)))
    yield Contender("bare boto3", {"worker"}, partial(bare, this))
    yield Contender("celery", {"worker", "up"}, lambda scene: celery(celery_python(), "late", scene))
    yield Contender("celery early ack", {"up"}, lambda scene: celery(celery_python(), "early", scene))
    yield Contender("enqueue", {"enqueue", "up"}, partial(enqueue, this))
    yield Contender("idle", {"idle"}, partial(idle, this))
    yield Contender("enqueue over HTTP", {"http"}, partial(enqueue_over_http, this))


def engine(build: Build, scene: Scene) -> Figures:
    """The engine alone, in one process."""
    with scene.emulator() as emulator:
        return scene.run(build, emulator, "engine.py", scene.jobs)


def bare(build: Build, scene: Scene) -> Figures:
    """boto3 alone: receive ten, handle, delete."""
    with scene.emulator() as emulator:
        return scene.run(build, emulator, "bare.py", scene.jobs)


def taskyard_up(build: Build, scene: Scene) -> Figures:
    """`taskyard up` with four workers."""
    began_s = time.monotonic()
    with _up(build, scene) as (service, family, emulator):
        ready_s = time.monotonic() - began_s
        publish = partial(scene.run, build, emulator, "backlog.py", scene.jobs)
        return _with_start(ready_s, scene, scene.consume(family, emulator, publish, partial(_consumed, service)))


def _consumed(service: up.Service) -> int:
    return int(service.get("/mq/dashboard")["current"]["consumedTotal"]["total"])


def celery(python: Path, acks: str, scene: Scene) -> Figures:
    """Celery with a pool of four processes, which acknowledges a job early (before it runs) or late."""
    ready = scene.folder / "ready"
    build = Build(PROGRAMS, str(python), {"HEAD_TO_HEAD_ACKS": acks, "HEAD_TO_HEAD_READY": str(ready)})
    options = ("--concurrency", str(WORKERS), "--without-gossip", "--without-mingle", "--without-heartbeat")
    command = [str(python), "-m", "celery", "-A", "celery_app", "worker", "--loglevel", "WARNING", *options]
    with ExitStack() as stack:
        emulator = stack.enter_context(scene.emulator())
        sqs = client("sqs", emulator.url)
        url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        log = stack.enter_context((scene.folder / LOG).open("ab"))
        began_s = time.monotonic()
        process = subprocess.Popen(
            command,
            env=scene.environment(build) | {"AWS_ENDPOINT_URL": emulator.url},
            cwd=scene.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        family = Family(process, "main", scene.folder / LOG)
        stack.callback(family.kill)
        until(ready.exists)
        ready_s = time.monotonic() - began_s
        publish = partial(scene.run, build, emulator, "celery_app.py", scene.jobs)
        return _with_start(
            ready_s, scene, scene.consume(family, emulator, publish, lambda: scene.jobs - _left(sqs, url))
        )


def _left(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


def _with_start(ready_s: float, scene: Scene, figures: Figures) -> Figures:
    return {**figures, "rate with start": scene.jobs / (ready_s + figures["work_s"])}


def enqueue(build: Build, scene: Scene) -> Figures:
    """Publishing one a call by the services, against a put and a send by boto3 alone."""
    with scene.emulator() as emulator:
        return _against_bare(scene.run(build, emulator, "enqueue.py", SINGLES))


def enqueue_over_http(build: Build, scene: Scene) -> Figures:
    """The same over HTTP, to an API beside which nothing runs."""
    with _up(build, scene) as (service, family, emulator):
        family.await_quiet()
        with family.held_still(but={"api", EMULATOR}):
            return _against_bare(scene.run(build, emulator, "enqueue.py", SINGLES, service.url))


def idle(build: Build, scene: Scene) -> Figures:
    """What `taskyard up` takes while nobody uses it, and how soon it starts a job then."""
    with _up(build, scene) as (service, family, emulator):
        family.await_quiet()
        roles = {pid: role for pid, role in family.roles().items() if role != EMULATOR}
        cpu_before, before = family.cpu_s(roles), emulator.reading()
        time.sleep(IDLE_S)
        cpu_after, after = family.cpu_s(roles), emulator.reading()
        waits_ms = [_wait_ms(service, family, scene, number) for number in range(1, IDLE_JOBS + 1)]
    return {
        "percent of a core": 100 * (sum(cpu_after.values()) - sum(cpu_before.values())) / IDLE_S,
        "emulator's percent of a core": 100 * (after.cpu_s - before.cpu_s) / IDLE_S,
        "requests a minute": 60 * (after.requests - before.requests) / IDLE_S,
        "ms to a start": median(waits_ms),
        "ms to the slowest start": max(waits_ms),
    }


def _wait_ms(service: up.Service, family: Family, scene: Scene, number: int) -> float:
    """How long the ``number``-th job waits that is published while the service is at rest."""
    family.await_quiet()
    service.post("/mq/message/publish", {"topic": TOPIC, "payload": {}})
    published_ns = time.time_ns()
    scene.await_done(family, number)
    return (scene.stamps()[-1] - published_ns) / NS_A_MS


def _against_bare(told: dict[str, Figures]) -> Figures:
    return {**told["ours"], "bare rate": told["bare"]["rate"], "of bare": told["ours"]["rate"] / told["bare"]["rate"]}


@contextmanager
def _up(build: Build, scene: Scene) -> Iterator[tuple[up.Service, Family, MeteredEmulator]]:
    """`taskyard up` of a build with its embedded emulator, and the processes of it."""
    workers = ("--workers", str(WORKERS))
    with up.running(
        scene.folder, *workers, folder=build.root, python=build.python, **scene.environment(build)
    ) as service:
        family = Family(service.process, "supervisor", service.log)
        try:
            until(lambda: READY in service.log.read_text())
            yield service, family, MeteredEmulator(service.endpoint_url)
        finally:
            family.kill()

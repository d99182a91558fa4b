"""Who takes part, and how each is made to do the same backlog."""

from __future__ import annotations

import inspect
import subprocess
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import median

from chalicelib.engine.handlers.declare import subscribe
from chalicelib.settings import Settings
from tests.benchmarks.head_to_head.emulator import PROGRAMS
from tests.benchmarks.head_to_head.family import Family
from tests.benchmarks.head_to_head.scene import Build, Figures, Scene
from tests.support import up
from tests.support.endpoint import client
from tests.support.waiting import until

WORKERS = 4
SINGLES = 200  # jobs that are published one a call
QUEUE = "celery"
TOPIC = "trivial"
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
    return scene.run(build, "engine.py", scene.jobs)


def bare(build: Build, scene: Scene) -> Figures:
    """boto3 alone: receive ten, handle, delete."""
    return scene.run(build, "bare.py", scene.jobs)


def taskyard_up(build: Build, scene: Scene) -> Figures:
    """`taskyard up` with four workers."""
    with _up(build, scene) as (service, family, ready_s):
        return scene.consume(
            family,
            ready_s,
            build,
            "backlog.py",
            lambda: service.get("/mq/dashboard")["current"]["consumedTotal"]["total"],
        )


def celery(python: Path, acks: str, scene: Scene) -> Figures:
    """Celery with a pool of four processes, which acknowledges a job early (before it runs) or late."""
    sqs = client("sqs", scene.emulator.url)
    url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
    ready = scene.folder / "ready"
    build = Build(PROGRAMS, str(python), {"HEAD_TO_HEAD_ACKS": acks, "HEAD_TO_HEAD_READY": str(ready)})
    options = ("--concurrency", str(WORKERS), "--without-gossip", "--without-mingle", "--without-heartbeat")
    command = [str(python), "-m", "celery", "-A", "celery_app", "worker", "--loglevel", "WARNING", *options]

    def acknowledged() -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return scene.jobs - sum(map(int, left.values()))

    began_s = time.monotonic()
    with (scene.folder / "celery.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=scene.environment(build), cwd=scene.folder, stdout=log, stderr=log, start_new_session=True
        )
    family = Family(process, "main")
    try:
        until(lambda: ready.exists())
        return scene.consume(family, time.monotonic() - began_s, build, "celery_app.py", acknowledged)
    finally:
        family.kill()


def enqueue(build: Build, scene: Scene) -> Figures:
    """Publishing one a call by the services, against a put and a send by boto3 alone."""
    return _against_bare(scene.run(build, "enqueue.py", SINGLES))


def enqueue_over_http(build: Build, scene: Scene) -> Figures:
    """The same over HTTP, to an API beside which nothing runs."""
    with _up(build, scene) as (service, family, _):
        family.await_quiet()
        with family.held_still(but={"api"}):
            return _against_bare(scene.run(build, "enqueue.py", SINGLES, service.url))


def idle(build: Build, scene: Scene) -> Figures:
    """What `taskyard up` takes while nobody uses it, and how soon it starts a job then."""
    with _up(build, scene) as (service, family, _):
        family.await_quiet()
        roles = family.roles()
        cpu_before, before = family.cpu_s(roles), scene.emulator.reading()
        time.sleep(IDLE_S)
        cpu_after, after = family.cpu_s(roles), scene.emulator.reading()
        waits_ms = []
        for number in range(IDLE_JOBS):
            family.await_quiet()
            service.post("/mq/message/publish", {"topic": TOPIC, "payload": {}})
            published_ns = time.time_ns()
            scene.await_done(family, number + 1)
            waits_ms.append((scene.stamps()[-1] - published_ns) / NS_A_MS)
    return {
        "percent of a core": 100 * (sum(cpu_after.values()) - sum(cpu_before.values())) / IDLE_S,
        "emulator's percent of a core": 100 * (after.cpu_s - before.cpu_s) / IDLE_S,
        "requests a minute": 60 * (after.requests - before.requests) / IDLE_S,
        "ms to a start": median(waits_ms),
        "ms to the slowest start": max(waits_ms),
    }


def _against_bare(told: dict[str, Figures]) -> Figures:
    return {**told["ours"], "bare rate": told["bare"]["rate"], "of bare": told["ours"]["rate"] / told["bare"]["rate"]}


@contextmanager
def _up(build: Build, scene: Scene) -> Iterator[tuple[up.Service, Family, float]]:
    """`taskyard up` of a build, the processes of it, and the seconds that it took to be ready."""
    options = ("--workers", str(WORKERS), "--endpoint-url", scene.emulator.url)
    began_s = time.monotonic()
    with up.running(
        scene.folder, *options, folder=build.root, python=build.python, **scene.environment(build)
    ) as service:
        family = Family(service.process, "supervisor")
        try:
            yield service, family, time.monotonic() - began_s
        finally:
            family.kill()

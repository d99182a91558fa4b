"""One step: an installation of its own, its clients and its troubles, until all is done; then the judge."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from chalicelib import aws
from chalicelib.core.job import Job
from chalicelib.engine.clock.tick import tick
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.yard import build
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from chalicelib.store.insights import Insights
from chalicelib.store.table import Table
from tests.chaos import handlers
from tests.chaos.killing import Killer
from tests.chaos.load import Book, Person, consume, tell_stories
from tests.proof.ending import ending_of, jobs_in, left_in
from tests.proof.history import Ending, History, Run
from tests.proof.judge import verdict
from tests.support.processes import clean_environment
from tests.support.up import Service, free_port, running
from tests.support.waiting import until
from tests.support.yards import CREDENTIALS, environment, forget_clients

SETTINGS = Settings()
LEASE_S = 15
SKEW_S = 300
CLIENTS = 4
SKEW_MS = 8_000  # what a process may still be off by once it has heard AWS's time, late answers included
QUIET_S = 120.0  # after which nothing is expected any more


@dataclass(slots=True)
class Outcome:
    """What came of a step."""

    seed: int
    jobs: int
    runs: int
    doubts: int
    seconds: int
    broken: list[str]
    faults: dict[str, int] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=dict)

    def to_line(self) -> str:
        """As a log keeps it."""
        return json.dumps(asdict(self))


def step(folder: Path, seed: int, jobs: int, *, workers: int = 3, share: float = 0.05, pause_s: float = 0.7) -> Outcome:
    """A step of a seed, of about so many jobs."""
    dice, book, began_s = Random(seed), Book(), time.monotonic()  # noqa: S311 - to repeat itself
    log = folder / "runs.jsonl"
    with Emulator.start() as emulator, _proxy(emulator.port, seed) as (proxy_url, told):
        options = ("--endpoint-url", proxy_url, "--workers", str(workers))
        told_handlers = {"CHAOS_LOG": str(log), "CHAOS_SKEW_S": str(SKEW_S), "TASKYARD_HANDLERS": handlers.__name__}
        with running(folder, *options, **told_handlers, TASKYARD_LEASE_S=str(LEASE_S)) as service:
            told(f"share/{share}")
            killer = Killer(service, Random(dice.random()), pause_s)  # noqa: S311
            ending, faults = _play(service, book, dice, jobs, killer, told, emulator.endpoint_url)
    history = book.history
    history.runs += runs_in(log, killer.killed)
    broken = verdict(history, ending, handlers.LIMITS, calm=True, skew_ms=SKEW_MS)
    seconds = round(time.monotonic() - began_s)
    outcome = Outcome(seed, book.accepted, len(history.runs), history.doubts, seconds, broken)
    outcome.faults, outcome.kills = faults, dict(killer.counts)
    return outcome


def _play(
    service: Service, book: Book, dice: Random, jobs: int, killer: Killer, told: Callable[[str], Any], endpoint: str
) -> tuple[Ending, dict[str, int]]:
    """The clients' work under faults, and then the rest in fair weather."""
    over = [False]
    names = [f"client-{number}" for number in range(CLIENTS)]
    people = [Person(service, book, name, Random(dice.random())) for name in ("consumer", *names)]  # noqa: S311
    with ThreadPoolExecutor(len(people)) as threads:
        try:
            consuming = threads.submit(consume, people[0], lambda: over[0])
            with killer.at_work():
                telling = [threads.submit(tell_stories, each, lambda: book.accepted >= jobs) for each in people[1:]]
                for each in telling:
                    each.result()
                time.sleep(5)
            faults = told("fair")
            ending = _at_rest(book.history, endpoint)
        finally:
            over[0] = True
        consuming.result()
    return ending, faults


def _at_rest(history: History, endpoint: str) -> Ending:
    """The ending, once everything accepted has come to its own, or nothing changes any more."""
    with environment({**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}):
        forget_clients()
        client, seen, since_s = aws.client("dynamodb"), "", time.monotonic()
        yard = build(
            Registry.of(handlers.DECLARED), SETTINGS
        )  # a second clock, so that nobody waits a minute for the first
        while True:
            jobs = jobs_in(_items(client, SETTINGS.jobs_table))
            counters = Insights(Table(client, SETTINGS.insights_table, ("view", "key"))).counters()
            ending = ending_of(jobs, counters, history)
            ending.left_over += left_in(_items(client, SETTINGS.directory_table))
            if _is_done(jobs, ending, history):
                return ending
            now = repr((ending.listed, ending.counters, len(ending.left_over)))
            if now != seen:
                seen, since_s = now, time.monotonic()
            if time.monotonic() - since_s > QUIET_S:
                return ending
            tick(yard, lambda: True)
            time.sleep(2)


def _is_done(jobs: list[Job], ending: Ending, history: History) -> bool:
    expected = [job for job in jobs if job.id in history.accepted or job.runner != "manual"]
    done = all(job.state.terminal or job.blocked for job in expected)
    return done and +ending.counters == +ending.listed and not ending.left_over


def _items(client: Any, table: str) -> Iterator[dict[str, Any]]:
    more: dict[str, Any] = {}
    while True:
        page = client.scan(TableName=table, ConsistentRead=True, **more)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


@contextmanager
def _proxy(upstream: int, seed: int) -> Iterator[tuple[str, Callable[[str], Any]]]:
    """The proxy as a process, and how it is told something."""
    port = free_port()
    given = {"upstream": upstream, "port": port, "seed": seed, "share": 0.0}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "tests.chaos.proxy", *words]
    process = subprocess.Popen(command, env=clean_environment())

    def told(what: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_chaos/{what}", timeout=30) as answer:
            return json.load(answer)

    def answers() -> bool:
        try:
            return told("counts") is not None
        except OSError:
            return False

    try:
        until(answers)
        yield f"http://127.0.0.1:{port}", told
    finally:
        process.kill()
        process.wait()


def runs_in(log: Path, killed: dict[int, int]) -> list[Run]:
    """The runs that handlers wrote down; one that says no end has ended with its process."""
    runs: dict[str, Run] = {}
    pids: dict[str, int] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        told = json.loads(line)
        name = told["run"]
        if told["what"] == "end":
            runs[name].ended_ms, runs[name].how = told["at_ms"], told["how"]
            continue
        run = Run(
            told["job"],
            told["attempt"],
            told["part"],
            told["type"],
            told["key"],
            told["call"],
            str(told["pid"]),
            told["at_ms"],
        )
        run.due_at_ms, run.ref = told["due_at_ms"], told["ref"]
        run.slot = None if told["slot"] is None else (told["slot"][0], told["slot"][1])
        runs[name], pids[name] = run, told["pid"]
    for name, run in runs.items():
        if run.ended_ms is None:
            run.ended_ms = killed.get(pids[name])
    return [*runs.values()]


def kinds(outcomes: list[Outcome], what: str) -> Counter[str]:
    """What all of some steps met."""
    total: Counter[str] = Counter()
    for each in outcomes:
        total.update(getattr(each, what))
    return total

"""One step: an installation of its own, its clients and its troubles, until all is done; then the judge."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import boto3
from botocore.config import Config

from chalicelib import aws
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.core.webhooks import Webhook, new_secret
from chalicelib.engine.clock.tick import tick
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.yard import Yard, build
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from chalicelib.store.directory import Directory
from chalicelib.store.insights import Insights
from chalicelib.store.table import Table
from tests.chaos import handlers
from tests.chaos.clients import Book, Person, a_task, consume, now_ms
from tests.chaos.installations import Installation, on_lambda, up
from tests.chaos.killing import Killer
from tests.chaos.progress import Progress, runs_in
from tests.chaos.receiver import Receiver
from tests.chaos.stories import tell_stories
from tests.proof.ending import ending_of, jobs_in, left_in
from tests.proof.history import Ending, History
from tests.proof.judge import TOLD_OF, verdict
from tests.support.processes import clean_environment
from tests.support.up import free_port
from tests.support.waiting import until
from tests.support.yards import CREDENTIALS, environment, forget_clients

UP, DEPLOYED = "up", "deployed"
LEASE_S = 15
SKEW_S = 300
CLIENTS = {UP: 6, DEPLOYED: 2}  # a Lambda worker of the emulator serves one of them at a time
BACKLOG = 2_000  # jobs that clients are ahead of the workers
RUNS_PER_KILL = 1_000  # a kill costs the start of a process, as much CPU as 100 jobs
HARD_RUNS_PER_KILL = 40
LEFT_SHARE = 0.02  # of the jobs, for the fair weather
STILL_S = 45.0  # beyond what a lease, and a message that is hidden, may take
TOLD_TYPE = "told"
NEWS_S = 600.0  # until every process knows of a webhook
SKEW_MS = 8_000  # what a process may still be off by once it has heard AWS's time, late answers included
OPEN = tuple(state for state in State if not state.terminal)
COUNTERS_STILL_S = LEASE_S + 5.0
LOOK_AGAIN_S = 2.0
QUIET_S = 120.0  # after which nothing is expected any more
JUDGE = Config(read_timeout=120, retries={"total_max_attempts": 5})  # a page of a scan takes the emulator long


@dataclass(frozen=True, slots=True)
class Options:
    """How hard it is made."""

    form: str = UP  # or DEPLOYED
    share: float = 0.05  # of requests that meet a fault
    runs_per_kill: int | None = None  # by the seed: mostly a kill now and then, every tenth time many
    workers: int = 6

    def runs_between_kills(self, seed: int) -> int:
        """On average."""
        if self.runs_per_kill is not None:
            return self.runs_per_kill
        return HARD_RUNS_PER_KILL if seed % 10 == 0 else RUNS_PER_KILL


@dataclass(slots=True)
class Outcome:
    """What came of a step."""

    seed: int
    form: str  # UP or DEPLOYED
    jobs: int
    runs: int
    doubts: int
    seconds: int
    broken: list[str]
    faults: dict[str, int] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=dict)
    posts: int = 0  # of a webhook
    cpu_s: float = 0.0  # of all processes

    def to_line(self) -> str:
        """As a log keeps it."""
        return json.dumps(asdict(self))


def step(folder: Path, seed: int, jobs: int, options: Options) -> Outcome:
    """A step of a seed, of about so many jobs."""
    dice, began_s, used_s = Random(seed), time.monotonic(), cpu_s()  # noqa: S311 - to repeat itself
    log, receiver = folder / "runs.jsonl", Receiver(_seeded(dice))
    book = Book(Progress(log))
    variables = {"CHAOS_LOG": str(log), "CHAOS_SKEW_S": str(SKEW_S), "TASKYARD_LEASE_S": str(LEASE_S)}
    with (
        Emulator.start(log_path=folder / "emulator.log") as emulator,
        _proxy(emulator.port, seed) as (proxy_url, proxy),
        _installed(options, folder, proxy_url, emulator, variables) as installation,
        receiver.listening(),
    ):
        if options.form == UP:
            _be_told(emulator.endpoint_url, installation, receiver)
        proxy(f"share/{options.share}")
        killer = Killer(installation, book.progress, _seeded(dice), options.runs_between_kills(seed))
        names = ("consumer", *(f"client-{number}" for number in range(CLIENTS[options.form])))
        people = [Person(installation.client, book, name, _seeded(dice)) for name in names]
        faults = _play(people, book, jobs, killer, proxy)
        told = _told_of(book.history, receiver) if options.form == UP else dict
        with _consumer(people[0]):
            ending = _at_rest(book.history, installation.settings, emulator.endpoint_url, told)
    history = book.history
    history.runs += runs_in(log, killer.killed)
    history.events = told()
    broken = [*book.surprises, *verdict(history, ending, handlers.LIMITS, calm=True, skew_ms=SKEW_MS)]
    seconds, runs = round(time.monotonic() - began_s), len(history.runs)
    outcome = Outcome(seed, options.form, book.accepted, runs, history.doubts, seconds, broken)
    outcome.faults, outcome.kills, outcome.posts = faults, dict(killer.counts), receiver.posts
    outcome.cpu_s = round(cpu_s() - used_s + killer.orphans_s, 1)
    return outcome


def _seeded(dice: Random) -> Random:
    return Random(dice.random())  # noqa: S311


def _installed(
    options: Options, folder: Path, proxy_url: str, emulator: Emulator, variables: dict[str, str]
) -> AbstractContextManager[Installation]:
    if options.form == UP:
        return up(folder, proxy_url, options.workers, **variables)
    return on_lambda(folder, proxy_url, emulator, **variables)


def _be_told(endpoint: str, installation: Installation, receiver: Receiver) -> None:
    """A webhook for one type of tasks; returns once every process knows of it, which may take half a minute."""
    with environment({**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}):
        forget_clients()
        directory = Directory(Table(aws.client("dynamodb"), installation.settings.directory_table, ("kind", "name")))
        made = Webhook(
            id="chaos",
            url=receiver.url,
            events=frozenset(),
            types=frozenset({TOLD_TYPE}),
            secret=new_secret(os.urandom),
            created_at_ms=now_ms(),
        )
        directory.put_webhook(made)

    def heard() -> bool:
        installation.client.post("/api/task/create", a_task(TOLD_TYPE, {}))
        return bool(receiver.came)

    until(heard, NEWS_S, longest_pause_s=2)


def _told_of(history: History, receiver: Receiver) -> Callable[[], dict[int, list[str]]]:
    """What has come of each job that a webhook is told of."""
    of = [job_id for job_id, accepted in history.accepted.items() if accepted.type == TOLD_TYPE]
    return lambda: {job_id: list(receiver.came.get(job_id, ())) for job_id in of}


def _play(people: list[Person], book: Book, jobs: int, killer: Killer, proxy: Callable[[str], Any]) -> dict[str, int]:
    """The clients' work under faults, until nearly all of it is done; and then the weather is fair."""
    with killer.at_work(), _consumer(people[0]), ThreadPoolExecutor(len(people)) as threads:
        telling = [threads.submit(tell_stories, each, lambda: book.accepted >= jobs, BACKLOG) for each in people[1:]]
        for each in telling:
            each.result()
        _wait_for_most(book)
    return dict(proxy("fair"))


@contextmanager
def _consumer(person: Person) -> Iterator[None]:
    """Somebody polls, within the block."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        consuming = threads.submit(consume, person, over.is_set)
        try:
            yield
        finally:
            over.set()
        consuming.result()


def _wait_for_most(book: Book) -> None:
    """Until few jobs are left, or no more gets done."""
    done, since_s = -1, time.monotonic()
    while book.backlog() > book.accepted * LEFT_SHARE and time.monotonic() - since_s < STILL_S:
        time.sleep(0.2)
        book.progress.look()
        if book.progress.done != done:
            done, since_s = book.progress.done, time.monotonic()


def _at_rest(history: History, settings: Settings, endpoint: str, told: Callable[[], dict[int, list[str]]]) -> Ending:
    """The ending, once everything accepted has come to its own, or nothing changes any more."""
    with environment({**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}):
        forget_clients()
        client = boto3.Session().client("dynamodb", endpoint_url=endpoint, config=JUDGE)
        yard = build(Registry.of(handlers.DECLARED), settings)  # a second clock: nobody waits a minute for the first
        insights = Insights(Table(client, settings.insights_table, ("view", "key")))
        seen, since_s = "", time.monotonic()
        while True:
            _until_counters_rest(insights, yard)
            began_s = time.monotonic()
            jobs = jobs_in(_items(client, settings.jobs_table))
            ending, events = ending_of(jobs, insights.counters(), history), told()
            ending.left_over += left_in(_items(client, settings.directory_table))
            if _is_done(jobs, ending, history) and all(any(map(_is_end, each)) for each in events.values()):
                return ending
            now = repr((ending.listed, ending.counters, len(ending.left_over), sum(map(len, events.values()))))
            if now != seen:
                seen, since_s = now, time.monotonic()
            if time.monotonic() - since_s > QUIET_S:
                return ending
            tick(yard, lambda: True)
            time.sleep(max(LOOK_AGAIN_S, 4 * (time.monotonic() - began_s)))  # the time is for those it waits for


def _until_counters_rest(insights: Insights, yard: Yard) -> None:
    """Until no job is counted as open, or nothing moves: to read every job takes long, and the counters tell when."""
    counted, since_s = insights.counters(), time.monotonic()
    while any(states[state] for states in counted.values() for state in OPEN):
        tick(yard, lambda: True)
        time.sleep(LOOK_AGAIN_S)
        before, counted = counted, insights.counters()
        if counted != before:
            since_s = time.monotonic()
        elif time.monotonic() - since_s > COUNTERS_STILL_S:
            return


def _is_end(event: str) -> bool:
    return event.endswith(tuple(TOLD_OF.values()))


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


def cpu_s() -> float:
    """What this process and those that it has waited for have used of processors."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def kinds(outcomes: list[Outcome], what: str) -> Counter[str]:
    """What all of some steps met."""
    total: Counter[str] = Counter()
    for each in outcomes:
        total.update(getattr(each, what))
    return total

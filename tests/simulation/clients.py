"""Clients of the simulated installation: what they ask for, over API processes that may end, and what they are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from greenlet import getcurrent

from chalicelib.core.errors import NotFound, TaskyardError, Unavailable
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.commands.lifecycle import find
from chalicelib.engine.yard import Yard
from chalicelib.store.table import Refused, TransactionRefused
from tests.proof.history import ABSENT, Accepted, History, Told
from tests.simulation.platform import Environment, Platform
from tests.simulation.scheduler import Process, Scheduler

T = TypeVar("T")
VAGUE = (Unavailable, BotoCoreError, ClientError)
PATIENCE_MS = 29_000  # after which API Gateway lets nobody wait any longer
TRIES = 40
REST_MS = 3_000


class NoAnswer(Exception):
    """The client has given up."""


@dataclass(slots=True)
class Person:
    """Somebody who uses the service."""

    platform: Platform
    name: str
    dice: Random
    doubts: int = 0  # of the request at hand
    process: Process = field(init=False)
    _api: Environment = field(init=False)

    def __post_init__(self) -> None:
        self.process = Process(self.name)
        self._api = Environment(self.platform, f"api-{self.name}")

    @property
    def scheduler(self) -> Scheduler:
        return self.platform.scheduler

    @property
    def history(self) -> History:
        return self.platform.history

    def wait(self, most_ms: int) -> None:
        """Do something else."""
        self.scheduler.sleep(self.dice.random() * most_ms)

    def note(self, text: str) -> None:
        self.history.note(self.scheduler.now_ms, self.name, text)

    def ask(self, request: Callable[[Yard], T], what: str) -> T:
        """The answer to a request, repeated while it is vague about what happened; raises ``TaskyardError``.

        ``doubts`` is how often it was vague.
        """
        self.doubts = 0
        for _ in range(TRIES):
            answered, answer = self._try(request)
            if answered and not isinstance(answer, VAGUE):
                self.note(f"{what}: {_shown(answer)}")
                if isinstance(answer, TaskyardError):
                    raise answer
                if isinstance(answer, BaseException):
                    raise AssertionError(f"{what} ended in {answer!r}") from answer
                return answer
            self.doubts += 1
            self.history.doubts += 1
            self.note(f"{what}: no answer ({type(answer).__name__})")
            self.wait(REST_MS)
        raise NoAnswer(what)

    def _try(self, request: Callable[[Yard], T]) -> tuple[bool, Any]:
        if self._api.process.busy:
            self._api = Environment(self.platform, f"{self._api.name}'")
        yard, process, client = self._api.ready(), self._api.process, getcurrent()
        process.busy = True
        found: list[Any] = []

        def serve() -> None:
            try:
                found.append(request(yard))
            except (TaskyardError, Refused, TransactionRefused, *VAGUE) as error:
                found.append(error)
            finally:
                process.busy = False
                self.scheduler.wake(client)

        self.scheduler.start(process, serve)
        self.scheduler.sleep(PATIENCE_MS)
        return bool(found), found[0] if found else None

    def look(self, job_id: int, kind: Kind = Kind.TASK) -> Job | None:
        """Ask how a job stands; ``None`` where nobody knows it."""
        asked_ms = self.scheduler.now_ms
        try:
            job = self.ask(lambda yard: find(yard, job_id, kind), f"look at {job_id}")
        except NotFound:
            self.history.told.append(Told(job_id, ABSENT, None, asked_ms, self.scheduler.now_ms))
            return None
        told = Told(job_id, job.state.value, job.attempts, asked_ms, self.scheduler.now_ms)
        self.history.told.append(told)
        return job

    def accept(self, job: Job, **more: Any) -> None:
        """Hold the service to a job."""
        known = self.history.accepted
        if job.id not in known:
            known[job.id] = Accepted(job.id, job.type, **{"attempts": job.max_attempts, **more})


def _shown(answer: object) -> str:
    if isinstance(answer, Job):
        return f"{answer.type} {answer.id} is {answer.state}, attempt {answer.attempts}"
    if isinstance(answer, list):
        return ", ".join(map(_shown, answer)) or "nothing"
    return f"{answer!r}"[:150]

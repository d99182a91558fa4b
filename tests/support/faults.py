"""Faults between the service and AWS, one at a time, at any call; and what must hold whatever they did.

A ``Scenario`` is acted once undisturbed to learn which calls it makes. Each call is a *point*, named by service,
operation and number (``dynamodb.UpdateItem#2``), and every mode of failure is tried at every point. Afterwards the
world goes on, healthy, until it comes to rest, and ``verify`` looks at what became of it.
"""

from __future__ import annotations

import gc
import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from chalicelib import aws
from chalicelib.core.errors import Conflict, NotFound, Unavailable
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.projection import CountKey, effects_of
from chalicelib.core.states import State, may_move
from chalicelib.core.trace import TRACE_MAX_EVENTS, Event
from chalicelib.engine import logbook
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import Context
from chalicelib.engine.yard import Yard
from chalicelib.functions.events import changes_by_shard
from chalicelib.lean import client
from chalicelib.store.attribute_values import from_attribute_values
from chalicelib.store.concurrency import KIND, KIND_OF_KEYS, KIND_OF_SCHEDULES
from chalicelib.store.job_items import STATE_PART, decoded
from chalicelib.store.wait_lists import WAIT_LIST
from tests.support.worlds import World, wiped, world
from tests.support.yards import Exited, forget_clients

T = TypeVar("T")
REPEATS = 12  # how often a client repeats a request that was not answered
FAULT_SHARE = 0.1  # of all calls, where faults come by chance
READS_TRIED = {"dynamodb.Query": 1}  # of those alike, how many; of others three
READS = ("Get", "BatchGet", "Query", "Head", "List")
ENDPOINT = "https://aws.test"


class Mode(StrEnum):
    """What happens to one call.

    A crash just before a call is the crash just after the one before it, unless a handler ran in between; so the
    former is tried there. A call that only reads has no effect that could be met or lost: it just fails, and where
    there are many alike, as in the clock, only the first of them do. Of two writes in a row, the answer of one is lost
    for good and that of the other until botocore repeats it.
    """

    BEFORE = "before"  # nothing ever reaches AWS
    THROTTLED = "throttled"  # AWS refuses it until botocore gives up
    AFTER = "after"  # it takes effect, the answer is lost, and no repetition gets through
    REPEATED = "repeated"  # it takes effect, the answer is lost, and botocore's repetition meets that effect
    CRASH_BEFORE = "crash-before"  # the process ends just before it
    CRASH_AFTER = "crash-after"  # the process ends just after it took effect


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    point: str
    mode: Mode

    def __str__(self) -> str:
        return f"{self.point}/{self.mode}"


class Run(NamedTuple):
    """One start of a handler: which attempt of which job."""

    job_id: int
    attempt: int
    at_ms: int
    due_at_ms: int
    part: str


@dataclass(slots=True)
class Calls:
    """Every AWS call of the service: counted while ``listening``, and disturbed where ``fault`` says so."""

    runs: list[Run]  # what the handlers note
    listening: bool = False
    points: list[str] = field(default_factory=list)
    runs_before: dict[str, int] = field(default_factory=dict)  # a point, and how many handlers had started by then
    fault: Fault | None = None
    dice: Random | None = None  # instead of one fault, any number of them by chance
    fired: bool = False
    dead: bool = False  # the process has ended: whatever it still tries is not done
    sent: list[tuple[str, str]] = field(default_factory=list)  # queue URL and body of all that reached SQS
    _current: threading.local = field(default_factory=threading.local)

    def attach(self) -> None:
        """Stand around every call of the clients that are made from now on."""
        forget_clients()
        emitter = aws._session().get_component("event_emitter")
        emitter.register_first("before-call", self._begins)
        emitter.register_first("before-send", self._goes_out)
        emitter.register_last("before-send", self._comes_back)

    def reset(self, fault: Fault | None = None) -> None:
        """Forget what was; expect ``fault``."""
        self.listening, self.fault, self.dice, self.fired, self.dead = False, fault, None, False, False
        self.points.clear()
        self.runs_before.clear()
        self.sent.clear()

    def revive(self) -> None:
        """A new process begins."""
        self.dead = False

    def _begins(self, model: Any, **_: Any) -> None:
        if self.dead:
            raise Exited
        self._current.tries = 0
        self._current.mode = None
        if not self.listening:
            return
        operation = f"{model.service_model.service_name}.{model.name}"
        number = 1 + sum(point.startswith(f"{operation}#") for point in self.points)
        self.points.append(f"{operation}#{number}")
        self.runs_before[self.points[-1]] = len(self.runs)
        mode = self._mode_at(self.points[-1])
        self._current.mode = mode
        if mode is Mode.CRASH_BEFORE:
            self._die()
        if mode is Mode.THROTTLED:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "too fast"}}, model.name)

    def _mode_at(self, point: str) -> Mode | None:
        mode = None
        if self.fault is not None and self.fault.point == point:
            mode = self.fault.mode
        elif self.dice is not None and self.dice.random() < FAULT_SHARE:
            mode = self.dice.choice(list(Mode))
        self.fired = self.fired or mode is not None
        return mode

    def _goes_out(self, **_: Any) -> None:
        self._current.tries += 1
        if self._current.mode is Mode.BEFORE:
            raise EndpointConnectionError(endpoint_url=ENDPOINT)
        if self._current.mode is Mode.AFTER and self._current.tries > 1:
            raise ConnectTimeoutError(endpoint_url=ENDPOINT)

    def _comes_back(self, request: Any, **_: Any) -> None:
        if "/sqs" in request.url or "//sqs" in request.url:
            self._note_sent(json.loads(request.body))
        if self._current.mode is Mode.CRASH_AFTER:
            self._die()
        if self._current.mode in (Mode.AFTER, Mode.REPEATED) and self._current.tries == 1:
            raise ReadTimeoutError(endpoint_url=ENDPOINT)

    def _note_sent(self, parameters: dict[str, Any]) -> None:
        for entry in parameters.get("Entries", [parameters]):
            if "MessageBody" in entry:
                self.sent.append((parameters["QueueUrl"], entry["MessageBody"]))

    def _die(self) -> None:
        self.dead = True
        raise Exited


def run_of(context: Context, part: str = "") -> Run:
    """The run that a handler finds itself in; ``part`` tells the subscribers of one topic apart."""
    return Run(context.job.id, context.job.attempts, context.yard.now_ms(), context.job.due_at_ms, part)


@dataclass(slots=True)
class Play:
    """A scenario being acted: its world, and what the client and the handlers remember."""

    world: World
    calls: Calls
    runs: list[Run]
    accepted: list[int] = field(default_factory=list)
    doubts: int = 0  # how many requests the client had to repeat without knowing what became of them
    waiting: tuple[int, ...] = ()  # jobs that rightly still wait in the end
    projects: bool = False  # whether the projector is what is disturbed
    given: Any = None  # what ``arrange`` leaves for the other steps

    @property
    def yard(self) -> Yard:
        return self.world.yard

    def arranged(self, **more: Any) -> Job:
        """A job published without disturbance, as one that the client holds."""
        job = publish(self.yard, NewJob(**more))
        self.accepted.append(job.id)
        return job

    def ask(self, request: Callable[[Yard], T], vague: tuple[type[Exception], ...] = (Unavailable,)) -> T | None:
        """A client's request, repeated while the answer is ``vague`` about what happened.

        ``None``: the answer to a repetition was that it had been done before.
        """
        for _ in range(REPEATS):
            try:
                answer = request(self.yard)
            except Exited:
                self.world.restart()
            except vague:
                pass
            except (Conflict, NotFound):
                if not self.doubts:
                    raise
                return None
            else:
                self.accepted += [job.id for job in _jobs_in(answer)]
                return answer
            self.doubts += 1
        raise AssertionError("the request is never answered")


VAGUE = (Unavailable, BotoCoreError, ClientError)
LOST = {Mode.AFTER, Mode.REPEATED}
NEVER_DONE = {Mode.BEFORE, Mode.THROTTLED}  # what SQS has then is what it has undisturbed
USUAL = (Mode.BEFORE, Mode.AFTER, Mode.REPEATED, Mode.CRASH_AFTER)
WITH_THROTTLE = (*USUAL, Mode.THROTTLED)
Step = Callable[[Play], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something the service does: ``arrange`` prepares it, ``act`` is disturbed, ``check`` looks at the end."""

    name: str
    act: Step
    check: Step
    arrange: Step = lambda play: None  # noqa: ARG005
    modes: tuple[Mode, ...] = USUAL


@contextmanager
def stage(functions: Sequence[Any], runs: list[Run]) -> Iterator[Callable[[Fault | None], Play]]:
    """A stage for plays; call what it yields for a fresh one. Nothing on it goes by chance: a log is always trimmed."""
    calls = Calls(runs)
    no_waiting = SimpleNamespace(sleep=lambda _seconds: None)  # botocore waits between its repetitions
    with (
        world(functions) as used,
        patch("botocore.endpoint.time", no_waiting),
        patch.object(client, "sleep", no_waiting.sleep),
        patch.object(logbook, "TRIMMED_ONE_IN", 1),
        _old_objects_left_alone(),
    ):
        calls.attach()
        used.on_restart = calls.revive

        def fresh(fault: Fault | None = None) -> Play:
            calls.reset(fault)
            runs.clear()
            return Play(wiped(used, same_clients=True), calls, runs)

        yield fresh


@contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """Let the garbage collector look at new objects only: a fifth of the time goes into looking at botocore's."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def acted(scenario: Scenario, play: Play) -> Play:
    """The play after its act."""
    scenario.arrange(play)
    play.calls.listening, play.world.healthy = True, play.calls.fault is None
    scenario.act(play)
    play.calls.listening, play.world.healthy = False, True
    return play


def faults_of(scenario: Scenario, calls: Calls) -> list[Fault]:
    """What is tried on a scenario, of whose calls ``calls`` has learned when it was acted undisturbed."""
    faults: list[Fault] = []
    runs = calls.runs_before[calls.points[0]]
    lost = itertools.cycle((Mode.AFTER, Mode.REPEATED))  # an answer: the one and the other in turn
    for point in calls.points:
        operation, _, number = point.partition("#")
        if not operation.split(".")[1].startswith(READS):
            answer = next(lost)
            faults += [Fault(point, mode) for mode in scenario.modes if mode not in LOST or mode is answer]
        elif int(number) <= READS_TRIED.get(operation, 3):
            faults.append(Fault(point, Mode.BEFORE))
        if calls.runs_before[point] > runs:
            faults.append(Fault(point, Mode.CRASH_BEFORE))
            runs = calls.runs_before[point]
    return faults


def plays_of(scenario: Scenario, fresh: Callable[[Fault | None], Play]) -> Iterator[Play]:
    """The play of a scenario after its act: undisturbed, then under each of its faults."""
    undisturbed = acted(scenario, fresh(None))
    faults: list[Fault] = faults_of(scenario, undisturbed.calls)
    assert faults
    yield undisturbed
    for fault in faults:
        play = acted(scenario, fresh(fault))
        assert play.calls.fired, fault
        yield play


def verify(play: Play) -> None:
    """Let the world come to rest, then hold it to the invariants."""
    world = play.world
    world.go_on()
    _everything_accepted_has_ended(play)
    _nothing_ran_twice_or_early(play)
    _every_change_was_legal(world)
    _nothing_is_left_over(play)
    occupancies_are_true(world)
    if play.calls.fault is None or play.calls.fault.mode not in NEVER_DONE:
        _duplicates_change_nothing(play)
    assert counted(play) == world.counts(), "I7: the counters do not agree with the ledger"


def _everything_accepted_has_ended(play: Play) -> None:
    records = {record.id: record for record in play.world.records()}
    for job_id in play.accepted:
        assert job_id in records, f"I1: job {job_id} was accepted and is lost"
    for record in records.values():
        if isinstance(record, Job) and record.id not in play.waiting:
            assert record.state.terminal, f"I1: job {record.id} never ends: {record}"


def _nothing_ran_twice_or_early(play: Play) -> None:
    times = Counter((run.job_id, run.attempt, run.part) for run in play.runs)
    assert all(number == 1 for number in times.values()), f"I3: an attempt ran twice: {times}"
    early = [run for run in play.runs if run.at_ms < run.due_at_ms]
    assert not early, f"a job ran before its time: {early}"


def _every_change_was_legal(world: World) -> None:
    for record in world.stream():
        image = record["dynamodb"]
        if image["Keys"]["part"]["S"] != STATE_PART:
            continue
        before, after = (_decoded(image.get(name)) for name in ("OldImage", "NewImage"))
        assert after is not None, "I8: a record was deleted without a tombstone"
        if isinstance(after, Job):
            assert not isinstance(before, Tombstone), "I8: a tombstone was written over"
            _legal(before, after)
        elif not isinstance(before, Tombstone):
            assert before is not None
            assert before.state.terminal, "I8: a live job was deleted"


def _legal(before: Job | None, after: Job) -> None:
    assert after.attempts <= after.attempt_limit, f"more attempts than allowed: {after}"
    assert len(after.trace) <= TRACE_MAX_EVENTS
    if before is None:
        assert after.state in (State.PENDING, State.RUNNING, State.FAILED)
        return
    assert before.uid == after.uid, "I2: another job took the id"
    if before.state is not after.state:
        assert may_move(before.state, after.state), f"I2: {before.state} -> {after.state}"
    elif before.state.terminal:
        marked = replace(
            before,
            replayed_at_ms=after.replayed_at_ms,
            replayed_as=after.replayed_as,
            updated_at_ms=after.updated_at_ms,
            wake_at_ms=after.wake_at_ms,
            has_children=after.has_children,
            slot=after.slot,
            key_slot=after.key_slot,
            turn=before.turn and after.turn,  # which one that blocks others may lose
            lease_until_ms=after.lease_until_ms,
        )
        assert marked == after, f"I2: a terminal job changed: {before} -> {after}"
    if before.state is State.RUNNING and after.lease != before.lease:
        assert (before.lease_until_ms or 0) < after.updated_at_ms, "I3: taken over before the lease ran out"
    if after.state is State.RUNNING and after.lease != before.lease:
        assert after.attempts == before.attempts + 1, "a run that was not counted"
    if before.state.terminal and not after.state.terminal:
        assert after.events[-1].event is Event.RETRIED, "I2: revived without being asked to"


def _nothing_is_left_over(play: Play) -> None:
    world = play.world
    assert world.messages() == [], f"left in SQS: {[message.body[:200] for message in world.messages()]}"
    assert world.items("directory", "outbox") == []
    marked = [job for job in world.jobs() if job.wake_at_ms is not None and job.id not in play.waiting]
    assert marked == [], f"the clock would look for ever: {marked}"


def occupancies_are_true(world: World) -> None:
    """What is counted of each type, key, or schedule without overlaps, is what its records add up to."""
    counted = {
        item["type"]: (item.get("running", 0), item.get("unfinished", 0))
        for kind in (KIND, KIND_OF_SCHEDULES, KIND_OF_KEYS)
        for item in world.items("directory", kind)
    }
    for name, numbers in counted.items():
        jobs = [job for job in world.jobs() if name in job.shares]
        shares = [job.shares[name] for job in jobs]
        truth = sum(share.running for share in shares), sum(share.unfinished for share in shares)
        assert numbers == truth, f"the occupancy of {name} is {numbers}, and its jobs say {truth}"
        holders = {job.id for job in jobs if job.shares[name].running}
        assert world.yard.concurrency.census(name).holders == holders, name
    shelved = [item for item in world.items("directory") if item["kind"].startswith(WAIT_LIST)]
    assert shelved == [], "left on a shelf"


def _duplicates_change_nothing(play: Play) -> None:
    world, ledger, runs = play.world, play.world.items("jobs"), list(play.runs)
    for url, body in dict.fromkeys(play.calls.sent):
        world.sqs.send_message(QueueUrl=url, MessageBody=body)
    world.deliver()
    if world.consumes:
        world.consume()
    assert play.runs == runs, "I5: a duplicate ran something"
    assert world.items("jobs") == ledger, "I5: a duplicate changed the ledger"
    assert world.messages() == [], "a duplicate stays in SQS"


def counted(play: Play) -> Counter[tuple[str, str, str, State]]:
    """What the change stream adds up to: by the projector itself, or, where its calls would only cost time, by rule."""
    if play.calls.fault is None or play.projects:
        play.world.project()
        return play.world.counted()
    changes = [change for found in changes_by_shard({"Records": play.world.stream()}).values() for change in found]
    effects = effects_of((change.before, change.after) for change in changes)
    sums: Counter[tuple[str, str, str, State]] = Counter()
    for key, number in effects.items():
        if isinstance(key, CountKey):
            sums[key.group.kind, key.group.queue, key.group.type, key.state] += number
    return sums


def _decoded(image: dict[str, Any] | None) -> Job | Tombstone | None:
    return decoded(from_attribute_values(image)) if image else None


def _jobs_in(answer: object) -> list[Job]:
    return [job for job in (answer if isinstance(answer, list) else [answer]) if isinstance(job, Job)]

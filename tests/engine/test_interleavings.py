"""Everything that workers, publishers, clients, SQS and the clock can do to a few jobs, in any order.

A state machine draws the order. After each step every change of the ledger is held to the rules (what may follow
what, who may write it), and every job that a client holds as accepted must be done or visibly on its way. In the end
the world runs on until it comes to rest, and nothing may be lost.

Some steps are *races*: in the middle of one use case, just before one of its AWS calls, somebody else acts.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from chalicelib import aws
from chalicelib.core.decisions import Abandoned, Ack, Claim, Failed, Nack, Succeeded, TakeOver, on_delivery
from chalicelib.core.errors import Conflict, NotFound
from chalicelib.core.job import MANUAL, SYSTEM, Job, JobError, Tombstone
from chalicelib.core.job_documents import ORDER_FIELDS, from_envelope
from chalicelib.core.projection import Measure
from chalicelib.core.retry import Fixed
from chalicelib.core.states import LIVE, TERMINAL, Kind, State, may_move
from chalicelib.core.trace import TRACE_MAX_EVENTS, Event
from chalicelib.core.waking import wake_for_return
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.lifecycle import delete
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling import poll as polling
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.lanes import LANES_FRESH_MS
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.claim import claim, ensure_recorded, opened
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.engine.worker.settle import settle, settle_late
from chalicelib.engine.yard import Yard
from chalicelib.functions import projector
from chalicelib.queue.contract import Received
from chalicelib.store.attribute_values import from_attribute_values
from chalicelib.store.job_items import STATE_PART, decoded
from chalicelib.store.ledger import JobRefused
from chalicelib.store.settled import StoredOutput
from chalicelib.store.transitions.running import Lease
from tests.support.ledger import BIRTH, job_of, lines, place, stored
from tests.support.worlds import Remaining, World, wiped, world
from tests.support.yards import START_MS, Exited, forget_clients, moto_bench

EXAMPLES = 16
STEPS = 25
LEASE_MS = 60_000
MINUTE_MS = 60_000
LATER_MS = (999, 5_000, 20_001, 61_000, 121_001, 901_000, 7_200_000)
LONGEST_MS = 6 * 3_600_000  # moto counts the 12 hours that a message may be hidden from its sending on
DELAYS_MS = (None, None, None, None, 1, 5_000, 840_000, 3_600_000)
BACKOFFS = (Fixed(0), Fixed(0), Fixed(5_000), Fixed(1_200_000), None)
JOB_FIELDS = tuple(each.name for each in fields(Job))
JOBS_MAX = 4  # published by the rules of one example; replays come on top
TOPICS = ("orders", "polled")

FAILURE = JobError("Trouble", "as told")
OUTCOMES = {"succeed": Succeeded('{"done":true}'), "fail": Failed(FAILURE), "reject": Failed(FAILURE, final=True)}


# -- the handlers do as they are told -----------------------------------------------------------------


@dataclass(slots=True)
class Stagehand:
    """What handlers do next, and which attempts they were called for."""

    told: str = "succeed"
    runs: list[Job] = field(default_factory=list)

    def act(self, context: Context) -> str:
        self.runs.append(context.job)
        if self.told == "crash":
            raise Exited
        if self.told == "fail":
            raise ValueError("as told")
        if self.told == "reject":
            raise Reject("as told")
        return "done"


stagehand = Stagehand()


@task("work")
def work(_input: Any, context: Context) -> str:
    """A task."""
    return stagehand.act(context)


@subscribe("orders")
def keep(_input: Any, context: Context) -> str:
    """A message's subscriber that does as it is told."""
    return stagehand.act(context)


@subscribe("orders")
def forward(_input: Any) -> None:
    """Another one, which always succeeds."""


# -- somebody else acts in the middle -----------------------------------------------------------------


@dataclass(slots=True)
class Races:
    """Stands around the AWS calls of the service: notes what is sent, and lets others act before a call."""

    sent: list[tuple[str, str]] = field(default_factory=list)  # queue URL and text of all that ever was sent
    countdown: int = -1
    other: Callable[[], None] | None = None

    def attach(self) -> None:
        forget_clients()
        emitter = aws._session().get_component("event_emitter")
        emitter.register("before-call", self._before_call)
        emitter.register("provide-client-params.sqs", self._note_sent)

    def reset(self) -> None:
        self.sent.clear()
        self.other = None

    def _before_call(self, **_: Any) -> None:
        if self.other is None:
            return
        self.countdown -= 1
        if self.countdown < 0:
            other, self.other = self.other, None
            other()

    def _note_sent(self, params: dict[str, Any], **_: Any) -> None:
        entries = params.get("Entries", [params])
        self.sent += [(params["QueueUrl"], entry["MessageBody"]) for entry in entries if "MessageBody" in entry]


# -- the machine --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """A worker that has claimed a job and is busy with it, as far as it knows."""

    job: Job
    message: Received


@dataclass(slots=True)
class Key:
    """What an idempotency key stands for."""

    job_id: int
    input: str


Race = tuple[int, str, int] | None  # before which AWS call, who acts, and on what

# What happens in a step, each deed as often as its weight says.
WEIGHTS = {
    "publish": 2,
    "begin": 4,
    "overtake": 3,
    "finish": 5,
    "begin_and_finish": 3,
    "heartbeat": 1,
    "crash": 1,
    "invoke": 3,
    "poll": 1,
    "report": 1,
    "deliver_again": 3,
    "redrive": 1,
    "cancel": 1,
    "retry": 3,
    "cancel_and_retry": 1,
    "replay": 1,
    "delete": 1,
    "time_passes": 2,
    "tick": 1,
    "project": 1,
}
deeds = st.sampled_from([deed for deed, weight in WEIGHTS.items() for _ in range(weight)])
picks = st.integers(0, 23)
outcomes = st.sampled_from(("succeed", "fail", "fail", "reject"))
rivals = st.sampled_from(("work", "cancel", "retry", "tick", "expire"))
races = st.none() | st.none() | st.tuples(st.integers(0, 6), rivals, picks)
new_jobs = st.builds(
    NewJob,
    kind=st.just(Kind.TASK),
    type=st.just("work"),
    delay_ms=st.sampled_from(DELAYS_MS),
    max_attempts=st.sampled_from((1, 2, 2, 3)),
    backoff=st.sampled_from(BACKOFFS),
    priority=st.sampled_from((0, 0, 0, 20)),
)


class Interleavings(RuleBasedStateMachine):
    """A few jobs, and all that can happen to them."""

    def __init__(self, used: World, racing: Races) -> None:
        super().__init__()
        self.world = wiped(used, same_clients=True)
        self.racing = racing
        self.racing.reset()
        stagehand.told = "succeed"
        stagehand.runs.clear()
        self.accepted: set[int] = set()
        self.removed: set[int] = set()
        self.busy: list[Run] = []
        self.locked: list[int] = []
        self.keys: dict[str, Key] = {}
        self.attempts: set[tuple[int, int]] = set()
        self.changes: list[tuple[Job | Tombstone | None, Job | Tombstone | None]] = []
        self.projected = 0
        self.raced = False
        self.end_ms = START_MS + LONGEST_MS

    @initialize(first=new_jobs, topic=st.sampled_from(TOPICS))
    def publish_two(self, first: NewJob, topic: str) -> None:
        self._publish(first, None)
        self._publish(NewJob(kind=Kind.MESSAGE, type=topic), None)

    @rule(deed=deeds, pick=picks, told=outcomes, new_job=new_jobs, race=races)
    def act(self, deed: str, pick: int, told: str, new_job: NewJob, race: Race) -> None:
        """One thing happens. All is one rule, because several are switched on and off together, too often."""
        if deed == "publish":
            self.publish(new_job, pick, race)
        else:
            getattr(self, deed)(pick, told, race)

    # -- publishing ---------------------------------------------------------------------------

    def publish(self, new_job: NewJob, pick: int, race: Race) -> None:
        """One more job, in one of the ways in which there may be one."""
        if len(self.accepted) >= JOBS_MAX:
            return
        how, pick = ("task", "message", "child", "manual", "many", "key")[pick % 6], pick // 6
        parents = sorted(job.id for job in self.world.jobs() if job.kind is Kind.TASK)
        if how == "key":
            self._publish_with_key(("one", "two")[pick % 2], "aab"[pick % 3], race)
        elif how == "many":
            self._publish_many(race)
        elif how == "message":
            self._publish(replace(new_job, kind=Kind.MESSAGE, type=TOPICS[pick % 2]), race)
        elif how == "child" and parents:
            runner = MANUAL if pick == 0 else SYSTEM
            self._publish(replace(new_job, parent_id=parents[pick % len(parents)], runner=runner), race)
        else:
            self._publish(replace(new_job, runner=MANUAL if how == "manual" else SYSTEM), race)

    def _publish(self, new_job: NewJob, race: Race) -> Job:
        with self._race(race):
            job = publish(self.yard, new_job)
        self.accepted.add(job.id)
        return job

    def _publish_many(self, race: Race) -> None:
        with self._race(race):
            jobs = publish_many(self.yard, [NewJob(kind=Kind.MESSAGE, type=topic) for topic in TOPICS])
        assert all(isinstance(job, Job) for job in jobs), jobs
        self.accepted |= {job.id for job in jobs if isinstance(job, Job)}

    def _publish_with_key(self, name: str, request: str, race: Race) -> None:
        new_job = NewJob(kind=Kind.TASK, type="work", input=request, idempotency_key=name)
        bound = self.keys.get(name)
        if bound is None:
            self.keys[name] = Key(self._publish(new_job, race).id, request)
        elif bound.input != request:
            with pytest.raises(Conflict):
                publish(self.yard, new_job)
        else:
            assert self._publish(new_job, None).id == bound.job_id

    # -- workers ------------------------------------------------------------------------------

    def begin(self, pick: int, _told: str, race: Race) -> None:
        """A worker takes one message and claims its job."""
        self._begin_from(self._lane(pick), pick, race)

    def overtake(self, pick: int, told: str, race: Race) -> None:
        """A worker is silent for longer than its lease, and another one gets the message; then the first is back."""
        if not self.busy:
            return self.begin(pick, told, race)
        silent = pick % len(self.busy)
        source = self.busy[silent].message.source
        if self.world.clock.ms < self.end_ms:
            self.world.clock.move(LEASE_MS + 1_001)
        if self.world.shows(source):
            self._begin_from(source, pick, race)
        return self._finish(self.busy.pop(silent), told, None) if pick % 3 else None

    def finish(self, pick: int, told: str, race: Race) -> None:
        """A worker that is busy settles its attempt, however late it is."""
        if not self.busy:
            return self.begin(pick, told, race)
        return self._finish(self.busy.pop(pick % len(self.busy)), told, race)

    def begin_and_finish(self, pick: int, told: str, race: Race) -> None:
        """A worker takes one message, runs its job and settles it; in between, somebody else may act."""
        message = self._received(self._lane(pick), pick)
        if message is not None:
            with self._race(race):
                self._begin(message)
                if self.busy and self.busy[-1].message is message:
                    self._settle(self.busy.pop(), told)

    def heartbeat(self, pick: int, _told: str, _race: Race) -> None:
        if not self.busy:
            return
        run = self.busy[pick % len(self.busy)]
        held = held_by(self._record(run.job.id), run.job)
        with contextlib.nullcontext() if held else pytest.raises(JobRefused):
            self.yard.jobs.extend_lease(run.job.id, run.job.lease or "", self.world.clock.ms + LEASE_MS)
            self.yard.transport.hide([run.message], LEASE_MS // 1_000)

    def crash(self, pick: int, _told: str, _race: Race) -> None:
        """A worker is never heard of again."""
        if self.busy:
            self.busy.pop(pick % len(self.busy))

    def invoke(self, pick: int, told: str, race: Race) -> None:
        """The worker function runs on a batch of up to ten messages."""
        stagehand.told = "crash" if pick % 4 == 0 else told
        try:
            with self._race(race):
                if (name := self._lane(pick)) is not None:
                    self.world.deliver_batch(name)
        finally:
            stagehand.told = "succeed"

    def poll(self, pick: int, _told: str, race: Race) -> None:
        """A consumer takes messages in hand."""
        most = 1 + pick % 3
        with self._race(race):
            jobs = polling.poll(self.yard, "polled", most, 30_000, "consumer")
        assert len(jobs) <= most
        for job in jobs:
            self._note_attempt(job)
            self.locked.append(job.id)

    def report(self, pick: int, told: str, race: Race) -> None:
        """A consumer says how it went with a message."""
        if not self.locked:
            return self.poll(pick, told, race)
        job_id = self.locked.pop(pick % len(self.locked))
        before = self._record(job_id)
        running = isinstance(before, Job) and before.state is State.RUNNING and before.receipt is not None
        try:
            with self._race(race):
                ended = told == "succeed"
                settled = polling.complete(self.yard, job_id) if ended else polling.fail(self.yard, job_id, told)
        except (Conflict, NotFound):
            assert self.raced or not running
            assert self.raced or self._record(job_id) == before
        else:
            assert self.raced or running
            assert settled.state is not State.RUNNING
        return None

    # -- SQS ----------------------------------------------------------------------------------

    def deliver_again(self, pick: int, told: str, race: Race) -> None:
        """SQS delivers any message that ever was sent once more, to a worker that takes it at once."""
        url, text = self.racing.sent[-1 - pick % len(self.racing.sent)]
        self.world.sqs.send_message(QueueUrl=url, MessageBody=text)
        if opened(text).queue == "polled":
            return self.poll(pick, told, race)
        message = self._received(url.rsplit("/", 1)[-1], pick, text)
        if message is not None:
            with self._race(race):
                self._begin(message)
        return None

    def redrive(self, pick: int, _told: str, race: Race) -> None:
        """SQS moves any message that ever was sent to the dead-letter queue."""
        name = self.yard.settings.dead_letter_queue
        url = self.world.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        text = self.racing.sent[-1 - pick % len(self.racing.sent)][1]
        self.world.sqs.send_message(QueueUrl=url, MessageBody=text)
        with self._race(race):
            assert self.world.deliver_batch(name) == []

    # -- clients ------------------------------------------------------------------------------

    def cancel(self, pick: int, _told: str, race: Race) -> None:
        job = self._pick(pick, *LIVE)
        if not isinstance(job, Job):
            return
        with self._race(race):
            canceled = lifecycle.cancel(self.yard, job.id, job.kind)
        if not self.raced:
            assert canceled == self._record(job.id)
            assert canceled.state is (job.state if job.state.terminal else State.CANCELED)

    def retry(self, pick: int, _told: str, race: Race) -> None:
        job = self._pick(pick, State.FAILED, State.CANCELED)
        if not isinstance(job, Job):
            return
        allowed = job.state in (State.FAILED, State.CANCELED) and job.replayed_at_ms is None
        try:
            with self._race(race):
                lifecycle.retry(self.yard, job.id, job.kind)
        except Conflict:
            assert self.raced or not allowed
        else:
            assert self.raced or allowed
            now = self._record(job.id)
            if not self.raced:
                assert isinstance(now, Job)
                assert (now.state, now.delivery, now.tries) == (State.PENDING, job.delivery + 1, 0)

    def cancel_and_retry(self, pick: int, told: str, race: Race) -> None:
        """A job is canceled under its worker's hands, and run again."""
        if not self.busy:
            return self.retry(pick, told, race)
        job = self.busy[pick % len(self.busy)].job
        with contextlib.suppress(Conflict, NotFound), self._race(race):
            lifecycle.cancel(self.yard, job.id, job.kind)
            lifecycle.retry(self.yard, job.id, job.kind)
        return None

    def replay(self, pick: int, _told: str, race: Race) -> None:
        job = self._pick(pick, State.FAILED)
        if not isinstance(job, Job):
            return
        allowed = job.state is State.FAILED and job.replayed_at_ms is None
        try:
            with self._race(race):
                successor = lifecycle.replay(self.yard, job.id, None)
        except (Conflict, NotFound):
            assert self.raced or not allowed
        else:
            assert self.raced or allowed
            assert successor.id not in self.accepted
            self.accepted.add(successor.id)
            now = self._record(job.id)
            assert isinstance(now, Job)
            assert (now.state, now.replayed_as) == (State.FAILED, successor.id)
            for again in (lifecycle.replay, lifecycle.retry):
                with pytest.raises(Conflict):
                    again(self.yard, job.id, job.kind)

    def delete(self, pick: int, told: str, race: Race) -> None:
        force = told == "succeed"
        job = self._pick(pick, *(State if force else TERMINAL))
        if not isinstance(job, Job) or job.id in {child.parent_id for child in self.world.jobs() if child.blocked}:
            return  # what waits for a parent that is removed has a test of its own below
        try:
            with self._race(race):
                delete(self.yard, job.id, job.kind, force=force)
        except Conflict:
            assert self.raced or not job.state.terminal
        else:
            assert self.raced or force or job.state.terminal
            self.removed.add(job.id)

    # -- the clock, and what derives from the ledger ------------------------------------------

    def time_passes(self, pick: int, _told: str, _race: Race) -> None:
        if self.world.clock.ms < self.end_ms:
            self.world.clock.move(LATER_MS[pick % len(LATER_MS)])

    def tick(self, _pick: int, _told: str, race: Race) -> None:
        with self._race(race):
            self.world.tick()

    def project(self, pick: int, _told: str, _race: Race) -> None:
        """The projector gets a piece of the stream, some of which it had before."""
        records = self.world.stream()
        upto = min(len(records), self.projected + pick)
        piece = records[max(0, self.projected - pick // 2) : upto]
        if piece:
            projector.handle(self.yard, {"Records": piece}, Remaining(60_000))
            self.projected = upto
            assert self._counted() == states_after(records[:upto]), "I7: the counters are wrong"

    # -- what always holds --------------------------------------------------------------------

    @invariant()
    def every_change_is_legal(self) -> None:
        fresh = self.world.stream()[len(self.changes) :]
        for before, after in map(change_in, fresh):
            self.changes.append((before, after))
            assert_legal(before, after)

    @invariant()
    def every_attempt_is_run_once(self) -> None:
        while stagehand.runs:
            self._note_attempt(stagehand.runs.pop())

    @invariant()
    def everything_accepted_is_done_or_on_its_way(self) -> None:
        records = {record.id: record for record in self.world.records()}
        arriving = {(job.id, job.uid, job.delivery) for job in map(envelope_of, self.world.messages())}
        boxed = {
            job_id for item in self.world.items("directory") if item["kind"] == "outbox" for job_id in item["jobs"]
        }
        for job_id in self.accepted - records.keys():
            raise AssertionError(f"I1: job {job_id} was accepted and is lost")
        for record in records.values():
            if isinstance(record, Tombstone):
                assert record.id in self.removed
                continue
            assert record.id not in self.removed, f"I8: job {record.id} is back from the grave"
            on_its_way = (
                record.state.terminal
                or record.wake_at_ms is not None
                or (record.state is State.RUNNING and record.lease_until_ms is not None)
                or (record.state is State.PENDING and record.runner == MANUAL and not record.blocked)
                or (record.id, record.uid, record.delivery) in arriving
                or record.id in boxed
            )
            assert on_its_way, f"I1: nobody will ever look at {record}"

    # -- in the end ---------------------------------------------------------------------------

    def teardown(self) -> None:
        """Everything runs on, undisturbed, until it comes to rest."""
        self.busy.clear()
        self.world.consumes = True
        self.world.clock.move(LANES_FRESH_MS + 1)  # from here on a poll knows every lane
        self.world.go_on()
        self.every_change_is_legal()
        self.every_attempt_is_run_once()
        self.everything_accepted_is_done_or_on_its_way()
        jobs = self.world.jobs()
        by_id = {job.id: job for job in jobs}
        for job in jobs:
            parent = by_id.get(job.parent_id or 0)
            waits = job.blocked and (parent is None or parent.state is not State.SUCCESS)
            rests = job.state.terminal or (job.state is State.PENDING and (job.runner == MANUAL or waits))
            assert rests, f"I1: {job} never ends"
            assert job.runner != MANUAL or job.attempts == 0, "a manual task was run"
        assert {job.id for job in jobs} >= self.accepted - self.removed
        self.world.project()
        assert self._counted() == Counter(job.state for job in jobs), "I7: the counters are wrong in the end"
        self._check_measures()

    def _check_measures(self) -> None:
        totals: Counter[Measure] = Counter()
        for measures in self.yard.insights.minutes(START_MS - MINUTE_MS, self.world.clock.ms).values():
            totals.update(measures)
        moves = Counter(
            (before.state, after.state)
            for before, after in self.changes
            if isinstance(before, Job) and isinstance(after, Job) and before.state is not after.state
        )
        ended = {state: sum(count for (_, after), count in moves.items() if after is state) for state in State}
        assert totals[Measure.PUBLISHED] == sum(before is None and after is not None for before, after in self.changes)
        assert totals[Measure.STARTED] == sum(job.attempts for job in self._newest())
        assert totals[Measure.SUCCEEDED] == ended[State.SUCCESS]
        assert totals[Measure.DEAD] == ended[State.FAILED]
        assert totals[Measure.CANCELED] == ended[State.CANCELED]

    # -- how it is done -----------------------------------------------------------------------

    @property
    def yard(self) -> Yard:
        return self.world.yard

    @contextmanager
    def _race(self, race: Race) -> Iterator[None]:
        """Let somebody else act just before the AWS call number ``race[0]`` of the block."""
        self.raced = race is not None
        if race is not None:
            self.racing.countdown, rival, pick = race
            self.racing.other = lambda: self._rival(rival, pick)
        try:
            yield
        finally:
            self.racing.other = None

    def _rival(self, rival: str, pick: int) -> None:
        if rival == "expire":
            self.world.clock.move(121_001)
        elif rival == "tick":
            self.world.tick()
        elif rival == "work":
            lanes = self._visible()
            if lanes and (message := self._received(lanes[pick % len(lanes)], pick)):
                self._begin(message)
                if self.busy and self.busy[-1].message is message:
                    self._settle(self.busy.pop(), "succeed" if pick % 2 else "fail")
        elif jobs := self.world.jobs():
            job = jobs[pick % len(jobs)]
            try:
                (lifecycle.cancel if rival == "cancel" else lifecycle.retry)(self.yard, job.id, job.kind)
            except (Conflict, NotFound):
                return

    def _begin_from(self, lane: str | None, pick: int, race: Race) -> None:
        message = self._received(lane, pick)
        if message is not None:
            with self._race(race):
                self._begin(message)

    def _finish(self, run: Run, outcome: str, race: Race) -> None:
        before = self._record(run.job.id)
        with self._race(race):
            self._settle(run, outcome)
        if not self.raced and not held_by(before, run.job):
            assert self._record(run.job.id) == before, "I2: settled without the lease"

    def _begin(self, message: Received) -> None:
        """What ``consume`` does with one message until its handler starts."""
        now_ms, envelope = self.world.clock.ms, opened(message.text)
        self.yard.transport.hide([message], LEASE_MS // 1_000)
        verdict = claim(self.yard, envelope, Lease(self.yard.token(), now_ms + LEASE_MS, "worker"))
        if isinstance(verdict, Job):
            assert (verdict.uid, verdict.delivery) == (envelope.uid, envelope.delivery), "a void message was run"
            self._note_attempt(verdict)
            self.busy.append(Run(verdict, message))
        elif isinstance(verdict, Nack):
            if verdict.reason == "not due":
                ensure_recorded(self.yard, envelope, wake_for_return(envelope.due_at_ms, self.world.clock.ms))
            self.yard.transport.hide([message], verdict.delay_s or 0)
        else:
            self.yard.transport.delete([message])

    def _settle(self, run: Run, outcome: str) -> None:
        """What ``consume`` does once a handler has ended."""
        try:
            _, disposition = settle(self.yard, run.job, OUTCOMES[outcome])
        except JobRefused as refused:
            disposition = settle_late(refused, run.job)
        if not isinstance(disposition, Nack):
            self.yard.transport.delete([run.message])
        elif disposition.delay_s is not None:
            self.yard.transport.hide([run.message], disposition.delay_s)

    def _newest(self) -> list[Job]:
        """The last record of every job that ever was, deleted ones included."""
        return list({after.id: after for _, after in self.changes if isinstance(after, Job)}.values())

    def _note_attempt(self, job: Job) -> None:
        assert (job.id, job.attempts) not in self.attempts, f"I3: attempt {job.attempts} of {job.id} began twice"
        self.attempts.add((job.id, job.attempts))

    def _pick(self, pick: int, *states: State) -> Job | Tombstone | None:
        """One of the accepted jobs, in one of ``states`` if there is any; the even picks do not care."""
        fitting = [job.id for job in self.world.jobs() if job.id in self.accepted and job.state in states]
        ids = fitting if fitting and pick % 2 else sorted(self.accepted)
        return self._record(ids[pick // 2 % len(ids)])

    def _record(self, job_id: int) -> Job | Tombstone | None:
        return next((record for record in self.world.records() if record.id == job_id), None)

    def _visible(self) -> list[str]:
        """The lanes that show messages to workers; the dead-letter queue is none of them."""
        return [name for name in self.world.consumed()[:-1] if self.world.shows(name)]

    def _lane(self, lane: int) -> str | None:
        """A lane that shows messages; if need be, time passes until there is one."""
        if not self._visible() and (next_ms := self.world.next_event_ms()) is not None:
            self.world.clock.ms = max(self.world.clock.ms, min(next_ms, self.end_ms))
            self.world.tick()
        lanes = self._visible()
        return lanes[lane % len(lanes)] if lanes else None

    def _received(self, lane: str | None, pick: int, text: str | None = None) -> Received | None:
        """One of the messages that a lane shows, not always the oldest; one with ``text`` if there is any."""
        messages = self.yard.transport.receive(lane, 10, hide_s=330, wait_s=0) if lane else []
        if not messages:
            return None
        fitting = [message for message in messages if message.text == text] or messages
        chosen = fitting[pick % len(fitting)]
        self.yard.transport.hide([message for message in messages if message is not chosen], 0)
        return chosen

    def _counted(self) -> Counter[State]:
        total: Counter[State] = Counter()
        for states in self.yard.insights.counters().values():
            total.update(states)
        assert all(number >= 0 for number in total.values()), f"I7: a counter is negative: {total}"
        return +total


def held_by(record: Job | Tombstone | None, job: Job) -> bool:
    """Whether the worker that claimed ``job`` still holds it."""
    return isinstance(record, Job) and record.state is State.RUNNING and record.lease == job.lease


def envelope_of(message: Any) -> Job:
    return from_envelope(message.body)


def change_in(record: dict[str, Any]) -> tuple[Job | Tombstone | None, Job | Tombstone | None]:
    """The record before and after one change in the stream; ``None`` twice for another part of a job."""
    image = record["dynamodb"]
    if image["Keys"]["part"]["S"] != STATE_PART:
        return None, None
    before, after = (
        decoded(from_attribute_values(image[name])) if image.get(name) else None for name in ("OldImage", "NewImage")
    )
    return before, after


def states_after(records: list[dict[str, Any]]) -> Counter[State]:
    """How many jobs are in each state once the changes in ``records`` have happened."""
    states: dict[int, State] = {}
    for before, after in map(change_in, records):
        if isinstance(after, Job):
            states[after.id] = after.state
        elif isinstance(before, Job):
            del states[before.id]
    return Counter(states.values())


def assert_legal(before: Job | Tombstone | None, after: Job | Tombstone | None) -> None:
    """One write to the ledger, held to the invariants."""
    if before is None and after is None:
        return
    assert after is not None, "I8: a record is gone without a tombstone"
    if isinstance(before, Tombstone) or isinstance(after, Tombstone):
        assert isinstance(after, Tombstone), "I8: a tombstone was revived"
        assert not isinstance(before, Job) or before.state.terminal, "I8: a live job was deleted"
        return
    assert len(after.trace) <= TRACE_MAX_EVENTS
    assert after.attempts <= after.attempt_limit, "more attempts than allowed"
    if before is None:
        assert (after.state, after.attempts) in ((State.PENDING, 0), (State.RUNNING, 1))
        return
    for name in ORDER_FIELDS:
        assert getattr(before, name) == getattr(after, name), f"I2: the order changed: {name}"
    assert after.delivery >= before.delivery
    if after.delivery > before.delivery:
        assert after.state is State.PENDING
        assert after.wake_at_ms is not None or not after.travels, "a new delivery that nobody knows to be unsent"
    if before.state is after.state:
        assert_legal_within(before, after)
    else:
        assert may_move(before.state, after.state), f"I2: {before.state} -> {after.state}"
        if before.state.terminal:
            assert after.events[-1].event is Event.RETRIED, "I2: revived without being asked to"
    if after.lease != before.lease:
        assert_legal_start(before, after)
    else:
        assert after.attempts == before.attempts


def assert_legal_within(before: Job, after: Job) -> None:
    """A write that leaves the state as it is."""
    if before.state.terminal:
        touched = {name for name in JOB_FIELDS if getattr(before, name) != getattr(after, name)}
        allowed = {"replayed_at_ms", "replayed_as", "updated_at_ms", "has_children"}
        assert touched <= allowed, f"I2: a terminal job changed: {touched}"
        assert before.replayed_at_ms is None or after.replayed_at_ms == before.replayed_at_ms, "replayed twice"
    if before.state is State.RUNNING and after.lease == before.lease:
        assert (after.lease_until_ms or 0) >= (before.lease_until_ms or 0), "a lease became shorter"


def assert_legal_start(before: Job, after: Job) -> None:
    """A write by which an attempt begins."""
    now_ms = after.started_at_ms or 0
    assert after.state is State.RUNNING
    assert after.attempts == before.attempts + 1
    assert before.travels, "what waits for its parent, or for a person, was run"
    if before.state is State.PENDING:
        assert before.due_at_ms <= now_ms, "run before its time"
    else:
        assert before.state is State.RUNNING
        assert (before.lease_until_ms or 0) < now_ms, "I3: taken over before the lease ran out"


def test_no_interleaving_breaks_an_invariant() -> None:
    racing = Races()
    with world([work, keep, forward]) as used:
        racing.attach()
        run_state_machine_as_test(
            lambda: Interleavings(used, racing),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


# -- the rule and the fence agree ---------------------------------------------------------------------


class Standing(NamedTuple):
    """How a job may stand on the ledger when a message of delivery 2 arrives."""

    state: State
    delivery: int = 2
    attempts: int = 1  # of 3
    lease_left_ms: int = 0
    due_in_ms: int = 0
    blocked: bool = False
    same_uid: bool = True
    trace_length: int = 1


STANDINGS = [
    *(Standing(State.PENDING, 2, *values) for values in itertools.product((0, 3), (0,), (0, 1), (False, True))),
    *(Standing(State.PENDING, delivery, 0, same_uid=same) for delivery in (1, 2, 3) for same in (True, False)),
    *(Standing(State.PENDING, attempts=0, trace_length=length) for length in (18, 19, 20)),
    *(Standing(State.RUNNING, *values) for values in itertools.product((1, 2, 3), (1, 3), (-1, 0, 1))),
    *(Standing(State.RUNNING, lease_left_ms=-1, trace_length=length) for length in (18, 19, 20)),
    *(Standing(state, delivery) for state in (*TERMINAL, State.WAITING) for delivery in (1, 2, 3)),
]


def test_a_claim_does_exactly_what_the_rule_says() -> None:
    """The claim's condition is written twice, in the rule and in the fence of the write; they must not differ."""
    with moto_bench([work]) as bench:
        yard, now_ms = bench.yard, bench.clock.ms
        for standing in STANDINGS:
            record = place(yard, placed(yard, standing))
            envelope = replace(
                job_of(yard, id=record.id, type=record.type, trace_id=record.trace_id), delivery=2, attempt_limit=3
            )
            verdict = on_delivery(record, envelope, now_ms, "mine")
            before = stored(yard, record.id)
            outcome = claim(yard, envelope, Lease("mine", now_ms + LEASE_MS, "A"))
            after = yard.jobs.find(record.id)
            if isinstance(verdict, Claim | TakeOver):
                assert isinstance(outcome, Job), standing
                assert outcome == after
                assert (outcome.state, outcome.lease, outcome.attempts) == (State.RUNNING, "mine", record.attempts + 1)
                assert len(outcome.trace) <= TRACE_MAX_EVENTS
            elif isinstance(verdict, Abandoned):
                assert isinstance(outcome, Ack), standing
                assert after is not None
                assert (after.state, after.attempts) == (State.FAILED, record.attempts)
            else:
                assert outcome == verdict, standing
                assert stored(yard, record.id) == before, standing


def placed(yard: Yard, standing: Standing) -> Job:
    """A record that stands so."""
    now_ms = yard.now_ms()
    leased = standing.state is not State.PENDING or standing.attempts > 0
    return job_of(
        yard,
        uid=BIRTH if standing.same_uid else "another",
        state=standing.state,
        delivery=standing.delivery,
        attempts=standing.attempts,
        attempt_limit=3,
        lease="theirs" if leased else None,
        lease_until_ms=now_ms + standing.lease_left_ms if standing.state is State.RUNNING else None,
        due_at_ms=now_ms + standing.due_in_ms,
        blocked=standing.blocked,
        trace=lines(standing.trace_length),
    )


# -- races that are too rare to wait for --------------------------------------------------------------


def test_a_retry_that_read_the_job_too_early_gives_it_all_its_attempts_or_nothing() -> None:
    """The job is retried, claimed and canceled by others between the read and the write of a retry."""
    racing = Races()
    with world([work]) as used:
        racing.attach()
        yard = wiped(used).yard
        job = publish(yard, NewJob(kind=Kind.TASK, type="work", max_attempts=1))

        lifecycle.cancel(yard, job.id, Kind.TASK)

        def claimed_and_canceled() -> None:
            lifecycle.retry(yard, job.id, Kind.TASK)
            claim(yard, from_envelope(racing.sent[-1][1]), Lease("a", yard.now_ms() + LEASE_MS, "A"))
            lifecycle.cancel(yard, job.id, Kind.TASK)

        racing.countdown, racing.other = 1, claimed_and_canceled
        with contextlib.suppress(Conflict):
            lifecycle.retry(yard, job.id, Kind.TASK)
        assert racing.other is None
        found = yard.jobs.find(job.id)
        assert found is not None
        assert (found.state, found.tries) in ((State.CANCELED, 1), (State.PENDING, 0))


def test_a_heartbeat_just_in_time_keeps_the_job() -> None:
    """The lease has run out, another worker has seen it, and before it writes the first one is heard of again."""
    racing = Races()
    with world([work]) as used:
        racing.attach()
        play = wiped(used)
        yard = play.yard
        job = publish(yard, NewJob(kind=Kind.TASK, type="work"))
        first = claim(yard, job, Lease("first", yard.now_ms() + LEASE_MS, "A"))
        assert isinstance(first, Job)
        play.clock.move(LEASE_MS + 1)
        until_ms = yard.now_ms() + LEASE_MS
        racing.countdown, racing.other = 1, lambda: yard.jobs.extend_lease(job.id, "first", until_ms)
        verdict = claim(yard, job, Lease("second", until_ms, "B"))
        assert racing.other is None
        assert verdict == Nack(LEASE_MS + 1_000, "leased")
        assert yard.jobs.find(job.id) == replace(first, lease_until_ms=until_ms, heard=True)


def test_a_child_whose_parent_is_removed_before_it_was_released_still_ends() -> None:
    """The parent's worker died between the parent's success and the release; then somebody tidied up."""
    with world([work]) as used:
        play = wiped(used)
        yard = play.yard
        parent = publish(yard, NewJob(kind=Kind.TASK, type="work"))
        child = publish(yard, NewJob(kind=Kind.TASK, type="work", parent_id=parent.id))
        running = claim(yard, parent, Lease("a", yard.now_ms() + LEASE_MS, "A"))
        assert isinstance(running, Job)
        yard.jobs.succeed(running, StoredOutput(), yard.now_ms())
        with contextlib.suppress(Conflict):  # refusing to remove it now is an answer, too
            delete(yard, parent.id, Kind.TASK)
        for _ in range(5):
            play.clock.move(3_600_000)
            play.tick()
            play.deliver()
        ended = yard.jobs.find(child.id)
        assert ended is not None
        assert ended.state.terminal, "I1: the child waits for ever for a parent that is gone"

"""Every AWS call on the way of a job fails, before and after it took effect, and nothing is lost or done twice."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest

from chalicelib.core.decisions import REQUEUES_MAX, Outcome, Succeeded
from chalicelib.core.errors import Conflict, NotFound, Unavailable
from chalicelib.core.job import MANUAL, Job, Tombstone
from chalicelib.core.job_documents import to_envelope
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock.leases import recover_locked
from chalicelib.engine.commands.lifecycle import cancel, delete, replay, retry
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.polling.poll import NotLocked, complete, extend, fail, failure, poll
from chalicelib.engine.polling.settle_many import Report, settle_batch
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.prepare import prepare
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import Context, Reject
from chalicelib.engine.worker.pause import paused_by
from chalicelib.engine.yard import Yard
from chalicelib.store.directory import Outbox
from tests.support.faults import (
    VAGUE,
    WITH_THROTTLE,
    Fault,
    Mode,
    Play,
    Run,
    Scenario,
    acted,
    faults_of,
    run_of,
    stage,
    verify,
)
from tests.support.yards import Exited

RUNS: list[Run] = []
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


# -- handlers that do as they are told ----------------------------------------------------------------


@task("work", backoff=Fixed(1_000))
def work(order: dict[str, Any], context: Context) -> Any:
    RUNS.append(run_of(context))
    if context.job.attempts <= order.get("dies", 0):
        raise Exited
    if context.job.attempts <= order.get("fails", 0):
        raise RuntimeError("not yet")
    if context.job.tries == context.job.attempts and context.job.replay_of is None and order.get("fails_at_first"):
        raise RuntimeError("not before somebody asks for it")
    if context.job.attempts <= order.get("overruns", 0):
        signal.pause()
    if order.get("rejects"):
        raise Reject("never")
    if order.get("reports"):
        context.progress(1, 2, "half")
    if "answers" in order:
        return "x" * order["answers"]
    return len(order.get("payload", ""))


@task("other")
def other(_: Any) -> None:
    raise AssertionError("nothing publishes this")


@task("quick", light=True, backoff=Fixed(1_000))
def quick(order: dict[str, Any], context: Context) -> Any:
    claimed = context.job.lease is not None
    RUNS.append(run_of(context, "claimed" if claimed else "unclaimed"))
    if order.get("dies") and not claimed:
        raise Exited
    if context.job.attempts <= order.get("fails", 0):
        raise RuntimeError("not yet")
    if order.get("reports"):
        context.progress(1, 2, "half")
    return "x" * order.get("answers", 5)


@subscribe("news", backoff=Fixed(1_000))
def first_reader(_: Any, context: Context) -> None:
    RUNS.append(run_of(context, "first"))


@subscribe("news", backoff=Fixed(1_000))
def second_reader(_: Any, context: Context) -> None:
    RUNS.append(run_of(context, "second"))
    if context.job.attempts == 1:
        raise RuntimeError("not yet")


FUNCTIONS = (work, other, quick, first_reader, second_reader)
WITHOUT_WORK = (other, quick, first_reader, second_reader)


def a_task(**order: Any) -> dict[str, Any]:
    return {"kind": Kind.TASK, "type": "work", "input": order}


def a_light_task(**order: Any) -> dict[str, Any]:
    return {"kind": Kind.TASK, "type": "quick", "input": order}


def a_message(topic: str = "notes") -> dict[str, Any]:
    return {"kind": Kind.MESSAGE, "type": topic, "input": {"text": "hello"}}


# -- what a scenario is made of -----------------------------------------------------------------------


def publishing(**more: Any) -> Callable[[Play], None]:
    """A client publishes one job."""

    def act(play: Play) -> None:
        play.ask(lambda yard: publish(yard, NewJob(**{**more, "parent_id": play.given})))

    return act


def arranged(*more: dict[str, Any]) -> Callable[[Play], None]:
    """Jobs that a client published before."""

    def arrange(play: Play) -> None:
        jobs = [play.arranged(**request) for request in more]
        play.given = jobs[0].id

    return arrange


def delivering(queue: str = "default") -> Callable[[Play], None]:
    """AWS hands a lane's messages to the worker."""

    def act(play: Play) -> None:
        play.world.deliver_batch(play.world.queue_of(queue))

    return act


def asking(request: Callable[[Yard, int], Any]) -> Callable[[Play], None]:
    """A client asks something of the arranged job."""

    def act(play: Play) -> None:
        play.ask(lambda yard: request(yard, play.given), VAGUE)

    return act


def then(*steps: Callable[[Play], None]) -> Callable[[Play], None]:
    def every(play: Play) -> None:
        for step in steps:
            step(play)

    return every


def passing(ms: int) -> Callable[[Play], None]:
    return lambda play: play.world.clock.move(ms)


def ticking(play: Play) -> None:
    play.world.tick()


def coming_to_rest(play: Play) -> None:
    play.world.go_on()


def consuming(play: Play) -> None:
    play.world.consumes = True


def without_handler(play: Play) -> None:
    play.world.restart(Registry.of(WITHOUT_WORK))


def ends(*states: State, runs: int, doubles: bool = False) -> Callable[[Play], None]:
    """All jobs together end as ``states``, after ``runs`` starts of handlers.

    A fault may cost each job one more run, and an attempt. ``doubles``: a client that had to repeat its
    request without knowing may have made the jobs twice.
    """

    def check_(play: Play) -> None:
        found = [job.state for job in play.world.jobs()]
        if doubles and play.doubts:
            assert len(found) in (len(states), 2 * len(states))
            assert set(found) == set(states)
        else:
            assert sorted(found) == sorted(states)
        if play.calls.fired:
            assert len(play.runs) <= runs + len(found) * (1 + play.doubts)
        else:
            assert len(play.runs) == runs
            assert play.doubts == 0

    return check_


def result(expected: Any) -> Callable[[Play], None]:
    """Every job's output is ``expected``."""

    def check_(play: Play) -> None:
        for job in play.world.jobs():
            assert play.yard.payloads.output(job) == expected

    return check_


def failed_with(*types: str) -> Callable[[Play], None]:
    def check_(play: Play) -> None:
        for job in play.world.jobs():
            assert job.error is not None
            assert job.error.type in types

    return check_


def one_job(play: Play) -> None:
    """An idempotency key: whatever happened, there is one job."""
    assert len(play.world.jobs()) == 1
    assert set(play.accepted) == {play.world.jobs()[0].id}


def to_dead_letter_queue(play: Play, body: str) -> None:
    url = play.world.sqs.get_queue_url(QueueName=play.yard.settings.dead_letter_queue)["QueueUrl"]
    play.world.sqs.send_message(QueueUrl=url, MessageBody=body)


def redriving(play: Play) -> None:
    play.world.deliver_batch(play.yard.settings.dead_letter_queue)


# -- publish ------------------------------------------------------------------------------------------

SUCCESS, FAILED, CANCELED, PENDING = State.SUCCESS, State.FAILED, State.CANCELED, State.PENDING
BULK = [a_task(payload="x" * size) for size in (*[3] * 9, 5_000, 6_000, 400_000)]


def publishing_many(play: Play) -> None:
    """A client publishes twelve jobs at once, and again those that were not accepted."""
    left = [NewJob(**request) for request in BULK]
    while left:
        answers = play.ask(partial(publish_many, new_jobs=left)) or []
        refused = [new_job for new_job, answer in zip(left, answers, strict=True) if not isinstance(answer, Job)]
        play.doubts += len(refused) > 0
        left = refused


def publishing_many_under_keys(play: Play) -> None:
    """A client sends twelve jobs under keys of theirs, all of them again until it knows of each."""
    requests = [NewJob(**request, idempotency_key=f"key#{place}") for place, request in enumerate(BULK)]
    while not all(isinstance(answer, Job) for answer in play.ask(partial(publish_many, new_jobs=requests)) or [None]):
        continue


def each_once(play: Play) -> None:
    found = [play.yard.payloads.output(job) for job in play.world.jobs()]
    assert sorted(found) == sorted(len(request["input"]["payload"]) for request in BULK)


def bulk_ends(play: Play) -> None:
    found = [play.yard.payloads.output(job) for job in play.world.jobs()]
    wanted = [len(request["input"]["payload"]) for request in BULK]
    assert sorted(found) in (sorted(wanted), sorted(wanted * 2))
    assert play.doubts > 0 or len(found) == len(wanted)


def parent_and_child(play: Play) -> None:
    """The child's handler ran after the parent's success, or there is no child."""
    parent = play.world.job(play.given)
    children = [job for job in play.world.jobs() if job.parent_id == parent.id]
    assert children
    for child in children:
        assert child.state is SUCCESS
        assert (child.first_started_at_ms or 0) >= (parent.completed_at_ms or 0)


def manual_waits(play: Play) -> None:
    play.waiting = tuple(job.id for job in play.world.jobs() if job.runner == MANUAL)


PUBLISH = [
    Scenario(
        "publish-small",
        publishing(**a_task(payload="x" * 5)),
        then(ends(SUCCESS, runs=1, doubles=True), result(5)),
        modes=WITH_THROTTLE,
    ),
    Scenario(
        "publish-beside",
        publishing(**a_task(payload="x" * 5_000)),
        then(ends(SUCCESS, runs=1, doubles=True), result(5_000)),
    ),
    Scenario(
        "publish-bucket",
        publishing(**a_task(payload="x" * 400_000)),
        then(ends(SUCCESS, runs=1, doubles=True), result(400_000)),
        modes=WITH_THROTTLE,
    ),
    Scenario(
        "publish-keyed",
        publishing(**a_task(payload="x" * 5_000), idempotency_key="k"),
        then(ends(SUCCESS, runs=1), result(5_000), one_job),
        modes=WITH_THROTTLE,
    ),
    Scenario("publish-soon", publishing(**a_task(), delay_ms=600_000), ends(SUCCESS, runs=1, doubles=True)),
    Scenario("publish-far", publishing(**a_task(), delay_ms=2 * HOUR_MS), ends(SUCCESS, runs=1, doubles=True)),
    Scenario("publish-child", publishing(**a_task()), parent_and_child, arrange=arranged(a_task())),
    Scenario(
        "publish-child-keyed",
        publishing(**a_task(payload="x" * 5_000), idempotency_key="k"),
        then(ends(SUCCESS, SUCCESS, runs=2), parent_and_child),
        arrange=arranged(a_task()),
    ),
    Scenario(
        "publish-child-of-success",
        publishing(**a_task()),
        parent_and_child,
        arrange=then(arranged(a_task()), coming_to_rest),
    ),
    Scenario(
        "publish-manual",
        then(publishing(kind=Kind.TASK, type="approval", runner=MANUAL), manual_waits),
        ends(PENDING, runs=0, doubles=True),
    ),
    Scenario("publish-many", publishing_many, bulk_ends),
    Scenario("publish-many-under-keys", publishing_many_under_keys, each_once),
    Scenario(
        "publish-first-of-topic", publishing(**a_message()), ends(SUCCESS, runs=0, doubles=True), arrange=consuming
    ),
    Scenario("publish-to-subscribers", publishing(**a_message("news")), ends(SUCCESS, runs=3, doubles=True)),
]

# -- the worker ---------------------------------------------------------------------------------------


def a_worker(
    name: str,
    order: dict[str, Any],
    check_: Callable[[Play], None],
    before: Callable[[Play], None] = lambda _: None,
    **more: Any,
) -> Scenario:
    """A worker gets one job's message."""
    arrange = then(arranged({**a_task(**order), **more}), before)
    return Scenario(f"worker-{name}", delivering(), check_, arrange)


def unrecorded(play: Play) -> None:
    """The publisher died between the message and the record."""
    play.arranged(**a_task(payload="x" * 5_000))
    play.world.lose_records()


def unreadable(play: Play) -> None:
    """Somebody else writes to the lane."""
    url = play.world.sqs.get_queue_url(QueueName=play.world.queue_of("default"))["QueueUrl"]
    play.world.sqs.send_message(QueueUrl=url, MessageBody="not ours")
    play.arranged(**a_task())


def left_running(play: Play) -> None:
    """A worker dies in the middle of its handler; its lease runs out."""
    delivering()(play)
    play.world.clock.move(61_000)


def with_child(play: Play) -> None:
    play.arranged(**a_task(), parent_id=play.given)


def three_jobs_end(play: Play) -> None:
    states = [job.state for job in play.world.jobs()]
    assert states == [SUCCESS, FAILED, SUCCESS]


WORKER = [
    a_worker("success", {}, then(ends(SUCCESS, runs=1), result(0))),
    a_worker("retry", {"fails": 1}, ends(SUCCESS, runs=2)),
    a_worker("retry-beyond-sqs", {"fails": 1}, ends(SUCCESS, runs=2), backoff=Fixed(HOUR_MS)),
    a_worker("last-failure", {"fails": 9}, ends(FAILED, runs=1), max_attempts=1),
    a_worker("reject", {"rejects": True}, then(ends(FAILED, runs=1), failed_with("Reject"))),
    a_worker("time-out", {"overruns": 1}, ends(SUCCESS, runs=2), timeout_ms=50),
    a_worker("progress", {"reports": True}, ends(SUCCESS, runs=1)),
    a_worker("body-in-bucket", {"payload": "x" * 400_000}, then(ends(SUCCESS, runs=1), result(400_000))),
    a_worker("output-beside", {"answers": 5_000}, then(ends(SUCCESS, runs=1), result("x" * 5_000))),
    a_worker("output-in-bucket", {"answers": 300_000}, then(ends(SUCCESS, runs=1), result("x" * 300_000))),
    a_worker("no-handler", {}, then(ends(FAILED, runs=0), failed_with("NoHandler")), before=without_handler),
    a_worker("parent", {}, then(ends(SUCCESS, SUCCESS, runs=2), parent_and_child), before=with_child),
    a_worker("take-over", {"dies": 1}, ends(SUCCESS, runs=2), before=left_running),
    a_worker(
        "used-up", {"dies": 9}, then(ends(FAILED, runs=1), failed_with("LeaseLost")), left_running, max_attempts=1
    ),
    Scenario(
        "worker-unrecorded",
        delivering(),
        then(ends(SUCCESS, runs=1), result(5_000)),
        unrecorded,
    ),
    Scenario(
        "worker-light",
        delivering(),
        then(ends(SUCCESS, SUCCESS, SUCCESS, runs=3), result("xxxxx")),
        arranged(a_light_task(), a_light_task(), a_light_task()),
    ),
    Scenario(
        "worker-light-and-others",
        delivering(),
        ends(SUCCESS, SUCCESS, SUCCESS, SUCCESS, runs=5),
        arranged(a_light_task(), a_light_task(fails=1), a_light_task(answers=5_000), a_task()),
    ),
    Scenario(
        "worker-light-reports",
        delivering(),
        then(ends(SUCCESS, SUCCESS, runs=2), result("xxxxx")),
        arranged(a_light_task(reports=True), a_light_task()),
    ),
    Scenario("worker-light-dies", delivering(), ends(SUCCESS, runs=2), arranged(a_light_task(dies=1))),
    Scenario("worker-unreadable", delivering(), then(ends(SUCCESS, FAILED, runs=1)), unreadable),
    Scenario("worker-subscribers", delivering("news"), ends(SUCCESS, runs=3), arranged(a_message("news"))),
    Scenario(
        "worker-batch",
        delivering(),
        three_jobs_end,
        arranged(a_task(fails=1), a_task(rejects=True), a_task(answers=1)),
    ),
]

# -- polling ------------------------------------------------------------------------------------------


def locked(play: Play) -> None:
    """A client has polled a message."""
    arranged(a_message())(play)
    assert [job.id for job in poll(play.yard, "notes", 10, 30_000, "client")] == [play.given]
    play.world.consumes = True


def two_in_hand(play: Play) -> None:
    """A client has polled two messages."""
    arranged(a_message(), a_message())(play)
    assert len(poll(play.yard, "notes", 10, 30_000, "client")) == 2
    play.world.consumes = True


def extending(yard: Yard, job_id: int) -> None:
    job = yard.jobs.find(job_id)
    assert job is not None
    extend(yard, job_id, job.lease or "", 60_000)


def reporting(outcome: Outcome) -> Callable[[Play], None]:
    """A client says of all that it has how it went; what AWS did not take is told."""

    def act(play: Play) -> None:
        reports = [Report(job_id, outcome) for job_id in play.accepted]
        for answer in play.ask(lambda yard: settle_batch(yard, reports), VAGUE) or []:
            assert isinstance(answer, Job | Unavailable | NotLocked)

    return act


POLLING = [
    Scenario(
        "poll",
        then(lambda play: play.ask(lambda yard: poll(yard, "notes", 10, 30_000, "client"), VAGUE), consuming),
        ends(SUCCESS, SUCCESS, runs=0),
        arranged(a_message(), a_message()),
    ),
    Scenario("complete", asking(complete), ends(SUCCESS, runs=0), locked),
    Scenario("fail", asking(lambda yard, job_id: fail(yard, job_id, "no paper")), ends(SUCCESS, runs=0), locked),
    Scenario("extend", asking(extending), ends(SUCCESS, runs=0), locked),
    Scenario("complete-batch", reporting(Succeeded()), ends(SUCCESS, SUCCESS, runs=0), two_in_hand),
    Scenario("fail-batch", reporting(failure("no paper")), ends(SUCCESS, SUCCESS, runs=0), two_in_hand),
    Scenario(
        "recover-locked",
        asking(lambda yard, _: recover_locked(yard, "notes", lambda: True)),
        ends(SUCCESS, SUCCESS, runs=0),
        then(two_in_hand, passing(30_001)),
    ),
]

# -- by request ---------------------------------------------------------------------------------------


def one_successor_each(play: Play) -> None:
    dead = [job for job in play.world.jobs() if job.state is FAILED]
    made = [job.id for job in play.world.jobs() if job.replay_of is not None]
    assert sorted(job.replayed_as or 0 for job in dead) == made
    assert len({job.replayed_as for job in dead}) == len(dead)


def replaying_all(play: Play) -> None:
    for job in play.world.jobs():
        play.ask(lambda yard, dead=job.id: replay(yard, dead, Kind.TASK), VAGUE)


def nothing_but_a_tombstone(play: Play) -> None:
    assert play.world.records() == [Tombstone(play.given)]
    assert {item["part"] for item in play.world.items("jobs")} == {"state"}
    assert play.world.objects() == []


BY_REQUEST = [
    Scenario(
        "cancel",
        asking(lambda yard, job_id: cancel(yard, job_id, Kind.TASK)),
        ends(CANCELED, runs=0),
        arranged(a_task()),
    ),
    Scenario(
        "retry",
        asking(lambda yard, job_id: retry(yard, job_id, Kind.TASK)),
        ends(SUCCESS, runs=2),
        then(arranged({**a_task(fails_at_first=True), "max_attempts": 1}), coming_to_rest),
    ),
    Scenario(
        "replay",
        asking(lambda yard, job_id: replay(yard, job_id, Kind.TASK)),
        then(ends(FAILED, SUCCESS, runs=2), one_successor_each),
        then(arranged({**a_task(fails_at_first=True, payload="x" * 5_000), "max_attempts": 1}), coming_to_rest),
    ),
    Scenario(
        "replay-many",
        replaying_all,
        then(ends(FAILED, FAILED, SUCCESS, SUCCESS, runs=4), one_successor_each),
        then(arranged(*[{**a_task(fails_at_first=True), "max_attempts": 1}] * 2), coming_to_rest),
    ),
    Scenario(
        "delete",
        asking(lambda yard, job_id: delete(yard, job_id, Kind.TASK)),
        nothing_but_a_tombstone,
        then(arranged(a_task(payload="x" * 400_000, answers=5_000)), coming_to_rest),
    ),
    Scenario(
        "delete-forced",
        asking(lambda yard, job_id: delete(yard, job_id, Kind.TASK, force=True)),
        nothing_but_a_tombstone,
        arranged(a_task(payload="x" * 400_000)),
    ),
]


# -- the dead-letter queue ----------------------------------------------------------------------------


def five_laps(play: Play) -> None:
    job = play.arranged(**a_task())
    for _ in range(REQUEUES_MAX):
        job = play.yard.jobs.requeue(job, job.due_at_ms, play.world.clock() + 20_000, play.world.clock())
    play.yard.jobs.sent(job.id, job.delivery, play.world.clock())
    play.world.forget_messages()
    to_dead_letter_queue(play, to_envelope(job))


def unreadable_dead_letter(play: Play) -> None:
    to_dead_letter_queue(play, '{"v": 2}')


def stuck(play: Play) -> None:
    """A message that was received too often: SQS moves it to the dead-letter queue."""
    play.given = play.arranged(**a_task()).id
    (message,) = play.world.messages()
    play.world.forget_messages()
    to_dead_letter_queue(play, message.body)


def stuck_unrecorded(play: Play) -> None:
    stuck(play)
    play.world.lose_records()


def one_lap(play: Play) -> None:
    """A disturbed lap may be no lap: the clock, which was to look after the job, sends it before."""
    (job,) = play.world.jobs()
    assert job.requeue_count == 1 or (play.calls.fired and job.requeue_count == 0)


def never_started(play: Play) -> None:
    """Unless a disturbance lets the clock send it first; then it is run after all."""
    (job,) = play.world.jobs()
    assert job.requeue_count == REQUEUES_MAX
    if play.calls.fired and job.state is SUCCESS:
        assert len(play.runs) == 1
    else:
        then(ends(FAILED, runs=0), failed_with("NeverStarted"))(play)


DEAD_LETTERS = [
    Scenario("dead-letter-lap", redriving, then(ends(SUCCESS, runs=1), one_lap), stuck),
    Scenario("dead-letter-unrecorded", redriving, then(ends(SUCCESS, runs=1), one_lap), stuck_unrecorded),
    Scenario("dead-letter-fifth-lap", redriving, never_started, five_laps),
    Scenario(
        "dead-letter-unreadable",
        redriving,
        then(ends(FAILED, runs=0), failed_with("Unreadable")),
        unreadable_dead_letter,
    ),
]

# -- the clock ----------------------------------------------------------------------------------------


def left_unsent(play: Play) -> None:
    """A sender died between the record and the message."""
    new_job = NewJob(**a_task(payload="x" * 5_000))
    prepared = prepare(play.yard, new_job).unsent(play.world.clock())
    play.yard.jobs.record(prepared.job, prepared.body)
    play.accepted.append(prepared.job.id)
    play.world.clock.move(20_000)


def left_in_outbox(play: Play) -> None:
    """A bulk publisher died between the transaction and its messages."""
    new_jobs = [NewJob(**a_task()) for _ in range(3)]
    group = [prepare(play.yard, new_job) for new_job in new_jobs]
    outbox = Outbox(f"{play.world.clock():013d}-x", [prepared.job.id for prepared in group])
    actions = [action for prepared in group for action in play.yard.jobs.recording(prepared.job, prepared.body)]
    play.yard.jobs.together([*actions, play.yard.directory.opening_outbox(outbox)])
    play.accepted += outbox.job_ids
    play.world.clock.move(20_001)


def abandoned(play: Play) -> None:
    """The worker dies, and SQS forgets the message."""
    delivering()(play)
    play.world.forget_messages()
    play.world.clock.move(120_001)


def forgotten(play: Play) -> None:
    """A pending job waits for more than seven days; then a new hour begins."""
    play.world.forget_messages()
    hours = (play.world.clock() + 7 * DAY_MS) // HOUR_MS + 1
    play.world.clock.ms = hours * HOUR_MS


def held_in_vain(play: Play) -> None:
    """A child whose parent succeeded, while whoever should have released it died."""
    parent = play.arranged(**a_task())
    child = play.arranged(**a_task(), parent_id=parent.id)
    play.given = parent.id
    paused_by(play.yard, "work", "default")  # the look at what is paused, which is remembered
    play.calls.fault, before = Fault("dynamodb.Query#1", Mode.CRASH_BEFORE), play.calls.fault
    play.calls.listening = True
    delivering()(play)
    play.calls.fault, play.calls.fired, play.calls.listening = before, False, False
    play.calls.points.clear()
    assert play.world.job(child.id).blocked
    assert play.world.job(parent.id).state is SUCCESS
    play.world.clock.move(60_000)


CLOCK = [
    Scenario("clock-unsent", ticking, then(ends(SUCCESS, runs=1), result(5_000)), left_unsent),
    Scenario("clock-outbox", ticking, ends(SUCCESS, SUCCESS, SUCCESS, runs=3), left_in_outbox),
    Scenario(
        "clock-due",
        ticking,
        ends(SUCCESS, runs=1),
        then(arranged({**a_task(), "delay_ms": HOUR_MS}), passing(HOUR_MS - 700_000)),
    ),
    Scenario("clock-lease", ticking, ends(SUCCESS, runs=2), then(arranged(a_task(dies=1)), abandoned)),
    Scenario(
        "clock-lease-last",
        ticking,
        then(ends(FAILED, runs=1), failed_with("LeaseLost")),
        then(arranged({**a_task(dies=1), "max_attempts": 1}), abandoned),
    ),
    Scenario("clock-stale", ticking, ends(SUCCESS, runs=1), then(arranged(a_task()), forgotten)),
    Scenario("clock-child", ticking, parent_and_child, held_in_vain),
]

# -- the projector ------------------------------------------------------------------------------------


def projecting(play: Play) -> None:
    play.projects = True
    play.world.project()


PROJECTOR = [
    Scenario(
        "projector",
        projecting,
        ends(SUCCESS, FAILED, runs=2),
        then(arranged(a_task(), a_task(rejects=True)), coming_to_rest),
    )
]

SCENARIOS = {
    scenario.name: scenario
    for scenario in [*PUBLISH, *WORKER, *POLLING, *BY_REQUEST, *DEAD_LETTERS, *CLOCK, *PROJECTOR]
}


@pytest.fixture(scope="module")
def fresh() -> Iterator[Callable[[Fault | None], Play]]:
    with stage(FUNCTIONS, RUNS) as ready:
        yield ready


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_goes_well_undisturbed_and_survives_every_fault(
    scenario: Scenario, fresh: Callable[[Fault | None], Play], subtests: pytest.Subtests
) -> None:
    play = acted(scenario, fresh(None))
    verify(play)
    scenario.check(play)
    faults = faults_of(scenario, play.calls)
    assert faults
    for fault in faults:
        with subtests.test(str(fault)):
            play = acted(scenario, fresh(fault))
            assert play.calls.fired
            verify(play)
            scenario.check(play)


def test_a_failing_call_costs_only_its_own_job(fresh: Callable[[Fault | None], Play]) -> None:
    """The claim of the first of three jobs fails; the others are done within the same invocation."""
    play = acted(SCENARIOS["worker-batch"], fresh(Fault("dynamodb.UpdateItem#1", Mode.BEFORE)))
    assert [job.state for job in play.world.jobs()] == [PENDING, FAILED, SUCCESS]
    assert [job.attempts for job in play.world.jobs()] == [0, 1, 1]


@pytest.mark.parametrize("seed", range(7))
def test_survives_many_faults(seed: int, fresh: Callable[[Fault | None], Play]) -> None:
    """One call in ten fails in one way or another, whatever the service is doing."""
    play, dice = fresh(None), Random(seed)  # noqa: S311
    play.calls.dice, play.calls.listening, play.world.healthy = dice, True, False
    for number in range(8):
        request = dice.choice(
            [
                a_task(fails=dice.choice([0, 1]), payload="x" * dice.choice([5, 5_000])),
                {**a_task(), "idempotency_key": f"key {number}"},
                {**a_task(), "delay_ms": 30_000},
                a_child(play) or a_task(rejects=True),
                a_message(),
                a_message("news"),
                a_light_task(fails=dice.choice([0, 1])),
            ]
        )
        play.ask(partial(publish, new_job=NewJob(**request)))
        for step in dice.sample(RANDOM_STEPS, 3):
            step(play, dice)
        play.world.clock.move(dice.choice([0, 1_000, 25_000, 61_000]))
    play.calls.listening, play.world.healthy, play.world.consumes = False, True, True
    play.world.restart()
    verify(replace(play, waiting=waiting_in_vain(play)))
    assert play.calls.fired


def a_child(play: Play) -> dict[str, Any] | None:
    """A child of the first task that the client holds."""
    tasks = [job.id for job in play.world.jobs() if job.kind is Kind.TASK and job.id in play.accepted]
    return {**a_task(), "parent_id": tasks[0]} if tasks else None


def requesting(play: Play, dice: Random) -> None:
    """A client cancels something, or has something run again."""
    if play.accepted:
        job_id = dice.choice(play.accepted)
        request = dice.choice([cancel, retry])
        with suppress(Conflict, NotFound):
            play.ask(lambda yard: request(yard, job_id, Kind.TASK), VAGUE)


def polling(play: Play, _dice: Random) -> None:
    for job in play.ask(lambda yard: poll(yard, "notes", 10, 30_000, "client"), VAGUE) or []:
        with suppress(Conflict):
            play.ask(partial(complete, job_id=job.id), VAGUE)


RANDOM_STEPS: list[Callable[[Play, Random], None]] = [
    lambda play, _: delivering()(play),
    lambda play, _: delivering("news")(play),
    lambda play, _: ticking(play),
    requesting,
    polling,
]


def waiting_in_vain(play: Play) -> tuple[int, ...]:
    """The children of a parent that will not succeed."""
    play.world.go_on()
    jobs = {job.id: job for job in play.world.jobs()}
    return tuple(
        job.id for job in jobs.values() if job.blocked and jobs[job.parent_id or 0].state in (FAILED, CANCELED)
    )

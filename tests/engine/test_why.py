"""Why a job is not running: every reason, made true, with its sentence; no answer takes more than three reads."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from chalicelib import Context, Reject, aws, on_success, services, subscribe, task
from chalicelib.actor import acting
from chalicelib.core.applications import DELIVERY
from chalicelib.core.errors import NotFound
from chalicelib.core.flow import Debounce, PerKey, Rate, Unique
from chalicelib.core.flow_controls import FlowControls, FlowTarget
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.reasons import Code
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind
from chalicelib.core.trace import iso
from chalicelib.engine.commands import by_hand, flow, lifecycle
from chalicelib.services import applications, dead_letters, graphs, installation, messages, pauses, schedules, tasks
from chalicelib.services.reasons import Why
from chalicelib.store import wait_lists
from tests.support.commands import fits
from tests.support.steps import (
    LEASE_MS,
    a_message,
    a_task,
    counting,
    failing,
    foreign,
    message_of,
    name_of,
    stolen,
    using,
    work,
)
from tests.support.worlds import World
from tests.support.yards import Exited

MINUTE_MS, DAY_MS = 60_000, 86_400_000
AGAIN = "within two minutes of that it runs again."


@task("t")
def plain(_: Any) -> None: ...


@task("lone", concurrency=1)
def lone(_: Any) -> None: ...


@task("pair", concurrency=2)
def pair(_: Any) -> None: ...


@task("fails", max_attempts=2, backoff=Fixed(30_000))
def fails(given: Any) -> None:
    raise RuntimeError(given or "no\nstock")


@task("keyed", key="input.k", per_key=PerKey(concurrency=1))
def keyed(_: Any) -> None: ...


@task("blocked", key="input.k", order="block")
def blocked(_: Any) -> None:
    raise Reject("never")


@task("aside", key="input.k", order="step aside")
def aside(_: Any) -> None: ...


@task("paced", rate=Rate(1, per_s=10))
def paced(_: Any) -> None: ...


@task("newest", key="input.k", debounce=Debounce(5))
def newest(_: Any) -> None: ...


def keyed_task(w: World, type: str, key: str | None = "a b") -> Job:  # noqa: A002  # every dialect's word for it
    return a_task(w, type, input={"k": key})


@pytest.fixture
def w(w: World) -> Iterator[World]:
    using(w, plain, lone, pair, fails)
    with acting("ops"):
        yield w


def why(w: World, job: Any) -> Why:
    """What is answered, by at most three reads; SQS's address of a queue is asked once a process."""
    w.yard.known_flow.forget()  # as in a process that has just started
    with counting(w) as calls, installation.using(w.yard):
        answer = services.why(job if isinstance(job, int) else job.id)
    del calls["GetQueueUrl"]
    assert sum(calls.values()) <= 3, calls
    assert set(calls) <= {"GetItem", "BatchGetItem", "Query", "GetQueueAttributes"}
    for command in re.findall("`taskyard ([^`]+)`", answer.remedy or ""):
        assert fits(shlex.split(command)), command
    return answer


def said(answer: Why) -> tuple[str, str, str]:
    return answer.state, answer.reason.value, answer.sentence


def at(w: World, plus_ms: int = 0) -> str:
    return iso(w.clock.ms + plus_ms)


def moment(at_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def test_what_never_was(w: World) -> None:
    with pytest.raises(NotFound, match="there is no job 999"):
        why(w, 999)


class TestTimes:
    def test_not_due(self, w: World) -> None:
        job = a_task(w, delay_ms=5_000)
        found = why(w, job)
        due = at(w, 5_000)
        assert said(found) == ("pending", "not_due", f"It is scheduled; it starts at {due} at the earliest.")
        assert (found.since, found.expected_start) == (moment(w.clock.ms), moment(w.clock.ms + 5_000))
        assert found.remedy == f"`taskyard tasks promote {job.id}` starts it now"
        assert found.details == {"kind": "task", "type": "t", "queue": "default"}
        message = why(w, a_message(w, delay_ms=DAY_MS))
        assert (message.reason, message.remedy) == (Code.NOT_DUE, None)

    def test_backing_off(self, w: World) -> None:
        job = a_task(w, "fails")
        work(w)
        found = why(w, job)
        sentence = f"Attempt 1 failed (RuntimeError: no stock); the next one starts at {at(w, 30_000)} at the earliest."
        assert said(found) == ("pending", "backing_off", sentence)
        assert found.expected_start == moment(w.clock.ms + 30_000)
        cause = "mend the cause before the next attempt"
        assert found.remedy == f"{cause}; then `taskyard tasks promote {job.id}` starts it at once"
        assert (found.details["attempt"], found.details["maxAttempts"]) == (1, 2)
        assert (found.details["error"]["type"], found.details["error"]["message"]) == ("RuntimeError", "no\nstock")

    def test_its_payload_could_not_be_read(self, w: World) -> None:
        job = a_task(w, input="x" * 300_000)
        with failing(aws.client("s3"), "GetObject"):
            work(w)
        found = why(w, job)
        assert found.reason is Code.BACKING_OFF
        assert found.sentence.startswith("It could not be run (")
        assert found.sentence.endswith(f"; it is tried again at {at(w, 5_000)}.")

    def test_polls_again(self, w: World) -> None:
        @task("polls")
        def polls(_: Any, context: Context) -> Any:
            return context.polling(lambda: {"progress": 10}, poll_interval_ms=7_000)

        using(w, polls)
        job = a_task(w, "polls")
        work(w)
        sentence = f"Its handler has looked and is not done; it looks again at {at(w, 7_000)}."
        assert said(why(w, job)) == ("pending", "polls_again", sentence)

    def test_its_application_takes_nothing(self, w: World) -> None:
        with installation.using(w.yard):
            made = applications.create("shop", "http://127.0.0.1:9/hook")
            job = applications.create_task(made.app_key, "1", {}, name=DELIVERY, timeout_ms=1_000)
            applications.disable(made.app_key)
        work(w)
        found = why(w, job)
        tried = at(w, 900_000)
        assert said(found) == (
            "pending",
            "application_rests",
            f"Its application {made.app_key} is disabled; it is tried again at {tried}.",
        )
        assert found.remedy == f"`taskyard applications enable {made.app_key}`"
        with installation.using(w.yard):
            applications.enable(made.app_key)
        assert (
            why(w, job).sentence == f"Its application {made.app_key} takes nothing now; it is tried again at {tried}."
        )

    def test_requeued(self, w: World) -> None:
        job = a_task(w)
        stuck(w, job)
        found = why(w, job)
        sentence = f"It was given to workers again and again, and never started; the next try is at {at(w, 120_000)}."
        assert said(found) == ("pending", "requeued", sentence)


def stuck(w: World, job: Any) -> None:
    """SQS moves a job's message to the dead-letter queue, whose function deals with it."""
    body = message_of(w, job).body
    w.forget_messages()
    foreign(w, body, w.yard.settings.dead_letter_queue)
    assert w.deliver_batch(w.yard.settings.dead_letter_queue) == []


class TestOthers:
    def test_waits_for_its_parent(self, w: World) -> None:
        parent = a_task(w, runner=MANUAL, type="by.hand")
        child = a_task(w, parent_id=parent.id)
        found = why(w, child)
        assert said(found) == (
            "pending",
            "waits_for_parent",
            f"It waits for its parent {parent.id}, which is pending.",
        )
        assert found.remedy == f"`taskyard why {parent.id}` says what that one waits for"
        assert (found.details["parentId"], found.details["parentState"]) == (str(parent.id), "pending")
        with installation.using(w.yard):
            tasks.cancel(parent.id)
        found = why(w, child)
        canceled = f"Its parent {parent.id} is canceled; it starts only after that one was retried and succeeded."
        assert said(found) == ("pending", "waits_for_parent", canceled)
        with installation.using(w.yard):
            tasks.delete(parent.id)
        found = why(w, child)
        gone = f"Its parent {parent.id} was deleted before it had succeeded; the clock cancels it."
        assert (found.sentence, found.details["parentState"]) == (gone, "deleted")

    def test_its_parent_has_just_succeeded(self, w: World) -> None:
        parent = a_task(w)
        child = a_task(w, parent_id=parent.id)
        with patch("chalicelib.engine.worker.settle.release_children"):  # its worker dies before
            work(w)
        assert why(w, child).sentence == f"Its parent {parent.id} has succeeded; it is about to be sent."

    def test_manual(self, w: World) -> None:
        job = a_task(w, runner=MANUAL, type="by.hand")
        found = why(w, job)
        assert said(found) == ("pending", "manual", "It is a manual task: a person, or a program, completes it.")
        assert found.remedy == f"`taskyard tasks complete {job.id}`"

    def test_parked(self, w: World) -> None:
        @task("parks")
        def parks(_: Any, context: Context) -> None:
            context.next()

        using(w, parks)
        forever, limited = a_task(w, "parks"), a_task(w, "parks", timeout_ms=9_000)
        work(w)
        assert said(why(w, forever)) == ("waiting", "parked", "It waits for a callback, for ever.")
        found = why(w, limited)
        assert found.sentence == f"It waits for a callback, until {at(w, 9_000)}, when it fails."
        assert (found.details["until"], found.since) == (at(w, 9_000), moment(w.clock.ms))

    def test_waits_for_a_client(self, w: World) -> None:
        job = a_message(w, "polled it")
        found = why(w, job)
        sentence = (
            "Nothing subscribes to the topic polled it; it waits for a client to poll it; "
            "its lane polled it, normal holds about 1 message."
        )
        assert said(found) == ("pending", "waits_for_client", sentence)
        assert found.remedy == "`taskyard messages poll 'polled it'`, or subscribe a handler to the topic"
        assert found.details["lane"] == {"queue": "polled it", "name": "normal", "depth": 1}
        sooner = why(w, a_message(w, "polled it", priority=3)).details["lane"]
        assert sooner == {"queue": "polled it", "name": "normal_3", "depth": 1}


class TestTurns:
    def test_its_type_is_paused(self, w: World) -> None:
        with installation.using(w.yard):
            pauses.pause("t")
        since = at(w)
        jobs = [a_task(w) for _ in range(3)]
        w.clock.move(1_000)
        assert why(w, jobs[0]).sentence == f"The type t is paused by ops since {since}; it is the next."
        w.deliver()
        assert [why(w, job).sentence for job in jobs] == [
            f"The type t is paused by ops since {since}; it is the next.",
            f"The type t is paused by ops since {since}; 1 other comes before it.",
            f"The type t is paused by ops since {since}; 2 others come before it.",
        ]
        with patch.object(wait_lists, "BEFORE_MAX", 2):
            found = why(w, jobs[2])
        assert said(found) == (
            "pending",
            "paused",
            f"The type t is paused by ops since {since}; at least 2 others come before it.",
        )
        assert found.remedy == "`taskyard resume t`"
        details = {"pausedBy": "type", "by": "ops", "pausedSince": since, "before": 2, "beforeIsExact": False}
        assert found.details == {"kind": "task", "type": "t", "queue": "default", **details}
        assert (found.since, found.expected_start) == (moment(w.clock.ms - 1_000), None)
        with installation.using(w.yard):
            pauses.resume("t")
        assert why(w, jobs[0]).reason is Code.ON_ITS_WAY

    def test_its_queue_or_topic_is_paused(self, w: World) -> None:
        with installation.using(w.yard):
            pauses.pause(queue="default")
            pauses.pause("a topic")
        found = why(w, a_task(w))
        assert found.sentence == f"The queue default is paused by ops since {at(w)}; it is the next."
        assert (found.remedy, found.details["pausedBy"]) == ("`taskyard resume --queue default`", "queue")
        found = why(w, a_message(w, "a topic"))
        assert found.sentence == f"The topic a topic is paused by ops since {at(w)}; it is the next."
        assert found.remedy == "`taskyard resume 'a topic'`"

    def test_no_handler_is_deployed(self, w: World) -> None:
        job, scripted = a_task(w), a_task(w, "later", waits_for_handler=True)
        using(w)
        found = why(w, job)
        sentence = "No handler of the type t is deployed; it fails when a worker gets it."
        assert said(found) == ("pending", "no_handler", sentence)
        assert found.remedy == f"deploy one, or `taskyard tasks cancel {job.id}`"
        waiting = "No handler of the type later is deployed; it waits until there is one."
        assert why(w, scripted).sentence == waiting
        w.clock.move(1_000)
        work(w)  # from now on its type is paused
        assert (why(w, scripted).sentence, why(w, scripted).since) == (waiting, moment(w.clock.ms))

        @task("later")
        def later(_: Any) -> None: ...

        using(w, later)
        assert why(w, scripted).reason is Code.ON_ITS_WAY

    def test_the_slots_of_its_type_are_taken(self, w: World) -> None:
        jobs = [a_task(w, "lone") for _ in range(3)]
        by_hand.take(w.yard, jobs[0].id, "bob")
        w.clock.move(1_000)
        w.deliver()
        found = why(w, jobs[2])
        sentence = f"The only slot of the type lone is taken by job {jobs[0].id}; 1 other comes before it."
        assert said(found) == ("pending", "limit_reached", sentence)
        assert found.remedy == "wait, or raise the limit; `taskyard flow show lone` shows who has them"
        limit = {"limit": "type", "slots": 1, "taken": 1, "holders": [str(jobs[0].id)]}
        place = {"before": 1, "beforeIsExact": True}
        assert found.details == {"kind": "task", "type": "lone", "queue": "default", **limit, **place}
        next_one = f"The only slot of the type lone is taken by job {jobs[0].id}; it is the next."
        assert why(w, jobs[1]).sentence == next_one
        pairs = [a_task(w, "pair") for _ in range(3)]
        for job in pairs[:2]:
            by_hand.take(w.yard, job.id, "bob")
        who = f"the jobs {pairs[0].id} and {pairs[1].id}"
        assert why(w, pairs[2]).sentence == f"All 2 slots of the type pair are taken by {who}; it is the next."

    def test_the_run_of_its_schedule_before_goes_on(self, w: World) -> None:
        with installation.using(w.yard):
            schedules.create("s", every_s=60, task={"type": "t"}, overlap="queue")
        first, second = w.jobs()
        w.clock.move(MINUTE_MS)
        by_hand.take(w.yard, first.id, "bob")
        w.clock.move(MINUTE_MS)
        w.deliver()
        found = why(w, second)
        sentence = f"The run of the schedule s before it, job {first.id}, still goes on; it is the next."
        assert said(found) == ("pending", "limit_reached", sentence)
        assert (found.details["limit"], found.details["schedule"]) == ("schedule", "s")

    def test_the_slots_of_its_application_are_taken(self, w: World) -> None:
        with installation.using(w.yard):
            made = applications.create("shop", "http://127.0.0.1:9/hook", concurrency=1)
            first, second = (
                applications.create_task(made.app_key, number, {}, name=DELIVERY, timeout_ms=1_000) for number in "12"
            )
        by_hand.take(w.yard, first.id, "bob")
        found = why(w, second)
        sentence = f"The only slot of the application {made.app_key} is taken by job {first.id}; it is the next."
        assert said(found) == ("pending", "limit_reached", sentence)
        assert (found.details["limit"], found.details["application"]) == ("application", made.app_key)

    def test_its_run_before_goes_on(self, w: World) -> None:
        seen: list[Why] = []

        @task("lone", concurrency=1)
        def stubborn(_: Any, context: Context) -> None:
            if not seen:
                tasks.cancel(context.job.id)
                seen.append(services.why(context.job.id))
                tasks.retry(context.job.id)
                seen.append(why(w, context.job))

        using(w, stubborn)
        a_task(w, "lone")
        work(w)
        worker = w.yard.worker_name
        assert said(seen[0]) == (
            "canceled",
            "canceled",
            f"It was canceled at {at(w)} by a handler of lone; worker {worker} has not noticed yet.",
        )
        sentence = f"Worker {worker} is still busy with the run before; it starts when that has ended."
        assert said(seen[1]) == ("pending", "previous_run", sentence)
        assert seen[1].details["leaseUntil"] == at(w, LEASE_MS)

    def test_nobody_waits_for_a_slot_that_is_theirs(self, w: World) -> None:
        @task("lone", concurrency=1)
        def dies(_: Any, context: Context) -> None:
            tasks.cancel(context.job.id)
            tasks.retry(context.job.id)
            raise Exited

        using(w, dies)
        job = a_task(w, "lone")
        w.deliver_batch(name_of(w))
        assert why(w, job).reason is Code.PREVIOUS_RUN
        w.clock.move(LEASE_MS + 1)
        assert (w.job(job.id).slot, why(w, job).reason) == (True, Code.ON_ITS_WAY)


class TestFlow:
    """``keyed``, ``blocked``, ``aside``, ``paced`` and ``newest`` are deployed, beside ``t``."""

    @pytest.fixture
    def w(self, w: World) -> World:
        using(w, plain, keyed, blocked, aside, paced, newest)
        return w

    def test_a_slot_of_its_key_is_missing(self, w: World) -> None:
        jobs = [keyed_task(w, "keyed") for _ in range(3)]
        by_hand.take(w.yard, jobs[0].id, "bob")
        w.deliver()
        found = why(w, jobs[2])
        taken = f"The only slot of the key a b of the type keyed is taken by job {jobs[0].id}"
        assert said(found) == ("pending", "key_limit_reached", f"{taken}; 1 other comes before it.")
        shown = "`taskyard flow show keyed --key 'a b'` shows who has them"
        assert found.remedy == f"wait, or raise the limit; {shown}"
        limit = {"key": "a b", "slots": 1, "taken": 1, "holders": [str(jobs[0].id)]}
        place = {"before": 1, "beforeIsExact": True}
        assert found.details == {"kind": "task", "type": "keyed", "queue": "default", **limit, **place}
        assert why(w, jobs[1]).sentence == f"{taken}; it is the next."
        flow.set_flow(w.yard, FlowTarget(Kind.TASK, "keyed", "a b"), FlowControls(concurrency=7))
        set_at, more = at(w), [keyed_task(w, "keyed") for _ in range(7)]
        for job in more[:6]:
            by_hand.take(w.yard, job.id, "bob")
        found = why(w, more[6])
        first = ", ".join(str(job.id) for job in [jobs[0], *more[:4]])
        assert found.sentence == (
            f"All 7 slots of the key a b of the type keyed (set by ops at {set_at}) are taken "
            f"by the jobs {first} and 2 others; it is the next."  # those before it were sent when the limit was raised
        )
        assert found.details["holders"] == [str(job.id) for job in [jobs[0], *more[:6]]]
        other = keyed_task(w, "keyed", "c")
        assert why(w, other).reason is Code.ON_ITS_WAY

    def test_its_key_is_paused(self, w: World) -> None:
        flow.pause_key(w.yard, FlowTarget(Kind.TASK, "keyed", "a b"))
        jobs = [keyed_task(w, "keyed") for _ in range(2)]
        w.deliver()
        found = why(w, jobs[1])
        sentence = f"The key a b of the type keyed is paused by ops since {at(w)}; 1 other comes before it."
        assert said(found) == ("pending", "paused", sentence)
        assert found.remedy == "`taskyard flow resume keyed --key 'a b'`"
        assert found.details["pausedBy"] == "key"
        flow.resume_key(w.yard, FlowTarget(Kind.TASK, "keyed", "a b"))
        assert why(w, jobs[1]).reason is Code.ON_ITS_WAY

    def test_too_many_of_its_type_have_begun(self, w: World) -> None:
        jobs = [a_task(w, "paced") for _ in range(12)]
        w.deliver()
        found = why(w, jobs[1])
        begun = "Too many of the type paced have begun: the rate is 1 in 10 s; it begins at"
        back = f"{begun} {at(w, 10_000)} at the earliest; its message comes back at {at(w, 10_000)}."
        assert said(found) == ("pending", "rate_reached", back)
        assert found.remedy == "wait, or raise the rate; `taskyard flow show paced` shows it"
        assert found.expected_start == moment(w.clock.ms + 10_000)
        rate = {"limit": "type", "key": None, "rate": {"count": 1, "perS": 10, "burst": 1}}
        details = {"kind": "task", "type": "paced", "queue": "default", **rate, "comesBackAt": at(w, 10_000)}
        assert found.details == details
        listed = [why(w, job) for job in jobs[10:]]  # no message can be hidden for so long
        assert [each.sentence for each in listed] == [
            f"{begun} {at(w, 10_000)} at the earliest; it is the next.",
            f"{begun} {at(w, 20_000)} at the earliest; 1 other comes before it.",
        ]
        w.clock.move(10_001)
        assert why(w, jobs[10]).reason is Code.ON_ITS_WAY

    def test_too_many_of_its_key_have_begun_by_a_rate_that_was_set(self, w: World) -> None:
        flow.set_flow(w.yard, FlowTarget(Kind.TASK, "t", "k"), FlowControls(rate=Rate(120, per_s=60, burst=2)))
        set_at = at(w)
        jobs = [a_task(w, flow_key="k") for _ in range(3)]
        for job in jobs[:2]:
            by_hand.take(w.yard, job.id, "bob")
        found = why(w, jobs[2])
        rate = f"the rate (set by ops at {set_at}) is 120 in 60 s, up to 2 at once"
        sentence = f"Too many of the key k of the type t have begun: {rate}; it begins at {at(w, 500)} at the earliest"
        assert said(found) == ("pending", "rate_reached", f"{sentence}; it is the next.")
        assert found.remedy == "wait, or raise the rate; `taskyard flow show t --key k` shows it"
        assert (found.details["limit"], found.details["key"], found.details["setAt"]) == ("key", "k", set_at)

    def test_it_is_another_ones_turn(self, w: World) -> None:
        jobs = [keyed_task(w, "aside") for _ in range(3)]
        found = why(w, jobs[2])
        turn = f"Jobs of the key a b of the type aside run in order, and it is the turn of job {jobs[0].id}"
        assert said(found) == ("pending", "not_its_turn", f"{turn}; 1 other comes before it.")
        assert found.remedy == f"`taskyard why {jobs[0].id}` says how that one stands"
        details = {"key": "a b", "turn": str(jobs[0].id), "before": 1, "beforeIsExact": True}
        assert found.details == {"kind": "task", "type": "aside", "queue": "default", **details}
        assert why(w, jobs[1]).sentence == f"{turn}; it is the next."
        assert why(w, jobs[0]).reason is Code.ON_ITS_WAY
        keyless = [keyed_task(w, "aside", None) for _ in range(2)]
        sentence = f"Jobs of the type aside run in order, and it is the turn of job {keyless[0].id}; it is the next."
        assert why(w, keyless[1]).sentence == sentence

    def test_one_before_it_has_failed_and_blocks(self, w: World) -> None:
        jobs = [keyed_task(w, "blocked") for _ in range(3)]
        found = why(w, jobs[2])
        family = "Jobs of the key a b of the type blocked run in order"
        turn = f"{family}, and it is the turn of job {jobs[0].id}, which is pending"
        assert said(found) == ("pending", "not_its_turn", f"{turn}; at most 1 other comes before it.")
        assert found.details["beforeAtMost"] == 1
        assert why(w, jobs[1]).sentence == f"{turn}; it is the next."
        w.deliver()
        found, failed = why(w, jobs[2]), jobs[0].id
        waits = "it waits until that one is retried, replayed, deleted or passed over"
        sentence = f"{family}, and job {failed} before it has failed (Reject: never); {waits}."
        assert said(found) == ("pending", "behind_failed", sentence)
        assert found.remedy == (
            f"`taskyard tasks retry {failed}` once the cause is gone, or `taskyard tasks delete {failed}`; "
            f"`taskyard flow pass {failed}` lets those behind it run"
        )
        details = {"key": "a b", "behind": str(failed)}
        assert found.details == {"kind": "task", "type": "blocked", "queue": "default", **details}
        again = lifecycle.replay(w.yard, failed, Kind.TASK)
        after = f"{family}, and it is the turn of job {again.id}, which is pending; at most 1 other comes before it."
        assert why(w, jobs[2]).sentence == after
        w.deliver()
        lifecycle.pass_over(w.yard, again.id, Kind.TASK)
        assert why(w, jobs[1]).reason is Code.ON_ITS_WAY

    def test_a_message_before_it_has_failed_and_blocks(self, w: World) -> None:
        @subscribe("news", order="block")
        def reader(_: Any) -> None:
            raise Reject("never")

        using(w, reader)
        failed, behind = a_message(w), a_message(w)
        w.deliver()
        found = why(w, behind)
        assert found.sentence.startswith(
            f"Jobs of the topic news run in order, and job {failed.id} before it has failed"
        )
        assert found.remedy == (
            f"`taskyard dlq replay {failed.id}` once the cause is gone; "
            f"`taskyard flow pass {failed.id}` lets those behind it run"
        )

    def test_a_newer_one_has_superseded_it(self, w: World) -> None:
        first, second = keyed_task(w, "newest"), keyed_task(w, "newest")
        found = why(w, first)
        sentence = (
            f"It was superseded by the newer job {second.id} at {at(w)}; of those that are alike the newest runs."
        )
        assert said(found) == ("canceled", "superseded", sentence)
        assert found.remedy == f"`taskyard why {second.id}` says how that one stands"
        assert found.details["supersededBy"] == str(second.id)
        assert why(w, second).sentence == f"It is scheduled; it starts at {at(w, 5_000)} at the earliest."

    def test_a_limit_that_was_set_bounds_any_type_and_any_topic(self, w: World) -> None:
        flow.set_flow(w.yard, FlowTarget(Kind.TASK, "t"), FlowControls(concurrency=1))
        flow.set_flow(w.yard, FlowTarget(Kind.MESSAGE, "polled"), FlowControls(concurrency=1))
        set_at = at(w)
        first, second = a_task(w), a_task(w)
        by_hand.take(w.yard, first.id, "bob")
        found = why(w, second)
        sentence = f"The only slot of the type t (set by ops at {set_at}) is taken by job {first.id}; it is the next."
        assert said(found) == ("pending", "limit_reached", sentence)
        limit = {"limit": "type", "slots": 1, "taken": 1, "holders": [str(first.id)], "setAt": set_at, "setBy": "ops"}
        assert found.details.items() >= limit.items()
        polled, message = a_message(w, "polled"), a_message(w, "polled")
        with installation.using(w.yard):
            assert len(messages.poll("polled", 1)) == 1
        found = why(w, message)
        sentence = (
            f"The only slot of the topic polled (set by ops at {set_at}) is taken by job {polled.id}; it is the next."
        )
        assert said(found) == ("pending", "limit_reached", sentence)
        assert found.remedy == "wait, or raise the limit; `taskyard flow show --topic polled` shows who has them"
        assert found.details["limit"] == "topic"


class TestOnItsWay:
    def test_on_its_way(self, w: World) -> None:
        job = a_task(w, priority=10)
        found = why(w, job)
        sentence = "It is on its way to a worker; its lane default, high holds about 1 message."
        assert said(found) == ("pending", "on_its_way", sentence)
        assert found.details["lane"] == {"queue": "default", "name": "high", "depth": 1}
        assert (found.since, found.expected_start) == (moment(w.clock.ms), None)

    def test_who_sent_it_may_have_died(self, w: World) -> None:
        job = a_task(w)
        with installation.using(w.yard):
            tasks.cancel(job.id)
            w.forget_messages()
            with failing(w.yard.transport.client, "SendMessage"):
                tasks.retry(job.id)
        sent = f"unless one comes, the clock sends it at {at(w, 20_000)}."
        sentence = f"No message of it is known to be on its way; {sent}"
        found = why(w, job)
        assert said(found) == ("pending", "not_sent", sentence)
        assert found.expected_start == moment(w.clock.ms + 20_000)

    def test_who_published_it_may_have_died(self, w: World) -> None:
        @task("unique", unique=Unique())
        def unique(_: Any) -> None: ...

        using(w, unique)
        with failing(w.yard.transport.client, "SendMessage"):
            job = a_task(w, "unique")
        found = why(w, job)
        assert (found.reason, found.expected_start) == (Code.NOT_SENT, moment(w.clock.ms + 20_000))
        w.clock.move(20_000)
        w.tick()
        assert why(w, job).reason is Code.ON_ITS_WAY

    def test_the_clock_could_not_send_it(self, w: World) -> None:
        job = a_task(w, delay_ms=20 * MINUTE_MS)
        w.clock.move(8 * MINUTE_MS)
        with failing(w.yard.transport.client, "SendMessage"):
            w.tick()
        w.clock.move(12 * MINUTE_MS)
        found = why(w, job)
        tried = at(w, -11 * MINUTE_MS)
        assert said(found) == ("pending", "not_sent", f"The clock could not send it, once; it tries again at {tried}.")
        with failing(w.yard.transport.client, "SendMessage"):
            w.tick()
        found = why(w, job)
        again = f"The clock could not send it, 2 times in a row; it tries again at {at(w, 2 * MINUTE_MS)}."
        assert (found.sentence, found.expected_start) == (again, moment(w.clock.ms + 2 * MINUTE_MS))

    def test_there_is_no_queue(self, w: World) -> None:
        job = a_message(w, "polled")
        w.sqs.delete_queue(QueueUrl=w.sqs.get_queue_url(QueueName=name_of(w, "polled"))["QueueUrl"])
        found = why(w, job)
        sentence = "There is no SQS queue for its lane polled, normal; nothing can take it."
        assert said(found) == ("pending", "no_lane", sentence)
        assert found.remedy == "publish to the topic anew, which makes its queue"

    def test_a_light_handler(self, w: World) -> None:
        @task("light", light=True)
        def light(_: Any) -> None: ...

        using(w, light)
        found = why(w, a_task(w, "light"))
        sentence = (
            "Its handler is light, so it may be running already; or it is on its way; "
            "its lane default, normal holds about 1 message."
        )
        assert said(found) == ("pending", "light", sentence)

    def test_its_completion_handler_is_to_be_called(self, w: World) -> None:
        @on_success("t")
        def note(_: Any) -> None: ...

        using(w, plain, note)
        job = a_task(w, runner=MANUAL)
        with installation.using(w.yard):
            tasks.complete(job.id, output=1)
        found = why(w, job)
        sentence = (
            "It is completed, and on its way to the completion handler of its type; "
            "its lane default, normal holds about 1 message."
        )
        assert said(found) == ("pending", "finishing", sentence)


class TestRunning:
    def test_a_worker_runs_it(self, w: World) -> None:
        seen: list[Why] = []

        @task("t", timeout_s=5)
        def asks(_: Any, context: Context) -> None:
            seen.append(why(w, context.job))

        using(w, asks)
        a_task(w)
        work(w)
        worker = w.yard.worker_name
        assert said(seen[0]) == ("running", "running", f"Worker {worker} runs attempt 1 of 3.")
        run = {"worker": worker, "attempt": 1, "maxAttempts": 3, "leaseUntil": at(w, LEASE_MS)}
        assert seen[0].details == {
            "kind": "task", "type": "t", "queue": "default", **run, "deadline": at(w, 5_000)
        }  # fmt: skip

    def test_a_client_has_polled_it(self, w: World) -> None:
        message = a_message(w, "polled")
        with installation.using(w.yard):
            messages.poll("polled", lock_timeout_ms=5_000, consumer_id="till 7")
        found = why(w, message)
        sentence = f"The client till 7 has polled it, and has it locked until {at(w, 5_000)}."
        assert said(found) == ("running", "locked", sentence)
        w.clock.move(5_001)
        found = why(w, message)
        ended = f"The client till 7 let its lock run out: its lease ended at {at(w, -1)}; {AGAIN}"
        assert said(found) == ("running", "lease_ended", ended)

    def test_a_program_has_taken_it(self, w: World) -> None:
        job = a_task(w, timeout_ms=7_000)
        by_hand.take(w.yard, job.id, "bob")
        found = why(w, job)
        sentence = f"The program bob has taken it to work on it elsewhere, until {at(w, 7_000)}."
        assert said(found) == ("running", "taken", sentence)
        w.clock.move(7_001)
        late = f"The program bob did not complete it in time: its lease ended at {at(w, -1)}; {AGAIN}"
        assert why(w, job).sentence == late

    def test_its_worker_has_vanished(self, w: World) -> None:
        @task("dies", max_attempts=2)
        def dies(_: Any) -> None:
            raise Exited

        using(w, dies)
        job, worker = a_task(w, "dies"), w.yard.worker_name
        w.deliver_batch(name_of(w))
        assert why(w, job).reason is Code.RUNNING
        w.clock.move(LEASE_MS + 1)
        found, lease_end = why(w, job), at(w, -1)
        sentence = f"Worker {worker} has vanished: its lease ended at {lease_end}; {AGAIN}"
        assert said(found) == ("running", "lease_ended", sentence)
        assert (found.details["recoverable"], found.since) == (True, moment(w.clock.ms - 1))
        stolen(w, job)
        w.clock.move(LEASE_MS + 1)
        lost = f"its lease ended at {at(w, -1)}; no attempt is left, so it becomes a dead letter."
        assert why(w, job).sentence == f"Worker other worker has vanished: {lost}"


class TestDone:
    def test_it_succeeded_or_was_completed(self, w: World) -> None:
        job = a_task(w)
        work(w)
        assert said(why(w, job)) == ("success", "succeeded", f"It succeeded at {at(w)}.")
        by_a_person = a_task(w, runner=MANUAL, type="by.hand")
        with installation.using(w.yard):
            tasks.complete(by_a_person.id, user_id="ann")
        found = why(w, by_a_person)
        assert said(found) == ("success", "succeeded", f"It was completed by ann at {at(w)}.")
        assert (found.details["completedBy"], found.remedy) == ("ann", None)

    def test_its_attempts_are_used_up_and_it_is_replayed(self, w: World) -> None:
        @subscribe("news", max_attempts=1)
        def reader(_: Any) -> None:
            raise RuntimeError("no paper")

        using(w, fails, reader)
        job = a_task(w, "fails")
        w.go_on()
        found = why(w, job)
        assert said(found) == ("failed", "attempts_used_up", "All 2 attempts failed: RuntimeError: no stock.")
        assert found.remedy == f"`taskyard tasks retry {job.id}` once the cause is gone"
        assert (found.details["cause"], found.details["attempt"]) == ("attempts_used_up", 2)
        with installation.using(w.yard):
            tasks.retry(job.id)
        w.go_on()
        assert why(w, job).sentence == "All 2 attempts since it was retried failed: RuntimeError: no stock."
        message = a_message(w)
        w.deliver()
        found = why(w, message)
        assert found.sentence == "The only attempt failed: RuntimeError: no paper."
        assert found.remedy == f"`taskyard dlq replay {message.id}` once the cause is gone"
        with installation.using(w.yard):
            again = dead_letters.replay(message.id)
        found = why(w, message)
        sentence = f"It failed, and was replayed at {at(w)} as job {again.id}."
        assert said(found) == ("failed", "replayed", sentence)
        assert found.details["replayedAs"] == str(again.id)

    def test_rejected_timed_out_or_without_a_handler(self, w: World) -> None:
        @task("rejects")
        def rejects(_: Any) -> None:
            raise Reject("never")

        @task("parks", timeout_s=1)
        def parks(_: Any, context: Context) -> None:
            context.next()

        using(w, rejects, parks, plain)
        rejected, parked, orphan = a_task(w, "rejects"), a_task(w, "parks"), a_task(w)
        using(w, rejects, parks)
        work(w)
        w.clock.move(1_001)
        w.tick()
        assert said(why(w, rejected)) == ("failed", "failed", "It was rejected, for no retry can help: Reject: never.")
        timed_out = "It took too long: nobody called back within the task's time-out."
        assert said(why(w, parked)) == ("failed", "failed", timed_out)
        found = why(w, orphan)
        assert (found.reason, found.details["cause"]) == (Code.FAILED, "no_handler")
        assert found.sentence.startswith("No handler of it was deployed when a worker got it: ")

    def test_vanished_never_started_unreadable_or_said_so(self, w: World) -> None:
        @task("dies", max_attempts=1)
        def dies(_: Any) -> None:
            raise Exited

        using(w, dies, plain)
        lost = a_task(w, "dies")
        w.deliver_batch(name_of(w))
        w.clock.move(LEASE_MS + MINUTE_MS + 1)
        w.tick()
        w.forget_messages()
        never = a_task(w)
        for _ in range(5):
            stuck(w, never)
            w.clock.ms = w.job(never.id).due_at_ms
        stuck(w, never)
        foreign(w, "no envelope")
        work(w)
        (unreadable,) = [job for job in w.jobs() if job.type == "unreadable"]
        with installation.using(w.yard):
            messages.publish("polled", {}, max_retries=1)
            refused = messages.fail(messages.poll("polled")[0], "no stock")
        assert [why(w, job).sentence for job in (lost, never, unreadable, refused)] == [
            "Whoever had it last vanished, and no attempt is left: the worker of the last attempt vanished, and no "
            "attempt is left.",
            "It was given to workers again and again, and never started: came back from the dead-letter queue 5 times "
            "without being run.",
            "It cannot be read: the SQS message was not written by Taskyard.",
            "Whoever had it, or completed it, said that it failed: no stock.",
        ]

    def test_canceled_by_request_by_its_schedule_or_with_its_parent(self, w: World) -> None:
        job = a_task(w)
        with installation.using(w.yard):
            tasks.cancel(job.id)
        found = why(w, job)
        assert said(found) == ("canceled", "canceled", f"It was canceled at {at(w)} by ops.")
        assert (found.details["canceledBy"], found.details["by"]) == ("request", "ops")
        assert found.remedy == f"`taskyard tasks retry {job.id}`"
        with installation.using(w.yard):
            schedules.create("s", every_s=60, task={"type": "t"}, overlap="skip")
        first, second = w.jobs()[1:]
        w.clock.move(MINUTE_MS)
        by_hand.take(w.yard, first.id, "bob")
        w.clock.move(MINUTE_MS)
        w.deliver()
        found = why(w, second)
        reason = "skipped: the run of its schedule before it was still going on"
        assert found.sentence == f"It was canceled at {at(w)}: {reason}."
        assert (found.details["canceledBy"], found.details["reason"]) == ("service", reason)
        parent = a_task(w, runner=MANUAL, type="by.hand")
        child, asked = a_task(w, parent_id=parent.id), a_task(w, parent_id=parent.id)
        with installation.using(w.yard):
            tasks.cancel(asked.id)
        assert why(w, asked).sentence == f"It was canceled at {at(w)} by ops."
        w.yard.jobs.cancel(child, w.clock.ms)  # as the clock does
        how = f"by request or because its parent {parent.id} was deleted"
        assert why(w, child).sentence == f"It was canceled at {at(w)}, {how}."

    def test_a_node_of_a_graph(self, w: World) -> None:
        with installation.using(w.yard):
            plan = graphs.Builder("nightly")
            plan.task("only", "t")
            graph = plan.start()
        (job,) = w.jobs()
        found = why(w, job)
        assert (found.reason, found.details["graphId"], found.details["node"]) == (
            Code.ON_ITS_WAY,
            str(graph.id),
            "only",
        )
        with installation.using(w.yard):
            graphs.cancel(graph)
        how = f"by request or with its graph {graph.id}"
        assert why(w, job).sentence == f"It was canceled at {at(w)}, {how}."

    def test_deleted(self, w: World) -> None:
        job, message = a_task(w), a_message(w, "polled")
        for each in (job, message):
            lifecycle.delete(w.yard, each.id, each.kind, force=True)
        found = why(w, job)
        assert said(found) == ("deleted", "deleted", "It was deleted.")
        assert (found.details, found.since, found.remedy) == ({}, None, None)
        assert why(w, message).details == {"kind": "message", "type": "polled"}


def test_a_job_that_is_passed_itself(w: World) -> None:
    with installation.using(w.yard):
        made = tasks.create("t", target_id="1", target_type="t", runner_type="system")
        assert services.why(made) == services.why(str(made.id)) == why(w, made)
        message = messages.publish("polled", {})
        assert services.why(message).reason is Code.WAITS_FOR_CLIENT

"""Polling: messages in a client's hand, and how it says how they went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from chalicelib.core.decisions import NEVER_HEARD_OF, Succeeded
from chalicelib.core.errors import Conflict, NotFound
from chalicelib.core.job import SILENT_LOCKS_MAX, Job, JobError
from chalicelib.core.lanes import Band, Lane
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import Event
from chalicelib.engine.clock.leases import LEASE_REPAIR_GRACE_MS, recover_expired, recover_locked
from chalicelib.engine.commands.lifecycle import cancel, retry
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.policy import rate_of_bucket
from chalicelib.engine.polling.poll import (
    CLIENT_GONE,
    LockMismatch,
    NotLocked,
    complete,
    extend,
    fail,
    hand_back,
    poll,
    settle_for_holder,
)
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.lanes import LANES_FRESH_MS
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.pause import paused_by
from chalicelib.engine.yard import Yard
from chalicelib.services.words import retry_count_of
from tests.support.steps import (
    a_message,
    a_task,
    before,
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
from tests.support.yards import START_MS, events_of

LEASE_MS = 30_000


def polled(w: World, topic: str = "notes", limit: int = 10, lease_ms: int = LEASE_MS) -> list[Job]:
    return poll(w.yard, topic, limit, lease_ms, "client 7")


def locked(w: World, **more: Any) -> Job:
    """A message of ``job_details`` that a client has polled."""
    a_message(w, "notes", **more)
    (job,) = polled(w)
    return job


# -- poll ---------------------------------------------------------------------------------------------


def test_a_polled_message_is_running_in_the_clients_hand(w: World) -> None:
    published = a_message(w, "notes", input={"n": 1}, options={"o": 2})
    w.clock.move(400)
    (job,) = polled(w, lease_ms=45_000)
    assert job == w.job(published.id)
    assert (job.state, job.attempts, job.worker) == (State.RUNNING, 1, "client 7")
    assert (job.started_at_ms, job.lease_until_ms) == (START_MS + 400, START_MS + 400 + 45_000)
    assert (job.source, job.receipt) == (name_of(w, "notes"), message_of(w, job).receipt_handle)
    assert w.yard.payloads.body(job) == {"input": {"n": 1}, "options": {"o": 2}}
    assert message_of(w, job).visible_at == w.clock.ms + 45_000
    assert events_of(job) == ["published", "started"]
    assert polled(w) == []


@pytest.mark.parametrize(("lease_ms", "hidden_ms"), [(1_000, 1_000), (1_001, 2_000), (29_999, 30_000)])
def test_the_hiding_outlives_the_lease(w: World, lease_ms: int, hidden_ms: int) -> None:
    a_message(w, "notes")
    (job,) = polled(w, lease_ms=lease_ms)
    assert job.lease_until_ms == START_MS + lease_ms
    assert message_of(w, job).visible_at == START_MS + hidden_ms


def test_a_large_body_comes_with_the_message(w: World) -> None:
    a_message(w, "notes", input="x" * 5_000)
    (job,) = polled(w)
    with counting(w) as calls:
        assert w.yard.payloads.body(job) == {"input": "x" * 5_000}
    assert calls == {}


def test_nothing_to_poll(w: World) -> None:
    assert polled(w, "never heard of") == []
    complete(w.yard, locked(w).id)
    assert polled(w) == []


def test_lanes_are_drained_in_order(w: World) -> None:
    names: dict[int, str] = {}
    for name, priority in [("a", 0), ("b", -5), ("c", 12), ("d", 4), ("e", 12), ("f", 0)]:
        names[a_message(w, "notes", priority=priority).id] = name
        w.clock.move(1)
    w.restart()  # another process, which knows of no lane yet
    assert [names[job.id] for job in polled(w, limit=3)] == ["c", "e", "d"]
    assert [names[job.id] for job in polled(w, limit=10)] == ["a", "f", "b"]


def test_a_poll_takes_no_more_than_its_limit(w: World) -> None:
    for _ in range(13):
        a_message(w, "notes")
    with counting(w) as calls:
        assert len(polled(w, limit=12)) == 12
    assert calls["ReceiveMessage"] == 2
    assert calls["UpdateItem"] == 12
    assert [job.state for job in w.jobs()].count(State.PENDING) == 1


def test_a_poll_of_ten_is_eleven_calls(w: World) -> None:
    for _ in range(10):
        a_message(w, "notes")
    paused_by(w.yard, "notes", "notes")  # a look at what is paused is remembered for five seconds,
    rate_of_bucket(w.yard, "notes")  # and one at what is set of flow control
    with counting(w) as calls:
        assert len(polled(w)) == 10
    assert calls == {"ReceiveMessage": 1, "UpdateItem": 10}


def test_a_limit_of_payloads_does_not_limit_polls(w: World) -> None:
    """The answer has room for what was published, however small a single payload has to be."""
    for _ in range(3):
        a_message(w, "notes", input="x" * 900)
    small = replace(w.yard, settings=replace(w.yard.settings, payload_max_bytes=1_024))
    assert len(poll(small, "notes", 10, LEASE_MS, "c")) == 3


def test_what_is_in_the_bucket_is_taken_for_as_large_as_it_is(w: World) -> None:
    """Of nine with 700 KB, seven fit into one answer; the next poll has the rest, and nobody is charged for it."""
    for _ in range(9):
        a_message(w, "notes", input="x" * 700_000)
    first = len(polled(w))
    w.clock.move(1)
    assert (first, len(polled(w))) == (7, 2)
    assert [job.attempts for job in w.jobs()] == [1] * 9


def test_a_topic_with_subscribers_is_not_polled(w: World) -> None:
    @subscribe("news")
    def listener(_: Any) -> None: ...

    using(w, listener)
    with pytest.raises(Conflict) as refused:
        polled(w, "news")
    assert (refused.value.field, refused.value.got) == ("topic", "news")
    assert refused.value.expected == "a topic without subscribers"


def test_a_pool_is_not_polled(w: World) -> None:
    with pytest.raises(Conflict):
        polled(w, "default")


def test_a_lane_that_another_process_opened_shows_when_there_is_nothing_else_and_soon_in_any_case(w: World) -> None:
    for _ in range(3):
        a_message(w, "notes")
    ours = w.yard
    assert len(poll(ours, "notes", 1, LEASE_MS, "c")) == 1
    w.restart()
    urgent = a_message(w, "notes", priority=12)
    assert [job.priority for job in poll(ours, "notes", 1, LEASE_MS, "c")] == [0]
    w.clock.move(LANES_FRESH_MS + 1)
    assert [job.id for job in poll(ours, "notes", 1, LEASE_MS, "c")] == [urgent.id]
    w.restart()
    critical = [a_message(w, "notes", priority=priority).id for priority in (15, 1_000)]
    assert [job.priority for job in poll(ours, "notes", 1, LEASE_MS, "c")] == [0]
    assert [job.id for job in poll(ours, "notes", 10, LEASE_MS, "c")] == critical[::-1]


def test_each_band_of_priorities_is_a_lane_of_a_polled_topic(w: World) -> None:
    """Forty of priority 5 were sent before; SQS alone would bring them first."""
    for _ in range(40):
        a_message(w, "notes", priority=5)
    later = [a_message(w, "notes", priority=priority).priority for priority in (-1, 0, 10, 1_000)]
    assert later == [-1, 0, 10, 1_000]
    with counting(w) as calls:
        assert [job.priority for job in polled(w, limit=3)] == [1_000, 10, 5]
    assert calls["ReceiveMessage"] == 5  # two lanes are empty after the first receive, and only then are left
    assert [job.priority for job in polled(w, limit=50)] == [5] * 39 + [0, -1]


def test_what_waits_is_polled_by_priority_then_age(w: World) -> None:
    """fastify-mq's users tell 1 from 4, which subscribers do not."""
    wanted = [
        NewJob(kind=Kind.MESSAGE, type="notes", input=number, priority=1 + number * 7 % 4) for number in range(200)
    ]
    jobs = [job for job in publish_many(w.yard, wanted) if isinstance(job, Job)]
    expected = [job.id for job in sorted(jobs, key=lambda job: (-job.priority, job.id))]
    with counting(w) as calls:
        assert [job.id for job in polled(w, limit=10)] == expected[:10]
    assert (calls["ReceiveMessage"], calls["UpdateItem"]) == (1, 10)
    found = [job.id for _ in range(2) for job in polled(w, limit=95)]
    assert found == expected[10:]


def test_a_lane_whose_queue_does_not_show_yet_is_passed_over(w: World) -> None:
    job = a_message(w, "notes")
    w.yard.directory.add_lane(Lane("notes", Band.HIGH))
    w.restart()
    assert [found.id for found in polled(w)] == [job.id]


def test_a_void_message_is_deleted(w: World) -> None:
    job = a_message(w, "notes")
    cancel(w.yard, job.id, Kind.MESSAGE)
    assert polled(w) == []
    assert w.messages() == []
    assert w.job(job.id).state is State.CANCELED


def test_a_message_that_comes_early_is_hidden_for_the_rest(w: World) -> None:
    job = a_message(w, "notes", delay_ms=600_000)
    message_of(w, job).delayed_until = 0
    assert polled(w) == []
    assert message_of(w, job).visible_at == START_MS + 600_000
    w.clock.ms = START_MS + 600_001
    assert [found.id for found in polled(w)] == [job.id]


def test_a_duplicate_of_a_message_in_hand_waits_out_its_lease(w: World) -> None:
    job = locked(w)
    body, name = message_of(w, job).body, name_of(w, "notes")
    foreign(w, body, name)
    assert polled(w) == []
    assert sorted(message.visible_at for message in w.messages()) == [START_MS + 30_000, START_MS + 31_000]
    complete(w.yard, job.id)
    w.clock.move(31_001)
    assert polled(w) == []
    assert w.messages() == []


def test_an_unreadable_message_becomes_a_dead_letter(w: World) -> None:
    job = a_message(w, "notes")
    foreign(w, "hello?", name_of(w, "notes"))
    assert [found.id for found in polled(w)] == [job.id]
    assert [(found.type, found.state) for found in w.jobs() if found.id != job.id] == [("unreadable", State.FAILED)]
    assert len(w.messages()) == 1


def test_a_lost_record_is_made_by_the_poll(w: World) -> None:
    published = a_message(w, "notes", priority=2)
    w.lose_record(published)
    (job,) = polled(w)
    assert (job.id, job.uid, job.priority, job.state) == (published.id, published.uid, 2, State.RUNNING)
    assert w.job(job.id) == job


def test_what_is_in_hand_is_answered_though_aws_stops_answering(w: World) -> None:
    """Half of it would otherwise be lost to the client for a lease, and lose an attempt."""
    jobs = [a_message(w, "notes") for _ in range(3)]
    client, claims = w.yard.jobs.table.client, []

    def refuse_the_third(**_: Any) -> None:
        claims.append(1)
        if len(claims) > 2:
            raise EndpointConnectionError(endpoint_url="https://aws.test")

    client.meta.events.register("before-call.dynamodb.UpdateItem", refuse_the_third)
    assert [job.id for job in polled(w)] == [job.id for job in jobs[:2]]
    w.clock.move(LEASE_MS + 1)
    with pytest.raises(EndpointConnectionError):
        polled(w)


# -- the client goes away -----------------------------------------------------------------------------


def test_a_poll_that_nobody_awaits_takes_nothing(w: World) -> None:
    a_message(w, "notes")
    assert poll(w.yard, "notes", 10, LEASE_MS, "client 7", 20, awaited=lambda: False) == []
    (job,) = polled(w)
    assert events_of(job) == ["published", "started"]


def test_what_is_handed_back_is_shown_at_once_and_costs_nothing(w: World) -> None:
    job = locked(w, max_attempts=1)
    w.clock.move(5_000)
    hand_back(w.yard, [job])
    back = w.job(job.id)
    assert (back.state, back.failures, back.silences, retry_count_of(back)) == (State.PENDING, 0, 0, 0)
    assert back.events[-1].detail == {"attempt": 1, "error": CLIENT_GONE.message}
    w.clock.move(1)
    (again,) = polled(w)
    assert again.id == job.id
    assert events_of(again) == ["published", "started", "interrupted", "started"]
    assert fail(w.yard, again.id, "really").state is State.FAILED


def test_what_was_settled_meanwhile_is_not_handed_back(w: World) -> None:
    job = locked(w)
    complete(w.yard, job.id)
    hand_back(w.yard, [job])
    assert w.job(job.id).state is State.SUCCESS


# -- the lease runs out -------------------------------------------------------------------------------


def test_a_client_that_vanishes_loses_the_message_to_the_next(w: World) -> None:
    job = locked(w)
    w.clock.move(LEASE_MS)
    assert polled(w) == []
    w.clock.move(1)
    (again,) = poll(w.yard, "notes", 10, LEASE_MS, "client 8")
    assert (again.id, again.attempts, again.worker) == (job.id, 2, "client 8")
    assert again.lease != job.lease
    assert events_of(again) == ["published", "started", "recovered", "started"]


def test_a_client_that_gives_no_sign_costs_no_attempt_but_the_twentieth_is_the_last(w: World) -> None:
    job = locked(w, max_attempts=1)
    for silent in range(1, SILENT_LOCKS_MAX):
        w.clock.move(LEASE_MS + 1)
        (again,) = polled(w)
        assert (again.silences, again.attempts, again.tries, retry_count_of(again)) == (silent, silent + 1, 1, 0)
        recovered = [event for event in again.events if event.event is Event.RECOVERED][-1]
        told = {"attempt": silent, "consumerId": "client 7", "silent": silent, "silentMax": SILENT_LOCKS_MAX}
        assert recovered.detail == told
    w.clock.move(LEASE_MS + 1)
    assert polled(w) == []
    dead = w.job(job.id)
    assert (dead.state, dead.error, retry_count_of(dead)) == (State.FAILED, NEVER_HEARD_OF, 1)
    assert w.messages() == []


@pytest.mark.parametrize("how", [recover_expired, lambda yard, enough: recover_locked(yard, None, enough)])
def test_whoever_recovers_charges_a_silent_client_no_attempt(w: World, how: Callable[..., int]) -> None:
    job = locked(w, max_attempts=1)
    w.clock.move(LEASE_MS + LEASE_REPAIR_GRACE_MS + 1)
    assert how(w.yard, lambda: True) == 1
    back = w.job(job.id)
    assert (back.state, back.silences, retry_count_of(back)) == (State.PENDING, 1, 0)
    (again,) = polled(w)
    assert fail(w.yard, again.id, "really").state is State.FAILED


def test_an_explicit_retry_begins_with_no_silent_client(w: World) -> None:
    job = locked(w, max_attempts=2)
    w.clock.move(LEASE_MS + 1)
    (again,) = polled(w)
    cancel(w.yard, job.id, Kind.MESSAGE)
    assert again.silences == 1
    assert retry(w.yard, job.id, Kind.MESSAGE).silences == 0


def test_after_the_last_attempt_of_a_client_that_was_heard_it_is_a_dead_letter(w: World) -> None:
    job = locked(w, max_attempts=1)
    extend(w.yard, job.id, job.lease or "", LEASE_MS)
    w.clock.move(LEASE_MS + 1)
    assert polled(w) == []
    dead = w.job(job.id)
    assert (dead.state, dead.attempts) == (State.FAILED, 1)
    assert dead.error is not None
    assert dead.error.type == "LeaseLost"
    assert w.messages() == []


def test_a_late_client_may_still_complete_what_nobody_took_over(w: World) -> None:
    job = locked(w)
    w.clock.move(LEASE_MS + 60_000)
    assert complete(w.yard, job.id).state is State.SUCCESS
    assert w.messages() == []


# -- complete and fail --------------------------------------------------------------------------------


def test_complete(w: World) -> None:
    job = locked(w)
    w.clock.move(700)
    done = complete(w.yard, job.id)
    assert done == w.job(job.id)
    assert (done.state, done.completed_at_ms, done.output) == (State.SUCCESS, START_MS + 700, None)
    assert (done.lease_until_ms, done.source, done.receipt) == (None, None, None)
    assert events_of(done) == ["published", "started", "succeeded"]
    assert w.messages() == []


def test_fail_brings_it_back_after_the_backoff(w: World) -> None:
    job = locked(w)
    w.clock.move(700)
    failed = fail(w.yard, job.id, "no paper")
    assert failed == w.job(job.id)
    assert (failed.state, failed.failures, failed.due_at_ms) == (State.PENDING, 1, START_MS + 1_700)
    assert failed.error == JobError("ConsumerError", "no paper")
    assert message_of(w, job).visible_at == START_MS + 1_700
    assert failed.wake_at_ms == START_MS + 1_700 + 90_000
    w.clock.move(1_001)
    (again,) = polled(w)
    assert (again.id, again.attempts) == (job.id, 2)


def test_the_waits_double_up_to_a_minute(w: World) -> None:
    a_message(w, "notes", max_attempts=9)
    waits = []
    for _ in range(8):
        (job,) = polled(w)
        waits.append(fail(w.yard, job.id, "no").due_at_ms - w.clock.ms)
        w.clock.move(waits[-1] + 1)
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]


def test_the_last_failure_is_a_dead_letter(w: World) -> None:
    job = locked(w, max_attempts=1)
    dead = fail(w.yard, job.id, "x" * 600)
    assert (dead.state, dead.failures, dead.attempts) == (State.FAILED, 1, 1)
    assert dead.error == JobError("ConsumerError", "x" * 500)
    assert events_of(dead) == ["published", "started", "dead"]
    assert w.messages() == []


def test_a_wait_beyond_fifteen_minutes_is_the_clocks(w: World) -> None:
    job = locked(w, backoff=Fixed(3_600_000))
    failed = fail(w.yard, job.id, "no")
    assert (failed.delivery, failed.wake_at_ms) == (2, START_MS + 3_600_000 - 720_000)
    assert w.messages() == []
    w.consumes = True
    w.go_on()
    assert (w.job(job.id).state, w.job(job.id).attempts) == (State.SUCCESS, 2)
    assert (w.job(job.id).started_at_ms or 0) >= START_MS + 3_600_000


def failing_it(yard: Yard, job_id: int) -> Job:
    return fail(yard, job_id, "no")


@pytest.mark.parametrize("how", [complete, failing_it])
def test_only_what_is_in_hand_can_be_settled(w: World, how: Callable[[Yard, int], Job]) -> None:
    done = locked(w)
    complete(w.yard, done.id)
    waiting, canceled = a_message(w, "notes"), a_message(w, "notes")
    cancel(w.yard, canceled.id, Kind.MESSAGE)
    for job, state in [(done, State.SUCCESS), (canceled, State.CANCELED), (waiting, State.PENDING)]:
        before_it = w.job(job.id)
        with pytest.raises(NotLocked) as refused:
            how(w.yard, job.id)
        assert refused.value.message == f"this message is {state}, not running"
        assert refused.value.job == before_it == w.job(job.id)


def test_a_failed_message_cannot_be_failed_twice(w: World) -> None:
    job = locked(w)
    fail(w.yard, job.id, "no")
    with pytest.raises(NotLocked):
        fail(w.yard, job.id, "no")
    assert w.job(job.id).failures == 1


def test_what_is_no_message_is_not_found(w: World) -> None:
    @task("t")
    def handler(_: Any) -> None: ...

    using(w, handler)
    job = a_task(w)
    for missing in (job.id, 999):
        with pytest.raises(NotFound) as refused:
            complete(w.yard, missing)
        assert refused.value.got == str(missing)
        with pytest.raises(NotFound):
            fail(w.yard, missing, "no")


def test_what_a_subscriber_works_on_is_in_nobodys_hand(w: World) -> None:
    refusals: list[NotLocked] = []

    @subscribe("news")
    def listener(_: Any, context: Context) -> None:
        try:
            complete(w.yard, context.job.id)
        except NotLocked as refused:
            refusals.append(refused)

    using(w, listener)
    job = a_message(w)
    work(w, "news")
    assert [refused.job.id for refused in refusals] == [job.id]
    assert events_of(w.job(job.id)) == ["published", "started", "succeeded"]


def test_a_message_that_is_taken_over_at_that_very_moment(w: World) -> None:
    """Between the look at the record and the settle: the new holder keeps it."""
    job = locked(w)
    w.clock.move(LEASE_MS + 1)
    with (
        before(w.yard.jobs.table.client, "UpdateItem", lambda: stolen(w, replace(job, state=State.PENDING))),
        pytest.raises(NotLocked),
    ):
        complete(w.yard, job.id)
    taken = w.job(job.id)
    assert (taken.state, taken.attempts, taken.worker) == (State.RUNNING, 2, "other worker")


@pytest.mark.parametrize(
    ("operation", "how", "state"),
    [
        ("DeleteMessageBatch", complete, State.SUCCESS),
        ("ChangeMessageVisibilityBatch", failing_it, State.PENDING),
    ],
)
def test_the_ledger_decides_though_sqs_does_not_answer(
    w: World, operation: str, how: Callable[[Yard, int], Job], state: State
) -> None:
    job = locked(w)
    with failing(w.yard.transport.client, operation):
        assert how(w.yard, job.id).state is state
    assert w.job(job.id).state is state
    w.consumes = True
    w.go_on()
    assert w.job(job.id).state is State.SUCCESS
    assert w.job(job.id).attempts == (1 if state is State.SUCCESS else 2)
    assert w.messages() == []


# -- lock tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["complete", "fail", "extend"])
def test_the_holder_s_token_opens(w: World, how: str) -> None:
    job = locked(w)
    assert job.lease is not None
    settled = {
        "complete": lambda: complete(w.yard, job.id, job.lease),
        "fail": lambda: fail(w.yard, job.id, "no", job.lease),
        "extend": lambda: extend(w.yard, job.id, job.lease, LEASE_MS),
    }[how]()
    assert settled.state == {"complete": State.SUCCESS, "fail": State.PENDING, "extend": State.RUNNING}[how]


@pytest.mark.parametrize("token", ["", "0" * 16, "\u00e9\U0001f511", "x" * 256])
def test_another_token_changes_nothing(w: World, token: str) -> None:
    job = locked(w)
    before_it = (w.job(job.id), message_of(w, job).visible_at)
    for refused_to in (
        lambda: complete(w.yard, job.id, token),
        lambda: fail(w.yard, job.id, "no", token),
        lambda: extend(w.yard, job.id, token, 60_000),
    ):
        with pytest.raises(LockMismatch) as refused:
            refused_to()
        assert (refused.value.field, refused.value.job) == ("lock_token", before_it[0])
        assert job.lease not in str(refused.value)
    assert (w.job(job.id), message_of(w, job).visible_at) == before_it


def test_the_token_of_a_lock_that_was_taken_over_is_void(w: World) -> None:
    late = locked(w)
    w.clock.move(LEASE_MS + 1)
    (holder,) = polled(w)
    for refused_to in (
        lambda: complete(w.yard, late.id, late.lease),
        lambda: fail(w.yard, late.id, "no", late.lease),
        lambda: extend(w.yard, late.id, late.lease or "", LEASE_MS),
    ):
        with pytest.raises(LockMismatch):
            refused_to()
    assert w.job(late.id) == holder
    assert complete(w.yard, holder.id, holder.lease).state is State.SUCCESS
    with pytest.raises(NotLocked) as refused:
        complete(w.yard, holder.id, holder.lease)
    assert not isinstance(refused.value, LockMismatch)


def test_a_report_without_a_token_settles_the_delivery_that_began_meanwhile(w: World) -> None:
    late = locked(w)
    w.clock.move(LEASE_MS + 1)
    (holder,) = polled(w)
    with pytest.raises(LockMismatch):
        settle_for_holder(w.yard, late, Succeeded(), late.lease)
    settled_as, settled, _ = settle_for_holder(w.yard, late, Succeeded(), None)
    assert (settled_as.lease, settled.state) == (holder.lease, State.SUCCESS)


def test_a_lock_that_ran_out_opens_as_long_as_nobody_took_over(w: World) -> None:
    job = locked(w)
    w.clock.move(LEASE_MS + 60_000)
    assert complete(w.yard, job.id, job.lease).state is State.SUCCESS


# -- extending a lock ---------------------------------------------------------------------------------


def test_an_extended_lock_holds_from_now_on(w: World) -> None:
    job = locked(w)
    assert job.lease is not None
    w.clock.move(20_000)
    extended = extend(w.yard, job.id, job.lease, 45_001)
    assert extended == w.job(job.id)
    assert extended == replace(job, lease_until_ms=w.clock.ms + 45_001, heard=True)
    assert message_of(w, job).visible_at == w.clock.ms + 46_000
    w.clock.move(45_001)
    assert polled(w) == []
    w.clock.move(1_000)
    assert [again.attempts for again in polled(w)] == [2]


def test_a_lock_may_be_shortened(w: World) -> None:
    job = locked(w)
    extend(w.yard, job.id, job.lease or "", 1_000)
    w.clock.move(1_001)
    assert [again.id for again in polled(w)] == [job.id]


def test_an_extension_of_what_is_taken_over_at_that_very_moment(w: World) -> None:
    job = locked(w)
    w.clock.move(LEASE_MS + 1)
    with (
        before(w.yard.jobs.table.client, "UpdateItem", lambda: stolen(w, replace(job, state=State.PENDING))),
        pytest.raises(LockMismatch),
    ):
        extend(w.yard, job.id, job.lease or "", LEASE_MS)
    assert w.job(job.id).worker == "other worker"
    assert message_of(w, job).visible_at == START_MS + LEASE_MS  # it was not hidden for the late one


def test_an_extended_message_that_sqs_shows_is_not_claimed(w: World) -> None:
    job = locked(w)
    with failing(w.yard.transport.client, "ChangeMessageVisibilityBatch"):
        extend(w.yard, job.id, job.lease or "", 600_000)
    w.clock.move(LEASE_MS + 1)
    assert polled(w) == []
    assert w.job(job.id).attempts == 1
    assert complete(w.yard, job.id, job.lease).state is State.SUCCESS


def test_what_is_not_in_hand_is_not_extended(w: World) -> None:
    waiting = a_message(w, "notes")
    with pytest.raises(NotLocked):
        extend(w.yard, waiting.id, "0" * 16, LEASE_MS)
    with pytest.raises(NotFound):
        extend(w.yard, 999, "0" * 16, LEASE_MS)


# -- two reports at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("with_token", [True, False])
@pytest.mark.parametrize("second", ["complete", "fail"])
@pytest.mark.parametrize("first", ["complete", "fail"])
def test_of_two_reports_at_the_same_moment_one_counts(w: World, first: str, second: str, with_token: bool) -> None:
    """Both have read the record in hand; the second to write is told what the first has made of it."""
    job = locked(w, max_attempts=1)
    token = job.lease if with_token else None
    report = {
        "complete": lambda: complete(w.yard, job.id, token),
        "fail": lambda: fail(w.yard, job.id, "no", token),
    }
    answers: list[Job] = []
    with (
        before(w.yard.jobs.table.client, "UpdateItem", lambda: answers.append(report[first]())),
        pytest.raises(NotLocked) as refused,
    ):
        report[second]()
    assert [answer.state for answer in answers] == [State.SUCCESS if first == "complete" else State.FAILED]
    assert refused.value.job == answers[0] == w.job(job.id)
    assert len(events_of(answers[0])) == 3


@pytest.mark.parametrize("how", ["complete", "fail"])
def test_a_repetition_of_our_own_write_finds_it_done(w: World, how: str) -> None:
    """The write takes effect, its answer is lost, and botocore's repetition is refused by the write's own effect."""
    job = locked(w)
    tries: list[int] = []

    def lose_the_first_answer(**_: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ReadTimeoutError(endpoint_url="https://aws.test")

    events = w.yard.jobs.table.client.meta.events
    events.register_last("before-send.dynamodb.UpdateItem", lose_the_first_answer)
    try:
        settled = complete(w.yard, job.id) if how == "complete" else fail(w.yard, job.id, "no")
    finally:
        events.unregister("before-send.dynamodb.UpdateItem", lose_the_first_answer)
    assert len(tries) == 2
    assert settled == w.job(job.id)
    assert events_of(settled) == ["published", "started", "succeeded" if how == "complete" else "failed"]
    assert settled.failures == (0 if how == "complete" else 1)


def test_a_new_attempt_has_a_lock_of_its_own(w: World) -> None:
    job = locked(w)
    failed = fail(w.yard, job.id, "no")
    w.clock.move(1_001)
    (again,) = polled(w)
    assert job.lease == failed.lease != again.lease
    with pytest.raises(LockMismatch):
        complete(w.yard, job.id, job.lease)


# -- the order of what is taken -----------------------------------------------------------------------


def test_a_received_batch_is_taken_by_priority_then_age(w: World) -> None:
    """One lane holds several priorities; what there is no room for is the least urgent."""
    for n, priority in enumerate([0, 4, 1, 4, 0]):
        a_message(w, "notes", priority=priority, input={"n": n, "text": "x" * 1_500_000})
        w.clock.move(1)
    taken = []
    for _ in range(5):
        taken.append([(job.priority, w.yard.payloads.body(job)["input"]["n"]) for job in polled(w)])
        w.clock.move(1_000)  # what was put back shows again
    assert taken == [[(4, 1), (4, 3), (1, 2)], [(0, 0), (0, 4)], [], [], []]


def test_a_poll_beyond_ten_merges_its_receives(w: World) -> None:
    """Each receive brings ten at most, in whatever order; the answer is by priority and age."""
    for n in range(25):
        a_message(w, "notes", priority=n % 5 if n < 20 else 12)
        w.clock.move(1)
    jobs = polled(w, limit=100)
    assert len(jobs) == 25
    order = [(-job.priority, job.created_at_ms) for job in jobs]
    assert order == sorted(order)

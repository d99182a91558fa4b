"""Schedules: every slot makes one job on time, whoever ticks, however often; who pauses, changes, deletes is heard."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib import Context, schedule
from chalicelib.core.errors import Conflict, Full, InvalidInput, NotFound, TooLarge
from chalicelib.core.limits import Limit
from chalicelib.core.schedules import Missed, Overlap, Schedule, SkipReason, Source
from chalicelib.core.states import Kind, State
from chalicelib.engine.clock.schedules import hand_over_slots
from chalicelib.engine.commands import schedules
from chalicelib.engine.commands.lifecycle import cancel, promote
from chalicelib.engine.commands.schedule_runs import history
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.handlers.schedules import schedules_of
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.concurrency import POOL_WAS_FULL, STILL_RUNNING
from chalicelib.engine.worker.pause import pause, type_target
from chalicelib.store.schedules import DUE
from tests.support.steps import before, counting, failing, name_of, refusing, using
from tests.support.worlds import World, wiped
from tests.support.yards import START_MS, Exited

SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
RAN: list[tuple[str | None, int | None, Any]] = []


@task("t")
def obedient(given_input: Any, context: Context) -> Any:
    slot = context.slot_time
    RAN.append((context.schedule, None if slot is None else round(slot.timestamp() * 1_000), given_input))
    if given_input == "die":
        raise Exited


@task("limited", concurrency=1, size=1)
def limited(_: Any) -> None: ...


@subscribe("news")
def reader(payload: Any, context: Context) -> None:
    RAN.append((context.schedule, None, payload))


@schedule(every_s=3_600, name="other")
@task("other")
def another(_: Any) -> None: ...


@pytest.fixture
def w(w: World) -> World:
    RAN.clear()
    using(w, obedient, limited, reader)
    return w


def made(w: World, name: str = "s", **more: Any) -> Schedule:
    """A schedule of a task every minute, if nothing else is said."""
    fields: dict[str, Any] = {"every_ms": MINUTE_MS, "kind": Kind.TASK, "work": {"type": "t"}}
    return schedules.create(w.yard, schedules.new(w.yard, name=name, **{**fields, **more}))


def slots_of(w: World) -> list[int]:
    """The slots of all jobs, in order, as minutes since the start."""
    return sorted((job.slot_at_ms or 0) - START_MS for job in w.jobs() if job.slot_at_ms is not None)


def minutes(*numbers: float) -> list[int]:
    return [round(number * MINUTE_MS) for number in numbers]


def pass_time(w: World, ms: int, step_ms: int = 10_000) -> None:
    """Time goes by; the clock ticks every minute, and the worker works whenever something shows."""
    for passed_ms in range(0, ms, step_ms):
        if passed_ms % MINUTE_MS == 0:
            w.tick()
        w.deliver()
        w.clock.move(step_ms)
    w.deliver()


def story(w: World, name: str = "s") -> list[tuple[int, State | str | None, SkipReason | None]]:
    """What became of the slots, oldest first: minutes since the start, the job's state, why there was none."""
    runs = history(w.yard, schedules.find(w.yard, name), None, 100)
    return [(run.item.at_ms - START_MS, run.status, run.skipped) for run in reversed(runs)]


# -- slots become jobs --------------------------------------------------------------------------------


def test_what_falls_due_before_the_next_ticks_is_handed_over_at_once(w: World) -> None:
    found = made(w)
    assert slots_of(w) == minutes(1, 2)
    assert [job.due_at_ms - START_MS for job in w.jobs()] == minutes(1, 2)
    assert (found.runs, found.next_ms) == (2, START_MS + 3 * MINUTE_MS)
    assert RAN == []


def test_every_slot_runs_once_at_its_time(w: World) -> None:
    made(w, every_ms=20 * SECOND_MS, work={"type": "t", "input": {"at": "{{slot}}", "of": "{{schedule}}"}})
    pass_time(w, 5 * MINUTE_MS)
    ran = [slot for _, slot, _ in RAN]
    assert ran == [START_MS + number * 20 * SECOND_MS for number in range(1, 16)]
    assert RAN[0] == ("s", START_MS + 20_000, {"at": "2025-06-15T15:07:00.000Z", "of": "s"})
    assert all((job.started_at_ms or 0) - (job.slot_at_ms or 0) <= 2_000 for job in w.jobs() if job.state.terminal)


def test_ticks_that_come_double_or_fail_make_no_slot_twice(w: World) -> None:
    made(w)
    for number in range(10):
        w.tick()
        w.tick()
        if number % 3 == 0:
            with failing(w.yard.jobs.table.client, "TransactWriteItems"), suppress(EndpointConnectionError):
                w.tick()
        w.clock.move(MINUTE_MS)
    assert slots_of(w) == minutes(*range(1, 12))


def test_two_clocks_that_meet_make_each_slot_once(w: World) -> None:
    made(w)
    w.clock.move(2 * MINUTE_MS)
    with before(w.yard.jobs.table.client, "TransactWriteItems", w.tick):
        w.tick()
    assert slots_of(w) == minutes(1, 2, 3, 4)


def test_slots_that_cannot_be_handed_over_with_the_request_are_left_to_the_clock(w: World) -> None:
    def away() -> None:
        raise EndpointConnectionError(endpoint_url="https://aws.test")

    with before(w.yard.jobs.table.client, "TransactWriteItems", away, number=2):  # the schedule is written by then
        found = made(w)
    assert (found.runs, found.next_ms, slots_of(w)) == (0, START_MS + MINUTE_MS, [])
    w.tick()
    assert slots_of(w) == minutes(1, 2)


def test_a_clock_that_dies_after_the_write_leaves_the_sending_to_the_next(w: World) -> None:
    made(w)
    w.clock.move(MINUTE_MS)
    with failing(w.yard.transport.client, "SendMessageBatch"):
        w.tick()
    pass_time(w, 3 * MINUTE_MS)
    assert [slot for _, slot, _ in RAN][:3] == [START_MS + number * MINUTE_MS for number in (1, 2, 3)]


def test_a_message_is_published_to_a_topic(w: World) -> None:
    made(
        w,
        kind=Kind.MESSAGE,
        work={"topic": "news", "payload": {"at": "{{slot}}"}},
        every_ms=None,
        at_ms=START_MS + 5_000,
    )
    w.clock.move(5_000)
    w.deliver()
    assert RAN == [("s", None, {"at": "2025-06-15T15:06:45.000Z"})]
    found = schedules.find(w.yard, "s")
    assert (found.next_ms, found.runs) == (None, 1)


def test_a_schedule_without_a_target_is_its_target(w: World) -> None:
    made(w)
    assert {(job.target_type, job.target_id, job.schedule) for job in w.jobs()} == {("schedule", "s", "s")}


def test_jitter_moves_the_start_and_not_the_slot(w: World) -> None:
    made(w, jitter_ms=30_000)
    first, second = w.jobs()
    assert [first.slot_at_ms, second.slot_at_ms] == [START_MS + MINUTE_MS, START_MS + 2 * MINUTE_MS]
    moved = [job.due_at_ms - (job.slot_at_ms or 0) for job in (first, second)]
    assert all(0 <= each <= 30_000 for each in moved)
    assert len(set(moved)) == 2


def test_jitter_beyond_what_sqs_can_wait_is_left_to_the_clock(w: World) -> None:
    for number in range(8):
        made(w, f"s{number}", every_ms=None, at_ms=START_MS + MINUTE_MS, jitter_ms=HOUR_MS)
    assert max(job.due_at_ms for job in w.jobs()) > START_MS + 16 * MINUTE_MS
    pass_time(w, HOUR_MS + 2 * MINUTE_MS)
    assert len(RAN) == 8
    assert all(0 <= (job.started_at_ms or 0) - job.due_at_ms <= MINUTE_MS for job in w.jobs())


# -- bounds -------------------------------------------------------------------------------------------


def test_start_end_and_number_of_runs(w: World) -> None:
    made(w, "from", start_ms=START_MS + 10 * MINUTE_MS, max_runs=2)
    made(w, "until", end_ms=START_MS + 3 * MINUTE_MS)
    pass_time(w, 20 * MINUTE_MS)
    by_name = {name: sorted(slot - START_MS for n, slot, _ in RAN if n == name and slot) for name in ("from", "until")}
    assert by_name == {"from": minutes(10, 11), "until": minutes(1, 2, 3)}
    assert [schedules.find(w.yard, name).next_ms for name in ("from", "until")] == [None, None]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"end_ms": START_MS + 1_000}, "end_at"),
        ({"every_ms": None, "at_ms": START_MS - 1}, "at"),
        ({"work": {"type": "unheard-of"}}, "task.type"),
        ({"work": {"type": "t", "delay": 5}}, "task.delay"),
        ({"every_ms": 10}, "every_s"),
        ({"every_ms": None}, "cron"),
        ({"cron": "0 3 * * *"}, "every_s"),
        ({"every_ms": None, "cron": "0 25 * * *"}, "cron"),
        ({"every_ms": None, "cron": "0 3 * * *", "zone": "Europe/Atlantis"}, "tz"),
        ({"name": " "}, "name"),
        ({"missed": "later"}, "missed"),
        ({"overlap": "maybe"}, "overlap"),
        ({"jitter_ms": HOUR_MS + 1}, "jitter_s"),
        ({"max_runs": 0}, "max_runs"),
    ],
)
def test_what_can_never_run_is_refused_with_its_field(w: World, more: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        made(w, **more)
    assert refused.value.field == field
    assert (w.jobs(), list(w.items("directory", "schedule"))) == ([], [])


def test_a_name_is_taken_once(w: World) -> None:
    made(w)
    with pytest.raises(Conflict):
        made(w)
    assert slots_of(w) == minutes(1, 2)


# -- a clock that did not come ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missed", "more", "ran", "skipped"),
    [
        (Missed.SKIP, {}, [], 5),
        (Missed.LAST, {}, [7], 4),
        (Missed.ALL, {}, [3, 4, 5, 6, 7], 0),
        (Missed.ALL, {"missed_max": 2}, [6, 7], 3),
    ],
)
def test_missed_slots(w: World, missed: Missed, more: dict[str, Any], ran: list[int], skipped: int) -> None:
    made(w, missed=missed, **more)
    w.clock.move(10 * MINUTE_MS)
    w.tick()
    assert slots_of(w) == minutes(1, 2, *ran, 8, 9, 10, 11, 12)
    noted = [run.item for run in history(w.yard, schedules.find(w.yard, "s"), None, 100) if run.skipped]
    assert sum(item.count or 0 for item in noted) == skipped
    assert {item.skipped for item in noted} <= {SkipReason.MISSED}


def test_a_day_of_seconds_that_were_missed_costs_no_more_than_a_few(w: World) -> None:
    made(w, every_ms=SECOND_MS, missed=Missed.LAST)
    w.clock.move(DAY_MS)
    with counting(w) as calls:
        w.tick()
    assert calls["TransactWriteItems"] < 30
    assert len([slot for slot in slots_of(w) if slot < DAY_MS - 2 * MINUTE_MS]) == 120 + 1


# -- runs that overlap --------------------------------------------------------------------------------


def test_a_slot_is_skipped_while_the_run_before_goes_on(w: World) -> None:
    made(w, overlap=Overlap.SKIP, work={"type": "t", "input": "die"})
    w.clock.move(MINUTE_MS)
    w.deliver_batch(name_of(w))  # its worker dies: for as long as its lease lasts it counts as running
    w.clock.move(30 * SECOND_MS)
    assert [job.state for job in w.jobs()] == [State.RUNNING, State.PENDING]
    using(w, obedient, limited, reader)
    w.clock.move(29 * SECOND_MS)
    w.clock.move(1_000)
    w.deliver()
    first, second = w.jobs()[:2]
    assert (second.state, second.msg) == (State.CANCELED, STILL_RUNNING)
    assert story(w)[1] == (2 * MINUTE_MS, State.CANCELED, SkipReason.OVERLAP)
    assert first.state is State.RUNNING


def test_a_slot_waits_for_the_run_before_and_then_runs(w: World) -> None:
    made(w, overlap=Overlap.QUEUE, every_ms=10 * SECOND_MS, max_runs=3)
    held = w.yard.jobs.find(w.jobs()[0].id)
    assert held is not None
    w.clock.move(30 * SECOND_MS)
    w.deliver()
    assert [job.state for job in w.jobs()] == [State.SUCCESS] * 3
    assert w.yard.concurrency.of(held.counted_as).running == 0


def test_schedules_do_not_overlap_with_themselves_alone(w: World) -> None:
    for name in ("a", "b"):
        made(w, name, overlap=Overlap.SKIP, max_runs=1)
    w.clock.move(MINUTE_MS)
    w.deliver()
    assert sorted(name for name, _, _ in RAN) == ["a", "b"]


def test_a_slot_takes_room_in_its_pool_when_it_is_due(w: World) -> None:
    made(w, every_ms=10 * SECOND_MS, work={"type": "limited"}, max_runs=12)
    assert len(w.jobs()) == 12
    assert w.yard.concurrency.of("limited").unfinished == 0
    other = publish(w.yard, NewJob(kind=Kind.TASK, type="limited"))  # there is room for what comes at once
    with pytest.raises(Full):
        publish(w.yard, NewJob(kind=Kind.TASK, type="limited"))
    pass_time(w, 2 * MINUTE_MS)
    assert [(status, reason) for _, status, reason in story(w)] == [(State.SUCCESS, None)] * 12
    late_ms = [(job.started_at_ms or 0) - job.due_at_ms for job in w.jobs() if job.id != other.id]
    assert max(late_ms) <= 2_000
    assert w.yard.concurrency.of("limited").unfinished == 0


def test_a_full_pool_skips_the_slot_whose_time_has_come(w: World) -> None:
    made(w, work={"type": "limited"}, max_runs=3)
    later = publish(w.yard, NewJob(kind=Kind.TASK, type="limited", due_at_ms=START_MS + 90 * SECOND_MS))
    w.clock.move(MINUTE_MS)
    w.deliver()
    assert story(w)[0] == (MINUTE_MS, State.CANCELED, SkipReason.POOL_FULL)
    assert w.jobs()[0].msg == POOL_WAS_FULL
    assert w.yard.concurrency.of("limited").unfinished == 1
    pass_time(w, 3 * MINUTE_MS)
    assert [(status, reason) for _, status, reason in story(w)] == [
        (State.CANCELED, SkipReason.POOL_FULL),
        (State.SUCCESS, None),
        (State.SUCCESS, None),
    ]
    assert w.yard.jobs.find(later.id).state is State.SUCCESS  # type: ignore[union-attr]


def test_slots_that_are_due_while_their_type_is_paused_take_no_more_than_its_room(w: World) -> None:
    made(w, work={"type": "limited"}, max_runs=2)
    pause(w.yard, type_target("limited"))
    pass_time(w, 3 * MINUTE_MS)
    assert [(status, reason) for _, status, reason in story(w)] == [
        (State.PENDING, None),
        (State.CANCELED, SkipReason.POOL_FULL),
    ]
    assert w.yard.concurrency.of("limited").unfinished == 1


def test_who_cancels_a_slot_while_it_takes_its_room_leaves_none_taken(w: World) -> None:
    made(w, work={"type": "limited"}, max_runs=1)
    (job,) = w.jobs()
    w.clock.move(MINUTE_MS)
    room = Limit(size=1)
    with before(w.yard.jobs.table.client, "UpdateItem", lambda: w.yard.jobs.count_in(job, room, w.clock.ms)):
        cancel(w.yard, job.id, Kind.TASK)
    assert w.yard.jobs.find(job.id).state is State.CANCELED  # type: ignore[union-attr]
    assert w.yard.concurrency.of("limited").unfinished == 0


# -- by request ---------------------------------------------------------------------------------------


def test_pausing_takes_back_what_was_handed_over(w: World) -> None:
    made(w)
    w.clock.move(90 * SECOND_MS)
    paused = schedules.pause(w.yard, "s")
    assert (paused.paused, paused.next_ms, paused.runs) == (True, START_MS + 2 * MINUTE_MS, 1)
    pass_time(w, 5 * MINUTE_MS)
    assert [slot for _, slot, _ in RAN] == [START_MS + MINUTE_MS]
    assert sorted(job.state for job in w.jobs()) == [State.CANCELED, State.SUCCESS]


def test_what_is_touched_meanwhile_is_taken_back_all_the_same(w: World) -> None:
    made(w, every_ms=None, at_ms=START_MS + MINUTE_MS)
    (job,) = w.jobs()

    def send_again() -> None:
        w.yard.jobs.resend(job, w.clock.ms, w.clock.ms + 1)

    with before(w.yard.jobs.table.client, "TransactWriteItems", send_again, number=2):
        schedules.pause(w.yard, "s")
    assert [each.state for each in w.jobs()] == [State.CANCELED]


def test_many_slots_are_taken_back_at_once(w: World) -> None:
    made(w, every_ms=2 * SECOND_MS, work={"type": "limited"})
    assert len(w.jobs()) == 60
    with counting(w) as calls:
        paused = schedules.pause(w.yard, "s")
    assert calls["TransactWriteItems"] == 3  # it is paused, and then forty slots at a time are taken back
    assert (paused.runs, paused.next_ms, story(w)) == (0, START_MS + 2 * SECOND_MS, [])
    assert {job.state for job in w.jobs()} == {State.CANCELED}


def test_saving_finds_what_others_made_or_deleted_meanwhile(w: World) -> None:
    new = partial(schedules.new, w.yard, name="s", every_ms=MINUTE_MS, kind=Kind.TASK)
    with before(w.yard.jobs.table.client, "TransactWriteItems", lambda: made(w)):
        saved = schedules.save(w.yard, new(work={"type": "t", "input": 1}))
    assert (saved.work, saved.next_ms) == ({"type": "t", "input": 1}, START_MS + 3 * MINUTE_MS)
    with before(w.yard.jobs.table.client, "TransactWriteItems", lambda: schedules.delete(w.yard, "s")):
        saved = schedules.save(w.yard, new(work={"type": "t", "input": 2}))
    assert schedules.find(w.yard, "s") == saved
    live = [job for job in w.jobs() if job.state is State.PENDING]
    assert [w.yard.payloads.body(job)["input"] for job in live] == [2, 2]


def test_of_two_who_save_what_they_have_seen_the_later_is_told(w: World) -> None:
    new = partial(schedules.new, w.yard, name="s", every_ms=MINUTE_MS, kind=Kind.TASK)

    def saved(number: int, seen: str) -> Schedule:
        return schedules.save(w.yard, new(work={"type": "t", "input": number}), seen)

    first = saved(1, "none")
    w.tick()  # a schedule that moves on is as it was seen
    other = partial(saved, 2, first.version)
    with before(w.yard.jobs.table.client, "TransactWriteItems", other), pytest.raises(Conflict, match="meanwhile"):
        saved(3, first.version)
    assert saved(2, first.version) == schedules.find(w.yard, "s")  # it is so already
    with pytest.raises(Conflict, match="meanwhile"):
        saved(4, "none")
    schedules.delete(w.yard, "s")
    with pytest.raises(Conflict, match="got nothing set"):
        saved(5, first.version)
    with before(w.yard.jobs.table.client, "TransactWriteItems", partial(saved, 6, "none")), pytest.raises(Conflict):
        saved(7, "none")
    assert schedules.find(w.yard, "s").work["input"] == 6


def test_resuming_goes_on_from_now_and_notes_what_was_left_out(w: World) -> None:
    made(w)
    schedules.pause(w.yard, "s")
    w.clock.move(10 * MINUTE_MS + 30 * SECOND_MS)
    resumed = schedules.resume(w.yard, "s")
    assert (resumed.paused, resumed.next_ms) == (False, START_MS + 13 * MINUTE_MS)
    assert story(w) == [
        (MINUTE_MS, None, SkipReason.PAUSED),
        (11 * MINUTE_MS, State.PENDING, None),
        (12 * MINUTE_MS, State.PENDING, None),
    ]
    assert schedules.resume(w.yard, "s") == resumed


def test_a_change_counts_for_slots_that_were_handed_over(w: World) -> None:
    made(w)
    changed = schedules.change(w.yard, "s", lambda seen: replace(seen, work={"type": "t", "input": "new"}))
    assert changed.runs == 2
    w.clock.move(2 * MINUTE_MS)
    w.deliver()
    assert [(slot, what) for _, slot, what in RAN] == [
        (START_MS + MINUTE_MS, "new"),
        (START_MS + 2 * MINUTE_MS, "new"),
    ]


def test_other_times_count_from_now_on(w: World) -> None:
    made(w)
    schedules.change(w.yard, "s", lambda seen: replace(seen, every_ms=None, cron="30 * * * *"))
    assert schedules.find(w.yard, "s").next_ms == START_MS + 1_400_000  # 15:30:00
    assert [job.state for job in w.jobs()] == [State.CANCELED, State.CANCELED]


def test_a_change_that_can_never_run_changes_nothing(w: World) -> None:
    found = made(w)
    with pytest.raises(InvalidInput):
        schedules.change(w.yard, "s", lambda seen: replace(seen, work={"type": "unheard-of"}))
    assert schedules.find(w.yard, "s") == found
    assert [job.state for job in w.jobs()] == [State.PENDING, State.PENDING]


def test_a_clock_amid_a_change_leaves_nothing_as_it_was(w: World) -> None:
    made(w, work={"type": "t", "input": "old"})
    with before(w.yard.jobs.table.client, "TransactWriteItems", w.tick, number=3):  # both are taken back by then
        schedules.change(w.yard, "s", lambda seen: replace(seen, work={"type": "t", "input": "new"}))
    pass_time(w, 2 * MINUTE_MS)
    assert [(slot, what) for _, slot, what in RAN] == [
        (START_MS + MINUTE_MS, "new"),
        (START_MS + 2 * MINUTE_MS, "new"),
    ]


@pytest.mark.parametrize(
    ("change", "ran"), [({"work": {"type": "t", "input": "new"}}, [None, "new"]), ({"max_runs": 1}, [None])]
)
def test_a_change_counts_for_a_last_run_that_was_handed_over(w: World, change: dict[str, Any], ran: list[Any]) -> None:
    made(w, max_runs=2)
    w.clock.move(MINUTE_MS)
    w.deliver()
    changed = schedules.change(w.yard, "s", lambda seen: replace(seen, **change))
    assert (changed.runs, changed.next_ms) == (len(ran), None)
    w.clock.move(MINUTE_MS)
    w.deliver()
    assert [what for _, _, what in RAN] == ran


def test_a_change_may_end_a_pause(w: World) -> None:
    made(w, paused=True)
    w.clock.move(10 * MINUTE_MS)
    schedules.change(w.yard, "s", lambda seen: replace(seen, overlap=Overlap.QUEUE))
    schedules.change(w.yard, "s", lambda seen: replace(seen, paused=False))
    assert story(w) == [
        (MINUTE_MS, None, SkipReason.PAUSED),
        (11 * MINUTE_MS, State.PENDING, None),
        (12 * MINUTE_MS, State.PENDING, None),
    ]


def test_what_is_too_large_to_be_kept_is_refused(w: World) -> None:
    with pytest.raises(TooLarge, match=r"task: .* expected at most 262144 bytes of JSON; got 262167 bytes"):
        made(w, work={"type": "t", "input": "x" * 262_144})
    made(w, work={"type": "t", "input": "x" * 260_000})
    w.clock.move(2 * MINUTE_MS)
    w.deliver()
    assert [len(what) for _, _, what in RAN] == [260_000, 260_000]


def asked(w: World, what: str) -> Schedule | None:
    """What somebody asks of the schedule is done; returns the answer, ``None`` where it is gone."""
    if what == "tick":
        w.tick()
        return None
    if what == "save":
        work = {"type": "t", "input": "new"}
        new = schedules.new(w.yard, name="s", every_ms=40 * SECOND_MS, kind=Kind.TASK, work=work)
        return schedules.save(w.yard, new)
    with suppress(NotFound):
        answer: Schedule | None = getattr(schedules, what)(w.yard, "s")
        return answer
    return None


def in_order(w: World, answer: Schedule | None) -> None:
    """Every slot to come of the schedule as it stands has one job, and there is no other."""
    found = w.yard.schedules.find("s")
    live = sorted(job.slot_at_ms or 0 for job in w.jobs() if job.state is State.PENDING)
    if found is None:
        assert [item for item in w.items("directory") if item["kind"].startswith(DUE)] == []
    elif answer is not None:
        assert found.paused == answer.paused
    expected = [] if found is None or found.paused else found.timetable.slots(w.clock.ms, w.clock.ms + 2 * MINUTE_MS)
    assert live == list(expected)
    w.clock.move(MINUTE_MS)
    w.deliver()
    ran = [slot for _, slot, _ in RAN]
    assert len(ran) == len(set(ran))
    inputs = {given for _, _, given in RAN}
    assert inputs <= {None if found is None else found.work.get("input")}


@pytest.mark.parametrize("meanwhile", ["pause", "resume", "save", "delete", "tick"])
@pytest.mark.parametrize("act", ["pause", "resume", "save", "delete"])
def test_two_at_once_leave_it_as_one_after_the_other(ground: World, silent: None, act: str, meanwhile: str) -> None:  # noqa: ARG001
    for operation in ("TransactWriteItems", "Query"):
        for number in count(1):
            w = wiped(ground)
            RAN.clear()
            using(w, obedient)
            made(w, every_ms=50 * SECOND_MS)
            if act == "resume":
                schedules.pause(w.yard, "s")
            w.clock.move(5 * SECOND_MS)
            other = partial(asked, w, meanwhile)
            try:
                with before(w.yard.jobs.table.client, operation, other, number):
                    answer = asked(w, act)
            except AssertionError:  # it makes no more such calls
                break
            in_order(w, answer)


def test_a_slot_that_ran_ahead_of_its_time_is_not_made_again_by_a_change(w: World) -> None:
    made(w)
    promote(w.yard, w.jobs()[0].id, Kind.TASK)
    w.deliver()
    schedules.change(w.yard, "s", lambda seen: replace(seen, every_ms=30 * SECOND_MS))
    pass_time(w, 3 * MINUTE_MS)
    ran = sorted(slot - START_MS for _, slot, _ in RAN if slot)
    assert ran == minutes(0.5, 1, 1.5, 2, 2.5, 3)


def test_a_change_between_a_slot_and_its_start_leaves_the_start(w: World) -> None:
    for number in range(8):
        made(w, f"s{number}", every_ms=None, at_ms=START_MS + MINUTE_MS, jitter_ms=HOUR_MS, missed=Missed.SKIP)
    starts = {job.schedule: job.due_at_ms for job in w.jobs()}
    w.clock.move(10 * MINUTE_MS)
    later = sorted(name for name, due_ms in starts.items() if name and due_ms > w.clock.ms)
    assert later
    for name in later:
        schedules.change(w.yard, name, lambda seen: replace(seen, work={"type": "t", "input": "new"}))
    pass_time(w, HOUR_MS)
    assert sorted(name for name, _, given in RAN if name and given == "new") == later
    assert {job.schedule: job.due_at_ms for job in w.jobs() if job.state is State.SUCCESS} == starts


def test_deleting_takes_back_and_leaves_what_was_made(w: World) -> None:
    made(w)
    w.clock.move(MINUTE_MS)
    w.deliver()
    schedules.delete(w.yard, "s")
    pass_time(w, 5 * MINUTE_MS)
    assert [slot for _, slot, _ in RAN] == [START_MS + MINUTE_MS]
    assert list(w.items("directory", "schedule")) == []
    with pytest.raises(NotFound):
        schedules.delete(w.yard, "s")


def test_one_of_the_same_name_is_another(w: World) -> None:
    made(w)
    schedules.delete(w.yard, "s")
    made(w)
    w.clock.move(MINUTE_MS)
    w.deliver()
    assert [slot for _, slot, _ in RAN] == [START_MS + MINUTE_MS]


def test_running_it_now_is_beside_its_slots(w: World) -> None:
    made(w, work={"type": "t", "input": "{{slot}}"})
    schedules.pause(w.yard, "s")
    job = schedules.run_now(w.yard, "s")
    w.deliver()
    assert RAN == [("s", None, "2025-06-15T15:06:40.000Z")]
    runs = history(w.yard, schedules.find(w.yard, "s"), None, 10)
    assert [(run.item.job_id, run.item.by_request, run.status) for run in runs] == [(job.id, True, State.SUCCESS)]


def test_a_run_that_was_removed_is_told_as_such(w: World) -> None:
    made(w, work={"type": "t"}, max_runs=1)
    w.clock.move(MINUTE_MS)
    w.deliver()
    (job,) = w.jobs()
    w.yard.jobs.delete(job, w.clock.ms // 1_000 + 60)
    assert story(w) == [(MINUTE_MS, "removed", None)]


# -- what the code declares ---------------------------------------------------------------------------


def declaring(times: int, **more: Any) -> Any:
    @schedule(every_s=times, name="declared", **more)
    @task("declared")
    def handler(_: Any) -> None: ...

    return handler


def test_what_the_code_declares_is_made_changed_and_deleted(w: World) -> None:
    using(w, declaring(3_600))
    w.tick()
    found = schedules.find(w.yard, "declared")
    assert (found.every_ms, found.source) == (HOUR_MS, Source.CODE)
    schedules.pause(w.yard, "declared")
    using(w, declaring(7_200))
    w.tick()
    found = schedules.find(w.yard, "declared")
    assert (found.every_ms, found.paused) == (2 * HOUR_MS, True)
    for act in (schedules.delete, lambda yard, name: schedules.change(yard, name, lambda seen: seen)):
        with pytest.raises(Conflict):
            act(w.yard, "declared")
    using(w, obedient)
    w.tick()
    with pytest.raises(NotFound):
        schedules.find(w.yard, "declared")


@pytest.mark.parametrize("overlap", list(Overlap))
@pytest.mark.parametrize("missed", list(Missed))
def test_what_is_deployed_means_what_it_meant_here(
    w: World, monkeypatch: pytest.MonkeyPatch, overlap: Overlap, missed: Missed
) -> None:
    said = {"overlap": overlap.value, "missed": missed.value, "priority": "high", "tz": "Europe/Berlin", "jitter_s": 1}
    (here,) = schedules_of(declaring(60, **said))
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "clock")
    deployed = declaring(60, **said)
    assert list(schedules_of(deployed)) == [here]
    assert (here.overlap, here.missed) == (overlap, missed)
    using(w, deployed)
    assert (w.tick() or {})["passed_over"] == 0
    assert schedules.find(w.yard, "declared").overlap is overlap
    pass_time(w, 2 * MINUTE_MS)
    assert len([job for job in w.jobs() if job.state is State.SUCCESS]) == 1


def test_what_the_code_declares_is_looked_up_once(w: World) -> None:
    using(w, declaring(3_600))
    w.tick()
    with counting(w) as calls:
        w.tick()
    first = schedules.find(w.yard, "declared").revision
    w.restart()
    w.tick()
    assert schedules.find(w.yard, "declared").revision == first
    assert calls["TransactWriteItems"] == 0


def test_what_the_code_says_as_before_stays_as_it_is(w: World) -> None:
    using(w, declaring(60))
    w.tick()
    jobs = w.jobs()
    using(w, declaring(60), obedient, another)
    w.tick()
    assert w.jobs()[: len(jobs)] == jobs
    assert schedules.find(w.yard, "other").source is Source.CODE


def test_one_of_the_code_that_is_over_is_passed_over_by_nobody(w: World) -> None:
    over = declaring(60, end_at=datetime.fromtimestamp(START_MS / 1_000, UTC))
    for _ in range(2):
        using(w, over)
        assert (w.tick() or {})["passed_over"] == 0
    assert schedules.find(w.yard, "declared").next_ms is None
    using(w, over, another)
    assert (w.tick() or {})["passed_over"] == 0


def numbered(number: int) -> Any:
    @schedule(every_s=3_600, name=f"s{number:02d}")
    @task(f"t{number}")
    def handler(_: Any) -> None: ...

    return handler


def test_what_the_code_declares_no_longer_goes_though_others_fail(w: World) -> None:
    made(w, "declared")  # the name is taken
    using(w, declaring(3_600), another)
    assert (w.tick() or {})["passed_over"] == 1
    assert schedules.find(w.yard, "other").source is Source.CODE
    using(w, declaring(3_600))
    assert (w.tick() or {})["passed_over"] == 1
    with pytest.raises(NotFound):
        schedules.find(w.yard, "other")
    schedules.delete(w.yard, "declared")
    assert (w.tick() or {})["passed_over"] == 0
    assert schedules.find(w.yard, "declared").source is Source.CODE


def test_many_names_that_are_taken_keep_no_other_from_being_made(w: World) -> None:
    for number in range(10):
        made(w, f"s{number:02d}", every_ms=HOUR_MS)
    using(w, obedient, *map(numbered, range(11)))
    assert (w.tick() or {})["passed_over"] == 10
    assert schedules.find(w.yard, "s10").source is Source.CODE


def test_code_that_is_taken_back_before_all_of_it_was_brought_about_is_as_before(w: World) -> None:
    using(w, declaring(3_600), obedient)
    w.tick()
    made(w, "other")  # the name is taken
    using(w, declaring(7_200), another)
    w.tick()
    assert schedules.find(w.yard, "declared").every_ms == 2 * HOUR_MS
    using(w, declaring(3_600))
    w.tick()
    assert schedules.find(w.yard, "declared").every_ms == HOUR_MS


def test_what_stands_in_no_code_any_more_can_be_deleted_and_replaced(w: World) -> None:
    using(w, declaring(3_600), another)
    w.tick()
    using(w, obedient)
    schedules.delete(w.yard, "declared")
    new = schedules.new(w.yard, name="other", every_ms=MINUTE_MS, kind=Kind.TASK, work={"type": "t"})
    assert schedules.save(w.yard, new).source is Source.API
    w.tick()
    assert [found.name for found in w.yard.schedules.after("", 10)] == ["other"]


def test_a_schedule_made_by_request_is_not_the_codes(w: World) -> None:
    made(w, "declared")
    using(w, obedient, declaring(3_600))
    assert (w.tick() or {})["passed_over"] == 1
    assert schedules.find(w.yard, "declared").source is Source.API


def test_what_the_code_declares_and_is_over_is_no_failure(w: World) -> None:
    using(w, declaring(60, max_runs=1))
    w.tick()
    w.clock.move(HOUR_MS)
    for more in (
        {"max_runs": 1, "input": "new"},
        {"max_runs": 1, "end_at": datetime.fromtimestamp(START_MS / 1_000, UTC)},
    ):
        using(w, declaring(60, **more))
        assert (w.tick() or {})["passed_over"] == 0
        assert (w.tick() or {})["schedules_declared"] == 0
    assert schedules.find(w.yard, "declared").next_ms is None


@pytest.mark.parametrize("functions", [(obedient,), ()])
def test_a_schedule_stands_beside_a_handler(functions: tuple[Any, ...]) -> None:
    from chalicelib.engine.handlers.registry import Registry

    @schedule("0 3 * * *")
    def lonely(_: Any) -> None: ...

    with pytest.raises(InvalidInput, match="beside one handler"):
        Registry.of([*functions, lonely])


# -- one that fails, and the others -------------------------------------------------------------------


def test_a_schedule_that_can_never_be_written_keeps_no_other_from_its_turn(w: World) -> None:
    for name in ("a", "poison", "z"):
        made(w, name, start_ms=START_MS + 3 * MINUTE_MS, max_runs=1)
    w.clock.move(2 * MINUTE_MS)
    with refusing(w.yard.jobs.table.client, "TransactWriteItems", "poison"):
        ticked = w.tick()
    assert ticked is not None
    assert (ticked["slots_handed_over"], ticked["passed_over"]) == (2, 1)
    assert {job.schedule for job in w.jobs()} == {"a", "z"}
    w.tick()
    assert {job.schedule for job in w.jobs()} == {"a", "poison", "z"}


def test_of_many_only_those_that_were_refused_are_tried_alone(w: World) -> None:
    for number in range(11):
        made(w, f"s{number:02d}", start_ms=START_MS + 3 * MINUTE_MS, max_runs=1)
    w.clock.move(MINUTE_MS)
    noted = w.yard.schedules.noting_run(schedules.find(w.yard, "s00").uid, START_MS + 3 * MINUTE_MS, 1, 0)
    w.yard.schedules.transact([noted])  # that slot was made before the schedule was changed
    with counting(w) as calls:
        w.tick()
    assert len(slots_of(w)) == 10
    assert calls["TransactWriteItems"] == 4  # together, without the one made before, that alone, and without its slot


def test_who_dies_before_sending_leaves_to_the_next_what_is_near_and_travels(w: World) -> None:
    for name, more in {
        "near": {},
        "far": {"jitter_ms": HOUR_MS},
        "a person's": {"work": {"type": "call.ada", "runnerType": "manual"}},
    }.items():
        made(w, name, start_ms=START_MS + 3 * MINUTE_MS, max_runs=1, **more)
    w.clock.move(MINUTE_MS)
    latest = patch.object(Schedule, "due_ms", lambda self, slot_ms: slot_ms + self.jitter_ms)
    with latest, failing(w.yard.transport.client, "SendMessageBatch"):
        w.tick()
    near, far = (next(job for job in w.jobs() if job.schedule == name) for name in ("near", "far"))
    assert far.due_at_ms - w.clock.ms > 15 * MINUTE_MS
    assert [item["jobs"] for item in w.items("directory", "outbox")] == [[near.id]]
    w.clock.move(MINUTE_MS)
    w.tick()
    assert [json.loads(message.body)["id"] for message in w.messages()] == [near.id]


def test_slots_of_much_work_share_no_transaction_that_is_too_large(w: World) -> None:
    sizes = []

    def measured(params: Any, **_: Any) -> None:
        sizes.append(len(params["body"]))

    events = w.yard.jobs.table.client.meta.events
    events.register_first("before-call.dynamodb.TransactWriteItems", measured)
    try:
        made(w, every_ms=5 * SECOND_MS, work={"type": "t", "input": "x" * 250_000})
    finally:
        events.unregister("before-call.dynamodb.TransactWriteItems", measured)
    assert slots_of(w) == [number * 5 * SECOND_MS for number in range(1, 25)]
    assert max(sizes) < 4_000_000


def test_the_earliest_come_first_where_time_is_short(w: World) -> None:
    for number in range(8):
        made(w, f"s{number}", start_ms=START_MS + 3 * MINUTE_MS + (8 - number) * SECOND_MS, max_runs=1)
    w.clock.move(2 * MINUTE_MS)
    hand_over_slots(w.yard, iter([True, True, True, True, *[False] * 20]).__next__)
    made_early = {job.schedule for job in w.jobs()}
    assert made_early == {f"s{number}" for number in range(8 - len(made_early), 8)}
    assert 0 < len(made_early) < 8


def unreachable() -> None:
    raise EndpointConnectionError(endpoint_url="https://aws.test")


def test_what_was_made_counts_though_aws_fails_before_its_slots_are_handed_over(w: World) -> None:
    with before(w.yard.jobs.table.client, "TransactWriteItems", unreachable, number=2):
        found = made(w)
    assert (found.runs, slots_of(w)) == (0, [])
    w.tick()
    assert slots_of(w) == minutes(1, 2)


def test_a_change_reaches_slots_though_all_of_them_were_handed_over(w: World) -> None:
    made(w, max_runs=2)
    schedules.change(w.yard, "s", lambda seen: replace(seen, every_ms=30 * SECOND_MS))
    pass_time(w, 3 * MINUTE_MS)
    assert sorted(slot - START_MS for _, slot, _ in RAN if slot) == minutes(0.5, 1)


# -- by property --------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["tick", "double", "late", "fail", "restart", "pause", "resume"]), max_size=25))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_slot_is_ever_made_twice_whatever_the_clock_does(ground: World, silent: None, acts: list[str]) -> None:  # noqa: ARG001
    w = wiped(ground)
    RAN.clear()
    using(w, obedient)
    made(w, every_ms=30 * SECOND_MS)
    for act in acts:
        match act:
            case "fail":
                with failing(w.yard.jobs.table.client, "TransactWriteItems"), suppress(EndpointConnectionError):
                    w.tick()
            case "late":
                w.clock.move(5 * MINUTE_MS)
            case "restart":
                w.restart()
            case "pause":
                schedules.pause(w.yard, "s")
            case "resume":
                schedules.resume(w.yard, "s")
            case "double":
                with before(w.yard.jobs.table.client, "Query", w.tick):
                    w.tick()
            case _:
                w.tick()
        w.deliver()
        w.clock.move(20 * SECOND_MS)
    live = [job.slot_at_ms for job in w.jobs() if job.state is not State.CANCELED]
    assert len(live) == len(set(live))
    ran = [slot for _, slot, _ in RAN]
    assert len(ran) == len(set(ran))

"""Schedules: what a tick does with the slots that are due, were missed, or come while nobody looks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.schedule_checks import checked, moment_to_ms, seconds_to_ms
from chalicelib.core.schedules import (
    Missed,
    Overlap,
    Schedule,
    SkipReason,
    Source,
    fingerprint_of,
    from_document,
    redefined,
    same_times,
    to_document,
)
from chalicelib.core.slots import COUNTED_MAX, MISSED_AFTER_MS, SLOTS_AT_ONCE, Plan, Skip, Slot, plan, preview
from chalicelib.core.states import Kind
from chalicelib.core.zones import LATEST_MS
from tests.support.cron import Known, Year

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
NOW_MS = 1_775_000_000_000 - 1_775_000_000_000 % HOUR_MS  # an hour has just begun

NIGHTLY = Schedule(
    name="nightly", uid="u1", cron="30 2 * * *", zone="Europe/Berlin", work={"type": "report"}, created_at_ms=0,
    updated_at_ms=0,
)  # fmt: skip


def every(interval_ms: int, **fields: Any) -> Schedule:
    """A schedule from an hour ago on, of which nothing was looked at."""
    start_ms = NOW_MS - HOUR_MS
    values = {"start_ms": start_ms, "next_ms": start_ms, **fields}
    return replace(NIGHTLY, cron=None, every_ms=interval_ms, **values)


def minutes(found: Plan) -> tuple[list[int], list[tuple[int, int, int | None]], int | None]:
    """A plan in minutes from now: what runs, what is skipped, what is next."""

    def from_now(at_ms: int) -> int:
        return (at_ms - NOW_MS) // MINUTE_MS

    skipped = [(from_now(skip.first_ms), from_now(skip.last_ms), skip.count) for skip in found.skipped]
    return [from_now(slot.slot_ms) for slot in found.run], skipped, found.next_ms and from_now(found.next_ms)


def ahead(schedule: Schedule, **options: Any) -> Plan:
    return plan(schedule, NOW_MS, NOW_MS + 2 * MINUTE_MS, **options)


class TestMissed:
    """Every minute for an hour, and nobody looked: 58 slots were missed, those of the last two minutes were not."""

    def test_none_of_them_runs(self) -> None:
        schedule = every(MINUTE_MS, missed=Missed.SKIP)
        assert minutes(ahead(schedule)) == ([-2, -1, 0, 1, 2], [(-60, -3, 58)], 3)

    def test_the_last_runs_once(self) -> None:
        schedule = every(MINUTE_MS)
        assert minutes(ahead(schedule)) == ([-3, -2, -1, 0, 1, 2], [(-60, -4, 57)], 3)

    def test_all_of_them_run(self) -> None:
        schedule = every(MINUTE_MS, missed=Missed.ALL)
        assert minutes(ahead(schedule)) == (list(range(-60, 3)), [], 3)

    def test_all_are_so_many_at_most_and_the_newest(self) -> None:
        schedule = every(MINUTE_MS, missed=Missed.ALL, missed_max=10)
        assert minutes(ahead(schedule)) == (list(range(-12, 3)), [(-60, -13, 48)], 3)

    def test_two_minutes_are_the_border(self) -> None:
        schedule = every(MINUTE_MS, missed=Missed.SKIP)
        assert plan(schedule, NOW_MS + 1, NOW_MS).run[0].slot_ms == NOW_MS - MINUTE_MS
        assert plan(schedule, NOW_MS, NOW_MS).run[0].slot_ms == NOW_MS - MISSED_AFTER_MS

    def test_a_year_of_seconds_is_not_walked(self) -> None:
        schedule = replace(NIGHTLY, cron="* * * * * *", next_ms=NOW_MS - 365 * 24 * HOUR_MS)
        found = plan(schedule, NOW_MS, NOW_MS)

        first_ms, last_ms = NOW_MS - 365 * 24 * HOUR_MS, NOW_MS - MISSED_AFTER_MS - 2 * SECOND_MS
        assert found.skipped == (Skip(first_ms, last_ms, None, SkipReason.MISSED),)
        assert [slot.slot_ms for slot in found.run] == [last_ms + n * SECOND_MS for n in range(1, SLOTS_AT_ONCE + 1)]

    def test_intervals_are_counted_however_many(self) -> None:
        schedule = every(SECOND_MS, missed=Missed.SKIP)
        (skip,) = plan(schedule, NOW_MS, NOW_MS).skipped
        assert skip.count == 3_600 - 120 > COUNTED_MAX


class TestEnds:
    """A schedule comes to its end, or a plan to the most that it holds."""

    def test_by_its_time(self) -> None:
        schedule = every(MINUTE_MS, missed=Missed.ALL, end_ms=NOW_MS + MINUTE_MS)
        assert minutes(ahead(schedule)) == (list(range(-60, 2)), [], None)

    def test_by_its_time_while_nobody_looked(self) -> None:
        schedule = every(MINUTE_MS, missed=Missed.SKIP, end_ms=NOW_MS - 30 * MINUTE_MS)
        assert minutes(ahead(schedule)) == ([], [(-60, -30, 31)], None)

    def test_by_its_runs(self) -> None:
        schedule = every(MINUTE_MS, max_runs=9, runs=5)
        found = ahead(schedule)
        assert minutes(found) == ([-3, -2, -1, 0], [(-60, -4, 57)], None)
        assert found.runs == 9

    def test_the_rest_is_for_the_next_tick(self) -> None:
        schedule = every(MINUTE_MS, missed=Missed.ALL)
        found = ahead(schedule, most=20)
        assert minutes(found) == (list(range(-60, -40)), [], -40)
        assert minutes(ahead(replace(schedule, next_ms=found.next_ms))) == (list(range(-40, 3)), [], 3)

    def test_once(self) -> None:
        schedule = replace(NIGHTLY, cron=None, at_ms=NOW_MS, next_ms=NOW_MS)
        assert ahead(schedule) == Plan((Slot(NOW_MS, NOW_MS),), (), None, 1)
        assert ahead(replace(schedule, next_ms=None)) == Plan((), (), None, 0)

    def test_not_yet(self) -> None:
        schedule = every(MINUTE_MS, next_ms=NOW_MS + 3 * MINUTE_MS)
        assert ahead(schedule) == Plan((), (), NOW_MS + 3 * MINUTE_MS, 0)


class TestPaused:
    """What comes while a schedule is paused is skipped, as far as its time has come."""

    def test_its_slots_are_skipped(self) -> None:
        found = ahead(every(MINUTE_MS, paused=True))
        assert minutes(found) == ([], [(-60, 0, 61)], 1)
        assert [skip.reason for skip in found.skipped] == [SkipReason.PAUSED]

    def test_what_is_to_come_stays(self) -> None:
        schedule = every(MINUTE_MS, paused=True, next_ms=NOW_MS + MINUTE_MS)
        assert minutes(ahead(schedule)) == ([], [], 1)

    def test_it_comes_to_its_end(self) -> None:
        assert minutes(ahead(every(MINUTE_MS, paused=True, end_ms=NOW_MS))) == ([], [(-60, 0, 61)], None)

    def test_a_preview_does_not_mind(self) -> None:
        assert preview(replace(NIGHTLY, paused=True), 0, 1) == preview(NIGHTLY, 0, 1)


@given(
    st.builds(
        every,
        st.integers(1, 1_500).map(lambda seconds: seconds * SECOND_MS),
        missed=st.sampled_from(Missed),
        missed_max=st.integers(1, 100),
        end_ms=st.none() | st.integers(NOW_MS - 2 * HOUR_MS, NOW_MS + HOUR_MS),
        max_runs=st.none() | st.integers(1, 200),
        runs=st.integers(0, 20),
    ),
    st.integers(0, 5 * MINUTE_MS),
    st.integers(1, 200),
)
def test_every_slot_runs_or_is_skipped_or_is_left(schedule: Schedule, ahead_ms: int, most: int) -> None:
    until_ms = min(NOW_MS + ahead_ms, NOW_MS + 2 * HOUR_MS if schedule.end_ms is None else schedule.end_ms)
    assert schedule.every_ms is not None
    slots = list(range(NOW_MS - HOUR_MS, until_ms + 1, schedule.every_ms))
    missed = [slot_ms for slot_ms in slots if slot_ms < NOW_MS - MISSED_AFTER_MS]
    kept = {Missed.SKIP: 0, Missed.LAST: 1, Missed.ALL: schedule.missed_max}[schedule.missed]
    skipped = missed[: max(0, len(missed) - kept)]
    left = slots[len(skipped) :]
    room = most if schedule.max_runs is None else min(most, max(0, schedule.max_runs - schedule.runs))

    found = plan(schedule, NOW_MS, NOW_MS + ahead_ms, most)

    assert [slot.slot_ms for slot in found.run] == left[:room]
    assert [(skip.first_ms, skip.last_ms, skip.count) for skip in found.skipped] == (
        [(skipped[0], skipped[-1], len(skipped))] if skipped else []
    )
    assert found.runs == schedule.runs + len(found.run)
    if schedule.max_runs is not None and found.runs >= schedule.max_runs:
        assert found.next_ms is None
    elif left[room:]:
        assert found.next_ms == left[room]
    elif found.next_ms is None:
        assert schedule.end_ms is not None
    else:
        assert until_ms < found.next_ms <= until_ms + schedule.every_ms


@given(st.integers(0, HOUR_MS), st.integers(0, 2**43), st.text(max_size=5))
def test_a_slot_is_late_by_the_same_whoever_asks(jitter_ms: int, slot_ms: int, uid: str) -> None:
    schedule = replace(NIGHTLY, jitter_ms=jitter_ms, uid=uid)
    due_ms = schedule.due_ms(slot_ms)
    assert slot_ms <= due_ms <= slot_ms + jitter_ms
    assert replace(schedule, revision=9, runs=3).due_ms(slot_ms) == due_ms


def test_lateness_is_spread_over_slots_and_schedules() -> None:
    late = {replace(NIGHTLY, jitter_ms=9, uid=uid).due_ms(slot) - slot for uid in "ab" for slot in range(100)}
    assert late == set(range(10))
    assert replace(NIGHTLY, jitter_ms=HOUR_MS).due_ms(NOW_MS) == NOW_MS + 853_165


def test_a_preview_shows_what_will_run() -> None:
    first, second = preview(NIGHTLY, NOW_MS, 2)
    assert second - first == 24 * HOUR_MS
    assert len(preview(replace(NIGHTLY, max_runs=5, runs=3), NOW_MS, 10)) == 2
    assert preview(replace(NIGHTLY, start_ms=second), NOW_MS, 1) == [second]
    assert preview(replace(NIGHTLY, end_ms=first), NOW_MS, 10) == [first]


def test_a_preview_looks_a_century_ahead() -> None:
    found = preview(
        replace(NIGHTLY, cron="0 0 * 2 5#5", zone="UTC"), NOW_MS, 100
    )  # Fridays that are a 29th of February
    years = [datetime.fromtimestamp(slot_ms / 1_000, UTC).year for slot_ms in found]
    assert years == [2036, 2064, 2092, 2104, 2132]
    far = LATEST_MS - 1
    assert preview(replace(NIGHTLY, cron=None, at_ms=far), NOW_MS, 100) == [far]


def test_an_interval_counts_from_the_start_or_from_the_creation() -> None:
    schedule = replace(NIGHTLY, cron=None, every_ms=5 * MINUTE_MS, created_at_ms=NOW_MS)
    assert preview(schedule, NOW_MS, 2) == [NOW_MS + 5 * MINUTE_MS, NOW_MS + 10 * MINUTE_MS]
    assert preview(replace(schedule, start_ms=NOW_MS + 7), NOW_MS, 2) == [NOW_MS + 7, NOW_MS + 7 + 5 * MINUTE_MS]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "name: this is no name; expected 1 to 128 characters on one line"),
        ({"name": "n" * 129}, "name: this is no name"),
        ({"name": "a\nb"}, "name: this is no name"),
        ({"cron": None}, "cron: a schedule has one time; expected either cron, or an interval, or one time"),
        ({"every_ms": 1_000}, "every_s: a schedule has one time"),
        ({"cron": "0 25 * * *"}, "cron: the hour is out of range"),
        ({"cron": 5}, "cron: this is no cron expression"),
        ({"zone": "Europe/Berln"}, "tz: this is no time zone; .* Europe/Berlin"),
        ({"zone": None}, "tz: this is no time zone"),
        ({"cron": None, "every_ms": 999}, "every_s: .* expected 1 to 31622400 seconds; got 0.999"),
        ({"cron": None, "every_ms": True}, "every_s: this value is out of range"),
        ({"cron": None, "at_ms": -1}, "at: this value is out of range"),
        ({"cron": None, "at_ms": 10**16}, "at: this value is out of range"),
        ({"missed": "some"}, "missed: there is no such choice; expected skip, last, all; got some"),
        ({"overlap": None}, "overlap: there is no such choice; expected allow, skip, queue"),
        ({"missed_max": 0}, "missed_max: .* expected a whole number, 1 to 1000; got 0"),
        ({"missed_max": 1_001}, "missed_max: this value is out of range"),
        ({"jitter_ms": 2 * HOUR_MS}, "jitter_s: .* expected 0 to 3600 seconds; got 7200.0"),
        ({"jitter_ms": None}, "jitter_s: this value is out of range"),
        ({"missed_max": None}, "missed_max: this value is out of range"),
        ({"max_runs": 0}, "max_runs: this value is out of range"),
        ({"start_ms": 5, "end_ms": 4}, "end_at: this is before its start"),
    ],
)
def test_what_can_be_no_schedule_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        checked(replace(NIGHTLY, **fields))


def test_texts_become_choices() -> None:
    fields: dict[str, Any] = {"missed": "all", "overlap": "queue"}
    found = checked(replace(NIGHTLY, **fields))
    assert found == replace(NIGHTLY, missed=Missed.ALL, overlap=Overlap.QUEUE)
    assert found.missed is Missed.ALL


@pytest.mark.parametrize(
    "schedule",
    [
        NIGHTLY,
        every(1_000, kind=Kind.MESSAGE, missed=Missed.ALL, overlap=Overlap.SKIP, source=Source.CODE, max_runs=3),
        replace(NIGHTLY, cron=None, at_ms=NOW_MS, jitter_ms=7, paused=True, end_ms=NOW_MS, revision=4, runs=2),
    ],
)
def test_it_is_stored_as_a_document(schedule: Schedule) -> None:
    document = json.loads(json.dumps(to_document(schedule)))
    assert from_document({**document, "kind": "a table's own"}) == schedule
    assert None not in document.values()


def test_a_new_definition_keeps_the_progress() -> None:
    seen = replace(NIGHTLY, uid="u7", revision=3, next_ms=NOW_MS, runs=5, created_at_ms=1, updated_at_ms=2)
    wanted = replace(NIGHTLY, cron="0 4 * * *", jitter_ms=5)
    assert redefined(seen, wanted) == replace(seen, cron="0 4 * * *", jitter_ms=5)
    assert not same_times(seen, wanted)
    assert same_times(seen, replace(NIGHTLY, jitter_ms=5, missed=Missed.SKIP))


def test_what_schedules_say_has_a_fingerprint() -> None:
    other = replace(NIGHTLY, name="other")
    moved_on = replace(NIGHTLY, uid="u9", next_ms=NOW_MS, runs=5, revision=7)
    assert fingerprint_of([NIGHTLY, other]) == fingerprint_of([other, moved_on])
    assert fingerprint_of([NIGHTLY]) != fingerprint_of([replace(NIGHTLY, work={"type": "other"})])
    assert fingerprint_of([]) != fingerprint_of([NIGHTLY])


def test_the_version_is_of_one_creation_and_of_what_it_says() -> None:
    moved_on = replace(NIGHTLY, next_ms=NOW_MS, runs=5, revision=7, updated_at_ms=NOW_MS)
    assert moved_on.version == NIGHTLY.version
    others = [replace(NIGHTLY, uid="u9"), replace(NIGHTLY, work={"type": "other"}), replace(NIGHTLY, paused=True)]
    assert len({each.version for each in (NIGHTLY, *others)}) == 4


def test_times_in_milliseconds() -> None:
    assert [seconds_to_ms("every_s", given) for given in (1.5, 60, None)] == [1_500, 60_000, None]
    east = datetime(1970, 1, 1, 2, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    assert [moment_to_ms("at", given) for given in (east, None)] == [1_000, None]
    for wrong in (True, "5", float("inf"), float("nan"), 10**30, east):
        with pytest.raises(InvalidInput, match="every_s: these are no seconds; expected a number of seconds"):
            seconds_to_ms("every_s", wrong)
    for wrong in (True, "5", 5, datetime.fromisoformat("2026-01-01")):
        with pytest.raises(InvalidInput, match="at: this is no moment; expected a datetime with a time zone"):
            moment_to_ms("at", wrong)


def test_who_has_no_cron_expression_does_not_load_croniter() -> None:
    program = (
        "import sys; from chalicelib.core.schedules import Schedule; from chalicelib.core.slots import preview; "
        "made = Schedule(name='n', uid='u', every_ms=5_000, work={}, created_at_ms=0, updated_at_ms=0); "
        "print(preview(made, 0, 2), 'croniter' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[5000, 10000] False\n"


# -- a simulated year -------------------------------------------------------------------------

ZONES = (
    "UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Santiago", "America/Havana",
    "America/St_Johns", "America/Godthab", "Africa/Casablanca", "Africa/Cairo", "Antarctica/Troll", "Asia/Beirut",
    "Asia/Kathmandu", "Asia/Jerusalem", "Asia/Tokyo", "Australia/Lord_Howe", "Australia/Sydney", "Pacific/Chatham",
    "Pacific/Norfolk", "Pacific/Kiritimati",
)  # fmt: skip
START_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000
END_MS = START_MS + 365 * 24 * HOUR_MS
AHEAD_MS = 2 * MINUTE_MS
MONTHS = frozenset(range(1, 13))


def known(random: Random) -> Known:
    """Some expression; most are due in the hours in which clocks are changed, and stepping ones on Sundays."""
    hour = random.choice([0, 1, 2, 2, 3, 23, random.randrange(24)])
    minute = random.randrange(60)
    weekday, day = random.randrange(7), random.randrange(1, 32)

    def as_weekday(each: date) -> bool:
        return each.isoweekday() % 7 == weekday

    def on_sunday(each: date) -> bool:
        return each.isoweekday() == 7

    def in_month(each: date) -> bool:
        return each.day == day

    def fixed(text: str, **rule: Any) -> Known:
        fields: dict[str, Any] = {"day": None, "weekday": None, **rule}
        return Known(text, (0,), frozenset({minute}), frozenset({hour}), MONTHS, **fields, steps=False)

    kind = random.choice(["daily", "stepping", *["weekly"] * 4, *["monthly"] * 4])
    match kind:
        case "daily":
            return fixed(f"{minute} {hour} * * *")
        case "weekly":
            return fixed(f"{minute} {hour} * * {weekday}", weekday=as_weekday)
        case "monthly":
            return fixed(f"{minute} {hour} {day} * *", day=in_month)
    thirds, hours = frozenset({0, 20, 40}), frozenset({hour})
    return Known(f"*/20 {hour} * * 0", (0,), thirds, hours, MONTHS, None, on_sunday, steps=True)


def ticks(random: Random, down: set[int], at_ms: int) -> Iterator[int]:
    """When the clock comes from ``at_ms`` on: each minute, up to half a minute late; some do not come, or twice."""
    at_ms -= (at_ms - START_MS) % MINUTE_MS
    while True:
        if at_ms not in down and random.random() > 0.1:
            late_ms = random.randrange(30_000)
            yield from [at_ms + late_ms] * random.choice([1, 1, 1, 2])
        at_ms += MINUTE_MS


def handed_over(schedule: Schedule, random: Random, down: set[int]) -> list[int]:
    """The slots of a year as a clock hands them over that comes as it likes, and now and then dies before it wrote."""
    made: list[int] = []
    schedule = replace(schedule, next_ms=schedule.next_after(START_MS - 1))
    while schedule.next_ms is not None and schedule.next_ms < END_MS:
        for now_ms in ticks(random, down, schedule.next_ms - AHEAD_MS):
            found = plan(schedule, now_ms, min(now_ms + AHEAD_MS, END_MS - 1))
            assert found.skipped == ()
            if random.random() > 0.1:
                made += [slot.slot_ms for slot in found.run]
                schedule = replace(schedule, next_ms=found.next_ms, runs=found.runs)
            if schedule.next_ms is None or schedule.next_ms > now_ms + AHEAD_MS:
                break
    assert schedule.runs == len(made)
    return made


def test_a_year_in_20_zones() -> None:
    """Of 100 schedules; of as many as ``TASKYARD_SIMULATED_SCHEDULES`` says, where that is set."""
    schedules = int(os.environ.get("TASKYARD_SIMULATED_SCHEDULES", "100"))
    random = Random(2026)  # noqa: S311  # not a secret
    outages = [random.randrange(START_MS, END_MS, MINUTE_MS) for _ in range(30)]
    down = {at_ms for low_ms in outages for at_ms in range(low_ms, low_ms + random.randrange(20 * HOUR_MS), MINUTE_MS)}
    total = 0
    for zone in ZONES:
        year = Year.of(zone, START_MS, END_MS)
        for number in range(schedules // len(ZONES)):
            expression = known(random)
            schedule = replace(
                NIGHTLY, name=f"{zone} {number}", cron=expression.text, zone=zone, missed=Missed.ALL, missed_max=1_000
            )
            made = handed_over(schedule, random, down)
            assert made == year.slots(expression), (zone, expression.text)
            assert all(earlier < later for earlier, later in pairwise(made))
            total += len(made)
    assert total > 60 * schedules

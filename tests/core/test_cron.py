"""Cron expressions: read as stated, refused as stated, and never at another time than the calendar says."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib.core.cron import CronExpression
from chalicelib.core.errors import InvalidInput
from tests.support.cron import Known, expressions

wall_times = st.datetimes(datetime.fromisoformat("1971-01-01"), datetime.fromisoformat("2090-01-01"))


def times(text: str, after: str, count: int, name: str = "nightly") -> list[str]:
    """The next wall times of an expression, without their seconds if these are 00."""
    expression, wall = CronExpression.parse(text, name), datetime.fromisoformat(after)
    found = []
    for _ in range(count):
        following = expression.next_wall(wall)
        assert following is not None
        wall = following
        found.append(wall.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00"))
    return found


@settings(deadline=None, max_examples=150)
@given(expressions(), wall_times)
def test_it_comes_when_the_calendar_says(known: Known, start: datetime) -> None:
    expected = known.next_wall(start)
    if expected is None:
        with pytest.raises(InvalidInput, match="this day and month never come together"):
            CronExpression.parse(known.text, "any")
        return
    expression = CronExpression.parse(known.text, "any")
    assert expression.steps == known.steps
    assert expression.next_wall(start) == expected

    following = expression.next_wall(expected)
    assert following == known.next_wall(expected)
    assert following is not None
    assert expression.previous_wall(following) == expected
    assert expression.previous_wall(following + timedelta(milliseconds=1)) == following


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/15 * * * *", ["2026-01-01 00:15", "2026-01-01 00:30"]),
        ("15 * * * * *", ["2026-01-01 00:00:15", "2026-01-01 00:01:15"]),  # the second first
        ("5/25 9 * * *", ["2026-01-01 09:05", "2026-01-01 09:30", "2026-01-01 09:55", "2026-01-02 09:05"]),
        ("0 22-2 * * *", ["2026-01-01 01:00", "2026-01-01 02:00", "2026-01-01 22:00"]),
        ("0 0 * * fri-mon", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00", "2026-01-05 00:00"]),
        ("0 0 * * 5-7/2", ["2026-01-02 00:00", "2026-01-04 00:00", "2026-01-09 00:00"]),
        ("0 0 * * 7", ["2026-01-04 00:00", "2026-01-11 00:00"]),
        ("0 0 13 * 5", ["2026-01-02 00:00", "2026-01-09 00:00", "2026-01-13 00:00"]),  # or
        ("0 0 30 2 1", ["2026-02-02 00:00", "2026-02-09 00:00"]),
        ("0 0 1-31 * 1", ["2026-01-05 00:00", "2026-01-12 00:00"]),
        ("0 0 1-L * 1", ["2026-01-05 00:00", "2026-01-12 00:00"]),
        ("0 0 13 * 0-6", ["2026-01-13 00:00", "2026-02-13 00:00"]),
        ("0 0 13 * 1-7", ["2026-01-13 00:00", "2026-02-13 00:00"]),
        ("0 0 13 * sun-wed,thu-sat", ["2026-01-13 00:00", "2026-02-13 00:00"]),
        ("0 0 ? * MON", ["2026-01-05 00:00", "2026-01-12 00:00"]),
        ("0 0 L * *", ["2026-01-31 00:00", "2026-02-28 00:00"]),
        ("0 0 20-L/5 2 *", ["2026-02-20 00:00", "2026-02-25 00:00", "2027-02-20 00:00"]),
        ("0 0 L * 5", ["2026-01-02 00:00", "2026-01-09 00:00", "2026-01-16 00:00", "2026-01-23 00:00",
                       "2026-01-30 00:00", "2026-01-31 00:00"]),
        ("0 0 15W * *", ["2026-01-15 00:00", "2026-02-16 00:00", "2026-03-16 00:00"]),
        ("0 0 W31 2,6 *", ["2026-02-27 00:00", "2026-06-30 00:00"]),
        ("0 0 * * 5#3", ["2026-01-16 00:00", "2026-02-20 00:00"]),
        ("0 0 * * FRI#5,L1", ["2026-01-26 00:00", "2026-01-30 00:00", "2026-02-23 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 * 2 5#5", ["2036-02-29 00:00", "2064-02-29 00:00"]),
        (" @Daily\t", ["2026-01-02 00:00", "2026-01-03 00:00"]),
        ("@hourly", ["2026-01-01 01:00", "2026-01-01 02:00"]),
        ("@midnight", ["2026-01-02 00:00"]),
        ("@weekly", ["2026-01-04 00:00"]),
        ("@MONTHLY", ["2026-02-01 00:00"]),
        ("@yearly", ["2027-01-01 00:00"]),
        ("@annually", ["2027-01-01 00:00"]),
        ("*/60 * * * *", ["2026-01-01 01:00", "2026-01-01 02:00"]),
        ("59/15 * * * *", ["2026-01-01 00:59", "2026-01-01 01:59"]),
    ],
)  # fmt: skip
def test_what_each_form_means(text: str, expected: list[str]) -> None:
    assert times(text, "2026-01-01", len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("H * * * *", ["2026-01-01 00:06", "2026-01-01 01:06"]),
        ("H H * * *", ["2026-01-01 21:06", "2026-01-02 21:06"]),
        ("H/15 * * * *", ["2026-01-01 00:06", "2026-01-01 00:21", "2026-01-01 00:36", "2026-01-01 00:51"]),
        ("H(30-59) 2 * * *", ["2026-01-01 02:36", "2026-01-02 02:36"]),
        ("0 0 H * *", ["2026-01-27 00:00", "2026-02-27 00:00", "2026-03-27 00:00"]),
        ("0 0 * * H", ["2026-01-03 00:00"]),
    ],
)
def test_a_hashed_value_is_drawn_from_the_name(text: str, expected: list[str]) -> None:
    assert times(text, "2025-12-31 23:59", len(expected)) == expected


def test_names_spread_over_the_hour_and_every_month_has_the_day() -> None:
    minutes, days = set(), set()
    for number in range(500):
        minutes.add(times("H * * * *", "2026-01-01", 1, f"schedule {number}")[0][-2:])
        days.add(times("0 0 H * *", "2026-01-31", 1, f"schedule {number}")[0][8:10])
    assert len(minutes) == 60
    assert days == {f"{day:02d}" for day in range(1, 29)}


def test_another_process_draws_the_same() -> None:
    program = (
        "from datetime import datetime; from chalicelib.core.cron import CronExpression; "
        "print(CronExpression.parse('H H * * *', 'nightly').next_wall(datetime(2026, 1, 1)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "2026-01-01 21:06:00\n"


def test_a_short_form_is_never_hashed() -> None:
    assert times("@Hourly", "2026-01-01", 1, "a") == times("@hourly", "2026-01-01", 1, "b") == ["2026-01-01 01:00"]


@pytest.mark.parametrize("name", ["", "\ud800", "日本", "x" * 10_000])
def test_any_name_can_be_drawn_from(name: str) -> None:
    assert CronExpression.parse("H H * * *", name).next_wall(datetime.fromisoformat("2026-01-01")) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there are 0 fields; expected five"),
        ("* * * *", "there are 4 fields; expected five"),
        ("0 0 0 1 1 * 2030", "a year is said beside the expression"),
        ("60 * * * *", "the minute is out of range; expected 0 to 59; got 60"),
        ("60 * * * * *", "the second is out of range"),
        ("0 24 * * *", "the hour is out of range; expected 0 to 23; got 24"),
        ("0 0 0 * *", "the day is out of range; expected 1 to 31; got 0"),
        ("0 0 1 13 *", "the month is out of range; expected 1 to 12, or jan to dec; got 13"),
        ("0 0 * * 8", "the weekday is out of range; expected 0 to 7"),
        ("-5 * * * *", "the minute is not understood"),
        ("0 0 1 January *", "the month is not understood"),
        ("0 fri * * *", "the hour is not understood"),
        ("1, 2 * * * *", "there are 6 fields|the second is not understood"),
        ("1,,2 * * * *", "the minute is not understood"),
        ("? * * * *", "the minute cannot be ?"),
        ("0 0 ?,5 * *", "the day is not understood"),
        ("0.5 * * * *", "the minute is not understood"),
        ("*/5/2 * * * *", "the minute is not understood"),
        ("*/0 * * * *", "the minute has a step that is out of range; expected a step of 1 to 60; got 0"),
        ("*/61 * * * *", "the minute has a step that is out of range"),
        ("0 9/25 * * *", "the hour has a step that is out of range; expected a step of 1 to 24; got 25"),
        ("0 9-9 * * *", "the hour is a range from a value to itself; expected 9; got 9-9; say the value alone"),
        ("0 9-9/2 * * *", "the hour is a range from a value to itself"),
        ("0 0 * * mon-mon", "the weekday is a range from a value to itself; expected 1"),
        ("0 0 * * 7-0", "the weekday is a range from a value to itself; expected 0"),
        ("0 22-4/2 * * *", "the hour passes the end of its field and steps"),
        ("0 0 * * sat-tue/2", "the weekday passes the end of its field and steps"),
        ("R * * * *", "the minute cannot be drawn at random"),
        ("0 0 R(1-5)/2 * *", "the day cannot be drawn at random"),
        ("H(5-2) * * * *", "the minute is drawn from a range that there is not"),
        ("H(0-99) * * * *", "the minute is drawn from a range that there is not"),
        ("0 0 * * H(0-7)", "the weekday is drawn from a range that there is not"),
        ("H,5 * * * *", "the minute is not understood"),
        ("0 0 L-3 * *", "the day is not understood"),
        ("0 0 LW * *", "the day is not understood"),
        ("0 0 15W,20 * *", "the day is not understood"),
        ("0 0 32W * *", "the day is out of range"),
        ("0 0 * * L", "the weekday is not understood"),
        ("0 0 * * 5L", "the weekday is not understood"),
        ("0 0 * * 5#0", "the weekday does not come so often in a month"),
        ("0 0 * * 5#6", "the weekday does not come so often in a month"),
        ("0 0 * * 1-3#2", "the weekday stands beside one that is counted within the month"),
        ("0 0 * * 1,5#2", "the weekday stands beside one that is counted within the month"),
        ("0 0 * * 8#2", "the weekday is out of range"),
        ("0 0 13 * 5#2", "the weekday is counted within the month, beside another field that chooses days"),
        ("0 0 13 * L5", "the weekday is counted within the month, beside another field that chooses days"),
        ("0 0 15W * 1", "the day is counted within the month, beside another field that chooses days"),
        ("0 0 */2 * 1", "the day steps through all its values, beside another field that chooses days"),
        ("0 0 13 * */2", "the weekday steps through all its values, beside another field that chooses days"),
        ("0 0 30 2 *", "this day and month never come together"),
        ("0 0 31 4,6,9,11 *", "this day and month never come together"),
        ("@reboot", "there is no such short form"),
        ("@every 5m", "there is no such short form"),
        ("0 0 1 1 *\n", "the weekday is not understood"),
        ("٣ * * * *", "the minute is not understood"),
        ("0 0 1 1 *" + " " * 92, "a text of at most 100 characters"),
    ],
)
def test_what_is_refused_says_which_part(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message.replace("?", r"\?").replace("(", r"\(")) as refused:
        CronExpression.parse(text, "nightly")
    assert refused.value.field == "cron"


@example("0 0 ²* * *")
@given(st.text(st.sampled_from("0123456789*/-,?#lwhr() \t@jancesufi²٣"), max_size=101))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        expression = CronExpression.parse(text, "nightly")
    except InvalidInput:
        return
    assert expression.next_wall(datetime.fromisoformat("2026-01-01")) is not None


@pytest.mark.parametrize("value", [None, 5, b"* * * * *", ["*"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="this is no cron expression"):
        CronExpression.parse(value, "nightly")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("30 2 * * *", False),
        ("0,30 1-4 * * *", False),
        ("*/10 30 2 * * *", False),  # the second does not count
        ("0 0 */2 * *", False),
        ("H H * * *", False),
        ("@daily", False),
        ("30 * * * *", True),
        ("* 2 * * *", True),
        ("*/15 2 * * *", True),
        ("0 0-23 * * *", True),
        ("0 0-22/2 * * *", True),
        ("H/15 2 * * *", True),
        ("@hourly", True),
    ],
)
def test_what_steps(text: str, steps: bool) -> None:
    assert CronExpression.parse(text, "nightly").steps is steps


def test_the_calendar_ends() -> None:
    expression = CronExpression.parse("@daily", "nightly")
    assert expression.next_wall(datetime.fromisoformat("9999-12-31T12:00")) is None
    assert expression.previous_wall(datetime.fromisoformat("0001-01-01")) is None

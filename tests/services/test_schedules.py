"""Schedules in Python: the documented calls, what they return, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from chalicelib.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from chalicelib.engine.clock.schedules import keep_declared
from chalicelib.engine.commands import schedules as commands
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.handlers.schedules import schedule
from chalicelib.services import installation, messages, schedules, tasks
from chalicelib.services.schedules import Run, Schedule
from chalicelib.services.task_orders import NextTask
from chalicelib.store.schedules import Schedules
from tests.services.handlers.workers import worked
from tests.support.yards import START_MS, Bench, moto_bench

NOW = datetime.fromtimestamp(START_MS / 1_000, UTC)
MINUTE = timedelta(minutes=1)
WORK = {"type": "worked", "input": 1}
NIGHTLY: dict[str, Any] = {"cron": "0 3 * * *", "tz": "Europe/Berlin", "task": WORK}


@schedule("0 3 * * *", name="declared", priority="high")
@task("declared.in.code")
def declared(_: Any) -> None: ...


@pytest.fixture(scope="module")
def ground() -> Iterator[Bench]:
    """One installation for all tests; each finds it without schedules, at the same time."""
    with moto_bench([worked, declared]) as made:
        yield made


@pytest.fixture(autouse=True)
def bench(ground: Bench) -> Iterator[Bench]:
    ground.clock.ms = START_MS
    with installation.using(ground.yard):
        yield ground
        for left in schedules.list():
            commands.remove(ground.yard, left.name)


class TestCreate:
    def test_every_field_has_its_default(self) -> None:
        found = schedules.create("s", every_s=60, task=WORK)
        assert found == Schedule(
            name="s",
            cron=None,
            every_s=60.0,
            at=None,
            tz="UTC",
            task={**WORK, "runnerType": "system"},
            message=None,
            missed="last",  # type: ignore[arg-type]  # a text as good as the choice
            missed_max=100,
            overlap="allow",  # type: ignore[arg-type]
            jitter_s=0.0,
            start_at=None,
            end_at=None,
            max_runs=None,
            paused=False,
            runs=2,
            next_run_at=NOW + 3 * MINUTE,
            source="api",  # type: ignore[arg-type]
            created_at=NOW,
            updated_at=NOW,
            version=found.version,
        )
        assert schedules.get("s") == schedules.get(found) == found

    def test_every_field_that_can_be_given(self) -> None:
        asked: dict[str, Any] = {
            "cron": "30 2 * * *",
            "tz": "Europe/Berlin",
            "message": {"topic": "t", "payload": {"n": 1}, "priority": 5, "maxRetries": 0, "meta": {"m": 1}},
            "missed": "all",
            "missed_max": 7,
            "overlap": "queue",
            "jitter_s": 1.5,
            "start_at": datetime(2025, 10, 25, 12, tzinfo=UTC),
            "end_at": datetime(2025, 10, 28, tzinfo=timezone(timedelta(hours=1))),
            "max_runs": 3,
            "paused": True,
        }
        found = schedules.create("s", **asked)
        assert {name: getattr(found, name) for name in asked} == asked
        assert schedules.preview(found) == [  # at 2:30 of that night once, the first time
            datetime(2025, 10, 26, 0, 30, tzinfo=UTC),
            datetime(2025, 10, 27, 1, 30, tzinfo=UTC),
        ]

    def test_priorities_by_name(self) -> None:
        task = schedules.create("s", every_s=60, task=NextTask(type="worked", priority="high")).task
        message = schedules.create("t", every_s=60, message={"topic": "t", "priority": "low"}).message
        assert task is not None
        assert message is not None
        assert (task["priority"], message["priority"]) == (10, -10)

    def test_a_task_may_be_described_by_a_next_task(self) -> None:
        described = NextTask(type="worked", input={"day": "{{slot}}"}, max_retries=4, context={"secret": "s", "n": 1})
        found = schedules.create("s", every_s=60, task=described)
        assert found.task == {
            "type": "worked",
            "runnerType": "system",
            "input": {"day": "{{slot}}"},
            "maxRetries": 4,
            "context": {"n": 1},
        }
        made = tasks.detail(schedules.run_now(found))
        assert (made.input, made.max_retries, made.context) == ({"day": "2025-06-15T15:06:40.000Z"}, 4, {"n": 1})
        assert (made.schedule, made.slot_time, made.target_type, made.target_id) == ("s", None, "schedule", "s")

    def test_its_first_slot_goes_by_the_time_that_aws_tells(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that has asked nothing yet knows its own clock only, and that may be minutes ahead."""
        find = Schedules.find

        def answered(store: Schedules, name: str) -> Any:
            bench.clock.ms = START_MS
            return find(store, name)

        bench.clock.ms = START_MS + 300_000
        monkeypatch.setattr(Schedules, "find", answered)
        made = schedules.create("s", every_s=60, task=WORK, end_at=NOW + 4 * MINUTE)
        assert made.next_run_at is not None
        assert made.next_run_at <= NOW + 4 * MINUTE

    def test_a_name_is_taken_once_but_may_be_replaced(self) -> None:
        schedules.create("s", **NIGHTLY, overlap="skip")
        with pytest.raises(Conflict, match="there is a schedule of this name"):
            schedules.create("s", **NIGHTLY)
        replaced = schedules.create("s", every_s=60, task=WORK, or_replace=True)
        assert (replaced.cron, replaced.every_s, replaced.tz, replaced.overlap) == (None, 60.0, "UTC", "allow")

    def test_what_was_seen_alone_is_replaced_or_changed_if_asked(self) -> None:
        first = schedules.create("s", **NIGHTLY, or_replace=True, if_version="none")
        second = schedules.update("s", jitter_s=2, if_version=first.version)
        for seen in ("none", first.version):
            with pytest.raises(Conflict, match=f"got what somebody has set since, version {second.version}"):
                schedules.create("s", every_s=60, task=WORK, or_replace=True, if_version=seen)
            with pytest.raises(Conflict, match="changed meanwhile"):
                schedules.update("s", jitter_s=3, if_version=seen)
        assert schedules.update("s", jitter_s=2, if_version=first.version) == second == schedules.get("s")
        with pytest.raises(InvalidInput, match="if_version: nothing is replaced; expected or_replace=True"):
            schedules.create("t", **NIGHTLY, if_version="none")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"name": ""}, "name: this is no name"),
            ({"name": 7}, "name: this is no name"),
            ({"name": "n" * 129}, "name: this is no name; expected 1 to 128 characters"),
            ({"name": "a\ud800"}, "name: this is no name"),
            ({"cron": None}, "cron: a schedule has one time"),
            ({"every_s": 5}, "every_s: a schedule has one time"),
            ({"cron": 7}, "cron: this is no cron expression"),
            ({"cron": "0 25 * * *"}, "cron: the hour is out of range; expected 0 to 23"),
            ({"tz": "Europe/Berln"}, "tz: this is no time zone; .* Europe/Berlin"),
            ({"tz": None}, "tz: this is no time zone"),
            ({"cron": None, "every_s": 0.5}, "every_s: .* expected 1 to 31622400 seconds; got 0.5"),
            ({"cron": None, "every_s": True}, "every_s: these are no seconds"),
            ({"cron": None, "every_s": float("nan")}, "every_s: these are no seconds"),
            ({"cron": None, "at": datetime.fromisoformat("2026-01-01")}, "at: this is no moment"),
            ({"cron": None, "at": "2026-01-01"}, "at: this is no moment"),
            ({"cron": None, "at": datetime(9999, 1, 1, tzinfo=UTC)}, "at: .* years 1970 to 9998"),
            ({"cron": None, "at": NOW}, "at: this schedule never fires"),
            ({"start_at": NOW + MINUTE, "end_at": NOW}, "end_at: this is before its start"),
            ({"end_at": 7}, "end_at: this is no moment"),
            ({"missed": "later"}, "missed: there is no such choice; expected skip, last, all; got later"),
            ({"missed": None}, "missed: there is no such choice"),
            ({"missed_max": 1_001}, "missed_max: .* 1 to 1000"),
            ({"missed_max": None}, "missed_max: .* 1 to 1000"),
            ({"overlap": ["skip"]}, "overlap: there is no such choice"),
            ({"jitter_s": 3_601}, "jitter_s: .* expected 0 to 3600 seconds; got 3601.0"),
            ({"jitter_s": None}, "jitter_s: .* expected 0 to 3600 seconds"),
            ({"max_runs": 1.5}, "max_runs: .* a whole number"),
            ({"paused": 1}, "paused: this is neither yes nor no"),
            ({"task": None}, "task: this is no task"),
            ({"task": {"type": "nobody.runs.it"}}, "task.type: no handler"),
            ({"task": {"type": "worked", "delay": 5}}, "task.delay: what a slot makes has the slot's time"),
            ({"task": {"type": "worked", "prio": 5}}, "task.prio: there is no such field; expected priority"),
            ({"task": {**WORK, "next": {"type": "nobody.runs.it"}}}, "task.next.type: no handler"),
            ({"message": {"topic": "t"}}, "task: a schedule makes one thing"),
            ({"timezone": "UTC"}, "timezone: there is no such field"),
            ({"maxRuns": 5}, "maxRuns: there is no such field; expected max_runs"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told_by_its_parameter(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidInput, match=f"^{message}"):
            schedules.create(**{"name": "s", **NIGHTLY, **change})
        assert schedules.list() == []

    @pytest.mark.parametrize(
        ("message", "told"),
        [
            (None, "message: "),
            ("t", "message: this is no JSON object"),
            ({}, "message.topic: "),
            ({"topic": "t", "payload": 1}, "message.payload: this is no JSON object"),
            ({"topic": "t", "priority": 1_001}, "message.priority: "),
            ({"topic": "t", "priority": "urgent"}, "message.priority: this is no priority; expected low, normal,"),
            ({"topic": "t", "maxRetries": 101}, "message.maxRetries: .* 0 to 100"),
            ({"topic": "t", "max_retries": 1}, "message.max_retries: there is no such field; expected maxRetries"),
        ],
        ids=str,
    )
    def test_so_is_what_is_wrong_with_a_message(self, message: Any, told: str) -> None:
        with pytest.raises(InvalidInput, match=f"^{told}"):
            schedules.create("s", every_s=60, message=message)

    def test_it_makes_one_thing(self) -> None:
        with pytest.raises(InvalidInput, match="task: a schedule makes one thing; expected either a task or a message"):
            schedules.create("s", every_s=60)

    def test_what_is_too_large(self) -> None:
        with pytest.raises(TooLarge, match="message: a schedule cannot hold so much"):
            schedules.create("s", every_s=60, message={"topic": "t", "payload": {"text": "x" * 300_000}})


class TestUpdate:
    def test_what_is_not_named_stays(self) -> None:
        before = schedules.create("s", **NIGHTLY, max_runs=5, end_at=NOW + timedelta(days=30))
        after = schedules.update("s", jitter_s=2, end_at=None)
        assert (after.jitter_s, after.end_at, after.cron, after.tz, after.task, after.max_runs) == (
            2.0,
            None,
            before.cron,
            before.tz,
            before.task,
            5,
        )

    def test_another_time_takes_the_place_of_the_one_it_had(self) -> None:
        found = schedules.create("s", **NIGHTLY)
        changed = schedules.update(found, every_s=3_600)
        assert (changed.cron, changed.every_s, changed.next_run_at) == (None, 3_600.0, NOW + timedelta(hours=1))
        changed = schedules.update(found, message={"topic": "t"})
        assert (changed.task, changed.message) == (None, {"topic": "t", "payload": {}, "priority": 0})

    def test_a_pause_may_be_ended_by_it(self, bench: Bench) -> None:
        schedules.create("s", every_s=60, task=WORK, paused=True)
        bench.clock.move(600_000)
        assert schedules.update("s", paused=False).next_run_at == NOW + 13 * MINUTE
        assert [(run.at, run.skipped) for run in schedules.history("s")] == [
            (NOW + 12 * MINUTE, None),
            (NOW + 11 * MINUTE, None),
            (NOW + MINUTE, "paused"),
        ]

    def test_what_is_wrong_changes_nothing(self) -> None:
        found = schedules.create("s", every_s=60, task=WORK)
        for wrong, message in (
            ({"missed_max": 0}, "missed_max: "),
            ({"cron": "x"}, "cron: "),
            ({"every_s": 5, "at": NOW + MINUTE}, "at: a schedule has one time"),
            ({"task": {"type": "nobody.runs.it"}}, "task.type: "),
            ({"end_at": NOW}, "end_at: this schedule never fires"),
            ({"nam": "x"}, "nam: there is no such field"),
        ):
            with pytest.raises(InvalidInput, match=f"^{message}"):
                schedules.update("s", **wrong)  # type: ignore[misc]
        assert schedules.get("s") == found


class TestRuns:
    def test_pause_and_resume(self) -> None:
        found = schedules.create("s", every_s=60, task=WORK)
        paused = schedules.pause(found)
        assert (paused.paused, paused.next_run_at, paused.runs) == (True, None, 0)
        assert schedules.preview(paused, 2) == [NOW + MINUTE, NOW + 2 * MINUTE]
        assert schedules.resume("s") == found

    def test_a_history(self, bench: Bench) -> None:
        schedules.create("s", at=NOW + MINUTE, message={"topic": "read", "payload": {"at": "{{slot}}"}})
        bench.clock.move(60_000)
        requested = schedules.run_now("s")
        bench.clock.move(60_000)
        by_hand, slot = schedules.history("s")
        assert by_hand == Run(
            at=NOW + MINUTE,
            until=None,
            count=None,
            by_request=True,
            job_id=requested,
            status="pending",  # type: ignore[arg-type]
            skipped=None,
        )
        assert (slot.at, slot.by_request, slot.status) == (NOW + MINUTE, False, "pending")
        assert slot.job_id is not None
        made = messages.get(slot.job_id)
        assert (made.schedule, made.slot_time) == ("s", NOW + MINUTE)
        assert made.payload == {"at": "2025-06-15T15:07:40.000Z"}
        assert messages.get(messages.publish("read", {})).schedule is None
        assert schedules.history("s", 1) == [by_hand]
        assert schedules.history("s", before=NOW + MINUTE) == []
        assert schedules.history("s", before=NOW + 2 * MINUTE) == [by_hand, slot]

    def test_delete(self) -> None:
        found = schedules.create("s", every_s=60, task=WORK)
        made = [run.job_id for run in schedules.history(found)]
        schedules.delete(found)
        assert [tasks.detail(each).status for each in made if each] == ["canceled", "canceled"]
        acts = (schedules.get, schedules.pause, schedules.resume, schedules.run_now, schedules.delete)
        for act in (*acts, schedules.preview, schedules.history, schedules.update):
            with pytest.raises(NotFound, match="there is no schedule s"):
                act("s")

    def test_a_list_by_name(self) -> None:
        for name in ("b", "a", "c"):
            schedules.create(name, **NIGHTLY)
        assert [each.name for each in schedules.list()] == ["a", "b", "c"]
        assert [each.name for each in schedules.list(after="a", most=1)] == ["b"]

    @pytest.mark.parametrize(
        "ask",
        [
            lambda: schedules.list(most=0),
            lambda: schedules.list(after=7),  # type: ignore[arg-type]
            lambda: schedules.preview("s", 1_001),
            lambda: schedules.history("s", 0),
            lambda: schedules.history("s", before="x"),  # type: ignore[arg-type]
            lambda: schedules.get(7),  # type: ignore[arg-type]
        ],
    )
    def test_what_cannot_be_asked(self, ask: Any) -> None:
        with pytest.raises(InvalidInput):
            ask()

    def test_what_the_code_declares_is_changed_there(self, bench: Bench) -> None:
        keep_declared(bench.yard, lambda: True)
        found = schedules.get("declared")
        assert (found.source, found.task) == (
            "code",
            {"type": "declared.in.code", "scriptName": "index", "input": None, "priority": 10},
        )
        acts: list[Any] = [
            lambda: schedules.delete(found),
            lambda: schedules.update(found, jitter_s=1),
            lambda: schedules.create("declared", **NIGHTLY, or_replace=True),
        ]
        for act in acts:
            with pytest.raises(Conflict, match=r"declared in the code; .*@schedule"):
                act()
        assert schedules.pause(found).paused
        assert not schedules.resume(found).paused
        assert schedules.run_now(found) > 0

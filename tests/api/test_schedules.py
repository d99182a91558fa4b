"""Schedules over HTTP: every route, every field, every refusal, and secrets that are shown nowhere."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, cast
from unittest.mock import ANY

import pytest

from chalicelib.api.schedules.definitions import ScheduledTask
from chalicelib.api.schedules.routes import router
from chalicelib.core.access import any_of
from chalicelib.engine.clock.schedules import keep_declared
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.handlers.schedules import schedule
from chalicelib.engine.worker.concurrency import admitted
from tests.support.service import Reply, Service
from tests.support.tasks import POOL, detail, problem

MINUTE_MS = 60_000
SECRET = "s3cr3t-of-the-schedule"  # noqa: S105
TASK = {"type": "scripted", "input": 1}
NEVER = "a time to come, between its start and its end"
numbers = itertools.count()


@schedule("0 3 * * *", name="declared")
@task("declared.in.code")
def declared(_: Any) -> None: ...


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"schedule-{next(numbers)}"


def post(api: Service, verb: str, **body: Any) -> Reply:
    return api.post(f"/api/schedule/{verb}", body)


def get(api: Service, what: str, **query: Any) -> Reply:
    return api.get(f"/api/schedule/{what}", query)


def made(api: Service, name: str, **fields: Any) -> dict[str, Any]:
    """A schedule of a task a minute, if nothing else is said; created."""
    reply = post(api, "create", **{"name": name, "everyS": 60, "task": TASK, **fields})
    assert reply.status == 200, reply.text
    return dict(reply.json)


def history(api: Service, name: str, **query: Any) -> Any:
    reply = get(api, "history", name=name, **query)
    assert reply.status == 200, reply.text
    return reply.json


class TestRoutes:
    def test_create_shows_what_was_created_and_its_next_slots(self, api: Service, name: str) -> None:
        found = made(api, name)
        assert found == {
            "name": name,
            "cron": None,
            "everyS": 60.0,
            "at": None,
            "timezone": "UTC",
            "startAt": None,
            "endAt": None,
            "task": TASK,
            "message": None,
            "missed": "last",
            "missedMax": 100,
            "overlap": "allow",
            "jitterS": 0.0,
            "maxRuns": None,
            "paused": False,
            "runs": 2,  # handed over with their exact delay
            "nextRunAt": api.now(3 * MINUTE_MS),
            "source": "api",
            "createdAt": api.now(),
            "updatedAt": api.now(),
            "version": found["version"],
            "upcoming": [api.now(number * MINUTE_MS) for number in range(1, 6)],
        }
        assert get(api, "detail", name=name).json == found

    def test_every_field_that_can_be_given(self, api: Service, name: str) -> None:
        asked = {
            "cron": "30 2 * * *",
            "timezone": "Europe/Berlin",
            "startAt": "2025-10-25T12:00:00Z",
            "endAt": "2025-10-28T00:00:00+01:00",
            "message": {"topic": "книга", "payload": {"at": "{{slot}}", "n": None}, "priority": 5, "maxRetries": 0}
            | {"meta": {"m": 1}},
            "missed": "all",
            "missedMax": 7,
            "overlap": "queue",
            "jitterS": 1.5,
            "maxRuns": 3,
            "paused": True,
        }
        reply = post(api, "create", name=name, **asked)
        assert reply.status == 200, reply.text
        times = {"startAt": "2025-10-25T12:00:00.000Z", "endAt": "2025-10-27T23:00:00.000Z"}
        assert {field: reply.json[field] for field in asked} == {**asked, **times}
        assert (reply.json["nextRunAt"], reply.json["upcoming"], reply.json["task"]) == (None, [], None)
        preview = get(api, "preview", name=name).json
        assert preview == {  # at 2:30 of that night once, the first time
            "timezone": "Europe/Berlin",
            "slots": ["2025-10-26T00:30:00.000Z", "2025-10-27T01:30:00.000Z"],
        }

    def test_priorities_by_name(self, api: Service, name: str) -> None:
        made_task = post(api, "save", name=name, everyS=60, task={**TASK, "priority": "medium"}).json
        made_message = post(
            api, "save", name=name, everyS=60, message={"topic": "t", "payload": {}, "priority": "low"}
        ).json
        assert (made_task["task"]["priority"], made_message["message"]["priority"]) == (5, -10)

    def test_save_creates_and_replaces_as_a_whole(self, api: Service, name: str) -> None:
        first = post(api, "save", name=name, everyS=3_600, task=TASK, jitterS=5, overlap="skip").json
        assert (first["overlap"], first["jitterS"]) == ("skip", 5.0)
        second = post(api, "save", name=name, at=api.now(10 * MINUTE_MS), message={"topic": "t", "payload": {}})
        assert second.json == {
            **first,
            "everyS": None,
            "at": api.now(10 * MINUTE_MS),
            "task": None,
            "message": {"topic": "t", "payload": {}, "priority": 0},
            "jitterS": 0.0,
            "overlap": "allow",
            "nextRunAt": api.now(10 * MINUTE_MS),
            "upcoming": [api.now(10 * MINUTE_MS)],
            "version": second.json["version"],
        }

    def test_save_takes_the_place_of_what_was_seen_alone_if_asked(self, api: Service, name: str) -> None:
        def saved(every_s: int, seen: str) -> Reply:
            return post(api, "save", name=name, everyS=every_s, task=TASK, ifVersion=seen)

        first = saved(3_600, "none").json["version"]
        other = saved(4_000, first).json["version"]
        assert saved(4_000, first).json["version"] == other  # it is so already
        late = saved(5_000, first)
        assert (late.status, late.json["message"]) == (
            409,
            "this was changed meanwhile; expected what was set when it was looked at, got what somebody has set since, "
            f"version {other}",
        )
        assert late.json["remedy"] == "look at what is set now, and change that"
        assert get(api, "detail", name=name).json["everyS"] == 4_000.0
        (listed,) = [each for each in get(api, "list", perPage=100).json["pageData"] if each["name"] == name]
        assert listed["version"] == other != first
        assert saved(5_000, "none").status == 409
        post(api, "delete", name=name)
        assert saved(5_000, other).status == 409
        assert post(api, "create", name=name, everyS=5_000, task=TASK, ifVersion="none").status == 422

    def test_pause_and_resume(self, api: Service, name: str) -> None:
        before = made(api, name)
        paused = post(api, "pause", name=name).json
        changed = {"paused": True, "runs": 0, "nextRunAt": None, "upcoming": [], "version": paused["version"]}
        assert paused == {**before, **changed}
        assert post(api, "pause", name=name).json == paused
        preview = [api.now(number * MINUTE_MS) for number in (1, 2)]
        assert get(api, "preview", name=name, count=2).json == {"timezone": "UTC", "slots": preview}
        assert post(api, "resume", name=name).json == before
        assert post(api, "resume", name=name).json == before

    def test_run_makes_a_task_that_says_who_made_it(self, api: Service, name: str) -> None:
        made(api, name, paused=True)
        reply = post(api, "run", name=name)
        assert reply.json == {"id": ANY, "kind": "task"}
        api.work(POOL)
        found = detail(api, reply.json["id"])
        assert {field: found[field] for field in ("status", "schedule", "slotTime", "targetType", "targetId")} == {
            "status": "success",
            "schedule": name,
            "slotTime": None,
            "targetType": "schedule",
            "targetId": name,
        }
        assert history(api, name)["pageData"] == [
            {
                "at": api.now(),
                "until": None,
                "count": None,
                "byRequest": True,
                "id": reply.json["id"],
                "kind": "task",
                "status": "success",
                "skipped": None,
            }
        ]

    def test_a_message_says_who_made_it(self, api: Service, name: str, topic: str) -> None:
        made(api, name, task=None, message={"topic": topic, "payload": {"of": "{{schedule}}", "at": "{{slot}}"}})
        (second, first) = history(api, name)["pageData"]
        assert (first["kind"], second["at"]) == ("message", api.now(2 * MINUTE_MS))
        api.clock.move(MINUTE_MS)
        (message,) = api.get("/mq/message/poll", {"topic": topic}).json
        assert {field: message[field] for field in ("id", "schedule", "slotTime", "payload")} == {
            "id": first["id"],
            "schedule": name,
            "slotTime": api.now(),
            "payload": {"of": name, "at": api.now()},
        }

    def test_delete(self, api: Service, name: str) -> None:
        made(api, name)
        made_tasks = [run["id"] for run in history(api, name)["pageData"]]
        assert post(api, "delete", name=name).json == {"name": name}
        assert get(api, "detail", name=name).status == 404
        assert {detail(api, each)["status"] for each in made_tasks} == {"canceled"}
        assert made(api, name)["runs"] == 2

    def test_times_can_be_looked_at_before(self, api: Service) -> None:
        body = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "startAt": "2026-03-28T00:00:00Z", "count": 2}
        assert post(api, "preview", **body).json == {  # that night the clocks go from 2:00 to 3:00
            "timezone": "Europe/Berlin",
            "slots": ["2026-03-28T01:30:00.000Z", "2026-03-29T01:00:00.000Z"],
        }
        assert post(api, "preview", at="9998-12-31T23:59:59.999Z").json["slots"] == ["9998-12-31T23:59:59.999Z"]
        assert post(api, "preview", at="1999-12-31T23:59:59Z").json["slots"] == []
        rare = post(api, "preview", cron="0 0 * 2 5#5", count=100).json["slots"]  # within a century of the first
        assert [slot[:10] for slot in rare] == [f"{year}-02-29" for year in (2036, 2064, 2092, 2104, 2132)]
        hashed = [post(api, "preview", cron="H H * * *", name=each, count=1).json for each in ("a", "a", "b")]
        assert hashed[0] == hashed[1] != hashed[2]

    @pytest.mark.parametrize(
        ("zone", "written", "at"),
        [
            ("Asia/Shanghai", "2027-06-01T09:00:00", "2027-06-01T01:00:00.000Z"),
            ("Asia/Shanghai", "2027-06-01T09:00:00Z", "2027-06-01T09:00:00.000Z"),
            ("UTC", "2027-06-01T09:00:00", "2027-06-01T09:00:00.000Z"),
            ("Europe/Berlin", "2027-03-28T02:30:00", "2027-03-28T01:00:00.000Z"),  # skipped: when the gap ends
            ("Europe/Berlin", "2027-10-31T02:30:00", "2027-10-31T00:30:00.000Z"),  # comes twice: the first
            ("America/New_York", "2027-06-01", "2027-06-01T04:00:00.000Z"),
        ],
    )
    def test_a_time_without_an_offset_is_the_zones(self, api: Service, zone: str, written: str, at: str) -> None:
        assert post(api, "preview", at=written, timezone=zone).json["slots"] == [at]
        every = {"everyS": 60, "timezone": zone, "startAt": written, "endAt": written}
        assert post(api, "preview", **every).json["slots"] == [at]

    def test_the_history_says_why_there_is_no_job(self, api: Service, name: str) -> None:
        made(api, name, task={"type": "scarce"}, maxRuns=1)
        by_request = post(api, "run", name=name).json["id"]  # before the slot is due there is room for it
        api.clock.move(MINUTE_MS)
        (slot,) = [run for run in history(api, name)["pageData"] if not run["byRequest"]]
        assert admitted(api.yard, api.job(slot["id"])) is None  # what the worker asks first
        assert [(run["id"], run["status"], run["skipped"]) for run in history(api, name)["pageData"]] == [
            (slot["id"], "canceled", "pool_full"),
            (by_request, "pending", None),
        ]
        refused = post(api, "run", name=name)
        assert (refused.status, refused.json["statusCode"], refused.headers["retry-after"]) == (429, 429, "1")
        api.post("/api/task/cancel", {"id": by_request})
        post(api, "delete", name=name)

    def test_and_what_was_missed_by_a_clock_that_did_not_come(self, api: Service, name: str) -> None:
        made(api, name, missed="skip")
        at = api.now(3 * MINUTE_MS), api.now(8 * MINUTE_MS)
        api.clock.move(10 * MINUTE_MS + 1)
        api.tick()
        (found,) = [run for run in history(api, name)["pageData"] if run["skipped"]]
        assert found == {
            "at": at[0],
            "until": at[1],
            "count": 6,
            "byRequest": False,
            "id": None,
            "kind": "task",
            "status": None,
            "skipped": "missed",
        }
        post(api, "delete", name=name)


class TestLists:
    def test_by_name_with_a_cursor_that_ends(self, api: Service) -> None:
        names = [f"paged/{letter}" for letter in "abcd"]
        for each in reversed(names):
            made(api, each, paused=True)
        first = get(api, "list", perPage=2, cursor="paged/").json
        assert ([each["name"] for each in first["pageData"]], first["nextCursor"]) == (names[:2], "paged/b")
        assert "upcoming" not in first["pageData"][0]
        rest = get(api, "list", perPage=2, cursor=first["nextCursor"]).json["pageData"]
        assert [each["name"] for each in rest] == names[2:]
        seen = list(itertools.chain.from_iterable(page["pageData"] for page in pages(api, "list")))
        assert sorted(each["name"] for each in seen) == [each["name"] for each in seen]
        assert set(names) <= {each["name"] for each in seen}

    def test_a_page_ends_where_one_answer_could_hold_no_more(self, api: Service) -> None:
        names = [f"vast/{number:02d}" for number in range(10)]
        for each in names:
            made(api, each, paused=True, task={"type": "scripted", "input": '"' * 120_000})  # each quoted twice
        first = get(api, "list", perPage=100, cursor="vast").json
        assert [each["name"] for each in first["pageData"]] == names[:8]
        assert first["nextCursor"] == names[7]
        second = get(api, "list", perPage=2, cursor=names[7]).json
        assert [each["name"] for each in second["pageData"]] == names[8:]
        for each in names:
            post(api, "delete", name=each)

    def test_a_history_with_a_cursor_that_ends(self, api: Service, name: str) -> None:
        made(api, name, everyS=30)
        found = list(pages(api, "history", name=name))
        assert [len(page["pageData"]) for page in found] == [3, 1]
        assert [run["at"] for page in found for run in page["pageData"]] == [api.now(n * 30_000) for n in (4, 3, 2, 1)]
        for wrong in ("x", f"{'9' * 13}#", "9" * 14):
            assert problem(get(api, "history", name=name, cursor=wrong))[:2] == (400, "cursor")


def pages(api: Service, what: str, **query: Any) -> Any:
    """The pages of a list, three entries each."""
    cursor: dict[str, str] = {}
    while True:
        page = get(api, what, perPage=3, **query, **cursor).json
        yield page
        if page["nextCursor"] is None:
            return
        cursor = {"cursor": page["nextCursor"]}


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"name": None}, ("name", "a valid string", "null")),
            ({"name": ""}, ("name", "text of at least 1 character", "an empty text")),
            ({"name": "n" * 129}, ("name", "text of at most 128 characters", ANY)),
            ({"name": "a\nb"}, ("name", "a name without control characters, not all blank", "a\nb")),
            ({"name": "a\ud800"}, ("name", "text that UTF-8 can hold", ANY)),
            ({"everyS": None}, ("cron", "either cron, or an interval, or one time (at)", "nothing")),
            ({"cron": "@daily"}, ("everyS", "either cron, or an interval, or one time (at)", "60")),
            ({"everyS": 0.5}, ("everyS", "greater than or equal to 1", "0.5")),
            ({"everyS": 31_622_401}, ("everyS", "less than or equal to 31622400", ANY)),
            ({"everyS": True}, ("everyS", ANY, "true")),
            ({"everyS": "soon"}, ("everyS", "a number, 1 to 31622400", "soon")),
            ({"everyS": None, "cron": "0 25 * * *"}, ("cron", "0 to 23", "25")),
            ({"everyS": None, "cron": "* * * * * * *"}, ("cron", ANY, "* * * * * * *")),
            ({"everyS": None, "cron": "0 0 30 2 *"}, ("cron", "a day that the month has", "0 0 30 2 *")),
            ({"everyS": None, "cron": "* " * 51}, ("cron", "text of at most 100 characters", ANY)),
            ({"everyS": None, "cron": "@reboot"}, ("cron", ANY, "@reboot")),
            ({"everyS": None, "at": "tomorrow"}, ("at", ANY, "tomorrow")),
            ({"everyS": None, "at": "9999-01-01T00:00:00Z"}, ("at", "a time between the years 1970 and 9998", ANY)),
            ({"everyS": None, "at": "0001-01-01T00:00:00+14:00"}, ("at", ANY, ANY)),
            ({"everyS": None, "at": "2025-06-15T15:06:40Z"}, ("at", NEVER, "2025-06-15T15:06:40.000Z")),
            ({"timezone": "Europe/Berln"}, ("timezone", ANY, "Europe/Berln")),
            ({"timezone": "x" * 65}, ("timezone", "text of at most 64 characters", ANY)),
            (
                {"startAt": "2026-01-02", "endAt": "2026-01-01"},
                ("endAt", "the start or later", "2026-01-01T00:00:00.000Z"),
            ),
            ({"endAt": "2025-06-15T15:07:00Z"}, ("endAt", NEVER, "2025-06-15T15:07:00.000Z")),
            ({"missed": "later"}, ("missed", "'skip', 'last' or 'all'", "later")),
            ({"missedMax": 0}, ("missedMax", "greater than or equal to 1", "0")),
            ({"missedMax": 1_001}, ("missedMax", "less than or equal to 1000", "1001")),
            ({"overlap": "maybe"}, ("overlap", "'allow', 'skip' or 'queue'", "maybe")),
            ({"jitterS": -1}, ("jitterS", "greater than or equal to 0", "-1")),
            ({"jitterS": 3_601}, ("jitterS", "less than or equal to 3600", "3601")),
            ({"jitterS": True}, ("jitterS", ANY, "true")),
            ({"maxRuns": 0}, ("maxRuns", "greater than or equal to 1", "0")),
            ({"maxRuns": 10**30}, ("maxRuns", ANY, ANY)),
            ({"paused": "perhaps"}, ("paused", ANY, "perhaps")),
            ({"everyS": None, "at": "1780304400"}, ("at", ANY, "1780304400")),
            ({"everyS": None, "at": 1780304400}, ("at", ANY, "1780304400")),
            ({"everyS": None, "cron": "0 9 * * FRY"}, ("cron", ANY, "FRY")),
            ({"everyS": None, "cron": "0 9 * * Mon-MON"}, ("cron", ANY, "Mon-MON")),
            ({"task": None}, ("body", "either task or message, and not both", "none of them")),
            (
                {"message": {"topic": "t", "payload": {}}},
                ("body", "either task or message, and not both", "task and message"),
            ),
            ({"task": {"type": "nobody.runs.it"}}, ("task.type", ANY, "nobody.runs.it")),
            ({"task": {"type": "scripted", "scriptName": "x"}}, ("task.scriptName", "index", "x")),
            ({"task": {"type": "scripted", "delay": 5}}, ("task.delay", "no delay", "5.0")),
            ({"task": {"type": "scripted", "prio": 5}}, ("task.prio", "priority", "prio")),
            ({"task": {"type": "text.statistics", "input": {"text": 7}}}, ("task.input.text", ANY, ANY)),
            ({"task": {**TASK, "next": {"type": "nobody.runs.it"}}}, ("task.next.type", ANY, "nobody.runs.it")),
            ({"task": {**TASK, "context": {"secret": 7}}}, ("task.context.secret", ANY, "[redacted]")),
            ({"task": None, "message": {"payload": {}}}, ("message.topic", "a value", "nothing")),
            ({"task": None, "message": {"topic": "t", "payload": 1}}, ("message.payload", "an object", "1")),
            ({"task": None, "message": {"topic": "t", "payload": {}, "meta": 1}}, ("message.meta", "an object", "1")),
            ({"tz": "UTC"}, ("tz", ANY, "tz")),
            ({"every": 5}, ("every", "everyS", "every")),
            ({"time_zone": "UTC"}, ("time_zone", "timezone", "time_zone")),
            ({"max_runs": 5}, ("max_runs", "maxRuns", "max_runs")),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, api: Service, name: str, change: dict[str, Any], expected: Any) -> None:
        body = {"name": name, "everyS": 60, "task": TASK, **change}
        for verb in ("create", "save"):
            assert problem(post(api, verb, **body)) == (422, *expected)
        assert get(api, "detail", name=name).status == 404

    @pytest.mark.parametrize(
        ("what", "query"),
        [
            ("preview", {"count": 101}),
            ("preview", {"count": 0}),
            ("history", {"perPage": 101}),
            ("list", {"perPage": 0}),
        ],
    )
    def test_and_what_is_wrong_with_a_question(self, api: Service, what: str, query: dict[str, Any]) -> None:
        name = {} if what == "list" else {"name": "x"}
        assert problem(get(api, what, **name, **query))[:2] == (422, next(iter(query)))

    def test_a_remedy(self, api: Service, name: str) -> None:
        reply = post(api, "create", name=name, cron="R 3 * * *", task=TASK)
        assert reply.json["remedy"] == "H is drawn from the schedule's name instead, and stays"
        near = post(api, "create", name=name, cron="0 3 * * *", timezone="Europe/Berln", task=TASK)
        assert near.json["details"][0]["expected"].startswith("a name of the IANA database, such as Europe/Berlin")

    @pytest.mark.parametrize("verb", ["pause", "resume", "run", "delete"])
    def test_there_is_none_of_this_name(self, api: Service, verb: str) -> None:
        reply = post(api, verb, name="nobody's")
        assert (reply.status, reply.json["message"]) == (404, "there is no schedule nobody's")

    @pytest.mark.parametrize("what", ["detail", "preview", "history"])
    def test_nor_to_be_looked_at(self, api: Service, what: str) -> None:
        assert get(api, what, name="nobody's").status == 404

    def test_a_name_is_taken_once(self, api: Service, name: str) -> None:
        made(api, name)
        again = post(api, "create", name=name, everyS=5, task=TASK)
        assert problem(again) == (409, "name", "a name of its own", name)
        assert get(api, "detail", name=name).json["everyS"] == 60

    def test_what_is_too_large_to_be_kept(self, api: Service, name: str) -> None:
        reply = post(api, "create", name=name, everyS=60, task={"type": "scripted", "input": "x" * 300_000})
        assert problem(reply)[:3] == (413, "task", "at most 262144 bytes of JSON")

    def test_what_the_code_declares_is_changed_there(self, api: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        deployed = Registry.of([declared])
        monkeypatch.setitem(
            cast(dict[str, Any], api.yard.handlers.schedules), "declared", deployed.schedules["declared"]
        )
        keep_declared(replace(api.yard, handlers=deployed), lambda: True)
        found = get(api, "detail", name="declared").json
        assert (found["source"], found["cron"], found["task"]["type"]) == ("code", "0 3 * * *", "declared.in.code")
        for reply in (
            post(api, "save", name="declared", everyS=5, task=TASK),
            post(api, "delete", name="declared"),
        ):
            assert (reply.status, reply.json["message"]) == (409, "this schedule is declared in the code")
            assert "@schedule" in reply.json["remedy"]
        assert post(api, "pause", name="declared").json["paused"] is True
        assert post(api, "resume", name="declared").json["paused"] is False


class TestOddInput:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"null",
            b"{",
            b"\xff",
            b'{"name":"x","everyS":NaN}',
            b'{"name":"x","everyS":1e999}',
            b'{"name":"x","everyS":60,"task":{"type":"scripted","input":Infinity}}',
            b'{"name":"x","name":"y"}',
            b'{"name":"x","everyS":60,"task":' + b'{"next":' * 150 + b"1" + b"}" * 151,
            b'{"name":"x","at":1e300,"task":{"type":"scripted"}}',
            b'{"name":"x","at":-99999999999999999999,"task":{"type":"scripted"}}',
            b'{"name":"x","everyS":60,"startAt":99999999999999999999999,"task":{"type":"scripted"}}',
            b'{"name":"x","cron":"\\ud800 * * * *","task":{"type":"scripted"}}',
            b'{"name":"x","cron":"* * * * *","timezone":"\\ud800","task":{"type":"scripted"}}',
            b'{"name":"x","cron":"\\u0663 * * * *","task":{"type":"scripted"}}',
            b'{"name":"x","cron":"0 0 * * *","timezone":"../../etc/passwd","task":{"type":"scripted"}}',
            b'{"name":"x","everyS":60,"task":{"type":"scripted","context":{"a":' + b"9" * 5_000 + b"}}}",
        ],
    )
    @pytest.mark.parametrize("verb", ["create", "save", "preview", "pause", "resume", "run", "delete"])
    def test_is_refused(self, api: Service, verb: str, body: bytes) -> None:
        reply = api.post(f"/api/schedule/{verb}", body)
        assert 400 <= reply.status < 500, reply.text
        assert reply.json["message"]

    @pytest.mark.parametrize("what", ["detail", "preview", "history", "list"])
    def test_nor_do_odd_questions_break_it(self, api: Service, what: str) -> None:
        odd = (
            {"name": ["a", "b"]},
            {"name": "x", "count": "9" * 5_000},
            {"name": "x", "perPage": "1e9"},
            {"cursor": "\x00"},
        )
        for query in odd:
            assert 400 <= get(api, what, **query).status < 500
        assert 400 <= api.get(f"/api/schedule/{what}?name=%ed%a0%80&cursor=%ed%a0%80").status < 500

    def test_a_lone_surrogate_in_an_input_comes_back_as_it_was(self, api: Service, name: str) -> None:
        body = f'{{"name":"{name}","everyS":60,"task":{{"type":"scripted","input":{{"a\\ud800":"\\udfff"}}}}}}'
        reply = api.post("/api/schedule/create", body.encode())
        assert (reply.status, reply.json["task"]["input"]) == (200, {"a\ud800": "\udfff"})

    def test_a_time_without_a_zone_is_utc(self, api: Service) -> None:
        assert post(api, "preview", at="2030-01-01T00:00:00").json["slots"] == ["2030-01-01T00:00:00.000Z"]

    @pytest.mark.parametrize("odd", ["a/b c", "#", "книга", "x" * 128, "😀" * 128, "{{slot}}", "%2F"])
    def test_a_name_may_be_any_line(self, api: Service, odd: str) -> None:
        assert made(api, odd, paused=True)["name"] == odd
        assert get(api, "detail", name=odd).json["name"] == odd
        assert get(api, "history", name=odd).json == {"pageData": [], "nextCursor": None}
        assert post(api, "resume", name=odd).json["runs"] == 2
        assert post(api, "delete", name=odd).json == {"name": odd}


def test_secrets_are_shown_nowhere(api: Service, name: str) -> None:
    secret = {"secret": SECRET, "tenant": "a"}
    asked = {"type": "scripted", "context": secret, "next": {"type": "flow.reported", "context": secret}}
    found = made(api, name, task=asked)
    shown = {**asked, "context": {"tenant": "a"}, "next": {"type": "flow.reported", "context": {"tenant": "a"}}}
    assert found["task"] == shown
    run = post(api, "run", name=name).json["id"]
    for reply in (
        post(api, "pause", name=name),
        post(api, "resume", name=name),
        post(api, "save", name=name, everyS=70, task=asked),
        get(api, "detail", name=name),
        get(api, "list", perPage=100),
        get(api, "history", name=name),
        api.get("/api/task/detail", {"id": run}),
    ):
        assert reply.status == 200
        assert SECRET not in reply.text
    assert api.yard.payloads.body(api.job(run))["context"] == secret  # kept all the same


def test_a_key_needs_the_scope_for_all_of_it() -> None:
    assert {"schedule" in any_of(route.scope or ()) for route in router.routes} == {True}


def test_the_schema_of_its_task_offers_no_delay() -> None:
    schema = ScheduledTask.model_json_schema(by_alias=True)
    assert "delay" not in schema["properties"]
    assert "delay" in schema["$defs"]["FollowUp"]["properties"]  # of what follows it

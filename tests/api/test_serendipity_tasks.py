"""Serendipity-Job's tasks, by its document: created, shown, canceled, sent again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.core.applications import DELIVERY
from chalicelib.core.retry import Linear
from tests.support.dialect_handlers import serendipity_jobs
from tests.support.dialect_handlers.serendipity_jobs import SIMPLE_JOB
from tests.support.serendipity import TASK, application, work_off
from tests.support.service import Service
from tests.support.tasks import detail

PARAMS = {"startDate": "2021-07-27 17:50:50", "endDate": "2021-07-27 17:50:50"}
CONTENT = {"class": SIMPLE_JOB, "_params": PARAMS}
DOCUMENTED = {"content": CONTENT, "timeout": 60_000, "name": "name", "runtime": "2021-07-27 17:30:30"}
UNKNOWN = {"code": 1, "msg": "Unknown!", "data": []}


class TestCreate:
    def test_the_documented_task(self, api: Service) -> None:
        app = application(api, step=10)
        job = api.job(str(app.create("taskNo82", **DOCUMENTED)))
        assert (job.type, job.application, job.target_id, job.timeout_ms) == (SIMPLE_JOB, app.key, "taskNo82", 60_000)
        assert (job.max_attempts, job.backoff, job.due_at_ms) == (6, Linear(10_000, 3_600_000), api.clock.ms)
        assert api.yard.payloads.body(job)["input"] == PARAMS

    def test_it_is_a_task_like_any_other(self, api: Service) -> None:
        app = application(api)
        task_id = app.create("order-1")
        task = detail(api, str(task_id))
        assert (task["type"], task["input"], task["options"]) == (
            DELIVERY,
            {"amount": 5},
            {"taskNo": "order-1", "name": "name"},
        )
        assert (task["targetId"], task["targetType"], task["maxRetries"]) == ("order-1", "application", 5)
        listed = api.get("/api/task/list", {"filter[targetId]": "order-1"}).json["pageData"]
        assert [each["id"] for each in listed] == [str(task_id)]

    @pytest.mark.parametrize("content", [{"a": 1}, '{"a": 1}'])
    def test_a_content_is_json_or_its_text(self, api: Service, content: Any) -> None:
        job = api.job(str(application(api).create("1", content=content)))
        assert (job.type, api.yard.payloads.body(job)["input"]) == (DELIVERY, {"a": 1})

    @pytest.mark.parametrize("named", [SIMPLE_JOB, SIMPLE_JOB[1:], "\\" + SIMPLE_JOB])
    def test_a_class_that_a_handler_is_declared_under(self, api: Service, named: str) -> None:
        job = api.job(str(application(api).create("1", content={"class": named, "_params": 1})))
        assert (job.type, api.yard.payloads.body(job)["input"]) == (SIMPLE_JOB, 1)

    @pytest.mark.parametrize("named", ["\\SimpleJob", "scripted", "\\scripted", "", 7, None])
    def test_no_other_handler_is_reached(self, api: Service, named: Any) -> None:
        """What has a name of its own here is for who has an access key."""
        content = {"class": named, "_params": 1}
        job = api.job(str(application(api).create("1", content=content)))
        assert (job.type, api.yard.payloads.body(job)["input"]) == (DELIVERY, content)

    @pytest.mark.parametrize(
        ("runtime", "zone", "offset_ms"),
        [
            ("2025-06-15 16:06:40", "UTC", 3_600_000),
            ("2025-06-16 00:06:40", "Asia/Shanghai", 3_600_000),
            (1_750_003_600, "Asia/Shanghai", 3_600_000),
            ("1750003600", "UTC", 3_600_000),
            ("2025-06-15T16:06:40Z", "Asia/Shanghai", 3_600_000),
            ("2025-06-15T18:06:40.500+02:00", "UTC", 3_600_500),
            ("2025-06-15 10:00:00", "UTC", 0),
            ("", "UTC", 0),
            (None, "UTC", 0),
        ],
    )
    def test_a_runtime(self, api: Service, runtime: Any, zone: str, offset_ms: int) -> None:
        api.clock.ms = 1_750_000_000_000
        job = api.job(str(application(api, timezone=zone).create("1", runtime=runtime)))
        assert job.due_at_ms == api.clock.ms + offset_ms

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"taskNo": None}, "taskNo"),
            ({"taskNo": ""}, "taskNo"),
            ({"taskNo": "n" * 257}, "taskNo"),
            ({"timeout": 0}, "timeout"),
            ({"timeout": True}, "timeout"),
            ({"timeout": 86_400_001}, "timeout"),
            ({"name": None}, "name"),
            ({"content": "no json"}, "content"),
            ({"content": "NaN"}, "content"),
            ({"content": "[" * 101 + "]" * 101}, "content"),
            ({"runtime": "tomorrow"}, "runtime"),
            ({"runtime": True}, "runtime"),
            ({"runtime": 1_750_003_600_000}, "runtime"),
            ({"runtime": "9999-12-31T23:59:59+00:00"}, "runtime"),
            ({"runtime": "0001-01-01 00:00:00"}, "runtime"),
        ],
    )
    def test_what_can_be_none(self, api: Service, wrong: dict[str, Any], field: str) -> None:
        reply = application(api).post("/task/create", {"taskNo": "1", **TASK, **wrong})
        assert (reply.status, reply.json["code"], reply.json["data"]) == (422, 422, [])
        assert field in reply.json["msg"]

    def test_one_without_content(self, api: Service) -> None:
        reply = application(api).post("/task/create", {"taskNo": "1", "timeout": 1, "name": "n"})
        assert (reply.status, reply.json["msg"]) == (422, "content in the body: expected a value, got nothing")

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"taskNo": "1", "taskNo": "2"}', b"\xff"])
    def test_no_object(self, api: Service, body: bytes) -> None:
        reply = application(api).post("/task/create", body)
        assert reply.status in (400, 422)
        assert (reply.json["code"], reply.json["data"]) == (reply.status, [])


class TestTaskNo:
    def test_it_is_taken_once(self, api: Service) -> None:
        app = application(api)
        first = app.create("one")
        again = app.post("/task/create", {"taskNo": "one", **TASK})
        assert (again.status, again.json) == (
            200,
            {"code": 1, "msg": f"Duplicate taskNo: task {first} has it", "data": {"taskId": first}},
        )

    def test_of_several_the_first_wins(self, api: Service) -> None:
        """At once: tests/e2e."""
        app = application(api)
        replies = [app.post("/task/create", {"taskNo": "race", **TASK}) for _ in range(3)]
        assert [reply.json["code"] for reply in replies] == [0, 1, 1]
        assert len({reply.json["data"]["taskId"] for reply in replies}) == 1

    def test_another_application_has_numbers_of_its_own(self, api: Service) -> None:
        assert application(api).create("mine") != application(api).create("mine")

    def test_a_number_is_free_once_its_task_is_deleted(self, api: Service) -> None:
        app = application(api)
        first = app.create(7, **DOCUMENTED)  # type: ignore[arg-type]  # a number is as good
        assert api.yard.directory.aliased(f"application\n{app.key}", "7") == first
        assert api.post("/api/task/delete", {"id": str(first), "force": True}).status == 200
        assert api.yard.directory.aliased(f"application\n{app.key}", "7") is None
        assert app.create("7") != first


class TestCancel:
    def test_the_documented_refusal(self, api: Service) -> None:
        reply = application(api).post("/task/cancel", {"coroutine_id": 6, "id": 18_000_000})
        assert (reply.status, reply.json) == (200, UNKNOWN)

    def test_before_it_runs(self, api: Service) -> None:
        app = application(api)
        task_id = app.create("c")
        reply = app.post("/task/cancel", {"coroutine_id": 6, "service_id": "s", "id": task_id})
        assert reply.json == {"code": 0, "msg": "ok!", "data": {"taskId": task_id, "caught": "waiting"}}
        assert (app.detail(task_id)["status"], app.detail(task_id)["state"]) == (3, "canceled")

    def test_while_it_runs(self, api: Service) -> None:
        app, replies = application(api), []
        work_off(api)  # what other tests have left
        task_id = app.create("c", **DOCUMENTED)
        serendipity_jobs.meanwhile.append(lambda _: replies.append(app.post("/task/cancel", {"id": str(task_id)}).json))
        work_off(api)
        assert replies == [{"code": 0, "msg": "ok!", "data": {"taskId": task_id, "caught": "running"}}]
        assert (app.detail(task_id)["status"], app.detail(task_id)["result"]) == (3, None)

    def test_too_late(self, api: Service) -> None:
        app = application(api)
        task_id = app.create("c", **DOCUMENTED)
        work_off(api)
        reply = app.post("/task/cancel", {"id": task_id})
        assert reply.json == {
            "code": 1,
            "msg": "Too late: the task is done",
            "data": {"taskId": task_id, "status": 2},
        }


class TestDetail:
    def test_of_a_task_that_waits(self, api: Service) -> None:
        app = application(api)
        assert app.detail(app.create("d", runtime=api.clock.ms // 1_000 + 60)) == {
            "state": "waiting",
            "trace_list": "[]",
            "executed_file_name": "",
            "executed_function_name": "",
            "executed_function_line": 0,
            "vars": [],
            "round": 0,
            "elapsed": 0,
            "status": 0,
            "taskId": api.yard.directory.aliased(f"application\n{app.key}", "d"),
            "taskNo": "d",
            "retries": 0,
            "runtime": api.now(60_000),
            "error": None,
            "result": None,
        }

    def test_of_a_task_that_runs_before_and_after_the_first_heartbeat(self, api: Service) -> None:
        app, seen = application(api), []
        work_off(api)  # what other tests have left

        def look(context: Any) -> None:
            api.clock.move(9_805)
            seen.append(app.detail(task_id))
            context.heartbeat()
            seen.append(app.detail(task_id))

        task_id = app.create("d", **DOCUMENTED)
        serendipity_jobs.meanwhile.append(look)
        work_off(api)
        first = serendipity_jobs.simple_job.__code__.co_firstlineno
        begins, at_work = seen
        assert (begins["state"], begins["status"], begins["round"], begins["elapsed"]) == ("running", 1, 1, 9_805)
        assert json.loads(begins["trace_list"]) == [
            {"file": "serendipity_jobs.py", "line": first, "function": "simple_job", "args": []}
        ]
        lines = json.loads(at_work["trace_list"])
        assert [line["function"] for line in lines] == ["look", "simple_job"]
        assert (at_work["executed_file_name"], at_work["executed_function_name"]) == (
            "test_serendipity_tasks.py",
            "look",
        )
        assert at_work["executed_function_line"] == look.__code__.co_firstlineno + 3
        assert lines[1] == {"file": "serendipity_jobs.py", "line": first + 4, "function": "simple_job", "args": []}
        done = app.detail(task_id)
        assert (done["status"], done["result"], done["trace_list"]) == (2, PARAMS, "[]")
        assert api.job(str(task_id)).running_at is None

    @pytest.mark.parametrize("task_id", [18_000_000, "no number", "-1"])
    def test_of_none(self, api: Service, task_id: Any) -> None:
        reply = application(api).get("/task/detail", {"id": task_id, "coroutine_id": 6, "service_id": "s"})
        assert (reply.status, reply.json) == (200, UNKNOWN)

    def test_without_an_id(self, api: Service) -> None:
        reply = application(api).get("/task/detail", {})
        assert (reply.status, reply.json["code"]) == (422, 422)


class TestPublish:
    def test_one_that_is_to_run_later_runs_now(self, api: Service) -> None:
        app = application(api)
        task_id = app.create("p", **{**DOCUMENTED, "runtime": api.clock.ms // 1_000 + 3_600})
        assert app.post("/nsq/publish", {"task_id": task_id}).json == {"code": 0, "msg": "ok!", "data": {}}
        work_off(api)
        assert app.detail(task_id)["status"] == 2

    def test_one_that_was_canceled_runs_after_all(self, api: Service) -> None:
        app = application(api)
        task_id = app.create("p", **DOCUMENTED)
        app.post("/task/cancel", {"id": task_id})
        assert app.post("/nsq/publish", {"task_id": str(task_id)}).json["code"] == 0
        work_off(api)
        assert app.detail(task_id)["status"] == 2

    def test_one_that_is_done(self, api: Service) -> None:
        app = application(api)
        task_id = app.create("p", **DOCUMENTED)
        work_off(api)
        assert app.post("/nsq/publish", {"task_id": task_id}).json == {
            "code": 1,
            "msg": "The task is done, and is not sent again",
            "data": {"status": 2},
        }

    def test_none(self, api: Service) -> None:
        reply = application(api).post("/nsq/publish", {"task_id": 1_000_000})
        assert (reply.status, reply.json) == (200, {"code": 1, "msg": "Unknown Task [1000000]#", "data": []})


def test_an_application_reaches_its_own_tasks_alone(api: Service) -> None:
    task_id, other = application(api).create("mine"), application(api)
    by_key = api.post(
        "/api/task/create",
        {"type": "any", "runnerType": "manual", "targetId": "mine", "targetType": "application"},
    ).json["id"]
    for of_another in (task_id, int(by_key)):
        assert other.get("/task/detail", {"id": of_another}).json == UNKNOWN
        assert other.post("/task/cancel", {"id": of_another}).json == UNKNOWN
        assert other.post("/nsq/publish", {"task_id": of_another}).json["msg"] == f"Unknown Task [{of_another}]#"
        assert detail(api, str(of_another))["status"] == "pending"

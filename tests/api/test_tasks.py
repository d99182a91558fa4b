"""The task dialect, request by request: every field's value, every refusal, the worker driven by hand."""

from __future__ import annotations

import itertools
import re
from typing import Any
from unittest.mock import ANY

import pytest

from chalicelib.engine.claiming import claim, opened
from chalicelib.store.jobs import Lease
from tests.support.service import Reply, Service, written

HOUR_MS = 3_600_000
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECRET = "s3cr3t-of-the-task"  # noqa: S105
POOL = "default"
numbers = itertools.count()


@pytest.fixture
def kind() -> str:
    """A task type that no other test uses, for manual tasks."""
    return f"by.hand.{next(numbers)}"


@pytest.fixture
def target() -> str:
    """A target that no other test uses."""
    return f"target-{next(numbers)}"


def create(api: Service, task_type: str, target_id: str = "t-1", **fields: Any) -> dict[str, Any]:
    """A task, created."""
    body = {"type": task_type, "targetId": target_id, "targetType": "document", **fields}
    reply = api.post("/api/task/create", body)
    assert reply.status == 200, reply.text
    return dict(reply.json)


def system(api: Service, script: Any = None, target_id: str = "t-1", **fields: Any) -> dict[str, Any]:
    """A task for the scripted handler, created."""
    return create(api, "scripted", target_id, runnerType="system", input=script, **fields)


def detail(api: Service, task_id: str) -> dict[str, Any]:
    reply = api.get("/api/task/detail", {"id": task_id})
    assert reply.status == 200, reply.text
    return dict(reply.json)


def listed(api: Service, query: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
    reply = api.get("/api/task/list", {"perPage": 100, **(query or {}), **more})
    assert reply.status == 200, reply.text
    return list(reply.json["pageData"])


def ids(tasks: list[dict[str, Any]]) -> list[str]:
    return [task["id"] for task in tasks]


def problem(reply: Reply) -> tuple[int, str, str, str]:
    """The status of a refusal, and its first detail: the field, what was expected, what came."""
    assert reply.json["statusCode"] == reply.status
    assert reply.json["message"]
    first = reply.json["details"][0]
    return reply.status, first["field"], first["expected"], first["got"]


class TestCreate:
    def test_a_manual_task(self, api: Service, kind: str) -> None:
        task = create(api, kind, "readme")
        assert UUID.fullmatch(task["traceId"])
        assert task == {
            "id": task["id"],
            "type": kind,
            "scriptName": "index",
            "targetId": "readme",
            "targetType": "document",
            "runnerType": "manual",
            "status": "pending",
            "progress": 0.0,
            "progressDetail": None,
            "msg": None,
            "input": None,
            "output": None,
            "error": None,
            "context": None,
            "options": None,
            "priority": 0,
            "maxRetries": 2,
            "retryCount": 0,
            "attempts": 0,
            "timeout": None,
            "parentTaskId": None,
            "traceId": task["traceId"],
            "recoverable": False,
            "startTime": None,
            "startedAt": None,
            "completedAt": None,
            "createdAt": api.now(),
            "updatedAt": api.now(),
        }
        assert isinstance(task["id"], str)
        assert detail(api, task["id"]) == task
        assert listed(api, {"filter.type": kind}) == [task]
        assert api.receive(POOL) == []  # nothing was sent

    def test_every_field_that_can_be_given(self, api: Service, kind: str) -> None:
        task = create(
            api,
            kind,
            "книга/1",
            input={"name": "Ünïcode", "n": [1, None]},
            delay=90.5,
            scriptName="nightly_2-b",
            priority=-3,
            maxRetries=4,
            timeout=1_500,
            context={"secret": SECRET, "tenant": "a"},
            options={"o": True},
        )
        assert task == {
            **task,
            "targetId": "книга/1",
            "input": {"name": "Ünïcode", "n": [1, None]},
            "startTime": api.now(90_500),
            "scriptName": "nightly_2-b",
            "priority": -3,
            "maxRetries": 4,
            "timeout": 1_500,
            "context": {"tenant": "a"},
            "options": {"o": True},
        }
        assert detail(api, task["id"]) == task

    @pytest.mark.parametrize("given", [None, 0, False, "", [], "text", 1.5, [1, {"a": None}], {}], ids=str)
    def test_an_input_may_be_any_json(self, api: Service, kind: str, given: Any) -> None:
        task = create(api, kind, input=given)
        assert task["input"] == given
        assert detail(api, task["id"])["input"] == given

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"type": None}, ("type", "a valid string", "null")),
            ({"type": ""}, ("type", "text of at least 1 character", "an empty text")),
            ({"type": "x" * 257}, ("type", "text of at most 256 characters", ANY)),
            ({"targetId": ""}, ("targetId", "text of at least 1 character", "an empty text")),
            ({"targetId": 7}, ("targetId", "a valid string", "7")),
            ({"targetType": "a\x00b"}, ("targetType", "a name without control characters", ANY)),
            ({"runnerType": "robot"}, ("runnerType", "'manual' or 'system'", "robot")),
            ({"delay": -1}, ("delay", "greater than or equal to 0", "-1")),
            ({"delay": "soon"}, ("delay", "a valid number", "soon")),
            ({"delay": 4e8}, ("delay", "less than or equal to 315360000", ANY)),
            ({"scriptName": "../etc/passwd"}, ("scriptName", ANY, "../etc/passwd")),
            ({"scriptName": ""}, ("scriptName", ANY, "an empty text")),
            ({"priority": 1_001}, ("priority", "less than or equal to 1000", "1001")),
            ({"maxRetries": -1}, ("maxRetries", "greater than or equal to 0", "-1")),
            ({"maxRetries": 100}, ("maxRetries", "less than or equal to 99", "100")),
            ({"timeout": -1}, ("timeout", "greater than or equal to 0", "-1")),
            ({"timeout": 86_400_001}, ("timeout", "less than or equal to 86400000", ANY)),
            ({"context": "text"}, ("context", "an object", "text")),
            ({"options": [1]}, ("options", "an object", "a list of 1")),
            ({"parentTaskId": "nobody"}, ("parentTaskId", ANY, "nobody")),
            ({"parentTaskId": "999999999"}, ("parentTaskId", "the id of a task", "999999999")),
            ({"idempotencyKey": ""}, ("idempotencyKey", "text of at least 1 character", ANY)),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, api: Service, kind: str, change: dict[str, Any], expected: Any) -> None:
        body = {"type": kind, "targetId": "1", "targetType": "t", **change}
        assert problem(api.post("/api/task/create", body)) == (422, *expected)
        assert listed(api, {"filter.type": kind}) == []

    @pytest.mark.parametrize("field", ["type", "targetId", "targetType"])
    def test_what_is_missing_is_told(self, api: Service, field: str) -> None:
        body = {"type": "a", "targetId": "1", "targetType": "t"}
        del body[field]
        assert problem(api.post("/api/task/create", body)) == (422, field, "a value", "nothing")

    def test_a_system_task_needs_a_handler(self, api: Service, kind: str) -> None:
        body = {"type": kind, "targetId": "1", "targetType": "t", "runnerType": "system"}
        reply = api.post("/api/task/create", body)
        status, field, expected, got = problem(reply)
        assert (status, field, got) == (422, "type", kind)
        assert "scripted" in expected.split(" or ")
        assert "text.statistics" in expected.split(" or ")
        assert "runnerType manual" in reply.json["remedy"]

    def test_an_input_that_its_handler_cannot_take_is_refused_at_once(self, api: Service) -> None:
        body = {"type": "text.statistics", "targetId": "1", "targetType": "t", "runnerType": "system"}
        for wrong, field in (({"text": 7}, "input.text"), ({"text": "a", "top": 0}, "input.top"), ("x", "input")):
            assert problem(api.post("/api/task/create", {**body, "input": wrong}))[:2] == (422, field)

    def test_what_its_handler_declares_holds(self, api: Service) -> None:
        task = create(api, "patient", runnerType="system", input=1)
        assert (task["maxRetries"], task["timeout"]) == (1, None)
        assert create(api, "patient", runnerType="system", input=1, maxRetries=5)["maxRetries"] == 5


class TestIdempotency:
    def test_two_requests_with_one_key_are_one_task(self, api: Service, kind: str) -> None:
        key = f"key of {kind}"
        first = create(api, kind, input={"n": 1}, idempotencyKey=key)
        assert create(api, kind, input={"n": 1}, idempotencyKey=key) == first
        body = {"type": kind, "targetId": "t-1", "targetType": "document", "input": {"n": 1}}
        assert api.post("/api/task/create", body, Idempotency_Key=key).json == first
        assert ids(listed(api, {"filter.type": kind})) == [first["id"]]

    def test_another_request_with_the_key_is_refused(self, api: Service, kind: str) -> None:
        key = f"key of {kind}"
        create(api, kind, input={"n": 1}, idempotencyKey=key)
        body = {"type": kind, "targetId": "t-1", "targetType": "document", "input": {"n": 2}, "idempotencyKey": key}
        assert problem(api.post("/api/task/create", body))[:3] == (
            409,
            "idempotencyKey",
            "the same request as the first time",
        )

    def test_a_message_s_key_is_another_one(self, api: Service, kind: str) -> None:
        key = f"key of {kind}"
        api.post("/mq/message/publish", {"topic": kind, "payload": {}, "idempotencyKey": key})
        assert create(api, kind, idempotencyKey=key)["type"] == kind

    @pytest.mark.parametrize("key", ["", "x" * 257, "a\ud800"])
    def test_a_key_has_1_to_256_characters(self, api: Service, kind: str, key: str) -> None:
        body = {"type": kind, "targetId": "1", "targetType": "t"}
        reply = api.post("/api/task/create", body, Idempotency_Key=key)
        assert problem(reply)[:3] == (422, "Idempotency-Key", "1 to 256 printable characters")


class TestSecrets:
    def test_they_are_shown_nowhere(self, api: Service, kind: str, target: str) -> None:
        context = {"secret": SECRET, "tenant": "a"}
        manual = api.post("/api/task/create", {"type": kind, "targetId": "1", "targetType": "t", "context": context})
        run = api.post(
            "/api/task/create",
            {
                "type": "scripted",
                "targetId": target,
                "targetType": "t",
                "runnerType": "system",
                "input": {"reject": "no"},
                "context": context,
            },
        )
        api.work(POOL)
        replies = [
            manual,
            run,
            api.get("/api/task/detail", {"id": manual.json["id"]}),
            api.get("/api/task/detail", {"id": run.json["id"]}),
            api.get("/api/task/list", {"filter.type": kind}),
            api.get("/api/task/list", {"filter.targetId": target}),
        ]
        assert [reply.status for reply in replies] == [200] * 6
        assert all(SECRET not in reply.text for reply in replies)
        assert manual.json["context"] == run.json["context"] == {"tenant": "a"}
        assert api.yard.payloads.body(api.job(manual.json["id"]))["context"] == context  # kept all the same

    def test_nor_in_a_refusal(self, api: Service) -> None:
        body = {"type": "a", "targetId": "1", "targetType": "t", "context": {"secret": SECRET}, "priority": "x"}
        for reply in (
            api.post("/api/task/create", body),
            api.post("/api/task/create", {**body, "priority": 0, "context": SECRET}),
            api.post("/api/task/create", {**body, "idempotencyKey": [SECRET]}),
        ):
            assert reply.status == 422
        assert SECRET not in api.post("/api/task/create", {**body, "idempotencyKey": [SECRET]}).text


class TestRuns:
    def test_a_success(self, api: Service) -> None:
        task = system(api, {"answer": 42})
        created_at = api.now()
        api.clock.move(30)
        assert api.work(POOL) == []
        assert detail(api, task["id"]) == {
            **task,
            "status": "success",
            "progress": 100.0,
            "output": {"answer": 42},
            "attempts": 1,
            "startedAt": api.now(),
            "completedAt": api.now(),
            "createdAt": created_at,
            "updatedAt": api.now(),
        }

    @pytest.mark.parametrize("size", [10, 3_000, 300_000])
    def test_outputs_of_any_size(self, api: Service, size: int, target: str) -> None:
        task = system(api, {"text": "ü" * size}, target)
        api.work(POOL)
        assert detail(api, task["id"])["output"] == {"text": "ü" * size}
        (shown,) = listed(api, {"filter.targetId": target})
        assert shown["output"] == ({"text": "ü" * size} if size == 10 else None)  # lists show small ones only
        assert shown["status"] == "success"

    def test_a_failure_is_tried_again_after_the_documented_backoff(self, api: Service) -> None:
        task = system(api, {"fail": "no good"}, maxRetries=3)
        for retry, wait_s in enumerate([5, 10, 20], start=1):
            assert len(api.work(POOL)) == 1
            now = detail(api, task["id"])
            assert (now["status"], now["retryCount"], now["attempts"]) == ("pending", retry, retry)
            assert (now["error"]["type"], now["error"]["message"]) == ("ValueError", "no good")
            assert now["error"]["where"].startswith("scripted.py:")
            assert now["completedAt"] is None
            api.clock.move(wait_s * 1_000 - 1)
            assert api.work(POOL) == []
            assert detail(api, task["id"])["attempts"] == retry
            api.clock.move(1_001)
        assert api.work(POOL) == []
        dead = detail(api, task["id"])
        assert (dead["status"], dead["retryCount"], dead["attempts"], dead["completedAt"]) == (
            "failed",
            4,
            4,
            api.now(),
        )
        assert dead["output"] is None

    def test_a_success_after_a_failure_forgets_the_error(self, api: Service) -> None:
        task = system(api, {"fail": "not yet", "until": 1})
        api.work(POOL)
        api.clock.move(5_001)
        api.work(POOL)
        now = detail(api, task["id"])
        assert (now["status"], now["error"], now["retryCount"], now["attempts"]) == ("success", None, 1, 2)

    def test_a_handler_s_own_backoff_and_attempts(self, api: Service) -> None:
        task = create(api, "patient", runnerType="system", input={"fail": "no"})
        assert len(api.work("patient")) == 1
        api.clock.move(1_999)
        assert api.work("patient") == []
        api.clock.move(1_001)
        assert api.work("patient") == []
        assert (detail(api, task["id"])["status"], detail(api, task["id"])["attempts"]) == ("failed", 2)

    def test_progress_is_kept_when_it_fails(self, api: Service) -> None:
        task = system(api, {"progress": [1, 4, "one of four"], "reject": "stop"})
        api.work(POOL)
        now = detail(api, task["id"])
        assert (now["status"], now["progress"], now["msg"]) == ("failed", 25.0, "one of four")
        assert now["progressDetail"] == {"current": 1, "total": 4, "message": "one of four"}
        assert now["error"]["message"] == "stop"

    def test_a_handler_that_is_gone_is_told(self, api: Service) -> None:
        task = system(api, 1)
        with pytest.MonkeyPatch.context() as without:
            without.delitem(api.yard.handlers.tasks, "scripted")  # type: ignore[arg-type]
            assert api.work(POOL) == []
        error = detail(api, task["id"])["error"]
        assert error["type"] == "NoHandler"
        assert "no handler for 'scripted' is deployed" in error["message"]

    def test_a_silent_worker_makes_it_recoverable(self, api: Service) -> None:
        task = system(api, 1)
        (message,) = api.receive(POOL)
        claim(api.yard, opened(message.text), Lease("0" * 16, api.clock.ms + 60_000, "gone"))
        assert (detail(api, task["id"])["status"], detail(api, task["id"])["recoverable"]) == ("running", False)
        api.clock.move(60_001)
        assert (detail(api, task["id"])["status"], detail(api, task["id"])["recoverable"]) == ("running", True)
        api.yard.transport.hide([message], 0)
        api.clock.move(1)
        api.work(POOL)
        assert (detail(api, task["id"])["status"], detail(api, task["id"])["recoverable"]) == ("success", False)

    def test_a_delayed_task_starts_when_it_is_due(self, api: Service) -> None:
        task = system(api, 1, delay=30)
        assert task["startTime"] == api.now(30_000)
        assert api.work(POOL) == []
        api.clock.move(29_999)
        assert api.work(POOL) == []
        assert detail(api, task["id"])["attempts"] == 0
        api.clock.move(1_001)
        api.work(POOL)
        assert detail(api, task["id"])["status"] == "success"

    def test_larger_priorities_run_first(self, api: Service) -> None:
        tasks = [system(api, n, priority=priority) for n, priority in enumerate([0, 4, 2])]
        api.clock.move(1)
        api.work(POOL, most=10)
        started = {task["id"]: api.job(task["id"]) for task in tasks}
        order = sorted(started, key=lambda task_id: started[task_id].lease_until_ms or 0)
        assert set(order) == set(ids(tasks))
        assert all(job.state == "success" for job in started.values())

    def test_a_child_starts_after_its_parent(self, api: Service) -> None:
        parent = system(api, "parent")
        child = system(api, "child", parentTaskId=parent["id"])
        assert child["parentTaskId"] == parent["id"]
        api.work(POOL, most=1)
        assert detail(api, parent["id"])["status"] == "success"
        assert detail(api, child["id"])["status"] == "pending"
        api.work(POOL)
        assert (detail(api, child["id"])["status"], detail(api, child["id"])["output"]) == ("success", "child")
        late = system(api, "late", parentTaskId=int(parent["id"]))
        api.work(POOL)
        assert detail(api, late["id"])["status"] == "success"


class TestDetail:
    @pytest.mark.parametrize("task_id", ["999999999", "0", "abc", "-1", "9" * 40, "1.0", "", "\u0661"])
    def test_an_id_of_nobody_is_not_found(self, api: Service, task_id: str) -> None:
        reply = api.get("/api/task/detail", {"id": task_id})
        assert (reply.status, reply.json["error"]) == (404, "Not Found")

    def test_an_id_is_needed(self, api: Service) -> None:
        assert problem(api.get("/api/task/detail")) == (422, "id", "a value", "nothing")
        assert problem(api.get("/api/task/detail", {"id": ["1", "2"]}))[:2] == (422, "id")

    def test_a_message_is_no_task(self, api: Service, kind: str) -> None:
        message = api.post("/mq/message/publish", {"topic": kind, "payload": {}}).json
        assert api.get("/api/task/detail", {"id": message["id"]}).status == 404


class TestListPages:
    def test_newest_first(self, api: Service, kind: str) -> None:
        tasks = []
        for n in range(23):
            tasks.append(create(api, kind, input={"n": n}))
            api.clock.move(1 if n % 3 else 0)
        newest_first = tasks[::-1]
        of_type = {"filter.type": kind}
        first = api.get("/api/task/list", of_type).json
        cursor = first.pop("nextCursor")
        assert first == {"pageData": newest_first[:20], "totalCount": 23, "totalIsExact": True}
        last = {"pageData": newest_first[20:], "totalCount": 23, "totalIsExact": True, "nextCursor": None}
        assert api.get("/api/task/list", {**of_type, "perPage": 10, "currentPage": 3}).json == last
        assert api.get("/api/task/list", {**of_type, "cursor": cursor}).json == last
        assert listed(api, {**of_type, "currentPage": 7}) == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"perPage": 0}, "perPage"),
            ({"perPage": 101}, "perPage"),
            ({"currentPage": 0}, "currentPage"),
            ({"filter.status": "done"}, "filter.status"),
            ({"filter.status": "PENDING"}, "filter.status"),
            ({"filter[runnerType]": "robot"}, "filter.runnerType"),
            ({"filter.createdAt.startTime": "yesterday"}, "filter.createdAt.startTime"),
            ({"filter[createdAt][endTime]": "1900-01-01"}, "filter.createdAt.endTime"),
            ({"sort[color]": "DESC"}, "sort"),
            ({"sort[createdAt]": "UP"}, "sort.createdAt"),
            ({"sort.createdAt": "desc"}, "sort.createdAt"),
            ({"sort[createdAt]": "ASC", "sort[id]": "ASC"}, "sort"),
            ({"sort": "createdAt"}, "sort"),
            ({"filter": "x"}, "filter"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, api: Service, query: dict[str, Any], field: str) -> None:
        assert problem(api.get("/api/task/list", query))[:2] == (422, field)

    @pytest.mark.parametrize("query", [{"filter[": "x"}, {"filter..id": "1"}, {"filter": "x", "filter.id": "1"}])
    def test_a_malformed_key_is_refused(self, api: Service, query: dict[str, Any]) -> None:
        assert api.get("/api/task/list", query).status == 400


@pytest.fixture(scope="class")
def varied(api: Service) -> dict[str, dict[str, Any]]:
    """Tasks that differ in what can be filtered by, a minute apart, all of targets of this class."""
    made: dict[str, dict[str, Any]] = {}
    for name, fields in {
        "manual": {"task_type": "filter.a", "target_id": "f-1", "input": {"name": "Annual Report.pdf"}},
        "running": {"task_type": "filter.a", "target_id": "f-2", "input": {"name": "ÜBERSICHT"}},
        "done": {
            "task_type": "scripted",
            "target_id": "f-1",
            "runnerType": "system",
            "input": {"name": "report 2"},
        },
        "dead": {"task_type": "scripted", "target_id": "f-3", "runnerType": "system", "input": {"reject": "no"}},
        "canceled": {"task_type": "filter.b", "target_id": "f-3", "input": "no name"},
    }.items():
        made[name] = create(api, **{"targetType": f"kind of {name}", **fields})
        api.clock.move(60_000)
    api.work(POOL)
    api.clock.move(60_000)
    api.post("/api/task/cancel", {"id": made["canceled"]["id"]})
    return {name: detail(api, task["id"]) for name, task in made.items()}


class TestListFilters:
    def names(self, api: Service, varied: dict[str, dict[str, Any]], **query: Any) -> list[str]:
        """Which of the tasks a list shows, in its order."""
        by_id = {task["id"]: name for name, task in varied.items()}
        return [by_id[task["id"]] for task in listed(api, query) if task["id"] in by_id]

    @pytest.mark.parametrize("style", ["filter.{}", "filter[{}]"])
    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("type", "filter.a", ["running", "manual"]),
            ("type", "nobody's", []),
            ("targetId", "f-1", ["done", "manual"]),
            ("targetType", "kind of dead", ["dead"]),
            ("status", "pending", ["running", "manual"]),
            ("status", "success", ["done"]),
            ("status", "failed", ["dead"]),
            ("status", "canceled", ["canceled"]),
            ("status", "running", []),
            ("status", "waiting", []),
            ("runnerType", "system", ["dead", "done"]),
            ("runnerType", "manual", ["canceled", "running", "manual"]),
            ("targetName", "REPORT", ["done", "manual"]),
            ("targetName", "übersicht", ["running"]),
            ("targetName", ".pdf", ["manual"]),
            ("targetName", "name", []),
        ],
    )
    def test_each_in_both_styles(
        self, api: Service, varied: dict[str, Any], style: str, key: str, value: str, expected: list[str]
    ) -> None:
        assert self.names(api, varied, **{style.format(key): value}) == expected

    def test_by_id(self, api: Service, varied: dict[str, Any]) -> None:
        assert listed(api, {"filter.id": varied["done"]["id"]}) == [varied["done"]]
        for nobody in ("999999999", "abc", "0"):
            assert api.get("/api/task/list", {"filter[id]": nobody}).json == {
                "pageData": [],
                "totalCount": 0,
                "totalIsExact": True,
                "nextCursor": None,
            }

    def test_together(self, api: Service, varied: dict[str, Any]) -> None:
        query = {"filter.type": "scripted", "filter[status]": "success", "filter.targetName": "port"}
        assert self.names(api, varied, **query) == ["done"]
        assert self.names(api, varied, **query, **{"filter.targetId": "f-2"}) == []

    @pytest.mark.parametrize("style", ["filter.{}.{}", "filter[{}][{}]", "filter.{}[{}]"])
    def test_spans_with_both_ends_in_them(self, api: Service, varied: dict[str, Any], style: str) -> None:
        def between(key: str, start: str | None, end: str | None) -> list[str]:
            query = {style.format(key, name): at for name, at in (("startTime", start), ("endTime", end)) if at}
            return self.names(api, varied, **query)

        created = {name: task["createdAt"] for name, task in varied.items()}
        assert between("createdAt", created["running"], created["dead"]) == ["dead", "done", "running"]
        assert between("createdAt", created["dead"], None) == ["canceled", "dead"]
        assert between("createdAt", None, created["manual"]) == ["manual"]
        completed = {name: task["completedAt"] for name, task in varied.items()}
        assert completed["done"] == completed["dead"] < completed["canceled"]
        assert between("completedAt", completed["done"], completed["done"]) == ["dead", "done"]
        assert between("completedAt", completed["canceled"], None) == ["canceled"]
        assert between("completedAt", None, completed["canceled"]) == ["canceled", "dead", "done"]

    @pytest.mark.parametrize("key", ["createdAt", "completedAt"])
    def test_a_span_cannot_end_before_it_begins(self, api: Service, key: str) -> None:
        query = {f"filter.{key}.startTime": "2026-01-01", f"filter[{key}][endTime]": "2025-12-31T23:59:59.999Z"}
        reply = api.get("/api/task/list", query)
        assert problem(reply) == (422, f"filter.{key}", "an endTime that is not before startTime", "an object")


@pytest.fixture(scope="class")
def disordered(api: Service) -> list[dict[str, Any]]:
    """Tasks whose every sortable field differs, in different orders."""
    made = []
    for n, (letter, delay) in enumerate((("c", 50), ("a", 10), ("d", 30), ("b", 20))):
        made.append(create(api, f"order.{letter}", f"o-{'dbca'[n]}", targetType=f"tt-{'bdac'[n]}", delay=delay))
        api.clock.move(1_000)
    for n in (2, 0):
        api.post("/api/task/cancel", {"id": made[n]["id"]})
        api.clock.move(1_000)
    return [detail(api, task["id"]) for task in made]


class TestListOrders:
    @pytest.mark.parametrize("key", ["id", "targetId", "targetType", "type", "startTime", "createdAt", "updatedAt"])
    @pytest.mark.parametrize("direction", ["ASC", "DESC"])
    def test_each_key_both_ways(self, api: Service, disordered: list[dict[str, Any]], key: str, direction: str) -> None:
        ours = set(ids(disordered))
        shown = [task for task in listed(api, {f"sort[{key}]": direction}) if task["id"] in ours]
        values = [int(task[key]) if key == "id" else task[key] for task in shown]
        assert len(values) == 4
        assert values == sorted(values, reverse=direction == "DESC")
        assert len(set(values)) == 4

    @pytest.mark.parametrize(("key", "value"), [("status", "status"), ("runnerType", "runnerType")])
    def test_groups(self, api: Service, disordered: list[dict[str, Any]], key: str, value: str) -> None:
        ours = set(ids(disordered))
        shown = [task[value] for task in listed(api, {f"sort.{key}": "ASC"}) if task["id"] in ours]
        assert shown == sorted(shown)

    def test_by_completion(self, api: Service, disordered: list[dict[str, Any]]) -> None:
        ours = set(ids(disordered))
        shown = [task["id"] for task in listed(api, {"sort[completedAt]": "DESC"}) if task["id"] in ours]
        assert shown[:2] == [disordered[0]["id"], disordered[2]["id"]]

    def test_an_order_holds_over_pages(self, api: Service, disordered: list[dict[str, Any]]) -> None:
        first, last = disordered[0]["createdAt"], disordered[-1]["createdAt"]
        query = {
            "filter.createdAt.startTime": first,
            "filter.createdAt.endTime": last,
            "sort[type]": "ASC",
            "perPage": 3,
        }
        pages = [api.get("/api/task/list", {**query, "currentPage": page}).json for page in (1, 2)]
        assert [[task["type"] for task in page["pageData"]] for page in pages] == [
            ["order.a", "order.b", "order.c"],
            ["order.d"],
        ]
        assert [page["totalCount"] for page in pages] == [4, 4]


class TestCancel:
    def test_a_pending_task_does_not_run(self, api: Service) -> None:
        task = system(api, 1)
        api.clock.move(10)
        reply = api.post("/api/task/cancel", {"id": task["id"]})
        assert (reply.status, reply.json) == (200, {})
        canceled = {**task, "status": "canceled", "completedAt": api.now(), "updatedAt": api.now()}
        assert detail(api, task["id"]) == canceled
        assert api.work(POOL) == []
        assert detail(api, task["id"]) == canceled
        assert api.receive(POOL) == []

    def test_on_a_task_that_is_done_it_does_nothing(self, api: Service) -> None:
        task = system(api, 1)
        api.work(POOL)
        done = detail(api, task["id"])
        api.clock.move(10)
        assert api.post("/api/task/cancel", {"id": int(task["id"])}).json == {}
        assert detail(api, task["id"]) == done

    @pytest.mark.parametrize("task_id", ["999999999", "abc", 0, -1, 2**60])
    def test_an_id_of_nobody_is_not_found(self, api: Service, task_id: Any) -> None:
        assert api.post("/api/task/cancel", {"id": task_id}).status == 404
        assert api.post("/api/task/retry", {"id": task_id}).status == 404

    def test_an_id_is_needed(self, api: Service) -> None:
        assert problem(api.post("/api/task/cancel", {}))[:2] == (422, "id")


class TestRetry:
    def test_a_failed_task_runs_again_from_the_start(self, api: Service) -> None:
        task = system(api, {"fail": "no", "until": 1}, maxRetries=0)
        api.work(POOL)
        dead = detail(api, task["id"])
        assert (dead["status"], dead["retryCount"]) == ("failed", 1)
        api.clock.move(10)

        reply = api.post("/api/task/retry", {"id": task["id"]})
        assert (reply.status, reply.json) == (200, {})
        waiting = detail(api, task["id"])
        assert (waiting["status"], waiting["error"], waiting["completedAt"], waiting["retryCount"]) == (
            "pending",
            None,
            None,
            0,
        )
        api.work(POOL)
        assert detail(api, task["id"])["status"] == "success"

    def test_a_canceled_task_too(self, api: Service) -> None:
        task = system(api, "again")
        api.post("/api/task/cancel", {"id": task["id"]})
        assert api.post("/api/task/retry", {"id": int(task["id"])}).json == {}
        api.work(POOL)
        done = detail(api, task["id"])
        assert (done["status"], done["output"], done["attempts"]) == ("success", "again", 1)

    def test_a_manual_task_waits_for_its_person_again(self, api: Service, kind: str) -> None:
        task = create(api, kind)
        api.post("/api/task/cancel", {"id": task["id"]})
        assert api.post("/api/task/retry", {"id": task["id"]}).json == {}
        assert detail(api, task["id"])["status"] == "pending"
        assert api.receive(POOL) == []

    def test_only_what_failed_or_was_canceled(self, api: Service, kind: str) -> None:
        pending = create(api, kind)
        done = system(api, 1)
        api.work(POOL)
        for task, state in ((pending, "pending"), (done, "success")):
            reply = api.post("/api/task/retry", {"id": task["id"]})
            assert problem(reply) == (409, "id", "failed or canceled, and not replayed", state)

    def test_several_whatever_becomes_of_the_others(self, api: Service, kind: str) -> None:
        first, second, live = (create(api, kind) for _ in range(3))
        for task in (first, second):
            api.post("/api/task/cancel", {"id": task["id"]})
        assert api.post("/api/task/retry", {"taskIds": [first["id"]]}).json == {}

        reply = api.post("/api/task/retry", {"taskIds": [live["id"], second["id"], "nobody", first["id"]]})

        assert reply.status == 409
        assert reply.json["message"].startswith("3 of 4 tasks were not retried: ")
        for named in (live["id"], "nobody", first["id"]):
            assert f"{named}: " in reply.json["message"]
        assert [detail(api, task["id"])["status"] for task in (first, second, live)] == ["pending"] * 3

    @pytest.mark.parametrize("body", [{}, {"id": "1", "taskIds": ["2"]}])
    def test_one_way_or_the_other(self, api: Service, body: Any) -> None:
        reply = api.post("/api/task/retry", body)
        assert reply.status == 422
        assert reply.json["details"][0]["expected"] == "either id or taskIds, and not both"

    @pytest.mark.parametrize("task_ids", [[], ["1"] * 101, "1", [None]])
    def test_one_to_a_hundred_ids(self, api: Service, task_ids: Any) -> None:
        assert problem(api.post("/api/task/retry", {"taskIds": task_ids}))[0] == 422


class TestTheExamples:
    def test_the_statistics_of_a_text(self, api: Service) -> None:
        text = "to be or not to be\n"
        task = create(api, "text.statistics", runnerType="system", input={"text": text, "top": 2})
        api.work(POOL)
        assert detail(api, task["id"])["output"] == {
            "lines": 1,
            "words": 6,
            "bytes": 19,
            "mostFrequent": [{"word": "be", "count": 2}, {"word": "to", "count": 2}],
        }

    def test_an_export(self, api: Service) -> None:
        rows = [{"a": 1, "b": "=2+3"}, {"a": None, "c": True}]
        task = create(api, "documents.export", runnerType="system", input={"rows": rows, "name": "my rows"})
        api.work(POOL)
        output = detail(api, task["id"])["output"]
        assert (output["rows"], output["columns"]) == (2, ["a", "b", "c"])
        found = api.yard.objects.get_object(Bucket=api.yard.settings.objects_bucket, Key=output["key"])["Body"].read()
        assert found.decode() == "a,b,c\r\n1,'=2+3,\r\n,,True\r\n"
        assert output["bytes"] == len(found)


def test_times_are_written_as_javascript_does(api: Service, kind: str) -> None:
    api.clock.ms = 1_800_000_000_007
    assert create(api, kind)["createdAt"] == "2027-01-15T08:00:00.007Z" == written(1_800_000_000_007)

"""Creating tasks: every field, every refusal, idempotency keys, and secrets that are shown nowhere."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import ANY

import pytest

from chalicelib.core.lanes import PRIORITY_EXPECTED
from chalicelib.core.retry import Exponential
from chalicelib.core.signature import sign
from tests.support.service import Reply, Service, written
from tests.support.tasks import POOL, as_listed, create, detail, ids, listed, problem

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HOUR_MS = 3_600_000
SECRET = "s3cr3t-of-the-task"  # noqa: S105


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
            "cause": None,
            "context": None,
            "options": None,
            "next": None,
            "priority": 0,
            "maxRetries": 2,
            "retryCount": 0,
            "attempts": 0,
            "pollCount": 0,
            "pollResults": [],
            "timeout": None,
            "parentTaskId": None,
            "removeOnComplete": False,
            "createdUserId": None,
            "completedUserId": None,
            "schedule": None,
            "slotTime": None,
            "graphId": None,
            "node": None,
            "traceId": task["traceId"],
            "recoverable": False,
            "omitted": [],
            "startTime": None,
            "startedAt": None,
            "completedAt": None,
            "createdAt": api.now(),
            "updatedAt": api.now(),
        }
        assert isinstance(task["id"], str)
        assert detail(api, task["id"]) == {**task, "log": [], "console": []}
        assert listed(api, {"filter.type": kind}) == [as_listed(task)]
        assert api.receive(POOL) == []  # nothing was sent

    def test_a_trace_id_of_ones_own(self, api: Service, kind: str) -> None:
        task = create(api, kind, traceId="from elsewhere")
        assert (task["traceId"], detail(api, task["id"])["traceId"]) == ("from elsewhere", "from elsewhere")
        assert [each["id"] for each in api.get("/api/jobs", {"traceId": "from elsewhere"}).json["items"]] == [
            task["id"]
        ]

    def test_priorities_by_name(self, api: Service, kind: str) -> None:
        follow_up = {"type": kind, "runnerType": "manual", "priority": "low"}
        task = create(api, kind, priority="critical", next=follow_up)
        assert (task["priority"], task["next"]["priority"]) == (15, -10)

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
            userId="u-7",
            removeOnComplete=True,
            backoff={"delay": 1_000, "type": "exponential"},
            next={
                "type": "flow.reported",
                "input": None,
                "targetId": None,
                "context": {"secret": SECRET, "n": 1},
                "delay": 5,
                "next": {"type": kind, "runnerType": "manual", "context": {"secret": SECRET}},
            },
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
            "createdUserId": "u-7",
            "removeOnComplete": True,
            "next": {
                "type": "flow.reported",
                "input": None,
                "context": {"n": 1},
                "delay": 5,
                "next": {"type": kind, "runnerType": "manual", "context": {}},
            },
        }
        assert detail(api, task["id"]) == {**task, "log": [], "console": []}
        assert api.job(task["id"]).backoff == Exponential(2_000, cap_ms=30 * 24 * HOUR_MS)

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
            ({"type": "  "}, ("type", "a name without control characters, not all blank", "  ")),
            ({"targetId": ""}, ("targetId", "text of at least 1 character", "an empty text")),
            ({"targetId": 7.5}, ("targetId", "a valid string", "7.5")),
            ({"targetType": "a\x00b"}, ("targetType", "a name without control characters, not all blank", ANY)),
            ({"runnerType": "robot"}, ("runnerType", "'manual' or 'system'", "robot")),
            ({"delay": -1}, ("delay", "greater than or equal to 0", "-1")),
            ({"delay": "soon"}, ("delay", "a number, 0 to 315360000", "soon")),
            ({"delay": 4e8}, ("delay", "less than or equal to 315360000", ANY)),
            ({"scriptName": "../etc/passwd"}, ("scriptName", ANY, "../etc/passwd")),
            ({"scriptName": ""}, ("scriptName", ANY, "an empty text")),
            ({"priority": 1_001}, ("priority", PRIORITY_EXPECTED, "1001")),
            ({"maxRetries": -1}, ("maxRetries", "greater than or equal to 0", "-1")),
            ({"maxRetries": 100}, ("maxRetries", "less than or equal to 99", "100")),
            ({"timeout": -1}, ("timeout", "greater than or equal to 0", "-1")),
            ({"timeout": 86_400_001}, ("timeout", "less than or equal to 86400000", ANY)),
            ({"context": "text"}, ("context", "an object", "text")),
            ({"context": {"secret": ""}}, ("context.secret", "text of at least one character", "[redacted]")),
            ({"context": {"secret": 7}}, ("context.secret", "text of at least one character", "[redacted]")),
            ({"next": {"type": "x", "context": {"secret": [SECRET]}}}, ("next.context.secret", ANY, "[redacted]")),
            ({"next": {"input": 1}}, ("next.type", "a value", "nothing")),
            ({"next": {"type": "flow.reported", "next": {"type": ""}}}, ("next.next.type", ANY, "an empty text")),
            ({"next": {"type": "nobody.runs.it"}}, ("next.type", ANY, "nobody.runs.it")),
            (
                {"next": {"type": "flow.reported", "next": {"type": "flow.reported", "scriptName": "x"}}},
                ("next.next.scriptName", ANY, "x"),
            ),
            ({"maxRetry": 9}, ("maxRetry", "maxRetries", "maxRetry")),
            ({"max_retries": 9}, ("max_retries", "maxRetries", "max_retries")),
            ({"runner": "system"}, ("runner", "runnerType", "runner")),
            ({"targetName": "x"}, ("targetName", "input.name, where filter.targetName looks for it", "targetName")),
            ({"attempts": 3}, ("attempts", "maxRetries, which does not count the first attempt", "attempts")),
            ({"priority": "urgent"}, ("priority", PRIORITY_EXPECTED, "urgent")),
            (
                {"next": {"type": "flow.reported", "priority": "High"}},
                ("next.priority", PRIORITY_EXPECTED, "High"),
            ),
            ({"next": {"type": "flow.reported", "prio": 1}}, ("next.prio", "priority", "prio")),
            ({"backoff": {"kind": "fixed", "delay": 1}}, ("backoff.kind", "delay or type", "kind")),
            ({"userId": ""}, ("userId", "text of at least 1 character", "an empty text")),
            ({"removeOnComplete": "perhaps"}, ("removeOnComplete", ANY, "perhaps")),
            ({"backoff": False}, ("backoff", "True", "false")),
            ({"backoff": 7}, ("backoff", "a valid string", "7")),
            ({"backoff": {"delay": -1}}, ("backoff.delay", "greater than or equal to 0", "-1")),
            ({"backoff": {"type": "linear"}}, ("backoff.type", "'fixed' or 'exponential'", "linear")),
            ({"backoff": "nobody.s"}, ("backoff", "by.sevens", "nobody.s")),
            ({"runnerType": "system", "type": "flow.scripts", "scriptName": "x"}, ("scriptName", ANY, "x")),
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


class TestCreateBatch:
    def create(self, api: Service, *tasks: Any, **headers: str) -> Reply:
        return api.post("/api/task/create-batch", {"tasks": list(tasks)}, **headers)

    def test_each_becomes_a_task_in_order(self, api: Service, kind: str, target: str) -> None:
        common = {"type": kind, "targetType": "document", "context": {"secret": SECRET, "n": 1}, "options": {"o": 1}}
        tasks = [{**common, "targetId": target, "input": {"n": n}, "priority": "high"} for n in range(3)]
        follow_up = {"type": kind, "runnerType": "manual", "context": {"secret": SECRET}}
        tasks.append({**common, "targetId": target, "input": "x" * 5_000, "next": follow_up})
        reply = self.create(api, *tasks)
        assert (reply.status, SECRET in reply.text) == (200, False)
        results = reply.json["results"]
        assert [(result["success"], result["error"]) for result in results] == [(True, None)] * 4
        assert [result["task"]["input"] for result in results] == [{"n": 0}, {"n": 1}, {"n": 2}, "x" * 5_000]
        assert [as_listed(detail(api, result["task"]["id"])) for result in results] == [
            result["task"] for result in results
        ]
        assert [task["priority"] for task in listed(api, {"filter.type": kind}, **{"sort.createdAt": "ASC"})] == [
            10,
            10,
            10,
            0,
        ]

    def test_system_tasks_are_sent_and_run(self, api: Service, target: str) -> None:
        task = {"type": "scripted", "targetId": target, "targetType": "document", "runnerType": "system", "input": 7}
        results = self.create(api, *[task] * 12).json["results"]
        assert len(set(ids([result["task"] for result in results]))) == 12
        assert (api.work(POOL), api.work(POOL)) == ([], [])
        assert [detail(api, result["task"]["id"])["status"] for result in results] == ["success"] * 12

    def test_one_that_is_refused_costs_the_others_nothing(self, api: Service, kind: str, target: str) -> None:
        good = {"type": kind, "targetId": target, "targetType": "document"}
        key = f"key of {kind}"
        create(api, kind, target, input=0, idempotencyKey=key)
        results = self.create(
            api,
            good,
            5,
            {**good, "priority": "urgent"},
            {**good, "input": 1, "idempotencyKey": key},
            {**good, "runnerType": "system"},
            {**good, "parentTaskId": "999999999"},
            {**good, "parentTaskId": "none"},
            {**good, "context": {"secret": 7}},
            {**good, "next": {"type": kind}},
            {**good, "runner": "manual"},
            good,
        ).json["results"]
        assert [result["success"] for result in results] == [True, *[False] * 9, True]
        assert [result["task"] is None for result in results] == [not result["success"] for result in results]
        errors = [result["error"] for result in results if not result["success"]]
        assert errors[:2] == [
            "the entry: expected an object, got 5",
            f"priority in the entry: expected {PRIORITY_EXPECTED}, got urgent",
        ]
        assert [error.partition(":")[0] for error in errors[2:]] == [
            "idempotency_key",
            "type",
            "parent",
            "parentTaskId",
            "context.secret",
            "next.type",
            "runner in the entry",
        ]
        assert len(listed(api, {"filter.targetId": target})) == 3

    def test_a_batch_that_is_sent_twice_with_a_key_is_created_once(self, api: Service, kind: str, target: str) -> None:
        key = f"key of {kind}"
        tasks = [{"type": kind, "targetId": target, "targetType": "document", "input": n} for n in range(3)]
        tasks[1]["idempotencyKey"] = f"own {kind}"
        first = self.create(api, *tasks, Idempotency_Key=key).json["results"]
        api.post("/api/task/complete", {"id": first[0]["task"]["id"], "status": "success", "output": {"n": 1}})
        again = self.create(api, *tasks, Idempotency_Key=key).json["results"]
        assert ids([result["task"] for result in again]) == ids([result["task"] for result in first])
        assert [result["task"]["status"] for result in again] == ["success", "pending", "pending"]
        assert create(api, kind, target, input=2, idempotencyKey=f"{key}#2")["id"] == first[2]["task"]["id"]
        assert len(listed(api, {"filter.targetId": target})) == 3

    def test_children_of_a_task_wait_for_it(self, api: Service, kind: str, target: str) -> None:
        parent = create(api, kind, target)["id"]
        child = {"type": "scripted", "targetId": target, "targetType": "t", "runnerType": "system", "input": 1}
        results = self.create(api, *[{**child, "parentTaskId": parent}] * 2).json["results"]
        assert [result["task"]["parentTaskId"] for result in results] == [parent] * 2
        assert api.work(POOL) == []
        api.post("/api/task/complete", {"id": parent, "status": "success"})
        api.work(POOL)
        assert [detail(api, result["task"]["id"])["status"] for result in results] == ["success"] * 2

    @pytest.mark.parametrize(
        ("tasks", "expected"),
        [
            ([], "a list of at least 1 item"),
            ([{"type": "a", "targetId": "1", "targetType": "t"}] * 101, "a list of at most 100 items"),
            (None, "a valid list"),
            ({"type": "a"}, "a valid list"),
        ],
        ids=["none", "101", "null", "object"],
    )
    def test_an_envelope_that_is_none_is_refused(self, api: Service, tasks: Any, expected: str) -> None:
        assert problem(api.post("/api/task/create-batch", {"tasks": tasks}))[:3] == (422, "tasks", expected)

    def test_what_the_answer_could_not_hold_is_refused_whole(self, api: Service, kind: str, target: str) -> None:
        task = {"type": kind, "targetId": target, "targetType": "document", "input": '"' * 560_000}
        reply = self.create(api, *[task] * 4)
        assert problem(reply)[:2] == (413, "tasks")
        assert listed(api, {"filter.targetId": target}) == []


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

    def test_who_has_it_alone_may_tell_how_it_goes_even_here(self, api: Service, kind: str) -> None:
        secret = create(api, kind, context={"secret": SECRET})["id"]
        refused = api.post("/api/task/log", {"id": secret})
        assert (refused.status, refused.json["error"]) == (401, "Unauthorized")
        assert api.post("/api/task/log", {"id": secret, "signature": sign(SECRET, secret, {"message": ""})}).json == {}
        assert api.post("/api/task/callback", {"id": create(api, kind)["id"], "code": 0}).json == {}
        assert api.post("/api/task/log", {"id": "999999999"}).status == 404

    def test_nor_in_a_refusal(self, api: Service) -> None:
        body = {"type": "a", "targetId": "1", "targetType": "t", "context": {"secret": SECRET}, "priority": "x"}
        for reply in (
            api.post("/api/task/create", body),
            api.post("/api/task/create", {**body, "priority": 0, "context": SECRET}),
            api.post("/api/task/create", {**body, "idempotencyKey": [SECRET]}),
        ):
            assert reply.status == 422
        assert SECRET not in api.post("/api/task/create", {**body, "idempotencyKey": [SECRET]}).text


def test_times_are_written_as_javascript_does(api: Service, kind: str) -> None:
    api.clock.ms = 1_800_000_000_007
    assert create(api, kind)["createdAt"] == "2027-01-15T08:00:00.007Z" == written(1_800_000_000_007)


def test_null_is_as_good_as_nothing_where_a_field_may_be_left_out(api: Service, kind: str) -> None:
    usual = {"runnerType": "manual", "priority": 0, "removeOnComplete": False, "maxRetries": 2, "options": None}
    task = create(api, kind, **dict.fromkeys([*usual, "delay", "timeout", "next", "userId"]))
    assert {name: task[name] for name in usual} == usual
    follows = create(api, kind, next={"type": "flow.reported", "runnerType": None, "delay": None})
    assert follows["next"] == {"type": "flow.reported"}
    assert problem(api.post("/api/task/create", {"type": kind, "targetId": None, "targetType": "t"}))[1] == "targetId"

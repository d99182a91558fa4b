"""The commands as their users see them: what they send, what they show, how they end."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from chalicelib import settings
from chalicelib.api.schedules.definitions import ScheduleBody
from chalicelib.cli import http_client
from chalicelib.cli.common import choose_installation
from chalicelib.cli.main import main
from chalicelib.services.serendipity_orders import ApplicationOrder
from tests.support.stub_service import Asked, StubService, stub_service

NOBODY = "http://127.0.0.1:1"
MESSAGE = {"id": "7", "topic": "order.created", "status": "PENDING", "traceId": "t-1", "error": None}
TASK = {"id": "9", "type": "text.statistics", "status": "failed", "error": {"type": "E", "message": "too long"}}
SCHEDULE = {
    "name": "nightly",
    "cron": "0 3 * * *",
    "everyS": None,
    "at": None,
    "timezone": "Europe/Berlin",
    "task": {"type": "report.write"},
    "message": None,
    "paused": False,
    "runs": 4,
    "nextRunAt": "2030-01-01T02:00:00.000Z",
    "source": "api",
}
PROBLEM = {
    "statusCode": 422,
    "message": "maxRetries in the body: expected a whole number, got high",
    "details": [{"field": "maxRetries", "expected": "a whole number", "got": "high"}],
    "remedy": "omit it",
}


@pytest.fixture
def service() -> Iterator[StubService]:
    with stub_service() as stub:
        yield stub


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKYARD_URL", raising=False)
    monkeypatch.delenv("TASKYARD_KEY", raising=False)


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


def accepted(asked: Asked) -> Any:
    return {"results": [{"success": True, "message": MESSAGE} for _ in asked.body["messages"]]}


class TestPublish:
    def test_sends_one_message_and_shows_its_record(self, service: StubService) -> None:
        service.answers["POST /mq/message/publish"] = (200, MESSAGE)
        result = run("publish", "order.created", '{"orderId": "1"}', "--priority", "5", "--url", service.url)
        assert result.exit_code == 0
        assert "order.created" in result.stdout
        assert service.asked[0].body == {"topic": "order.created", "payload": {"orderId": "1"}, "priority": 5}

    def test_sends_all_that_can_be_said(self, service: StubService) -> None:
        service.answers["POST /mq/message/publish"] = (200, MESSAGE)
        options = ["--at", "2030-01-01T00:00:00Z", "--max-retries", "0", "--trace-id", "t", "--priority", "-1"]
        options += ["--meta", '{"m": 1}', "--idempotency-key", "k", "--tenant", "acme"]
        options += ["--flow-key", "c-7"]
        assert run("publish", "t", "{}", *options, "--url", service.url).exit_code == 0
        assert service.asked[0].body == {
            "topic": "t",
            "payload": {},
            "priority": -1,
            "executeAt": "2030-01-01T00:00:00Z",
            "maxRetries": 0,
            "traceId": "t",
            "meta": {"m": 1},
            "idempotencyKey": "k",
            "tenant": "acme",
            "flowKey": "c-7",
        }

    def test_a_priority_may_be_named(self, service: StubService) -> None:
        service.answers |= {
            "POST /mq/message/publish": (200, MESSAGE),
            "POST /api/task/create": (200, TASK),
            "POST /api/schedule/create": (200, SCHEDULE),
        }
        schedule = ["schedules", "create", "s", "--every", "60", "--type", "t"]
        for command in (["publish", "t"], ["tasks", "create", "t"], schedule):
            assert run(*command, "--priority", "high", "--url", service.url).exit_code == 0
        sent = [asked.body.get("task", asked.body) for asked in service.asked]
        assert [body["priority"] for body in sent] == [10, 10, 10]

    def test_a_priority_that_there_is_not_is_told_with_those_that_there_are(self) -> None:
        result = run("tasks", "create", "t", "--priority", "urgent")
        expected = "expected low, normal, medium, high or critical, or a whole number, -1000 to 1000, got urgent"
        assert (result.exit_code, f"Invalid value for '--priority': {expected}" in result.stderr) == (2, True)

    def test_each_line_has_a_key_of_its_own(self, service: StubService) -> None:
        service.answers["POST /mq/message/publish-batch"] = (200, accepted)
        run("publish", "t", "-", "--idempotency-key", "k", "--url", service.url, stdin='{"n": 1}\n\n{"n": 3}\n')
        assert service.asked[0].body["messages"] == [
            {"topic": "t", "payload": {"n": 1}, "idempotencyKey": "k#1"},
            {"topic": "t", "payload": {"n": 3}, "idempotencyKey": "k#3"},
        ]

    def test_a_delay_is_told_as_a_time(self, service: StubService) -> None:
        service.answers["POST /mq/message/publish"] = (200, MESSAGE)
        before = datetime.now(UTC)
        run("publish", "t", "--delay", "90", "--url", service.url)
        start = datetime.fromisoformat(service.asked[0].body["executeAt"])
        assert timedelta(seconds=89) < start - before < timedelta(seconds=120)

    def test_json_only_on_demand(self, service: StubService) -> None:
        service.answers["POST /mq/message/publish"] = (200, MESSAGE)
        assert json.loads(run("publish", "t", "{}", "--json", "--url", service.url).stdout) == MESSAGE

    def test_a_line_is_a_message(self, service: StubService, tmp_path: Path) -> None:
        service.answers["POST /mq/message/publish-batch"] = (200, accepted)
        file = tmp_path / "lines.jsonl"
        file.write_text("".join(json.dumps({"n": number}) + "\n\n" for number in range(250)))
        result = run("publish", "t", "--file", str(file), "--priority", "2", "--url", service.url)
        assert result.stdout == "250 of 250 messages published to t\n"
        sent = [message for asked in service.asked for message in asked.body["messages"]]
        assert sent == [{"topic": "t", "priority": 2, "payload": {"n": number}} for number in range(250)]
        assert [len(asked.body["messages"]) for asked in service.asked] == [100, 100, 50]

    def test_reads_lines_from_standard_input(self, service: StubService) -> None:
        service.answers["POST /mq/message/publish-batch"] = (200, accepted)
        for way in (["-"], ["--file", "-"]):
            result = run("publish", "t", *way, "--url", service.url, stdin='{"a": 1}\n{"a": 2}')
            assert result.stdout == "2 of 2 messages published to t\n"

    def test_says_which_lines_were_refused(self, service: StubService) -> None:
        results = [{"success": True, "message": MESSAGE}, {"success": False, "error": "too large"}]
        service.answers["POST /mq/message/publish-batch"] = (200, {"results": results})
        result = run("publish", "t", "-", "--url", service.url, stdin="{}\n\n{}\n")
        assert (result.exit_code, result.stderr) == (1, "line 3: too large\n")
        assert result.stdout == "1 of 2 messages published to t\n"
        with_json = run("publish", "t", "-", "--json", "--url", service.url, stdin="{}\n{}\n")
        assert (with_json.exit_code, json.loads(with_json.stdout)) == (1, results)

    def test_publishes_nothing_when_a_line_is_no_json(self, service: StubService) -> None:
        result = run("publish", "t", "-", "--url", service.url, stdin="{}\n{oops\n")
        assert result.exit_code == 2
        assert "line 2 is no JSON" in result.stderr
        assert service.asked == []

    @pytest.mark.parametrize(
        "arguments",
        [
            ["publish"],
            ["publish", "t", "{oops"],
            ["publish", "t", "{}", "--file", "-"],
            ["publish", "t", "--delay", "1", "--at", "2030-01-01"],
            ["publish", "t", "--delay", "-1"],
            ["publish", "t", "--priority", "urgent"],
            ["publish", "t", "--priority", "1001"],
            ["tasks", "create", "t", "--priority", "High"],
        ],
    )
    def test_a_wrong_command_line_sends_nothing(self, service: StubService, arguments: list[str]) -> None:
        assert run(*arguments, *(["--url", service.url] if len(arguments) > 1 else [])).exit_code == 2
        assert service.asked == []


class TestBatches:
    def test_are_packed_by_bytes_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_client, "BATCH_MAX_BYTES", 100)
        documents = [{"text": "x" * size} for size in (40, 40, 300, 1)]
        assert [len(batch) for batch in http_client.batches(documents)] == [1, 1, 1, 1]
        assert [len(batch) for batch in http_client.batches([{}] * 3)] == [3]
        assert list(http_client.batches([])) == []


class TestTasks:
    def test_create_runs_a_handler_unless_told_otherwise(self, service: StubService) -> None:
        service.answers["POST /api/task/create"] = (200, TASK)
        run("tasks", "create", "text.statistics", '{"text": "a"}', "--delay", "1.5", "--url", service.url)
        run("tasks", "create", "review", "--manual", "--target-id", "4", "--url", service.url)
        common = {"targetId": "cli", "targetType": "cli"}
        assert [asked.body for asked in service.asked] == [
            {"type": "text.statistics", "input": {"text": "a"}, "runnerType": "system", "delay": 1.5, **common},
            {"type": "review", "runnerType": "manual", **common, "targetId": "4"},
        ]

    def test_create_sends_all_that_can_be_said(self, service: StubService) -> None:
        service.answers["POST /api/task/create"] = (200, TASK)
        options = ["--script", "pages", "--options", '{"o": 1}', "--context", '{"c": 2}', "--parent", "7"]
        options += ["--next", '{"type": "report"}', "--user", "ann", "--idempotency-key", "k", "--tenant", "acme"]
        options += ["--flow-key", "c-7"]
        assert run("tasks", "create", "review", *options, "--url", service.url).exit_code == 0
        assert service.asked[0].body == {
            "type": "review",
            "runnerType": "system",
            "targetId": "cli",
            "targetType": "cli",
            "scriptName": "pages",
            "options": {"o": 1},
            "context": {"c": 2},
            "parentTaskId": "7",
            "next": {"type": "report"},
            "userId": "ann",
            "idempotencyKey": "k",
            "tenant": "acme",
            "flowKey": "c-7",
        }

    def test_create_sends_a_task_for_each_line(self, service: StubService, tmp_path: Path) -> None:
        service.answers["POST /api/task/create-batch"] = (
            200,
            lambda asked: {"results": [{"success": True, "task": TASK} for _ in asked.body["tasks"]]},
        )
        file = tmp_path / "inputs.jsonl"
        file.write_text('{"n": 1}\n\n"two"\n')
        options = ["--file", str(file), "--priority", "low", "--idempotency-key", "k", "--url", service.url]
        result = run("tasks", "create", "review", *options)
        assert (result.exit_code, result.stdout) == (0, "2 of 2 tasks created\n")
        common = {"type": "review", "targetId": "cli", "targetType": "cli", "runnerType": "system", "priority": -10}
        assert service.asked[0].body == {
            "tasks": [
                {**common, "input": {"n": 1}, "idempotencyKey": "k#1"},
                {**common, "input": "two", "idempotencyKey": "k#3"},
            ]
        }
        assert run("tasks", "create", "review", "1", "--file", str(file)).exit_code == 2

    def test_create_says_which_lines_were_refused(self, service: StubService) -> None:
        refused = {"success": False, "error": "type: no handler is registered"}
        service.answers["POST /api/task/create-batch"] = (200, {"results": [{"success": True, "task": TASK}, refused]})
        result = run("tasks", "create", "review", "--file", "-", "--url", service.url, stdin="1\n2\n")
        assert (result.exit_code, result.stdout) == (1, "1 of 2 tasks created\n")
        assert result.stderr == "line 2: type: no handler is registered\n"

    def test_delete(self, service: StubService) -> None:
        service.answers["POST /api/task/delete"] = (200, {})
        for arguments in (["9"], ["9", "10", "--force"]):
            assert run("tasks", "delete", *arguments, "--url", service.url).exit_code == 0
        assert [asked.body for asked in service.asked] == [{"id": "9"}, {"taskIds": ["9", "10"], "force": True}]

    def test_list_shows_a_row_each(self, service: StubService) -> None:
        service.answers["GET /api/task/list"] = (200, {"pageData": [TASK], "totalCount": 31})
        options = ["--status", "failed", "--type", "text.statistics", "--search", "red shoes"]
        result = run("tasks", "list", *options, "--url", service.url)
        heading, row, total = result.stdout.splitlines()
        assert heading.split()[:3] == ["ID", "TYPE", "STATUS"]
        assert row.split()[:3] == ["9", "text.statistics", "failed"]
        assert row.endswith("too long")
        assert total == "1 of 31"
        assert service.asked[0].query == {
            "filter.type": ["text.statistics"],
            "filter.status": ["failed"],
            "filter.search": ["red shoes"],
            "currentPage": ["1"],
        }

    def test_list_answers_json(self, service: StubService) -> None:
        answer = {"pageData": [TASK], "totalCount": 31}
        service.answers["GET /api/task/list"] = (200, answer)
        assert json.loads(run("tasks", "list", "--json", "--url", service.url).stdout) == answer

    def test_show(self, service: StubService) -> None:
        service.answers["GET /api/task/detail"] = (200, TASK)
        assert "too long" in run("tasks", "show", "9", "--url", service.url).stdout
        assert service.asked[0].query == {"id": ["9"]}

    def test_show_ends_with_what_the_handler_printed(self, service: StubService) -> None:
        line = {"time": "2026-03-01T12:00:00.000Z", "attempt": 2, "source": "stdout", "text": "[bold]asked[/bold] 1"}
        service.answers["GET /api/task/detail"] = (200, {**TASK, "console": [line]})
        *_, heading, row = run("tasks", "show", "9", "--url", service.url).stdout.splitlines()
        assert heading.split() == ["TIME", "ATTEMPT", "SOURCE", "TEXT"]
        assert row.split() == ["2026-03-01T12:00:00.000Z", "2", "stdout", "[bold]asked[/bold]", "1"]
        answer = json.loads(run("tasks", "show", "9", "--json", "--url", service.url).stdout)
        assert answer["console"] == [line]

    def test_cancel_and_retry(self, service: StubService) -> None:
        service.answers |= {"POST /api/task/cancel": (200, {}), "POST /api/task/retry": (200, {})}
        for arguments in (["cancel", "9"], ["retry", "9"], ["retry", "9", "10"]):
            assert run("tasks", *arguments, "--url", service.url).exit_code == 0
        assert [asked.body for asked in service.asked] == [{"id": "9"}, {"id": "9"}, {"taskIds": ["9", "10"]}]

    def test_cancel_all_about_a_target(self, service: StubService) -> None:
        service.answers["POST /api/task/cancel"] = (200, {})
        about = ["--target-id", "4", "--target-type", "document", "--type", "review"]
        assert "review about document 4" in run("tasks", "cancel", *about, "--url", service.url).stdout
        for wrong in ([], ["9", *about], about[:4]):
            assert run("tasks", "cancel", *wrong, "--url", service.url).exit_code == 2
        assert [asked.body for asked in service.asked] == [
            {"targetId": "4", "targetType": "document", "type": "review"}
        ]

    def test_complete(self, service: StubService) -> None:
        service.answers["POST /api/task/complete"] = (200, {})
        for options in (["--output", '{"n": 1}', "--msg", "by hand", "--user-id", "u"], ["--failed", "--error", "no"]):
            assert run("tasks", "complete", "9", *options, "--url", service.url).exit_code == 0
        assert [asked.body for asked in service.asked] == [
            {"id": "9", "status": "success", "output": {"n": 1}, "msg": "by hand", "userId": "u"},
            {"id": "9", "status": "failed", "error": "no"},
        ]

    def test_log(self, service: StubService) -> None:
        entry = {"time": "2026-01-01T00:00:00.000Z", "message": "half way", "data": {"n": 1}}
        service.answers |= {"GET /api/task/log": (200, {"log": [entry]}), "POST /api/task/log": (200, {})}
        shown = run("tasks", "log", "9", "--url", service.url)
        assert (shown.exit_code, "half way" in shown.stdout) == (0, True)
        run("tasks", "log", "9", "half way", "--data", '{"n": 1}', "--url", service.url)
        assert (service.asked[0].query, service.asked[1].body) == (
            {"id": ["9"]},
            {"id": "9", "message": "half way", "data": {"n": 1}},
        )

    def test_they_go_where_the_routes_are(self, service: StubService, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TASKYARD_TASK_PREFIX", "/tasks/v1")
        service.answers["GET /tasks/v1/detail"] = (200, TASK)
        assert run("tasks", "show", "9", "--url", service.url).exit_code == 0


class TestWhy:
    ANSWER: ClassVar = {
        "id": "9",
        "state": "pending",
        "reason": "limit_reached",
        "sentence": "All 2 slots of the type t are taken; it is the next.",
        "expectedStart": None,
        "since": "2030-01-01T02:00:00.000Z",
        "details": {"kind": "task", "type": "t", "before": 0},
        "remedy": "`taskyard tasks list --type t --status running` shows who has them",
    }

    def test_says_it_and_then_the_details(self, service: StubService) -> None:
        service.answers["GET /api/job/9/why"] = (200, self.ANSWER)
        result = run("why", "9", "--url", service.url)
        assert (result.exit_code, result.stdout.splitlines()) == (
            0,
            [
                "All 2 slots of the type t are taken; it is the next.",
                "What to do: `taskyard tasks list --type t --status running` shows who has them",
                "id      9",
                "state   pending",
                "reason  limit_reached",
                "since   2030-01-01T02:00:00.000Z",
                "kind    task",
                "type    t",
                "before  0",
            ],
        )

    def test_says_nothing_of_what_to_do_where_nothing_is(self, service: StubService) -> None:
        service.answers["GET /api/job/9/why"] = (200, {**self.ANSWER, "remedy": None, "details": {}})
        assert run("why", "9", "--url", service.url).stdout.splitlines()[1] == "id      9"

    def test_as_json(self, service: StubService) -> None:
        service.answers["GET /api/job/9/why"] = (200, self.ANSWER)
        assert json.loads(run("why", "9", "--json", "--url", service.url).stdout) == self.ANSWER

    def test_an_odd_id_is_the_services_to_refuse(self, service: StubService) -> None:
        service.answers["GET /api/job/a%2Fb/why"] = (404, {"message": "there is no job 'a/b'"})
        result = run("why", "a/b", "--url", service.url)
        assert (result.exit_code, result.stderr) == (1, "there is no job 'a/b'\n")


class TestTheCostOfAJob:
    USED: ClassVar[dict[str, Any]] = {
        "id": "9",
        "runBy": "worker",
        "attempts": 2,
        "failures": 1,
        "sends": 1,
        "polls": 0,
        "runMs": 350,
        "payloadBytes": 200,
        "outputBytes": 12,
    }

    def cost(self, service: StubService, **used: Any) -> Any:
        service.answers["GET /api/job/9/usage"] = (200, {**self.USED, **used})
        return json.loads(run("cost", "--job", "9", "--json", "--url", service.url).stdout)

    def test_is_estimated_from_what_was_counted(self, service: StubService) -> None:
        answer = self.cost(service)
        assert answer["counted"] == self.USED
        lines = {(line["item"], line["for"]): line["amount"] for line in answer["estimated"]["lines"]}
        assert lines["dynamodb.write", "publish"] == 2
        assert lines["dynamodb.write", "attempts"] == 7 + 8
        assert lines["lambda.time-arm", "attempts"] == pytest.approx((350 + 5 * 10) / 1_000 / 2, rel=0.1)
        assert not [item for item, _ in lines if item == "cloudwatch.metric"]
        total = sum(line["usd"] for line in answer["estimated"]["lines"])
        assert answer["estimated"]["usd"] == pytest.approx(total, abs=1e-8)
        assert 0.000015 < total < 0.00004

    def test_of_one_that_has_not_run_is_that_of_its_publish(self, service: StubService) -> None:
        answer = self.cost(service, attempts=0, failures=0, runMs=0)
        assert "attempts" not in {line["for"] for line in answer["estimated"]["lines"]}

    def test_of_one_that_clients_poll_has_their_requests(self, service: StubService) -> None:
        lines = self.cost(service, runBy="client")["estimated"]["lines"]
        assert "polls and reports" in {line["for"] for line in lines}

    def test_is_shown_for_a_million_such(self, service: StubService) -> None:
        service.answers["GET /api/job/9/usage"] = (200, self.USED)
        shown = run("cost", "--job", "9", "--url", service.url).stdout
        usd = self.cost(service)["estimated"]["usd"]
        assert "runMs         350" in shown
        assert f"{usd * 1_000_000:.2f}" in shown


class TestApplications:
    SHOWN: ClassVar[dict[str, Any]] = {
        "appKey": "wWt1aSZj2KXMO7fE",
        "appName": "billing",
        "linkUrl": "https://b.example.com/",
        "step": 5,
        "retryTotal": 5,
        "concurrency": 4,
        "status": 1,
        "restingUntil": None,
        "rotatingUntil": None,
    }

    def test_create_sends_all_that_can_be_said_and_shows_the_secret(self, service: StubService) -> None:
        made = {"appKey": "wWt1aSZj2KXMO7fE", "secretKey": "s" * 32, "nonce": "n", "signature": "x"}
        service.answers["POST /application/create"] = (200, {"code": 0, "msg": "Ok!", "data": made})
        options = ["--step", "1", "--retries", "0", "--remark", "r", "--concurrency", "2", "--tz", "Asia/Shanghai"]
        given = ["billing", "https://b.example.com/", *options, "--no-replay-protection", "--url", service.url]
        result = run("applications", "create", *given)
        assert result.exit_code == 0
        assert [word in result.stdout for word in ("wWt1aSZj2KXMO7fE", "s" * 32, "nonce")] == [True, True, False]
        assert service.asked[0].body == {
            "appName": "billing",
            "linkUrl": "https://b.example.com/",
            "step": 1,
            "retryTotal": 0,
            "remark": "r",
            "concurrency": 2,
            "timezone": "Asia/Shanghai",
            "replayProtection": False,
        }
        ApplicationOrder.model_validate(service.asked[0].body)

    def test_list(self, service: StubService) -> None:
        service.answers["GET /application/list"] = (200, {"code": 0, "msg": "Ok!", "data": [self.SHOWN]})
        heading, row = run("applications", "list", "--url", service.url).stdout.splitlines()
        assert heading.split()[:3] == ["KEY", "NAME", "URL"]
        assert [word in row for word in ("wWt1aSZj2KXMO7fE", "billing", "enabled")] == [True] * 3

    @pytest.mark.parametrize(
        ("arguments", "body"),
        [
            (["disable", "K"], {"app_key": "K"}),
            (["enable", "K"], {"app_key": "K"}),
            (["rotate", "K"], {"app_key": "K", "finish": False}),
            (["rotate", "K", "--grace", "60"], {"app_key": "K", "finish": False, "grace": 60}),
            (["rotate", "K", "--finish"], {"app_key": "K", "finish": True}),
        ],
    )
    def test_changes(self, service: StubService, arguments: list[str], body: dict[str, Any]) -> None:
        answer = {"code": 0, "msg": "Ok!", "data": self.SHOWN}
        service.answers[f"POST /application/{arguments[0]}"] = (200, answer)
        result = run("applications", *arguments, "--json", "--url", service.url)
        assert (result.exit_code, json.loads(result.stdout)) == (0, self.SHOWN)
        assert service.asked[0].body == body

    def test_what_was_not_done(self, service: StubService) -> None:
        for status, code in ((200, 1), (422, 422)):
            service.answers["POST /application/disable"] = (status, {"code": code, "msg": "Unknown Key#", "data": []})
            result = run("applications", "disable", "K", "--url", service.url)
            assert (result.exit_code, "Unknown Key#" in result.stderr) == (1, True)

    @pytest.mark.parametrize("from_environment", [False, True])
    def test_headers_for_a_body_never_take_or_show_the_secret_in_the_open(
        self, service: StubService, monkeypatch: pytest.MonkeyPatch, from_environment: bool
    ) -> None:
        made = {"appKey": "K", "nonce": "n", "timestamps": "1627371056", "payload": "p", "signature": "x"}
        answer = {"code": 0, "msg": "Ok!", "data": {**made, "secretKey": "s" * 32}}
        service.answers["POST /application/refresh-signature"] = (200, answer)
        if from_environment:
            monkeypatch.setenv("TASKYARD_SECRET", "s" * 32)
        given = ("applications", "refresh-signature", "K", "--payload", "p", "--json", "--url", service.url)
        result = run(*given, stdin=None if from_environment else "s" * 32 + "\n")
        assert (result.exit_code, json.loads(result.stdout)) == (0, made)
        assert service.asked[0].body == {"app_key": "K", "secret_key": "s" * 32, "payload": "p"}


class TestGraphs:
    GRAPH: ClassVar = {"id": "7", "status": "running", "counts": {"pending": 1, "blocked": 1}, "completedAt": None}
    NODES: ClassVar = [{"name": "a", "type": "t"}, {"name": "b", "type": "t", "after": ["a"]}]

    @pytest.mark.parametrize("content", [NODES, {"nodes": NODES}])
    def test_create_from_a_file_or_standard_input(self, service: StubService, tmp_path: Path, content: Any) -> None:
        service.answers["POST /api/task/graph"] = (200, self.GRAPH)
        (file := tmp_path / "nightly.json").write_text(json.dumps(content))
        result = run("graphs", "create", str(file), "--idempotency-key", "k", "--url", service.url)
        assert (result.exit_code, "running" in result.stdout) == (0, True)
        result = run("graphs", "create", "-", "--url", service.url, stdin=json.dumps(content))
        assert result.exit_code == 0
        assert [asked.body for asked in service.asked] == [
            {"nodes": self.NODES, "idempotencyKey": "k"}, {"nodes": self.NODES},
        ]  # fmt: skip

    @pytest.mark.parametrize("content", ["7", "no JSON"])
    def test_what_is_no_graph(self, service: StubService, content: str) -> None:
        result = run("graphs", "create", "-", "--url", service.url, stdin=content)
        assert (result.exit_code, service.asked) == (2, [])

    def test_show(self, service: StubService) -> None:
        service.answers["GET /api/task/graph"] = (200, self.GRAPH)
        result = run("graphs", "show", "7", "--json", "--url", service.url)
        assert (json.loads(result.stdout), service.asked[0].query) == (self.GRAPH, {"id": ["7"], "counts": ["true"]})

    def test_a_picture(self, service: StubService) -> None:
        service.answers["GET /api/task/graph/mermaid"] = (200, {"mermaid": 'flowchart TD\n    n0["a"]'})
        assert run("graphs", "show", "7", "--mermaid", "--url", service.url).stdout == 'flowchart TD\n    n0["a"]\n'

    def test_nodes(self, service: StubService) -> None:
        names = [f"n{number}" for number in range(7)]
        node = {"name": "join", "type": "t", "after": names, "status": "blocked", "taskId": None, "error": None}
        service.answers["GET /api/task/graph/nodes"] = (200, {"pageData": [node], "totalCount": 8})
        heading, row, count = run("graphs", "nodes", "7", "--page", "2", "--url", service.url).stdout.splitlines()
        assert heading.split() == ["NAME", "TYPE", "AFTER", "STATUS", "TASK", "ERROR"]
        assert row.split("  ")[:1] == ["join"]
        assert "n0, n1, n2, n3, n4 and 2 more" in row
        assert (count, service.asked[0].query) == ("1 of 8", {"id": ["7"], "page": ["2"], "perPage": ["100"]})

    @pytest.mark.parametrize("command", ["cancel", "retry"])
    def test_commands(self, service: StubService, command: str) -> None:
        service.answers[f"POST /api/task/graph/{command}"] = (200, self.GRAPH)
        result = run("graphs", command, "7", "--json", "--url", service.url)
        assert (json.loads(result.stdout), service.asked[0].body) == (self.GRAPH, {"id": "7"})


class TestSchedules:
    def test_create_sends_all_that_can_be_said(self, service: StubService) -> None:
        service.answers["POST /api/schedule/create"] = (200, SCHEDULE)
        options = ["--cron", "0 3 * * *", "--tz", "Europe/Berlin", "--type", "report.write", "--input", '{"n": 1}']
        options += ["--priority", "5", "--missed", "all", "--overlap", "skip", "--jitter", "1.5", "--max-runs", "3"]
        options += ["--missed-max", "7"]
        options += ["--start", "2030-01-01", "--end", "2031-01-01T00:00:00Z", "--paused"]
        result = run("schedules", "create", "nightly", *options, "--url", service.url)
        assert (result.exit_code, "nextRunAt" in result.stdout) == (0, True)
        assert service.asked[0].body == {
            "name": "nightly",
            "cron": "0 3 * * *",
            "timezone": "Europe/Berlin",
            "task": {"type": "report.write", "input": {"n": 1}, "priority": 5},
            "missed": "all",
            "missedMax": 7,
            "overlap": "skip",
            "jitterS": 1.5,
            "maxRuns": 3,
            "startAt": "2030-01-01",
            "endAt": "2031-01-01T00:00:00Z",
            "paused": True,
        }
        ScheduleBody.model_validate(service.asked[0].body)

    def test_create_of_a_message_and_of_one_that_may_be_there(self, service: StubService) -> None:
        service.answers["POST /api/schedule/save"] = (200, SCHEDULE)
        for when in (["--every", "90"], ["--at", "2030-01-01T00:00:00Z"]):
            run("schedules", "create", "s", *when, "--topic", "t", "--replace", "--url", service.url)
        message = {"topic": "t", "payload": {}}
        assert [asked.body for asked in service.asked] == [
            {"name": "s", "everyS": 90.0, "message": message},
            {"name": "s", "at": "2030-01-01T00:00:00Z", "message": message},
        ]

    def test_what_was_seen_alone_is_replaced_if_asked(self, service: StubService) -> None:
        service.answers["POST /api/schedule/save"] = (200, SCHEDULE)
        wanted = ("create", "s", "--every", "90", "--topic", "t", "--if-version", "none")
        assert run("schedules", *wanted, "--replace", "--url", service.url).exit_code == 0
        assert service.asked[0].body["ifVersion"] == "none"
        refused = run("schedules", *wanted, "--url", service.url)
        assert (refused.exit_code, "--if-version goes with --replace" in refused.output) == (2, True)
        assert len(service.asked) == 1

    @pytest.mark.parametrize(
        "arguments",
        [
            ["create"],
            ["create", "s", "--every", "5"],
            ["create", "s", "--every", "5", "--type", "a", "--topic", "b"],
            ["create", "s", "--every", "soon", "--type", "a"],
            ["create", "s", "--every", "5", "--type", "a", "--input", "{oops"],
            ["create", "s", "--every", "5", "--type", "a", "--overlap", "maybe"],
            ["preview", "s", "--count", "0"],
            ["history"],
        ],
    )
    def test_a_wrong_command_line_sends_nothing(self, service: StubService, arguments: list[str]) -> None:
        assert run("schedules", *arguments, "--url", service.url).exit_code == 2
        assert service.asked == []

    def test_list_shows_a_row_each_of_all_pages(self, service: StubService) -> None:
        often = {**SCHEDULE, "name": "often", "cron": None, "everyS": 90.0, "task": None, "message": {"topic": "news"}}
        pages = iter([{"pageData": [SCHEDULE], "nextCursor": "nightly"}, {"pageData": [often], "nextCursor": None}])
        service.answers["GET /api/schedule/list"] = (200, lambda _: next(pages))
        heading, first, second = run("schedules", "list", "--url", service.url).stdout.splitlines()
        assert heading.split() == ["NAME", "WHEN", "ZONE", "MAKES", "NEXT", "RUNS", "PAUSED", "SOURCE"]
        row = "nightly 0 3 * * * Europe/Berlin report.write 2030-01-01T02:00:00.000Z 4 false api"
        assert " ".join(first.split()) == row
        assert second.split()[:6] == ["often", "every", "90", "s", "Europe/Berlin", "news"]
        assert service.asked[1].query == {"perPage": ["100"], "cursor": ["nightly"]}

    def test_list_answers_json(self, service: StubService) -> None:
        service.answers["GET /api/schedule/list"] = (200, {"pageData": [SCHEDULE], "nextCursor": None})
        assert json.loads(run("schedules", "list", "--json", "--url", service.url).stdout) == [SCHEDULE]

    def test_what_is_done_with_one(self, service: StubService) -> None:
        for verb in ("pause", "resume", "run", "delete"):
            service.answers[f"POST /api/schedule/{verb}"] = (200, SCHEDULE)
            assert json.loads(run("schedules", verb, "nightly", "--json", "--url", service.url).stdout) == SCHEDULE
        assert [asked.body for asked in service.asked] == [{"name": "nightly"}] * 4
        service.answers["GET /api/schedule/detail"] = (200, SCHEDULE)
        assert "Europe/Berlin" in run("schedules", "show", "nightly", "--url", service.url).stdout

    def test_preview_shows_a_time_a_line(self, service: StubService) -> None:
        answer = {"timezone": "UTC", "slots": ["2030-01-01T02:00:00.000Z", "2030-01-02T02:00:00.000Z"]}
        service.answers["GET /api/schedule/preview"] = (200, answer)
        shown = run("schedules", "preview", "nightly", "--count", "2", "--url", service.url).stdout
        assert shown.splitlines() == answer["slots"]
        assert service.asked[0].query == {"name": ["nightly"], "count": ["2"]}

    def test_history_shows_jobs_and_why_there_are_none(self, service: StubService) -> None:
        slot = {"at": "2030-01-02", "until": None, "count": None, "byRequest": False, "id": "7", "status": "success"}
        skip = {**slot, "at": "2030-01-01", "until": "2030-01-02", "count": 3, "id": None, "status": None}
        runs = [{**slot, "skipped": None}, {**skip, "skipped": "missed"}, {**slot, "byRequest": True, "skipped": None}]
        service.answers["GET /api/schedule/history"] = (200, {"pageData": runs, "nextCursor": None})
        heading, *rows = run("schedules", "history", "nightly", "--url", service.url).stdout.splitlines()
        assert heading.split() == ["AT", "UNTIL", "COUNT", "BY", "ID", "STATUS", "SKIPPED"]
        assert [row.split() for row in rows] == [
            ["2030-01-02", "clock", "7", "success"],
            ["2030-01-01", "2030-01-02", "3", "clock", "missed"],
            ["2030-01-02", "request", "7", "success"],
        ]

    def test_a_refusal_names_the_field_and_the_remedy(self, service: StubService) -> None:
        detail = {"field": "cron", "expected": "the same times for every process that asks", "got": "r"}
        problem = {"statusCode": 422, "message": "no", "details": [detail], "remedy": "H is drawn from the name"}
        service.answers["POST /api/schedule/create"] = (422, problem)
        result = run("schedules", "create", "s", "--cron", "R 3 * * *", "--type", "a", "--url", service.url)
        assert result.exit_code == 1
        assert result.stderr.splitlines() == [
            "no",
            "  cron: expected the same times for every process that asks, got r",
            "  H is drawn from the name",
        ]


class TestMessages:
    def test_list(self, service: StubService) -> None:
        service.answers["GET /mq/message/list"] = (200, {"pageData": [MESSAGE], "totalCount": 1})
        result = run("messages", "list", "--topic", "order.created", "--status", "PENDING", "--url", service.url)
        assert result.stdout.splitlines()[1].split()[:3] == ["7", "order.created", "PENDING"]
        assert service.asked[0].query["status"] == ["PENDING"]

    def test_poll_and_settle(self, service: StubService) -> None:
        taken = {**MESSAGE, "lockToken": "secret-1", "lockExpiresAt": "2026-01-01T00:00:30.000Z"}
        service.answers |= {
            "GET /mq/message/poll": (200, [taken]),
            "POST /mq/message/complete": (200, MESSAGE),
            "POST /mq/message/fail": (200, MESSAGE),
        }
        shown = run("messages", "poll", "t", "--limit", "2", "--wait", "5", "--url", service.url)
        assert (shown.exit_code, "secret-1" in shown.stdout) == (0, True)
        assert run("messages", "complete", "7", "--lock-token", "secret-1", "--url", service.url).exit_code == 0
        assert run("messages", "fail", "7", "--error", "no stock", "--url", service.url).exit_code == 0
        assert service.asked[0].query == {"topic": ["t"], "limit": ["2"], "wait": ["5"]}
        assert [asked.body for asked in service.asked[1:]] == [
            {"id": "7", "lockToken": "secret-1"},
            {"id": "7", "error": "no stock"},
        ]

    def test_trace_and_depth(self, service: StubService) -> None:
        event = {"createdAt": "now", "messageId": "7", "topic": "t", "event": "PUBLISHED", "detail": None}
        service.answers |= {
            "GET /mq/trace/detail": (200, [event]),
            "GET /mq/queue/depth": (200, {"depth": 41, "isExact": True, "byTopic": None}),
        }
        assert "PUBLISHED" in run("messages", "trace", "tour 1", "--url", service.url).stdout
        assert "41" in run("messages", "depth", "--topic", "t", "--url", service.url).stdout
        assert [asked.query for asked in service.asked] == [{"traceId": ["tour 1"]}, {"topic": ["t"]}]


class TestDeadLetters:
    def test_list_can_be_limited_to_those_not_replayed(self, service: StubService) -> None:
        service.answers["GET /mq/dlq/list"] = (200, {"pageData": [], "totalCount": 0})
        for option, wanted in (("--replayed", ["true"]), ("--not-replayed", ["false"])):
            run("dlq", "list", option, "--url", service.url)
            assert service.asked.pop().query["replayed"] == wanted
        run("dlq", "list", "--url", service.url)
        assert "replayed" not in service.asked.pop().query

    def test_replay_by_id(self, service: StubService) -> None:
        results = [
            {"id": "1", "success": True, "messageId": "5"},
            {"id": "2", "success": False, "error": "it was replayed already"},
        ]
        service.answers["POST /mq/dlq/replay"] = (200, results)
        result = run("dlq", "replay", "1", "2", "--url", service.url)
        assert result.exit_code == 1
        assert "it was replayed already" in result.stdout
        assert service.asked[0].body == {"ids": ["1", "2"]}

    def test_replay_of_all_reads_every_page_first(self, service: StubService) -> None:
        pages = [[{"id": str(number)} for number in range(start, end)] for start, end in ((0, 100), (100, 150))]
        service.answers["GET /mq/dlq/list"] = [
            (200, {"pageData": page, "totalCount": 150, "nextCursor": cursor})
            for page, cursor in zip(pages, ("c1", None), strict=True)
        ]
        service.answers["POST /mq/dlq/replay"] = (
            200,
            lambda asked: [{"id": name, "success": True} for name in asked.body["ids"]],
        )
        result = run("dlq", "replay", "--all", "--topic", "t", "--json", "--url", service.url)
        assert result.exit_code == 0
        assert [entry["id"] for entry in json.loads(result.stdout)] == [str(number) for number in range(150)]
        assert [asked.method for asked in service.asked] == ["GET", "GET", "POST", "POST"]
        assert service.asked[1].query == {
            "topic": ["t"],
            "replayed": ["false"],
            "perPage": ["100"],
            "cursor": ["c1"],
        }

    @pytest.mark.parametrize("arguments", [[], ["1", "--all"], ["1", "--topic", "t"]])
    def test_replay_needs_to_know_which(self, service: StubService, arguments: list[str]) -> None:
        assert run("dlq", "replay", *arguments, "--url", service.url).exit_code == 2


class TestEnds:
    def test_a_refusal_is_explained(self, service: StubService) -> None:
        service.answers["POST /mq/message/publish"] = (422, PROBLEM)
        result = run("publish", "t", "{}", "--json", "--url", service.url)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.splitlines() == [
            "maxRetries in the body: expected a whole number, got high",
            "  maxRetries: expected a whole number, got high",
            "  omit it",
        ]

    def test_an_answer_that_is_no_json_is_a_refusal_too(self, service: StubService) -> None:
        service.answers["GET /api/task/list"] = (502, b"<html>bad gateway</html>")
        result = run("tasks", "list", "--url", service.url)
        assert (result.exit_code, result.stderr) == (1, "the service answered 502\n")

    def test_nobody_answers(self) -> None:
        result = run("tasks", "list", "--url", NOBODY)
        assert result.exit_code == 3
        assert NOBODY in result.stderr
        assert "taskyard up" in result.stderr

    def test_a_request_that_was_not_answered_may_have_been_carried_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_client, "TIMEOUT_S", 0.05)
        with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and never says a word
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            plain, keyed = (
                run("publish", "t", "--url", url),
                run("publish", "t", "--idempotency-key", "k", "--url", url),
            )
            asked = run("tasks", "list", "--url", url)
        assert [result.exit_code for result in (plain, keyed, asked)] == [3, 3, 3]
        assert all(f"{url} took the request and did not answer" in r.stderr for r in (plain, keyed, asked))
        assert "it may have been done: look (`taskyard messages list`" in plain.stderr
        assert "repeat it with the same --idempotency-key" in keyed.stderr
        assert "may have been done" not in asked.stderr

    def test_a_url_must_be_one(self) -> None:
        result = run("tasks", "list", "--url", "localhost:8000")
        assert result.exit_code == 2
        assert "expected http://HOST:PORT" in result.stderr

    def test_url_and_key_come_from_the_environment(self, service: StubService, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TASKYARD_URL", f"{service.url}/stage/")
        monkeypatch.setenv("TASKYARD_KEY", "ty_secret")
        service.answers["GET /stage/api/task/list"] = (200, {"pageData": [], "totalCount": 0})
        assert run("tasks", "list").exit_code == 0
        assert service.asked[0].headers["authorization"] == "Bearer ty_secret"

    def test_without_a_key_none_is_sent(self, service: StubService) -> None:
        run("tasks", "list", "--url", service.url)
        assert "authorization" not in service.asked[0].headers


class TestWhichInstallation:
    def test_a_service_elsewhere_is_not_taken_for_a_local_one(self, service: StubService) -> None:
        service.answers["GET /health"] = (200, {"status": "ok", "stage": "dev", "endpoint": None})
        result = run("keys", "list", "--url", service.url)
        assert result.exit_code == 2
        assert "does not run on this machine" in result.stderr

    def test_it_is_the_one_that_answers_whatever_project_is_here(
        self, service: StubService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = tmp_path / "other" / ".chalice"
        here.mkdir(parents=True)
        (here / "config.json").write_text('{"environment_variables": {"TASKYARD_PREFIX": "other"}}')
        monkeypatch.chdir(here.parent)
        told = {"status": "ok", "stage": "local", "prefix": "shop", "endpoint": "http://127.0.0.1:1"}
        service.answers["GET /health"] = (200, told)
        monkeypatch.setattr(sys, "path", [*sys.path])
        with patch.dict(os.environ, {"TASKYARD_PREFIX": "mine"}):
            choose_installation(None, None, service.url)
            assert (settings.current().base_name, os.environ["AWS_ENDPOINT_URL"]) == (
                "shop-local",
                "http://127.0.0.1:1",
            )
        settings.current.cache_clear()

    @pytest.mark.parametrize("arguments", [["keys", "list"], ["invoke", "clock", "-"]])
    def test_nobody_answers(self, arguments: list[str]) -> None:
        assert run(*arguments, "--url", NOBODY, stdin="{}").exit_code == 3


def test_tells_its_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("taskyard")


def test_what_runs_here_is_no_deployed_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKYARD_STAGE", "prod")
    result = run("up", "--port", "0")
    assert result.exit_code == 2
    assert "TASKYARD_STAGE says prod" in result.stderr
    assert "taskyard deploy --stage prod" in result.stderr

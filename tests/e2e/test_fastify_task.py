"""What the README of fastify-task shows, done here: over HTTP and by the services in Python, against `taskyard up`.

Each test is one of its calls, tables or examples, in its order, with the result that it documents.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chalicelib import settings
from chalicelib.core.errors import Conflict
from chalicelib.core.signature import sign
from chalicelib.engine.handlers.registry import registry_of
from chalicelib.engine.yard import build
from chalicelib.services import installation, tasks
from tests.support.service import service as deployed_app
from tests.support.up import Service
from tests.support.waiting import becomes, until
from tests.support.yards import CREDENTIALS, environment, forget_clients

DOCUMENT = Path(__file__).parents[2] / "docs" / "fastify-task.md"
HANDLERS = "chalicelib.tasks,tests.support.dialect_handlers"
SECRET = "your-secret"  # noqa: S105  # the README's own
MODEL = {
    "id", "type", "scriptName", "targetId", "targetType", "runnerType", "startTime", "completedAt", "input", "output",
    "error", "status", "context", "pollResults", "pollCount", "progress", "msg", "options",
}  # fmt: skip


@pytest.fixture
def acting(api: Service) -> Iterator[None]:
    """The services in this process act on the same installation."""
    own = {"AWS_ENDPOINT_URL": api.endpoint_url, "TASKYARD_INDEX_SHARDS": "1", "TASKYARD_HANDLERS": HANDLERS}
    with environment({**CREDENTIALS, **own}):
        forget_clients()
        chosen = settings.read(own)
        with installation.using(build(registry_of(chosen), chosen)):
            yield
    forget_clients()


def create(api: Service, task_type: str, target_id: str = "t-1", **fields: Any) -> dict[str, Any]:
    body = {"type": task_type, "targetId": target_id, "targetType": "document", **fields}
    return dict(api.post("/api/task/create", body))


def waiting(api: Service, secret: str | None = None) -> str:
    """The id of a task that waits to be called back."""
    made = create(api, "flow.parked", runnerType="system", context={"secret": secret})
    becomes("waiting", lambda: api.task(made["id"])["status"])
    return str(made["id"])


def listed(api: Service, query: str) -> list[str]:
    return [task["id"] for task in api.get(f"/api/task/list?{query}")["pageData"]]


class TestOverview:
    def test_a_system_task_is_run_and_a_manual_one_waits_for_its_person(self, api: Service) -> None:
        run = create(api, "flow.scripts", runnerType="system", input=7)
        by_hand = create(api, "flow.scripts", input=7)
        assert (run["status"], by_hand["status"], by_hand["runnerType"]) == ("pending", "pending", "manual")
        becomes("success", lambda: api.task(run["id"])["status"])
        assert api.task(by_hand["id"])["status"] == "pending"

    def test_every_field_of_the_model(self, api: Service) -> None:
        before = datetime.now(UTC)
        given = {"input": {"name": "x"}, "options": {"o": 1}, "context": {"n": 1}, "delay": 0.2, "userId": "u-1"}
        made = create(api, "flow.scripts", "readme", runnerType="system", scriptName="nightly_2-b", **given)
        assert made.keys() >= MODEL
        until(lambda: api.task(made["id"])["status"] == "success")
        task = api.task(made["id"])
        told = {
            "type": "flow.scripts",
            "scriptName": "nightly_2-b",
            "targetId": "readme",
            "targetType": "document",
            "runnerType": "system",
            "input": {"name": "x"},
            "output": "nightly of {'name': 'x'}",
            "error": None,
            "status": "success",
            "context": {"n": 1},
            "pollResults": [],
            "pollCount": 0,
            "progress": 100.0,
            "msg": None,
            "options": {"o": 1},
            "createdUserId": "u-1",
        }
        assert {name: task[name] for name in told} == told
        start, started, completed = (
            datetime.fromisoformat(task[name]) for name in ("startTime", "startedAt", "completedAt")
        )
        assert timedelta(0) <= start - before - timedelta(seconds=0.2) < timedelta(seconds=5)
        assert start <= started + timedelta(milliseconds=1) <= completed + timedelta(milliseconds=2)

    def test_polls_and_their_results(self, api: Service) -> None:
        answers = [{"result": "pending", "progress": 40}, {"result": "success", "data": {"n": 2}, "message": "there"}]
        made = create(api, "flow.polled", runnerType="system", input=answers)
        becomes("success", lambda: api.task(made["id"])["status"])
        task = api.task(made["id"])
        assert (task["pollCount"], task["output"], task["progress"]) == (2, {"n": 2}, 100.0)
        for found, answer in zip(task["pollResults"], answers, strict=True):
            assert {name: found[name] for name in answer} == answer
            assert datetime.fromisoformat(found["time"]) <= datetime.now(UTC)

    def test_progress_and_message_of_the_handler(self, api: Service) -> None:
        script = {"progress": [1, 4, "one of four"], "reject": "stop"}
        made = create(api, "scripted", runnerType="system", input=script)
        becomes("failed", lambda: api.task(made["id"])["status"])
        task = api.task(made["id"])
        assert (task["progress"], task["msg"], task["error"]["message"]) == (25.0, "one of four", "stop")


class TestSignatures:
    """The README's three examples. What Node computes for them: tests/core/test_signature.py."""

    def test_next(self, api: Service) -> None:
        task_id = waiting(api, SECRET)
        result = json.dumps({"code": 0, "data": {"output": "done"}}, separators=(",", ":"))
        body = {"id": task_id, "result": result}
        assert api.call("POST", "/api/task/next", body)[0] == 401
        assert api.call("POST", "/api/task/next", {**body, "signature": sign(SECRET, "task-1", result)})[0] == 401
        assert api.post("/api/task/next", {**body, "signature": sign(SECRET, task_id, result)}) == {}
        assert api.task(task_id)["output"] == {"code": 0, "data": {"output": "done"}}

    def test_log_and_callback(self, api: Service) -> None:
        task_id = waiting(api, SECRET)
        entry = {"data": {"key": "value"}, "message": "日志消息"}
        done = {"code": 0, "data": {"result": "done"}, "message": "成功"}
        for path, told in (("log", entry), ("callback", done)):
            assert api.call("POST", f"/api/task/{path}", {"id": task_id, **told})[0] == 401
            signature = sign(SECRET, task_id, told)
            assert api.post(f"/api/task/{path}", {"id": task_id, **told, "signature": signature}) == {}
        task = api.task(task_id)
        assert (task["status"], task["output"]) == ("success", {"result": "done"})
        assert [(note["message"], note["data"]) for note in task["log"]] == [
            ("成功", {"code": 0, "data": {"result": "done"}}),
            ("日志消息", {"key": "value"}),
            ("parked", {"given": None}),
        ]


class TestList:
    @pytest.fixture(scope="class")
    @staticmethod
    def made(api: Service) -> list[dict[str, Any]]:
        """Three tasks: the first of them completed, the last one of another target."""
        found = [
            create(api, "e2e.listed", target, input={"name": f"Report {n}"}) for n, target in enumerate("aab", start=1)
        ]
        api.post("/api/task/complete", {"id": found[0]["id"], "status": "success"})
        return [api.task(task["id"]) for task in found]

    def test_pages(self, api: Service, made: list[dict[str, Any]]) -> None:
        newest_first = [task["id"] for task in reversed(made)]
        becomes(newest_first, lambda: listed(api, "filter.type=e2e.listed"))
        page = api.get("/api/task/list?filter.type=e2e.listed&perPage=2&currentPage=2")
        assert ([task["id"] for task in page["pageData"]], page["totalCount"]) == (newest_first[2:], 3)
        assert len(api.get("/api/task/list")["pageData"]) <= 20

    @pytest.mark.parametrize("style", ["filter.{}", "filter[{}]"])
    def test_filters(self, api: Service, made: list[dict[str, Any]], style: str) -> None:
        first, second, third = made
        for key, value, expected in (
            ("id", first["id"], [first]),
            ("targetId", "a", [second, first]),
            ("targetName", "rePORT 2", [second]),
            ("status", "success", [first]),
            ("status", "pending", [third, second]),
            ("runnerType", "manual", [third, second, first]),
            ("runnerType", "system", []),
            ("search", "2 REPORT", [second]),
        ):
            query = f"filter.type=e2e.listed&{style.format(key)}={value.replace(' ', '%20')}"
            becomes([task["id"] for task in expected], lambda query=query: listed(api, query))

    @pytest.mark.parametrize("style", ["filter.{}.{}", "filter[{}][{}]"])
    def test_spans(self, api: Service, made: list[dict[str, Any]], style: str) -> None:
        first, second, third = made

        def between(key: str, start: str, end: str) -> list[str]:
            span = "&".join(f"{style.format(key, name)}={at}" for name, at in (("startTime", start), ("endTime", end)))
            return listed(api, f"filter.type=e2e.listed&{span}")

        becomes([second["id"]], lambda: between("createdAt", second["createdAt"], second["createdAt"])[:1])
        assert third["id"] in between("createdAt", second["createdAt"], third["createdAt"])
        assert between("completedAt", first["completedAt"], first["completedAt"]) == [first["id"]]
        assert between("completedAt", "2100-01-01", "2100-01-02") == []

    def test_sort(self, api: Service, made: list[dict[str, Any]]) -> None:
        first, second, third = (task["id"] for task in made)
        assert listed(api, "filter.type=e2e.listed&sort[id]=ASC") == [first, second, third]
        assert listed(api, "filter.type=e2e.listed&sort[targetId]=DESC")[0] == third
        assert api.call("GET", "/api/task/list?sort[color]=ASC")[0] == 422


class TestComplete:
    def test_success_and_failure(self, api: Service) -> None:
        done, failed = (create(api, "e2e.completed")["id"] for _ in range(2))
        body = {"id": done, "status": "success", "output": {"n": 1}, "msg": "by hand", "userId": "u-2"}
        assert api.post("/api/task/complete", body) == {}
        assert api.post("/api/task/complete", {"id": failed, "status": "failed", "error": "no stock"}) == {}
        shown, other = api.task(done), api.task(failed)
        assert [shown[name] for name in ("status", "output", "msg", "completedUserId", "progress")] == [
            "success",
            {"n": 1},
            "by hand",
            "u-2",
            100.0,
        ]
        assert (other["status"], other["error"]["message"]) == ("failed", "no stock")
        assert api.call("POST", "/api/task/complete", body)[0] == 409

    def test_the_handler_registered_for_the_type_has_the_last_word(self, api: Service) -> None:
        made = create(api, "flow.reported")
        assert api.post("/api/task/complete", {"id": made["id"], "status": "success", "output": "refuse"}) == {}
        becomes("failed", lambda: api.task(made["id"])["status"])
        task = api.task(made["id"])
        assert (task["output"], task["error"]["message"]) == ("refuse", "nobody wants this result")


class TestCancelAndRetry:
    def test_by_id(self, api: Service) -> None:
        made = create(api, "e2e.canceled")
        for _ in range(2):
            assert api.post("/api/task/cancel", {"id": made["id"]}) == {}
            assert api.task(made["id"])["status"] == "canceled"
        assert api.post("/api/task/retry", {"id": made["id"]}) == {}
        task = api.task(made["id"])
        assert [task[name] for name in ("status", "error", "completedAt", "retryCount")] == ["pending", None, None, 0]
        assert api.call("POST", "/api/task/retry", {"id": made["id"]})[0] == 409

    def test_several(self, api: Service) -> None:
        about = {"targetId": "bulk", "targetType": "document", "type": "e2e.bulk"}
        made = [create(api, "e2e.bulk", "bulk")["id"] for _ in range(3)]
        states = lambda: {api.task(task_id)["status"] for task_id in made}  # noqa: E731
        assert until(lambda: api.post("/api/task/cancel", about) == {} and states() == {"canceled"})
        assert api.post("/api/task/retry", {"taskIds": made}) == {}
        assert states() == {"pending"}
        assert api.call("POST", "/api/task/cancel", {"targetId": "bulk", "type": "e2e.bulk"})[0] == 422


class TestTellingFromElsewhere:
    def test_next(self, api: Service) -> None:
        failed, broken, by_hand = waiting(api), waiting(api), create(api, "e2e.next")["id"]
        assert api.post("/api/task/next", {"id": failed, "result": '{"code": 1, "message": "gone"}'}) == {}
        assert json.loads(api.task(failed)["error"]["message"]) == {"code": 1, "message": "gone"}
        assert api.call("POST", "/api/task/next", {"id": broken, "result": "{"})[0] == 422
        assert [api.task(task_id)["status"] for task_id in (failed, broken)] == ["failed", "failed"]
        assert api.call("POST", "/api/task/next", {"id": by_hand, "result": "{}"})[0] == 409

    def test_log_and_callback_by_id_or_task_id(self, api: Service) -> None:
        made = create(api, "e2e.told")["id"]
        assert api.post("/api/task/log", {"id": made, "data": {"n": 1}, "message": "one"}) == {}
        assert api.post(f"/api/task/log?taskId={made}", {"message": "two"}) == {}
        log = api.get(f"/api/task/log?id={made}")["log"]
        assert [(entry["message"], entry["data"]) for entry in log] == [("two", None), ("one", {"n": 1})]
        assert api.post(f"/api/task/callback?taskId={made}", {"code": 500, "message": "no stock"}) == {}
        task = api.task(made)
        assert (task["status"], task["error"]["message"], len(task["log"])) == ("failed", "no stock", 3)


class TestLaterVersions:
    def test_parents_chains_and_what_is_removed(self, api: Service) -> None:
        parent = create(api, "e2e.parent", "family", next={"type": "flow.scripts", "priority": 7})
        child = create(api, "scripted", "family", runnerType="system", parentTaskId=parent["id"], input=1, priority=3)
        removed = create(api, "e2e.removed", removeOnComplete=True)
        for made in (parent, removed):
            api.post("/api/task/complete", {"id": made["id"], "status": "success", "output": 5})
        becomes("success", lambda: api.task(child["id"])["status"])
        follow_up = until(lambda: listed(api, "filter.type=flow.scripts&filter.targetId=family&filter.status=success"))
        assert (api.task(follow_up[0])["output"], api.task(follow_up[0])["priority"]) == ("index of 5", 7)
        assert api.call("GET", f"/api/task/detail?id={removed['id']}")[0] == 404

    def test_retries_wait_as_the_task_says(self, api: Service) -> None:
        script = {"fail": "not yet", "until": 1}
        made = create(api, "scripted", runnerType="system", input=script, maxRetries=1, timeout=5_000, backoff=True)
        becomes("success", lambda: api.task(made["id"])["status"])
        task = api.task(made["id"])
        assert [task[name] for name in ("attempts", "retryCount", "maxRetries", "timeout")] == [2, 1, 1, 5_000]

    def test_statistics(self, api: Service) -> None:
        made = create(api, "e2e.counted")
        api.post("/api/task/complete", {"id": made["id"], "status": "success"})
        path = "/api/task/statistics?range=7d&timezone=Europe/Berlin&type=e2e.counted&runnerType=manual"
        becomes((1, 1), lambda: ((found := api.get(path))["total"], found["byStatus"]["success"]))


@pytest.mark.usefixtures("acting")
class TestServices:
    def test_create_detail_list_complete(self) -> None:
        made = tasks.create("e2e.py", target_id="1", target_type="t", input={"name": "Py"}, user_id="u")
        assert tasks.complete(made, output=1, user_id="v").completed_user_id == "v"
        assert tasks.detail(made).output == 1
        becomes([made.id], lambda: [task.id for task in tasks.list(type="e2e.py", target_name="py")])

    def test_cancel_retry_and_log(self) -> None:
        made = [tasks.create("e2e.py.bulk", target_id="1", target_type="t") for _ in range(2)]
        tasks.cancel(made[0])
        becomes(
            "canceled",
            lambda: (
                tasks.cancel_matching(target_id="1", target_type="t", type="e2e.py.bulk"),
                tasks.detail(made[1]).status,
            )[1],
        )
        assert [task.status for task in tasks.retry_many(made)] == ["pending"] * 2  # type: ignore[union-attr]
        tasks.log(made[0], "noted", {"n": 1})
        assert [entry.message for entry in tasks.detail(made[0]).log or ()] == ["noted"]

    def test_callbacks_and_next(self) -> None:
        secret = tasks.create("e2e.py", target_id="1", target_type="t", context={"secret": SECRET})
        with pytest.raises(tasks.WrongSignature):
            tasks.log_with_signature(secret, "0" * 64)
        signature = sign(SECRET, secret.id, {"code": 1, "message": "no"})
        assert tasks.callback_with_signature(secret, signature, 1, message="no").status == "failed"
        with pytest.raises(Conflict):
            tasks.process_next(secret, "{}")

    def test_wait_complete_runs_a_pending_task_at_once(self) -> None:
        made = tasks.create("flow.scripts", target_id="1", target_type="t", runner_type="system", input=1, delay_s=900)
        assert tasks.wait_complete(made, poll_interval_ms=50) == "index of 1"

    def test_runner_and_reset_all(self) -> None:
        assert tasks.runner().keys() >= {"due_sent", "leases_recovered"}
        assert tasks.reset_all() == 0


class TestSettings:
    def test_the_prefix_moves_the_routes_and_their_documentation(self) -> None:
        with deployed_app(task_prefix="/tasks/v1") as app:
            assert app.post("/tasks/v1/create", {"type": "t", "targetId": "1", "targetType": "t"}).status == 200
            assert app.get("/api/task/list").status in (403, 404)
            paths = app.get("/openapi.json").json["paths"]
            assert "/tasks/v1/callback" in paths
            assert not [path for path in paths if path.startswith("/api/task")]


def test_the_signature_example_of_the_documentation_is_accepted(api: Service) -> None:
    (example,) = (
        block.split("```")[0] for block in DOCUMENT.read_text().split("```python\n") if "import hmac" in block
    )
    task_id = waiting(api, SECRET)
    names: dict[str, Any] = {"secret": SECRET, "task_id": task_id}
    exec(example, names)  # noqa: S102  # the project's own documentation
    assert api.post("/api/task/callback", names["body"]) == {}
    assert api.task(task_id)["output"] == {"result": "done"}


def test_a_script_finds_the_service_by_the_environment_alone(api: Service) -> None:
    script = "from chalicelib.services import tasks; print(tasks.create('script', target_id='1', target_type='t').id)"
    environ = {**CREDENTIALS, "AWS_ENDPOINT_URL": api.endpoint_url, "TASKYARD_INDEX_SHARDS": "1"}
    printed = subprocess.check_output([sys.executable, "-c", script], env=environ, cwd=DOCUMENT.parents[1], text=True)
    assert api.task(printed.strip())["type"] == "script"

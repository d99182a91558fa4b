"""What systems elsewhere tell of a task: next, log and callback, with a signature or with an access key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.core.access import AccessKey, digest_of, new_key
from chalicelib.core.signature import sign
from chalicelib.store.job_details import LogEntry
from tests.support.service import Reply, Service, service
from tests.support.tasks import POOL, create, detail, problem, system

SECRET = "s3cr3t-of-the-task"  # noqa: S105
REFUSAL = {
    "statusCode": 401,
    "error": "Unauthorized",
    "message": "this needs a valid signature or, for a task without a secret, an access key with the scope task",
    "remedy": "sign with the task's own secret, or send the header Authorization: Bearer <key> if it has none",
}
NEXT, LOG, CALLBACK = (f"/api/task/{name}" for name in ("next", "log", "callback"))
DONE = '{"code":0,"data":{"output":"done"}}'


@pytest.fixture(scope="module")
def api() -> Iterator[Service]:
    """A stage that answers nobody without a key; the requests of these tests have one unless they say otherwise."""
    with service(stage="prod") as made:
        made.default_headers["Authorization"] = f"Bearer {key(made, 'task')}"
        yield made


def key(api: Service, *scopes: str) -> str:
    """An access key in force."""
    made = new_key(os.urandom)
    stored = AccessKey(name="k", scopes=frozenset(scopes), digest=digest_of(made), created_at_ms=api.clock.ms)
    api.yard.directory.put_access_key(stored)
    return made


def anonymously(api: Service, path: str, body: Any, authorization: str = "") -> Reply:
    """A POST without an access key, or with another one."""
    content = json.dumps(body).encode()
    return api.request("POST", path, content, {"Content-Type": "application/json", "Authorization": authorization})


def waiting(api: Service, secret: str | None = SECRET, parked_with: dict[str, Any] | None = None) -> str:
    """The id of a task that waits to be called back."""
    context = {"tenant": "a", "secret": secret}
    task = create(api, "flow.parked", runnerType="system", context=context, input=parked_with)
    api.work(POOL)
    assert detail(api, task["id"])["status"] == "waiting"
    return str(task["id"])


def manual(api: Service, secret: str | None = SECRET) -> str:
    """The id of a task that a person completes."""
    return str(create(api, "by.hand", context=None if secret is None else {"secret": secret})["id"])


class TestWhoMayTell:
    @pytest.mark.parametrize(
        ("path", "told"),
        [
            (NEXT, {"result": DONE}),
            (LOG, {"data": {"key": "value"}, "message": "日志消息"}),
            (CALLBACK, {"code": 0, "data": {"result": "done"}, "message": "成功"}),
        ],
    )
    def test_a_task_with_a_secret_listens_to_its_signature_alone(
        self, api: Service, path: str, told: dict[str, Any]
    ) -> None:
        task_id, other_id = waiting(api), waiting(api)
        signed = told["result"] if path == NEXT else told
        right = sign(SECRET, task_id, signed)
        wrong = (
            {},
            {"signature": sign(SECRET, other_id, signed)},
            {"signature": sign("another", task_id, signed)},
            {"signature": sign(SECRET, task_id, {})},
            {"signature": right.upper()},
            {"signature": f"{right}0"},
            {"signature": "ü"},
            {"signature": ""},
            {"signature": "a\x00b" * 200},
            {"signature": None},
        )
        for given in wrong:
            for reply in (
                anonymously(api, path, {"id": task_id, **told, **given}),
                api.post(path, {"id": task_id, **told, **given}),  # an access key helps nobody here
            ):
                assert (reply.status, reply.json) == (401, REFUSAL)
        assert (detail(api, task_id)["status"], len(detail(api, task_id)["log"])) == ("waiting", 1)

        reply = anonymously(api, path, {"id": task_id, **told, "signature": right})
        assert (reply.status, reply.json) == (200, {})
        assert (detail(api, task_id)["status"] == "success") is (path != LOG)
        assert detail(api, other_id)["status"] == "waiting"

    @pytest.mark.parametrize(("path", "told"), [(LOG, {}), (CALLBACK, {"code": 0})])
    def test_one_without_a_secret_to_whoever_has_the_key(self, api: Service, path: str, told: dict[str, Any]) -> None:
        task_id = manual(api, None)
        for authorization in ("", f"Bearer {key(api, 'message', 'dlq')}", f"Bearer {new_key(os.urandom)}"):
            reply = anonymously(api, path, {"id": task_id, **told, "signature": sign("", task_id, told)}, authorization)
            assert (reply.status, reply.json) == (401, REFUSAL)
        assert api.post(path, {"id": task_id, **told}).json == {}

    def test_a_signature_is_as_good_beside_a_key_for_something_else(self, api: Service) -> None:
        task_id = manual(api)
        body = {"id": task_id, "code": 0, "signature": sign(SECRET, task_id, {"code": 0})}
        assert anonymously(api, CALLBACK, body, f"Bearer {key(api, 'dlq')}").json == {}

    @pytest.mark.parametrize("task_id", ["999999999", "abc", 0, 2**60])
    def test_nobody_learns_without_a_key_whether_there_is_such_a_task(self, api: Service, task_id: Any) -> None:
        for path, told in ((NEXT, {"result": DONE}), (LOG, {"message": ""}), (CALLBACK, {"code": 0})):
            signature = sign(SECRET, task_id, told.get("result", told))
            reply = anonymously(api, path, {"id": task_id, **told, "signature": signature})
            assert (reply.status, reply.json) == (401, REFUSAL)
            assert "bearer" in reply.headers["www-authenticate"].lower()
            assert api.post(path, {"id": task_id, **told}).status == 404
        message = api.post(
            "/mq/message/publish", {"topic": "t", "payload": {}}, Authorization=f"Bearer {key(api, '*')}"
        )
        assert anonymously(api, LOG, {"id": message.json["id"]}).json == REFUSAL
        assert api.post(LOG, {"id": message.json["id"]}).status == 404

    def test_a_handler_may_have_put_anything_there(self, api: Service) -> None:
        task_id = waiting(api, SECRET, {"secret": 12.0})
        assert api.post(CALLBACK, {"id": task_id, "code": 0}).status == 401
        signature = sign("12", task_id, {"code": 0})
        assert anonymously(api, CALLBACK, {"id": task_id, "code": 0, "signature": signature}).json == {}

    def test_the_documentation_tells_of_both_ways(self, api: Service) -> None:
        paths = api.get("/openapi.json").json["paths"]
        for path in (NEXT, LOG, CALLBACK):
            operation = paths[path]["post"]
            assert (operation["security"], operation["x-signed"]) == (
                [{"accessKey": ["task"]}, {"user": ["task"]}, {}],
                True,
            )
            assert "403" not in operation["responses"]
            assert operation["responses"]["401"]["description"].startswith("No valid signature")
        assert paths["/api/task/complete"]["post"]["security"] == [{"accessKey": ["task"]}, {"user": ["task"]}]
        assert paths[LOG]["get"]["security"] == [{"accessKey": ["task"]}, {"user": ["task"]}]

    def test_no_secret_and_no_signature_is_told_back(self, api: Service) -> None:
        task_id = waiting(api)
        signature = sign(SECRET, task_id, "[")
        replies = [
            anonymously(api, NEXT, {"id": task_id, "result": "[", "signature": signature}),
            anonymously(api, CALLBACK, {"id": task_id, "code": "x", "signature": signature}),
            anonymously(api, CALLBACK, {"id": task_id, "code": 0, "signature": [signature]}),
            api.get("/api/task/detail", {"id": task_id}),
            api.get("/api/task/log", {"id": task_id}),
            api.get("/api/task/list", {"filter.id": task_id}),
        ]
        assert [reply.status for reply in replies] == [422, 422, 422, 200, 200, 200]
        assert all(SECRET not in reply.text and signature not in reply.text for reply in replies)
        assert replies[3].json["context"] == {"tenant": "a"}


class TestIds:
    @pytest.mark.parametrize("in_query", [False, True])
    def test_in_the_body_or_as_taskid_in_the_query(self, api: Service, in_query: bool) -> None:
        task_id = manual(api, None)
        path = f"{LOG}?taskId={task_id}" if in_query else LOG
        assert api.post(path, {"message": "here", **({} if in_query else {"id": int(task_id)})}).status == 200
        assert detail(api, task_id)["log"][0]["message"] == "here"
        assert api.post(LOG, {"taskId": task_id, "message": "alias"}).status == 200
        assert api.post(f"{CALLBACK}?taskId={task_id}", {"id": task_id, "code": 0}).json == {}

    def test_one_of_them(self, api: Service) -> None:
        expected = "id or taskId in the body, or taskId in the query"
        for path, body, got in ((LOG, {}, "neither"), (f"{LOG}?taskId=2", {"id": "1"}, "two of them")):
            assert problem(api.post(path, body)) == (422, "id", expected, got)


class TestNext:
    def test_code_0_is_a_success_with_the_whole_result_as_output(self, api: Service) -> None:
        task_id = waiting(api, None)
        api.clock.move(70)
        assert api.post(NEXT, {"id": task_id, "result": DONE}).json == {}
        task = detail(api, task_id)
        assert task["output"] == {"code": 0, "data": {"output": "done"}}
        assert (task["status"], task["progress"], task["completedAt"], task["error"]) == (
            "success",
            100.0,
            api.now(),
            None,
        )
        assert problem(api.post(NEXT, {"id": task_id, "result": DONE})) == (409, "id", "waiting", "success")

    def test_any_other_is_a_failure_with_the_whole_result_as_error(self, api: Service) -> None:
        task_id = waiting(api, None)
        result = '{"code":7,"message":"no stock"}'
        assert api.post(NEXT, {"id": task_id, "result": result}).json == {}
        task = detail(api, task_id)
        assert (task["status"], task["output"], json.loads(task["error"]["message"])) == (
            "failed",
            json.loads(result),
            json.loads(result),
        )

    @pytest.mark.parametrize("result", ["", "{", "[]", "7"])
    def test_what_cannot_be_read_fails_the_task(self, api: Service, result: str) -> None:
        task_id = waiting(api, None)
        assert problem(api.post(NEXT, {"id": task_id, "result": result}))[:2] == (422, "result")
        assert detail(api, task_id)["status"] == "failed"

    def test_the_task_must_wait(self, api: Service) -> None:
        assert problem(api.post(NEXT, {"id": manual(api, None), "result": DONE})) == (409, "id", "waiting", "pending")
        assert problem(api.post(NEXT, {"id": "1"})) == (422, "result", "a value", "nothing")
        assert problem(api.post(NEXT, {"id": "1", "result": {"code": 0}}))[:2] == (422, "result")


class TestLog:
    def test_entries_newest_first(self, api: Service) -> None:
        task_id = manual(api, None)
        for body in ({"data": {"n": 1}, "message": "one"}, {"data": [1.0, None]}, {"message": "three"}, {}):
            assert api.post(LOG, {"id": task_id, **body}).json == {}
            api.clock.move(1)
        shown = [
            {"data": None, "message": "", "time": api.now(-1)},
            {"data": None, "message": "three", "time": api.now(-2)},
            {"data": [1.0, None], "message": "", "time": api.now(-3)},
            {"data": {"n": 1}, "message": "one", "time": api.now(-4)},
        ]
        assert detail(api, task_id)["log"] == shown
        assert api.get(LOG, {"id": task_id}).json == {"log": shown}
        assert api.get(LOG, {"id": "999999999"}).status == 404

    def test_the_newest_hundred(self, api: Service) -> None:
        task_id = manual(api, None)
        for n in range(103):
            api.yard.job_details.write_log(int(task_id), entry_of(n), f"{n:04d}")
        entries = api.get(LOG, {"id": task_id}).json["log"]
        assert [entry["message"] for entry in entries] == [str(n) for n in range(102, 2, -1)]

    @pytest.mark.parametrize(
        ("body", "signed"),
        [
            ({}, '{"message":""}'),
            ({"data": None}, '{"data":null,"message":""}'),
            ({"message": "m", "data": {"b": 1.0, "1": "ü"}}, '{"data":{"1":"ü","b":1},"message":"m"}'),
            ({"message": None}, '{"message":null}'),
        ],
    )
    def test_what_is_signed(self, api: Service, body: dict[str, Any], signed: str) -> None:
        task_id = manual(api)
        reply = anonymously(api, LOG, {**body, "id": task_id, "signature": sign(SECRET, task_id, signed)})
        assert reply.json == {}

    @pytest.mark.parametrize(
        ("message", "shown"),
        [("\x1b[31mred\x1b[0m\x00", "red\ufffd"), ("half \ud83d", "half \\ud83d"), ("a\nb", "a\nb")],
    )
    def test_no_text_is_refused_and_each_is_signed_as_it_is_sent(self, api: Service, message: str, shown: str) -> None:
        task_id = manual(api)
        for path, told in ((LOG, {"message": message}), (CALLBACK, {"code": 1, "message": message})):
            reply = anonymously(api, path, {**told, "id": task_id, "signature": sign(SECRET, task_id, told)})
            assert (reply.status, reply.json) == (200, {})
        task = detail(api, task_id)
        assert [entry["message"] for entry in task["log"]] == [shown, shown]
        assert (task["error"]["message"], task["msg"]) == (shown, shown)

    def test_what_is_no_text_is(self, api: Service) -> None:
        task_id = manual(api, None)
        assert problem(api.post(LOG, {"id": task_id, "message": 5})) == (422, "message", "a valid string", "5")


class TestCallback:
    @pytest.mark.parametrize(
        ("body", "signed", "status", "output", "error"),
        [
            ({"code": 0}, '{"code":0}', "success", None, None),
            ({"code": 0.0, "data": {"x": [1]}}, '{"code":0,"data":{"x":[1]}}', "success", {"x": [1]}, None),
            (
                {"message": "成功", "data": None, "code": 0},
                '{"code":0,"data":null,"message":"成功"}',
                "success",
                None,
                None,
            ),
            ({"code": 500, "message": "no stock"}, '{"code":500,"message":"no stock"}', "failed", None, "no stock"),
            ({"code": -1.5}, '{"code":-1.5}', "failed", None, "the callback came with code -1.5"),
        ],
    )
    def test_it_is_logged_then_the_task_is_done(
        self, api: Service, body: dict[str, Any], signed: str, status: str, output: Any, error: str | None
    ) -> None:
        task_id = manual(api)
        reply = anonymously(api, CALLBACK, {**body, "id": task_id, "signature": sign(SECRET, task_id, signed)})
        assert (reply.status, reply.json) == (200, {})
        task = detail(api, task_id)
        assert (task["status"], task["output"], (task["error"] or {}).get("message")) == (status, output, error)
        (entry,) = task["log"]
        assert (entry["message"], entry["data"]) == (
            body.get("message") or "",
            {"code": body["code"], "data": body.get("data")},
        )

    def test_on_a_task_in_any_state_but_done(self, api: Service) -> None:
        parked, pending = waiting(api, None), system(api, 1)["id"]
        for task_id in (pending, parked):
            assert api.post(CALLBACK, {"id": task_id, "code": 0}).json == {}
            assert problem(api.post(CALLBACK, {"id": task_id, "code": 0}))[::3] == (409, "success")
        assert api.work(POOL) == []
        assert detail(api, pending)["attempts"] == 0

    def test_a_code_is_needed(self, api: Service) -> None:
        task_id = manual(api, None)
        for code, field in ((None, "code"), ("x", "code"), (True, "code")):
            assert problem(api.post(CALLBACK, {"id": task_id, "code": code}))[:2] == (422, field)
        assert problem(api.post(CALLBACK, {"id": task_id}))[:2] == (422, "code")


def entry_of(n: int) -> LogEntry:
    """A log entry of a moment of its own."""
    return LogEntry(1_000 + n, str(n), None)


def test_a_log_is_shown_where_users_of_fastify_task_look_for_it_and_taskid_names_its_task(api: Service) -> None:
    task_id = str(create(api, "by.hand", options={"color": "red"}, context={"secret": SECRET})["id"])
    assert detail(api, task_id)["options"] == {"color": "red"}
    told = {"data": {"n": 1}, "message": "first"}
    body = {"taskId": task_id, **told, "signature": sign(SECRET, task_id, told)}
    assert anonymously(api, LOG, body).json == {}
    shown = detail(api, task_id)
    assert shown["log"] == [{**told, "time": api.now()}]
    assert shown["options"] == {"color": "red", "logs": shown["log"]}
    both = anonymously(api, LOG, {**body, "id": "987654321"})
    assert (both.status, both.json["details"][0]["field"]) == (422, "id")
    assert api.post(NEXT, {"taskId": task_id, "result": DONE}).status == 401

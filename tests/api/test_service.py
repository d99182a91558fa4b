"""The installation as a whole: its health, its keys and scopes, its limits, and that no input makes it fail."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlencode

import botocore.client
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib import aws
from chalicelib.api import mq, service, tasks
from chalicelib.core.access import AccessKey, any_of, digest_of, digest_of_user, new_key
from chalicelib.core.dialects import SCOPES
from chalicelib.core.passwords import stretched
from chalicelib.engine import health
from chalicelib.http import mount
from chalicelib.lean.client import LeanClient
from chalicelib.local.emulator import Emulator
from tests.support.service import Reply, Service
from tests.support.service import service as installation
from tests.support.yards import environment

DEPENDENCIES = {"ledger", "directory", "insights", "queue", "bucket", "clock"}
# What each route's key must hold; None is open to all.
SCOPE_OF = {
    ("POST", "/mq/message/publish"): "message",
    ("POST", "/mq/message/publish-batch"): "message",
    ("GET", "/mq/message/poll"): "message",
    ("POST", "/mq/message/complete"): "message",
    ("POST", "/mq/message/fail"): "message",
    ("POST", "/mq/message/extend"): "message",
    ("POST", "/mq/message/complete-batch"): "message",
    ("POST", "/mq/message/fail-batch"): "message",
    ("POST", "/mq/queue/recover-locked"): "message",
    ("GET", "/mq/message/list"): "message",
    ("GET", "/mq/dlq/list"): "dlq",
    ("POST", "/mq/dlq/replay"): "dlq:manage",
    ("POST", "/mq/dlq/replay/{id}"): "dlq:manage",
    ("GET", "/mq/trace/{traceId}"): "trace",
    ("GET", "/mq/trace/detail"): "trace",
    ("GET", "/mq/trace/list"): "trace",
    ("GET", "/mq/queue/depth"): "dashboard",
    ("POST", "/mq/queue/cleanup"): "dlq:manage",
    ("GET", "/mq/dashboard"): "dashboard",
    ("GET", "/mq/dashboard/sse"): "dashboard",
    ("GET", "/mq/metrics"): "dashboard",
    ("POST", "/api/task/create"): "task",
    ("POST", "/api/task/create-batch"): "task",
    ("POST", "/api/task/graph"): "task",
    ("POST", "/api/task/graph/batch"): "task",
    ("GET", "/api/task/graph"): ("task", "console"),
    ("GET", "/api/task/graph/nodes"): ("task", "console"),
    ("GET", "/api/task/graph/mermaid"): ("task", "console"),
    ("POST", "/api/task/graph/cancel"): ("task", "console:manage"),
    ("POST", "/api/task/graph/retry"): ("task", "console:manage"),
    ("GET", "/api/task/statistics"): ("task", "console"),
    ("GET", "/api/task/detail"): "task",
    ("GET", "/api/task/list"): "task",
    ("POST", "/api/task/cancel"): "task",
    ("POST", "/api/task/promote"): "task",
    ("POST", "/api/task/retry"): "task",
    ("POST", "/api/task/delete"): "task",
    ("POST", "/api/task/complete"): "task",
    ("GET", "/api/task/log"): "task",
    ("POST", "/api/task/next"): "task",
    ("POST", "/api/task/log"): "task",
    ("POST", "/api/task/callback"): "task",
    ("GET", "/health"): None,
}
SIGNED = {("POST", f"/api/task/{name}") for name in ("next", "log", "callback")}  # see test_tasks_signed.py
OUTAGES = (
    ClientError({"Error": {"Code": "ThrottlingException", "Message": "a\nb"}}, "Any"),
    ClientError({"Error": {"Code": "500"}, "ResponseMetadata": {"HTTPStatusCode": 500}}, "Any"),
    ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no table"}}, "Any"),
    ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "old"}}, "Any"),
    EndpointConnectionError(endpoint_url="https://nobody.test"),
    ReadTimeoutError(endpoint_url="https://nobody.test"),
    NoCredentialsError(),
)
OUTAGE_BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/mq/message/publish"): {"topic": "t", "payload": {}},
    ("POST", "/mq/message/publish-batch"): {"messages": [{"topic": "t", "payload": {}}, {"topic": "u", "payload": {}}]},
    ("GET", "/mq/message/poll?topic=t"): None,
    ("POST", "/mq/message/complete"): {"id": "1"},
    ("POST", "/mq/message/complete-batch"): {"messages": [{"id": "1"}, {"id": "2"}]},
    ("GET", "/mq/message/list"): None,
    ("GET", "/mq/dlq/list"): None,
    ("POST", "/mq/dlq/replay"): {"ids": ["1", "2"]},
    ("GET", "/mq/trace/list"): None,
    ("GET", "/mq/queue/depth"): None,
    ("POST", "/mq/queue/cleanup"): {},
    ("GET", "/mq/dashboard"): None,
    ("GET", "/mq/dashboard/sse"): None,
    ("GET", "/mq/metrics"): None,
    ("POST", "/api/task/create"): {"type": "t", "targetId": "1", "targetType": "t"},
    ("POST", "/api/task/create-batch"): {"tasks": [{"type": "t", "targetId": "1", "targetType": "t"}] * 2},
    ("POST", "/api/task/graph"): {"nodes": [{"name": "a", "type": "t", "runnerType": "manual"}]},
    ("GET", "/api/task/graph?id=1"): None,
    ("POST", "/api/task/graph/cancel"): {"id": "1"},
    ("GET", "/api/task/list"): None,
    ("GET", "/api/task/statistics"): None,
    ("POST", "/api/task/retry"): {"taskIds": ["1", "2"]},
    ("POST", "/api/task/delete"): {"taskIds": ["1", "2"], "force": True},
    ("POST", "/api/task/callback"): {"id": "1", "code": 0},
    ("GET", "/api/job/1/why"): None,
    ("GET", "/api/job/1/detail"): None,
    ("POST", "/api/job/1/act"): {"act": "cancel"},
    ("GET", "/api/jobs?type=t"): None,
    ("GET", "/api/overview"): None,
    ("GET", "/api/job/1/usage"): None,
    ("GET", "/api/audit"): None,
    ("GET", "/api/flow"): None,
    ("GET", "/api/flow/standing?type=t"): None,
    ("POST", "/api/flow/pause"): {"type": "t", "key": "k"},
    ("POST", "/api/flow/pass"): {"id": "1"},
}
GUARDED = {route: scope for route, scope in SCOPE_OF.items() if scope is not None and route not in SIGNED}


@pytest.fixture(scope="class")
def api() -> Iterator[Service]:
    """An installation in stage local."""
    with installation() as made:
        yield made


def call(api: Service, route: tuple[str, str], **headers: str) -> Reply:
    """A request to a route that is fine but for what the test is about."""
    method, path = route
    url = path.replace("{id}", "1").replace("{traceId}", "nobody")
    return api.request(
        method, url, b"{}" if method == "POST" else None, {"Content-Type": "application/json", **headers}
    )


@contextmanager
def answering(failure: Any) -> Iterator[None]:
    """Every call to AWS is answered by a failure."""
    with (
        patch.object(botocore.client.BaseClient, "_make_api_call", side_effect=failure),
        patch.object(LeanClient, "_answer", side_effect=failure),
    ):
        yield


class TestHealth:
    def test_all_is_well(self, api: Service) -> None:
        reply = api.get("/health")
        assert reply.status == 200
        assert {**reply.json, "dependencies": None} == {
            "status": "ok",
            "stage": "local",
            "prefix": api.yard.settings.prefix,
            "endpoint": None,
            "dependencies": None,
        }
        states = reply.json["dependencies"]
        assert states.keys() == DEPENDENCIES
        assert states["ledger"] == {"status": "ok", "tookMs": 0, "detail": ""}  # the clock stands still
        assert {state["status"] for state in states.values()} == {"ok"}

    def test_where_aws_is_emulated_is_told(self, api: Service) -> None:
        assert api.get("/health").json["endpoint"] is None
        with environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:4571"}):
            assert api.get("/health").json["endpoint"] == "http://127.0.0.1:4571"

    def test_the_clock_runs_or_is_late(self, api: Service) -> None:
        api.tick()
        api.clock.move(179_000)
        assert api.get("/health").json["dependencies"]["clock"] == {
            "status": "ok",
            "tookMs": 0,
            "detail": "ran 179 s ago",
        }
        api.clock.move(2_000)
        late = api.get("/health")
        assert (late.status, late.json["status"]) == (503, "degraded")
        assert late.json["dependencies"]["clock"] == {
            "status": "failing",
            "tookMs": 0,
            "detail": "the clock last ran 181 s ago",
        }
        assert late.json["dependencies"]["ledger"]["status"] == "ok"
        api.tick()
        api.clock.move(1_000)
        assert api.get("/health").status == 200

    def test_what_was_found_holds_for_a_second(self, api: Service) -> None:
        api.clock.move(1_000)
        assert api.get("/health").status == 200
        with answering(AssertionError("AWS was asked")):
            api.clock.move(999)
            assert api.get("/health").status == 200
            api.clock.move(1)
            assert api.get("/health").status == 503

    def test_what_hangs_is_named_while_the_others_have_answered(
        self, api: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released, calling = Event(), botocore.client.BaseClient._make_api_call

        def hanging(self: Any, operation: str, parameters: Any) -> Any:
            assert operation != "HeadBucket" or released.wait(60)
            return calling(self, operation, parameters)

        monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", hanging)
        monkeypatch.setattr(health, "ANSWER_MAX_S", 0.5)
        api.clock.move(1_000)
        reply = api.get("/health")
        released.set()
        assert reply.status == 503
        assert reply.json["dependencies"]["bucket"] == {
            "status": "failing",
            "tookMs": 500,
            "detail": "no answer within 0.5 s",
        }
        api.clock.move(1_000)

    def test_what_does_not_answer_is_named_and_nothing_more_is_said(self, api: Service) -> None:
        bucket = api.yard.settings.objects_bucket
        aws.client("s3").delete_bucket(Bucket=bucket)
        aws.client("dynamodb").delete_table(TableName=api.yard.settings.insights_table)
        api.clock.move(1_000)
        reply = api.get("/health")
        assert (reply.status, reply.json["status"]) == (503, "degraded")
        failing = {name for name, state in reply.json["dependencies"].items() if state["status"] == "failing"}
        assert failing == {"bucket", "insights"}
        assert bucket not in reply.text
        assert {name: reply.json["dependencies"][name]["detail"] for name in failing} == {
            "bucket": "404",
            "insights": "ResourceNotFoundException",
        }


class TestOutages:
    """Whatever route: when AWS does not serve, the client is told to come back, and the log in one line."""

    @pytest.fixture(scope="class")
    @staticmethod
    def api() -> Iterator[Service]:
        """An installation of its own, whose clients are made."""
        with installation() as made:
            message_id = made.post("/mq/message/publish", {"topic": "t", "payload": {}}).json["id"]
            made.post("/mq/message/complete-batch", {"messages": [{"id": message_id}]})
            yield made

    @pytest.mark.parametrize("route", OUTAGE_BODIES, ids="{0[0]} {0[1]}".format)
    def test_a_route_answers_503(self, api: Service, route: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
        for failure in OUTAGES:
            with answering(failure):
                reply = api.get(route[1]) if OUTAGE_BODIES[route] is None else api.post(route[1], OUTAGE_BODIES[route])
            assert (reply.status, reply.headers["retry-after"]) == (503, "1"), failure
            assert reply.json["error"] == "Service Unavailable"
        assert all(record.exc_info is None and "\n" not in record.getMessage() for record in caplog.records)

    def test_a_request_whose_time_is_up_is_answered_503(self, api: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mount, "BUDGET_S", aws.READ_TIMEOUT_S)
        reply = api.get("/mq/message/list")
        assert (reply.status, reply.json["message"]) == (503, "AWS does not serve this now: OutOfTime")

    def test_a_mistake_of_ours_is_none_of_aws(self, api: Service) -> None:
        mistake = ClientError({"Error": {"Code": "ValidationException", "Message": "no such attribute"}}, "Query")
        with answering(mistake):
            assert api.get("/mq/message/list").status == 500


class TestLocalStage:
    @pytest.mark.parametrize("route", SCOPE_OF, ids="{0[0]} {0[1]}".format)
    def test_no_key_is_needed(self, api: Service, route: tuple[str, str]) -> None:
        assert call(api, route).status not in (401, 403)

    def test_no_web_page_gets_in(self, api: Service) -> None:
        reply = api.post("/mq/message/publish", {"topic": "a", "payload": {}}, Origin="https://evil.example")
        assert reply.status == 403
        assert api.get("/mq/message/list", {"topic": "a"}).json["totalCount"] == 0


class TestOtherStages:
    @pytest.fixture(scope="class")
    @staticmethod
    def prod() -> Iterator[Service]:
        """An installation in stage prod."""
        with installation(stage="prod") as made:
            yield made

    def key(self, prod: Service, *scopes: str) -> str:
        """An access key with scopes, in force."""
        key = new_key(os.urandom)
        prod.yard.directory.put_access_key(
            AccessKey(name="tester", scopes=frozenset(scopes), digest=digest_of(key), created_at_ms=prod.clock.ms)
        )
        return key

    def test_every_route_is_told_of_above(self) -> None:
        declared = {
            (route.method, route.path): route.scope
            for router in (*mq.ROUTERS, *tasks.ROUTERS, *service.ROUTERS)
            for route in router.routes
        }
        assert declared == SCOPE_OF

    @pytest.mark.parametrize("route", GUARDED, ids="{0[0]} {0[1]}".format)
    def test_each_route_wants_a_key_with_its_scope(self, prod: Service, route: tuple[str, str]) -> None:
        needed = any_of(GUARDED[route])
        without = call(prod, route)
        assert (without.status, without.json["error"]) == (401, "Unauthorized")
        assert without.headers["www-authenticate"] == 'Bearer realm="taskyard"'

        others = call(prod, route, Authorization=f"Bearer {self.key(prod, *(set(SCOPES) - {*needed}))}")
        assert (others.status, others.json["message"]) == (
            403,
            f"this access key lacks the scope {' or '.join(needed)}",
        )
        assert f'scope="{" ".join(needed)}"' in others.headers["www-authenticate"]

        for scopes in (*((scope,) for scope in needed), ("*",)):
            allowed = call(prod, route, Authorization=f"Bearer {self.key(prod, *scopes)}")
            assert allowed.status in (200, 404, 422)

    def test_health_is_open_to_all_and_tells_no_endpoint(self, prod: Service) -> None:
        assert prod.get("/health").status == 200  # all clients are made
        with environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:4571"}):
            reply = prod.get("/health")
        assert (reply.status, reply.json["stage"]) == (200, "prod")
        assert (reply.json["prefix"], reply.json["endpoint"]) == (None, None)

    @pytest.mark.parametrize(
        "header", ["", "Bearer", "Bearer ", "Bearer nonsense", "Basic dXNlcjpwYXNz", "{key}", "bearer{key}"]
    )
    def test_what_is_no_key_opens_nothing(self, prod: Service, header: str) -> None:
        header = header.replace("{key}", self.key(prod, "*"))
        assert prod.get("/mq/message/list", Authorization=header).status == 401

    def test_an_unknown_key_and_a_revoked_one_are_told_the_same(self, prod: Service) -> None:
        revoked = self.key(prod, "*")
        prod.yard.directory.revoke_access_key(digest_of(revoked), prod.clock.ms)
        replies = [
            prod.get("/mq/message/list", Authorization=f"Bearer {key}") for key in (revoked, new_key(os.urandom))
        ]
        assert [reply.status for reply in replies] == [401, 401]
        assert replies[0].json == replies[1].json

    def test_the_key_s_name_is_the_consumer(self, prod: Service) -> None:
        headers = {"Authorization": f"Bearer {self.key(prod, 'message')}"}
        prod.post("/mq/message/publish", {"topic": "a", "payload": {}}, **headers)
        (message,) = prod.get("/mq/message/poll", {"topic": "a"}, **headers).json
        assert message["consumerId"] == "tester"

    def test_a_key_is_never_told_back(self, prod: Service) -> None:
        key = self.key(prod, "task")
        for reply in (
            prod.get("/mq/message/list", Authorization=f"Bearer {key}"),
            prod.post("/api/task/create", {"type": key, "priority": key}, Authorization=f"Bearer {key}"),
        ):
            assert reply.status in (403, 422)
        refused = prod.get("/mq/message/list", Authorization=f"Bearer {key}")
        assert key not in refused.text


def test_a_user_signs_in_with_a_password_and_is_asked_for_one() -> None:
    password = "correct horse"  # noqa: S105
    ann = AccessKey(
        name="ann",
        scopes=frozenset({"message"}),
        digest=digest_of_user("ann"),
        created_at_ms=1,
        user="ann",
        password=stretched(password, bytes(16)),
    )
    with installation(stage="prod") as prod:
        prod.yard.directory.put_access_key(ann)
        signed_in = {"Authorization": f"Basic {base64.b64encode(f'ann:{password}'.encode()).decode()}"}
        prod.post("/mq/message/publish", {"topic": "a", "payload": {}}, **signed_in)
        (message,) = prod.get("/mq/message/poll", {"topic": "a"}, **signed_in).json
        assert message["consumerId"] == "ann"
        assert prod.get("/api/task/list", **signed_in).status == 403
        refused = prod.get("/mq/message/list")
        assert (refused.status, refused.headers["www-authenticate"]) == (
            401,
            'Basic realm="taskyard", charset="UTF-8", Bearer realm="taskyard"',
        )


class TestLimits:
    @pytest.fixture(scope="class")
    @staticmethod
    def small() -> Iterator[Service]:
        """An installation that takes payloads of 2,048 bytes."""
        with installation(payload_max_bytes="2048") as made:
            yield made

    @staticmethod
    def payload(size: int) -> dict[str, str]:
        """A payload whose stored text, ``{"input":{"x":"..."}}``, has so many bytes, its six quotes counted twice."""
        return {"x": "y" * (size - len('{"input":{"x":""}}') - 6)}

    def test_a_payload_at_the_limit_and_one_beyond(self, small: Service) -> None:
        body = {"topic": "limits", "payload": self.payload(2_048)}
        assert small.post("/mq/message/publish", body).status == 200
        reply = small.post("/mq/message/publish", {**body, "payload": self.payload(2_049)})
        assert reply.status == 413
        assert reply.json["details"] == [
            {
                "field": "payload",
                "expected": "at most 2048 bytes of JSON, its quotes and backslashes counted twice",
                "got": "2049 bytes",
            }
        ]
        assert reply.json["remedy"] == "store it as an object in the bucket and pass its key"
        assert small.get("/mq/message/list", {"topic": "limits"}).json["totalCount"] == 1

    def test_the_same_for_tasks(self, small: Service) -> None:
        body = {"type": "limits", "targetId": "1", "targetType": "t"}
        assert small.post("/api/task/create", {**body, "input": self.payload(2_048)}).status == 200
        assert small.post("/api/task/create", {**body, "input": self.payload(2_049)}).status == 413
        both = {**body, "input": self.payload(1_500), "options": {"o": "x" * 600}}
        assert small.post("/api/task/create", both).status == 413

    def test_one_of_a_batch(self, small: Service) -> None:
        messages = [{"topic": "limited batch", "payload": self.payload(size)} for size in (2_048, 2_049)]
        results = small.post("/mq/message/publish-batch", {"messages": messages}).json["results"]
        assert [result["success"] for result in results] == [True, False]
        assert "at most 2048 bytes" in results[1]["error"]

    def test_a_body_beyond_all_bounds_is_not_even_parsed(self, small: Service) -> None:
        reply = small.post("/mq/message/publish", b"x" * (2_048 + 65_537))
        assert reply.status == 413
        assert reply.json["details"] == [{"field": "body", "expected": "at most 67584 bytes", "got": "67585 bytes"}]
        assert small.post("/mq/message/publish", b"x" * (2_048 + 65_536)).status == 400

    def test_an_output_beyond_the_limit_is_a_dead_letter(self, small: Service) -> None:
        task = {"type": "scripted", "targetId": "1", "targetType": "t", "runnerType": "system"}
        fits, grows = (
            small.post("/api/task/create", {**task, "input": script}).json["id"]
            for script in ("y" * 2_000, {"grow": 2_100})
        )
        small.work("default")
        assert small.get("/api/task/detail", {"id": fits}).json["output"] == "y" * 2_000
        dead = small.get("/api/task/detail", {"id": grows}).json
        assert (dead["status"], dead["output"], dead["error"]["type"]) == ("failed", None, "TooLarge")
        assert "at most 2048 bytes" in dead["error"]["message"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["", "1", "0", "-1", "abc", "9" * 400, "2026-01-01T00:00:00Z", "0001-01-01", "\ud800", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = [
    "topic", "payload", "priority", "executeAt", "maxRetries", "traceId", "meta", "idempotencyKey", "messages", "id",
    "ids", "error", "type", "targetId", "targetType", "input", "runnerType", "delay", "scriptName", "timeout",
    "context", "options", "parentTaskId", "taskIds", "status", "olderThan", "cursor", "backoff", "next", "userId",
    "removeOnComplete", "result", "signature", "code", "data", "message", "msg", "output",
]  # fmt: skip
PARAMETERS = [
    "topic", "limit", "lockTimeout", "consumerId", "status", "traceId", "perPage", "currentPage", "replayed", "id",
    "cursor", "messageId", "event", "filter", "filter.id", "filter[status]", "filter.type", "filter.targetName",
    "filter.createdAt.startTime", "filter[createdAt][endTime]", "filter.completedAt", "sort", "sort[createdAt]",
    "sort.id", "a[]", "a[b", "..", "taskId",
]  # fmt: skip
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "topic": st.sampled_from(["fuzz.a", "fuzz.b", "scripted.topic"]),
    "payload": st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    "priority": st.integers(-1_000, 1_000),
    "executeAt": st.datetimes().map(lambda moment: moment.isoformat()),
    "maxRetries": st.integers(0, 100),
    "traceId": st.sampled_from(["trace-a", "trace-b"]),
    "id": st.integers(0, 40).map(str),
    "ids": st.lists(st.integers(0, 40).map(str), max_size=4),
    "taskIds": st.lists(st.integers(0, 40), max_size=4),
    "type": st.sampled_from(["scripted", "by hand", "text.statistics"]),
    "targetId": st.just("t"),
    "targetType": st.just("tt"),
    "runnerType": st.sampled_from(["manual", "system"]),
    "delay": st.floats(0, 4e8),
    "timeout": st.integers(0, 86_400_000),
    "parentTaskId": st.integers(0, 40),
    "idempotencyKey": st.sampled_from(["key-a", "key-b"]),
    "status": st.sampled_from(["success", "failed", "COMPLETED"]),
    "backoff": st.sampled_from([True, "by.sevens", {}, {"delay": 5, "type": "exponential"}]),
    "next": st.sampled_from([{"type": "by hand", "runnerType": "manual"}, {"type": "scripted", "input": None}]),
    "removeOnComplete": st.booleans(),
    "context": st.sampled_from([{}, {"secret": "s"}]),
    "result": JSON.map(json.dumps) | st.just('{"code": 0}'),
    "code": st.sampled_from([0, 1, -0.5, 1e300]),
    "data": JSON,
    "message": st.text(max_size=5),
    "output": JSON,
    "userId": st.just("u"),
}
GOOD["messages"] = st.lists(
    st.fixed_dictionaries(
        {name: GOOD[name] for name in ("topic", "payload")},
        optional={name: GOOD[name] for name in ("priority", "executeAt", "maxRetries", "traceId", "idempotencyKey")},
    ),
    min_size=1,
    max_size=5,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bodies from nonsense to nearly right."""
    shape = draw(st.sampled_from(["bytes", "json", "members", "good", "good"]))
    if shape == "bytes":
        return draw(st.binary(max_size=60))
    if shape == "json":
        return json.dumps(draw(JSON)).encode()
    if shape == "members":
        return json.dumps(draw(st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=6))).encode()
    needed = {"topic", "payload", "type", "targetId", "targetType", "id", "messages"}
    names = draw(st.sets(st.sampled_from(sorted(GOOD)), max_size=6)) | needed
    if names & {"ids", "taskIds"} and draw(st.booleans()):  # they and "id" exclude each other
        names -= {"id"}
    body = {name: draw(GOOD[name]) for name in sorted(names)}
    spoiled = draw(st.lists(st.sampled_from(MEMBERS), max_size=1))
    return json.dumps({**body, **{name: draw(JSON) for name in spoiled}}).encode()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DATES = st.sampled_from(["2025-01-01", "2025-06-15T15:06:40.000Z", "2026-01-01T00:00:00+05:30", "9998-12-31"])
GOOD_VALUES = {
    "topic": GOOD["topic"],
    "limit": st.integers(1, 100),
    "lockTimeout": st.integers(1_000, 43_200_000),
    "status": st.sampled_from(["PENDING", "PROCESSING", "COMPLETED", "FAILED"]),
    "traceId": GOOD["traceId"],
    "perPage": st.integers(1, 100),
    "currentPage": st.integers(1, 100_000),
    "replayed": st.sampled_from(["true", "false"]),
    "id": GOOD["id"],
    "filter.id": GOOD["id"],
    "filter[type]": GOOD["type"],
    "filter.status": st.sampled_from(["pending", "running", "success", "failed", "canceled"]),
    "filter.targetName": TEXT.filter(bool),
    "filter.createdAt.startTime": DATES,
    "filter[createdAt][endTime]": DATES,
    "filter.completedAt.startTime": DATES,
    "filter.completedAt[endTime]": DATES,
    "sort[id]": st.sampled_from(["ASC", "DESC"]),
    "messageId": GOOD["id"],
    "event": st.sampled_from(["PUBLISHED", "COMPLETED"]),
}
NONSENSE = st.sampled_from(PARAMETERS) | TEXT


@st.composite
def queries(draw: st.DrawFn) -> str:
    """Query strings from nonsense to right."""
    names = draw(st.sets(st.sampled_from(sorted(GOOD_VALUES)), max_size=5))
    pairs = [(name, str(draw(GOOD_VALUES[name]))) for name in sorted(names | {"topic", "id"})]
    if draw(st.booleans()):
        pairs += draw(st.lists(st.tuples(NONSENSE, TEXT | st.sampled_from(["", "0", "-1", "\x00"])), max_size=3))
    return urlencode(pairs)


SEGMENTS = st.sampled_from(["1", "0", "trace-a", "abc", "%00", "%FF", "%ED%A0%80", "%2F", "."]) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20
).map(lambda text: quote(text, safe=""))


class TestNoInputMakesItFail:
    @pytest.fixture(scope="class", params=["moto", "ministack"])
    @staticmethod
    def anywhere(request: pytest.FixtureRequest) -> Iterator[Service]:
        """An installation on either emulator: the two refuse different things."""
        if request.param == "moto":
            with installation() as made:
                yield made
        else:
            with Emulator.start() as emulator, installation(emulator.endpoint_url) as made:
                yield made

    @settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(route=st.sampled_from(sorted(SCOPE_OF)), body=bodies(), query=queries(), segment=SEGMENTS)
    def test_whatever_comes(
        self, anywhere: Service, route: tuple[str, str], body: bytes, query: str, segment: str
    ) -> None:
        method, path = route
        url = path.replace("{id}", segment).replace("{traceId}", segment)
        content = body if method == "POST" else None
        reply = anywhere.request(method, f"{url}?{query}", content, {"Content-Type": "application/json"})
        assert reply.status < 500, (reply.status, reply.text)
        if reply.status >= 400:
            assert reply.json["statusCode"] == reply.status
            assert reply.json["message"]

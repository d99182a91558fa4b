"""HTTP becomes proxy events and back, within API Gateway's limits."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from chalice.app import Chalice, Response

from chalicelib.http.listener import Listener
from chalicelib.local.gateway import REQUEST_MAX_BYTES, Gateway, Resources, _take_back
from chalicelib.local.lambda_context import LambdaContext
from tests.support.waiting import DEADLINE_S, becomes


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class TestResources:
    RESOURCES = Resources(
        [
            "/",
            "/job",
            "/job/{id}",
            "/job/search",
            "/job/{id}/log",
            "/jobs/{a}/{b}",
            "/jobs/{a}/stats",
            "/job/search/all",
        ]
    )

    @pytest.mark.parametrize(
        ("path", "resource", "variables"),
        [
            ("/", "/", {}),
            ("/job", "/job", {}),
            ("/job/", "/job", {}),
            ("/job/7", "/job/{id}", {"id": "7"}),
            ("/job/search", "/job/search", {}),
            ("/job/search/log", "/job/{id}/log", {"id": "search"}),
            ("/jobs/x/stats", "/jobs/{a}/stats", {"a": "x"}),
            ("/jobs/x/y", "/jobs/{a}/{b}", {"a": "x", "b": "y"}),
            ("/job/a%2Fb", "/job/{id}", {"id": "a%2Fb"}),
        ],
    )
    def test_a_literal_is_preferred_and_a_variable_takes_the_rest(
        self, path: str, resource: str, variables: dict[str, str]
    ) -> None:
        assert self.RESOURCES.find(path) == (resource, variables)

    @pytest.mark.parametrize("path", ["/nothing", "/job//", "/job/1/log/more", "/jobs/x", "job", "*", ""])
    def test_other_paths_lead_nowhere(self, path: str) -> None:
        assert self.RESOURCES.find(path) is None


def sample_app() -> Any:
    app = Chalice("sample")
    app.api.binary_types.append("application/x-sample")

    @app.route("/echo/{name}", methods=["GET", "POST"])
    def echo(name: str) -> Any:
        request: Any = app.current_request
        return {"name": name, "query": request.query_params, "body": request.raw_body.decode()}

    @app.route("/bytes", methods=["POST"], content_types=["application/x-sample"])
    def octets() -> Any:
        request: Any = app.current_request
        return Response(request.raw_body[::-1], headers={"Content-Type": "application/x-sample", "X-One": "1"})

    @app.route("/both", methods=["GET", "HEAD"])
    def both() -> Any:
        return {"some": "thing"}

    @app.route("/long/{size}")
    def long(size: str) -> Any:
        return Response("x" * int(size), headers={"Content-Type": "text/plain"})

    @app.route("/packed")
    def packed() -> Any:
        return Response("x" * 2_000, headers={"Content-Type": "text/plain", "Content-Encoding": "x-own"})

    @app.route("/host")
    def host() -> Any:
        request: Any = app.current_request
        return {"host": request.headers["host"]}

    @app.route("/many")
    def many() -> Any:
        return Response("", headers={"Set-Cookie": ["a=1", "b=2"]}, status_code=204)

    return app


def gateway(app: Any, timeout_s: float = DEADLINE_S) -> Gateway:
    return Gateway(app, "api", timeout_s, context)


def context(request_id: str) -> LambdaContext:
    return LambdaContext(
        function_name="sample-api",
        aws_request_id=request_id,
        invoked_function_arn="arn",
        memory_limit_in_mb=128,
        deadline_s=time.time() + DEADLINE_S,
    )


async def call(
    app: Gateway,
    method: str,
    target: str,
    body: bytes = b"",
    headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),),
) -> Reply:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"127.0.0.1:8000"), *headers],
        "client": ("127.0.0.1", 5),
    }
    chunks = [body[start : start + 65_536] for start in range(0, len(body), 65_536)] or [b""]
    messages = [
        {"type": "http.request", "body": chunk, "more_body": more}
        for chunk, more in zip(chunks, [True] * (len(chunks) - 1) + [False], strict=True)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *parts = sent
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], told, b"".join(part["body"] for part in parts))


def answer(method: str, target: str, body: bytes = b"", **given: Any) -> Reply:
    return asyncio.run(call(gateway(sample_app()), method, target, body, **given))


class TestRequests:
    def test_reaches_the_view_with_what_was_sent(self) -> None:
        reply = answer("POST", "/echo/a%20b?x=1&y=%C3%A4&x=2", '{"ä": 1}'.encode())
        assert reply.status == 200
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["content-length"] == str(len(reply.body))
        assert reply.json["name"] == "a%20b"
        assert reply.json["query"] == {"x": "2", "y": "ä"}
        assert reply.json["body"] == '{"ä": 1}'

    def test_bytes_go_both_ways(self) -> None:
        headers = [(b"content-type", b"application/x-sample"), (b"accept", b"application/x-sample")]
        reply = answer("POST", "/bytes", b"\x00\xff\x01", headers=headers)
        assert (reply.status, reply.body, reply.headers["x-one"]) == (200, b"\x01\xff\x00", "1")

    def test_no_content_has_no_length(self) -> None:
        reply = answer("GET", "/many")
        assert (reply.status, reply.body) == (204, b"")
        assert "content-length" not in reply.headers
        assert reply.headers["set-cookie"] == "b=2"  # the second of two headers

    def test_a_method_that_is_not_declared_is_the_apps_to_refuse(self) -> None:
        reply = answer("DELETE", "/echo/x")
        assert (reply.status, reply.headers["allow"]) == (405, "GET, POST")

    def test_a_path_that_leads_nowhere_is_not_found(self) -> None:
        reply = answer("GET", "/nowhere")
        assert reply.status == 404
        assert reply.json["message"] == "there is no route GET /nowhere; see /docs"

    @pytest.mark.parametrize("query", ["x=%ff", "%C3=1", "x=1&y=a%E2%82"])
    def test_a_query_that_is_not_utf_8_is_refused(self, query: str) -> None:
        reply = answer("GET", f"/echo/x?{query}")
        assert (reply.status, reply.json["error"]) == (400, "Bad Request")

    def test_a_head_is_answered_with_all_but_the_body(self) -> None:
        reply, got = answer("HEAD", "/both"), answer("GET", "/both")
        assert (reply.status, reply.body, reply.headers) == (200, b"", got.headers)
        assert reply.headers["content-length"] == str(len(got.body))
        refused = answer("HEAD", "/many")
        assert (refused.status, refused.body, refused.headers["allow"]) == (405, b"", "GET")

    def test_a_long_answer_is_compressed_for_who_takes_that(self) -> None:
        long = answer("GET", "/long/1024", headers=[(b"accept-encoding", b"br, gzip;q=0.5")])
        assert (long.headers["content-encoding"], gzip.decompress(long.body)) == ("gzip", b"x" * 1_024)
        assert long.headers["content-length"] == str(len(long.body))
        short = answer("GET", "/long/1023", headers=[(b"accept-encoding", b"gzip")])
        assert ("content-encoding" in short.headers, len(short.body)) == (False, 1_023)

    @pytest.mark.parametrize("accepted", [b"", b"identity", b"br", b"gzip;q=0", b"*, gzip; q=0.0"])
    def test_who_does_not_take_gzip_gets_none(self, accepted: bytes) -> None:
        assert answer("GET", "/long/1024", headers=[(b"accept-encoding", accepted)]).body == b"x" * 1_024

    def test_what_the_app_has_encoded_stays_so(self) -> None:
        own = answer("GET", "/packed", headers=[(b"accept-encoding", b"gzip")])
        assert (own.headers["content-encoding"], own.body) == ("x-own", b"x" * 2_000)

    def test_an_absolute_target_leads_where_its_path_does(self) -> None:
        assert answer("GET", "http://127.0.0.1:8000/echo/x?y=1").json["query"] == {"y": "1"}
        assert answer("GET", "HTTP://other.test/host").json == {"host": "other.test"}
        assert answer("GET", "http://other.test").json["message"] == "there is no route GET /; see /docs"

    @pytest.mark.parametrize("came", [b"", b'{"half'])
    def test_a_request_that_does_not_come_whole_is_not_run(self, came: bytes) -> None:
        ran: list[None] = []
        app, sent = gateway(stub_app(lambda: ran.append(None))), []
        messages = [{"type": "http.request", "body": came, "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "raw_path": b"/stub", "query_string": b"", "headers": []}
        asyncio.run(app({**scope, "client": None}, receive, send))
        asyncio.run(app.drain(0))
        assert (ran, sent) == ([], [])

    def test_a_request_has_an_upper_bound(self) -> None:
        assert answer("POST", "/echo/x", b" " * REQUEST_MAX_BYTES).status == 200
        assert answer("POST", "/echo/x", b" " * (REQUEST_MAX_BYTES + 1)).status == 413


class TestTrouble:
    def test_an_app_that_takes_too_long_is_given_up(self) -> None:
        released = threading.Event()
        app = stub_app(lambda: released.wait(DEADLINE_S))
        try:
            reply = asyncio.run(call(gateway(app, timeout_s=0.05), "GET", "/stub"))
        finally:
            released.set()
        assert (reply.status, reply.json["error"]) == (504, "Gateway Timeout")

    def test_an_app_that_fails_shows_no_insides(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail() -> None:
            raise RuntimeError("insides")

        reply = asyncio.run(call(gateway(stub_app(fail)), "GET", "/stub"))
        assert reply.status == 502
        assert b"insides" not in reply.body
        assert "insides" in caplog.text

    def test_requests_are_served_side_by_side(self) -> None:
        """Two hundred polls that wait keep nobody from an answer."""
        together = threading.Barrier(200)
        app = gateway(stub_app(lambda: together.wait(DEADLINE_S)))

        async def all_at_once() -> list[Reply]:
            return await asyncio.gather(*(call(app, "GET", "/stub") for _ in range(200)))

        assert [reply.status for reply in asyncio.run(all_at_once())] == [200] * 200


class TestAClientThatGoes:
    """What a poll took is handed back exactly where its answer did not reach the client."""

    async def scenario(self, *, gone_while: str, seconds: float = DEADLINE_S) -> tuple[list[str], list[dict[str, Any]]]:
        """What the app saw and undid, and what was sent to a client that goes ``while`` something is done."""
        seen: list[str] = []
        sent: list[dict[str, Any]] = []
        working, gone, told = threading.Event(), asyncio.Event(), threading.Event()

        def work(listener: Listener) -> None:
            working.set()
            if gone_while == "working":
                assert told.wait(DEADLINE_S)
            elif gone_while == "overdue":
                while listener.is_there():
                    pass
            seen.append("awaited" if listener.is_there() else "left")
            listener.otherwise(lambda: seen.append("undone"))

        requests = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            if requests:
                return requests.pop()
            await gone.wait()
            told.set()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if gone_while == "sending" and message["type"] == "http.response.body" and len(sent) == 2:
                gone.set()

        scope = {
            "type": "http",
            "method": "GET",
            "raw_path": b"/stub",
            "query_string": b"",
            "headers": [],
            "client": None,
        }
        serving = asyncio.create_task(gateway(stub_app(work), timeout_s=seconds)(scope, receive, send))
        await asyncio.to_thread(working.wait)
        if gone_while == "working":
            gone.set()
        await serving
        if gone_while == "later":
            gone.set()
            await asyncio.sleep(0)
        return seen, sent

    def test_while_the_app_works(self) -> None:
        seen, _ = asyncio.run(self.scenario(gone_while="working"))
        assert seen == ["left", "undone"]

    def test_before_the_last_byte(self) -> None:
        seen, sent = asyncio.run(self.scenario(gone_while="sending"))
        assert seen == ["awaited", "undone"]
        assert [(part["body"], part.get("more_body", False)) for part in sent[1:]] == [(b"{", True), (b"}", False)]

    def test_with_the_whole_answer(self) -> None:
        seen, sent = asyncio.run(self.scenario(gone_while="later"))
        assert (seen, b"".join(part["body"] for part in sent[1:])) == (["awaited"], b"{}")

    def test_with_504_instead_of_the_answer(self) -> None:
        seen, sent = asyncio.run(self.scenario(gone_while="overdue", seconds=0.05))
        assert sent[0]["status"] == 504
        becomes(["left", "undone"], lambda: seen)

    def test_what_cannot_be_taken_back_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail() -> None:
            raise RuntimeError("no SQS")

        listener = Listener()
        listener.otherwise(fail)
        listener.leave()
        _take_back(listener)
        assert "no SQS" in caplog.text
        assert listener.matters is False


def test_draining_waits_for_answers_under_way_and_for_those_to_what_still_comes() -> None:
    entered, released = threading.Semaphore(0), threading.Semaphore(0)

    def wait() -> None:
        entered.release()
        released.acquire()

    async def scenario() -> list[object]:
        app = gateway(stub_app(wait))
        first = asyncio.create_task(call(app, "GET", "/stub"))
        await asyncio.to_thread(entered.acquire)
        draining = asyncio.create_task(app.drain(0.0))
        await asyncio.sleep(0)
        second = asyncio.create_task(call(app, "GET", "/stub"))
        await asyncio.to_thread(entered.acquire)
        seen: list[object] = [draining.done()]
        for _ in range(2):
            released.release()
        seen += [(await first).status, (await second).status]
        await draining
        return seen

    assert asyncio.run(scenario()) == [False, 200, 200]


def stub_app(work: Callable[..., object]) -> Any:
    """An app with one route that does ``work`` (for a listener), below everything that Chalice would do."""

    class Stub:
        routes = {"/stub": {"GET": None}}  # noqa: RUF012 - read only
        api = Chalice("stub").api

        def __call__(self, _event: Any, context: Any) -> Any:
            if inspect.signature(work).parameters:
                work(context.listener)
            else:
                work()
            return {"statusCode": 200, "headers": {}, "multiValueHeaders": {}, "body": "{}"}

    return Stub()

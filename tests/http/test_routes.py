"""Declared routes as a client meets them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from chalice.app import Chalice
from chalice.deploy.swagger import CFNSwaggerGenerator
from chalice.deploy.validate import validate_route_content_types, validate_routes
from chalice.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, SkipValidation

from chalicelib.core.errors import InvalidInput
from chalicelib.http.exchange import Answer, Caller
from chalicelib.http.models import AnswerModel, ApiModel, Many, Name, Text
from chalicelib.http.routes import Router
from tests.support.edge import SERVICE, app_of, call
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard  # not imported at run time: only inputs' types are evaluated


class NoteBody(ApiModel):
    topic: Name
    remark: Text = ""
    payload: Any = None
    due_in_ms: int = Field(default=0, ge=0, le=1_000)


class Note(AnswerModel):
    topic: str
    due_in_ms: int
    made_at: datetime
    payload: Any


class NoteQuery(ApiModel):
    per_page: int = Field(default=20, ge=1)
    ids: Many[int] = Field(default_factory=list)


class NotePath(ApiModel):
    note_id: Name


class Numbers(AnswerModel):
    ratio: float


router = Router("notes")


@router.post("/notes", scope="message", status=201)
def make(yard: Yard, body: NoteBody) -> Note:
    """Make a note."""
    assert yard is SERVICE
    made_at = datetime(2026, 1, 31, tzinfo=UTC)
    return Note(topic=body.topic, due_in_ms=body.due_in_ms, made_at=made_at, payload=body.payload)


@router.get("/notes", scope="message")
def find(query: NoteQuery) -> dict[str, Any]:
    """Find notes."""
    return {"perPage": query.per_page, "ids": query.ids}


@router.get("/notes/{noteId}", scope="message")
def read(path: NotePath) -> dict[str, Any]:
    """Read a note."""
    return {"noteId": path.note_id}


@router.delete("/notes/{noteId}", scope="message")
def remove(path: NotePath) -> None:
    """Remove a note."""


@router.post("/bulk", scope="task")
def bulk(body: SkipValidation[NoteBody | list[NoteBody]] | None) -> Any:
    """Take one note, several or none, checked one by one."""
    return {"got": body}


@router.get("/who", scope="task", headers={"Idempotency-Key": "Told back"})
def who(caller: Caller) -> dict[str, Any]:
    """Tell who is calling."""
    return {
        "name": caller.name,
        "key": caller.headers.get("idempotency-key"),
        "request": caller.request_id,
        "body": caller.raw_body.decode(),
        "path": caller.url_path,
    }


@router.get("/metrics", scope="dashboard", content_type="text/plain; version=0.0.4")
def metrics() -> str:
    """Tell the metrics."""
    return "mq_queue_depth 5\n"


@router.get("/odd", scope="task")
def odd() -> list[Any]:
    """Answer what JSON has no form for."""
    return [Numbers(ratio=float("nan")), {"a\udc00": "\ud800"}, float("inf"), 2.0, "schön"]


@router.get("/teapot", scope="task")
def teapot() -> Answer:
    """Answer with a status and a header of its own."""
    return Answer(418, {"short": True}, {"X-Spout": "left"})


@router.get("/huge", scope="task")
def huge() -> dict[str, str]:
    """Answer more than Lambda can send."""
    return {"text": '"' * 4_000_000}


@pytest.fixture(scope="module")
def app() -> Chalice:
    return app_of(router)


def test_a_body_becomes_the_declared_model_and_its_answer_the_outer_names(app: Chalice) -> None:
    reply = call(app, "POST", "/notes", body='{"topic": "a", "dueInMs": 5, "payload": {"x": [1.5]}}')
    assert (reply.status, reply.headers["Content-Type"]) == (201, "application/json")
    assert reply.json == {"topic": "a", "dueInMs": 5, "madeAt": "2026-01-31T00:00:00Z", "payload": {"x": [1.5]}}


def test_a_request_must_use_the_outer_names(app: Chalice) -> None:
    reply = call(app, "POST", "/notes", body='{"topic": "a", "due_in_ms": 5}')
    assert (reply.status, reply.json["details"]) == (
        422,
        [{"field": "due_in_ms", "expected": "dueInMs", "got": "due_in_ms"}],
    )


def test_query_and_path_become_the_declared_models(app: Chalice) -> None:
    assert call(app, "GET", "/notes", query={"perPage": ["5"], "ids": ["7"]}).json == {"perPage": 5, "ids": [7]}
    assert call(app, "GET", "/notes", query={"ids[]": ["7", "8"]}).json == {"perPage": 20, "ids": [7, 8]}
    assert call(app, "GET", "/notes/{noteId}", path={"noteId": "order%20%E4%B8%80%2F"}).json == {"noteId": "order 一/"}


@pytest.mark.parametrize(
    ("sent", "status", "got"),
    [
        (b"", 200, None),
        (b'{"topic": 5}', 200, {"topic": 5}),
        (b"[1, 2]", 200, [1, 2]),
        (b"null", 200, None),
    ],
)
def test_an_optional_body_may_be_missing_and_an_unvalidated_one_anything(
    app: Chalice, sent: bytes, status: int, got: Any
) -> None:
    reply = call(app, "POST", "/bulk", body=sent)
    assert (reply.status, reply.json) == (status, {"got": got})


def test_none_is_an_empty_answer(app: Chalice) -> None:
    reply = call(app, "DELETE", "/notes/{noteId}", path={"noteId": "1"})
    assert (reply.status, reply.text, "Content-Type" in reply.headers) == (204, "", False)


def test_the_caller_tells_the_facts_of_the_request(app: Chalice) -> None:
    reply = call(app, "GET", "/who", headers={"IDEMPOTENCY-KEY": "k1"}, body="aGk=", is_base64=True, stage="/api")
    assert reply.json == {"name": "local", "key": "k1", "request": "req-1", "body": "hi", "path": "/api/who"}


def test_text_is_sent_as_it_is(app: Chalice) -> None:
    reply = call(app, "GET", "/metrics")
    assert (reply.headers["Content-Type"], reply.text) == ("text/plain; version=0.0.4", "mq_queue_depth 5\n")


def test_what_json_or_utf8_cannot_hold_is_sent_as_javascript_would(app: Chalice) -> None:
    reply = call(app, "GET", "/odd")
    assert reply.text == '[{"ratio":null},{"a\\udc00":"\\ud800"},null,2,"schön"]'


def test_an_answer_may_choose_its_status_and_headers(app: Chalice) -> None:
    reply = call(app, "GET", "/teapot")
    assert (reply.status, reply.headers["X-Spout"], reply.json) == (418, "left", {"short": True})
    assert Answer(body="a", content_type="application/json; charset=utf-8").text() == '"a"'


def test_an_answer_that_lambda_would_refuse_is_a_413(app: Chalice) -> None:
    reply = call(app, "GET", "/huge")
    assert (reply.status, reply.json["remedy"]) == (413, "ask for fewer items at once")


def test_every_answer_names_its_request_and_is_not_cached(app: Chalice) -> None:
    for reply in (call(app, "GET", "/notes"), call(app, "POST", "/notes", body="{"), call(app, "PUT", "/notes")):
        assert reply.headers["x-request-id"] == "req-1"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_the_service_is_made_once_and_only_when_needed() -> None:
    made: list[object] = []

    def provider() -> object:
        made.append(SERVICE)
        return SERVICE

    app = app_of(router, provider=provider)
    assert (call(app, "GET", "/notes").status, made) == (200, [])
    for _ in range(2):
        assert call(app, "POST", "/notes", body='{"topic": "a"}').status == 201
    assert made == [SERVICE]


def test_a_service_that_cannot_be_made_is_not_the_callers_fault() -> None:
    def provider() -> object:
        raise InvalidInput("a setting is out of range", field="TASKYARD_LEASE_S")

    assert call(app_of(router, provider=provider), "POST", "/notes", body='{"topic": "a"}').status == 500


def test_requests_in_parallel_threads_do_not_mix() -> None:
    inside = Barrier(2)
    parallel = Router("parallel")

    @parallel.get("/me/{noteId}", scope="task")
    def me(path: NotePath, caller: Caller) -> list[str]:
        """Tell the caller apart, while another request is being served."""
        inside.wait(DEADLINE_S)
        return [path.note_id, caller.headers["x-me"]]

    app = app_of(parallel)
    with ThreadPoolExecutor(2) as threads:
        replies = threads.map(
            lambda name: call(app, "GET", "/me/{noteId}", path={"noteId": name}, headers={"X-Me": name}), ["a", "b"]
        )
    assert [reply.json for reply in replies] == [["a", "a"], ["b", "b"]]


def test_the_test_client_of_chalice_serves_it_too(app: Chalice) -> None:
    with Client(app) as client:
        made = client.http.post("/notes", headers={"Content-Type": "application/json"}, body=b'{"topic": "a"}')
        assert (made.status_code, made.json_body["topic"]) == (201, "a")
        assert client.http.get("/notes/a%20b?x=1").json_body == {"noteId": "a b"}


# -- declarations that cannot work ------------------------------------------------------------------------------------


def routed(*paths: str, scope: str | None = None) -> Router:
    """A router with a ``GET`` on each path; variables are declared by a model with the names that follow them."""
    made = Router("toy")
    for number, path in enumerate(paths):

        def handler(path: NotePath) -> None:
            """Do nothing."""

        def bare() -> None:
            """Do nothing."""

        chosen = handler if "{" in path else bare
        chosen.__name__ = f"handler{number}"
        made.get(path, scope=scope)(chosen)
    return made


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        (["/a/"], r"GET /a/: expected a path such as /a/\{b\}/c, without a slash at its end"),
        (["a"], "GET a: expected a path"),
        (["/a/x{noteId}"], "each variable a whole segment"),
        (["/a/{id}"], r"GET /a/\{id\}: the path has the variables \['id'\], its handler's model \['noteId'\]"),
    ],
)
def test_paths_that_api_gateway_could_not_hold_are_refused(paths: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        app_of(routed(*paths))


def test_sibling_variables_must_share_a_name() -> None:
    class OtherPath(ApiModel):
        other: str

    made = Router("toy")

    def first(path: NotePath) -> None: ...

    def second(path: Any) -> None: ...

    second.__annotations__["path"] = OtherPath
    made.get("/jobs/{noteId}", scope=None)(first)
    made.get("/jobs/{other}/log", scope=None)(second)
    with pytest.raises(
        ValueError, match=r"GET /jobs/\{other\}/log: API Gateway allows one .* GET /jobs/\{noteId\} has"
    ):
        app_of(made)


def test_operations_must_differ() -> None:
    with pytest.raises(ValueError, match="GET /a and GET /b are both called toy_handler0; rename a handler"):
        app_of(routed("/a"), routed("/b"))


def test_a_path_may_be_declared_once_for_a_method() -> None:
    with pytest.raises(ValueError, match="Duplicate method: 'GET' detected for route: '/a'"):
        app_of(routed("/a", "/a"))


def test_a_scope_must_exist() -> None:
    with pytest.raises(ValueError, match=r"GET /a: expected one of the scopes message, .* got 'admin'"):
        routed("/a", scope="admin")


def test_a_signature_must_be_one_that_requests_can_satisfy() -> None:
    def two(yard: Any, clock: Any) -> None: ...

    def late(body: NoteBody, yard: Any) -> None: ...

    def untyped(body) -> None: ...

    for handler in (two, late):
        with pytest.raises(TypeError, match="at most one parameter for the service, the first"):
            Router("toy").post("/a", scope=None)(handler)
    with pytest.raises(TypeError, match="expected a type for body"):
        Router("toy").post("/a", scope=None)(untyped)


def test_chalice_would_deploy_it(app: Chalice) -> None:
    validate_routes(app.routes)
    validate_route_content_types(app.routes, app.api.binary_types)
    paths = CFNSwaggerGenerator().generate_swagger(app)["paths"]
    assert set(paths["/notes"]) == {"get", "head", "post", "options"}
    assert paths["/notes"]["options"]["x-amazon-apigateway-integration"]["type"] == "aws_proxy"
    assert paths["/notes"]["post"]["summary"] == "Make a note"


# -- no input produces a 5xx ------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
NOTE_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "topic": st.text() | JSON_VALUES,
        "remark": st.text(st.characters()) | JSON_VALUES,
        "dueInMs": st.integers() | JSON_VALUES,
        "payload": JSON_VALUES,
    },
)
KEYS = st.text(st.sampled_from("ab.[]_{}%$\x00") | st.characters(), max_size=12) | st.sampled_from(
    ["perPage", "ids", "ids[]", "ids[0]", "__proto__[x]", "constructor.prototype", "perPage.x"]
)
QUERIES = st.dictionaries(KEYS, st.lists(st.text(max_size=12), max_size=3), max_size=5)
BODIES = st.binary() | st.text() | NOTE_LIKE.map(json.dumps) | JSON_VALUES.map(json.dumps)
FUZZED = app_of(router)
CONTENT_TYPES = st.sampled_from([None, "application/json", "text/plain", "application/json; charset=latin-1", ";"])


@settings(max_examples=150, deadline=None)
@given(body=BODIES, query=QUERIES, is_base64=st.booleans(), content_type=CONTENT_TYPES, note_id=st.text(max_size=12))
def test_no_input_produces_a_5xx(
    body: bytes | str, query: dict[str, list[str]], is_base64: bool, content_type: str | None, note_id: str
) -> None:
    headers = {"Content-Type": content_type} if content_type is not None else {}
    replies = [
        call(FUZZED, "POST", "/notes", body=body, headers=headers, is_base64=is_base64),
        call(FUZZED, "POST", "/bulk", body=body, headers=headers, is_base64=is_base64),
        call(FUZZED, "GET", "/notes", query=query),
        call(FUZZED, "GET", "/notes/{noteId}", path={"noteId": note_id}),
    ]
    for reply in replies:
        assert reply.status in {200, 201, 400, 413, 415, 422}
        assert reply.status < 400 or reply.json["message"]

"""What a client is told, and what the log is told, when a request cannot be served."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pytest
from chalice.app import Chalice
from pydantic import Field, model_validator

from chalicelib.core.errors import Conflict, Full, InvalidInput, NotFound, TaskyardError, TooLarge, Unavailable
from chalicelib.http import models
from chalicelib.http.body import parsed
from chalicelib.http.exchange import Answer
from chalicelib.http.models import AnswerModel, ApiModel, Name, Text
from chalicelib.http.problems import BadRequest, Problem, ProblemStyle
from chalicelib.http.redaction import blanked, reported, secrets_in
from chalicelib.http.routes import Router
from chalicelib.settings import Settings
from tests.support.edge import app_of, call

SMALL = Settings(payload_max_bytes=1_024)
LIMIT_BYTES = 1_024 + 65_536


class Options(ApiModel):
    priority: int = Field(default=0, ge=-100)
    webhook_secret: int | None = None


class JobBody(ApiModel):
    topic: Name
    remark: Text = ""
    id: str | int = ""
    words: list[str] = Field(default_factory=list, max_length=2)
    options: Options = Field(default_factory=Options)
    payload: Any = None

    @model_validator(mode="after")
    def _no_self_reference(self) -> JobBody:
        if self.topic == self.remark:
            raise ValueError("a topic other than the remark")
        return self


class Failure(AnswerModel):
    error: str


router = Router("jobs")
RAISED: list[Exception] = []


@router.post("/jobs", scope="task")
def make(body: JobBody) -> dict[str, Any]:
    """Make a job, or raise what the test wants raised."""
    if RAISED:
        raise RAISED.pop()
    return {"topic": body.topic}


@router.post("/jobs/list", scope="task")
def make_many(body: list[JobBody]) -> dict[str, Any]:
    """Make jobs."""
    return {"count": len(body)}


own = Router("own", style=ProblemStyle(lambda problem: Answer(200, {"error": problem.message}), Failure))


@own.post("/own", scope="task")
def make_own(body: JobBody) -> dict[str, Any]:
    """Make a job in a dialect that answers errors with 200."""
    return {"topic": body.topic}


@pytest.fixture(scope="module")
def app() -> Chalice:
    return app_of(router, own, settings=SMALL)


def details_of(app: Chalice, body: str | bytes) -> list[tuple[str, str, str]]:
    """The details of a 422 to ``body``."""
    reply = call(app, "POST", "/jobs", body=body)
    assert (reply.status, reply.json["statusCode"], reply.json["error"]) == (422, 422, "Unprocessable Entity")
    return [(detail["field"], detail["expected"], detail["got"]) for detail in reply.json["details"]]


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ("", [("topic", "a value", "nothing")]),
        ("{}", [("topic", "a value", "nothing")]),
        ('{"topic": ""}', [("topic", "text of at least 1 character", "an empty text")]),
        ('{"topic": "a\\nb"}', [("topic", "a name without control characters, not all blank", "a\nb")]),
        ('{"topic": "\\ud800"}', [("topic", "text that UTF-8 can hold", "\ud800")]),
        ('{"topic": "a", "id": []}', [("id", "a valid string or a whole number", "a list of 0")]),
        (
            '{"topic": "a", "words": [1, true]}',
            [("words.0", "a valid string", "1"), ("words.1", "a valid string", "true")],
        ),
        ('{"topic": "a", "words": ["a", "b", "c"]}', [("words", "a list of at most 2 items", "a list of 3")]),
        (
            '{"topic": "a", "options": {"priority": "high"}}',
            [("options.priority", "a whole number of at least -100", "high")],
        ),
        (
            '{"topic": "a", "options": {"priority": -101}}',
            [("options.priority", "greater than or equal to -100", "-101")],
        ),
        ('{"topic": "a", "options": [{"secret": 1}]}', [("options", "an object", "a list of 1")]),
        ('{"topic": {"password": "hunter2"}}', [("topic", "a valid string", "an object")]),
        (
            '{"topic": "a", "options": {"webhookSecret": "s3cr3t"}}',
            [("options.webhookSecret", "a whole number", "[redacted]")],
        ),
        ('{"topic": "a", "remark": "a"}', [("body", "a topic other than the remark", "an object")]),
        (f'{{"topic": "{"x" * 300}"}}', [("topic", "text of at most 256 characters", "x" * 120 + "…")]),
    ],
)
def test_a_wrong_field_is_told_with_what_was_expected_and_what_came(
    app: Chalice, body: str, details: list[tuple[str, str, str]]
) -> None:
    assert details_of(app, body) == details


def test_the_message_tells_the_first_wrong_field_and_how_many_more(app: Chalice) -> None:
    reply = call(app, "POST", "/jobs", body='{"topic": "", "words": "a"}')
    message = "topic in the body: expected text of at least 1 character, got an empty text (and 1 more)"
    assert reply.json["message"] == message
    reply = call(app, "POST", "/jobs", body='{"topic": "a", "remark": "a"}')
    assert reply.json["message"] == "the body: expected a topic other than the remark, got an object"


def test_at_most_twenty_fields_are_listed(app: Chalice) -> None:
    reply = call(app, "POST", "/jobs/list", body="[" + ",".join(["{}"] * 30) + "]")
    assert (reply.status, len(reply.json["details"])) == (422, 20)
    assert reply.json["details"][19] == {"field": "19.topic", "expected": "a value", "got": "nothing"}
    assert reply.json["message"].endswith("(and 29 more)")


@pytest.mark.parametrize(
    ("body", "message", "expected", "got"),
    [
        (b"{", "the body is not JSON", "JSON", "Expecting property name enclosed in double quotes, line 1, column 2"),
        (b"[1]", "the body is of the wrong kind", "a JSON object", "a list of 1"),
        (b"null", "the body is of the wrong kind", "a JSON object", "null"),
        (b'"text"', "the body is of the wrong kind", "a JSON object", "text"),
        (b'{"topic": NaN}', "the body is not JSON", "a finite number or null", "NaN"),
        (b'{"topic": -Infinity}', "the body is not JSON", "a finite number or null", "-Infinity"),
        (b'{"x": 1e999999}', "a number is too large", "a number that a double can hold", "1e999999"),
        (b'{"x": ' + b"9" * 5_000 + b"}", "a number is too large", "a number that a double can hold", "9" * 120 + "…"),
        (b'\xef\xbb\xbf{"topic": "a"}', "the body is not JSON", "JSON", "Unexpected UTF-8 BOM"),
        (b'{"topic": "\xff"}', "the body is not UTF-8", "UTF-8", "other bytes"),
        (b"[" * 30_000, "the body is nested too deeply", "at most 100 levels", "more"),
        (b'{"x": ' + b"[" * 100 + b"]" * 100 + b"}", "the body is nested too deeply", "at most 100 levels", "more"),
    ],
)
def test_what_is_no_json_object_is_a_400(app: Chalice, body: bytes, message: str, expected: str, got: str) -> None:
    reply = call(app, "POST", "/jobs", body=body)
    assert (reply.status, reply.json["error"], reply.json["message"]) == (400, "Bad Request", message)
    [detail] = reply.json["details"]
    assert (detail["field"], detail["expected"]) == ("body", expected)
    assert detail["got"].startswith(got)


def test_a_member_named_twice_is_a_400(app: Chalice) -> None:
    reply = call(app, "POST", "/jobs", body='{"topic": "a", "options": {"priority": 1, "priority": 2}}')
    assert reply.json["details"] == [{"field": "priority", "expected": "one value", "got": "several"}]


def test_of_many_members_the_one_named_twice_is_found_at_once() -> None:
    many = ", ".join(f'"m{n}": 1' for n in range(200_000))  # to compare each with each would take minutes
    with pytest.raises(BadRequest) as caught:
        parsed(f'{{{many}, "m199999": 2}}'.encode(), None)
    assert caught.value.field == "m199999"


def test_of_many_unknown_names_as_many_as_are_shown_get_advice(app: Chalice, monkeypatch: pytest.MonkeyPatch) -> None:
    advised: list[str] = []
    monkeypatch.setattr(models, "instead_of", lambda name, known: advised.append(name) or " or ".join(known))
    reply = call(app, "POST", "/jobs", body=json.dumps({f"m{n}": 1 for n in range(5_000)}))
    assert (reply.status, len(reply.json["details"])) == (422, models.DETAILS_MAX)
    assert reply.json["message"].endswith("(and 4999 more)")
    assert advised == [f"m{n}" for n in range(models.DETAILS_MAX)]


def test_where_a_list_is_needed_an_object_is_a_400(app: Chalice) -> None:
    reply = call(app, "POST", "/jobs/list", body="{}")
    assert (reply.status, reply.json["details"][0]["expected"]) == (400, "a JSON list")
    reply = call(app, "POST", "/jobs/list", body="")
    assert (reply.status, reply.json["message"]) == (422, "the request has no body")


def test_deep_but_not_too_deep_and_odd_text_in_a_payload_pass(app: Chalice) -> None:
    deep = '{"topic": "a", "payload": ' + "[" * 99 + '"\\ud800"' + "]" * 99 + "}"
    assert call(app, "POST", "/jobs", body=deep).json == {"topic": "a"}


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 200),
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ("application/vnd.kue+json", 200),
        ("text/plain", 415),
        ("*/*", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json; charset=utf-16", 415),
        ("", 415),
    ],
)
def test_a_body_must_be_declared_as_json_or_not_at_all(app: Chalice, content_type: str | None, status: int) -> None:
    headers = {"Content-Type": content_type} if content_type is not None else None
    assert call(app, "POST", "/jobs", body='{"topic": "a"}', headers=headers).status == status


def test_a_415_says_what_to_send(app: Chalice) -> None:
    reply = call(app, "POST", "/jobs", body="a=1", headers={"Content-Type": "text/plain"})
    assert reply.json["remedy"] == "send the header Content-Type: application/json"


def test_the_gateways_base64_is_undone(app: Chalice) -> None:
    body = base64.b64encode(b'{"topic": "a"}').decode()
    assert call(app, "POST", "/jobs", body=body, is_base64=True).json == {"topic": "a"}
    for broken in ("e30", "%%%", "é"):
        reply = call(app, "POST", "/jobs", body=broken, is_base64=True)
        assert (reply.status, reply.json["message"]) == (400, "the body cannot be decoded")


def test_a_body_above_the_limit_is_a_413(app: Chalice) -> None:
    fitting = b'{"topic": "a"}'.ljust(LIMIT_BYTES)
    assert call(app, "POST", "/jobs", body=fitting).status == 200
    reply = call(app, "POST", "/jobs", body=fitting + b" ")
    assert (reply.status, reply.json["details"][0]["got"]) == (413, f"{LIMIT_BYTES + 1} bytes")


def test_an_unknown_method_is_told_like_any_other_problem(app: Chalice) -> None:
    reply = call(app, "PATCH", "/jobs", headers={"Content-Type": "text/plain"})
    assert (reply.status, reply.headers["Allow"]) == (405, "POST, OPTIONS")
    assert reply.json == {"statusCode": 405, "error": "Method Not Allowed", "message": "Unsupported method: PATCH"}


def test_an_event_that_is_no_request_is_a_404(app: Chalice) -> None:
    assert app({"requestContext": {}}, None)["statusCode"] == 404


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("m"), 422),
        (NotFound("m"), 404),
        (Conflict("m"), 409),
        (TooLarge("m"), 413),
        (Full("m"), 429),
        (Unavailable("m"), 503),
        (TaskyardError("m"), 400),
    ],
)
def test_each_error_has_its_status(app: Chalice, error: TaskyardError, status: int) -> None:
    RAISED.append(error)
    reply = call(app, "POST", "/jobs", body='{"topic": "a"}')
    assert (reply.status, reply.json["message"], "details" in reply.json) == (status, "m", False)
    assert reply.headers.get("Retry-After") == ("1" if status in (429, 503) else None)


def test_an_error_is_told_in_full(app: Chalice) -> None:
    RAISED.append(Conflict("it is taken", field="id", expected="a free id", got=7, remedy="choose another"))
    assert call(app, "POST", "/jobs", body='{"topic": "a"}').json == {
        "statusCode": 409,
        "error": "Conflict",
        "message": "it is taken",
        "details": [{"field": "id", "expected": "a free id", "got": "7"}],
        "remedy": "choose another",
    }
    RAISED.append(Conflict("it is taken", expected="a free id", got=7))
    assert call(app, "POST", "/jobs", body='{"topic": "a"}').json["message"] == "it is taken; expected a free id, got 7"
    RAISED.append(InvalidInput("it is wrong", field="context.secret", expected="32 characters", got="abc"))
    assert call(app, "POST", "/jobs", body='{"topic": "a"}').json["details"][0]["got"] == "[redacted]"


def test_an_unforeseen_error_tells_the_client_nothing_and_the_log_everything_but_secrets(
    app: Chalice, caplog: pytest.LogCaptureFixture
) -> None:
    RAISED.append(RuntimeError("no luck with hunter2 and sw0rdfish of 'k\\nk'"))
    body = '{"topic": "plain", "payload": {"password": "hunter2", "apiKeys": [{"a": "k\\nk"}]}}'
    with caplog.at_level(logging.ERROR):
        reply = call(app, "POST", "/jobs", body=body, headers={"Authorization": "Bearer sw0rdfish"})
    assert reply.status == 500
    assert reply.json == {
        "statusCode": 500,
        "error": "Internal Server Error",
        "message": "something went wrong here",
        "remedy": "report it with the request id req-1",
    }
    [record] = caplog.records
    assert record.getMessage().startswith("POST /jobs failed, request id req-1\nTraceback (most recent call last):")
    assert "RuntimeError: no luck with [redacted] and [redacted] of '[redacted]'" in record.getMessage()
    assert "hunter2" not in caplog.text
    assert "sw0rdfish" not in caplog.text


def test_a_faulty_answer_is_our_fault(app: Chalice) -> None:
    try:
        Failure.model_validate({})
    except ValueError as error:
        RAISED.append(error)
    assert call(app, "POST", "/jobs", body='{"topic": "a"}').status == 500


def test_a_dialect_tells_problems_in_its_own_style(app: Chalice) -> None:
    reply = call(app, "POST", "/own", body="[]")
    assert (reply.status, reply.json) == (200, {"error": "the body is of the wrong kind"})
    assert reply.headers["x-request-id"] == "req-1"


def test_a_problem_names_its_status_in_words() -> None:
    assert Problem(415, "m").error == "Unsupported Media Type"


def test_secrets_are_found_by_name_at_any_depth() -> None:
    found = secrets_in({"a": "x", "token": 5, "list": [{"appKey": "k"}], "secret": {"inner": ["s", None, True]}})
    assert list(found) == ["5", "k", "s"]


@pytest.mark.parametrize("name", ["flowKey", "flow_key", "tasks.0.flowKey", "options.flowKey", "filter.flowKey"])
def test_a_flow_key_is_no_secret(name: str) -> None:
    assert reported(name, "c-7") == "c-7"
    assert list(secrets_in({name: "c-7"})) == []


def test_the_key_of_a_flow_is_told_and_a_payloads_key_is_blanked() -> None:
    assert reported("key", "c-7") == "c-7"
    assert list(secrets_in({"key": "k", "payload": {"key": "l"}})) == ["k", "l"]  # of either, a log tells nothing


@pytest.mark.parametrize(
    "name",
    ["appKey", "app_key", "apiKey", "accessKey", "secret_key", "idempotencyKey", "lockToken", "password", "signature",
     "payload.key", "secret.flowKey", "authorization", "x-api-key", "webhookSecret", "flowKeySecret", "keys.flowKey"],
)  # fmt: skip
def test_what_may_be_a_secret_is_blanked(name: str) -> None:
    assert reported(name, "s3cr3t") == "[redacted]"
    assert list(secrets_in({name: "s3cr3t"})) == ["s3cr3t"]


def test_very_short_secrets_do_not_shred_a_text() -> None:
    assert blanked("a key of four: abcd", iter(["a", "abcd"])) == "a key of four: [redacted]"


def test_a_compressed_body_is_refused_with_what_is_accepted(app: Chalice) -> None:
    reply = call(app, "POST", "/jobs", body='{"topic": "a"}', headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.headers["Accept-Encoding"]) == (415, "identity")
    assert reply.json["details"] == [{"field": "content-encoding", "expected": "no such header", "got": "gzip"}]
    assert call(app, "POST", "/jobs", body='{"topic": "a"}', headers={"Content-Encoding": "Identity"}).status == 200

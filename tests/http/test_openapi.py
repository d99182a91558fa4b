"""The OpenAPI document that the declarations make."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import Field

from chalicelib.core.webhooks import Format
from chalicelib.http import openapi
from chalicelib.http.exchange import Answer
from chalicelib.http.models import AnswerModel, ApiModel, Many, Name, Priority
from chalicelib.http.one_of import OneOf
from chalicelib.http.problems import ProblemStyle
from chalicelib.http.routes import Router
from chalicelib.http.samples import sample
from tests.support.edge import REMOTE, app_of, call


class Span(ApiModel):
    start_time: str | None = Field(default=None, description="From")
    end_time: str | None = None


class Filter(ApiModel):
    status: Literal["pending", "failed"] | None = None
    created_at: Span | None = None


class ListQuery(ApiModel):
    topic: Name = Field(description="Where", examples=["order.created"])
    per_page: int = Field(default=20, ge=1, le=100, description="How many")
    ids: Many[str] = Field(default_factory=list)
    filter: Filter = Field(default_factory=Filter, description="Which")
    sort: dict[str, Literal["ASC", "DESC"]] = Field(default_factory=dict)


class MakeBody(ApiModel):
    """What is to be made."""

    topic: Name = Field(examples=["order.created"])
    payload: dict[str, Any] = Field(default_factory=dict, examples=[{"orderId": "1"}])
    max_retries: int = 3
    priority: Priority = 0
    parent: MakeBody | None = None


class Item(AnswerModel):
    """What was made."""

    id: str = Field(examples=["1024"])
    made_at: str | None = None


class ItemPage(AnswerModel):
    page_data: list[Item]
    total_count: int


class ItemPath(ApiModel):
    item_id: str = Field(description="Which")


class Failure(AnswerModel):
    error: str


items = Router("items", "Things.")


@items.post(
    "/items",
    scope="message",
    status=201,
    answers={202: Item, 409: "The name is taken"},
    headers={"Idempotency-Key": "Once"},
)
def make(yard: Any, body: MakeBody) -> Item:
    """Make an item.

    It is `made` at once.
    """
    return Item(id=f"{yard}{body.topic}")


@items.get("/items", scope="message")
def list_(yard: Any, query: ListQuery) -> ItemPage:
    """List items."""
    return ItemPage(page_data=yard.items(query.topic), total_count=0)


@items.delete("/items/{itemId}", scope="dlq:manage", summary="Drop an item")
def drop(path: ItemPath) -> None:
    """Something longer."""


@items.get("/items/metrics", scope=None, content_type="text/plain; version=0.0.4")
def metrics() -> str:
    """Tell the metrics."""
    return ""


legacy = Router("legacy", style=ProblemStyle(lambda problem: Answer(200, {"error": problem.message}), Failure))


@legacy.post("/legacy", scope="task", answer=Item)
def make_legacy(body: list[MakeBody] | MakeBody | None) -> Answer:
    """Make items."""
    return Answer(body=body)


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return call(app_of(items, legacy), "GET", "/openapi.json", stage="/api").json


def test_the_document_is_valid_openapi_3_1(api: dict[str, Any]) -> None:
    validate(api)
    assert api["openapi"] == "3.1.0"
    for schema in api["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_example_fits_its_schema(api: dict[str, Any]) -> None:
    paths = [*api["paths"].values(), *api["webhooks"].values()]
    operations = [operation for methods in paths for operation in methods.values()]
    holders = [
        holder
        for operation in operations
        for holder in (operation.get("requestBody", {}), *operation["responses"].values())
    ]
    media = [medium for holder in holders for medium in holder.get("content", {}).values() if "example" in medium]
    for medium in media:
        # references are to the document's own components, so those stand beside the schema
        schema = {**medium["schema"], "components": api["components"]}
        Draft202012Validator(schema).validate(medium["example"])
    assert len(media) == 7 + len(Format)


def test_the_server_is_the_stage_that_was_asked() -> None:
    app = app_of(items)
    for stage, url in (("/api", "/api"), ("", "/"), ("/custom/mapping", "/custom/mapping")):
        assert call(app, "GET", "/openapi.json", stage=stage).json["servers"] == [{"url": url}]


def test_an_operation_says_who_may_call_and_what_it_does(api: dict[str, Any]) -> None:
    operation = api["paths"]["/items"]["post"]
    told = {name: operation[name] for name in ("operationId", "tags", "summary", "description", "security", "x-scope")}
    assert told == {
        "operationId": "items_make",
        "tags": ["items"],
        "summary": "Make an item",
        "description": "It is `made` at once.",
        "security": [{"accessKey": ["message"]}, {"user": ["message"]}, {}],
        "x-scope": "message",
    }
    assert api["components"]["securitySchemes"]["accessKey"]["scheme"] == "bearer"
    assert api["components"]["securitySchemes"]["user"]["scheme"] == "basic"
    assert api["paths"]["/items"]["get"]["operationId"] == "items_list"
    assert api["paths"]["/items/{itemId}"]["delete"]["summary"] == "Drop an item"
    assert (metrics_of(api)["security"], "x-scope" in metrics_of(api)) == ([], False)
    assert api["tags"] == [
        {"name": "items", "description": "Things."},
        {"name": "legacy", "description": ""},
        {"name": "documentation", "description": "This description, for programs and for people."},
        {"name": "webhooks", "description": "What Taskyard sends to the URLs of `taskyard webhooks add`."},
    ]


def test_where_a_key_is_needed_the_document_says_so() -> None:
    document = call(app_of(items, settings=REMOTE), "GET", "/openapi.json").json
    assert document["paths"]["/items"]["post"]["security"] == [{"accessKey": ["message"]}, {"user": ["message"]}]
    assert document["paths"]["/items/metrics"]["get"]["security"] == []


def test_one_of_several_groups_of_fields_is_told() -> None:
    class NextRequest(OneOf):
        GROUPS = (("id",), ("kind", "place"))

        id: str | None = None
        kind: str | None = None
        place: str | None = None

    request = Draft202012Validator(NextRequest.model_json_schema())
    for good in ({"id": "1"}, {"kind": "a", "place": "b"}, {"id": "1", "kind": None}):
        assert request.is_valid(good)
    for bad in ({}, {"id": None}, {"kind": "a"}, {"id": "1", "kind": "a"}, {"id": "1", "other": 1}):
        assert not request.is_valid(bad)


def test_a_body_has_its_schema_and_an_example(api: dict[str, Any]) -> None:
    assert api["paths"]["/items"]["post"]["requestBody"] == {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/MakeBody"},
                "example": {"topic": "order.created", "payload": {"orderId": "1"}},
            }
        },
    }
    schema = api["components"]["schemas"]["MakeBody"]
    assert (schema["description"], schema["required"]) == ("What is to be made.", ["topic"])
    assert schema["properties"]["maxRetries"] == {"type": "integer", "default": 3}
    assert schema["properties"]["priority"] == {
        "anyOf": [
            {"type": "integer", "minimum": -1_000, "maximum": 1_000},
            {"type": "string", "enum": ["low", "normal", "medium", "high", "critical"]},
        ],
        "default": 0,
    }
    assert api["paths"]["/legacy"]["post"]["requestBody"]["required"] is False


def test_a_query_is_flat_with_dotted_names_for_what_is_nested(api: dict[str, Any]) -> None:
    parameters = {p["name"]: p for p in api["paths"]["/items"]["get"]["parameters"]}
    assert list(parameters) == [
        "topic",
        "perPage",
        "ids",
        "filter.status",
        "filter.createdAt.startTime",
        "filter.createdAt.endTime",
        "sort",
    ]
    assert {p["in"] for p in parameters.values()} == {"query"}
    assert [name for name, p in parameters.items() if p["required"]] == ["topic"]
    assert parameters["perPage"]["description"] == "How many"
    assert parameters["perPage"]["schema"] == {"type": "integer", "default": 20, "minimum": 1, "maximum": 100}
    assert parameters["ids"]["schema"] == {"type": "array", "items": {"type": "string"}}
    assert parameters["filter.status"]["schema"] == {"type": "string", "enum": ["pending", "failed"]}
    assert parameters["filter.createdAt.startTime"]["description"] == "From (also `filter[createdAt][startTime]`)"
    assert (parameters["sort"]["style"], parameters["sort"]["explode"]) == ("deepObject", True)


def test_path_variables_and_headers_are_parameters(api: dict[str, Any]) -> None:
    assert api["paths"]["/items/{itemId}"]["delete"]["parameters"] == [
        {"name": "itemId", "in": "path", "required": True, "description": "Which", "schema": {"type": "string"}}
    ]
    assert api["paths"]["/items"]["post"]["parameters"] == [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "Once",
            "schema": {"type": "string"},
        }
    ]


def test_answers_are_told_with_the_errors_that_can_happen(api: dict[str, Any]) -> None:
    responses = api["paths"]["/items"]["post"]["responses"]
    assert list(responses) == ["201", "202", "400", "401", "403", "409", "413", "415", "422", "429", "503"]
    item = {"schema": {"$ref": "#/components/schemas/Item"}, "example": {"id": "1024", "madeAt": "text"}}
    assert responses["201"] == {"description": "Created", "content": {"application/json": item}}
    problem = {"schema": {"$ref": "#/components/schemas/ProblemBody"}}
    assert responses["409"] == {"description": "The name is taken", "content": {"application/json": problem}}
    assert list(api["paths"]["/items/{itemId}"]["delete"]["responses"]) == ["204", "400", "401", "403", "422", "429"]
    ok, foreign = metrics_of(api)["responses"].values()
    assert ok == {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}
    assert foreign["description"].startswith("Another web page has asked")
    assert foreign["content"] == {"application/json": problem}


def test_a_dialects_own_problems_are_told_under_the_status_it_sends(api: dict[str, Any]) -> None:
    responses = api["paths"]["/legacy"]["post"]["responses"]
    assert list(responses) == ["200", "403"]
    foreign = responses["403"]["content"]["application/json"]["schema"]  # refused before the dialect is known
    assert foreign == {"$ref": "#/components/schemas/ProblemBody"}
    assert responses["200"]["content"]["application/json"]["schema"] == {
        "anyOf": [{"$ref": "#/components/schemas/Item"}, {"$ref": "#/components/schemas/Failure"}]
    }
    assert responses["200"]["description"].startswith("OK; or: No access key, nor a user's password, that is")


def test_only_schemas_that_are_used_are_listed(api: dict[str, Any]) -> None:
    used = ["DetailBody", "Failure", "Item", "ItemPage", "MakeBody", "ProblemBody"]
    sent = ["CloudEvent", "EventDocument", "EventJob", "EventType", "Kind", "State"]
    assert list(api["components"]["schemas"]) == sorted([*used, *sent])


def test_what_is_sent_to_webhooks_is_described_with_what_is_expected_of_them(api: dict[str, Any]) -> None:
    operation = api["webhooks"]["jobEvent"]["post"]
    names = [parameter["name"] for parameter in operation["parameters"]]
    assert names == ["webhook-id", "webhook-timestamp", "webhook-signature", "Taskyard-Webhook"]
    assert {name: media["schema"] for name, media in operation["requestBody"]["content"].items()} == {
        "application/json": {"$ref": "#/components/schemas/EventDocument"},
        "application/cloudevents+json": {"$ref": "#/components/schemas/CloudEvent"},
    }
    assert list(operation["responses"]) == ["2XX", "3XX", "410", "429", "503", "4XX", "5XX"]
    assert "Retry-After" in operation["responses"]["429"]["headers"]
    always = ["id", "event", "atMs", "attempt", "detail", "job"]
    assert api["components"]["schemas"]["EventDocument"]["required"] == always


def test_answers_have_all_their_fields(api: dict[str, Any]) -> None:
    assert api["components"]["schemas"]["Item"]["required"] == ["id", "madeAt"]
    assert api["components"]["schemas"]["ProblemBody"]["required"] == ["statusCode", "error", "message"]


def test_the_document_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    real = openapi.document
    monkeypatch.setattr(openapi, "document", lambda routers, **given: made.append(routers) or real(routers, **given))
    app = app_of(items)
    for stage in ("/a", "/b", "/a"):
        assert call(app, "GET", "/openapi.json", stage=stage).status == 200
    assert len(made) == 1


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "string", "examples": ["a", "b"]}, "a"),
        ({"type": "integer", "default": 0}, 0),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "number", "maximum": -1}, -1),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"const": "x"}, "x"),
        ({"enum": ["x", "y"]}, "x"),
        ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}, "2026-01-31T12:00:00Z"),
        ({"type": "array", "items": {"type": "string"}}, ["text"]),
        ({"type": "array", "items": {}}, []),
        ({}, {}),
        ({"$ref": "#/Tree"}, {"inner": {}}),
    ],
)
def test_an_example_is_made_where_none_is_given(schema: dict[str, Any], example: Any) -> None:
    tree = {"type": "object", "properties": {"inner": {"$ref": "#/Tree"}}, "required": ["inner"]}
    assert sample(schema, {"Tree": tree}, "#/") == example


def metrics_of(api: dict[str, Any]) -> Any:
    """The operation that answers text."""
    return api["paths"]["/items/metrics"]["get"]

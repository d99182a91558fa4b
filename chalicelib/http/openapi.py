"""The OpenAPI 3.1 document of the declared routes.

Imported at first use only: nothing else needs pydantic's schema generator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from chalicelib.core.access import any_of
from chalicelib.core.webhooks import CONTENT_TYPES
from chalicelib.http import webhooks
from chalicelib.http.exchange import JSON, Answer
from chalicelib.http.inputs import BODY, PATH, QUERY, Part
from chalicelib.http.problems import STANDARD, Problem
from chalicelib.http.routes import Route, Router
from chalicelib.http.samples import sample

API_VERSION = "1.0"
SECURITY_SCHEME = "accessKey"
BASIC_SCHEME = "user"

Schema = dict[str, Any]
Key = tuple[str, str]  # an operation, and what of it: an input, "problem" or a status; "webhook", and a content type

_SCHEMAS = "#/components/schemas/"
_PROBLEM = "problem"
_WEBHOOK = "webhook"
_ANY_ROUTE = "any route"
_DESCRIPTION = (
    "Tasks and messages on SQS, DynamoDB and Lambda. "
    "Every answer carries an `x-request-id` header; quote it when you report a problem."
)
_SECURITY = {
    "type": "http",
    "scheme": "bearer",
    "description": (
        "An access key that holds the operation's scope, or `*`: `Authorization: Bearer ty_...`. "
        "Stage `local` answers its own machine without one."
    ),
}
_BASIC = {
    "type": "http",
    "scheme": "basic",
    "description": "A user that holds the operation's scope, or `*`, and the user's password; where users were made.",
}
_UNAVAILABLE = {503: "AWS did not answer in time; the same request may succeed later"}
_SIGNED = {401: "No valid signature, nor, where the task has no secret, an access key that opens it"}
_VERIFIED = {401: "The headers do not prove who has sent this request, or were used before"}
_SCOPED = {
    401: "No access key, nor a user's password, that is in force",
    403: "The access key, or the user, lacks the scope",
    429: "Too many passwords were sent that are not known to be right",
}
_FOREIGN = "Another web page has asked, or by a name that is not this machine's; of stage `local` alone"
_CHECKED = {422: "An input is not what it must be; `details` names each field"}
_QUERIED = {400: "The query or the path cannot be read"}
_BODIED = {
    400: "The request cannot be read: no JSON, or not the kind of JSON that is needed",
    413: "The body is too large",
    415: "The body is declared as something else than JSON",
}


def document(routers: Sequence[Router], *, keyless: bool = False) -> dict[str, Any]:
    """What ``routers`` declare, without ``servers``, which depends on where it is asked for.

    ``keyless``: access keys may be left out.
    """
    routes = [route for router in routers for route in router.routes]
    schemas = _Schemas(routes)
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, keyless=keyless)
    sent = {webhooks.NAME: webhooks.path_item(_hook_bodies(schemas))}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Taskyard", "version": API_VERSION, "description": _DESCRIPTION},
        "tags": [*_tags(routers), webhooks.TAG],
        "paths": paths,
        "webhooks": sent,
        "components": {
            "schemas": schemas.used_in([paths, sent]),
            "securitySchemes": {SECURITY_SCHEME: _SECURITY, BASIC_SCHEME: _BASIC},
        },
    }


def _tags(routers: Sequence[Router]) -> list[dict[str, str]]:
    described: dict[str, str] = {}
    for router in routers:
        described[router.tag] = described.get(router.tag) or router.description
    return [{"name": tag, "description": description} for tag, description in described.items()]


class _Untitled(GenerateJsonSchema):
    """pydantic's generator without a title for every field, which would only repeat the field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # pydantic's signature
        return False


class _Schemas:
    """The schemas of everything that the routes name, generated together so that equal models share one name."""

    def __init__(self, routes: Sequence[Route]) -> None:
        found, definitions = TypeAdapter.json_schemas(
            [*(wanted for route in routes for wanted in _types(route)), _any_problem_type(), *_hook_types()],
            by_alias=True,
            ref_template=_SCHEMAS + "{model}",
            schema_generator=_Untitled,
        )
        self._found = {key: schema for (key, _), schema in found.items()}
        self._definitions: dict[str, Schema] = definitions.get("$defs", {})

    def of_webhook(self, content_type: str) -> Schema:
        """The schema of a body that is sent."""
        return self._found[_WEBHOOK, content_type]

    def of_any_problem(self) -> Schema:
        """The schema of a problem that no route has told."""
        return self._found[_ANY_ROUTE, _PROBLEM]

    def of(self, route: Route, what: str) -> Schema:
        """The schema of ``what``: an input, ``problem`` or a status."""
        return self._found[route.operation, what]

    def resolved(self, schema: Schema) -> Schema:
        """``schema``, followed to where it says what it is; its own words win over those it refers to."""
        choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
        if len(choices) == 1:
            return self.resolved({**choices[0], **_without(schema, "anyOf")})
        if "$ref" in schema:
            target = self._definitions[schema["$ref"].removeprefix(_SCHEMAS)]
            return self.resolved({**target, **_without(schema, "$ref")})
        return schema

    def sample(self, schema: Schema) -> Any:
        """An example of ``schema``."""
        return sample(schema, self._definitions, _SCHEMAS)

    def used_in(self, part: Any) -> dict[str, Schema]:
        """The definitions that ``part`` of the document refers to, directly or through one another."""
        used: dict[str, Schema] = {}
        pending = list(_references(part))
        while pending:
            name = pending.pop()
            if name not in used:
                used[name] = self._definitions[name]
                pending.extend(_references(used[name]))
        return dict(sorted(used.items()))


def _types(route: Route) -> Iterator[tuple[Key, JsonSchemaMode, TypeAdapter[Any]]]:
    for where, part in route.inputs.parts.items():
        yield (route.operation, where), "validation", part.adapter
    yield (route.operation, _PROBLEM), "serialization", TypeAdapter(route.style.model)
    for status, answer in _answers(route).items():
        if not isinstance(answer, str):
            yield (route.operation, str(status)), "serialization", TypeAdapter(answer)


def _any_problem_type() -> tuple[Key, JsonSchemaMode, TypeAdapter[Any]]:
    return (_ANY_ROUTE, _PROBLEM), "serialization", TypeAdapter(STANDARD.model)


def _hook_types() -> Iterator[tuple[Key, JsonSchemaMode, TypeAdapter[Any]]]:
    for (
        body_format,
        model,
    ) in webhooks.BODIES.items():  # as whoever validates one: what not each of them has, has a default
        yield (_WEBHOOK, CONTENT_TYPES[body_format]), "validation", TypeAdapter(model)


def _hook_bodies(schemas: _Schemas) -> dict[str, Any]:
    found = {content_type: schemas.of_webhook(content_type) for content_type in CONTENT_TYPES.values()}
    return {
        content_type: {"schema": schema, "example": schemas.sample(schema)} for content_type, schema in found.items()
    }


def _answers(route: Route) -> dict[int, Any]:
    """The declared answers by status: a type, or a sentence for one without a described body."""
    if route.answer is type(None):
        return {204: "Done, with nothing to say", **route.answers}
    first = "An answer" if route.answer in {Any, Answer} else route.answer
    return {route.status: first, **route.answers}


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        reference = part.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(_SCHEMAS)
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def _operation(route: Route, schemas: _Schemas, *, keyless: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "tags": [route.tag],
        "summary": route.summary,
        "description": route.description,
        "parameters": [*_path_parameters(route, schemas), *_query_parameters(route, schemas), *_headers(route)],
        "responses": _responses(route, schemas, keyless=keyless),
        "security": [],
    }
    if route.scope is not None:
        scopes = any_of(route.scope)
        operation["security"] = [{scheme: [each]} for each in scopes for scheme in (SECURITY_SCHEME, BASIC_SCHEME)]
        operation["x-scope"] = " or ".join(scopes)
        if keyless or route.signed:  # a signature is in the body, which no security scheme can say
            operation["security"].append({})
    if route.signed or route.verify is not None:
        operation["x-signed"] = True
    if route.inputs.body is not None:
        operation["requestBody"] = _request_body(route, route.inputs.body, schemas)
    return operation


def _request_body(route: Route, part: Part, schemas: _Schemas) -> dict[str, Any]:
    schema = schemas.of(route, BODY)
    return {
        "required": not part.is_optional,
        "content": {JSON: {"schema": schema, "example": schemas.sample(schema)}},
    }


def _path_parameters(route: Route, schemas: _Schemas) -> Iterator[dict[str, Any]]:
    if route.inputs.path is None:
        return
    properties = schemas.resolved(schemas.of(route, PATH))["properties"]
    for name, schema in properties.items():
        yield _parameter(name, PATH, schema, required=True)


def _query_parameters(route: Route, schemas: _Schemas) -> Iterator[dict[str, Any]]:
    if route.inputs.query is not None:
        yield from _flattened((), schemas.resolved(schemas.of(route, QUERY)), schemas, required=True)


def _flattened(
    parents: tuple[str, ...], group: Schema, schemas: _Schemas, *, required: bool
) -> Iterator[dict[str, Any]]:
    """The fields of ``group`` as parameters, those of groups within it under dotted names."""
    for field, declared in group["properties"].items():
        names = (*parents, field)
        schema = schemas.resolved(declared)
        needed = required and field in group.get("required", ())
        if "properties" in schema:
            yield from _flattened(names, schema, schemas, required=needed)
            continue
        parameter = _parameter(".".join(names), QUERY, schema, required=needed)
        if parents:
            also = f"{names[0]}{''.join(f'[{name}]' for name in names[1:])}"
            parameter["description"] = f"{parameter['description']} (also `{also}`)".strip()
        if schema.get("type") == "object":
            parameter |= {"style": "deepObject", "explode": True}
        yield parameter


def _parameter(name: str, where: str, schema: Schema, *, required: bool) -> dict[str, Any]:
    unset = ["default"] if schema.get("default") is None else []  # no way to send null
    return {
        "name": name,
        "in": where,
        "required": required,
        "description": schema.get("description", ""),
        "schema": _without(schema, "description", *unset),
    }


def _headers(route: Route) -> Iterator[dict[str, Any]]:
    for name, description in route.headers.items():
        yield _parameter(name, "header", {"type": "string", "description": description}, required=False)


def _responses(route: Route, schemas: _Schemas, *, keyless: bool) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in _answers(route).items():
        if isinstance(answer, str) and status >= HTTPStatus.BAD_REQUEST:
            _add_problem(responses, status, answer, route, schemas)
        elif isinstance(answer, str):
            _add(responses, status, answer, None)
        else:
            schema = schemas.of(route, str(status))
            content_type = route.content_type if status == route.status else JSON
            _add(responses, status, HTTPStatus(status).phrase, _content(content_type, schema, schemas))
    for status, description in _problems(route).items():
        if status not in route.answers:
            _add_problem(responses, status, description, route, schemas)
    if keyless:  # refused before the route is known, so in no dialect's words
        _add(responses, HTTPStatus.FORBIDDEN, _FOREIGN, {JSON: {"schema": schemas.of_any_problem()}})
    return dict(sorted(responses.items()))


def _problems(route: Route) -> dict[int, str]:
    inputs = route.inputs
    reading = {**(_QUERIED if inputs.path or inputs.query else {}), **(_BODIED if inputs.body else {})}
    scoped = _SIGNED if route.signed else _SCOPED if route.scope is not None else _VERIFIED if route.verify else {}
    return {**scoped, **reading, **(_CHECKED if reading else {}), **(_UNAVAILABLE if inputs.wants_service else {})}


def _add_problem(responses: dict[str, Any], status: int, description: str, route: Route, schemas: _Schemas) -> None:
    rendered = route.style.render(Problem(status, description))  # a dialect may send another status than the usual
    schema = schemas.of(route, _PROBLEM)
    _add(responses, rendered.status, description, {rendered.content_type: {"schema": schema}})


def _add(responses: dict[str, Any], status: int, description: str, content: dict[str, Any] | None) -> None:
    added: dict[str, Any] = {"description": description, **({"content": content} if content is not None else {})}
    known = responses.setdefault(str(status), added)
    if known is not added:
        known["description"] = f"{known['description']}; or: {description}"
        for content_type, media in (content or {}).items():
            other = known.setdefault("content", {}).setdefault(content_type, media)
            if other is not media:
                other["schema"] = _either(other["schema"], media["schema"])


def _either(one: Schema, other: Schema) -> Schema:
    choices = one["anyOf"] if one.keys() == {"anyOf"} else [one]
    return {"anyOf": choices if other in choices else [*choices, other]} if other != one else one


def _content(content_type: str, schema: Schema, schemas: _Schemas) -> dict[str, Any]:
    media_type = content_type.partition(";")[0]
    if media_type != JSON:
        return {media_type: {"schema": schema}}
    return {JSON: {"schema": schema, "example": schemas.sample(schema)}}


def _without(schema: Schema, *names: str) -> Schema:
    return {name: value for name, value in schema.items() if name not in names}

"""What a client is told when a request cannot be served: one mapping from exceptions to statuses and bodies."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from chalicelib.aws import code_of
from chalicelib.core.errors import (
    Conflict,
    Full,
    InvalidInput,
    NotFound,
    TaskyardError,
    TooLarge,
    Unavailable,
    shown,
)
from chalicelib.core.expectations import OF_NUMBERS, described, expected_of
from chalicelib.http import redaction
from chalicelib.http.exchange import Answer
from chalicelib.http.models import DETAILS_MAX, UNFIT, UNKNOWN_NAMES, AnswerModel
from chalicelib.http.spans import number_at

RETRY_AFTER_S = 1

_log = logging.getLogger(__name__)

_WHOLE = frozenset({"model_type", "model_attributes_type", "dict_type", "list_type"})


class BadRequest(TaskyardError):
    """The request cannot be read: not JSON, not UTF-8, a malformed query key."""


class Unauthorized(TaskyardError):
    """No access key, or none that is in force. ``basic``: a user with a password would do."""

    def __init__(self, message: str, *, basic: bool = False, **explanation: Any) -> None:
        super().__init__(message, **explanation)
        self.basic = basic


class Forbidden(TaskyardError):
    """The access key, or the web page behind the request, may not do this."""

    def __init__(self, message: str, *, scope: str | None = None, **explanation: Any) -> None:
        super().__init__(message, **explanation)
        self.scope = scope


class UnsupportedMediaType(TaskyardError):
    """The body is of a type that no route reads."""


class UnsupportedEncoding(UnsupportedMediaType):
    """The body is compressed."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One field that is wrong. ``field`` is a dotted path in the caller's own names."""

    field: str
    expected: str
    got: str


class InvalidFields(InvalidInput):
    """What pydantic found wrong with the body, the query or the path."""

    def __init__(self, where: str, details: tuple[Detail, ...], count: int, remedy: str | None) -> None:
        first = details[0]
        place = f"the {where}" if first.field == where else f"{first.field} in the {where}"
        more = f" (and {count - 1} more)" if count > 1 else ""
        super().__init__(f"{place}: expected {first.expected}, got {first.got}{more}", remedy=remedy)
        self.details = details


STATUS: Mapping[type[TaskyardError], int] = {
    BadRequest: 400,
    TaskyardError: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    UnsupportedMediaType: 415,
    InvalidInput: 422,
    Full: 429,
    Unavailable: 503,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request was not served, before a dialect gives it its shape."""

    status: int
    message: str
    details: tuple[Detail, ...] = ()
    remedy: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def error(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase


class DetailBody(AnswerModel):
    """One field that is wrong."""

    field: str = Field(description="Where, as a dotted path", examples=["next.maxRetries"])
    expected: str = Field(description="What would have been right", examples=["a whole number, 0 to 99"])
    got: str = Field(description="What came, shortened; secrets are blanked", examples=["high"])


class ProblemBody(AnswerModel):
    """Why a request was not served."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    status_code: int = Field(description="The HTTP status", examples=[422])
    error: str = Field(description="The status in words", examples=["Unprocessable Entity"])
    message: str = Field(
        description="What is wrong",
        examples=["next.maxRetries in the body: expected a whole number, 0 to 99, got high"],
    )
    details: list[DetailBody] | None = Field(default=None, description="The fields that are wrong, at most 20")
    remedy: str | None = Field(default=None, description="What to do about it", examples=["omit it for the default"])


@dataclass(frozen=True, slots=True)
class ProblemStyle:
    """How a dialect reports problems: the answer, and its model for the OpenAPI document.

    ``field_names``: its names of the engine's fields, where they are others.
    """

    render: Callable[[Problem], Answer]
    model: Any
    field_names: Mapping[str, str] = field(default_factory=dict)


def _standard(problem: Problem) -> Answer:
    body: dict[str, Any] = {"statusCode": problem.status, "error": problem.error, "message": problem.message}
    if problem.details:
        body["details"] = [{"field": d.field, "expected": d.expected, "got": d.got} for d in problem.details]
    if problem.remedy is not None:
        body["remedy"] = problem.remedy
    return Answer(problem.status, body, problem.headers)


STANDARD = ProblemStyle(_standard, ProblemBody)


def as_problem(error: TaskyardError, field_names: Mapping[str, str] = MappingProxyType({})) -> Problem:
    """The problem that ``error`` explains, its field named as in ``field_names``."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    details = error.details if isinstance(error, InvalidFields) else _details(error, field_names)
    return Problem(status, _message(error), details, error.remedy, _headers(error))


def outage(error: Exception, request: str, request_id: str) -> Problem:
    """The problem behind a failure of AWS, which is for the log to tell whole and for the client to wait out."""
    _log.warning("%s was not served, request id %s: %s", request, request_id, " ".join(str(error).split()))
    return as_problem(
        Unavailable(f"AWS does not serve this now: {code_of(error)}", remedy="send the same request again")
    )


def unexpected(error: Exception, request: str, request_id: str, secrets: Iterable[str]) -> Problem:
    """The problem behind an exception nobody foresaw: logged in full but for ``secrets``, told not at all."""
    text = "".join(traceback.format_exception(error))
    _log.error("%s failed, request id %s\n%s", request, request_id, redaction.blanked(text, secrets))
    return Problem(500, "something went wrong here", remedy=f"report it with the request id {request_id}")


def rejected(
    where: str,
    value: object,
    error: ValidationError,
    field_names: Mapping[str, str] = MappingProxyType({}),
    shape: TypeAdapter[Any] | None = None,
) -> TaskyardError:
    """What pydantic found wrong with ``value``, which came as ``where`` (body, query or path).

    ``field_names``: those that the caller has for fields of another name; ``shape``: what found it, by which it is told
    which numbers a field takes.
    A body that is no object where one is needed is a ``BadRequest``; everything else is ``InvalidFields``.
    """
    found = error.errors(include_url=False)
    if where == "body" and len(found) == 1 and not found[0]["loc"] and found[0]["type"] in _WHOLE:
        expected = "a JSON list" if found[0]["type"] == "list_type" else "a JSON object"
        return BadRequest("the body is of the wrong kind", field="body", expected=expected, got=described(value))
    return invalid_fields(where, value, error, field_names, shape)


def invalid_fields(
    where: str,
    value: object,
    error: ValidationError,
    field_names: Mapping[str, str] = MappingProxyType({}),
    shape: TypeAdapter[Any] | None = None,
) -> InvalidFields:
    """The same, whatever ``value`` is; a field that is all of it is called ``where``."""
    found = error.errors(include_url=False)
    details: dict[str, Detail] = {}
    for detail in (detail for entry in found for detail in _found(entry, where, value, shape)):
        detail = replace(detail, field=field_names.get(detail.field, detail.field))
        known = details.get(detail.field)  # each member of a union says what it expected
        if known is not None and detail.expected not in known.expected:
            detail = replace(known, expected=f"{known.expected} or {detail.expected}")
        details[detail.field] = detail
    remedy = next((entry["ctx"]["remedy"] for entry in found if entry["type"] == UNFIT), None)
    return InvalidFields(where, tuple(details.values())[:DETAILS_MAX], len(details), remedy)


def _found(entry: ErrorDetails, where: str, value: object, shape: TypeAdapter[Any] | None) -> Iterator[Detail]:
    """What one of pydantic's errors says, field by field."""
    if entry["type"] == UNKNOWN_NAMES:
        place = _path(entry["loc"], value, to_absent=False)
        for name, expected in entry["ctx"]["expected"].items():
            yield Detail(f"{place}.{shown(name)}" if place else shown(name), expected, shown(name))
        return
    is_missing = entry["type"] == "missing"
    name = _path(entry["loc"], value, to_absent=is_missing) or where
    if is_missing:
        yield Detail(name, "a value", "nothing")
    elif entry["type"] == UNFIT:
        yield Detail(name, entry["ctx"]["expected"], entry["ctx"]["got"])
    else:
        number = number_at(shape, _steps(entry["loc"], value)) if shape and entry["type"] in OF_NUMBERS else None
        yield Detail(name, number or expected_of(entry), redaction.reported(name, described(entry["input"])))


def _path(location: tuple[int | str, ...], value: Any, *, to_absent: bool) -> str:
    """``location`` as a dotted path through ``value``; ``to_absent``: its last step is not there."""
    steps = _steps(location[:-1] if to_absent else location, value)
    return ".".join(str(step) for step in (*steps, *(location[-1:] if to_absent else ())))


def _steps(location: tuple[int | str, ...], value: Any) -> list[int | str]:
    """``location`` without the steps that pydantic adds for its own unions, as far as it goes through ``value``."""
    steps: list[int | str] = []
    for step in location:
        if not (isinstance(value, dict) and step in value) and not (isinstance(value, list) and isinstance(step, int)):
            continue
        value = cast("Any", value)[step]
        steps.append(step)
    return steps


def _details(error: TaskyardError, field_names: Mapping[str, str]) -> tuple[Detail, ...]:
    if error.field is None or error.expected is None:
        return ()
    name = ".".join(field_names.get(part, part) for part in error.field.split("."))
    got = error.got if error.got is not None else "nothing"
    return (Detail(name, error.expected, redaction.reported(name, got)),)


def _message(error: TaskyardError) -> str:
    if error.field is None and error.expected is not None:
        return f"{error.message}; expected {error.expected}" + (f", got {error.got}" if error.got is not None else "")
    return error.message


def _headers(error: TaskyardError) -> dict[str, str]:
    match error:
        case Unauthorized(basic=basic):
            asked = 'Basic realm="taskyard", charset="UTF-8", ' if basic else ""
            return {"WWW-Authenticate": f'{asked}Bearer realm="taskyard"'}
        case Forbidden(scope=str(scope)):
            return {"WWW-Authenticate": f'Bearer realm="taskyard", error="insufficient_scope", scope="{scope}"'}
        case UnsupportedEncoding():
            return {"Accept-Encoding": "identity"}
        case Full() | Unavailable():
            return {"Retry-After": str(RETRY_AFTER_S)}
        case _:
            return {}

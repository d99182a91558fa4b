"""A route's inputs, read off its handler's signature: ``body``, ``query`` and ``path``, each checked by pydantic."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args, get_type_hints
from urllib.parse import unquote

from pydantic import BaseModel, TypeAdapter, ValidationError

from chalicelib.core.errors import InvalidInput
from chalicelib.http import body, query
from chalicelib.http.exchange import Caller, Incoming
from chalicelib.http.models import INPUT_CONFIG
from chalicelib.http.problems import BadRequest, rejected

BODY, QUERY, PATH, CALLER = "body", "query", "path", "caller"


@dataclass(frozen=True)
class Part:
    """One declared input: where it comes from and the type it must have."""

    where: str
    annotation: Any

    @property
    def is_model(self) -> bool:
        """Whether the type is a pydantic model, so that the input must be an object."""
        return isinstance(self.annotation, type) and issubclass(self.annotation, BaseModel)

    @property
    def is_optional(self) -> bool:
        """Whether the handler takes ``None``, for no body."""
        return type(None) in get_args(self.annotation)

    @property
    def names(self) -> set[str]:
        """A model's fields as a request names them."""
        rename = self.annotation.model_config.get("alias_generator")
        fields = self.annotation.model_fields.items()
        return {found.alias or (rename(name) if callable(rename) else name) for name, found in fields}

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """pydantic's validator of the type, made at first use."""
        return TypeAdapter(self.annotation, config=None if self.is_model else INPUT_CONFIG)

    def checked(self, value: Any) -> Any:
        """``value`` as the declared type; raises ``BadRequest`` or ``InvalidFields``."""
        try:
            return self.adapter.validate_python(value, by_alias=True, by_name=False)
        except ValidationError as error:
            raise rejected(self.where, value, error, shape=self.adapter) from None


@dataclass(frozen=True)
class Inputs:
    """What a handler asks for."""

    parts: dict[str, Part]
    wants_caller: bool
    wants_service: bool  # its first parameter, of any other name

    @property
    def body(self) -> Part | None:
        """The declared body."""
        return self.parts.get(BODY)

    @property
    def query(self) -> Part | None:
        """The declared query."""
        return self.parts.get(QUERY)

    @property
    def path(self) -> Part | None:
        """The declared path variables."""
        return self.parts.get(PATH)

    def read(self, request: Incoming, caller: Caller) -> dict[str, Any]:
        """The handler's arguments; raises what ``Part.checked``, ``body.parsed`` and ``query.nested`` raise."""
        arguments: dict[str, Any] = {}
        if self.path is not None:
            arguments[PATH] = self.path.checked({name: _decoded(value) for name, value in request.path.items()})
        if self.query is not None:
            arguments[QUERY] = self.query.checked(query.nested(request.query))
        if self.body is not None:
            arguments[BODY] = _body(self.body, caller.raw_body, request.headers)
        if self.wants_caller:
            arguments[CALLER] = caller
        return arguments


def declared(handler: Callable[..., Any]) -> tuple[Inputs, Any]:
    """The inputs that ``handler`` names, and the type that it says it returns (``Any`` where it says none).

    Raises ``TypeError`` for a signature that no request can satisfy.
    """
    names = list(inspect.signature(handler).parameters)
    others = [name for name in names if name not in {BODY, QUERY, PATH, CALLER}]
    if others != names[: len(others)] or len(others) > 1:
        raise TypeError(
            f"{handler.__qualname__}{inspect.signature(handler)}: expected at most one parameter for the service, "
            f"the first, and then any of body, query, path and caller"
        )
    hints = _hints(handler, {BODY, QUERY, PATH, "return"})
    missing = [name for name in names if name in {BODY, QUERY, PATH} and name not in hints]
    if missing:
        raise TypeError(f"{handler.__qualname__}: expected a type for {missing[0]}, which declares what is accepted")
    returned = hints.pop("return", Any)
    parts = {where: Part(where, annotation) for where, annotation in hints.items()}
    return Inputs(parts, wants_caller=CALLER in names, wants_service=bool(others)), returned


def _hints(handler: Callable[..., Any], wanted: set[str]) -> dict[str, Any]:
    # Only these are evaluated: the service's type may be imported for type checking alone.
    annotations = {name: value for name, value in handler.__annotations__.items() if name in wanted}
    holder = types.SimpleNamespace(__annotations__=annotations)
    return get_type_hints(holder, globalns=handler.__globals__, include_extras=True)


def _body(part: Part, content: bytes, headers: Mapping[str, str]) -> Any:
    if content:
        return part.checked(body.parsed(content, headers.get("content-type"), headers.get("content-encoding")))
    if part.is_optional:
        return None
    if part.is_model:
        part.checked({})  # names what is missing, if anything is
    raise InvalidInput(
        "the request has no body", field="body", expected="JSON", got="nothing", remedy="send {} for an empty object"
    )


def _decoded(value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8", field="path", expected="percent-encoded UTF-8", got=value) from None

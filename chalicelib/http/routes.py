"""How a route is declared: once, with everything that is to be known of it.

    router = Router("messages")

    @router.post("/mq/message/publish", scope="message", answers={409: "The idempotency key is taken"})
    def publish(yard: Yard, body: PublishBody) -> MessageRecord:
        '''Publish a message.'''

The handler's signature declares the inputs (``inputs.py``) and the answer, its docstring the summary and the
description, its name the operation. ``mount.py`` serves the routes, ``openapi.py`` describes them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Required, TypedDict, TypeVar, Unpack

from chalicelib.core.access import Scope, any_of
from chalicelib.core.dialects import SCOPES
from chalicelib.http.exchange import JSON, Answer, Incoming
from chalicelib.http.inputs import Inputs, declared
from chalicelib.http.problems import STANDARD, ProblemStyle

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Declaration(TypedDict, total=False):
    """What a route says of itself beyond its handler."""

    scope: Required[Scope | None]  # what an access key must hold, or one of them; None: open to all
    status: int  # of the answer, default 200
    answer: Any  # its type, where the handler's return type does not say it
    content_type: str  # default JSON; any other takes the handler's text as it is
    answers: Mapping[int, Any]  # other statuses: a model, or a sentence (about an error, from 400 on)
    headers: Mapping[str, str]  # request headers that are read, each with what it does
    signed: bool  # a signature in the request may stand for the key: the handler decides by both
    verify: Callable[[Any, Incoming, bytes], Any]  # from the service, the request and its body to who has signed it
    takes: bool  # asking changes something, though it is a GET: so no HEAD, which must be safe
    summary: str  # default: the docstring's first line


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A declared route."""

    method: str
    path: str
    operation: str  # unique; OpenAPI's operationId
    handler: Callable[..., Any]
    inputs: Inputs
    scope: Scope | None
    status: int
    answer: Any
    content_type: str
    answers: Mapping[int, Any]
    headers: Mapping[str, str]
    signed: bool
    verify: Callable[[Any, Incoming, bytes], Any] | None
    takes: bool
    tag: str
    summary: str
    description: str
    style: ProblemStyle

    @property
    def answers_head(self) -> bool:
        """Whether a ``HEAD`` is answered as a ``GET`` would be; the gateway leaves out the body."""
        return self.method == "GET" and not self.takes

    def answered(self, result: Any) -> Answer:
        """The handler's ``result`` as an answer; ``None`` becomes an empty one."""
        if isinstance(result, Answer):
            return result
        if result is None:
            return Answer(204)
        return Answer(self.status, result, content_type=self.content_type)


@dataclass(slots=True)
class Router:
    """Routes that belong together: one section of the documentation, one style of problems."""

    tag: str
    description: str = ""
    style: ProblemStyle = STANDARD
    routes: list[Route] = field(default_factory=list)

    def get(self, path: str, **declaration: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Declare a ``GET``; see ``Declaration``."""
        return self._route("GET", path, declaration)

    def post(self, path: str, **declaration: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Declare a ``POST``; see ``Declaration``."""
        return self._route("POST", path, declaration)

    def put(self, path: str, **declaration: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Declare a ``PUT``; see ``Declaration``."""
        return self._route("PUT", path, declaration)

    def delete(self, path: str, **declaration: Unpack[Declaration]) -> Callable[[Handler], Handler]:
        """Declare a ``DELETE``; see ``Declaration``."""
        return self._route("DELETE", path, declaration)

    def moved(self, start: str, to: str) -> Router:
        """The same routes, with ``to`` in place of ``start``, which all their paths begin with."""
        return replace(self, routes=[replace(route, path=to + route.path.removeprefix(start)) for route in self.routes])

    def _route(self, method: str, path: str, declaration: Declaration) -> Callable[[Handler], Handler]:
        scope = declaration["scope"]
        if scope is not None and not set(any_of(scope)) <= set(SCOPES):
            raise ValueError(f"{method} {path}: expected one of the scopes {', '.join(SCOPES)}, got {scope!r}")

        def register(handler: Handler) -> Handler:
            inputs, returned = declared(handler)
            summary, _, description = (inspect.getdoc(handler) or "").partition("\n")
            self.routes.append(
                Route(
                    method=method,
                    path=path,
                    operation=f"{self.tag}_{handler.__name__.strip('_')}".replace(" ", "_"),
                    handler=handler,
                    inputs=inputs,
                    scope=scope,
                    status=declaration.get("status", 200),
                    answer=declaration.get("answer", returned),
                    content_type=declaration.get("content_type", JSON),
                    answers=declaration.get("answers", {}),
                    headers=declaration.get("headers", {}),
                    signed=declaration.get("signed", False),
                    verify=declaration.get("verify"),
                    takes=declaration.get("takes", False),
                    tag=self.tag,
                    summary=declaration.get("summary", summary.removesuffix(".")),
                    description=description.strip(),
                    style=self.style,
                )
            )
            return handler

        return register

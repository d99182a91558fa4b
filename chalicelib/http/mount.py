"""Serving declared routes with Chalice.

Chalice finds the route; the rest is done here, so that every answer has one form. Chalice's own error answers are
told anew. Its JSON parser (which takes NaN and turns deep nesting into a 500), its check of content types (which
judges requests without a body too) and its CORS support (which knows one origin) stay unused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from itertools import chain
from threading import Lock
from typing import Any

from chalice.app import Chalice, Request, Response

from chalicelib import aws
from chalicelib.actor import acting
from chalicelib.core.errors import Full, InvalidInput, NotFound, TaskyardError
from chalicelib.http import body, cors, paths, problems, redaction
from chalicelib.http.access import ANONYMOUS, Authenticate, Identity
from chalicelib.http.description import description
from chalicelib.http.exchange import Answer, Caller, Incoming, incoming
from chalicelib.http.listener import Listener
from chalicelib.http.problems import STANDARD, Forbidden, Problem, ProblemStyle, Unauthorized
from chalicelib.http.routes import Route, Router
from chalicelib.settings import Settings

BODY_MARGIN_BYTES = 65_536  # what a request may hold beside its payload
BUDGET_S = 28.5  # for calls to AWS: API Gateway ends every request after 29 s, with a 504
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

# The request being served. Chalice keeps it on the app object, where threads of a local server would mix it up.
_current: ContextVar[Incoming] = ContextVar("_current")


def mount(
    app: Chalice,
    routers: Sequence[Router],
    *,
    provider: Callable[[], Any],
    settings: Settings,
    authenticate: Authenticate,
) -> None:
    """Serve the routes of ``routers``, and their description, with ``app``; once for an app.

    ``provider`` makes the service that handlers receive, at the first request that needs it. Raises ``ValueError``
    for routes that API Gateway could not hold and ``InvalidInput`` for settings that make no sense.
    """
    mounted = [*routers]
    mounted.append(description(mounted, keyless=settings.local))
    routes = [route for router in mounted for route in router.routes]
    paths.check(routes)
    edge = _Edge(routes, _Lazy(provider), settings, authenticate)
    app.register_middleware(edge.serve, "http")
    for route in routes:
        methods = ["GET", "HEAD"] if route.answers_head else [route.method]
        _register(app, methods, route.path, edge.view(route), name=route.operation)
    for path in dict.fromkeys(route.path for route in routes):
        _register(app, ["OPTIONS"], path, edge.preflight([route for route in routes if route.path == path]), name=path)


def _register(app: Chalice, methods: list[str], path: str, view: Callable[..., Response], *, name: str) -> None:
    app.route(path, methods=methods, name=name, content_types=[], cors=False)(view)


class _Edge:
    """What happens between Chalice and the handlers."""

    def __init__(
        self, routes: Sequence[Route], service: Callable[[], Any], settings: Settings, authenticate: Authenticate
    ) -> None:
        public = [route for route in routes if route.scope is None]
        self._public = {(method, route.path) for route in public for method in (route.method, "HEAD")}
        self._service = service
        self._authenticate = authenticate
        self._origins = cors.origins(settings.cors_origins)
        self._guarded = settings.local
        self._body_limit_bytes = settings.payload_max_bytes + BODY_MARGIN_BYTES

    def serve(self, chalice_request: Request | None, get_response: Callable[[Any], Response]) -> Response:
        """Chalice's middleware, around everything that it does itself."""
        if chalice_request is None:
            return _response(STANDARD.render(problems.as_problem(NotFound("this is no HTTP request"))))
        listener = getattr(chalice_request.lambda_context, "listener", None)  # Lambda's own context has none
        request = incoming(chalice_request.to_original_event(), listener or Listener())
        token = _current.set(request)
        try:
            self._refuse_foreign_pages(request)
            response = _restated(get_response(chalice_request))
        except Exception as error:
            response = _failure(error, request, STANDARD)
        finally:
            _current.reset(token)
        return self._finished(response, request)

    def view(self, route: Route) -> Callable[..., Response]:
        """The function that Chalice calls for ``route``."""

        def view(**_variables: str) -> Response:
            request = _current.get()
            try:
                with aws.answering_within(BUDGET_S):
                    return _response(self._answer(route, request))
            except Exception as error:
                return _failure(error, request, route.style)

        view.__doc__ = route.summary
        return view

    def preflight(self, routes: Sequence[Route]) -> Callable[..., Response]:
        """The function that Chalice calls for ``OPTIONS`` on the path of ``routes``."""
        methods = [route.method for route in routes]
        headers = sorted(set(chain.from_iterable(route.headers for route in routes)))

        def view(**_variables: str) -> Response:
            origin = _current.get().headers.get("origin")
            return _response(Answer(204, headers=cors.preflight_headers(self._origins, origin, methods, headers)))

        return view

    def _answer(self, route: Route, request: Incoming) -> Answer:
        identity = self._identity(route, request)
        raw_body = body.raw(request, self._body_limit_bytes)
        caller = Caller(
            name=identity.name,
            scopes=identity.scopes,
            headers=request.headers,
            request_id=request.request_id,
            raw_body=raw_body,
            url_path=request.url_path,
            listener=request.listener,
            signer=route.verify(self._service(), request, raw_body) if route.verify is not None else None,
        )
        arguments = route.inputs.read(request, caller)
        service = [self._service()] if route.inputs.wants_service else []
        with acting(caller.name):
            return route.answered(route.handler(*service, **arguments))

    def _identity(self, route: Route, request: Incoming) -> Identity:
        """Who sent the request; nobody in particular where a signature in it may stand for a key."""
        try:
            return self._authenticate(request.headers, route.scope)
        except (Unauthorized, Forbidden, Full):
            if route.signed:
                return ANONYMOUS
            raise

    def _refuse_foreign_pages(self, request: Incoming) -> None:
        if self._guarded:
            public = (request.method, request.route) in self._public
            cors.refuse_foreign_pages(request, self._origins, public=public)

    def _finished(self, response: Response, request: Incoming) -> Response:
        origin = request.headers.get("origin")
        added = {**HEADERS, "x-request-id": request.request_id, **cors.answer_headers(self._origins, origin)}
        response.headers = {**added, **response.headers}
        return response


class _Lazy:
    """What ``provider`` makes, made once and at first use."""

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self._lock = Lock()
        self._made: list[Any] = []

    def __call__(self) -> Any:
        with self._lock:
            if not self._made:
                try:
                    self._made.append(self._provider())
                except InvalidInput as error:  # a setting is wrong, not the request
                    raise RuntimeError("the service could not be made") from error
            return self._made[0]


def _failure(error: Exception, request: Incoming, style: ProblemStyle) -> Response:
    what = f"{request.method} {request.route}"
    if isinstance(error, TaskyardError):
        problem = problems.as_problem(error, style.field_names)
    elif aws.is_outage(error):
        problem = problems.outage(error, what, request.request_id)
    else:
        problem = problems.unexpected(error, what, request.request_id, redaction.secrets_of(request))
    return _response(style.render(problem))


def _restated(response: Response) -> Response:
    """``response``, or the standard form of an error that Chalice answered by itself (405, above all)."""
    if isinstance(response.body, dict) and {"Code", "Message"} == response.body.keys():
        headers = {name: str(value) for name, value in response.headers.items()}
        return _response(STANDARD.render(Problem(response.status_code, response.body["Message"], headers=headers)))
    return response


def _response(answer: Answer) -> Response:
    text = answer.text()
    content_type = {"Content-Type": answer.content_type} if text else {}
    return Response(text, headers={**content_type, **answer.headers}, status_code=answer.status)

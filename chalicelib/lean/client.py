"""A client of one service: a call from its parameters to its answer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import sleep
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

from botocore.exceptions import ClientError, NoCredentialsError

from chalicelib.lean.access import Access, by_environment, user_agent
from chalicelib.lean.answers import parsed
from chalicelib.lean.connections import Connections
from chalicelib.lean.events import Events, events_for
from chalicelib.lean.retries import Retries
from chalicelib.lean.services import Service
from chalicelib.lean.signing import Signer

if TYPE_CHECKING:
    from botocore.session import Session

CONTENT_TYPE = "application/x-amz-json-1.0"
NO_CLOCK_AGREES = frozenset({"InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed"})
_to_json = json.JSONEncoder(separators=(",", ":")).encode
CLOCK_WAS_SET_MS = 1_000  # by more than this: another signature will do

EVENTS = ("provide-client-params", "before-call", "before-send", "response-received", "needs-retry", "after-call")

Told = tuple[Any, dict[str, Any]]  # the answer over HTTP, and what it says
Send = Callable[[Mapping[str, str], bytes], Any]  # headers and a body to the answer over HTTP


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a service, as far as those who follow botocore's events look at its model."""

    name: str
    service_model: Any
    events: Mapping[str, str]  # their full names, by what happens
    is_endpoint_discovery_operation: bool = False
    error_shapes: tuple[()] = ()


class LeanClient:
    """A client of one service, for any number of threads.

    ``session`` makes botocore's session, where that is needed, and ``whole`` botocore's client of the service, with the
    same limits. The methods take and return what botocore's do, and raise the same: ``ClientError`` with AWS's code,
    and botocore's errors of the connection.
    """

    def __init__(
        self,
        session: Callable[[], Session],
        service: Service,
        region: str,
        now_ms: Callable[[], int],
        whole: Callable[[], Any],
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        attempts: int,
        connections: int,
        socket_options: Any,
    ) -> None:
        self._service, self._now_ms = service, now_ms
        self._make_whole = whole
        self._whole: Any = None
        access = access_to(service, region, session)
        self._url, self._credentials = access.url, access.credentials
        self._signer = Signer(self._url, service.signing_name, region)
        self._agent = user_agent()
        self._is_in_lambda = "AWS_LAMBDA_FUNCTION_NAME" in os.environ
        self._connect = connector(access, (connect_timeout_s, read_timeout_s), connections, socket_options)
        self._http = self._connect()
        self._process = os.getpid()
        self._model = SimpleNamespace(service_name=service.name)
        self.events = events_for(session)
        Retries(attempts).watch(self.events, service.name)

    def __getattr__(self, name: str) -> Any:
        operation = self._service.operations.get(name)
        if operation is None:
            whole = self._as_whole()
            if name == "meta":  # where somebody registers who is to hear of every call from now on
                self.events = whole.meta.events
            return getattr(whole, name)
        events = {event: f"{event}.{self._service.name}.{operation}" for event in EVENTS}
        method = partial(self._call, Operation(operation, self._model, events))
        self.__dict__[name] = method
        return method

    def _as_whole(self) -> Any:
        """botocore's client, for what does not go the lean way."""
        if self._whole is None:
            self._whole = self._make_whole()
        return self._whole

    def _call(self, operation: Operation, **parameters: Any) -> dict[str, Any]:
        context: dict[str, Any] = {}
        self.events.emit(operation.events["provide-client-params"], params=parameters, model=operation, context=context)
        request = self._request(operation, parameters, context)
        http: Any
        answer: Any
        http, answer = self._short_cut(operation, request, context) or self._answer(operation, request)
        self.events.emit(
            operation.events["after-call"], http_response=http, parsed=answer, model=operation, context=context
        )
        if http.status_code >= 300:
            raise ClientError(answer, operation.name)
        document: dict[str, Any] = answer
        return document

    def _request(self, operation: Operation, parameters: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
        return {
            "method": "POST",
            "url_path": "/",
            "url": self._url,
            "headers": {
                "User-Agent": self._agent,
                "X-Amz-Target": f"{self._service.target}.{operation.name}",
                "Content-Type": CONTENT_TYPE,
                **(_lambdas_trace() if self._is_in_lambda else {}),
            },
            "body": _to_json(parameters).encode(),
            "context": context,
        }

    def _short_cut(self, operation: Operation, request: dict[str, Any], context: dict[str, Any]) -> Any:
        """The answer of somebody who stands before AWS, if there is one."""
        told = {"model": operation, "params": request, "request_signer": None, "context": context}
        answers = self.events.emit(operation.events["before-call"], **told)
        return next((answer for _, answer in answers if answer is not None), None)

    def _answer(self, operation: Operation, request: dict[str, Any]) -> Told:
        """AWS's answer to the last try."""
        tries = 1
        while True:
            signed_at_ms = self._now_ms()
            asked_s = time.monotonic()
            answer, error = self._try(operation, request)
            if answer is not None and answer[0].status_code < 300:
                return answer
            delay_s = self._delay_s(operation, request, tries, answer, error)
            if delay_s is None and self._was_signed_too_early_or_late(answer, tries, signed_at_ms, asked_s):
                delay_s = 0.0
            if delay_s is None:
                return answer or _raised(error)
            sleep(delay_s)
            tries += 1

    def _delay_s(self, operation: Operation, request: dict[str, Any], tries: int, answer: Any, error: Any) -> Any:
        """How long to wait before the next try, ``None`` for no other try."""
        answers = self.events.emit(
            operation.events["needs-retry"],
            response=answer,
            endpoint=self,
            operation=operation,
            attempts=tries,
            caught_exception=error,
            request_dict=request,
        )
        return next((delay_s for _, delay_s in answers if delay_s is not None), None)

    def _was_signed_too_early_or_late(self, answer: Any, tries: int, signed_at_ms: int, asked_s: float) -> bool:
        """Whether the answer to a first try has set a clock that was wrong, so that another signature will do."""
        if tries > 1 or answer is None or answer[1]["Error"]["Code"] not in NO_CLOCK_AGREES:
            return False
        expected_ms = signed_at_ms + (time.monotonic() - asked_s) * 1_000
        return abs(self._now_ms() - expected_ms) > CLOCK_WAS_SET_MS

    def _try(self, operation: Operation, request: dict[str, Any]) -> tuple[Told | None, Exception | None]:
        answer: Told | None = None
        error: Exception | None = None
        told: dict[str, Any] | None = None
        try:
            http = self._sent(operation, self._signed(request), request["body"])
            told = {"headers": http.headers, "status_code": http.status_code, "body": http.content}
            answer = http, parsed(http)
        except Exception as raised:  # whether it is repeated is decided by botocore's rules
            error = raised
        self.events.emit(
            operation.events["response-received"],
            response_dict=told,
            parsed_response=answer and answer[1],
            context=request["context"],
            exception=error,
        )
        return answer, error

    def _signed(self, request: dict[str, Any]) -> dict[str, str]:
        if self._credentials is None:
            raise NoCredentialsError
        credentials = self._credentials.get_frozen_credentials()
        return self._signer.signed(request["headers"], request["body"], credentials, self._now_ms())

    def _sent(self, operation: Operation, headers: dict[str, str], body: bytes) -> Any:
        """What comes back over HTTP, or from somebody who stands before it."""
        request = None if isinstance(self.events, Events) else prepared(self._url, headers, body)
        answers = self.events.emit(operation.events["before-send"], request=request)
        instead = next((http for _, http in answers if http is not None), None)
        return instead or self._connection()(headers, body)

    def _connection(self) -> Any:
        """What sends for this process: after a fork, connections are not shared."""
        if self._process != os.getpid():
            self._http, self._process = self._connect(), os.getpid()
        return self._http


def _lambdas_trace() -> dict[str, str]:
    """The header by which Lambda finds functions that call each other without end; as botocore sends it from there."""
    trace_id = os.environ.get("_X_AMZN_TRACE_ID")
    return {"X-Amzn-Trace-Id": quote(trace_id, safe="-=;:+&[]{}\"',")} if trace_id else {}


def _raised(error: Exception | None) -> NoReturn:
    assert error is not None  # noqa: S101 - there is an answer or an error
    raise error


def access_to(service: Service, region: str, session: Callable[[], Session]) -> Access:
    """How a service is called in ``region``; raises what botocore raises."""
    if known := by_environment(service, region, os.environ):
        return known
    from chalicelib.lean.configured import by_botocore

    return by_botocore(service, region, session())


def prepared(url: str, headers: Mapping[str, str], body: bytes) -> Any:
    """A request as botocore sends it, and as its events show it."""
    from botocore.awsrequest import AWSPreparedRequest, HeadersDict

    kept: Any = HeadersDict(headers)
    return AWSPreparedRequest("POST", url, kept, body, stream_output=False)


def connector(access: Access, timeout: tuple[float, float], most: int, socket_options: Any) -> Callable[[], Send]:
    """Makes what sends to an endpoint; where a proxy stands before it, by botocore's HTTP session."""

    def by_proxy() -> Send:
        from botocore.httpsession import URLLib3Session

        limits: dict[str, Any] = {"timeout": timeout, "max_pool_connections": most, "socket_options": socket_options}
        http = URLLib3Session(access.verify, access.proxies, **limits)
        return lambda headers, body: http.send(prepared(access.url, headers, body))

    def direct() -> Send:
        return Connections(access.url, access.verify, timeout, most, socket_options).send

    return by_proxy if access.proxies else direct

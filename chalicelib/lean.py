"""A lean client of the services that speak JSON: what botocore does for a call, but for its model of the service.

botocore validates, serialises and parses each call by a description of the whole service; that is four fifths of what
a call costs. Both SQS and DynamoDB take and answer JSON in which a call of ours is written already. So a call is
written as JSON, signed by botocore's signer, sent by urllib3 as botocore does, and repeated by botocore's standard
rules. Endpoints, credentials, events (``client.meta.events``) and errors are botocore's, too; whatever else is asked
of the client goes to botocore's own, which is made then.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import sleep
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import urlsplit

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import URLLib3Session, get_cert_path
from botocore.model import ServiceId
from botocore.retries.standard import register_retry_handler
from botocore.session import Session
from botocore.utils import get_environ_proxies
from urllib3 import Timeout, connection_from_url

CONTENT_TYPE = "application/x-amz-json-1.0"
TIMESTAMP = "%Y%m%dT%H%M%SZ"
NO_CLOCK_AGREES = frozenset({"InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed"})


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a service, as far as those who follow botocore's events look at its model."""

    name: str
    service_model: Any
    is_endpoint_discovery_operation: bool = False
    error_shapes: tuple[()] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A service and its operations for which the lean way is taken, by the names of a client's methods."""

    name: str
    service_id: str
    signing_name: str
    target: str  # what X-Amz-Target begins with
    operations: Mapping[str, str]


SERVICES: Mapping[str, Service] = {
    "dynamodb": Service(
        "dynamodb",
        "DynamoDB",
        "dynamodb",
        "DynamoDB_20120810",
        {
            "batch_get_item": "BatchGetItem",
            "batch_write_item": "BatchWriteItem",
            "delete_item": "DeleteItem",
            "get_item": "GetItem",
            "put_item": "PutItem",
            "query": "Query",
            "transact_write_items": "TransactWriteItems",
            "update_item": "UpdateItem",
        },
    ),
    "dynamodbstreams": Service(
        "dynamodbstreams",
        "DynamoDB Streams",
        "dynamodb",
        "DynamoDBStreams_20120810",
        {"get_records": "GetRecords", "get_shard_iterator": "GetShardIterator"},
    ),
    "sqs": Service(
        "sqs",
        "SQS",
        "sqs",
        "AmazonSQS",
        {
            "change_message_visibility": "ChangeMessageVisibility",
            "change_message_visibility_batch": "ChangeMessageVisibilityBatch",
            "delete_message": "DeleteMessage",
            "delete_message_batch": "DeleteMessageBatch",
            "get_queue_attributes": "GetQueueAttributes",
            "get_queue_url": "GetQueueUrl",
            "receive_message": "ReceiveMessage",
            "send_message": "SendMessage",
            "send_message_batch": "SendMessageBatch",
        },
    ),
}


class Signed(AWSPreparedRequest):
    """A request that can be signed, and then sent."""

    params: None = None  # the signer asks for a query

    body: bytes

    def __init__(self, url: str, headers: dict[str, str], body: bytes) -> None:
        kept: Any = HeadersDict(headers)
        super().__init__("POST", url, kept, body, stream_output=False)
        self.context: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came over HTTP."""

    status_code: int
    headers: Any
    content: bytes


class Connections:
    """Kept connections to one endpoint; a thread that finds none makes one. TLS is verified.

    ``timeout`` is that of a connect and of a read, in seconds.
    """

    def __init__(
        self, url: str, verify: Any, timeout: tuple[float, float], connections: int, socket_options: Any
    ) -> None:
        connect_s, read_s = timeout
        secure: dict[str, Any] = {"cert_reqs": "CERT_REQUIRED", "ca_certs": get_cert_path(verify)}
        self._pool = connection_from_url(
            url,
            timeout=Timeout(connect=connect_s, read=read_s),
            maxsize=connections,
            socket_options=socket_options,
            **(secure if url.startswith("https:") else {}),
        )
        self._target = urlsplit(url).path

    def send(self, request: Signed) -> Answer:
        """The answer to a request; raises botocore's errors of connections."""
        url = request.url
        try:
            headers = dict(request.headers.items())
            answer = self._pool.urlopen("POST", self._target, request.body, headers, retries=False, redirect=False)
            return Answer(answer.status, answer.headers, answer.data)
        except urllib3.exceptions.SSLError as error:
            raise SSLError(endpoint_url=url, error=error) from error
        except urllib3.exceptions.NewConnectionError as error:
            raise EndpointConnectionError(endpoint_url=url, error=error) from error
        except urllib3.exceptions.ConnectTimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=url, error=error) from error
        except urllib3.exceptions.ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=url, error=error) from error
        except urllib3.exceptions.ProtocolError as error:
            raise ConnectionClosedError(endpoint_url=url, error=error) from error
        except urllib3.exceptions.HTTPError as error:
            raise HTTPClientError(error=error) from error


class Signer(SigV4Auth):
    """botocore's signer, by a clock that may know better than this machine's; AWS bears with 5 minutes."""

    def __init__(self, credentials: Any, service: str, region: str, now_ms: Callable[[], int]) -> None:
        super().__init__(credentials, service, region)
        self._now_ms = now_ms

    def add_auth(self, request: Any) -> None:
        """Sign; raises ``NoCredentialsError``."""
        if self.credentials is None:
            raise NoCredentialsError
        request.context["timestamp"] = time.strftime(TIMESTAMP, time.gmtime(self._now_ms() / 1_000))
        signer: Any = self
        signer._modify_request_before_signing(request)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        signer._inject_signature_to_request(request, signer.signature(text, request))


class LeanClient:
    """A client of one service, for any number of threads.

    ``whole`` makes botocore's client of it, with the same limits. The methods take and return what botocore's do, and
    raise the same: ``ClientError`` with AWS's code, and botocore's errors of the connection.
    """

    def __init__(
        self,
        session: Session,
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
        self._session, self._service, self._region, self._now_ms = session, service, region, now_ms
        self._make_whole = whole
        self._whole: Any = None
        self._url = endpoint_of(session, service, region)
        self._credentials = session.get_credentials()
        limits = {"timeout": (connect_timeout_s, read_timeout_s), "socket_options": socket_options}
        self._connect = connector(session, self._url, connections, limits)
        self._http = self._connect()
        self._process = os.getpid()
        service_id = ServiceId(service.service_id)
        self.event_name = service_id.hyphenize()
        self._model = SimpleNamespace(service_name=service.name, service_id=service_id)
        self.events = copy.copy(session.get_component("event_emitter"))
        told: Any = SimpleNamespace(meta=SimpleNamespace(events=self.events, service_model=self._model))
        register_retry_handler(told, attempts)

    def __getattr__(self, name: str) -> Any:
        operation = self._service.operations.get(name)
        if operation is None:
            return getattr(self._as_whole(), name)
        method = partial(self._call, Operation(operation, self._model))
        self.__dict__[name] = method
        return method

    def _as_whole(self) -> Any:
        """botocore's client; from now on whoever follows its events hears of every call."""
        if self._whole is None:
            self._whole = self._make_whole()
            self.events = self._whole.meta.events
        return self._whole

    def _call(self, operation: Operation, **parameters: Any) -> dict[str, Any]:
        context: dict[str, Any] = {}
        self._emit("provide-client-params", operation, params=parameters, model=operation, context=context)
        request = self._request(operation, parameters, context)
        http, answer = self._short_cut(operation, request, context) or self._answer(operation, request)
        self._emit("after-call", operation, http_response=http, parsed=answer, model=operation, context=context)
        if http.status_code >= 300:
            raise ClientError(answer, operation.name)
        document: dict[str, Any] = answer
        return document

    def _emit(self, event: str, of: Operation, **told: Any) -> list[Any]:
        answers: list[Any] = self.events.emit(f"{event}.{self.event_name}.{of.name}", **told)
        return answers

    def _request(self, operation: Operation, parameters: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
        return {
            "method": "POST",
            "url_path": "/",
            "url": self._url,
            "headers": {"X-Amz-Target": f"{self._service.target}.{operation.name}", "Content-Type": CONTENT_TYPE},
            "body": json.dumps(parameters, separators=(",", ":")).encode(),
            "context": context,
        }

    def _short_cut(self, operation: Operation, request: dict[str, Any], context: dict[str, Any]) -> Any:
        """The answer of somebody who stands before AWS, if there is one."""
        told = {"model": operation, "params": request, "request_signer": None, "context": context}
        answers = self._emit("before-call", operation, **told)
        return next((answer for _, answer in answers if answer is not None), None)

    def _answer(self, operation: Operation, request: dict[str, Any]) -> tuple[Any, Any]:
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
        answers = self._emit(
            "needs-retry",
            operation,
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
        return abs(self._now_ms() - expected_ms) > 1_000

    def _try(
        self, operation: Operation, request: dict[str, Any]
    ) -> tuple[tuple[Any, dict[str, Any]] | None, Exception | None]:
        answer: tuple[Any, dict[str, Any]] | None = None
        error: Exception | None = None
        told: dict[str, Any] | None = None
        try:
            signed = self._signed(request)
            answers = self._emit("before-send", operation, request=signed)
            http = next((http for _, http in answers if http is not None), None) or self._connection().send(signed)
            told = {"headers": http.headers, "status_code": http.status_code, "body": http.content}
            answer = http, parsed(http)
        except Exception as raised:  # whether it is repeated is decided by botocore's rules
            error = raised
        self._emit(
            "response-received",
            operation,
            response_dict=told,
            parsed_response=answer and answer[1],
            context=request["context"],
            exception=error,
        )
        return answer, error

    def _signed(self, request: dict[str, Any]) -> Signed:
        signed = Signed(request["url"], request["headers"], request["body"])
        credentials = self._credentials and self._credentials.get_frozen_credentials()
        Signer(credentials, self._service.signing_name, self._region, self._now_ms).add_auth(signed)
        return signed

    def _connection(self) -> Any:
        """The HTTP session of this process: after a fork, connections are not shared."""
        if self._process != os.getpid():
            self._http, self._process = self._connect(), os.getpid()
        return self._http


def _raised(error: Exception | None) -> NoReturn:
    assert error is not None  # noqa: S101 - there is an answer or an error
    raise error


def parsed(http: Any) -> dict[str, Any]:
    """An answer as botocore tells it."""
    try:
        document: Any = json.loads(http.content or b"{}")
    except ValueError:  # of something between us and AWS
        document = {"message": http.content.decode(errors="replace")}
    if http.status_code >= 300:
        document = _error_of(document, http)
    document["ResponseMetadata"] = {
        "RequestId": http.headers.get("x-amzn-requestid"),
        "HTTPStatusCode": http.status_code,
        "HTTPHeaders": http.headers,
    }
    whole: dict[str, Any] = document
    return whole


def _error_of(document: Any, http: Any) -> dict[str, Any]:
    """An error as ``ClientError`` tells it, and beside it what else the answer has (``Item``, ``CancellationReasons``).

    The code is the name behind ``#`` in ``__type``; for clients that know SQS's older protocol, the one in a header.
    """
    told = document if isinstance(document, dict) else {}
    code = str(told.get("__type") or http.status_code).partition(":")[0].rpartition("#")[2]
    error = {"Code": code, "Message": told.get("message") or told.get("Message") or ""}
    if older := http.headers.get("x-amzn-query-error"):
        error["Code"], _, kind = older.partition(";")
        error |= {"QueryErrorCode": code, "Type": kind}
    beside = {name: value for name, value in told.items() if name not in ("__type", "message", "Message")}
    return {**beside, "Error": error}


def connector(session: Session, url: str, connections: int, limits: dict[str, Any]) -> Callable[[], Any]:
    """What connects to an endpoint; where a proxy stands before it, by botocore's session."""
    bundle = session.get_config_variable("ca_bundle")
    verify: Any = os.environ.get("REQUESTS_CA_BUNDLE", True) if bundle is None else bundle
    if proxies := get_environ_proxies(url):
        return partial(URLLib3Session, verify, proxies, max_pool_connections=connections, **limits)
    return partial(Connections, url, verify, connections=connections, **limits)


def endpoint_of(session: Session, service: Service, region: str) -> str:
    """Where a service is called: what the environment or the shared configuration say, or AWS's rules for a region."""
    configured = None
    if not session.get_config_variable("ignore_configured_endpoint_urls"):
        configured = ConfiguredEndpointProvider(
            session.full_config, session.get_scoped_config(), service.name
        ).provide()
    url = configured or _endpoint_by_rules(session, service, region)
    return url if url.count("/") > 2 else f"{url}/"


def _endpoint_by_rules(session: Session, service: Service, region: str) -> str:
    loader = session.get_component("data_loader")
    provider = EndpointProvider(
        loader.load_service_model(service.name, "endpoint-rule-set-1"), loader.load_data("partitions")
    )
    url: str = provider.resolve_endpoint(
        Region=region,
        UseFIPS=bool(session.get_config_variable("use_fips_endpoint")),
        UseDualStack=bool(session.get_config_variable("use_dualstack_endpoint")),
    ).url
    return url

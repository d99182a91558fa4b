"""The lean client: signatures, repetitions, errors and connections are botocore's."""

from __future__ import annotations

import http.server
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, patch

import botocore.auth
import botocore.handlers
import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
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
from botocore.handlers import BUILTIN_HANDLERS
from botocore.hooks import HierarchicalEmitter
from botocore.model import ServiceId
from botocore.retries.standard import register_retry_handler
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import aws, settings
from chalicelib.clocks import ledger_clock, wall_clock_ms
from chalicelib.lean import client as lean
from chalicelib.lean import connections
from chalicelib.lean.access import BOTOCORES, Access, by_environment, user_agent
from chalicelib.lean.client import LeanClient
from chalicelib.lean.configured import by_botocore
from chalicelib.lean.connections import FRESH_S
from chalicelib.lean.events import Events, events_for
from chalicelib.lean.retries import CODES, Retries
from chalicelib.lean.services import SERVICES
from chalicelib.lean.signing import TIMESTAMP, Signer
from tests.support.waiting import until
from tests.support.yards import CREDENTIALS, environment, forget_clients

TARGET = "DynamoDB_20120810.GetItem"
CLOSES_UNTOLD = "Closes-Untold"


@dataclass
class Service:
    """What stands in for AWS: answers in turn, the last one for good."""

    answers: list[tuple[int, dict[str, str], bytes]]
    slept: Mock
    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0


@contextmanager
def serving(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[Service]:
    """A service on a free port of this machine, as the endpoint of all clients; its waits take no time."""
    service = Service(list(answers), Mock())

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            service.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            service.requests.append((dict(self.headers.items()), body))
            status, headers, answer = service.answers[0] if len(service.answers) == 1 else service.answers.pop(0)
            if status == 0:
                self.close_connection = True
                return
            self.send_response_only(status)
            for name, value in {"Date": formatdate(usegmt=True), **headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
            self.close_connection |= CLOSES_UNTOLD in headers

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with at(service.url), patch.object(lean, "sleep", service.slept):
            yield service
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def at(url: str) -> Iterator[None]:
    """The endpoint of all clients."""
    with environment({**CREDENTIALS, "AWS_ENDPOINT_URL": url}):
        forget_clients()
        yield
    forget_clients()


def answer(document: object, status: int = 200, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(document).encode()


FOUND = answer({"Item": {"job": {"N": "1"}}})
THROTTLED = answer({"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "slow"}, 400)
REFUSED = answer(
    {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "Item": {"a": {"S": "b"}}}, 400
)
BROKEN = answer({}, 500)
CUT_OFF: tuple[int, dict[str, str], bytes] = (0, {}, b"")


def get(client: LeanClient | None = None) -> dict[str, object]:
    found: dict[str, object] = (client or aws.client("dynamodb")).get_item(TableName="t", Key={"job": {"N": "1"}})
    return found


@pytest.fixture(params=[True, False], ids=["botocore's events", "own events"])
def events(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls as they go where somebody else may follow them, as in every test, and where nobody does."""
    if not request.param:
        monkeypatch.setattr(lean, "events_for", lambda _: Events())


# -- what is loaded -----------------------------------------------------------------------------------


HEAVY = {"botocore.client", "botocore.session", "botocore.utils", "dateutil", "email.parser", "http.client", "urllib3"}
CALLING = """
import json, sys
import app
from chalicelib import aws
ask = {"TableName": "t", "Key": {"job": {"N": "1"}}}
aws.client("sqs")
client = aws.client("dynamodb")
try:
    client.get_item(**ask)
except aws.FAILURES as error:
    print(aws.code_of(error))
print(json.dumps([client.get_item(**ask)["Item"], client.events.__class__.__name__]))
print(json.dumps(sorted(sys.modules)))
"""


def test_app_its_clients_and_their_calls_load_little_of_botocore_and_no_urllib3() -> None:
    """Nor do answers that are errors, nor another try after a wait."""
    with serving(REFUSED, THROTTLED, FOUND) as service:
        code, found, loaded = subprocess.check_output([sys.executable, "-c", CALLING], text=True).splitlines()
        assert code == "ConditionalCheckFailedException"
        assert json.loads(found) == [{"job": {"N": "1"}}, "Events"]
        assert len(service.requests) == 3
    assert HEAVY & set(json.loads(loaded)) == set()
    assert {module for module in json.loads(loaded) if module.startswith(("pydantic.", "boto3."))} == set()


@pytest.mark.parametrize(("followed", "kind"), [(False, Events), (True, HierarchicalEmitter)])
def test_only_who_is_none_of_botocores_own_follows_calls(
    followed: bool, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That botocore's handlers are loaded, as by a call of another service, is no reason to call them."""
    own = [each for each in BUILTIN_HANDLERS if each[1].__module__.startswith("botocore.")]
    foreign = [("before-send", lambda **_: None)] if followed else []
    monkeypatch.setattr(botocore.handlers, "BUILTIN_HANDLERS", own + foreign)
    events = events_for(botocore.session.get_session)
    assert isinstance(getattr(events, "_emitter", events), kind)


# -- what is sent -------------------------------------------------------------------------------------


@given(
    body=st.binary(max_size=300),
    token=st.none() | st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
    at_s=st.integers(1_000_000_000, 4_000_000_000),
    url=st.sampled_from(["https://sqs.eu-west-1.amazonaws.com/", "http://127.0.0.1:4566/", "http://localhost/a%20b/"]),
    traced=st.booleans(),
)
def test_signatures_are_botocores(body: bytes, token: str | None, at_s: int, url: str, traced: bool) -> None:
    credentials = Credentials("AKID", "secret/+=", token)
    headers = {"X-Amz-Target": TARGET, "Content-Type": lean.CONTENT_TYPE}
    headers |= {"X-Amzn-Trace-Id": "Root=1-2", "User-Agent": "somebody"} if traced else {}
    theirs = AWSRequest("POST", url, headers=headers, data=body)
    moment = datetime.fromtimestamp(at_s, UTC)
    with patch.object(botocore.auth, "get_current_datetime", lambda: moment):
        signed_by_botocore(SigV4Auth(credentials, "sqs", "eu-west-1"), theirs)
    frozen = credentials.get_frozen_credentials()
    ours = signed_by_us(Signer(url, "sqs", "eu-west-1"), headers, body, frozen, at_s * 1_000)
    assert ours == dict(theirs.headers.items())


# The tests that talk to moto go without a signature.
signed_by_botocore: Callable[..., None] = getattr(SigV4Auth.add_auth, "__wrapped__", SigV4Auth.add_auth)
signed_by_us: Callable[..., dict[str, str]] = getattr(Signer.signed, "__wrapped__", Signer.signed)


@pytest.mark.usefixtures("events")
def test_a_call_is_its_json_and_connections_are_kept() -> None:
    with serving(FOUND) as service:
        client = aws.client("dynamodb")
        for _ in range(3):
            assert get(client)["Item"] == {"job": {"N": "1"}}
        headers, body = service.requests[0]
        assert json.loads(body) == {"TableName": "t", "Key": {"job": {"N": "1"}}}
        assert (headers["X-Amz-Target"], headers["Content-Type"]) == (TARGET, "application/x-amz-json-1.0")
        assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=test/")
        assert service.connections == 1


def test_a_connection_that_ends_with_its_answer_is_not_used_again() -> None:
    with serving(answer({"Item": {"job": {"N": "1"}}}, Connection="close")) as service:
        client = aws.client("dynamodb")
        assert ["Item" in get(client) for _ in range(3)] == [True] * 3
        assert (service.connections, service.slept.call_count) == (3, 0)


@pytest.mark.parametrize(("idle_s", "sleeps"), [(0.0, 1), (FRESH_S, 0)])
def test_a_connection_that_ends_without_a_word_costs_another_try_at_most(idle_s: float, sleeps: int) -> None:
    with serving(answer({"Item": {"job": {"N": "1"}}}, Closes_Untold="yes")) as service:
        client = aws.client("dynamodb")
        get(client)
        [kept] = client._connection().__self__._kept
        until(lambda: connections._readable(kept._socket))
        kept._answered_at_s -= idle_s
        assert "Item" in get(client)
        assert service.slept.call_count == sleeps


def test_threads_share_a_client_and_each_gets_its_own_answer() -> None:
    with serving(FOUND) as service, aws.threads(8) as workers:
        client = aws.client("dynamodb")
        assert all("Item" in found for found in workers.map(lambda _: get(client), range(64)))
        assert len(service.requests) == 64
        assert service.connections <= 8


def test_after_a_fork_connections_are_not_shared() -> None:
    with serving(FOUND) as service:
        client = aws.client("dynamodb")
        get(client)
        with patch.object(os, "getpid", lambda: -1):
            get(client)
        assert service.connections == 2


# -- what comes back ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("events")
def test_an_error_is_told_with_its_code_and_what_is_beside_it() -> None:
    with serving(REFUSED) as service, pytest.raises(ClientError) as refused:
        get()
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert refused.value.response["Item"] == {"a": {"S": "b"}}  # type: ignore[typeddict-item]
    assert refused.value.operation_name == "GetItem"
    assert len(service.requests) == 1


def test_sqs_tells_its_older_code_in_a_header() -> None:
    older = "AWS.SimpleQueueService.NonExistentQueue;Sender"
    document = {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no"}
    with serving(answer(document, 400, x_amzn_query_error=older)), pytest.raises(ClientError) as missing:
        aws.client("sqs").get_queue_url(QueueName="q")
    assert missing.value.response["Error"] == {
        "Code": "AWS.SimpleQueueService.NonExistentQueue",
        "QueryErrorCode": "QueueDoesNotExist",
        "Message": "no",
        "Type": "Sender",
    }


def test_an_answer_that_is_no_json_is_an_error_with_its_status() -> None:
    with serving((403, {}, b"<html>no</html>")), pytest.raises(ClientError) as error:
        get()
    assert error.value.response["Error"] == {"Code": "403", "Message": "<html>no</html>"}


# -- repetitions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [THROTTLED, BROKEN, answer({}, 503), CUT_OFF], ids=["throttled", "500", "503", "cut"])
def test_what_may_pass_is_tried_again_after_a_wait(first: tuple[int, dict[str, str], bytes]) -> None:
    with serving(first, first, FOUND) as service:
        assert "Item" in get()
        assert len(service.requests) == 3
        waits = [call.args[0] for call in service.slept.call_args_list]
        assert len(waits) == 2
        assert all(0 <= wait_s <= 2**number for number, wait_s in enumerate(waits))


@pytest.mark.usefixtures("events")
def test_four_tries_are_the_most() -> None:
    with serving(THROTTLED) as service, pytest.raises(ClientError, match="ThrottlingException"):
        get()
    assert len(service.requests) == aws.ATTEMPTS
    with serving(CUT_OFF) as service, pytest.raises(ConnectionClosedError):
        get()
    assert len(service.requests) == aws.ATTEMPTS


def test_a_process_that_fails_all_the_time_stops_repeating() -> None:
    """botocore's budget of repetitions: 500, of which one costs 5."""
    with serving(BROKEN) as service:
        client = aws.client("dynamodb")
        for _ in range(50):
            with pytest.raises(ClientError):
                get(client)
        assert len(service.requests) < 50 * aws.ATTEMPTS


@pytest.mark.usefixtures("events")
def test_no_try_begins_that_would_end_too_late() -> None:
    budget_s = aws.CONNECT_TIMEOUT_S + aws.READ_TIMEOUT_S - 1
    with serving(BROKEN) as service, aws.answering_within(budget_s), pytest.raises(aws.OutOfTime):
        get()
    assert service.requests == []


@pytest.mark.usefixtures("events")
def test_a_clock_that_is_wrong_is_set_and_the_call_signed_anew() -> None:
    """AWS refuses a signature that is more than five minutes off."""
    late = answer({"__type": "com.amazon.coral.service#InvalidSignatureException", "message": "expired"}, 400)
    hour_ms = 3_600_000
    with serving(late, FOUND) as service, patch.object(ledger_clock, "_offset_ms", -hour_ms):
        assert "Item" in get()
        dates = [headers["X-Amz-Date"] for headers, _ in service.requests]
        signed_s = [datetime.strptime(date, TIMESTAMP).replace(tzinfo=UTC).timestamp() for date in dates]
        assert abs(signed_s[0] * 1_000 + hour_ms - wall_clock_ms()) < 120_000
        assert abs(signed_s[1] * 1_000 - wall_clock_ms()) < 120_000
        service.slept.assert_called_once_with(0.0)


def test_a_signature_that_is_wrong_for_good_is_an_error() -> None:
    wrong = answer({"__type": "InvalidSignatureException", "message": "no"}, 403)
    with serving(wrong) as service, pytest.raises(ClientError, match="InvalidSignatureException"):
        get()
    assert len(service.requests) == 1


@given(
    outcomes=st.lists(
        st.sampled_from(
            [
                (200, None, None),
                (400, "ValidationException", None),
                (400, "ConditionalCheckFailedException", None),
                *((400, code, None) for code in sorted(CODES)),
                *((status, "InternalFailure", None) for status in (500, 501, 502, 503, 504)),
                (0, "", ConnectTimeoutError(endpoint_url="x")),
                (0, "", ReadTimeoutError(endpoint_url="x")),
                (0, "", ConnectionClosedError(endpoint_url="x")),
                (0, "", EndpointConnectionError(endpoint_url="x")),
                (0, "", HTTPClientError(error="x")),
                (0, "", SSLError(endpoint_url="x", error=ssl.SSLError())),
                (0, "", aws.OutOfTime()),
                (0, "", ValueError()),
            ]
        ),
        min_size=1,
        max_size=200,
    ),
    attempts=st.integers(1, 5),
)
def test_what_is_tried_again_is_botocores_rule(
    outcomes: list[tuple[int, str | None, Exception | None]], attempts: int
) -> None:
    theirs: Any = HierarchicalEmitter()
    ours: Any = Events()
    model: Any = SimpleNamespace(service_name="sqs", service_id=ServiceId("SQS"))
    client: Any = SimpleNamespace(meta=SimpleNamespace(events=theirs, service_model=model))
    register_retry_handler(client, attempts)
    Retries(attempts).watch(ours, "sqs")
    delays: list[list[Any]] = [[], []]
    for events, told in zip((theirs, ours), delays, strict=True):
        number, context = 1, dict[str, Any]()
        for status, code, error in outcomes:
            http = SimpleNamespace(status_code=status, headers={})
            response = None if error else (http, {"Error": {"Code": code}} if code else {})
            with patch.object(random, "uniform", lambda _, most: most):
                answers = events.emit(
                    "needs-retry.sqs.SendMessage",
                    response=response,
                    caught_exception=error,
                    attempts=number,
                    operation=lean.Operation("SendMessage", model, {}),
                    request_dict={"context": context},
                    endpoint=None,
                )
            told.append(answers[0][1])
            if answers[0][1] is not None:
                number += 1
                continue
            if error is None:
                events.emit("after-call.sqs.SendMessage", http_response=http, parsed={}, model=None, context=context)
            number, context = 1, {}
    assert [delay is None for delay in delays[0]] == [delay is None for delay in delays[1]]
    assert all(theirs <= ours <= 20 for theirs, ours in zip(*delays, strict=True) if ours is not None)


# -- connections --------------------------------------------------------------------------------------


def test_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with at(url), patch.object(lean, "sleep"), pytest.raises(EndpointConnectionError):
        get()


def test_an_answer_that_does_not_come_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, at(f"http://127.0.0.1:{deaf.getsockname()[1]}"):
        client = aws.client("dynamodb", read_timeout_s=0.05, attempts=1)
        with pytest.raises(ReadTimeoutError):
            get(client)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with self_signed(tmp_path / "both.pem") as url, at(url), patch.object(lean, "sleep"), pytest.raises(SSLError):
        get()


def test_a_certificate_that_the_environment_vouches_for_is_good_for_its_host_alone(tmp_path: Path) -> None:
    trusted = tmp_path / "both.pem"
    with self_signed(trusted) as url, environment({"AWS_CA_BUNDLE": str(trusted)}), patch.object(lean, "sleep"):
        with at(url), pytest.raises(ClientError) as answered:  # the server knows no POST
            get()
        assert answered.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
        with at(url.replace("localhost", "127.0.0.1")), pytest.raises(SSLError, match="mismatch"):
            get()


@contextmanager
def self_signed(path: Path) -> Iterator[str]:
    """A server whose certificate it has signed itself; key and certificate are kept at ``path``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the client hangs up
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


# -- whom it calls, and as whom -----------------------------------------------------------------------


KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}


def told_by_botocore(service: str, region: str, variables: dict[str, str]) -> Access:
    """What botocore finds out, if these are the only variables."""
    with patch.dict(os.environ, variables, clear=True):
        return by_botocore(SERVICES[service], region, botocore.session.get_session())


@pytest.mark.parametrize("service", SERVICES)
def test_endpoints_are_botocores_in_every_region(service: str) -> None:
    loader = botocore.session.get_session().get_component("data_loader")
    partitions = loader.load_data("partitions")
    rules = EndpointProvider(loader.load_service_model(service, "endpoint-rule-set-1"), partitions)
    regions = [region for partition in partitions["partitions"] for region in partition["regions"]]
    found = {region: by_environment(SERVICES[service], region, KEYS) for region in regions}
    for region, access in found.items():
        theirs = rules.resolve_endpoint(Region=region, UseFIPS=False, UseDualStack=False).url
        assert access is None or access.url == f"{theirs}/"
    unknown = {region for region, access in found.items() if access is None}
    prefixes = ("aws-", "cn-", "eusc-", "eu-isoe-", "us-gov-", "us-iso-", "us-isob-", "us-isof-")
    assert unknown == {region for region in regions if region.startswith(prefixes)}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"AWS_SESSION_TOKEN": "token"},
        {"AWS_ENDPOINT_URL": "http://all.example:1"},
        {"AWS_ENDPOINT_URL": "http://all.example:1", "AWS_ENDPOINT_URL_SQS": "http://sqs.example:2/base"},
        {"AWS_CA_BUNDLE": "/a.pem", "REQUESTS_CA_BUNDLE": "/b.pem"},
        {"REQUESTS_CA_BUNDLE": "/b.pem"},
        {"AWS_ACCOUNT_ID": "123456789012", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11"},
    ],
    ids=lambda variables: " ".join(variables) or "keys",
)
@pytest.mark.parametrize("service", SERVICES)
def test_the_environment_alone_is_read_as_botocore_reads_it(
    service: str, variables: dict[str, str], tmp_path: Path
) -> None:
    variables = {**KEYS, **variables, "HOME": str(tmp_path)}
    with patch.dict(os.environ, variables, clear=True):
        access = by_environment(SERVICES[service], "eu-west-1", os.environ)
        assert user_agent() == botocore.session.get_session().user_agent()
    theirs = told_by_botocore(service, "eu-west-1", variables)
    assert access is not None
    assert (access.url, access.verify) == (theirs.url, theirs.verify)
    ours, frozen = access.credentials.get_frozen_credentials(), theirs.credentials.get_frozen_credentials()
    assert (ours.access_key, ours.secret_key, ours.token) == tuple(frozen)[:3]
    assert "secret" not in repr(access)
    assert not access.proxies
    assert not theirs.proxies


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_SECRET_ACCESS_KEY": ""},
        *({name: "x"} for name in BOTOCORES),
        {"HTTPS_PROXY": "http://proxy.example"},
        {"no_proxy": "localhost"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_where_more_has_a_say_botocore_is_asked(variables: dict[str, str], tmp_path: Path) -> None:
    alone = {**KEYS, "HOME": str(tmp_path)}
    with patch.dict(os.environ, {**alone, **variables}, clear=True):
        assert by_environment(SERVICES["sqs"], "eu-west-1", os.environ) is None
    with patch.dict(os.environ, alone, clear=True):
        assert by_environment(SERVICES["sqs"], "eu-west-1", os.environ) is not None
        (tmp_path / ".aws").mkdir()
        assert by_environment(SERVICES["sqs"], "eu-west-1", os.environ) is None


@pytest.mark.parametrize(
    ("variables", "region", "url"),
    [
        ({}, "cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn/"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "us-east-1", "https://sqs-fips.us-east-1.amazonaws.com/"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "us-east-1", "https://sqs.us-east-1.api.aws/"),
        ({"AWS_ENDPOINT_URL": "http://a.example"}, "us-east-1", "http://a.example/"),
    ],
)
def test_botocore_is_asked_by_its_rules(variables: dict[str, str], region: str, url: str) -> None:
    assert told_by_botocore("sqs", region, {**KEYS, **variables}).url == url


def test_the_credentials_of_a_profile_sign(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("[other]\naws_access_key_id = OTHERS\naws_secret_access_key = secret\n")
    profile = {"AWS_PROFILE": "other", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    with serving(FOUND) as service, environment({**profile, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}):
        get()
        assert " Credential=OTHERS/" in service.requests[0][0]["Authorization"]


def test_a_proxy_is_gone_through() -> None:
    with serving(FOUND) as service, environment({"AWS_ENDPOINT_URL": "http://aws.example", "HTTP_PROXY": service.url}):
        assert "Item" in get()
        assert service.requests[0][0]["Host"] == "aws.example"


def test_lambda_is_told_whose_doing_a_call_is() -> None:
    with serving(FOUND) as service:
        get()
        with environment({"AWS_LAMBDA_FUNCTION_NAME": "worker", "_X_AMZN_TRACE_ID": "Root=1-2;Self=é"}):
            forget_clients()
            get()
        assert [headers.get("X-Amzn-Trace-Id") for headers, _ in service.requests] == [None, "Root=1-2;Self=%C3%A9"]


def test_without_credentials_nothing_is_sent() -> None:
    with serving(FOUND) as service:
        client = aws.client("dynamodb")
        with patch.object(client, "_credentials", None), pytest.raises(NoCredentialsError):
            get(client)
        assert service.requests == []


def test_what_it_does_not_know_goes_to_botocores_client_and_events_tell_of_both() -> None:
    with serving(answer({"TableNames": []}), FOUND):
        client = aws.client("dynamodb")
        told: list[str] = []
        client.meta.events.register("before-call", lambda model, **_: told.append(model.name))
        assert client.list_tables()["TableNames"] == []
        get(client)
        assert told == ["ListTables", "GetItem"]


def test_who_calls_botocores_client_does_not_thereby_follow_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program does that first makes the tables, and then works with them."""
    monkeypatch.setattr(lean, "events_for", lambda _: Events())
    with serving(answer({"TableNames": []}), FOUND):
        client = aws.client("dynamodb")
        client.list_tables()
        get(client)
        assert isinstance(client.events, Events)
        assert not isinstance(client.meta.events, Events)
        assert client.events is client.meta.events


def test_the_setting_takes_botocores_client() -> None:
    with environment({**CREDENTIALS, "TASKYARD_AWS_CLIENT": "boto3"}):
        settings.current.cache_clear()
        forget_clients()
        assert not isinstance(aws.client("sqs"), LeanClient)
    settings.current.cache_clear()
    forget_clients()
    with environment(CREDENTIALS):
        assert isinstance(aws.client("sqs"), LeanClient)
    forget_clients()

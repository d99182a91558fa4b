"""Posting to webhooks: over real connections to servers of this machine, which stage local alone allows."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chalicelib.queue import connections, lookups, webhooks
from chalicelib.queue.connections import Connection, Origin, Timed
from chalicelib.queue.webhooks import NotTaken, Reply, post

HOST = "hook.example"
CERTIFICATE = "certificate.pem"
BODY = b'{"event":"complete"}'
HEADERS = {"Content-Type": "application/json", "webhook-id": "7-1-complete"}


@dataclass
class Receiver:
    """A server that answers as the path says, and what it got."""

    port: int
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    drops: int = 0  # how often one that drips has sent something
    left: threading.Event = field(default_factory=threading.Event)  # the client has had enough of it

    def url(self, path: str, scheme: str = "http", host: str = HOST) -> str:
        return f"{scheme}://{host}:{self.port}{path}"


DRIPPING = {"/head": b"HTTP/1.1 200 OK\r\nX: x", "/body": b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nx"}


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            receiver.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.seen.append(("POST", self.path, dict(self.headers), body))
            if self.path in DRIPPING:
                with suppress(OSError):  # until the client has left
                    while not release.is_set():
                        self.wfile.write(b"x" if receiver.drops else DRIPPING[self.path])
                        receiver.drops += 1
                        release.wait(0.005)
                receiver.left.set()
                return
            if self.path == "/slow":
                release.wait()
                return
            if self.path in {"/proper", "/bare"}:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nsuccess")
                if self.path == "/proper":
                    self.connection.unwrap()
                self.close_connection = True
                return
            status, _, size = self.path.removeprefix("/").partition("?")
            self.send_response(int(status))
            self.send_header("Location", "/200")
            self.send_header("Retry-After", "17")
            self.send_header("Content-Length", str(int(size or 0)))
            self.end_headers()
            self.wfile.write(b"x" * int(size or 0))

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        release.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Receiver]:
    """One over TLS, whose certificate nobody has signed, and is in SSL_CERT_FILE of whoever wants to trust it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path, HOST))
    with receiving(context) as found:
        yield found


@pytest.fixture
def trusted(secure: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / CERTIFICATE))
    connections.trust.cache_clear()
    return secure


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    connections.kept.forget()
    yield
    connections.kept.forget()
    lookups.lookups.forget()
    connections.trust.cache_clear()


def to(*addresses: str) -> Any:
    """A resolver that knows one host."""

    def resolve(host: str, port: int, type: int) -> list[Any]:  # noqa: A002  # getaddrinfo's own word
        assert (host, type) == (HOST, socket.SOCK_STREAM)
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in addresses]

    return resolve


def send(url: str, *, local: bool = True, timeout_s: float = 10.0, resolve: Any = None) -> Reply:
    return post(url, BODY, HEADERS, local=local, timeout_s=timeout_s, resolve=resolve or to("127.0.0.1"))


# -- what is sent, and what comes back ----------------------------------------------------------------


def test_the_request_is_posted_whole_to_the_address_that_was_looked_up(receiver: Receiver) -> None:
    assert send(receiver.url("/201?7")) == Reply(201, b"x" * 7, 17)
    ((method, path, headers, body),) = receiver.seen
    assert (method, path, body) == ("POST", "/201?7", BODY)
    assert headers["Host"] == f"{HOST}:{receiver.port}"
    assert headers["User-Agent"] == f"Taskyard/{metadata.version('taskyard')}"
    assert {name: headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(("status", "ok"), [(200, True), (299, True), (302, False), (410, False), (500, False)])
def test_every_answer_is_one_and_a_redirect_is_not_followed(receiver: Receiver, status: int, ok: bool) -> None:
    reply = send(receiver.url(f"/{status}"))
    assert (reply.status, reply.ok) == (status, ok)
    assert len(receiver.seen) == 1


def test_of_an_answer_the_head_is_read(receiver: Receiver) -> None:
    assert send(receiver.url("/200?5000")).head == b"x" * 1_024
    assert send(receiver.url("/200?1024")).head == b"x" * 1_024
    assert receiver.connections == 2  # nobody reads the rest of the first


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 700\r\n\r\nsuccess",
        b"Content-Length: 700\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n7\r\nsuccess\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n70\r\nsuccess",
    ],
)
def test_an_answer_that_is_cut_off_is_none(answer: bytes) -> None:
    with spoken(b"HTTP/1.1 200 OK\r\n" + answer) as (port, _), pytest.raises(NotTaken) as missed:
        send(f"http://{HOST}:{port}/")
    assert (str(missed.value), missed.value.refused) == ("its answer was cut off", False)


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"Content-Length: 7\r\n\r\nsuccess", True),
        (b"Transfer-Encoding: chunked\r\n\r\n7\r\nsuccess\r\n0\r\n\r\n", True),
        (b"\r\nsuccess", True),  # its end is the connection's
        (b"Content-Length: 700, 700\r\n\r\nsuccess", False),
        (b"Transfer-Encoding: gzip, chunked\r\n\r\nsuccess", False),
        (b"Content-Length: 1024\r\n\r\n" + b"x" * 1_024, True),
        (b"Content-Length: 1025\r\n\r\n" + b"x" * 1_025, False),
        (b"\r\n" + b"x" * 1_024, False),  # nobody looks whether more comes
    ],
)
def test_whether_the_body_was_read_whole(answer: bytes, whole: bool) -> None:
    with spoken(b"HTTP/1.1 200 OK\r\n" + answer) as (port, _):
        reply = send(f"http://{HOST}:{port}/")
    assert (reply.ok, reply.whole) == (True, whole)
    assert reply.head in {b"success", b"x" * 1_024}


@pytest.mark.parametrize("proper", [True, False])
def test_over_tls_the_end_of_a_connection_is_one_of_the_body_only_if_it_was_announced(
    trusted: Receiver, proper: bool
) -> None:
    reply = send(trusted.url("/proper" if proper else "/bare", "https"))
    assert (reply.head, reply.whole) == (b"success", proper)


# -- who does not answer ------------------------------------------------------------------------------


def test_who_does_not_answer_in_time_has_not_taken_it(receiver: Receiver) -> None:
    with pytest.raises(NotTaken, match=r"^no answer within 0\.2 s$") as missed:
        send(receiver.url("/slow"), timeout_s=0.2)
    assert not missed.value.refused


@pytest.mark.parametrize("path", list(DRIPPING))
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_drips_has_no_more_time_than_any_other(
    request: pytest.FixtureRequest, scheme: str, path: str
) -> None:
    """Each of its bytes comes in time; all of them together do not."""
    server = request.getfixturevalue("trusted" if scheme == "https" else "receiver")
    with pytest.raises(NotTaken, match=r"^no answer within 0\.3 s$"):
        send(server.url(path, scheme), timeout_s=0.3)
    assert server.left.wait(30)
    assert server.drops > 1


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotTaken, match="ConnectionRefusedError") as refused:
        send(f"http://{HOST}:{port}/t0ken")
    assert "t0ken" not in str(refused.value)
    assert refused.value.__cause__ is None  # whose text has the address
    assert not refused.value.refused


def test_of_several_addresses_the_first_that_accepts_a_connection_gets_the_request(receiver: Receiver) -> None:
    resolve = to("127.0.0.8", "127.0.0.9", "127.0.0.1")  # nobody listens at the first two
    assert [send(receiver.url("/200"), resolve=resolve).ok for _ in range(2)] == [True, True]
    assert (len(receiver.seen), receiver.connections) == (2, 1)


def test_of_several_addresses_one_that_got_the_request_is_the_only_one() -> None:
    with spoken(b"", TAKEN) as (port, _):
        with pytest.raises(NotTaken, match="one that was lost: RemoteDisconnected"):
            send(f"http://{HOST}:{port}/", resolve=to("127.0.0.1", "127.0.0.1"))
        assert send(f"http://{HOST}:{port}/").ok


@pytest.mark.parametrize(("left_s", "shares_s"), [(9.0, [1.25, 1.25, 1.25, 1.25]), (2.0, [0.5, 0.5, 0.5, 0.5])])
def test_addresses_share_the_time_to_connect(
    monkeypatch: pytest.MonkeyPatch, left_s: float, shares_s: list[float]
) -> None:
    now_s = [100.0]
    tried: list[tuple[str, float]] = []

    def silent(address: str, port: int, within_s: float) -> Timed:
        tried.append((f"{address}:{port}", within_s))
        now_s[0] += within_s
        raise TimeoutError(address)

    monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    monkeypatch.setattr(connections, "_opened", silent)
    with pytest.raises(TimeoutError, match=r"^d$"):
        connections._first_open("abcd", 80, 100.0 + left_s)
    assert tried == list(zip(("a:80", "b:80", "c:80", "d:80"), shares_s, strict=True))


def test_who_accepts_no_connection_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(Timed, "connect", silent)
    with pytest.raises(NotTaken, match=r"^no connection, or one that was lost: ConnectTimeout$"):
        send(f"http://{HOST}/")


def test_what_is_no_http() -> None:
    with spoken(b"SSH-2.0-OpenSSH\r\n\r\n") as (port, _), pytest.raises(NotTaken, match="no HTTP: BadStatusLine"):
        send(f"http://{HOST}:{port}/")


# -- who may be called --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addresses", "named"),
    [
        (["127.0.0.1"], "127.0.0.1"),
        (["10.0.0.1"], "10.0.0.1"),
        (["93.184.216.34", "169.254.169.254"], "169.254.169.254"),
        (["::1"], "::1"),
        (["fe80::1%eth0"], "fe80::1%eth0"),
    ],
)
def test_no_address_that_is_not_public_is_called(receiver: Receiver, addresses: list[str], named: str) -> None:
    with pytest.raises(NotTaken) as refused:
        send(receiver.url("/200", "https"), local=False, resolve=to(*addresses))
    assert str(refused.value) == f"its host has an address that is not public: {named}"
    assert refused.value.refused
    assert receiver.connections == 0


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://hook.example/t0ken", "https://"),
        ("https://192.168.0.7/t0ken", "a public address"),
        ("https://ann:t0ken@hook.example/", "no user name or password in it"),
        ("https://hook.example/#t0ken", "no fragment"),
    ],
)
def test_a_url_whose_form_forbids_it_is_not_looked_up(url: str, expected: str) -> None:
    with pytest.raises(NotTaken) as refused:
        send(url, local=False, resolve=to())
    assert (str(refused.value), refused.value.refused) == (f"its URL may not be called: expected {expected}", True)


def test_a_host_without_an_address(receiver: Receiver) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(NotTaken, match=r"^its host has no address$") as missed:
        send(receiver.url("/200", "https"), local=False, resolve=resolve)
    assert not missed.value.refused


def test_a_look_up_takes_no_more_time_than_there_is_and_few_are_under_way(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "PENDING_MAX", 2)
    lookups.lookups.forget()
    begun, release = threading.Semaphore(0), threading.Event()

    def silent(*given: Any, **named: Any) -> list[Any]:
        begun.release()
        release.wait(30)
        return list(to("127.0.0.1")(*given, **named))

    def missed(resolve: Any) -> str:
        with pytest.raises(NotTaken) as refused:
            send(receiver.url("/200"), timeout_s=0.05, resolve=resolve)
        assert not refused.value.refused
        return str(refused.value)

    assert [missed(silent) for _ in range(2)] == ["its name is not being resolved"] * 2
    assert missed(None) == "its name is not being resolved"  # though that would be at once
    assert [begun.acquire(timeout=30) for _ in range(2)] == [True, True]
    assert receiver.connections == 0
    release.set()
    assert send(receiver.url("/200")).ok


def test_a_child_process_waits_for_no_look_up_of_its_parents(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(lookups, "PENDING_MAX", 1)
    lookups.lookups.forget()
    with pytest.raises(NotTaken, match="not being resolved"):
        send(receiver.url("/200"), timeout_s=0.01, resolve=lambda *_, **__: release.wait(30))
    child = os.fork()
    if child == 0:
        os._exit(0 if lookups.lookups._free.acquire(blocking=False) else 1)
    assert os.waitpid(child, 0) == (child, 0)
    release.set()


def test_tls_proves_the_host_and_not_the_address(secure: Receiver, request: pytest.FixtureRequest) -> None:
    with pytest.raises(NotTaken, match=r"^its certificate is not verified: self.signed certificate$") as missed:
        send(secure.url("/200", "https"))
    assert not missed.value.refused
    request.getfixturevalue("trusted")
    assert send(secure.url("/200", "https")).ok
    with pytest.raises(NotTaken, match="Hostname mismatch"):
        send(
            secure.url("/200", "https", "other.example"),
            resolve=lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", secure.port))],
        )
    assert len(secure.seen) == 1


# -- connections that are kept ------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_serves_one_after_the_other(request: pytest.FixtureRequest, scheme: str) -> None:
    server = request.getfixturevalue("trusted" if scheme == "https" else "receiver")
    assert [send(server.url(path, scheme)).status for path in ("/200?9", "/500", "/204")] == [200, 500, 204]
    assert server.connections == 1


def test_a_kept_connection_serves_no_other_host_nor_one_that_was_idle_for_long(receiver: Receiver) -> None:
    send(receiver.url("/200"))
    send(receiver.url("/200", host="127.0.0.1"), resolve=lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 0))])
    assert receiver.connections == 2
    for connection in connections.kept._idle:
        connection.idle_since_s -= connections.IDLE_MAX_S + 1
    send(receiver.url("/200"))
    assert receiver.connections == 3


def test_a_kept_connection_is_used_only_while_the_name_has_its_address_and_may_be_called(
    trusted: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "is_public", lambda address: address.startswith("127."))
    url = trusted.url("/200", "https")
    assert send(url, local=False).ok
    with pytest.raises(NotTaken, match="no connection"):
        send(url, local=False, resolve=to("127.0.0.9"))  # where nobody listens
    with pytest.raises(NotTaken, match=r"not public: 10\.0\.0\.1$"):
        send(url, local=False, resolve=to("127.0.0.1", "10.0.0.1"))
    assert len(trusted.seen) == 1
    assert send(url, local=False, resolve=to("127.0.0.9", "127.0.0.1")).ok
    assert trusted.connections == 1


def test_after_an_informational_answer_none_is_kept(receiver: Receiver) -> None:
    assert send(receiver.url("/103")).status == 103
    send(receiver.url("/200"))
    assert receiver.connections == 2


@contextmanager
def spoken(*answers: bytes) -> Iterator[tuple[int, threading.Semaphore]]:
    """A server that says one of these for each request and then closes, whatever the header says; and its closings."""
    closed = threading.Semaphore(0)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30)

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as request:
                while request.readline().strip():
                    continue
                request.read(len(BODY))
                connection.sendall(answer)
            closed.release()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], closed
    finally:
        thread.join(30)
        listener.close()


TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("noticed", [True, False])
def test_one_that_the_receiver_closed_meanwhile_is_replaced(monkeypatch: pytest.MonkeyPatch, noticed: bool) -> None:
    """Also where it closes right after the look."""
    with spoken(TAKEN, TAKEN) as (port, closed):
        assert send(f"http://{HOST}:{port}/").ok
        assert closed.acquire(timeout=30)
        if not noticed:
            monkeypatch.setattr(Connection, "usable", True)
        assert send(f"http://{HOST}:{port}/").ok


def connected(host: str, port: int) -> tuple[Connection, socket.socket]:
    """A connection to whoever has the other end."""
    ours, theirs = socket.socketpair()
    connection = Connection(Origin("http", host, port), ["127.0.0.1"])
    connection.sock = Timed(fileno=ours.detach())
    return connection, theirs


def ending(theirs: socket.socket, answer: bytes) -> threading.Thread:
    """Whoever has the other end reads a request, says this and closes."""

    def serve() -> None:
        with theirs:
            read = b""
            while not read.endswith(BODY):
                read += theirs.recv(9_999)
            theirs.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_one_that_ends_while_the_request_comes_is_replaced(receiver: Receiver) -> None:
    connection, theirs = connected(HOST, receiver.port)
    connections.kept.keep(connection)
    thread = ending(theirs, b"")
    assert send(receiver.url("/200")).ok
    thread.join(30)
    assert len(receiver.seen) == 1


def test_what_a_receiver_has_begun_to_answer_is_not_sent_twice(receiver: Receiver) -> None:
    connection, theirs = connected(HOST, receiver.port)
    connections.kept.keep(connection)
    thread = ending(theirs, b"HTTP/1.1 2")
    with pytest.raises(NotTaken, match="no HTTP: BadStatusLine"):
        send(receiver.url("/200"))
    thread.join(30)
    assert receiver.seen == []


def test_what_a_fresh_connection_was_lost_with_is_not_sent_twice() -> None:
    with spoken(b"") as (port, _), pytest.raises(NotTaken, match="one that was lost: RemoteDisconnected"):
        send(f"http://{HOST}:{port}/")


def test_few_are_kept_and_nobody_gets_one_that_another_has() -> None:
    made = [connected(f"h{number}", 80) for number in range(connections.KEPT_MAX + 1)]
    for connection, _ in made:
        connections.kept.keep(connection)
    assert [connection.sock is None for connection, _ in made] == [True] + [False] * connections.KEPT_MAX
    second, _ = made[1]
    assert connections.kept.take(second.origin, ["127.0.0.1"]) is second
    assert connections.kept.take(second.origin, ["127.0.0.1"]) is None
    second.close()
    for _, theirs in made:
        theirs.close()


def test_a_child_process_has_none_of_its_parents(receiver: Receiver) -> None:
    send(receiver.url("/200"))
    child = os.fork()
    if child == 0:
        os._exit(len(connections.kept._idle))
    assert os.waitpid(child, 0) == (child, 0)
    send(receiver.url("/200"))
    assert receiver.connections == 1


def self_signed(folder: Path, host: str) -> Path:
    """A file with a certificate for ``host``, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / CERTIFICATE
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


def test_an_ipv6_host_is_named_as_http_does() -> None:
    assert [webhooks._host_header(host, port) for host, port in (("::1", 8), ("::1", None), ("a.b", None))] == [
        "[::1]:8",
        "[::1]",
        "a.b",
    ]

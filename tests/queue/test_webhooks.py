"""Posting to webhooks: over real connections to servers of this machine, which stage local alone allows."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chalicelib.queue import webhooks
from chalicelib.queue.webhooks import NotTaken, post

HOST = "hook.example"
BODY = b'{"event":"complete"}'
HEADERS = {"Content-Type": "application/json", "Taskyard-Event": "complete"}


@dataclass
class Receiver:
    """A server that answers as the path says, and what it got."""

    port: int
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    drops: int = 0  # how often one that drips has sent something
    left: threading.Event = field(default_factory=threading.Event)  # the client has had enough of it

    def url(self, path: str, scheme: str = "http", host: str = HOST) -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.seen.append(("POST", self.path, dict(self.headers), body))
            if self.path == "/dripping":
                with suppress(OSError):  # until the client has left
                    while not release.is_set():
                        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: x" if not receiver.drops else b"x")
                        receiver.drops += 1
                        release.wait(0.005)
                receiver.left.set()
                return
            if self.path == "/slow":
                release.wait()
                return
            status = int(self.path.partition("?")[0].removeprefix("/") or 204)
            self.send_response(status)
            self.send_header("Location", "/200")
            self.send_header("Content-Length", "0")
            self.end_headers()

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


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def to(*addresses: str) -> Any:
    """A resolver that knows one host."""

    def resolve(host: str, port: int, type: int) -> list[Any]:  # noqa: A002  # getaddrinfo's own word
        assert (host, type) == (HOST, socket.SOCK_STREAM)
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in addresses]

    return resolve


def test_the_request_is_posted_whole_to_the_address_that_was_looked_up(receiver: Receiver) -> None:
    receiver.seen.clear()
    post(receiver.url("/201?token=x"), BODY, HEADERS, local=True, resolve=to("127.0.0.1"))
    ((method, path, headers, body),) = receiver.seen
    assert (method, path, body) == ("POST", "/201?token=x", BODY)
    assert headers["Host"] == f"{HOST}:{receiver.port}"
    assert {name: headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize("status", [302, 404, 500])
def test_only_2xx_counts_and_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.seen.clear()
    with pytest.raises(NotTaken, match=f"^it answered {status}$"):
        post(receiver.url(f"/{status}"), BODY, HEADERS, local=True, resolve=to("127.0.0.1"))
    assert len(receiver.seen) == 1


def test_who_does_not_answer_in_time_has_not_taken_it(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_S", 0.2)
    with pytest.raises(NotTaken, match=r"no answer within 0\.2 s, or none that is HTTP: TimeoutError"):
        post(receiver.url("/slow"), BODY, HEADERS, local=True, resolve=to("127.0.0.1"))


@pytest.mark.parametrize("secure", [False, True])
def test_a_receiver_that_drips_has_no_more_time_than_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secure: bool
) -> None:
    """Each of its bytes comes in time; all of them together do not."""
    context = None
    if secure:
        certificate = self_signed(tmp_path, HOST)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(webhooks, "TIMEOUT_S", 1.0)
    with receiving(context) as server:
        url = server.url("/dripping", "https" if secure else "http")
        with pytest.raises(NotTaken, match="no answer within 1 s"):
            post(url, BODY, HEADERS, local=True, resolve=to("127.0.0.1"))
        assert server.left.wait(30)
        assert server.drops > 1


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NotTaken, match="ConnectionRefusedError") as refused:
        post(f"http://{HOST}:{port}/t0ken", BODY, HEADERS, local=True, resolve=to("127.0.0.1"))
    assert "t0ken" not in str(refused.value)
    assert refused.value.__cause__ is None  # whose text has the address


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.0.0.1"], ["93.184.216.34", "169.254.169.254"], ["::1"], ["fe80::1%eth0"]]
)
def test_no_address_that_is_not_public_is_called(receiver: Receiver, addresses: list[str]) -> None:
    receiver.seen.clear()
    with pytest.raises(NotTaken, match="not public"):
        post(receiver.url("/200"), BODY, HEADERS, local=False, resolve=to(*addresses))
    assert receiver.seen == []


def test_a_host_without_an_address(receiver: Receiver) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(NotTaken, match="its host has no address"):
        post(receiver.url("/200"), BODY, HEADERS, local=False, resolve=resolve)


def test_tls_proves_the_host_and_not_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path, HOST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with receiving(context) as server:
        url = server.url("/200", "https")
        with pytest.raises(NotTaken, match="SSLCertVerificationError"):  # signed by nobody we know
            post(url, BODY, HEADERS, local=True, resolve=to("127.0.0.1"))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        post(url, BODY, HEADERS, local=True, resolve=to("127.0.0.1"))
        with pytest.raises(NotTaken, match="SSLCertVerificationError"):
            post(
                server.url("/200", "https", "other.example"),
                BODY,
                HEADERS,
                local=True,
                resolve=lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))],
            )
        assert len(server.seen) == 1


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
    file = folder / "certificate.pem"
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

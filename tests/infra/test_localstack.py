"""Finding LocalStack: what the shell says, whether it answers, and what is told when it does not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from chalicelib.core.errors import InvalidInput, Unavailable
from infra.deploy import localstack

HEALTHY = json.dumps({"services": {"sqs": "available"}, "version": "4.14.0"})


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "LOCALSTACK_HOST", "EDGE_PORT", "USE_SSL", "LOCALSTACK_HOSTNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be asked


@contextmanager
def answering(body: str, status: int = 200) -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with ``body``; its port, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LOCALSTACK_HOST", "127.0.0.1:{port}"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:{port}")],
)
def test_it_is_where_the_shell_says(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    with answering(HEALTHY) as (port, asked):
        monkeypatch.setenv(variable, value.format(port=port))

        assert localstack.endpoint_url() == f"http://127.0.0.1:{port}"
        assert asked == ["/_localstack/health"]


def test_an_endpoint_for_all_of_aws_wins_over_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(HEALTHY) as (port, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}/")
        monkeypatch.setenv("LOCALSTACK_HOST", f"127.0.0.1:{closed_port()}")

        assert localstack.endpoint_url() == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ({}, "http://localhost:4566"),
        ({"LOCALSTACK_HOST": "cloud.test"}, "http://cloud.test:4566"),
        ({"LOCALSTACK_HOST": "cloud.test:4510", "USE_SSL": "1"}, "https://cloud.test:4510"),
        ({"EDGE_PORT": "4510"}, "http://localhost:4566"),
    ],
)
def test_what_is_not_said_is_as_localstack_has_it(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, str], url: str
) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(localstack, "_health", lambda asked: {"services": {}} if asked == url else None)

    assert localstack.endpoint_url() == url


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    port = closed_port()
    monkeypatch.setenv("LOCALSTACK_HOST", f"127.0.0.1:{port}")

    with pytest.raises(Unavailable) as raised:
        localstack.endpoint_url()

    assert raised.value.expected == f"http://127.0.0.1:{port}/_localstack/health to tell its services"
    assert "refused" in str(raised.value.got)
    assert raised.value.remedy == "start LocalStack, or say where it runs with LOCALSTACK_HOST=host:port"


@pytest.mark.parametrize(
    ("body", "status", "got"),
    [
        (HEALTHY, 404, "status 404"),
        ("<html>", 200, "an answer of something else"),
        ("[]", 200, "an answer of something else"),
        ('{"status": "ok"}', 200, "an answer of something else"),
    ],
)
def test_something_else_answers(monkeypatch: pytest.MonkeyPatch, body: str, status: int, got: str) -> None:
    with answering(body, status) as (port, _):
        monkeypatch.setenv("LOCALSTACK_HOST", f"127.0.0.1:{port}")

        with pytest.raises(Unavailable) as raised:
            localstack.endpoint_url()

    assert raised.value.got == got


def test_what_speaks_no_http_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("LOCALSTACK_HOST", f"127.0.0.1:{listener.getsockname()[1]}")

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(1_024)
            connection.sendall(b"220 mail.test ESMTP\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unavailable, match="LocalStack was not found"):
            localstack.endpoint_url()
        thread.join()


def test_a_port_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALSTACK_HOST", "127.0.0.1:edge")

    with pytest.raises(InvalidInput, match=r"LOCALSTACK_HOST: .*127\.0\.0\.1:edge.*expected host or host:port"):
        localstack.endpoint_url()


class TestResolving:
    def test_the_word_is_localstack(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with answering(HEALTHY) as (port, _):
            monkeypatch.setenv("LOCALSTACK_HOST", f"127.0.0.1:{port}")
            assert localstack.resolved("localstack") == f"http://127.0.0.1:{port}"

    @pytest.mark.parametrize("given", [None, "http://127.0.0.1:4566", "http://localstack:4566"])
    def test_anything_else_is_itself(self, given: str | None) -> None:
        assert localstack.resolved(given) == given

"""How commands end that work on AWS itself, where there is nothing of the stage yet."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from moto import mock_aws

from chalicelib import settings
from chalicelib.cli.main import main
from chalicelib.engine.handlers.registry import registry
from chalicelib.services import installation
from tests.support.processes import clean_environment
from tests.support.yards import forget_clients


@pytest.fixture
def _nothing_deployed() -> Iterator[None]:
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    with patch.dict(os.environ, credentials), mock_aws():
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "TASKYARD_STAGE"):
            os.environ.pop(name, None)
        _forget()
        yield
    _forget()


def _forget() -> None:
    installation.use(None)
    settings.current.cache_clear()
    forget_clients()


@pytest.mark.usefixtures("_nothing_deployed")
@pytest.mark.parametrize(
    "command",
    [
        ["keys", "create", "--label", "ci", "--scope", "task"],
        ["keys", "list"],
        ["webhooks", "list"],
        ["pause", "mail.send"],
        ["paused"],
    ],
    ids=" ".join,
)
def test_a_stage_that_is_not_deployed_is_told_with_the_way_to_deploy_it(command: list[str]) -> None:
    ended = CliRunner().invoke(main, [*command, "--stage", "dev"])
    told = "  the stage dev is not deployed in this account and region: `taskyard deploy --stage dev`"
    assert (ended.exit_code, ended.stderr.splitlines()[-1]) == (1, told)


@pytest.mark.usefixtures("_nothing_deployed")
def test_a_pause_finds_the_handlers_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "handlers_of_mine.py").write_text(
        "from chalicelib import task\n\n\n@task('mail.send')\ndef send(_): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TASKYARD_HANDLERS", "handlers_of_mine")
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    registry.cache_clear()
    try:
        ended = CliRunner().invoke(main, ["pause", "mail.send", "--stage", "undeclared"])
    finally:
        registry.cache_clear()
    assert "No module named" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("  the stage undeclared is not deployed")


@contextmanager
def _a_web_page() -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = b"<!DOCTYPE HTML><html><body>no such page</html>"
            self.send_response(501)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_where_no_aws_answers_it_is_told_in_one_line(tmp_path: Path) -> None:
    def told(url: str) -> tuple[int, list[str]]:
        words = [sys.executable, "-m", "chalicelib.cli.main", "worker", "--endpoint-url", url]
        ended = subprocess.run(
            words, env=clean_environment(), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return ended.returncode, ended.stderr.splitlines()

    with _a_web_page() as url:
        code, lines = told(url)
    assert (code, len(lines)) == (3, 1), lines
    assert lines[0].startswith("what answers there is not AWS, nor an emulator of it: ")
    assert lines[0].endswith("; name another with --endpoint-url or AWS_ENDPOINT_URL")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        code, lines = told(url)
    remedy = "start what is to answer there, or name another with --endpoint-url or AWS_ENDPOINT_URL"
    assert (code, lines) == (3, [f'Could not connect to the endpoint URL: "{url}/"; {remedy}'])

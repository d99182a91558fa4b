"""Servers of the emulator command: entered when they answer, ended with all that they started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.emulators import servers
from tests.emulators.errors import NotStarted
from tests.emulators.install import Installed
from tests.emulators.servers import Server, running
from tests.support.processes import is_running

# Answers with the status it is told, and starts a child in a session of its own that heeds no SIGTERM.
STUB = """
import os, signal, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

port, status, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
open(f"{folder}/pids", "w").write(f"{os.getpid()} {child.pid}")

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(status)
        self.end_headers()

print("listening, with AWS_PROFILE", os.environ.get("AWS_PROFILE"), "and COLOUR", os.environ.get("COLOUR"), flush=True)
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def stub(folder: Path, status: int = 200, program: str = STUB) -> Server:
    port = servers._free_port()
    command = [sys.executable, "-c", program, str(port), str(status), str(folder)]
    return Server("stub", f"http://127.0.0.1:{port}", "/health", command, {"COLOUR": "blue"}, folder)


def pids(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "pids").read_text().split()]


@pytest.mark.parametrize("status", [200, 400])
def test_it_runs_in_the_block_and_nothing_of_it_afterwards(tmp_path: Path, status: int) -> None:
    with running(stub(tmp_path, status)):
        server, child = pids(tmp_path)
        assert is_running(server)
        assert is_running(child)
    assert not is_running(server)
    assert not is_running(child)


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_whatever_ends_the_block_ends_the_server(tmp_path: Path, kind: type[BaseException]) -> None:
    with pytest.raises(kind), running(stub(tmp_path)):
        raise kind
    assert [pid for pid in pids(tmp_path) if is_running(pid)] == []


def test_it_sees_its_own_variables_and_nothing_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    server = stub(tmp_path)
    with running(server):
        pass
    assert "with AWS_PROFILE None and COLOUR blue" in server.log.read_text()


def test_one_that_ends_early_is_told_with_its_log(tmp_path: Path) -> None:
    failing = stub(tmp_path, program="import sys; print('no such option: colour'); sys.exit(7)")
    with pytest.raises(NotStarted, match=r"(?s)stub did not start; .*it ended with 7.*no such option: colour"):
        running(failing).__enter__()


def test_one_that_never_becomes_ready_is_ended_at_the_deadline(tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match=r"no answer after 2 s"):
        running(stub(tmp_path, status=503), deadline_s=2).__enter__()
    assert [pid for pid in pids(tmp_path) if is_running(pid)] == []


class TestTheEmulators:
    """How the two are started; that they do start, `python -m tests.emulators` shows."""

    @pytest.fixture
    def installed(self, tmp_path: Path) -> Installed:
        return Installed(Path("/venv/bin/python"), tmp_path / "jar", Path("/usr/bin/java"))

    def test_localstack_listens_on_loopback_only(self, installed: Installed, tmp_path: Path) -> None:
        server = servers.localstack(installed, tmp_path)
        assert server.url.startswith("http://127.0.0.1:")
        assert server.variables["GATEWAY_LISTEN"] == server.url.removeprefix("http://")
        assert server.variables["GATEWAY_SERVER"] == "hypercorn"

    def test_localstack_writes_into_its_folder_only(self, installed: Installed, tmp_path: Path) -> None:
        server = servers.localstack(installed, tmp_path)
        for name in ("FILESYSTEM_ROOT", "TMPDIR", "XDG_CACHE_HOME"):
            assert Path(server.variables[name]).is_relative_to(tmp_path)

    def test_no_web_page_may_call_dynamodb_local(self, installed: Installed, tmp_path: Path) -> None:
        command = list(servers.dynamodb_local(installed, tmp_path).command)
        assert command[command.index("-cors") + 1] == "https://nobody.invalid"
        assert {"-inMemory", "-sharedDb", "-disableTelemetry"} <= set(command)

    def test_the_java_of_localstack_drops_the_agent_that_is_not_there(self, tmp_path: Path) -> None:
        installed = Installed(Path("/venv/bin/python"), tmp_path / "jar", Path("/bin/echo"))
        servers.localstack(installed, tmp_path)
        java = tmp_path / "localstack/var/lib/localstack/lib/java/21/bin/java"
        run = subprocess.run(
            [java, "-Xmx1m", "-javaagent:/none.jar", "-jar", "a b.jar"], capture_output=True, text=True, check=True
        )
        assert run.stdout == "-Xmx1m -jar a b.jar -cors https://nobody.invalid\n"

"""The two servers: how each is started on a free port, when it is ready, and how it ends with all it started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.emulators.errors import NotStarted
from tests.emulators.install import Installed
from tests.support.processes import descendants, is_running
from tests.support.waiting import until

HOST = "127.0.0.1"
START_DEADLINE_S = 120.0
PROBE_TIMEOUT_S = 2.0
POLL_S = 0.1
STOP_DEADLINE_S = 15.0
SHOWN_LOG_LINES = 15
# Of the shell's variables nothing else: a profile, a proxy or an option of LocalStack's would change what is tested.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL")
# No website may call DynamoDB Local; its own default is every one.
NO_ORIGIN = "https://nobody.invalid"

# LocalStack starts a DynamoDB Local of its own, looks for Java in its own folder and loads an agent that is not
# there: this drops the agent, and keeps websites out here, too.
JAVA_FOR_LOCALSTACK = """#!/bin/sh
for argument in "$@"; do
    shift
    case $argument in -javaagent:*) ;; *) set -- "$@" "$argument" ;; esac
done
exec "{java}" "$@" -cors {no_origin}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A program that answers over HTTP once it is ready."""

    name: str
    url: str
    ready_path: str
    command: Sequence[str]
    variables: Mapping[str, str]
    folder: Path  # its working folder

    @property
    def log(self) -> Path:
        """Where it writes what it has to say."""
        return self.folder / f"{self.name}.log"


def localstack(installed: Installed, folder: Path) -> Server:
    """LocalStack without Docker, on a free port of 127.0.0.1. ``folder`` holds all that it writes."""
    root = folder / "localstack"
    _give_dynamodb_local(installed, root / "var" / "lib" / "localstack" / "lib")
    temporary = folder / "tmp"
    temporary.mkdir()
    address = f"{HOST}:{_free_port()}"
    variables = {
        # The server that LocalStack uses by default listens on all interfaces, whatever host it is told.
        "GATEWAY_SERVER": "hypercorn",
        "GATEWAY_LISTEN": address,
        "LOCALSTACK_HOST": address,  # which it says in the URLs that it answers
        "OVERRIDE_IN_DOCKER": "0",
        "DISABLE_EVENTS": "1",  # that are sent to its maker
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DNS_ADDRESS": "0",
        "PROVIDER_OVERRIDE_DYNAMODB": "v2",
        "PROVIDER_OVERRIDE_DYNAMODBSTREAMS": "v2",
        "DYNAMODB_IN_MEMORY": "1",
        "DYNAMODB_SHARE_DB": "1",
        "FILESYSTEM_ROOT": str(root),
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    command = [str(installed.localstack_python), "-m", "localstack.runtime.main"]
    return Server("localstack", f"http://{address}", "/_localstack/health", command, variables, folder)


def dynamodb_local(installed: Installed, folder: Path) -> Server:
    """Amazon's DynamoDB Local in memory, on a free port; of every interface, it knows no other way."""
    port = _free_port()
    command = [
        str(installed.java),
        f"-Djava.library.path={installed.dynamodb_local / 'DynamoDBLocal_lib'}",
        f"-Djava.io.tmpdir={folder}",
        "-jar",
        str(installed.dynamodb_local / "DynamoDBLocal.jar"),
        *("-inMemory", "-sharedDb", "-disableTelemetry", "-cors", NO_ORIGIN, "-port", str(port)),
    ]
    return Server("dynamodb-local", f"http://{HOST}:{port}", "/", command, {}, folder)


@contextmanager
def running(server: Server, deadline_s: float = START_DEADLINE_S) -> Iterator[None]:
    """Run a server until the block ends, however it ends; enters once it answers.

    Raises ``NotStarted`` with the end of its log when it has not answered after ``deadline_s`` seconds.
    """
    variables = {name: os.environ[name] for name in INHERITED if name in os.environ}
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            server.command,
            env={**variables, **server.variables},
            cwd=server.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests; the servers end when those have ended
        )
    try:
        _await_ready(server, process, deadline_s)
        yield
    finally:
        _end(process)


def _give_dynamodb_local(installed: Installed, lib: Path) -> None:
    """Put DynamoDB Local and Java where LocalStack would download them to."""
    database = lib / "dynamodb-local" / "2"
    database.mkdir(parents=True)
    for name in ("DynamoDBLocal.jar", "DynamoDBLocal_lib"):
        (database / name).symlink_to(installed.dynamodb_local / name)
    java = lib / "java" / "21" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(JAVA_FOR_LOCALSTACK.format(java=installed.java, no_origin=NO_ORIGIN))
    java.chmod(0o755)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def _await_ready(server: Server, process: subprocess.Popen[bytes], deadline_s: float) -> None:
    deadline_at_s = time.monotonic() + deadline_s
    while not _answers(f"{server.url}{server.ready_path}"):
        if process.poll() is not None:
            raise _not_started(server, f"it ended with {process.returncode}")
        if time.monotonic() > deadline_at_s:
            raise _not_started(server, f"no answer after {deadline_s:g} s")
        time.sleep(POLL_S)


def _answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(url, timeout=PROBE_TIMEOUT_S).close()
    except urllib.error.HTTPError as refusal:  # DynamoDB Local answers no GET with anything but a refusal
        return refusal.code < 500
    except OSError:
        return False
    return True


def _not_started(server: Server, got: str) -> NotStarted:
    lines = server.log.read_text(errors="replace").splitlines()[-SHOWN_LOG_LINES:]
    return NotStarted(
        f"{server.name} did not start",
        expected=f"an answer at {server.url}{server.ready_path}",
        got=got,
        remedy="\n".join(["the end of its log:", *lines]),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and whatever it has started, in sessions of their own, too (LocalStack's Java)."""
    started = [process.pid, *descendants(process.pid)]
    process.terminate()
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        pass  # then it is killed with the others
    finally:  # after an impatient Ctrl-C, too
        for pid in started:
            if is_running(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    process.wait()
    until(lambda: not any(map(is_running, started)))

"""``taskyard up`` as a subprocess, driven over HTTP."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support.client import Client
from tests.support.processes import below, clean_environment, lives
from tests.support.waiting import until

START_DEADLINE_S = 180.0
STOP_DEADLINE_S = 180.0


@dataclass
class Service(Client):
    """A running `taskyard up`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    spawn: Callable[[], subprocess.Popen[bytes]]  # the same command again, once it has ended
    known: set[psutil.Process] = field(default_factory=set)
    headers: dict[str, str] = field(default_factory=dict)
    stage: str = "local"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint_url(self) -> str:
        """Where its AWS is, however well it is itself."""
        return str(self.call("GET", "/health")[1]["endpoint"])

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return [pid for pid, command in self.children().items() if command.rstrip().endswith("worker")]

    def children(self) -> dict[int, str]:
        found = below(self.process.pid)
        self.known |= set(found)
        return {process.pid: command for process, command in found.items()}

    def kill(self) -> None:
        """kill -9, of the supervisor and of everything below it at once."""
        children = below(self.process.pid)
        self.process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.wait(STOP_DEADLINE_S)
        until(lambda: not any(map(lives, children)))

    def start_again(self) -> None:
        """Run the same command again, once all of it has ended, and wait until it answers."""
        self.process = self.spawn()
        until(lambda: _answers(self), START_DEADLINE_S)

    def stop(self) -> None:
        """SIGTERM, and wait until nothing of it is left."""
        self.children()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(STOP_DEADLINE_S)
        until(lambda: not any(map(lives, self.known)), STOP_DEADLINE_S)


@contextmanager
def running(
    tmp_path: Path, *options: str, folder: Path | None = None, python: str = sys.executable, **environment: str
) -> Iterator[Service]:
    """`taskyard up` on a free port, ready to answer; ended in the end.

    It runs in ``folder``, by default the current one, by the interpreter ``python``.
    """
    log = tmp_path / "up.log"
    port = free_port()
    command = [python, "-m", "chalicelib.cli.main", "up", "--port", str(port), *options]

    def spawn() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                command, stdout=output, stderr=output, cwd=folder, env={**clean_environment(), **environment}
            )

    service = Service(spawn(), port, log, spawn)
    try:
        until(lambda: _answers(service), START_DEADLINE_S)
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def _answers(service: Service) -> bool:
    assert service.process.poll() is None, service.log.read_text()
    try:
        return service.call("GET", "/health")[0] == 200
    except OSError:
        return False


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

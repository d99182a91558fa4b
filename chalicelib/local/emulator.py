"""The embedded emulator, as its parent sees it: start it, ask where it is, stop it.

    with Emulator.start(data_dir=Path(".taskyard")) as emulator:
        subprocess.run(command, env={**os.environ, **emulator.environment()})

It runs in a process of its own (`emulator_process`) that ends with this one, however this one ends.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from chalicelib.core.errors import TaskyardError

HOST = "127.0.0.1"
REGION = "us-east-1"
START_DEADLINE_S = 20.0
LOAD_S_PER_MB = 0.5  # of saved state, on top of the deadline; some twenty times what it takes
STOP_TIMEOUT_S = 35.0  # a little more than the emulator's own deadline for saving and leaving
FAILED_START_STOP_TIMEOUT_S = 2.0
LOCK_WAIT_S = 2.0  # for the emulator of a parent that has just died to save and leave
LOCK_RETRY_S = 0.05
SHOWN_LOG_LINES = 25
HEALTH_PATH = "/_ministack/health"
PROJECT_ROOT = Path(__file__).resolve().parents[2]


class EmulatorError(TaskyardError):
    """The embedded emulator did not start."""


@dataclass(frozen=True, slots=True)
class EmulatorHome:
    """The folder that an emulator keeps its state in, from one run to the next."""

    path: Path

    @property
    def state(self) -> Path:
        """One JSON file for each service that was ever used, and the code of the Lambda functions."""
        return self.path / "state"

    @property
    def objects(self) -> Path:
        """The S3 objects, a file each."""
        return self.path / "s3"

    @property
    def log(self) -> Path:
        """Where the emulator writes its log by default."""
        return self.path / "emulator.log"

    def last_port(self) -> int | None:
        """The port of the last run, or None before the first."""
        try:
            return int(self._port_file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def state_mb(self) -> float:
        """The size of the saved state, in MB."""
        return sum(file.stat().st_size for file in self.state.glob("*.json")) / 1e6

    def take(self, port: int) -> None:
        """Keep this folder for the life of this process, which serves this port.

        Raises EmulatorError if another emulator still keeps it after 2 s.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock()
        self._port_file.write_text(str(port))

    def empty_scratch(self) -> Path:
        """A folder for temporary files, without those of the last run."""
        scratch = self.path / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        return scratch

    @property
    def _port_file(self) -> Path:
        return self.path / "emulator.port"

    def _lock(self) -> None:
        # Never closed: the kernel lets go of the lock when the process has ended, however it ended.
        lock = os.open(self.path / "emulator.lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline_at_s = time.monotonic() + LOCK_WAIT_S
        while not _try_lock(lock):
            if time.monotonic() > deadline_at_s:
                raise EmulatorError(
                    f"the data folder {self.path} is in use",
                    expected="one emulator a folder",
                    got=f"another with pid {os.read(lock, 20).decode()}",
                    remedy="stop that one, or choose another folder",
                )
            time.sleep(LOCK_RETRY_S)
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator; stop it, or leave the `with` block, to end it."""

    port: int
    _process: subprocess.Popen[bytes] = field(repr=False)

    @classmethod
    def start(cls, data_dir: Path | None = None, log_path: Path | None = None, port: int | None = None) -> Self:
        """Start an emulator on `port` of 127.0.0.1, or on any free one, and wait until it answers.

        With `data_dir` it continues from the state saved there, on the port of the last run if that is free;
        without, it begins empty and forgets everything. It logs to `log_path`, else to
        `data_dir`/emulator.log, else nowhere. Raises EmulatorError, with the end of the log, when it has not
        answered after 20 s, and 0.5 s more for each MB of saved state.
        """
        home = EmulatorHome(data_dir.resolve()) if data_dir else None
        with _open_log(home, log_path) as log, _listen(home, port) as listener:
            log_start = log.seek(0, os.SEEK_END)
            emulator = cls(listener.getsockname()[1], _spawn(listener, home, log))
            listener.close()  # so that a connection fails at once when the emulator has died
            try:
                emulator._await_answer(_start_deadline_s(home))
            except BaseException as error:
                emulator.stop(timeout_s=FAILED_START_STOP_TIMEOUT_S)
                if isinstance(error, (OSError, http.client.HTTPException)):
                    raise _start_error(error, log, log_start) from error
                raise
        return emulator

    @property
    def endpoint_url(self) -> str:
        """What AWS clients call it by."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The emulator's process id."""
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The variables that point AWS SDKs and tools to this emulator, with made-up credentials."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End the emulator: ask, and kill it after `timeout_s`. Does no harm if it has ended already.

        True if it saved its state and left by itself; False if the last periodic save has to do.
        """
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        return self._process.returncode == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _await_answer(self, deadline_s: float) -> None:
        """Return at the first answer; raises OSError or HTTPException when there is none."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=deadline_s)
        try:
            connection.request("GET", HEALTH_PATH)
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                raise http.client.HTTPException(f"{HEALTH_PATH} answered {answer.status}")
        finally:
            connection.close()


def _open_log(home: EmulatorHome | None, log_path: Path | None) -> IO[bytes]:
    path = log_path or (home.log if home else None)
    if path is None:
        return tempfile.TemporaryFile()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.open("ab+")


def _listen(home: EmulatorHome | None, port: int | None) -> socket.socket:
    """A socket that listens on `port`; without one on the last run's, or else on any free one.

    The emulator inherits it, so nobody can take the port in between. Raises EmulatorError if `port` is taken.
    """
    if port is not None:
        try:
            return socket.create_server((HOST, port))
        except OSError as error:
            raise EmulatorError(
                f"port {port} of {HOST} cannot be had", got=error.strerror, remedy="choose another --port"
            ) from error
    last_port = home.last_port() if home else None
    if last_port:
        try:
            return socket.create_server((HOST, last_port))
        except OSError:  # somebody else has it now
            pass
    return socket.create_server((HOST, 0))


def _spawn(listener: socket.socket, home: EmulatorHome | None, log: IO[bytes]) -> subprocess.Popen[bytes]:
    descriptor = listener.fileno()
    command = [sys.executable, "-m", "chalicelib.local.emulator_process"]
    command += ["--port", str(listener.getsockname()[1]), "--listen-fd", str(descriptor)]
    if home:
        command += ["--data-dir", str(home.path)]
    return subprocess.Popen(  # noqa: S603 - nothing in the command comes from outside
        command,
        cwd=PROJECT_ROOT,  # where chalicelib is found, whatever the current folder
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        pass_fds=[descriptor],
        start_new_session=True,  # Ctrl-C reaches this process only: it still needs the emulator to wind up
    )


def _start_deadline_s(home: EmulatorHome | None) -> float:
    return START_DEADLINE_S + (home.state_mb() * LOAD_S_PER_MB if home else 0)


def _start_error(error: BaseException, log: IO[bytes], log_start: int) -> EmulatorError:
    log.seek(log_start)
    lines = log.read().decode(errors="replace").splitlines()[-SHOWN_LOG_LINES:]
    return EmulatorError(
        "the emulator did not start",
        expected=f"an answer from {HEALTH_PATH}",
        got=str(error) or type(error).__name__,
        remedy="\n".join(["see the end of its log:", *lines]),
    )

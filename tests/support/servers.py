"""Servers of others that a test starts for itself, where the machine has them: Redis and PostgreSQL."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

from redis import Redis
from redis.exceptions import RedisError

from tests.support.programs import program
from tests.support.up import free_port
from tests.support.waiting import until

DEADLINE_S = 30.0
DEBIAN = Path("/usr/lib/postgresql")  # where Debian keeps PostgreSQL's programs, off the path


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of an empty Redis that keeps nothing."""
    port = free_port()
    command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"

    def answers() -> bool:
        try:
            with Redis.from_url(url) as client:
                return bool(client.ping())
        except RedisError:
            return False

    try:
        until(answers, DEADLINE_S)
        yield url
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """The URL of an empty PostgreSQL, whose server is not root even where the test is."""
    initdb, pg_ctl = _postgres("initdb"), _postgres("pg_ctl")
    user = "postgres" if os.geteuid() == 0 else None
    port, data = free_port(), folder / "data"
    for parent in _below(Path(gettempdir()).resolve(), folder.resolve()) if user else ():
        parent.chmod(0o711)  # pytest lets nobody but root in
    data.mkdir()
    if user:
        subprocess.run(["/bin/chown", user, data], check=True)
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    run = {"user": user, "check": True, "stdout": subprocess.DEVNULL, "cwd": "/", "timeout": DEADLINE_S * 2}
    subprocess.run([initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], **run)
    subprocess.run([pg_ctl, "-D", data, "-o", settings, "-l", data / "log", "-w", "start"], **run)
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([pg_ctl, "-D", data, "-m", "immediate", "stop"], **run)


def _below(top: Path, folder: Path) -> list[Path]:
    """A folder and those that it stands in, up to ``top``."""
    return [each for each in (folder, *folder.parents) if top in each.parents]


def _postgres(name: str) -> str:
    newest = max(DEBIAN.glob(f"*/bin/{name}"), default=None)
    return program(name) if newest is None else str(newest)

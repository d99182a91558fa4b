"""The contract suite and the template's tests against LocalStack and DynamoDB Local, by one command.

    .venv/bin/python -m tests.emulators [--keep] [pytest arguments]

The first run downloads both into the user's cache folder. Each run starts both on free ports, runs the tests that
have a part for them, and ends both, however it ends itself. It exits with pytest's code, and with 69 when an
emulator could not be had.

Everything but ``--keep`` goes to pytest, after the arguments that choose the tests: ``-n 0``, ``-x``, and
``-k "localstack and stream"`` in place of the usual choice.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import urlsplit

from chalicelib.core.errors import TaskyardError
from tests.emulators import servers
from tests.emulators.install import cache_folder, install
from tests.emulators.servers import Server, running
from tests.support.backends import DYNAMODB_LOCAL_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/contract", "tests/infra/test_emulators.py")
BACKENDS = "localstack or dynamodb_local"
FOREIGN = ("AWS_", "LOCALSTACK_", "TASKYARD_", "EDGE_PORT", "USE_SSL")  # of the shell, and none of the tests' business
PYTEST_STOP_DEADLINE_S = 60.0
NOT_STARTED = os.EX_UNAVAILABLE  # 69; pytest has 0 to 5
INTERRUPTED = 130  # as shells have it: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests, and answer pytest's exit code; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.emulators",
        description=str(__doc__).partition("\n")[0],
        epilog="All other arguments are pytest's.",
    )
    parser.add_argument("--keep", action="store_true", help="leave the emulators running after the tests, till Ctrl-C")
    own, for_pytest = parser.parse_known_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    folder = Path(tempfile.mkdtemp(prefix="taskyard-emulators-"))
    code = INTERRUPTED
    try:
        code = _run(folder, for_pytest, own.keep)
    except TaskyardError as error:
        code = NOT_STARTED
        _say(str(error))
    except KeyboardInterrupt:
        pass
    finally:
        _clear_away(folder, keep_logs=code not in (0, INTERRUPTED))
    return code


def _run(folder: Path, for_pytest: Sequence[str], keep: bool) -> int:
    installed = install(cache_folder(), _say)
    began_s = time.monotonic()
    with ExitStack() as stack:
        started = (servers.localstack(installed, folder), servers.dynamodb_local(installed, folder))
        for server in started:
            stack.enter_context(running(server))
            _say(f"{server.name} answers at {server.url}")
        ready_s = time.monotonic()
        variables = _variables(*started)
        code = _test(for_pytest, variables)
        tested_s = time.monotonic()
        if keep:
            _keep_until_interrupted(variables)
        ended_s = time.monotonic()
    _say(
        f"pytest ended with {code}; starting took {ready_s - began_s:.0f} s, the tests {tested_s - ready_s:.0f} s, "
        f"stopping {time.monotonic() - ended_s:.0f} s; nothing is left running"
    )
    return code


def _variables(localstack: Server, dynamodb_local: Server) -> dict[str, str]:
    """What tells the tests where both are."""
    return {"LOCALSTACK_HOST": urlsplit(localstack.url).netloc, DYNAMODB_LOCAL_VARIABLE: dynamodb_local.url}


def _test(for_pytest: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run pytest to its end; when this process is told to stop, pytest is first."""
    shell = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    # pyproject.toml has pytest use every core, which is right here, too: both emulators serve several at a time.
    command = [sys.executable, "-m", "pytest", *TESTS, "-k", BACKENDS, *for_pytest]
    process = subprocess.Popen(command, cwd=ROOT, env={**shell, **variables})
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # which lets pytest end what its tests have started
            try:
                process.wait(PYTEST_STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                pass  # then it is killed
            finally:
                process.kill()


def _keep_until_interrupted(variables: Mapping[str, str]) -> None:
    _say("both stay until Ctrl-C; for another terminal:")
    for name, value in variables.items():
        _say(f"  export {name}={shlex.quote(value)}")
    with suppress(KeyboardInterrupt):
        signal.pause()


def _clear_away(folder: Path, *, keep_logs: bool) -> None:
    if keep_logs and (logs := sorted(folder.glob("*.log"))):
        for entry in set(folder.iterdir()) - set(logs):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        _say(f"the emulators' logs: {', '.join(map(str, logs))}")
    else:
        shutil.rmtree(folder)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

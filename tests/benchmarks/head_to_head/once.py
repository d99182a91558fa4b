"""What needs no rounds: the import, write units, the size of an installation, and what a deployment costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks import aws_calls, cold_start
from tests.benchmarks.head_to_head.emulator import PROJECT
from tests.benchmarks.head_to_head.scene import Figures
from tests.emulators import servers
from tests.emulators.install import cache_folder, install_dynamodb_local
from tests.support.backends import DYNAMODB_LOCAL_VARIABLE, dynamodb_local_url, embedded_emulator, ground
from tests.support.yards import environment

NOT_COUNTED = ("pip", "setuptools", "wheel", "taskyard")  # what any environment has, and this project itself
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
IMPORT_TURNS = 3
MIB = 1_024 * 1_024


def cold_import() -> Figures:
    """The CPU that the import of the app with its clients takes, against chalice and boto3 with theirs, in turns."""
    turns = [
        (cold_start.best_ms(cold_start.OURS), cold_start.best_ms(cold_start.BASELINE)) for _ in range(IMPORT_TURNS)
    ]
    ours_ms, baseline_ms = map(min, zip(*turns, strict=True))
    return {"import": ours_ms / baseline_ms}


def write_units() -> Figures:
    """The write units of a job that is published alone, from publish to done, by DynamoDB Local."""
    with ExitStack() as stack:
        if dynamodb_local_url() is None:
            stack.enter_context(_dynamodb_local())
        emulator = stack.enter_context(embedded_emulator())
        bench = stack.enter_context(ground("dynamodb_local", emulator)).bench(*aws_calls.FUNCTIONS)
        meter = aws_calls.Meter()
        meter.install()
        aws_calls.publish(bench.yard, aws_calls.task_draft())
        bench.work(aws_calls.LANE)
        alone = aws_calls.publishing(bench, meter)
        return {"write units": aws_calls.together(alone, aws_calls.working(bench, meter)).write_units}


@contextmanager
def _dynamodb_local() -> Iterator[None]:
    installed = install_dynamodb_local(cache_folder(), lambda line: sys.stderr.write(f"{line}\n"))
    with tempfile.TemporaryDirectory() as folder:
        server = servers.dynamodb_local(installed, Path(folder))
        with servers.running(server), environment({DYNAMODB_LOCAL_VARIABLE: server.url}):
            yield


def installation() -> Figures:
    """What `.[local]` takes in an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        copy, made = Path(folder, "copy"), Path(folder, "environment")
        shutil.copytree(PROJECT, copy, ignore=NOT_COPIED)
        subprocess.run([sys.executable, "-m", "venv", str(made)], check=True)
        pip = [str(made / "bin" / "python"), "-m", "pip"]
        wanted = ["-c", "requirements-dev.lock", "-e", ".[local]"]
        subprocess.run([*pip, "install", "--quiet", "--no-compile", *wanted], cwd=copy, check=True)
        packages = json.loads(subprocess.check_output([*pip, "list", "--format", "json"]))
        return {
            "packages": len([each for each in packages if each["name"] not in NOT_COUNTED]),
            "MiB": sum(file.lstat().st_size for file in _installed(made)) / MIB,
        }


def _installed(environment: Path) -> Iterator[Path]:
    """Every file of every package but pip."""
    (packages,) = environment.glob("lib/python*/site-packages")
    for entry in packages.iterdir():
        if not entry.name.startswith("pip"):
            yield from (file for file in [entry, *entry.rglob("*")] if file.is_file())


def costs() -> Figures:
    """What `taskyard cost` says of an idle month, and of a million jobs that are published in bulk."""
    command = [sys.executable, "-m", "chalicelib.cli.main", "cost", "--json", "--bulk"]
    told = json.loads(subprocess.check_output(command, cwd=PROJECT))
    return {"idle month": told["idleMonth"]["usd"], "million jobs": told["jobs"]["usd"]}


ONCE: dict[str, Callable[[], Figures]] = {
    "import": cold_import,
    "units": write_units,
    "cost": costs,
    "install": installation,
}

"""Taskyard deployed on an emulator of its own by `taskyard deploy`, with nothing else running."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chalicelib.local.emulator import Emulator
from infra.deploy.archive import KEPT
from tests.support.client import Client
from tests.support.processes import clean_environment, descendants

REPOSITORY = Path(__file__).parents[2]
HANDLERS = REPOSITORY / "tests" / "support" / "handlers"
STAGE = "dev"
LEASE_S = 4  # of an installation whose workers are killed
DEPLOYED = ("app.py", "requirements.txt", "chalicelib", "infra", ".chalice/config.json")
COMMAND_TIMEOUT_S = 300  # on a busy machine, a deployment takes minutes


@dataclass
class Deployed(Client):
    """An installation behind the URL of its API."""

    url: str
    endpoint_url: str
    emulator: Emulator
    project: Path
    headers: dict[str, str] = field(default_factory=dict)
    stage: str = STAGE

    def children(self) -> dict[int, str]:
        """The processes of the emulator, Lambda's workers among them: process id to command."""
        return descendants(self.emulator.pid)


@dataclass(frozen=True)
class Checkout:
    """A copy of the project that a test may change and deploy from."""

    project: Path
    endpoint_url: str

    def command(self, *arguments: str, at_endpoint: bool = True) -> list[str]:
        """The command line that runs a command of this checkout on the emulator."""
        where = ["--endpoint-url", self.endpoint_url] if at_endpoint else []
        return [sys.executable, "-m", "chalicelib.cli.main", *arguments, *where]

    def taskyard(
        self, *arguments: str, check: bool = True, at_endpoint: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of this checkout on the emulator."""
        done = subprocess.run(
            self.command(*arguments, at_endpoint=at_endpoint),
            cwd=self.project,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def deploy(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Deploy the stage."""
        return self.taskyard("deploy", "--stage", STAGE, *options, check=check)


def checkout(folder: Path, endpoint_url: str, **variables: str) -> Checkout:
    """A copy of the project in ``folder``, its stage configured with ``variables`` and with the tests' handlers."""
    for name in DEPLOYED:
        source, copy = REPOSITORY / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    kept = REPOSITORY / KEPT  # what the requirements name is the same for every copy
    kept.mkdir(exist_ok=True)
    (folder / KEPT).symlink_to(kept)
    shutil.copytree(HANDLERS, folder / "test_handlers", ignore=shutil.ignore_patterns("__pycache__"))
    config_file = folder / ".chalice" / "config.json"
    config = json.loads(config_file.read_text())
    config["stages"][STAGE]["environment_variables"] |= {
        "TASKYARD_HANDLERS": "chalicelib.tasks,test_handlers",
        **variables,
    }
    config_file.write_text(json.dumps(config, indent=2))
    return Checkout(folder, endpoint_url)


@contextmanager
def deployed(folder: Path, **variables: str) -> Iterator[Deployed]:
    """An installation in one stack on a fresh emulator, with an access key for everything."""
    with Emulator.start(log_path=folder / "emulator.log") as emulator:
        source = checkout(folder / "project", emulator.endpoint_url, **variables)
        url = source.deploy("--way", "stack").stdout.split()[-1]
        key = source.taskyard("keys", "create", "--stage", STAGE, "--label", "tests", "--scope", "*").stdout.strip()
        yield Deployed(url, emulator.endpoint_url, emulator, source.project, headers={"Authorization": f"Bearer {key}"})

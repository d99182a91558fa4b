"""The copy of the project that Chalice works on: what runs on Lambda, and nothing else.

Chalice packages whatever it finds in ``chalicelib`` and ``vendor``. The copy leaves out the local runtime and the test
kit, holds the handler packages that `TASKYARD_HANDLERS` names beside ``chalicelib.tasks``, and a configuration with
what is known only now: the functions' roles and the bucket.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from chalicelib.core.errors import InvalidInput, TaskyardError
from chalicelib.engine.handlers.bridged import bridged
from chalicelib.settings import Settings
from infra.deploy.stages import CONFIG, PROJECT, Config, architecture_of, config_of, expect_declared
from infra.functions import Function, functions_of

REQUIREMENTS = "requirements.txt"
KAFKA_REQUIREMENTS = "requirements-kafka.txt"
KAFKA_PYTHON = (3, 12)  # its wheels are for glibc 2.28 and newer: Lambda's images for Python 3.11 have 2.26
LIBRARY = "chalicelib"
VENDOR = "vendor"  # what Chalice puts beside app.py, as it is
LEFT_OUT = frozenset({"__pycache__"})
LEFT_OUT_OF_LIBRARY = frozenset({"cli", "local", "testing"})
CHALICE_TIMEOUT_S = 900  # most of it is pip, downloading
OUTPUT_SHOWN_CHARS = 4_000


class ChaliceFailed(TaskyardError):
    """Chalice did not do what it was asked to."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the configuration of a stage gets from the infrastructure it is deployed on."""

    roles: Mapping[Function, str]  # ARNs
    bucket: str | None = None


def unknown_yet(settings: Settings) -> Given:
    """Chalice wants a role for each function; in a template of everything it is replaced by a reference."""
    return Given(dict.fromkeys(functions_of(settings), "arn:aws:iam::000000000000:role/replaced-by-the-template"))


def stage_project(project: Path, staged: Path, settings: Settings, given: Given) -> None:
    """Copy what runs on Lambda into the new folder ``staged``, configured for the stage of ``settings``.

    Raises ``InvalidInput`` when the stage is not declared, or Lambda's Python too old for what it is to carry,
    ``ChaliceFailed`` when a handler package is nowhere.
    """
    config = config_of(project)
    expect_declared(settings.stage, config)
    expect_runtime_for_kafka(settings, sys.version_info[:2])
    home = project if (project / LIBRARY).is_dir() else PROJECT
    library = home / LIBRARY

    def left_out(folder: str, names: list[str]) -> set[str]:
        caches = {name for name in names if name in LEFT_OUT or name.endswith(".pyc")}
        return caches | LEFT_OUT_OF_LIBRARY if Path(folder) == library else caches

    shutil.copytree(library, staged / LIBRARY, ignore=left_out)
    shutil.copy(home / "app.py", staged / "app.py")
    (staged / REQUIREMENTS).write_text(requirements_of(project, home) + requirements_of_kafka(settings, home))
    for package in handler_packages(settings):
        _copy_package(package, project, staged / VENDOR, left_out)
    (staged / CONFIG).parent.mkdir()
    (staged / CONFIG).write_text(json.dumps(staged_config(config, settings, given), indent=2, sort_keys=True))


def requirements_of(project: Path, home: Path = PROJECT) -> str:
    """The requirements file of a project's package: Taskyard's own, then what the project adds to it.

    ``home`` is where Taskyard lies; as an installed package it has no such file, and its metadata say the same.
    """
    if (home / REQUIREMENTS).exists():
        own = (home / REQUIREMENTS).read_text()
    else:
        own = "\n".join(each for each in metadata.requires("taskyard") or () if "extra ==" not in each) + "\n"
    added = project / REQUIREMENTS
    return own + (added.read_text() if project != home and added.exists() else "")


def requirements_of_kafka(settings: Settings, home: Path = PROJECT) -> str:
    """What the package carries beside that where a topic goes to Kafka, and only there: the library that sends."""
    if not bridged(settings).outward:
        return ""
    if (home / KAFKA_REQUIREMENTS).exists():
        return (home / KAFKA_REQUIREMENTS).read_text()
    asked = (each.partition(";") for each in metadata.requires("taskyard") or ())
    return "".join(f"{name.strip()}\n" for name, _, marker in asked if marker.strip() == 'extra == "kafka"')


def expect_runtime_for_kafka(settings: Settings, python: tuple[int, ...]) -> None:
    """Raise ``InvalidInput`` where a topic goes to Kafka and its library does not run on Lambda's ``python``."""
    if bridged(settings).outward and python < KAFKA_PYTHON:
        raise InvalidInput(
            "a topic goes to Kafka, and confluent-kafka is not made for the system of this Python on Lambda",
            field="TASKYARD_KAFKA_TOPICS",
            expected=f"Python {'.'.join(map(str, KAFKA_PYTHON))} or newer",
            got=".".join(map(str, python)),
            remedy="deploy with a newer Python: Lambda's runtime is that of the one that deploys",
        )


def handler_packages(settings: Settings) -> list[str]:
    """The top-level packages that hold handlers beside Taskyard's own, in order."""
    named = (module.strip().partition(".")[0] for module in settings.handlers.split(","))
    return sorted(set(filter(None, named)) - {LIBRARY})


def staged_config(config: Config, settings: Settings, given: Given) -> dict[str, Any]:
    """Chalice's configuration of one stage alone: named after the installation, with its roles and bucket."""
    of_stage = {**config["stages"][settings.stage], "lambda_architecture": architecture_of(settings.stage, config)}
    functions = {name: dict(values) for name, values in of_stage.get("lambda_functions", {}).items()}
    for function, role in given.roles.items():
        functions.setdefault(function, {})["iam_role_arn"] = role
    variables = dict(of_stage.get("environment_variables", {}))
    if given.bucket is not None:
        variables["TASKYARD_BUCKET"] = given.bucket
    return {
        **config,
        "app_name": settings.prefix,
        "manage_iam_role": False,
        "xray": settings.tracing == "on",
        "stages": {settings.stage: {**of_stage, "lambda_functions": functions, "environment_variables": variables}},
    }


def run_chalice(staged: Path, settings: Settings, arguments: Sequence[str]) -> str:
    """Run a command of Chalice in ``staged``, within ``CHALICE_TIMEOUT_S`` seconds; returns what it printed.

    The Lambda runtime is the version of the Python that runs this. Raises ``ChaliceFailed`` with the end of the
    output.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TASKYARD_")},
        "AWS_DEFAULT_REGION": settings.region,
        "PYTHONDONTWRITEBYTECODE": "1",  # Chalice imports the application first and would package the byte code
    }
    command = [sys.executable, "-c", "from chalice.cli import main; raise SystemExit(main())", *arguments]
    told = f"`chalice {' '.join(arguments)}`"
    try:
        run = subprocess.run(  # noqa: S603  # no shell, and nothing in it comes from outside
            command,
            cwd=staged,
            env=environment,
            capture_output=True,
            text=True,
            timeout=CHALICE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ChaliceFailed(f"{told} took longer than {CHALICE_TIMEOUT_S} s") from error
    if run.returncode != 0:
        raise ChaliceFailed(f"{told} failed: {_reason(run.stdout + run.stderr)}")
    return run.stdout


def _reason(output: str) -> str:
    """What Chalice says went wrong, without the traceback in front of it; else the end of its output."""
    _, marked, reason = output.rpartition("ERROR - ")
    return " ".join(reason.split()) if marked else output[-OUTPUT_SHOWN_CHARS:]


def _copy_package(package: str, project: Path, vendor: Path, left_out: Any) -> None:
    """Copy a package, or a module, from the project or else from where Python finds it."""
    for place in (project / package, *_found(package)):
        if place.is_dir():
            shutil.copytree(place, vendor / package, ignore=left_out)
            return
        if (module := place.with_suffix(".py")).is_file():
            vendor.mkdir(exist_ok=True)
            shutil.copy(module, vendor)
            return
    raise ChaliceFailed(
        f"the handler package {package} is nowhere",
        expected=f"a folder or module of that name in {project}, or one that Python finds",
        remedy="mend TASKYARD_HANDLERS in .chalice/config.json",
    )


def _found(package: str) -> list[Path]:
    found = importlib.util.find_spec(package)
    if found is None:
        return []
    if found.submodule_search_locations:
        return [Path(place) for place in found.submodule_search_locations]
    return [Path(found.origin).with_suffix("")] if found.origin else []

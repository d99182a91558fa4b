"""The stages that `.chalice/config.json` declares, and what it says of each: settings, functions.

A stage's settings are the environment of its functions, so they are read from there and nowhere else: what a command
assumes of a stage is what the stage's code will see.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.settings import Settings, current, read
from infra.deploy.target import ENDPOINT_VARIABLE, LOCAL_STAGE
from infra.deploy.target import choose_local_stage as choose_local

PROJECT = Path(__file__).resolve().parents[2]  # Taskyard's own: a checkout, or where it is installed
CONFIG = ".chalice/config.json"
ARCHITECTURES = ("x86_64", "arm64")
MACHINES = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}  # as systems call them
REGION_VARIABLES = ("TASKYARD_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")

Config = Mapping[str, Any]


def project_here() -> Path:
    """The project that a command works on: the current folder if it is one, else Taskyard's own."""
    here = Path.cwd()
    return here if (here / CONFIG).is_file() else PROJECT


def config_of(project: Path | None = None) -> dict[str, Any]:
    """A project's Chalice configuration, that of the one here by default.

    Raises ``InvalidInput`` when there is none, as where Taskyard is installed and no project is the current folder, and
    when it is no JSON object.
    """
    try:
        text = ((project or project_here()) / CONFIG).read_text()
    except FileNotFoundError as error:
        raise InvalidInput(
            f"there is no {CONFIG} here",
            expected="a project's folder",
            got=str(project or Path.cwd()),
            remedy="go there, or make a project: `taskyard new NAME`",
        ) from error
    try:
        config = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{CONFIG} is no JSON", got=str(error)) from error
    if not isinstance(config, dict):
        raise InvalidInput(f"{CONFIG} is no JSON object", expected="{...}", got=text[:40])
    return config


def expect_declared(stage: str, config: Config) -> None:
    """Refuse a stage that Chalice would take without a word, to deploy functions that do not know theirs.

    Raises ``InvalidInput`` for that, and for the stage ``local``.
    """
    declared = config.get("stages", {})
    if stage == LOCAL_STAGE:
        raise InvalidInput(
            "the stage local answers without a key and is never deployed",
            field="stage",
            expected=" or ".join(declared) or None,
            got=stage,
            remedy="of what `taskyard up` runs tell `taskyard top`, `taskyard why ID`, `taskyard paused` and its log",
        )
    if stage not in declared:
        raise InvalidInput(
            f"the stage {stage} is not declared in {CONFIG}",
            field="stage",
            expected=" or ".join(declared),
            got=stage,
            remedy="declare it there, with its environment variable TASKYARD_STAGE",
        )
    named = variables_of(stage, config).get("TASKYARD_STAGE")
    if named != stage:
        raise InvalidInput(
            f"the stage {stage} of {CONFIG} would act on another one",
            field="TASKYARD_STAGE",
            expected=stage,
            got=named,
            remedy="let the environment variable name the stage that declares it",
        )
    unknown = sorted(name for name in variables_of(stage, config) if _unknown(name))
    if unknown:
        raise InvalidInput(
            f"the stage {stage} of {CONFIG} sets what is no setting",
            field=unknown[0],
            expected="a setting that docs/reference.md lists",
            got=", ".join(unknown),
        )


def _unknown(variable: str) -> bool:
    prefix = "TASKYARD_"
    return variable.startswith(prefix) and variable.removeprefix(prefix).lower() not in Settings.__slots__


def is_declared(stage: str, project: Path | None = None) -> bool:
    """Whether the project configures ``stage``."""
    return stage in config_of(project).get("stages", {})


def variables_of(stage: str, config: Config) -> dict[str, str]:
    """The environment variables that all functions of a stage get."""
    of_stage = config.get("stages", {}).get(stage, {})
    return {**config.get("environment_variables", {}), **of_stage.get("environment_variables", {})}


def settings_of(stage: str, project: Path | None = None) -> Settings:
    """The settings of a stage's code, in the region that the shell names.

    Raises ``InvalidInput`` when the stage is not declared, or a setting is wrong.
    """
    config = config_of(project)
    expect_declared(stage, config)
    return read({**_regions(os.environ), **variables_of(stage, config)})


def _regions(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in REGION_VARIABLES if name in environment}


def function_config(config: Config, stage: str, function: str, name: str) -> Any:
    """A value of a function, as Chalice looks it up: the stage's function, the function, the stage, the whole."""
    of_stage = config.get("stages", {}).get(stage, {})
    for place in (
        of_stage.get("lambda_functions", {}).get(function, {}),
        of_stage,
        config.get("lambda_functions", {}).get(function, {}),
        config,
    ):
        if place.get(name) is not None:
            return place[name]
    return None


def architecture_of(stage: str, config: Config) -> str:
    """What the functions of a stage run on, by default ``x86_64`` as with Chalice. Raises ``InvalidInput``.

    Those of an emulator are processes of this machine, whatever a stage asks for.
    """
    of_stage = config.get("stages", {}).get(stage, {})
    architecture = of_stage.get("lambda_architecture") or config.get("lambda_architecture") or ARCHITECTURES[0]
    if architecture not in ARCHITECTURES:
        raise InvalidInput(
            f"stage {stage} of {CONFIG} asks for functions that Lambda has not",
            field="lambda_architecture",
            expected=" or ".join(ARCHITECTURES),
            got=architecture,
        )
    return MACHINES.get(platform.machine(), str(architecture)) if ENDPOINT_VARIABLE in os.environ else str(architecture)


def choose_local_stage(environment: MutableMapping[str, str] = os.environ) -> None:
    """Settings of this process: those of the stage on this machine, and of the project here where the shell is silent.

    What a project's configuration says above its stages holds for this one, too. There may be no project here.
    """
    choose_local(environment)
    config = config_of() if (project_here() / CONFIG).is_file() else {}
    for name, value in config.get("environment_variables", {}).items():
        environment.setdefault(name, value)
    current.cache_clear()


def choose_stage(stage: str, project: Path | None = None, environment: MutableMapping[str, str] = os.environ) -> None:
    """Settings of this process: those of a stage, whatever the shell says. Raises as ``expect_declared`` does."""
    config = config_of(project)
    expect_declared(stage, config)
    regions = _regions(environment)
    for name in [name for name in environment if name.startswith("TASKYARD_")]:
        del environment[name]
    environment.update({**regions, **variables_of(stage, config)})

"""What `.chalice/config.json` says of a stage."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.errors import InvalidInput
from infra.deploy.stages import (
    CONFIG,
    PROJECT,
    architecture_of,
    choose_stage,
    config_of,
    expect_declared,
    function_config,
    settings_of,
)

CONFIGURATION: dict[str, Any] = {
    "version": "2.0",
    "lambda_memory_size": 512,
    "lambda_functions": {"worker": {"lambda_memory_size": 1024, "lambda_timeout": 300}},
    "environment_variables": {"TASKYARD_STAGE": "UNDECLARED", "TASKYARD_LEASE_S": "30"},
    "stages": {
        "dev": {"environment_variables": {"TASKYARD_STAGE": "dev", "TASKYARD_PREFIX": "yard"}},
        "prod": {
            "lambda_memory_size": 2048,
            "environment_variables": {"TASKYARD_STAGE": "prod"},
            "lambda_functions": {"clock": {"lambda_memory_size": 256}},
        },
        "wrong": {"environment_variables": {"TASKYARD_STAGE": "wrong", "TASKYARD_LEASE_S": "soon"}},
    },
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / CONFIG).parent.mkdir()
    (tmp_path / CONFIG).write_text(json.dumps(CONFIGURATION))
    return tmp_path


def test_a_stages_settings_are_its_functions_environment_in_the_shells_region(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("TASKYARD_LEASE_S", "45")  # of the shell, which the functions will not see
    found = settings_of("dev", project)
    assert (found.stage, found.prefix, found.lease_s, found.region) == ("dev", "yard", 30, "eu-west-1")


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ("local", "never deployed"),
        ("test", "expected dev or prod or wrong; got test"),
        ("wrong", "TASKYARD_LEASE_S"),
    ],
)
def test_what_cannot_be_deployed_is_refused(stage: str, problem: str, project: Path) -> None:
    with pytest.raises(InvalidInput, match=problem):
        settings_of(stage, project)


@pytest.mark.parametrize(
    ("stage", "function", "memory_mb"),
    [("dev", "worker", 1024), ("dev", "clock", 512), ("prod", "worker", 2048), ("prod", "clock", 256)],
)
def test_a_functions_size_is_looked_up_as_chalice_does(
    stage: str, function: str, memory_mb: int, project: Path
) -> None:
    assert function_config(config_of(project), stage, function, "lambda_memory_size") == memory_mb


def test_functions_run_on_what_a_stage_asks_for_or_on_what_chalice_takes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert architecture_of("dev", config_of(project)) == "x86_64"
    assert architecture_of("dev", {**config_of(project), "lambda_architecture": "arm64"}) == "arm64"
    assert architecture_of("dev", config_of(PROJECT)) == "arm64"


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", "x86_64"), ("aarch64", "arm64"), ("arm64", "arm64")])
def test_those_of_an_emulator_run_on_its_machine(
    machine: str, architecture: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    for asked in ("x86_64", "arm64"):
        assert architecture_of("dev", {**config_of(project), "lambda_architecture": asked}) == architecture


def test_what_nobody_configured_is_none(project: Path) -> None:
    assert function_config(config_of(project), "dev", "worker", "reserved_concurrency") is None


def test_a_process_takes_on_a_stage_whatever_its_shell_says(project: Path) -> None:
    environment = {"TASKYARD_LEASE_S": "45", "TASKYARD_POLL_LEASE_MS": "9000", "AWS_REGION": "eu-west-1", "HOME": "/h"}
    choose_stage("dev", project, environment)
    assert environment == {
        "AWS_REGION": "eu-west-1",
        "HOME": "/h",
        "TASKYARD_STAGE": "dev",
        "TASKYARD_PREFIX": "yard",
        "TASKYARD_LEASE_S": "30",
    }


@pytest.mark.parametrize(("text", "problem"), [("{", "no JSON"), ("[]", "no JSON object")])
def test_an_unreadable_configuration_is_told(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / CONFIG).parent.mkdir()
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(InvalidInput, match=problem):
        config_of(tmp_path)


def test_the_projects_own_stage_can_be_deployed() -> None:
    expect_declared("dev", config_of())
    assert settings_of("dev").stage == "dev"


def test_who_names_the_local_stage_is_told_what_to_do_instead() -> None:
    with pytest.raises(InvalidInput) as refused:
        expect_declared("local", {"stages": {"dev": {}, "prod": {}}})
    assert refused.value.expected == "dev or prod"
    assert "`taskyard top`" in (refused.value.remedy or "")

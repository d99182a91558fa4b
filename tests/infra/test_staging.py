"""The copy of the project that Chalice works on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from chalicelib.settings import Settings
from infra.deploy.stages import CONFIG, PROJECT
from infra.deploy.staging import ChaliceFailed, Given, handler_packages, run_chalice, stage_project, unknown_yet
from infra.functions import Function, functions_of

DEV = Settings(stage="dev", prefix="yard")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    configuration = {"app_name": "taskyard", "stages": {"dev": {"environment_variables": {"TASKYARD_STAGE": "dev"}}}}
    for name, text in {
        "app.py": "",
        "requirements.txt": "",
        CONFIG: json.dumps(configuration),
        "chalicelib/__init__.py": "",
        "chalicelib/local/__init__.py": "",
        "chalicelib/core/local/__init__.py": "",
        "chalicelib/__pycache__/thing.pyc": "",
        "shop/__init__.py": "",
        "shop/tasks/orders.py": "",
        "shop/tasks/__pycache__/orders.pyc": "",
        "tests/test_thing.py": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def staged(project: Path, tmp_path: Path, settings: Settings = DEV, given: Given | None = None) -> Path:
    folder = tmp_path / "staged"
    folder.mkdir()
    stage_project(project, folder, settings, given or unknown_yet(settings))
    return folder


def test_it_holds_what_runs_on_lambda_and_nothing_else(project: Path, tmp_path: Path) -> None:
    assert files(staged(project, tmp_path)) == {
        "app.py",
        "requirements.txt",
        CONFIG,
        "chalicelib/__init__.py",
        "chalicelib/core/local/__init__.py",
    }


def test_handler_packages_stand_beside_the_application(project: Path, tmp_path: Path) -> None:
    settings = Settings(stage="dev", handlers="chalicelib.tasks, shop.tasks,localstack_client")
    assert handler_packages(settings) == ["localstack_client", "shop"]
    vendored = {name for name in files(staged(project, tmp_path, settings)) if name.startswith("vendor/")}
    assert {"vendor/shop/__init__.py", "vendor/shop/tasks/orders.py"} < vendored
    assert "vendor/localstack_client/config.py" in vendored
    assert not any(name.endswith(".pyc") for name in vendored)


def test_a_handler_module_by_itself_is_packaged_too(project: Path, tmp_path: Path) -> None:
    (project / "errands.py").write_text("")
    assert "vendor/errands.py" in files(staged(project, tmp_path, Settings(stage="dev", handlers="errands")))


def test_a_handler_package_that_is_nowhere_is_told(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ChaliceFailed, match="handler package no_such_thing is nowhere"):
        staged(project, tmp_path, Settings(stage="dev", handlers="no_such_thing.tasks"))


def test_the_configuration_knows_roles_and_bucket(project: Path, tmp_path: Path) -> None:
    roles = {function: f"arn:aws:iam::1:role/{function}" for function in functions_of(DEV)}
    folder = staged(project, tmp_path, given=Given(roles, "bucket-1"))
    config = json.loads((folder / CONFIG).read_text())
    assert (config["app_name"], config["manage_iam_role"], config["xray"]) == ("yard", False, False)
    dev = config["stages"]["dev"]
    assert dev["environment_variables"] == {"TASKYARD_STAGE": "dev", "TASKYARD_BUCKET": "bucket-1"}
    assert {name: values["iam_role_arn"] for name, values in dev["lambda_functions"].items()} == roles


def test_tracing_is_switched_on_for_all_functions(project: Path, tmp_path: Path) -> None:
    folder = staged(project, tmp_path, Settings(stage="dev", tracing="on"))
    assert json.loads((folder / CONFIG).read_text())["xray"] is True


def test_a_failing_command_of_chalice_says_why_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(ChaliceFailed) as failed:
        run_chalice(tmp_path, DEV, ["deploy", "--stage", "dev"])
    assert "`chalice deploy --stage dev` failed" in str(failed.value)


def test_every_function_of_infra_is_one_of_the_application() -> None:
    sys.path.insert(0, str(PROJECT))
    try:
        import app
    finally:
        sys.path.remove(str(PROJECT))
    declared = {function.name for function in app.app.pure_lambda_functions}
    assert declared | {Function.API.value} == set(functions_of(DEV))

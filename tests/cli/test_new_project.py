"""`taskyard new`: what it writes works as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from click.testing import CliRunner, Result

from chalicelib import settings
from chalicelib.cli.main import main
from chalicelib.cli.new_project import new_project
from chalicelib.core.errors import InvalidInput
from infra.deploy import stages
from infra.deploy.archive import KEPT
from infra.deploy.stages import CONFIG, PROJECT, choose_local_stage, config_of, project_here
from infra.deploy.staging import requirements_of
from infra.functions import Function
from infra.roles import policy
from tests.support.processes import clean_environment

FILES = {
    ".chalice/config.json",
    ".gitignore",
    "README.md",
    "pyproject.toml",
    "requirements-dev.txt",
    "requirements.txt",
    "shop/__init__.py",
    "shop/orders.py",
    "tests/test_orders.py",
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new project, and the current folder in it."""
    assert {str(file) for file in new_project("shop", tmp_path / "shop")} == FILES
    monkeypatch.chdir(tmp_path / "shop")
    yield tmp_path / "shop"
    for module in [module for module in sys.modules if module.split(".")[0] == "shop"]:
        del sys.modules[module]


def run_in(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**clean_environment(), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def new(name: str) -> Result:
    return CliRunner().invoke(main, ["new", name])


def test_it_passes_its_own_test_and_is_clean(shop: Path) -> None:
    assert "2 passed" in run_in(shop, "pytest", "-p", "no:cacheprovider")
    run_in(shop, "ruff", "check", "--no-cache", ".")
    run_in(shop, "ruff", "format", "--no-cache", "--check", ".")
    listed = json.loads(run_in(shop, "chalicelib.cli.main", "handlers", "--json"))
    assert [(row["name"], row["where"].partition(":")[0]) for row in listed] == [
        ("order.confirm", "shop/orders.py"),
        ("order.placed", "shop/orders.py"),
    ]


def test_it_is_packaged_with_its_handlers_and_lanes(shop: Path) -> None:
    (PROJECT / KEPT).mkdir(exist_ok=True)
    (shop / KEPT).symlink_to(PROJECT / KEPT)  # the packages are those that other tests have fetched
    run_in(shop, "chalicelib.cli.main", "package", "build")
    names = ZipFile(shop / "build" / "deployment.zip").namelist()
    assert {"app.py", "chalicelib/__init__.py", "shop/orders.py"} <= set(names)
    assert not [name for name in names if name.startswith(("chalicelib/local/", "tests/"))]
    resources = json.loads((shop / "build" / "sam.json").read_text())["Resources"]
    assert any(name.startswith("LaneOrderPlaced") for name in resources)
    assert resources["Worker"]["Properties"]["Environment"]["Variables"]["TASKYARD_HANDLERS"] == "shop"


def test_its_functions_are_those_of_taskyards_own_configuration(shop: Path) -> None:
    own, written = (json.loads((root / CONFIG).read_text()) for root in (PROJECT, shop))
    for config in (own, written):
        del config["app_name"], config["environment_variables"]
    assert written == own


def test_the_project_is_the_current_folder(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert project_here() == shop
    monkeypatch.chdir(shop / "tests")
    assert project_here() == PROJECT


def test_where_no_project_is_is_told(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop / "tests")
    monkeypatch.setattr(
        stages, "PROJECT", shop / "site-packages"
    )  # of an installed Taskyard, which has no configuration
    environment: dict[str, str] = {}
    choose_local_stage(environment)
    assert settings.read(environment).prefix == "taskyard"
    with pytest.raises(InvalidInput) as refused:
        config_of()
    assert (refused.value.message, refused.value.got) == ("there is no .chalice/config.json here", str(Path.cwd()))
    assert "taskyard new" in (refused.value.remedy or "")


def test_its_settings_hold_on_this_machine_where_the_shell_is_silent(shop: Path) -> None:
    del shop
    environment: dict[str, str] = {}
    choose_local_stage(environment)
    chosen = settings.read(environment)
    assert (chosen.stage, chosen.prefix, chosen.handlers) == ("local", "shop", "shop")
    environment = {"TASKYARD_HANDLERS": "other"}
    choose_local_stage(environment)
    assert environment["TASKYARD_HANDLERS"] == "other"


def test_its_requirements_are_added_to_taskyards(shop: Path, tmp_path: Path) -> None:
    (shop / "requirements.txt").write_text("stripe==1.2.3\n")
    own = (PROJECT / "requirements.txt").read_text()
    assert requirements_of(shop) == f"{own}stripe==1.2.3\n"
    assert requirements_of(PROJECT) == own
    installed = requirements_of(shop, home=tmp_path).splitlines()  # a package of the index has no such file
    assert {line for line in own.splitlines() if not line.startswith("#")} == {*installed[:-1]}
    assert installed[-1] == "stripe==1.2.3"


def test_what_its_handlers_need_of_aws_is_given_to_the_worker(shop: Path) -> None:
    statement = {"Sid": "Mail", "Effect": "Allow", "Action": ["ses:SendEmail"], "Resource": ["*"]}
    file = shop / "infra" / "policies" / "handlers.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    chosen = settings.Settings(stage="dev")
    assert statement in policy(chosen, Function.WORKER)["Statement"]
    assert statement not in policy(chosen, Function.CLOCK)["Statement"]


def test_the_command_writes_it_and_tells_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = new("shop")
    assert result.exit_code == 0
    assert {line.removeprefix("shop/") for line in result.stdout.splitlines()[:-1]} == FILES
    again = new("shop")
    assert (again.exit_code, "there is something already" in again.stderr) == (2, True)


@pytest.mark.parametrize("name", ["Shop", "my-shop", "1shop", "class", "json", "chalicelib", "tests", "a" * 17, "../x"])
def test_a_name_that_no_package_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        new_project(name, tmp_path / "somewhere")
    assert refused.value.field == "NAME"
    assert not (tmp_path / "somewhere").exists()

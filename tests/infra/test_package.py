"""Packaging a small project, and each check on what cannot work on Lambda."""

from __future__ import annotations

import importlib.util
import json
import marshal
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from chalicelib import settings
from chalicelib.core.errors import InvalidInput
from infra.deploy.archive import KEPT
from infra.deploy.bytecode import BytecodeRefused, add_bytecode
from infra.deploy.package import ARCHIVE, PackageRefused, main, package
from infra.deploy.package_checks import archive_problems, route_problems, size_problems, template_problems
from infra.deploy.package_imports import missing_imports
from infra.deploy.stages import CONFIG, PROJECT
from infra.deploy.staging import KAFKA_REQUIREMENTS, ChaliceFailed

APP = """
from chalice import Chalice
from chalicelib import thing

app = Chalice(app_name="small")

@app.route("/things/{id}")
def show(id):
    return thing.shown(id)

@app.lambda_function(name="worker")
def worker(event, context):
    return {}
"""
KAFKA_FILES = {
    "confluent_kafka/__init__.py",
    "confluent_kafka/cimpl.so",
    "confluent_kafka.libs/librdkafka.so.1",  # beside the package, where the extension looks for it
}
CONFIGURATION: dict[str, Any] = {
    "version": "2.0",
    "app_name": "small",
    "lambda_functions": {"worker": {"lambda_timeout": 300}},
    "stages": {"dev": {"environment_variables": {"TASKYARD_STAGE": "dev"}}},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Chalice project without requirements, so that no package index is needed."""
    root = tmp_path / "small"
    for name, text in {
        "app.py": APP,
        "requirements.txt": "# nothing\n",
        CONFIG: json.dumps(CONFIGURATION),
        "chalicelib/__init__.py": "",
        "chalicelib/thing.py": "def shown(id):\n    return {'id': id}\n",
        "chalicelib/console/main.js": "render();\n",
        "chalicelib/local/__init__.py": "import click\n",
        "chalicelib/testing/__init__.py": "import moto\n",
        "chalicelib/__pycache__/thing.cpython-311.pyc": "",
        "tests/test_thing.py": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def template_of(timeout_s: int = 300, **variables: str) -> dict[str, Any]:
    """What Chalice makes of an application with nothing but a worker."""
    worker = {
        "Runtime": "python3.11",
        "Architectures": ["x86_64"],
        "Timeout": timeout_s,
        "Environment": {"Variables": {"TASKYARD_STAGE": "dev", **variables}},
    }
    return {"Resources": {"Worker": {"Type": "AWS::Serverless::Function", "Properties": worker}}}


def archive_of(folder: Path, more: Mapping[str, str]) -> Path:
    """An archive that passes, and ``more``, name to text."""
    path = folder / ARCHIVE
    with ZipFile(path, "w") as zipped:
        for name in ("app.py", "chalice/app.py", "chalicelib/__init__.py"):
            zipped.writestr(name, "")
        for name, text in more.items():
            zipped.writestr(name, text)
    return path


def test_the_package_holds_what_runs_on_lambda_and_nothing_else(project: Path, tmp_path: Path) -> None:
    report = package(tmp_path / "out", "dev", project=project)

    names = set(ZipFile(report.archive).namelist())
    sources = {
        "app.py",
        "chalice/__init__.py",
        "chalice/app.py",
        "chalicelib/__init__.py",
        "chalicelib/thing.py",
    }
    assert names == sources | {cached(name) for name in sources} | {"chalicelib/console/main.js"}
    assert report.template.parent == report.archive.parent == tmp_path / "out"
    assert set(report.functions) == {"APIHandler", "Worker"}
    assert report.routes == ("/things/{id}",)


def cached(source: str) -> str:
    """Where Python looks for the byte code of ``source`` (a path with or without folders)."""
    return importlib.util.cache_from_source(source)


def test_byte_code_is_used_as_it_is_and_shows_where_lambda_keeps_the_source(project: Path, tmp_path: Path) -> None:
    report = package(tmp_path / "out", "dev", project=project)

    compiled = ZipFile(report.archive).read(cached("chalicelib/thing.py"))
    assert compiled[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(compiled[4:8], "little") == 0b01  # by hash, and not to be checked
    assert marshal.loads(compiled[16:]).co_filename == "/var/task/chalicelib/thing.py"  # noqa: S302  # our own


def wheel_in(folder: Path, version: str) -> Path:
    """A wheel of a package `tiny`, which tells its version."""
    folder.mkdir(exist_ok=True)
    path = folder / f"tiny-{version}-py3-none-any.whl"
    with ZipFile(path, "w") as zipped:
        zipped.writestr("tiny/__init__.py", f"VERSION = {version!r}\n")
        zipped.writestr(
            f"tiny-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"
        )
        zipped.writestr(
            f"tiny-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        zipped.writestr(f"tiny-{version}.dist-info/RECORD", "")
    return path


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for all the packages there are."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def packaged(project: Path, out: Path, requirements: str) -> ZipFile:
    (project / "requirements.txt").write_text(requirements)
    return ZipFile(package(out, "dev", project=project).archive)


def test_what_pinned_requirements_name_is_fetched_once(project: Path, wheels: Path, tmp_path: Path) -> None:
    first = wheel_in(wheels, "1.0")
    built = packaged(project, tmp_path / "out", "tiny==1.0  # small\n")
    assert {"tiny/__init__.py", cached("tiny/__init__.py"), "tiny-1.0.dist-info/METADATA"} < set(built.namelist())
    assert {entry.external_attr >> 16 & 0o444 for entry in built.infolist()} == {0o444}  # Lambda's user reads them
    first.unlink()
    again = packaged(project, tmp_path / "out", "# the same\ntiny==1.0\n")
    assert again.namelist() == built.namelist()

    wheel_in(wheels, "1.1")
    assert packaged(project, tmp_path / "out", "tiny==1.1\n").read("tiny/__init__.py") == b"VERSION = '1.1'\n"
    assert len(list((project / KEPT).iterdir())) == 2


def test_what_open_requirements_name_is_fetched_each_time(project: Path, wheels: Path, tmp_path: Path) -> None:
    for version in ("1.0", "1.1"):
        wheel_in(wheels, version)
        built = packaged(project, tmp_path / "out", "tiny>=1.0\n")
        assert built.read("tiny/__init__.py").decode() == f"VERSION = {version!r}\n"
    assert not (project / KEPT).exists()


def test_a_requirement_that_cannot_be_had_is_told(project: Path, wheels: Path, tmp_path: Path) -> None:
    wheel_in(wheels, "1.0")
    with pytest.raises(ChaliceFailed, match=r"packages of requirements\.txt cannot be had: .*tiny==2\.0"):
        packaged(project, tmp_path / "out", "tiny==2.0\n")
    (wheels / "tiny-1.0-py3-none-any.whl").rename(wheels / "tiny-1.0-cp39-cp39-win_amd64.whl")
    with pytest.raises(ChaliceFailed, match=r"packages of requirements\.txt cannot be had"):
        packaged(project, tmp_path / "out", "tiny==1.0\n")
    assert not (tmp_path / "out").exists()
    assert list((project / KEPT).iterdir()) == []


def kafka_wheel_in(folder: Path) -> None:
    """A wheel as confluent-kafka's for this Python: compiled, with a library in a folder beside."""
    (pinned,) = re.findall("^confluent-kafka==(.+)$", (PROJECT / KAFKA_REQUIREMENTS).read_text(), re.MULTILINE)
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    tag, info = f"{python}-{python}-manylinux2014_x86_64", f"confluent_kafka-{pinned}.dist-info"
    folder.mkdir()
    with ZipFile(folder / f"confluent_kafka-{pinned}-{tag}.whl", "w") as zipped:
        for name in KAFKA_FILES:
            zipped.writestr(name, "")
        zipped.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: confluent-kafka\nVersion: {pinned}\n")
        zipped.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        zipped.writestr(f"{info}/RECORD", "")


@pytest.mark.parametrize("direction", ["in", "out"])
def test_what_sends_to_kafka_is_in_the_package_where_a_topic_goes_there(
    project: Path, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    monkeypatch.setattr("infra.deploy.staging.KAFKA_PYTHON", (3, 11))  # the wheel is made for any that tests run on
    kafka_wheel_in(wheels)
    variables = {"TASKYARD_STAGE": "dev", "TASKYARD_KAFKA_TOPICS": json.dumps([{"topic": "t", "direction": direction}])}
    (project / CONFIG).write_text(
        json.dumps({**CONFIGURATION, "stages": {"dev": {"environment_variables": variables}}})
    )
    names = set(packaged(project, tmp_path / "out", "# nothing\n").namelist())
    assert (KAFKA_FILES & names) == (KAFKA_FILES if direction == "out" else set())
    assert any(name.startswith("confluent_kafka") for name in names) == (direction == "out")


def test_the_architecture_is_one_that_lambda_has(project: Path, tmp_path: Path) -> None:
    (project / CONFIG).write_text(json.dumps({**CONFIGURATION, "lambda_architecture": "mips"}))
    with pytest.raises(InvalidInput, match=r"lambda_architecture: .*expected x86_64 or arm64; got mips"):
        package(tmp_path / "out", "dev", project=project)


def test_a_module_that_does_not_compile_is_told(tmp_path: Path) -> None:
    with pytest.raises(BytecodeRefused):
        add_bytecode(archive_of(tmp_path, {"chalicelib/odd.py": "def ("}))


def test_an_archive_that_is_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_of(tmp_path, {})
    assert list(size_problems(archive)) == []
    monkeypatch.setattr("infra.deploy.package_checks.ARCHIVE_MAX_BYTES", archive.stat().st_size - 1)
    assert len(list(size_problems(archive))) == 1
    assert list(size_problems(archive, with_kafka=True)) == []


def test_a_refused_package_is_told_in_full_and_leaves_nothing(project: Path, tmp_path: Path) -> None:
    (project / "app.py").write_text(APP.replace("worker", "wroker").replace("things/{id}", "things/a b"))

    with pytest.raises(PackageRefused) as refused:
        package(tmp_path / "out", "dev", project=project)

    assert "configures worker, but app.py declares no such function" in str(refused.value)
    assert "route /things/a b" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_an_application_that_imports_the_local_runtime_is_refused(project: Path, tmp_path: Path) -> None:
    (project / "chalicelib/thing.py").write_text("def shown(id):\n    from chalicelib.local import cli\n")

    with pytest.raises(PackageRefused, match=r"thing\.py, line 2: chalicelib\.local\.cli is not there on Lambda"):
        package(tmp_path / "out", "dev", project=project)


def test_an_application_that_fails_to_load_says_why(project: Path, tmp_path: Path) -> None:
    (project / "app.py").write_text("import chalicelib.nowhere\n")

    with pytest.raises(ChaliceFailed, match=r"No module named 'chalicelib\.nowhere'"):
        package(tmp_path / "out", "dev", project=project)


@pytest.mark.parametrize(
    ("stage", "problem"), [("local", "is never deployed"), ("prod", "stage prod is not declared in .*expected dev")]
)
def test_only_declared_stages_are_packaged(stage: str, problem: str, project: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=problem):
        package(tmp_path / "out", stage, project=project)


def test_what_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageRefused, match=r"holds no \.chalice/config\.json"):
        package(tmp_path / "out", "dev", project=tmp_path)


def test_the_command_exits_with_the_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "out"), "--stage", "local"])

    assert ended.value.code == 1
    assert "never deployed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("paths", "problems"),
    [
        (["/", "/jobs", "/jobs/{id}", "/jobs/{id}/logs", "/jobs/stats", "/files/{path+}"], []),
        (
            ["/jobs/{id}", "/jobs/{key}/logs"],
            ["routes below /jobs: only one variable may stand there, not {id}, {key}"],
        ),
        (["/{a}", "/{b}/c"], ["routes below /: only one variable may stand there, not {a}, {b}"]),
        (["/jobs/{id}.json"], ["route /jobs/{id}.json: API Gateway does not take '{id}.json' between two slashes"]),
        (["/jobs//logs"], ["route /jobs//logs: API Gateway does not take '' between two slashes"]),
        (["/f/{rest+}/x"], ["route /f/{rest+}/x: {rest+} takes the whole rest of a path, so nothing may follow it"]),
        ([f"/{n}" for n in range(301)], ["the routes make 301 resources of an API; API Gateway takes 300"]),
    ],
)
def test_routes_that_api_gateway_refuses(paths: list[str], problems: list[str]) -> None:
    assert list(route_problems(paths)) == problems


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (template_of(), None),
        (template_of(TASKYARD_STAGE="prod"), "Worker: its TASKYARD_STAGE is not dev"),
        (template_of(TASKYARD_LEASE_S="0"), "Worker: TASKYARD_LEASE_S: "),
        (template_of(331), "Worker: its time-out of 331 s exceeds the queues' visibility of 330 s"),
        (template_of(299), "Worker: its time-out of 299 s is not TASKYARD_FUNCTION_TIMEOUT_S, 300"),
        (template_of(600, TASKYARD_FUNCTION_TIMEOUT_S="600"), None),
    ],
)
def test_functions_that_contradict_their_settings(template: dict[str, Any], problem: str | None) -> None:
    problems = list(template_problems(template, CONFIGURATION, "dev"))

    assert bool(problems) == (problem is not None)
    assert problem is None or problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chalicelib/core/job.py", []),
        ("chalicelib/cli/main.py", ["the archive holds chalicelib/cli/main.py"]),
        ("chalicelib/__pycache__/job.pyc", ["the archive holds chalicelib/__pycache__/job.pyc"]),
        ("boto3/session.py", ["the archive holds boto3/session.py"]),
        ("infra/template.py", ["the archive holds infra/template.py"]),
    ],
)
def test_contents_that_stay_out(name: str, expected: list[str], tmp_path: Path) -> None:
    assert list(archive_problems(archive_of(tmp_path, {name: ""}), "", template_of())) == expected


def test_a_requirement_without_a_wheel_is_missed(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, {"pydantic_core-2.46.5.dist-info/METADATA": ""})
    requirements = "# pins\npydantic-core==2.46.5\nAnnotated.Types==0.8.0  # via pydantic\n"

    assert list(archive_problems(archive, requirements, template_of())) == [
        "the archive lacks Annotated.Types 0.8.0, which requirements.txt asks for"
    ]


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("cp311-cp311-manylinux_2_17_x86_64", True),
        ("cp39-abi3-manylinux2014_x86_64", True),
        ("cp312-cp312-manylinux_2_17_x86_64", False),
        ("cp311-cp311-manylinux_2_17_aarch64", False),
        ("cp311-cp311-macosx_11_0_arm64", False),
    ],
)
def test_compiled_code_for_another_machine_is_refused(tag: str, fits: bool, tmp_path: Path) -> None:
    wheel = {"pydantic_core-2.46.5.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n"}
    problems = list(archive_problems(archive_of(tmp_path, wheel), "", template_of()))

    assert problems == ([] if fits else ["pydantic_core-2.46.5.dist-info is not made for python3.11 on x86_64 Linux"])


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("import os, json, botocore.session, pydantic.main", []),
        ("from . import sibling\nfrom .core import job\nfrom chalicelib.core.job import Job", []),
        ("import click", ["click"]),
        ("match 1:\n    case 1:\n        import click", ["click"]),
        ("try:\n    pass\nexcept ValueError:\n    import click\nelse:\n    import rich", ["click", "rich"]),
        ("def late():\n    from infra.template import template", ["infra.template.template"]),
        ("from chalicelib import local", ["chalicelib.local"]),
        ("from infra.deploy.stack import apply", ["infra.deploy.stack.apply"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mypy\nelse:\n    import rich", ["rich"]),
        ("try:\n    import orjson\nexcept ImportError:\n    orjson = None", []),
        ("try:\n    import orjson\nexcept ValueError:\n    orjson = None", ["orjson"]),
    ],
)
def test_imports_that_lambda_cannot_follow(code: str, missing: list[str]) -> None:
    found = list(missing_imports({"chalicelib/a.py": code}, ["app.py", "chalicelib/a.py", "pydantic/__init__.py"]))

    assert [sentence.split(": ")[1] for sentence in found] == [f"{name} is not there on Lambda" for name in missing]


def test_a_stage_that_is_not_declared_cannot_answer_without_a_key() -> None:
    config = json.loads((PROJECT / CONFIG).read_text())

    with pytest.raises(InvalidInput):
        settings.read(config["environment_variables"])
    for stage, of_stage in config["stages"].items():
        assert settings.read(of_stage["environment_variables"]).stage == stage != "local"

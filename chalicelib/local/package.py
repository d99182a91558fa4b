"""Building what runs on Lambda: `chalice package` on a copy of the project that holds nothing else, then the checks.

``python -m chalicelib.local.package OUT`` leaves ``deployment.zip`` and ``sam.json`` in OUT, or nothing at all when
a check fails. No AWS account is needed; pip fetches wheels for Lambda's platform, whatever this machine's is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib import settings
from chalicelib.core.errors import InvalidInput, TaskyardError
from chalicelib.local.package_checks import archive_problems, functions_of, routes_of, template_problems

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = ".chalice/config.json"
REQUIREMENTS = "requirements.txt"
LIBRARY = "chalicelib"
ARCHIVE = "deployment.zip"
TEMPLATE = "sam.json"
BUILD_TIMEOUT_S = 600  # most of it is pip, downloading
OUTPUT_SHOWN_CHARS = 4_000


class PackageRefused(TaskyardError):
    """The package was not built, or would not work on Lambda."""


@dataclass(frozen=True, slots=True)
class PackageReport:
    """A package that passed every check."""

    archive: Path
    template: Path
    archive_bytes: int
    functions: tuple[str, ...]  # logical ids
    routes: tuple[str, ...]


def package(out_dir: Path, stage: str, *, project: Path = PROJECT) -> PackageReport:
    """Build and check the package of ``stage``, a stage of ``.chalice/config.json``, into ``out_dir``.

    The Lambda runtime is the version of the Python that runs this. Raises ``PackageRefused`` with everything that
    is wrong, ``InvalidInput`` for the stage ``local``, which is never deployed.
    """
    if stage == "local":
        raise InvalidInput("the stage local answers without a key and is never deployed", field="stage", got=stage)
    _expect_whole(project)
    config = json.loads((project / CONFIG).read_text())
    _expect_declared(stage, config)
    with tempfile.TemporaryDirectory(prefix="taskyard-package-") as scratch:
        staged, built = Path(scratch, "project"), Path(scratch, "built")
        _stage(project, staged)
        _run_chalice(staged, built, stage)
        template = json.loads((built / TEMPLATE).read_text())
        _refuse_if(
            [
                *template_problems(template, config, stage),
                *archive_problems(built / ARCHIVE, (staged / REQUIREMENTS).read_text(), template),
            ]
        )
        out_dir.mkdir(parents=True, exist_ok=True)
        archive_file, template_file = (Path(shutil.copy(built / name, out_dir)) for name in (ARCHIVE, TEMPLATE))
    return PackageReport(
        archive=archive_file,
        template=template_file,
        archive_bytes=archive_file.stat().st_size,
        functions=tuple(functions_of(template)),
        routes=tuple(routes_of(template)),
    )


def _expect_whole(project: Path) -> None:
    for needed in ("app.py", REQUIREMENTS, CONFIG, LIBRARY):
        if not (project / needed).exists():
            raise PackageRefused(f"{project} holds no {needed}", remedy="package a checkout of Taskyard")


def _expect_declared(stage: str, config: Mapping[str, Any]) -> None:
    """Refuse a stage that Chalice would take without a word, to deploy functions that do not know theirs."""
    if stage not in config["stages"]:
        raise InvalidInput(
            f"the stage {stage} is not declared in {CONFIG}",
            field="stage",
            expected=" or ".join(config["stages"]),
            got=stage,
            remedy="declare it there, with its environment variable TASKYARD_STAGE",
        )


def _stage(project: Path, staged: Path) -> None:
    """Copy what runs on Lambda, because Chalice packages whatever it finds in ``chalicelib``."""
    library = project / LIBRARY

    def left_out(folder: str, names: list[str]) -> set[str]:
        caches = {name for name in names if name == "__pycache__" or name.endswith(".pyc")}
        return caches | {"local"} if Path(folder) == library else caches

    shutil.copytree(library, staged / LIBRARY, ignore=left_out)
    (staged / CONFIG).parent.mkdir()
    for name in ("app.py", REQUIREMENTS, CONFIG):
        shutil.copy(project / name, staged / name)


def _run_chalice(staged: Path, built: Path, stage: str) -> None:
    environment = {
        **os.environ,
        "AWS_DEFAULT_REGION": settings.current().region,
        "PYTHONDONTWRITEBYTECODE": "1",  # Chalice imports the application first and would package the byte code
    }
    command = [
        sys.executable,
        "-c",
        "from chalice.cli import main; raise SystemExit(main())",
        "package",
        "--stage",
        stage,
        str(built),
    ]
    try:
        run = subprocess.run(  # noqa: S603  # no shell, and nothing in it comes from outside
            command, cwd=staged, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PackageRefused(f"`chalice package` took longer than {BUILD_TIMEOUT_S} s") from error
    if run.returncode != 0:
        raise PackageRefused(f"`chalice package` failed:\n{(run.stdout + run.stderr)[-OUTPUT_SHOWN_CHARS:]}")


def _refuse_if(problems: Sequence[str]) -> None:
    if problems:
        raise PackageRefused("the package would not work on Lambda:\n" + "\n".join(f"- {each}" for each in problems))


def main(arguments: Sequence[str] | None = None) -> None:
    """Build and check the package, and say what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m chalicelib.local.package", description="Build and check the Lambda package."
    )
    parser.add_argument("out", type=Path, help="the folder to write into")
    parser.add_argument("--stage", default="dev", help="a stage of .chalice/config.json (default: dev)")
    given = parser.parse_args(arguments)
    try:
        report = package(given.out, given.stage)
    except TaskyardError as error:
        parser.exit(1, f"{error}\n")
    parser.exit(
        0,
        f"{report.archive}: {report.archive_bytes / 1e6:.1f} MB, "
        f"{len(report.functions)} functions, {len(report.routes)} routes\n",
    )


if __name__ == "__main__":
    main()

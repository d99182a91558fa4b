"""Building what runs on Lambda: `chalice package` on a copy of the project that holds nothing else, then the checks.

``python -m infra.deploy.package OUT`` leaves ``deployment.zip`` and ``sam.json`` in OUT, or nothing at all when
a check fails. The template holds the whole installation: Chalice's functions and routes, and all that infra defines.
No AWS account is needed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chalicelib.core.errors import TaskyardError
from chalicelib.engine.handlers.bridged import bridged
from chalicelib.engine.handlers.registry import registry_of
from chalicelib.engine.projections.events import decided
from infra.deploy.archive import lay_archive
from infra.deploy.package_checks import archive_problems, functions_of, routes_of, size_problems, template_problems
from infra.deploy.stages import CONFIG, architecture_of, config_of, project_here, settings_of
from infra.deploy.staging import REQUIREMENTS, handler_packages, run_chalice, stage_project, unknown_yet
from infra.fragment import Fragment
from infra.template import additions

ARCHIVE = "deployment.zip"
TEMPLATE = "sam.json"


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


def package(out_dir: Path, stage: str, *, project: Path | None = None, merged: Fragment | None = None) -> PackageReport:
    """Build and check the package of ``stage``, a stage of ``.chalice/config.json``, into ``out_dir``.

    ``project`` is the one here by default; one that has no ``chalicelib`` of its own gets Taskyard's.
    ``merged`` is merged into Chalice's template: see ``everything``. The Lambda runtime is the version of the
    Python that runs this. Raises ``PackageRefused`` with everything that is wrong, ``InvalidInput`` for a stage that
    is not declared and for ``local``, which is never deployed.
    """
    project = project or project_here()
    _expect_whole(project)
    chosen = settings_of(stage, project)
    with tempfile.TemporaryDirectory(prefix="taskyard-package-") as scratch:
        staged, built = Path(scratch, "project"), Path(scratch, "built")
        staged.mkdir()
        stage_project(project, staged, chosen, unknown_yet(chosen))
        merged_file = Path(scratch, "merged.json")
        merged_file.write_text(json.dumps(merged or {}))
        lay_archive(project, staged, architecture_of(stage, config_of(project)))
        run_chalice(staged, chosen, ["package", "--stage", stage, "--merge-template", str(merged_file), str(built)])
        template = json.loads((built / TEMPLATE).read_text())
        _refuse_if(
            [
                *template_problems(template, config_of(project), stage),
                *archive_problems(
                    built / ARCHIVE, (staged / REQUIREMENTS).read_text(), template, handler_packages(chosen)
                ),
                *size_problems(built / ARCHIVE, with_kafka=bool(bridged(chosen).outward)),
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


def everything(stage: str) -> Fragment:
    """What makes Chalice's template of ``stage`` one of the whole installation. Raises ``InvalidInput``."""
    chosen = settings_of(stage)
    declared = registry_of(chosen)
    return additions(decided(chosen, declared), declared.queues, declared.batches)


def _expect_whole(project: Path) -> None:
    if not (project / CONFIG).exists():
        raise PackageRefused(f"{project} holds no {CONFIG}", remedy="package a project: `taskyard new` writes one")


def _refuse_if(problems: Sequence[str]) -> None:
    if problems:
        raise PackageRefused("the package would not work on Lambda:\n" + "\n".join(f"- {each}" for each in problems))


def main(arguments: Sequence[str] | None = None) -> None:
    """Build and check the package, and say what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.deploy.package", description="Build and check the Lambda package."
    )
    parser.add_argument("out", type=Path, help="the folder to write into")
    parser.add_argument("--stage", default="dev", help="a stage of .chalice/config.json (default: dev)")
    given = parser.parse_args(arguments)
    try:
        report = package(given.out, given.stage, merged=everything(given.stage))
    except TaskyardError as error:
        parser.exit(1, f"{error}\n")
    parser.exit(
        0,
        f"{report.archive}: {report.archive_bytes / 1e6:.1f} MB, "
        f"{len(report.functions)} functions, {len(report.routes)} routes\n",
    )


if __name__ == "__main__":
    main()

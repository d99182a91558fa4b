"""The Lambda archive, laid where Chalice looks for it: the packages that the requirements name, then the project.

Most of the work is in the packages, which seldom change. Fetched, compiled and compressed once, they are kept beside
what Chalice keeps in a project, and serve until the requirements change.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from chalice.deploy.packager import (
    DependencyBuilder,
    LambdaDeploymentPackager,
    MissingDependencyError,
    NoSuchPackageError,
    PackageDownloadError,
    UnsupportedPackageError,
)
from chalice.utils import UI, OSUtils

from infra.deploy.bytecode import add_bytecode
from infra.deploy.staging import REQUIREMENTS, ChaliceFailed

KEPT = Path(".chalice", "deployments")  # Chalice's own folder for what it has built
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
ABI = f"cp{sys.version_info.major}{sys.version_info.minor}"
PINNED = re.compile(r"[\w.-]+(\[[\w,.-]+\])?==[\w.!+-]+")
CHALICE = "chalice"  # Chalice adds what it needs of itself


def lay_archive(project: Path, staged: Path, architecture: str) -> None:
    """Build the archive of the staged ``project``, byte code included; `chalice` then takes it as it is.

    What pinned requirements name is fetched once a project and kept there, what others name each time. Raises
    ``ChaliceFailed`` when a package cannot be had for Lambda, ``BytecodeRefused`` when a module does not compile.
    """
    packager = LambdaDeploymentPackager(OSUtils(), _NothingToInstall(), UI(io.StringIO()), architecture)
    archive = Path(packager.create_deployment_package(str(staged), f"python{VERSION}"))
    _put_before(_packages(project, staged, architecture), archive)
    add_bytecode(archive)


class _NothingToInstall(DependencyBuilder):
    """Lets Chalice pack the project alone."""

    def __init__(self) -> None:
        super().__init__(OSUtils())

    def build_site_packages(self, abi: str, requirements_filepath: str, target_directory: str) -> None:
        """Install nothing."""


def _packages(project: Path, staged: Path, architecture: str) -> Path:
    """The archive of what the requirements name: the one that is kept, or a new one."""
    requirements = _lines((staged / REQUIREMENTS).read_text())
    named = hashlib.sha256("\n".join([VERSION, architecture, *requirements]).encode()).hexdigest()
    pinned = all(map(PINNED.fullmatch, requirements))
    archive = (project if pinned else staged) / KEPT / f"requirements-{named}.zip"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix="fetching-") as scratch:
            made = Path(scratch, archive.name)
            _zip(_fetched(staged / REQUIREMENTS, Path(scratch, "packages"), architecture), made)
            made.replace(archive)
    return archive


def _lines(requirements: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in requirements.splitlines())
    return [line for line in lines if line]


def _fetched(requirements: Path, folder: Path, architecture: str) -> Path:
    """``folder`` with the packages in it, made for Lambda's platform whatever this machine's is."""
    folder.mkdir()
    try:
        DependencyBuilder(OSUtils(), architecture=architecture).build_site_packages(ABI, str(requirements), str(folder))
    except MissingDependencyError as error:
        names = ", ".join(sorted(package.identifier for package in error.missing))
        raise ChaliceFailed(f"there is no wheel for Lambda of {names}") from error
    except (NoSuchPackageError, PackageDownloadError, UnsupportedPackageError) as error:
        raise ChaliceFailed(f"the packages of {REQUIREMENTS} cannot be had: {error}") from error
    return folder


def _zip(folder: Path, archive: Path) -> None:
    with ZipFile(archive, "w", ZIP_DEFLATED) as zipped:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            name = file.relative_to(folder)
            if name.parts[0] != CHALICE:
                zipped.write(file, name)
    add_bytecode(archive)


def _put_before(packages: Path, archive: Path) -> None:
    """Let ``archive`` begin with what ``packages`` holds, as compressed as it is."""
    with ZipFile(archive) as zipped:
        own = [(entry, zipped.read(entry)) for entry in zipped.infolist()]
    shutil.copyfile(packages, archive)
    with ZipFile(archive, "a", ZIP_DEFLATED) as zipped:
        for entry, content in own:
            zipped.writestr(entry, content)

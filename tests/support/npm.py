"""Packages of npm's registry that tests use, kept in the cache of pytest from one run to the next."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from errno import ENOTEMPTY
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.programs import program

DOWNLOAD_DEADLINE_S = 180
INSTALL = ("install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund")


def kept(cache: Path, name: str, download: Callable[[Path], None]) -> Path:
    """The folder ``name`` of ``cache``, by ``download`` where it is not there yet, whole or not at all."""
    folder = cache / name
    if not folder.exists():
        with TemporaryDirectory(dir=cache) as scratch:
            (Path(scratch) / "all").mkdir()
            download(Path(scratch) / "all")
            try:
                (Path(scratch) / "all").rename(folder)
            except OSError as error:
                if error.errno != ENOTEMPTY:  # another process of the tests was sooner
                    raise
    return folder


def install(folder: Path, *packages: str) -> None:
    """Packages with what they need, none of whose scripts is run."""
    run(program("npm"), *INSTALL, *packages, "--prefix", str(folder), folder=folder)


def pack(folder: Path, *packages: str) -> None:
    """The archives of packages, as the registry has them."""
    run(program("npm"), "pack", *packages, folder=folder)


def run(*command: str, folder: Path) -> str:
    """What a program writes that is run in ``folder``."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=DOWNLOAD_DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

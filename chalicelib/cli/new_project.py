"""`taskyard new NAME`: a project of handlers, with a test, settings and what deploying needs.

A project is a folder with `.chalice/config.json`, which names its handler package. Taskyard itself is a package that it
depends on: every command works on the project in the current folder, and puts Taskyard's own code beside the handlers
when it packages them.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from chalicelib.core.errors import InvalidInput
from infra.deploy.stages import PROJECT

TEMPLATE = Path(__file__).parent / "project_template"
SUFFIX = ".txt"  # of every file of the template, so that no tool takes it for its own
DOT = "dot-"  # stands for the dot of a hidden file
NAME = "NAME"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,15}")  # as long as the prefix of AWS resources may be


def new_project(name: str, folder: Path) -> list[Path]:
    """Write a project of the handler package ``name`` into ``folder``; returns its files, as seen from there.

    Raises ``InvalidInput`` for a name that no package of a project can have, and for a folder that holds anything.
    """
    _expect_package_name(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(
            "there is something already", field="NAME", expected="a new or an empty folder", got=str(folder)
        )
    words = {"name": name, "prefix": name.replace("_", "-"), "taskyard": _requirement()}
    written = []
    for file, text in _files():
        target = folder / str(file).replace(NAME, name).replace(DOT, ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(re.sub(r"{{(\w+)}}", lambda found: words[found[1]], text), encoding="utf-8")
        written.append(target.relative_to(folder))
    return written


def _files() -> Iterator[tuple[Path, str]]:
    """The files of the template as they are to be named, with their texts."""
    for file in sorted(TEMPLATE.rglob(f"*{SUFFIX}")):
        yield file.relative_to(TEMPLATE).with_suffix(""), file.read_text(encoding="utf-8")


def _expect_package_name(name: str) -> None:
    """Raise ``InvalidInput`` for what Python cannot import, or would import from elsewhere."""
    if _NAME.fullmatch(name) is None or keyword.iskeyword(name) or name == "tests" or _is_taken(name):
        raise InvalidInput(
            "no project can be called so",
            field="NAME",
            expected="1 to 16 of a-z, 0-9 and _, beginning with a letter, that no other package is called",
            got=name,
        )


def _is_taken(name: str) -> bool:
    return name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None


def _requirement() -> str:
    """Taskyard as pip gets it: the checkout that this is, or the package of the index."""
    extras = "[local,testing]"
    return f"-e {PROJECT}{extras}" if (PROJECT / "pyproject.toml").exists() else f"taskyard{extras}"

"""The test kit needs no package but those that the extra `testing` installs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]
FOUND_ANYWHERE = {"taskyard", "pip", "setuptools"}
USE = """
import json, sys

class NotInstalled:
    hidden = set(json.loads(sys.argv[1]))

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"no module {name}: the extra does not install it", name=name)

sys.meta_path.insert(0, NotInstalled())

from chalicelib import task
from chalicelib.testing import Workbench

@task("greet")
def greet(given, context):
    return given

with Workbench(greet) as bench:
    made = bench.create("greet", 1)
    bench.run()
    print(bench.task(made).output)
"""


def test_a_workbench_runs_on_what_the_extra_installs() -> None:
    installed = _installed_by(_declared()) | FOUND_ANYWHERE
    hidden = [
        module
        for module, names in packages_distributions().items()
        if not installed & {_canonical(name) for name in names}
    ]
    assert {"pytest", "ministack", "cfnlint"} <= set(hidden)  # it does hide what the extra does not install
    used = subprocess.run(
        [sys.executable, "-c", USE, json.dumps(hidden)], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (used.stdout, used.stderr) == ("1\n", "")


def _declared() -> list[Requirement]:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    base = [line for line in (PROJECT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    return [Requirement(text) for text in [*base, *extras["testing"]]]


def _installed_by(declared: list[Requirement]) -> set[str]:
    """The names of all distributions that ``declared`` lead to, as far as they are installed here."""
    seen: set[tuple[str, str]] = set()
    waiting = [(_canonical(request.name), extra) for request in declared for extra in ("", *request.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for request in _requirements_of(name):
            if request.marker is None or request.marker.evaluate({"extra": extra}):
                waiting.extend((_canonical(request.name), wanted) for wanted in ("", *request.extras))
    return {name for name, _ in seen}


def _requirements_of(name: str) -> list[Requirement]:
    try:
        return [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError:  # an extra's package that nothing needs in these tests
        return []


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

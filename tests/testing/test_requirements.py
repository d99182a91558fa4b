"""The test kit needs no package but those that the extra `testing` installs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import packages_distributions

from tests.support.distributions import PROJECT, canonical, installed_by

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
    installed = installed_by("testing") | FOUND_ANYWHERE
    hidden = [
        module
        for module, names in packages_distributions().items()
        if not installed & {canonical(name) for name in names}
    ]
    assert {"pytest", "ministack", "cfnlint"} <= set(hidden)  # it does hide what the extra does not install
    used = subprocess.run(
        [sys.executable, "-c", USE, json.dumps(hidden)], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (used.stdout, used.stderr) == ("1\n", "")

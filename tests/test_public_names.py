"""What users import: every name is there, is the one thing of that name, and costs nothing until it is asked for."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chalicelib
from chalicelib import services

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SAMPLES = sorted((ROOT / "chalicelib" / "tasks").rglob("*.py"))
OFFERED = re.compile(r"chalicelib|chalicelib\.services(\.\w+)?|chalicelib\.testing")
BY_OPERATORS = {"infra.deploy.stages"}  # scripts that work on a deployed stage choose it there


@pytest.mark.parametrize("name", chalicelib.__all__)
def test_a_name_is_what_its_module_calls_so(name: str) -> None:
    value = getattr(chalicelib, name)
    assert getattr(sys.modules[value.__module__], name) is value
    assert name in dir(chalicelib)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(chalicelib.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname or alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == {name: f"chalicelib.{home}" for name, home in chalicelib._HOME.items()}
    assert sorted(typed) == chalicelib.__all__


def test_services_are_loaded_when_they_are_asked_for() -> None:
    tree = ast.parse(Path(services.__file__).read_text())
    typed = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == services.__name__
        for alias in node.names
        if alias.asname is not None
    }
    assert typed == services.OFFERED
    code = "from chalicelib import services as s; print([getattr(s, name).__name__ for name in sorted(s.OFFERED)])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ast.literal_eval(loaded.stdout) == [f"chalicelib.services.{name}" for name in sorted(services.OFFERED)]
    with pytest.raises(AttributeError, match=r"no attribute 'tusks'; it offers applications, .*, traces"):
        services.tusks  # noqa: B018


def test_the_package_loads_nothing_by_itself() -> None:
    code = "import sys, chalicelib; print([name for name in sys.modules if name.startswith('chalicelib.')])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'tusk'; it offers Band, .*, task$"):
        chalicelib.tusk  # noqa: B018


@pytest.mark.parametrize("path", [*PAGES, *SAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_and_sample_handlers_import_nothing_else(path: Path) -> None:
    text = path.read_text()
    python = [text] if path.suffix == ".py" else re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    imported = {
        name for code in python for name in re.findall(r"^ *(?:from|import) (chalicelib[\w.]*)", code, re.MULTILINE)
    }
    assert [name for name in imported - BY_OPERATORS if not OFFERED.fullmatch(name)] == []

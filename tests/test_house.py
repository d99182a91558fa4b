"""The house: which room a module is in, and that imports point down only, those for type checkers too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the top to the bottom. A module is in the room with the longest name that its own begins with; what it imports
# is in the same room or in one further down.
ROOMS = (
    "chalicelib.cli",
    "chalicelib.testing",
    "chalicelib.local",
    "infra.doctor",
    "infra.cost",
    "infra.deploy",
    "infra",
    "app",
    "chalicelib.api",
    "chalicelib.tasks",
    "chalicelib",  # the public face
    "chalicelib.services",
    "chalicelib.functions",
    "chalicelib.engine.why",
    "chalicelib.engine.bridge",
    "chalicelib.engine.clock",
    "chalicelib.engine.projections",
    "chalicelib.engine.polling",
    "chalicelib.engine.commands",
    "chalicelib.engine.worker",
    "chalicelib.engine.graphs",
    "chalicelib.engine.publish",
    "chalicelib.engine",
    "chalicelib.engine.handlers",
    "chalicelib.http",
    "chalicelib.queue",
    "chalicelib.store",
    "chalicelib.aws",
    "chalicelib.actor",
    "chalicelib.lean",
    "chalicelib.logger",
    "chalicelib.clocks",
    "chalicelib.settings",
    "chalicelib.core",
)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, Path]:
    found = [ROOT / "app.py", *(ROOT / "chalicelib").rglob("*.py"), *(ROOT / "infra").rglob("*.py")]
    return {module_of(path): path for path in found if "project_template" not in path.parts}


SOURCES = sources()


def imports_of(module: str) -> Iterator[str]:
    """The modules of this project that one imports, wherever in its text."""
    for node in ast.walk(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in SOURCES else node.module for name in below]
        else:
            continue
        yield from (name for name in names if name in SOURCES and name != module)


def room_of(module: str) -> str:
    return max((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), key=len)


def test_every_room_has_modules() -> None:
    assert set(ROOMS) == {room_of(module) for module in SOURCES}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room: str) -> None:
    at_most = ROOMS.index(room)
    up = [
        f"{module} imports {imported}"
        for module in SOURCES
        if room_of(module) == room
        for imported in imports_of(module)
        if ROOMS.index(room_of(imported)) < at_most
    ]
    assert up == []


def test_no_circle() -> None:
    order = TopologicalSorter({module: set(imports_of(module)) for module in SOURCES}).static_order()
    assert set(order) == set(SOURCES)  # CycleError names a circle

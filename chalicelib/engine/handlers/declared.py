"""Finding what is declared: every marked function that a module of a package holds, wherever in the package it stands.

What counts is the name in a module, not the text around it: a function that another decorator has wrapped is found as
its wrapper, so the wrapper runs, too. What is marked and has no name in any module, because a wrapper hides it or it is
a method, would never run; it is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import CellType, FunctionType, ModuleType
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.engine.handlers.declare import Mark, marks_of
from chalicelib.engine.handlers.importing import by_place
from chalicelib.engine.handlers.pool_files import pools_in
from chalicelib.engine.handlers.script_files import scripts_in
from chalicelib.engine.handlers.signatures import label_of, place_of

PROGRAM = "__main__"  # to be run, not to be imported
BUILTINS = "__builtins__"  # what Python gives to every module: a hundred classes, to look through which takes 6 ms
HIDING_DEPTH = 4  # decorators above one another that a hidden handler is looked for in
CONTAINER_MAX = 1_000  # values of a container that are looked through


def declarations(packages: Sequence[ModuleType]) -> list[Any]:
    """Every declared function of ``packages``, with their scripts and pools, each once; imports all their modules.

    A package may be one module. A handler that is imported from elsewhere, out of a module of none of the packages, is
    not declared here. Raises ``HandlersBroken`` naming the place of what is wrong.
    """
    packages = list({package.__name__: package for package in packages}.values())
    with by_place([package.__name__ for package in packages]):
        modules = list({id(each): each for package in packages for each in _modules(package)}.values())
        found = _named(modules)
        _refuse_hidden(modules, found)
        return [*found, *(each for package in packages for each in (*scripts_in(package), *pools_in(package)))]


def _modules(package: ModuleType, *, nested: bool = False) -> Iterator[ModuleType]:
    """A module and, if it is a package, all below it."""
    yield package
    paths = [str(path) for path in getattr(package, "__path__", ())]
    names = [found.name for found in iter_modules(paths) if found.name != PROGRAM]
    for name in [*names, *(_plain_folders(paths) if nested else ())]:  # a folder at the top holds scripts: scripts.py
        yield from _modules(import_module(f"{package.__name__}.{name}"), nested=True)


def _plain_folders(paths: Sequence[str]) -> list[str]:
    """Folders that are packages without an ``__init__.py``."""
    return [
        folder.name
        for path in paths
        for folder in sorted(Path(path).iterdir())
        if folder.name.isidentifier() and not (folder / "__init__.py").exists() and any(folder.glob("*.py"))
    ]


def _named(modules: Sequence[ModuleType]) -> list[Any]:
    """The marked functions that have names in the modules: those that are written there, then those brought there."""
    names = {module.__name__ for module in modules}
    found = [(module.__name__, value) for module in modules for value in vars(module).values() if marks_of(value)]
    written = [value for module, value in found if _home(value) == module]
    brought = [value for _, value in found if _home(value) in names or not _is_imported(value)]
    return list({id(value): value for value in (*written, *brought)}.values())


def _home(value: Any) -> Any:
    return getattr(value, "__module__", None)


def _is_imported(value: Any) -> bool:
    """Whether a function has its name in another module; what a decorator or a factory there has made has none."""
    return getattr(sys.modules.get(_home(value)), getattr(value, "__name__", ""), None) is value


# -- what would be missed in silence ------------------------------------------------------------------


def _refuse_hidden(modules: Sequence[ModuleType], found: Sequence[Any]) -> None:
    """Raise ``InvalidInput`` for a declared function that no name in a module leads to."""
    known = {id(mark) for function in found for mark in marks_of(function)}
    names = {module.__name__ for module in modules}
    for module in modules:
        for name, value in vars(module).items():
            if name == BUILTINS or (_home(value) not in names and _is_imported(value)):
                continue
            for function, mark in _marked_inside(value, HIDING_DEPTH):
                if id(mark) not in known and _home(function) in names:
                    raise _hidden(f"{module.__name__}.{name}", value, function, mark)


def _hidden(holder: str, value: Any, function: Any, mark: Mark) -> InvalidInput:
    is_wrapper = callable(value) and not isinstance(value, type)
    return InvalidInput(
        f"{label_of(function)} ({place_of(function)}) is declared, but would never run: {holder} hides it",
        field=mark.name,
        expected="a wrapper made with functools.wraps" if is_wrapper else "a function with a name in its module",
        remedy="put functools.wraps(function) on the wrapper, or write Taskyard's decorator above the other one"
        if is_wrapper
        else "declare a plain function, and give it a name in the module",
    )


def _marked_inside(value: Any, depth: int) -> Iterator[tuple[Any, Mark]]:
    """The marked functions that a value holds, with their marks."""
    yield from ((value, mark) for mark in marks_of(value))
    if depth:
        for part in _parts(value):
            yield from _marked_inside(part, depth - 1)


def _parts(value: Any) -> list[Any]:
    """What a wrapper, a class, an instance or a container holds; nothing of a module or an odd object."""
    match value:
        case FunctionType():
            return [content for cell in value.__closure__ or () for content in _contents(cell)]
        case partial():
            return [value.func]
        case staticmethod() | classmethod():
            return [value.__func__]
        case dict():
            return list(value.values())[:CONTAINER_MAX]
        case list() | tuple() | set():
            return list(value)[:CONTAINER_MAX]
        case ModuleType():
            return []
    own = value.__dict__ if isinstance(value, type) else _attributes(value)
    return list(own.values())[:CONTAINER_MAX]


def _contents(cell: CellType) -> list[Any]:
    """What a function remembers from around it; nothing of a variable that is not set yet."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []


def _attributes(value: Any) -> dict[str, Any]:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}

"""Handlers by where they lie: ``<package>/<type>/<script>.py`` with a function ``run``, as fastify-task finds them.

Such a folder is named as the task type and is no Python package: type names hold dots and hyphens. All its files are
loaded at the start, so a task's ``scriptName`` picks one of what is there and never reaches the disk.
"""

from __future__ import annotations

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.engine.handlers.declare import MARK, task
from chalicelib.engine.handlers.declare import SCRIPT_NAME as SCRIPT_NAME

RUN = "run"
RESERVED = frozenset({"pools", "__pycache__"})


def scripts_in(package: ModuleType) -> list[Any]:
    """What the script folders of a package declare: each file's ``run``, as a handler of the folder's task type."""
    folders = [
        folder
        for path in getattr(package, "__path__", ())
        for folder in sorted(Path(path).iterdir())
        if folder.is_dir() and folder.name not in RESERVED and not (folder / "__init__.py").exists()
    ]
    return [_handler_in(package, file) for folder in folders for file in sorted(folder.glob("*.py"))]


def _handler_in(package: ModuleType, file: Path) -> Any:
    kind, script = file.parent.name, file.stem
    if SCRIPT_NAME.fullmatch(script) is None:
        raise InvalidInput(
            "a script has a name that no task can give",
            field=str(file),
            expected="letters, digits, _ and -, at most 64",
            got=script,
        )
    run = getattr(_loaded(f"{package.__name__}.{_plain(kind)}.{_plain(script)}", file), RUN, None)
    if not callable(run):
        raise InvalidInput(
            "a script has no function to run",
            field=str(file),
            expected=f"def {RUN}(input, context)",
            got="none",
            remedy="write it, or put an __init__.py into the folder if it is a package",
        )
    # A decorated ``run`` brings options of its own: @task(type, script=...).
    return run if getattr(run, MARK, ()) else task(kind, script=script)(run)


def _loaded(name: str, file: Path) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be loaded as a module")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name)

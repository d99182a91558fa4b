"""Importing users' modules: whatever one of them raises is told with the file and line of their code nearest to it."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from chalicelib.core.errors import InvalidInput, TaskyardError

LIBRARY = Path(__file__).resolve().parents[2]  # chalicelib
_PYTHON = ("stdlib", "platstdlib", "purelib", "platlib")  # as sysconfig calls its folders and those of installations
_LIBRARIES = tuple(
    f"{Path(path).resolve()}{os.sep}" for path in (str(LIBRARY), *(sysconfig.get_path(name) for name in _PYTHON))
)
_NO_FILE = "<"  # <frozen importlib._bootstrap>, <string>


class HandlersBroken(InvalidInput):
    """A module of the handlers cannot be imported, or declares what cannot be."""


@contextmanager
def by_place(packages: Collection[str]) -> Iterator[None]:
    """Raise ``HandlersBroken``, naming file and line, for whatever the import of handlers in the block raises.

    The place is that of a syntax error, or else of the innermost call in users' code: the modules of ``packages``, and
    any that is neither Python's, nor installed, nor Taskyard's own. Ctrl-C passes.
    """
    try:
        yield
    except (KeyboardInterrupt, HandlersBroken):
        raise
    except BaseException as error:  # user code may raise anything at its import, sys.exit() included
        place = _cause(error, packages)
        if place is None and isinstance(error, TaskyardError):  # it names its place itself: a file, a function
            raise
        raise HandlersBroken(
            f"the handlers cannot be loaded: {f'{place}: ' if place else ''}{_text(error)}",
            field="TASKYARD_HANDLERS",
            got=None if place else ", ".join(packages),
            remedy="mend it there" if place else "name packages in a folder of PYTHONPATH, or mend their imports",
        ) from error


def place_in_file(file: str, line: int | None) -> str:
    """``file:line``, the file as seen from the current folder if it is below it."""
    path, here = Path(file), Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return str(shown) if line is None else f"{shown}:{line}"


def _cause(error: BaseException, packages: Collection[str]) -> str | None:
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith(_NO_FILE):
        return place_in_file(error.filename, error.lineno)
    places = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _is_users(frame, packages)
    ]
    return place_in_file(*places[-1]) if places else None


def _is_users(frame: FrameType, packages: Collection[str]) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    if any(module == name or module.startswith(f"{name}.") for name in packages):
        return True
    file = frame.f_code.co_filename
    return not file.startswith(_NO_FILE) and not str(Path(file).resolve()).startswith(_LIBRARIES)


def _text(error: BaseException) -> str:
    if isinstance(error, TaskyardError):  # a decorator's own, which says all
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    text = traceback.format_exception_only(error)[0].strip()  # notes come after it
    return text.encode("utf-8", "backslashreplace").decode()
